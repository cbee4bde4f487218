"""Imports and exports of labels, as tests call them."""

import io
import zipfile
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING

from inkwright.dataset.v1 import dataset_service_pb2, transfer_pb2
from libs.runtime.grpc_client import call, stream, upload
from libs.runtime.testing import assert_eventually

if TYPE_CHECKING:
    from inkwright.dataset.v1.dataset_service_pb2_grpc import DatasetServiceAsyncStub

State, Outcome = transfer_pb2.LabelImport.State, transfer_pb2.LabelImportRow.Outcome


def zipped(files: Mapping[str, bytes | str]) -> bytes:
    """A ZIP of some files."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return data.getvalue()


async def uploaded(
    stub: "DatasetServiceAsyncStub",
    dataset: str,
    file_name: str,
    data: bytes,
    *,
    label_format: str = "",
    overwrite: bool = False,
    dry_run: bool = False,
    request_id: str = "",
    complete: bool = True,
) -> transfer_pb2.LabelImport:
    """Send a file; the import has begun, unless the stream ends before the file is ``complete``."""
    wanted = transfer_pb2.LabelImport(file_name=file_name, format=label_format, overwrite=overwrite, dry_run=dry_run)

    async def pieces() -> AsyncIterator[transfer_pb2.UploadLabelsRequest]:
        create = transfer_pb2.CreateLabelImportRequest(parent=dataset, label_import=wanted, request_id=request_id)
        yield transfer_pb2.UploadLabelsRequest(create=create)
        for start in range(0, len(data), 700_000):
            yield transfer_pb2.UploadLabelsRequest(chunk=data[start : start + 700_000])
        yield transfer_pb2.UploadLabelsRequest(complete=complete)

    return await upload(stub.UploadLabels, pieces())


async def ended(stub: "DatasetServiceAsyncStub", name: str, *, timeout_seconds: float = 30) -> transfer_pb2.LabelImport:
    """The import when nothing more is done."""

    async def look() -> transfer_pb2.LabelImport:
        one = await call(stub.GetLabelImport, transfer_pb2.GetLabelImportRequest(name=name))
        assert one.state not in (State.UPLOADING, State.RUNNING)
        return one

    return await assert_eventually(look, timeout_seconds=timeout_seconds)


async def rows_of(stub: "DatasetServiceAsyncStub", name: str) -> list[transfer_pb2.LabelImportRow]:
    """Every row, in small pages."""
    request = transfer_pb2.ListLabelImportRowsRequest(parent=name, page_size=100)
    found: list[transfer_pb2.LabelImportRow] = []
    while True:
        answer = await call(stub.ListLabelImportRows, request)
        found += answer.rows
        request.page_token = answer.next_page_token
        if not request.page_token:
            return found


def told(rows: list[transfer_pb2.LabelImportRow]) -> dict[str, tuple[str, list[str]]]:
    """Outcome and finding codes by what the row is about."""
    return {row.key: (Outcome.Name(row.outcome), [finding.code for finding in row.findings]) for row in rows}


async def exported(
    stub: "DatasetServiceAsyncStub", name: str, label_format: str, *, with_images: bool = False
) -> tuple[bytes, transfer_pb2.LabelExportReport]:
    """The ZIP, and what it says of itself."""
    request = transfer_pb2.ExportLabelsRequest(name=name, format=label_format, with_images=with_images)
    data, report = bytearray(), transfer_pb2.LabelExportReport()
    async for reply in stream(stub.ExportLabels, request):
        data += reply.chunk
        if reply.HasField("report"):
            report = reply.report
    return bytes(data), report


async def frozen(stub: "DatasetServiceAsyncStub", dataset: str, request_id: str) -> str:
    """A version's name."""
    return (await call(stub.FreezeDataset, dataset_service_pb2.FreezeDatasetRequest(name=dataset, request_id=request_id))).name
