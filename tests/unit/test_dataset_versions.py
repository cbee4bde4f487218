"""Versions without a database: digests, filters, differences between two entries."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inkwright.dataset.v1 import dataset_pb2
from libs.runtime.errors import InvalidInput
from services.dataset.image import LabelBox, LabelState, Quad
from services.dataset.versions.convert import filter_from_proto, filter_to_proto
from services.dataset.versions.diff import DiffCounts, Difference, DifferenceKind, difference
from services.dataset.versions.version import VersionDigest, VersionEntry, VersionFilter

words = st.text(st.characters(exclude_characters="\0\n", exclude_categories=["Cs"]), max_size=5)
rows = st.lists(st.tuples(words, st.integers(0, 9), words, words, st.booleans()), max_size=6)
parts = st.dictionaries(st.sampled_from(["projects/p/datasets/a", "projects/p/datasets/b"]), rows, min_size=1)


def quad(left: float) -> Quad:
    return (left, 0.0), (left + 9, 0.0), (left + 9, 9.0), (left, 9.0)


def entry(*texts: str, etag: str = "e", is_test: bool = False) -> VersionEntry:
    boxes = tuple(LabelBox(f"b{number}", quad(10.0 * number), text) for number, text in enumerate(texts))
    return VersionEntry(0, "img_1", "a.png", 5, etag, 40, 40, "/".join(texts), is_test, boxes)


def digest_of(content: dict[str, list[tuple[str, int, str, str, bool]]]) -> str:
    digest = VersionDigest()
    for dataset, entries in content.items():
        if len(content) > 1:
            digest.begin_part(dataset)
        for one in entries:
            digest.add(*one)
    return digest.hexdigest()


@given(parts, parts)
def test_digests_are_equal_where_the_content_is(
    one: dict[str, list[tuple[str, int, str, str, bool]]], other: dict[str, list[tuple[str, int, str, str, bool]]]
) -> None:
    # Of one dataset the digest does not tell which.
    content = [next(iter(each.values())) if len(each) == 1 else list(each.items()) for each in (one, other)]
    assert (digest_of(one) == digest_of(other)) == (content[0] == content[1])


def test_a_version_without_anything_new_has_the_digest_that_versions_always_had() -> None:
    expected = hashlib.sha256(b"a.png\0" + b"5\0e\0d\n" + "é.png\0".encode() + b"6\0f\0\n").hexdigest()
    assert digest_of({"projects/p/datasets/a": [("a.png", 5, "e", "d", False), ("é.png", 6, "f", "", False)]}) == expected


@given(
    st.builds(
        VersionFilter,
        label_states=st.lists(st.sampled_from(LabelState), max_size=3).map(tuple),
        key_prefix=words,
        key_glob=words,
        min_boxes=st.integers(0, 9),
        excluded_images=st.lists(words, max_size=3).map(tuple),
    )
)
def test_filters_survive_the_wire(made: VersionFilter) -> None:
    assert filter_from_proto(filter_to_proto(made)) == made


def test_what_a_filter_cannot_mean_is_refused() -> None:
    name = "projects/p/datasets/d/images/img_1"
    for refused in (VersionFilter(min_boxes=-1), VersionFilter(key_glob="x" * 1001), VersionFilter(excluded_images=(name,) * 501)):
        with pytest.raises(InvalidInput):
            refused.check()
    with pytest.raises(InvalidInput):
        filter_from_proto(dataset_pb2.VersionFilter(label_states=[dataset_pb2.Image.LABEL_STATE_UNSPECIFIED]))
    assert VersionFilter(excluded_images=(name,)).excluded_of("projects/p/datasets/d") == ["img_1"]
    assert VersionFilter(excluded_images=(name,)).excluded_of("projects/p/datasets/other") == []


def test_a_difference_names_what_has_changed() -> None:
    dataset = "projects/p/datasets/d"
    assert difference(dataset, entry("a"), entry("a")) is None
    assert difference(dataset, entry("a"), entry("a", etag="f")) == Difference(
        dataset, "img_1", "a.png", DifferenceKind.CHANGED, image_changed=True, old_num_boxes=1, num_boxes=1
    )
    assert difference(dataset, entry("a", "b"), entry("a", "c", "d")) == Difference(
        dataset,
        "img_1",
        "a.png",
        DifferenceKind.CHANGED,
        labels_changed=True,
        old_num_boxes=2,
        num_boxes=3,
        text_changes=(("b", "c"),),
    )
    taken = difference(dataset, entry("a"), entry("a", is_test=True))
    assert taken is not None
    assert (taken.image_changed, taken.labels_changed, taken.test_changed) == (False, False, True)
    assert difference(dataset, None, entry("a")) == Difference(dataset, "img_1", "a.png", DifferenceKind.ADDED, num_boxes=1)
    assert difference(dataset, entry("a"), None) == Difference(dataset, "img_1", "a.png", DifferenceKind.REMOVED, old_num_boxes=1)


def test_boxes_on_one_place_are_not_taken_for_each_other() -> None:
    before, after = ((LabelBox("1", quad(0), one), LabelBox("2", quad(0), other)) for one, other in (("a", "b"), ("b", "c")))
    made = [VersionEntry(0, "i", "k", 1, "e", 9, 9, digest, boxes=boxes) for digest, boxes in (("x", before), ("y", after))]
    changed = difference("projects/p/datasets/d", *made)
    assert changed is not None
    assert changed.text_changes == ()


def test_counts_add_up_kind_by_kind() -> None:
    assert DiffCounts(1, 2, 3, 4, 5, 6) + DiffCounts(num_unchanged=4) == DiffCounts(1, 2, 3, 4, 5, 10)
