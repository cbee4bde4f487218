"""From labelled pages to line samples: what is used, what is not and why."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from libs.ocrkit.charset import BASE_ALPHABET, COLUMN_BREAK, Charset
from libs.ocrkit.geometry import Quad, quad_area
from libs.ocrkit.labels.page import TextBox

__all__ = [
    "LabelledPage",
    "LineSample",
    "LineSet",
    "Rejection",
    "charset_of",
    "collect_lines",
    "plain_text",
]

_MIN_AREA_PX = 4.0


@dataclass(frozen=True, eq=False)
class LabelledPage:
    """One image and its boxes, pixels of the upright image."""

    image: Path
    boxes: tuple[TextBox, ...]


class Rejection(StrEnum):
    """Why a labelled box is not trained on."""

    UNREADABLE = "UNREADABLE"
    EMPTY_TEXT = "EMPTY_TEXT"
    NO_AREA = "NO_AREA"
    IMAGE_UNDECODABLE = "IMAGE_UNDECODABLE"
    TEXT_TOO_LONG = "TEXT_TOO_LONG"
    UNKNOWN_CHARACTER = "UNKNOWN_CHARACTER"
    CACHE_FULL = "CACHE_FULL"


@dataclass(frozen=True, eq=False)
class LineSample:
    """A line to read.

    Args:
        image: file of its page.
        quad: where it stands.
        text: what it says, white space folded; empty where nothing should be read.
        copy: 0 for the labelled box itself, above for a jittered copy or a box of the detector.
        distort: whether the pixels of this copy are changed as well.
    """

    image: Path
    quad: Quad
    text: str
    copy: int = 0
    distort: bool = False

    def key(self, image_digest: str) -> str:
        """sha256 (hex) over the image's content and the cut: equal keys, equal pixels."""
        cut = f"{image_digest} {self.quad.round(3).tolist()} {self.copy if self.distort else 0}"
        return hashlib.sha256(cut.encode()).hexdigest()


@dataclass(frozen=True)
class LineSet:
    """Samples in page order and the number of boxes left out, by reason."""

    samples: tuple[LineSample, ...]
    rejected: Counter[Rejection]


def collect_lines(pages: Sequence[LabelledPage]) -> LineSet:
    """Every labelled box as a sample or as a count under the reason why not."""
    samples: list[LineSample] = []
    rejected: Counter[Rejection] = Counter()
    for page in pages:
        for box in page.boxes:
            text = plain_text(box.text)
            if box.unreadable:
                rejected[Rejection.UNREADABLE] += 1
            elif not text:
                rejected[Rejection.EMPTY_TEXT] += 1
            elif quad_area(box.quad) < _MIN_AREA_PX:
                rejected[Rejection.NO_AREA] += 1
            else:
                samples.append(LineSample(page.image, box.quad, text))
    return LineSet(tuple(samples), rejected)


def plain_text(text: str) -> str:
    """The text as one line: white space at the ends dropped, inner white space folded to one space each."""
    return " ".join(text.split())


def charset_of(texts: Iterable[str]) -> Charset:
    """The characters of the data, the base alphabet and the column break; the space is last as in every PP-OCR model."""
    characters = set(BASE_ALPHABET).union([COLUMN_BREAK], *texts) - {" "}
    return Charset((*sorted(characters), " "))
