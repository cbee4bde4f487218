"""Boxes and operations survive the way to the protos and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inkwright.common.v1 import geometry_pb2
from inkwright.dataset.v1 import dataset_pb2
from inkwright.labeling.v1 import page_pb2
from libs.runtime.errors import InvalidInput
from services.labeling import convert
from services.labeling.boxes import (
    AcceptBox,
    Box,
    BoxInvalid,
    CreateBox,
    DeleteBox,
    Kind,
    MarkBox,
    MoveBox,
    Operation,
    ReorderBoxes,
    RetypeBox,
    Source,
)

IDS = st.text("abcXYZ019_-", min_size=1, max_size=64)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
POINTS = st.tuples(st.floats(allow_nan=False), st.floats(allow_nan=False))
QUADS = st.tuples(POINTS, POINTS, POINTS, POINTS)
BOXES = st.builds(Box, IDS, QUADS, TEXTS, st.booleans(), st.sampled_from(Source), st.floats(0, 1), TEXTS)
KINDS: st.SearchStrategy[Kind] = st.one_of(
    st.builds(CreateBox, BOXES),
    st.builds(MoveBox, IDS, QUADS),
    st.builds(RetypeBox, IDS, TEXTS),
    st.builds(DeleteBox, IDS),
    st.builds(MarkBox, IDS, st.booleans()),
    st.builds(ReorderBoxes, st.lists(IDS, max_size=4).map(tuple)),
    st.builds(AcceptBox, IDS),
)


@given(st.lists(BOXES, max_size=4).map(tuple))
def test_boxes_come_back(boxes: tuple[Box, ...]) -> None:
    assert convert.boxes_from_bytes(convert.boxes_to_bytes(boxes)) == boxes


@given(st.builds(Operation, IDS, KINDS))
def test_operations_come_back(operation: Operation) -> None:
    assert convert.operation_from_bytes(convert.operation_to_bytes(operation)) == operation


def test_an_operation_without_a_kind_is_refused() -> None:
    with pytest.raises(InvalidInput, match="says nothing to do"):
        convert.operation_from_proto(page_pb2.Operation(operation_id="o"))


@pytest.mark.parametrize("operation_id", ["", "a b", "x" * 65])
def test_a_bad_operation_id_is_refused(operation_id: str) -> None:
    with pytest.raises(InvalidInput, match="is no operation id"):
        convert.operation_from_proto(page_pb2.Operation(operation_id=operation_id, delete_box=page_pb2.DeleteBox(box_id="a")))


def test_a_quad_of_three_points_names_its_operation() -> None:
    quad = geometry_pb2.Quad(points=[geometry_pb2.Point(x=1, y=1)] * 3)
    operation = page_pb2.Operation(operation_id="o", move_box=page_pb2.MoveBox(box_id="a", quad=quad))
    with pytest.raises(BoxInvalid) as caught:
        convert.operation_from_proto(operation)
    assert caught.value.metadata == {"box_id": "a", "num_points": "3", "operation_id": "o"}


def test_a_file_with_a_rejected_finding_is_not_readable() -> None:
    finding = dataset_pb2.Finding(severity=dataset_pb2.Finding.REJECTED, code="LABEL_UNREADABLE")
    assert not convert.file_from_proto(dataset_pb2.ImageLabels(file_etag="e", findings=[finding])).readable
    assert convert.file_from_proto(dataset_pb2.ImageLabels(file_etag="e")).readable
    assert not convert.file_from_proto(dataset_pb2.ImageLabels()).readable
