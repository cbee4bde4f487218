"""The page fold: the cases shared with the editor, and what holds for every list of operations."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import ParseDict
from hypothesis import given
from hypothesis import strategies as st

from inkwright.labeling.v1 import page_pb2
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
    signed_area,
)
from services.labeling.convert import box_from_proto, operation_from_proto
from services.labeling.fold import Content, fold

CASES = sorted((Path(__file__).parents[1] / "data" / "page_fold").glob("*.json"))
WIDTH, HEIGHT = 200, 100


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_case(path: Path) -> None:
    case: dict[str, Any] = json.loads(path.read_text())
    operations = [operation_from_proto(ParseDict(one, page_pb2.Operation())) for one in case["operations"]]

    def run() -> Content:
        return fold(Content(), operations, width_px=case["widthPx"], height_px=case["heightPx"])

    if "fault" in case:
        with pytest.raises((BoxInvalid, BoxNotFound)) as caught:
            run()
        assert caught.value.reason == case["fault"]["reason"]
        assert caught.value.metadata["operation_id"] == case["fault"]["operationId"]
    else:
        assert list(run().boxes) == [box_from_proto(ParseDict(one, page_pb2.Box())) for one in case["boxes"]]


def test_there_are_cases() -> None:
    assert len(CASES) >= 20


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_coordinates_that_are_no_numbers_are_refused(value: float) -> None:
    quad: Quad = ((value, 0.0), (10.0, 0.0), (10.0, 10.0), (0.0, 10.0))
    with pytest.raises(BoxInvalid):
        fold(Content(), [Operation("o", CreateBox(Box("a", quad, "x")))], width_px=WIDTH, height_px=HEIGHT)


@pytest.mark.parametrize("confidence", [-0.1, 1.1, math.nan])
def test_a_confidence_outside_its_range_is_refused(confidence: float) -> None:
    box = Box("a", ((0, 0), (9, 0), (9, 9), (0, 9)), "x", confidence=confidence)
    with pytest.raises(BoxInvalid):
        fold(Content(), [Operation("o", CreateBox(box))], width_px=WIDTH, height_px=HEIGHT)


BOX_IDS = st.sampled_from(["a", "b", "c", "d"])
TEXTS = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"], exclude_characters="\ufffe\uffff"), max_size=8)


@st.composite
def quads(draw: st.DrawFn) -> Quad:
    """Rectangles that have an area on the page, possibly reaching out of it."""
    x0, y0 = draw(st.floats(-50, WIDTH - 5)), draw(st.floats(-50, HEIGHT - 5))
    x1 = draw(st.floats(max(x0, 0) + 2, WIDTH + 50))
    y1 = draw(st.floats(max(y0, 0) + 2, HEIGHT + 50))
    return (x0, y0), (x1, y0), (x1, y1), (x0, y1)


KINDS: st.SearchStrategy[Kind] = st.one_of(
    st.builds(CreateBox, st.builds(Box, BOX_IDS, quads(), TEXTS, st.booleans(), st.sampled_from(Source), st.floats(0, 1))),
    st.builds(MoveBox, BOX_IDS, quads()),
    st.builds(RetypeBox, BOX_IDS, TEXTS),
    st.builds(DeleteBox, BOX_IDS),
    st.builds(MarkBox, BOX_IDS, st.booleans()),
    st.builds(ReorderBoxes, st.lists(BOX_IDS, max_size=3).map(tuple)),
    st.builds(AcceptBox, BOX_IDS),
)


@given(st.lists(KINDS, max_size=25))
def test_folding_all_at_once_equals_folding_one_by_one(kinds: list[Kind]) -> None:
    operations = [Operation(f"o{number}", kind) for number, kind in enumerate(kinds)]
    content, accepted, named = Content(), [], []
    for operation in operations:
        try:
            content = fold(content, [operation], width_px=WIDTH, height_px=HEIGHT)
            accepted.append(operation)
        except (BoxInvalid, BoxNotFound) as fault:
            named.append(fault.metadata["operation_id"])
    assert named == [operation.operation_id for operation in operations if operation not in accepted]
    assert fold(Content(), accepted, width_px=WIDTH, height_px=HEIGHT) == content
    for box in content.boxes:
        assert box.box_id in content.used_ids
        assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in box.quad)
        assert signed_area(box.quad) > 0
    assert len({box.box_id for box in content.boxes}) == len(content.boxes)


@given(st.lists(st.builds(Box, BOX_IDS, quads(), TEXTS), unique_by=lambda box: box.box_id), st.permutations(["a", "b", "c", "d"]))
def test_reordering_only_reorders(boxes: list[Box], order: list[str]) -> None:
    created = fold(Content(), [Operation(box.box_id, CreateBox(box)) for box in boxes], width_px=WIDTH, height_px=HEIGHT)
    wanted = tuple(box_id for box_id in order if box_id in created.used_ids)
    reordered = fold(created, [Operation("r", ReorderBoxes(wanted))], width_px=WIDTH, height_px=HEIGHT)
    assert tuple(box.box_id for box in reordered.boxes) == wanted
    assert set(reordered.boxes) == set(created.boxes)
    assert replace(reordered, boxes=created.boxes) == created
