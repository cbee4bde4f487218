"""Datasets: pairing, comparing, counting, states and digests."""

import random
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.runtime.errors import Conflict, InvalidInput
from libs.runtime.object_store import ObjectInfo
from services.dataset.domain import Counts, Dataset, DatasetNotReady, DatasetState, Progress, StorageType
from services.dataset.image import KINDS, Finding, Image, ImageLabels, ImageState, LabelBox, LabelState, Severity, image_id_of
from services.dataset.pairing import Candidate, file_stem_of, is_image, pair, stem_of, suffix_of

AT = datetime(2026, 1, 2, tzinfo=UTC)
BOX = LabelBox("f1", ((0, 0), (9, 0), (9, 9), (0, 9)), "hello")
WARNING = Finding(Severity.WARNING, "W", "w")


def stored(key: str, etag: str = "e") -> ObjectInfo:
    return ObjectInfo(key, 10, etag, AT)


def image(key: str = "a.jpg") -> Image:
    return Image(image_id_of(key), key, ImageState.USABLE, LabelState.UNLABELED, 100, 80, 10, "e", update_time=AT)


def dataset() -> Dataset:
    return Dataset("ds-1", "default", "cards", "", StorageType.LOCAL, "/data", DatasetState.INDEXING, AT, AT)


def test_parts_of_a_key() -> None:
    assert (stem_of("p/a.b.JPG"), file_stem_of("p/a.b.JPG"), suffix_of("p/a.b.JPG")) == ("p/a.b", "a.b", ".jpg")
    assert (stem_of("p.x/readme"), suffix_of("p.x/readme")) == ("p.x/readme", "")
    assert [key for key in ("a.jpg", "a.JPEG", "a.Png", "a.bmp", "a.gif", "a.xml", "jpg") if is_image(key)] == [
        "a.jpg",
        "a.JPEG",
        "a.Png",
        "a.bmp",
    ]


def test_image_ids_are_stable_and_can_be_a_part_of_a_name() -> None:
    assert image_id_of("a.jpg") == image_id_of("a.jpg") != image_id_of("b.jpg")
    assert dataset().image_name(image_id_of("Fotos/größe 1.jpg")).startswith("projects/default/datasets/cards/images/img_")


def test_images_are_paired_with_the_label_file_of_their_stem_and_folder() -> None:
    files = [stored(key) for key in ("b.PNG", "a.jpg", "a.xml", "p/a.jpg", "p/b.xml", "notes.txt", "b.XML")]
    found = {candidate.image.key: candidate.label.key if candidate.label else None for candidate in pair(files)}
    assert found == {"a.jpg": "a.xml", "b.PNG": "b.XML", "p/a.jpg": None}
    assert list(found) == sorted(found)


def test_images_of_one_stem_know_of_each_other() -> None:
    found = pair([stored("a.jpg"), stored("a.png"), stored("a.xml")])
    assert [candidate.shares_label_with for candidate in found] == [("a.png",), ("a.jpg",)]
    assert {candidate.label.key for candidate in found if candidate.label} == {"a.xml"}


def test_a_row_has_the_tag_of_the_files_it_was_made_from() -> None:
    labels = ImageLabels((BOX,), (), "label-etag", "digest", readable=True)
    row = replace(image(), shares_label_with=("a.png",)).with_labels(labels, label_key="a.xml", at=AT)
    candidate = Candidate(stored("a.jpg"), stored("a.xml", "label-etag"), ("a.png",))
    assert row.source_tag == candidate.source_tag


def test_label_states() -> None:
    labels = ImageLabels((BOX,), (), "etag-1", "digest-1", readable=True)
    labeled = image().with_labels(labels, label_key="a.xml", at=AT)
    assert (labeled.label_state, labeled.num_boxes, labeled.label_digest) == (LabelState.LABELED, 1, "digest-1")
    submitted = labeled.submitted(1, at=AT)
    assert submitted.label_state is LabelState.SUBMITTED
    assert submitted.returned(at=AT).label_state is LabelState.RETURNED
    # Copied with the same bytes: still what was submitted. Other bytes: somebody else's.
    assert submitted.with_labels(replace(labels, file_etag="etag-2"), label_key="a.xml", at=AT).label_state is LabelState.SUBMITTED
    assert submitted.with_labels(replace(labels, digest="digest-2"), label_key="a.xml", at=AT).label_state is LabelState.LABELED
    assert submitted.with_labels(ImageLabels(), label_key="a.xml", at=AT).label_key == ""
    unreadable = submitted.with_labels(ImageLabels(findings=(WARNING,), file_etag="etag-3", digest="x"), label_key="a.xml", at=AT)
    assert (unreadable.label_state, unreadable.label_key, unreadable.label_digest) == (LabelState.UNLABELED, "a.xml", "")


IMAGES = st.builds(
    lambda usable, label_state, boxes, found: replace(
        image(),
        state=ImageState.USABLE if usable else ImageState.REJECTED,
        label_state=label_state,
        num_boxes=boxes,
        image_findings=(WARNING,) * found,
    ),
    st.booleans(),
    st.sampled_from(LabelState),
    st.integers(0, 9),
    st.integers(0, 2),
)


@given(st.lists(IMAGES, max_size=12), st.randoms(use_true_random=False))
def test_counts_kept_step_by_step_equal_counts_from_scratch(images: list[Image], order: random.Random) -> None:
    counts = Counts()
    for one in images:
        counts = counts.exchange(None, one)
    assert counts.num_images == len(images) == counts.num_labeled + counts.num_unlabeled + counts.num_rejected
    assert counts.num_boxes == sum(one.num_boxes for one in images)
    assert counts.num_images == sum(counts.of_kind(*kind) for kind in KINDS)
    for label_state in LabelState:
        usable = [one for one in images if one.is_usable and one.label_state is label_state]
        assert counts.of_kind(ImageState.USABLE, label_state) == len(usable)
    others = [one.submitted(3, at=AT) for one in images]
    for one, other in zip(images, others, strict=True):
        counts = counts.exchange(one, other)
    assert counts.num_unlabeled == 0
    order.shuffle(others)
    for other in others:
        counts = counts.exchange(other, None)
    assert counts == Counts()


def test_the_life_of_a_sync() -> None:
    new = dataset()
    assert new.want_sync(at=AT) is new
    with pytest.raises(DatasetNotReady):
        new.check_freezable()
    moved = new.moved_on(Progress(5, 2, 1.5))
    assert (moved.progress.num_seen, moved.etag) == (5, new.etag)
    ready = moved.synced(at=AT)
    assert (ready.state, ready.sync_number, ready.sync_wanted, ready.progress) == (DatasetState.READY, 1, False, Progress())
    ready.check_freezable()
    again = ready.want_sync(at=AT)
    assert (again.state, again.sync_wanted) == (DatasetState.READY, True)
    failed = again.sync_failed("no disk", at=AT)
    assert (failed.state, failed.error_message, failed.sync_wanted) == (DatasetState.FAILED, "no disk", False)
    failed.check_freezable()
    assert failed.want_sync(at=AT).synced(at=AT).error_message == ""
    assert new.sync_failed("no disk", at=AT).want_sync(at=AT).state is DatasetState.INDEXING


def test_a_stale_etag_is_refused() -> None:
    old = dataset()
    new = old.describe("words", at=AT)
    new.check_etag("")
    new.check_etag(new.etag)
    with pytest.raises(Conflict):
        new.check_etag(old.etag)
    with pytest.raises(InvalidInput):
        old.describe("x" * 1001, at=AT)
