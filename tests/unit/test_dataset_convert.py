"""Domain values survive the way to the protos and back; findings and ids of label files are what they say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inkwright.common.v1 import geometry_pb2
from inkwright.dataset.v1 import dataset_pb2
from libs.runtime.errors import InvalidInput
from services.dataset import convert
from services.dataset.boxes import boxes_from_bytes, boxes_to_bytes, quad_from_proto
from services.dataset.domain import Counts, StorageType
from services.dataset.image import Finding, ImageState, LabelBox, LabelState, Severity
from services.dataset.label_file import box_to_file, boxes_from_file

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NUMBERS = st.integers(0, 2**40)
POINTS = st.tuples(st.floats(allow_nan=False), st.floats(allow_nan=False))
BOXES = st.builds(LabelBox, TEXTS, st.tuples(POINTS, POINTS, POINTS, POINTS), TEXTS, st.booleans())


@given(st.lists(BOXES, max_size=4).map(tuple))
def test_boxes_come_back(boxes: tuple[LabelBox, ...]) -> None:
    assert boxes_from_bytes(boxes_to_bytes(boxes)) == boxes


@given(st.builds(Finding, st.sampled_from(Severity), TEXTS, TEXTS, st.integers(0, 2**31 - 1)))
def test_findings_come_back(finding: Finding) -> None:
    assert convert.finding_from_proto(convert.finding_to_proto(finding)) == finding


@given(st.builds(Counts, *[NUMBERS] * 8))
def test_counts_come_back(counts: Counts) -> None:
    assert convert.counts_from_proto(convert.counts_to_proto(counts)) == counts


def test_every_word_of_the_domain_is_a_value_of_the_proto() -> None:
    assert [dataset_pb2.Image.State.Name(dataset_pb2.Image.State.Value(word)) for word in ImageState] == list(ImageState)
    for word in LabelState:
        assert convert.label_state_from_proto(dataset_pb2.Image.LabelState.Value(word)) is word
    for storage in StorageType:
        assert convert.storage_type_from_proto(dataset_pb2.Dataset.StorageType.Value(storage)) is storage


def test_what_is_not_said() -> None:
    assert convert.storage_type_from_proto(0) is StorageType.LOCAL
    assert convert.image_state_from_proto(0) is None
    assert convert.label_state_from_proto(0) is None


def test_an_unknown_value_is_refused() -> None:
    with pytest.raises(InvalidInput, match="99 is no value of state"):
        convert.image_state_from_proto(99)
    with pytest.raises(InvalidInput, match="A quad has 4 points"):
        quad_from_proto(geometry_pb2.Quad(points=[geometry_pb2.Point(x=1, y=1)]))


def test_boxes_of_a_file_have_ids_of_their_own() -> None:
    quad = ((0.0, 0.0), (9.0, 0.0), (9.0, 9.0), (0.0, 9.0))
    ids = ("f2", "", "f2", "not an id", "x")
    found = boxes_from_file(tuple(box_to_file(LabelBox(box_id, quad, "t")) for box_id in ids))
    assert len({box.box_id for box in found}) == len(ids)
    assert (found[0].box_id, found[4].box_id) == ("f2", "x")
    assert all(box.quad == quad for box in found)
