"""Versions between the domain and the protos, in pairs."""

from inkwright.dataset.v1 import dataset_pb2, version_pb2
from libs.runtime.errors import InvalidInput
from libs.runtime.names import DATASET, IMAGE
from libs.runtime.times import to_timestamp
from services.dataset.boxes import box_to_proto
from services.dataset.convert import enum_name
from services.dataset.domain import Dataset
from services.dataset.image import LabelState
from services.dataset.versions.diff import DiffCounts, Difference
from services.dataset.versions.version import Version, VersionEntry, VersionFilter, VersionPart


def version_to_proto(dataset: Dataset, version: Version) -> dataset_pb2.Version:
    """The resource as callers see it."""
    several = len(version.parts) > 1
    return dataset_pb2.Version(
        name=dataset.version_name(version.version_id),
        digest=version.digest,
        num_images=version.num_images,
        num_labeled=version.num_labeled,
        create_time=to_timestamp(version.create_time),
        num_test=version.num_test,
        filter=None if version.filter == VersionFilter() else filter_to_proto(version.filter),
        parts=[part_to_proto(part) for part in version.parts] if several else [],
    )


def part_to_proto(part: VersionPart) -> dataset_pb2.VersionPart:
    """Field by field."""
    return dataset_pb2.VersionPart(dataset=part.dataset, num_images=part.num_images, num_labeled=part.num_labeled, num_test=part.num_test)


def filter_to_proto(filter: VersionFilter) -> dataset_pb2.VersionFilter:
    """Field by field."""
    return dataset_pb2.VersionFilter(
        label_states=[dataset_pb2.Image.LabelState.Value(state) for state in filter.label_states],
        key_prefix=filter.key_prefix,
        key_glob=filter.key_glob,
        min_boxes=filter.min_boxes,
        excluded_images=filter.excluded_images,
    )


def filter_from_proto(filter: dataset_pb2.VersionFilter) -> VersionFilter:
    """Field by field.

    Raises:
        InvalidInput: a label state this server does not know, or none.
    """
    if dataset_pb2.Image.LABEL_STATE_UNSPECIFIED in filter.label_states:
        raise InvalidInput("LABEL_STATE_UNSPECIFIED is no state of labels; leave label_states out for all.", field="label_states")
    states = (LabelState(enum_name(dataset_pb2.Image.LabelState, value, "label_states")) for value in filter.label_states)
    return VersionFilter(
        label_states=tuple(states),
        key_prefix=filter.key_prefix,
        key_glob=filter.key_glob,
        min_boxes=filter.min_boxes,
        excluded_images=tuple(filter.excluded_images),
    )


def entry_to_proto(version: Version, entry: VersionEntry) -> dataset_pb2.VersionEntry:
    """One row of a version's manifest."""
    return dataset_pb2.VersionEntry(
        image=image_name(version.parts[entry.part].dataset, entry.image_id),
        key=entry.key,
        size_bytes=entry.size_bytes,
        store_etag=entry.store_etag,
        width_px=entry.width_px,
        height_px=entry.height_px,
        label_digest=entry.label_digest,
        boxes=[box_to_proto(box) for box in entry.boxes],
        is_test=entry.is_test,
    )


def difference_to_proto(difference: Difference) -> version_pb2.VersionDifference:
    """One image that two versions do not hold alike."""
    return version_pb2.VersionDifference(
        image=image_name(difference.dataset, difference.image_id),
        key=difference.key,
        kind=version_pb2.VersionDifference.Kind.Value(difference.kind),
        image_changed=difference.image_changed,
        labels_changed=difference.labels_changed,
        test_changed=difference.test_changed,
        old_num_boxes=difference.old_num_boxes,
        num_boxes=difference.num_boxes,
        text_changes=[version_pb2.TextChange(old_text=old, text=new) for old, new in difference.text_changes],
    )


def diff_counts_to_proto(counts: DiffCounts) -> version_pb2.VersionDifferenceCounts:
    """Field by field."""
    return version_pb2.VersionDifferenceCounts(
        num_added=counts.num_added,
        num_removed=counts.num_removed,
        num_image_changed=counts.num_image_changed,
        num_labels_changed=counts.num_labels_changed,
        num_test_changed=counts.num_test_changed,
        num_unchanged=counts.num_unchanged,
    )


def image_name(dataset: str, image_id: str) -> str:
    """Of an image of the dataset of this name."""
    return IMAGE.format(**DATASET.parse(dataset), image=image_id)
