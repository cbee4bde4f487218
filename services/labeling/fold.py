"""The page as the fold of its operations. The editor in the browser runs the same cases: ``tests/data/page_fold``."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import assert_never

from services.labeling.boxes import (
    AcceptBox,
    Box,
    BoxInvalid,
    BoxNotFound,
    CreateBox,
    DeleteBox,
    Kind,
    MarkBox,
    MoveBox,
    Operation,
    Quad,
    ReorderBoxes,
    RetypeBox,
    Source,
    check_box_id,
    check_text,
    settle_quad,
)


@dataclass(frozen=True)
class Content:
    """What stands on a page.

    Args:
        boxes: in reading order.
        used_ids: ids of all boxes that ever stood there; none is used again.
    """

    boxes: tuple[Box, ...] = ()
    used_ids: frozenset[str] = frozenset()


def fold(content: Content, operations: Iterable[Operation], *, width_px: int, height_px: int) -> Content:
    """The content after the operations, in their order.

    Raises:
        BoxNotFound, BoxInvalid: the metadata ``operation_id`` names the operation that failed; nothing was changed.
    """
    page = _Page(content, width_px, height_px)
    for operation in operations:
        try:
            page.apply(operation.kind)
        except (BoxNotFound, BoxInvalid) as fault:
            fault.metadata["operation_id"] = operation.operation_id
            raise
    return Content(tuple(page.boxes.values()), frozenset(page.used_ids))


class _Page:
    """A page being folded; dicts keep the order."""

    def __init__(self, content: Content, width_px: int, height_px: int) -> None:
        self.boxes = {box.box_id: box for box in content.boxes}
        self.used_ids = set(content.used_ids)
        self._width_px = width_px
        self._height_px = height_px

    def apply(self, kind: Kind) -> None:
        match kind:
            case CreateBox(box):
                self._create(box)
            case MoveBox(box_id, quad):
                box = self._box(box_id)
                # An outline says nothing about the text: a suggestion stays one until its text is confirmed.
                source = box if box.source is Source.SUGGESTED else _by_a_person(box)
                self.boxes[box_id] = replace(source, quad=self._settled(box_id, quad))
            case RetypeBox(box_id, text):
                self.boxes[box_id] = replace(_by_a_person(self._box(box_id)), text=check_text(text, box_id))
            case DeleteBox(box_id):
                self._box(box_id)
                del self.boxes[box_id]
            case MarkBox(box_id, unreadable):
                self.boxes[box_id] = replace(_by_a_person(self._box(box_id)), unreadable=unreadable)
            case ReorderBoxes(box_ids):
                self._reorder(box_ids)
            case AcceptBox(box_id):
                box = self._box(box_id)
                if box.source is Source.SUGGESTED:
                    self.boxes[box_id] = replace(box, source=Source.ACCEPTED)
            case _:
                assert_never(kind)

    def _create(self, box: Box) -> None:
        check_box_id(box.box_id)
        if box.box_id in self.used_ids:
            message = f"Box {box.box_id} stands, or stood, on this page already; give the new box an id of its own."
            raise BoxInvalid(message, box_id=box.box_id)
        check_text(box.text, box.box_id)
        if not 0.0 <= box.confidence <= 1.0:
            message = f"Box {box.box_id} has confidence {box.confidence}; it lies between 0 and 1."
            raise BoxInvalid(message, box_id=box.box_id, confidence=box.confidence)
        self.used_ids.add(box.box_id)
        self.boxes[box.box_id] = replace(box, quad=self._settled(box.box_id, box.quad))

    def _reorder(self, box_ids: tuple[str, ...]) -> None:
        if len(set(box_ids)) != len(box_ids):
            raise BoxInvalid("A box is named twice in the new order; name each once.", box_ids=", ".join(box_ids)[:200])
        first = {box_id: self._box(box_id) for box_id in box_ids}
        self.boxes = first | {box_id: box for box_id, box in self.boxes.items() if box_id not in first}

    def _box(self, box_id: str) -> Box:
        if box_id not in self.boxes:
            message = f"There is no box {box_id[:80]!r} on the page; read the page again."
            raise BoxNotFound(message, box_id=box_id[:80])
        return self.boxes[box_id]

    def _settled(self, box_id: str, quad: Quad) -> Quad:
        return settle_quad(quad, box_id, width_px=self._width_px, height_px=self._height_px)


def _by_a_person(box: Box) -> Box:
    return replace(box, source=Source.HUMAN, confidence=0.0, model="")
