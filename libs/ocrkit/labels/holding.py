"""What a format can hold of a page, and what it therefore loses: the one place that decides both."""

from collections import Counter
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Literal

import numpy as np

from libs.ocrkit.geometry import SAME_PX, Quad, is_upright_box, quad_bounds, quad_from_box, signed_area
from libs.ocrkit.labels.page import Page, TextBox
from libs.ocrkit.labels.texts import UNREADABLE, is_no_text


class Loss(StrEnum):
    """Something that a format has no field for."""

    PLACE = "where the text stands on its page"
    OUTLINE = "polygons of more or fewer than four points (their rectangle is kept)"
    TURN = "turned boxes (the upright box around them is kept)"
    FRACTIONS = "fractions of a pixel"
    TEXT = "texts"
    UNREADABLE = "boxes marked unreadable"
    UNREADABLE_TEXT = "the text of boxes marked unreadable"
    ATTRIBUTES = "attributes of boxes"
    EMPTY_PAGES = "pages labelled as holding no text"
    CONFIRMED = "marks of pages that were looked over"
    ELEMENTS = "elements of VOC files that mean nothing to us"


@dataclass(frozen=True)
class Holds:
    """What a format has fields for.

    Args:
        place: ``page`` for boxes on pages, ``crop`` for an image a text.
        shape: the most exact shape it has.
        fractions: whether coordinates may have decimals.
        text: whether there are texts.
        unreadable: ``flag`` beside a text, ``text`` (``###`` instead of one), or nothing.
        attributes: names of those it has fields for; None for any.
        empty_pages: whether a page may have no box.
        confirmed: whether a page can be marked as looked over.
        elements: whether it is VOC, which carries elements of others along.
    """

    place: Literal["page", "crop"] = "page"
    shape: Literal["box", "quad", "polygon"] = "quad"
    fractions: bool = True
    text: bool = True
    unreadable: Literal["flag", "text", "no"] = "text"
    attributes: frozenset[str] | None = frozenset()
    empty_pages: bool = True
    confirmed: bool = False
    elements: bool = False

    @property
    def lacks(self) -> tuple[Loss, ...]:
        """Everything it has no field for, in the order of ``Loss``."""
        on_page = self.place == "page"
        fields = {
            Loss.PLACE: on_page,
            Loss.OUTLINE: on_page and self.shape == "polygon",
            Loss.TURN: on_page and self.shape != "box",
            Loss.FRACTIONS: on_page and self.fractions,
            Loss.TEXT: self.text,
            Loss.UNREADABLE: self.text and self.unreadable != "no",
            Loss.UNREADABLE_TEXT: self.text and self.unreadable == "flag",
            Loss.ATTRIBUTES: self.attributes is None,
            Loss.EMPTY_PAGES: self.empty_pages,
            Loss.CONFIRMED: self.confirmed,
            Loss.ELEMENTS: self.elements,
        }
        return tuple(loss for loss, held in fields.items() if not held)


def reduce_page(page: Page, holds: Holds) -> tuple[Page, Counter[Loss]]:
    """The page as a format can hold it.

    Returns:
        The page to write, and how many pieces of each kind were lost from it.
    """
    lost: Counter[Loss] = Counter()
    boxes = [box for box in page.boxes if not (box.unreadable and holds.unreadable == "no" and holds.text)]
    lost[Loss.UNREADABLE] += len(page.boxes) - len(boxes)
    kept = tuple(_reduce_box(box, holds, lost) for box in boxes)
    if holds.place == "crop":
        lost[Loss.PLACE] += sum(not covers_image(box, page.width_px, page.height_px) for box in boxes)
    lost[Loss.EMPTY_PAGES] += not page.boxes and not holds.empty_pages
    lost[Loss.CONFIRMED] += page.confirmed and not holds.confirmed
    if not holds.elements:
        lost[Loss.ELEMENTS] += len(page.unknown)
    reduced = replace(
        page,
        boxes=kept,
        confirmed=page.confirmed and holds.confirmed,
        voc=page.voc if holds.elements else None,
        unknown=page.unknown if holds.elements else (),
    )
    return reduced, +lost


def covers_image(box: TextBox, width_px: int, height_px: int) -> bool:
    """Whether a box is the whole of an image, as the crops of others come."""
    return box.outline is None and bool(np.abs(box.quad - quad_from_box(0, 0, width_px, height_px)).max() <= SAME_PX)


def _reduce_box(box: TextBox, holds: Holds, lost: Counter[Loss]) -> TextBox:
    if holds.place == "page":
        box = _reduce_shape(box, holds, lost)
    if holds.attributes is not None and (gone := len(box.attributes.keys() - holds.attributes)):
        lost[Loss.ATTRIBUTES] += gone
        box = replace(box, attributes={name: value for name, value in box.attributes.items() if name in holds.attributes})
    if not holds.text:
        lost[Loss.TEXT] += not is_no_text(box.text)
        lost[Loss.UNREADABLE] += box.unreadable
        return replace(box, text="", unreadable=True)
    if box.unreadable and holds.unreadable == "text" and box.text != UNREADABLE:
        lost[Loss.UNREADABLE_TEXT] += not is_no_text(box.text)
        box = replace(box, text=UNREADABLE)
    return box


def _reduce_shape(box: TextBox, holds: Holds, lost: Counter[Loss]) -> TextBox:
    if box.outline is not None and holds.shape != "polygon":
        lost[Loss.OUTLINE] += 1
        box = replace(box, outline=None)
    if holds.shape == "box" and not is_upright_box(box.quad):
        lost[Loss.TURN] += 1
        box = replace(box, quad=quad_from_box(*quad_bounds(box.quad)))
    if not holds.fractions:
        # A half is rounded up, also where arithmetic took a millionth from it.
        whole = np.floor(box.quad + 0.5001)
        if np.abs(whole - box.quad).max() > SAME_PX:
            lost[Loss.FRACTIONS] += 1
        box = replace(box, quad=_with_area(whole, box.quad))
    return box


def _with_area(whole: Quad, exact: Quad) -> Quad:
    """Whole pixels that still have an area and run clockwise: a thin box may round to none, the pixels it lies in do not."""
    if signed_area(whole) >= 1:
        return whole
    xmin, ymin, xmax, ymax = quad_bounds(exact)
    xmin, ymin = np.floor(xmin), np.floor(ymin)
    return quad_from_box(xmin, ymin, max(np.ceil(xmax), xmin + 1), max(np.ceil(ymax), ymin + 1))
