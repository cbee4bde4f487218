"""Imports and exports of labels between domain and protos."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Final

from inkwright.dataset.v1 import transfer_pb2
from libs.runtime.names import LABEL_IMPORT
from services.dataset.convert import enum_name, finding_to_proto
from services.dataset.domain import Dataset
from services.dataset.transfer.actions import new_import_id
from services.dataset.transfer.label_export import ExportReport
from services.dataset.transfer.label_import import ImportRow, ImportState, LabelImport, Outcome

_UNSET: Final = datetime.fromtimestamp(0, UTC)


def import_from_proto(said: transfer_pb2.LabelImport) -> LabelImport:
    """What a caller asks for, with a fresh id."""
    return LabelImport(
        uid=new_import_id(),
        dataset_uid="",
        state=ImportState.UPLOADING,
        create_time=_UNSET,
        update_time=_UNSET,
        format=said.format,
        overwrite=said.overwrite,
        dry_run=said.dry_run,
        prefix=said.prefix,
        file_name=said.file_name,
    )


def import_to_proto(dataset: Dataset, one: LabelImport) -> transfer_pb2.LabelImport:
    """The resource as callers see it."""
    message = transfer_pb2.LabelImport(
        name=LABEL_IMPORT.format(project=dataset.project, dataset=dataset.dataset_id, label_import=one.uid),
        format=one.format,
        overwrite=one.overwrite,
        dry_run=one.dry_run,
        prefix=one.prefix,
        file_name=one.file_name,
        size_bytes=one.size_bytes,
        state=transfer_pb2.LabelImport.State.Value(one.state),
        error_message=one.error_message,
        counts=transfer_pb2.LabelImportCounts(**asdict(one.counts)),
    )
    message.create_time.FromDatetime(one.create_time)
    message.update_time.FromDatetime(one.update_time)
    return message


def import_row_to_proto(dataset: Dataset, row: ImportRow) -> transfer_pb2.LabelImportRow:
    """One row of an import."""
    return transfer_pb2.LabelImportRow(
        number=row.number,
        outcome=transfer_pb2.LabelImportRow.Outcome.Value(row.outcome),
        image=dataset.image_name(row.image_id) if row.image_id else "",
        key=row.key,
        label_file=row.label_file,
        num_boxes=row.num_boxes,
        findings=[finding_to_proto(finding) for finding in row.findings],
    )


def outcome_from_proto(value: int) -> Outcome | None:
    """The outcome to look for; None for all.

    Raises:
        InvalidInput: no outcome of this number.
    """
    name = enum_name(transfer_pb2.LabelImportRow.Outcome, value, "outcome")
    return None if name == "OUTCOME_UNSPECIFIED" else Outcome(name)


def export_report_to_proto(report: ExportReport) -> transfer_pb2.LabelExportReport:
    """What an export wrote and lost."""
    loss = transfer_pb2.LabelExportReport.Loss
    return transfer_pb2.LabelExportReport(
        num_pages=report.num_pages,
        num_boxes=report.num_boxes,
        num_unlabeled=report.num_unlabeled,
        num_failed=report.num_failed,
        failures=report.failures,
        losses=[loss(code=one.name, description=one.value, count=report.losses[one]) for one in sorted(report.losses)],
    )
