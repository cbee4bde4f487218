"""Turns "the page shall look like this" into the operations that make it so."""

import math
import uuid
from collections.abc import Iterator, Sequence

from pydantic import BaseModel, ConfigDict, Field

from inkwright.common.v1.geometry_pb2 import Point, Quad
from inkwright.labeling.v1 import page_pb2

# Two outlines nearer than this are the same: a round trip through JSON must not count as an edit.
SAME_POINT_PX = 0.01


class WantedBox(BaseModel):
    """One box of a labels file: the reading format plus an optional id.

    Attributes:
        label: the text.
        pos: four points in pixels, clockwise from the text's top-left.
        box_id: an id from ``inkctl label get``; a box without one is new.
    """

    model_config = ConfigDict(extra="ignore")

    label: str = ""
    pos: list[tuple[float, float]] = Field(min_length=4, max_length=4)
    unreadable: bool = False
    box_id: str = ""


def wanted_from_page(page: page_pb2.Page) -> list[WantedBox]:
    """The boxes of a page in the form that ``edits`` takes."""
    return [
        WantedBox(
            label=box.text,
            pos=[(point.x, point.y) for point in box.quad.points],
            unreadable=box.unreadable,
            box_id=box.box_id,
        )
        for box in page.boxes
    ]


def edits(page: page_pb2.Page, wanted: Sequence[WantedBox]) -> list[page_pb2.Operation]:
    """Operations after which the page has exactly the wanted boxes, all of them a person's.

    A box of the page that is not wanted is deleted; a wanted suggestion is accepted, or retyped where its text differs.
    """
    return [page_pb2.Operation(operation_id=uuid.uuid4().hex, **{kind: change}) for kind, change in _changes(page, wanted)]  # type: ignore[arg-type]


def _changes(page: page_pb2.Page, wanted: Sequence[WantedBox]) -> Iterator[tuple[str, object]]:
    present = {box.box_id: box for box in page.boxes}
    kept = {box.box_id for box in wanted if box.box_id in present}
    for box_id in present.keys() - kept:
        yield "delete_box", page_pb2.DeleteBox(box_id=box_id)
    order = []
    for box in wanted:
        quad = Quad(points=[Point(x=x, y=y) for x, y in box.pos])
        if box.box_id not in present:
            new = page_pb2.Box(
                box_id=box.box_id or f"box_{uuid.uuid4().hex[:16]}",
                quad=quad,
                text=box.label,
                unreadable=box.unreadable,
                source=page_pb2.Box.HUMAN,
            )
            order.append(new.box_id)
            yield "create_box", page_pb2.CreateBox(box=new)
            continue
        order.append(box.box_id)
        yield from _changes_of_box(present[box.box_id], box, quad)
    if order and order != [box.box_id for box in page.boxes if box.box_id in kept] + [b for b in order if b not in kept]:
        yield "reorder_boxes", page_pb2.ReorderBoxes(box_ids=order)


def _changes_of_box(present: page_pb2.Box, box: WantedBox, quad: Quad) -> Iterator[tuple[str, object]]:
    if _differs(present.quad, quad):
        yield "move_box", page_pb2.MoveBox(box_id=box.box_id, quad=quad)
    if present.text != box.label:
        yield "retype_box", page_pb2.RetypeBox(box_id=box.box_id, text=box.label)
    elif present.source == page_pb2.Box.SUGGESTED:
        yield "accept_box", page_pb2.AcceptBox(box_id=box.box_id)
    if present.unreadable != box.unreadable:
        yield "mark_box", page_pb2.MarkBox(box_id=box.box_id, unreadable=box.unreadable)


def _differs(a: Quad, b: Quad) -> bool:
    return any(math.dist((p.x, p.y), (q.x, q.y)) > SAME_POINT_PX for p, q in zip(a.points, b.points, strict=True))
