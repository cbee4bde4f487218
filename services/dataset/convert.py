"""Between the domain and the protos, in pairs."""

from collections.abc import Sequence
from typing import Any

from inkwright.dataset.v1 import dataset_pb2, dataset_service_pb2
from libs.runtime.errors import InvalidInput
from libs.runtime.times import to_timestamp
from services.dataset import domain
from services.dataset.boxes import box_to_proto
from services.dataset.connection_check import Step, StepResult
from services.dataset.domain import Counts, Dataset, Place, Progress
from services.dataset.image import Finding, Image, ImageLabels, ImageState, LabelState, Severity


def dataset_to_proto(dataset: Dataset) -> dataset_pb2.Dataset:
    """The resource as callers see it."""
    return dataset_pb2.Dataset(
        name=dataset.name,
        description=dataset.description,
        storage_type=dataset_pb2.Dataset.StorageType.Value(dataset.storage_type),
        path=dataset.path,
        connection=dataset.connection,
        state=dataset_pb2.Dataset.State.Value(dataset.state),
        error_message=dataset.error_message,
        counts=counts_to_proto(dataset.counts),
        sync_number=dataset.sync_number,
        progress=progress_to_proto(dataset.progress),
        etag=dataset.etag,
        create_time=to_timestamp(dataset.create_time),
        update_time=to_timestamp(dataset.update_time),
        trash_time=to_timestamp(dataset.trash_time) if dataset.trash_time else None,
        purge_time=to_timestamp(dataset.purge_time) if dataset.purge_time else None,
    )


def storage_type_from_proto(value: int) -> domain.StorageType:
    """Unspecified means LOCAL.

    Raises:
        InvalidInput: a value this server does not know.
    """
    if value == dataset_pb2.Dataset.STORAGE_TYPE_UNSPECIFIED:
        return domain.StorageType.LOCAL
    return domain.StorageType(enum_name(dataset_pb2.Dataset.StorageType, value, "storage_type"))


def place_from_proto(said: dataset_pb2.Dataset | dataset_service_pb2.TestConnectionRequest) -> Place:
    """Where images lie; OSS without a connection means the default one.

    Raises:
        InvalidInput: a storage type this server does not know.
    """
    storage_type = storage_type_from_proto(said.storage_type)
    is_oss = storage_type is domain.StorageType.OSS
    return Place(storage_type, said.path, said.connection or (domain.DEFAULT_CONNECTION if is_oss else ""))


def report_to_proto(steps: Sequence[Step]) -> dataset_pb2.ConnectionReport:
    """What a test of a connection found."""
    kind, result = dataset_pb2.ConnectionStep.Kind, dataset_pb2.ConnectionStep.Result
    return dataset_pb2.ConnectionReport(
        steps=[
            dataset_pb2.ConnectionStep(
                kind=kind.Value(step.kind), result=result.Value(step.result), message=step.message, reason=step.reason, seconds=step.seconds
            )
            for step in steps
        ],
        passed=all(step.result is not StepResult.FAILED for step in steps),
    )


def image_state_from_proto(value: int) -> ImageState | None:
    """Unspecified means any.

    Raises:
        InvalidInput: a value this server does not know.
    """
    return ImageState(enum_name(dataset_pb2.Image.State, value, "state")) if value else None


def label_state_from_proto(value: int) -> LabelState | None:
    """Unspecified means any.

    Raises:
        InvalidInput: a value this server does not know.
    """
    return LabelState(enum_name(dataset_pb2.Image.LabelState, value, "label_state")) if value else None


def enum_name(kind: Any, value: int, field: str) -> str:
    """The name of an enum's value.

    Raises:
        InvalidInput: a value this server does not know.
    """
    if value not in kind.values():
        raise InvalidInput(f"{value} is no value of {field}.", field=field, value=value)
    name: str = kind.Name(value)
    return name


def counts_to_proto(counts: Counts) -> dataset_pb2.DatasetCounts:
    """Field by field."""
    return dataset_pb2.DatasetCounts(
        num_images=counts.num_images,
        num_labeled=counts.num_labeled,
        num_unlabeled=counts.num_unlabeled,
        num_rejected=counts.num_rejected,
        num_boxes=counts.num_boxes,
        num_with_findings=counts.num_with_findings,
        num_submitted=counts.num_submitted,
        num_returned=counts.num_returned,
    )


def counts_from_proto(counts: dataset_pb2.DatasetCounts) -> Counts:
    """Field by field."""
    return Counts(
        num_images=counts.num_images,
        num_labeled=counts.num_labeled,
        num_unlabeled=counts.num_unlabeled,
        num_rejected=counts.num_rejected,
        num_boxes=counts.num_boxes,
        num_with_findings=counts.num_with_findings,
        num_submitted=counts.num_submitted,
        num_returned=counts.num_returned,
    )


def progress_to_proto(progress: Progress) -> dataset_pb2.SyncProgress:
    """Field by field."""
    return dataset_pb2.SyncProgress(
        num_seen=progress.num_seen, num_changed=progress.num_changed, images_per_second=progress.images_per_second
    )


def finding_to_proto(finding: Finding) -> dataset_pb2.Finding:
    """Field by field."""
    severity = dataset_pb2.Finding.Severity.Value(finding.severity)
    return dataset_pb2.Finding(severity=severity, code=finding.code, message=finding.message, line=finding.line)


def finding_from_proto(finding: dataset_pb2.Finding) -> Finding:
    """Field by field."""
    severity = Severity(dataset_pb2.Finding.Severity.Name(finding.severity))
    return Finding(severity, finding.code, finding.message, finding.line)


def image_to_proto(dataset: Dataset, image: Image) -> dataset_pb2.Image:
    """The resource as callers see it."""
    return dataset_pb2.Image(
        name=dataset.image_name(image.image_id),
        key=image.key,
        state=dataset_pb2.Image.State.Value(image.state),
        label_state=dataset_pb2.Image.LabelState.Value(image.label_state),
        width_px=image.width_px,
        height_px=image.height_px,
        size_bytes=image.size_bytes,
        store_etag=image.store_etag,
        label_key=image.label_key,
        label_digest=image.label_digest,
        num_boxes=image.num_boxes,
        findings=[finding_to_proto(finding) for finding in image.findings],
        update_time=to_timestamp(image.update_time),
    )


def labels_to_proto(dataset: Dataset, image: Image, labels: ImageLabels) -> dataset_pb2.ImageLabels:
    """What the label file of an image says."""
    return dataset_pb2.ImageLabels(
        name=dataset.labels_name(image.image_id),
        boxes=[box_to_proto(box) for box in labels.boxes],
        file_etag=labels.file_etag,
        findings=[finding_to_proto(finding) for finding in labels.findings],
        width_px=image.width_px,
        height_px=image.height_px,
    )
