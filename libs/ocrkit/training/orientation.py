"""Labelled text that stands on its head: labels seldom say so, and lines learnt that way teach nonsense."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from libs.ocrkit.geometry import Quad
from libs.ocrkit.image_io import decode_image
from libs.ocrkit.labels.page import TextBox
from libs.ocrkit.metrics import edit_distance, fold
from libs.ocrkit.preprocess import warp_line
from libs.ocrkit.training.data import LabelledPage, plain_text
from libs.ocrkit.training.tried_lines import ReadCrops
from libs.runtime.errors import Fault

__all__ = ["Turned", "turn_upright"]

_MAX_PROBED_LINES = 100
_LEAST_SHARE = 0.01
_LEAST_CHARACTERS = 2
_LEAST_GAIN = 0.34
"""Share of the characters that must come out right only when a line is turned: a third, so that one lucky letter turns nothing."""


@dataclass(frozen=True)
class Turned:
    """Pages whose boxes begin at the top left of the text, as far as could be told.

    Args:
        pages: in their order.
        num_turned: boxes that stand on their head.
        num_probed: boxes that were read both ways.
    """

    pages: tuple[LabelledPage, ...]
    num_turned: int
    num_probed: int

    @property
    def share(self) -> float:
        """Of the boxes that were read, how many stand on their head."""
        return self.num_turned / max(1, self.num_probed)


def turn_upright(pages: Sequence[LabelledPage], read: ReadCrops, *, seed: int) -> Turned:
    """Read labelled boxes both ways and turn those whose label is read only upside down.

    A hundred boxes are read first; where next to none of them is turned, the others stay unread.

    Args:
        pages: labelled.
        read: text and confidence of crops as ``warp_line`` gives them.
        seed: which boxes are read first.
    """
    order = np.random.default_rng(seed).permutation(len(pages)).tolist()
    turned: dict[int, LabelledPage] = {}
    num_turned = num_probed = 0
    for index in order:
        if num_probed >= _MAX_PROBED_LINES and num_turned < _LEAST_SHARE * num_probed:
            break
        page = pages[index]
        wrong, probed = _upside_down(page, read)
        num_probed += probed
        num_turned += len(wrong)
        if wrong:
            boxes = tuple(replace(box, quad=_turn(box.quad)) if number in wrong else box for number, box in enumerate(page.boxes))
            turned[index] = LabelledPage(page.image, boxes)
    if num_turned < _LEAST_SHARE * num_probed:
        return Turned(tuple(pages), 0, num_probed)
    return Turned(tuple(turned.get(index, page) for index, page in enumerate(pages)), num_turned, num_probed)


def _upside_down(page: LabelledPage, read: ReadCrops) -> tuple[set[int], int]:
    """Numbers of the boxes that stand on their head, and how many were read."""
    chosen = [number for number, box in enumerate(page.boxes) if not box.unreadable and len(_plain(box)) >= _LEAST_CHARACTERS]
    try:
        image_HW3 = decode_image(page.image.read_bytes())
    except (Fault, OSError):
        return set(), 0
    crops = [warp_line(image_HW3, page.boxes[number].quad) for number in chosen]
    as_it_stands = read(crops)
    on_its_head = read([np.ascontiguousarray(crop[::-1, ::-1]) for crop in crops])
    wrong = set()
    for number, (stands, _), (turned, _) in zip(chosen, as_it_stands, on_its_head, strict=True):
        truth = _plain(page.boxes[number])
        if edit_distance(truth, fold(stands)) - edit_distance(truth, fold(turned)) >= _LEAST_GAIN * len(truth):
            wrong.add(number)
    return wrong, len(chosen)


def _plain(box: TextBox) -> str:
    return fold(plain_text(box.text))


def _turn(quad: Quad) -> Quad:
    turned: Quad = np.roll(quad, 2, axis=0)
    return turned
