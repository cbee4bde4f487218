"""Uploads between domain and wire."""

from inkwright.dataset.v1 import upload_pb2
from libs.runtime.names import UPLOAD
from libs.runtime.times import to_timestamp
from services.dataset.domain import Dataset
from services.dataset.uploads.upload import Outcome, Result, Upload, UploadOptions


def upload_to_proto(dataset: Dataset, upload: Upload) -> upload_pb2.Upload:
    """The resource as callers see it."""
    counts = upload.counts
    return upload_pb2.Upload(
        name=UPLOAD.format(project=dataset.project, dataset=dataset.dataset_id, upload=upload.upload_id),
        file_name=upload.file_name,
        folder=upload.folder,
        size_bytes=upload.size_bytes,
        sha256=upload.sha256,
        rename=upload.options.rename,
        split_pages=upload.options.split_pages,
        convert=upload.options.convert,
        state=upload_pb2.Upload.State.Value(upload.state),
        source=upload_pb2.Upload.Source.Value(upload.source),
        received_bytes=upload.received_bytes,
        error_message=upload.error_message,
        counts=upload_pb2.UploadCounts(
            num_stored=counts.num_stored,
            num_already_there=counts.num_already_there,
            num_skipped=counts.num_skipped,
            num_failed=counts.num_failed,
            num_done=counts.num_done,
            num_total=counts.num_total,
        ),
        create_time=to_timestamp(upload.create_time),
        update_time=to_timestamp(upload.update_time),
    )


def options_from_proto(upload: upload_pb2.Upload) -> UploadOptions:
    """What the caller wants done."""
    return UploadOptions(rename=upload.rename, split_pages=upload.split_pages, convert=upload.convert)


def outcome_to_proto(outcome: Outcome) -> upload_pb2.UploadRow:
    """One row."""
    return upload_pb2.UploadRow(
        source=outcome.source,
        result=upload_pb2.UploadRow.Result.Value(outcome.result),
        key=outcome.key,
        reason=outcome.reason,
        message=outcome.message,
    )


def result_from_proto(result: upload_pb2.UploadRow.Result.ValueType) -> Result | None:
    """A filter; None lets all pass."""
    return Result(upload_pb2.UploadRow.Result.Name(result)) if result else None
