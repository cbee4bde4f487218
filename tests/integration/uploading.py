"""Uploads as a client of the dataset service sends them, and ZIPs of every kind."""

import io
import zipfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from inkwright.dataset.v1 import upload_pb2
from libs.runtime.grpc_client import call, upload
from libs.runtime.testing import assert_eventually
from tests.integration.pictures import write_image

if TYPE_CHECKING:
    from inkwright.dataset.v1.dataset_service_pb2_grpc import DatasetServiceAsyncStub

Upload = upload_pb2.Upload
Row = upload_pb2.UploadRow
ENDED = (Upload.DONE, Upload.FAILED)


def picture(folder: Path, *, grey: int = 200) -> bytes:
    """A PNG."""
    return write_image(folder / f".{grey}.png", grey=grey).read_bytes()


def zipped(files: Mapping[str, bytes]) -> bytes:
    """A ZIP."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return packed.getvalue()


async def begin(
    stub: "DatasetServiceAsyncStub", dataset: str, file_name: str, size_bytes: int, *, request_id: str = "", options: Upload | None = None
) -> Upload:
    """CreateUpload."""
    body = Upload(file_name=file_name, size_bytes=size_bytes)
    body.MergeFrom(options or Upload())
    return await call(stub.CreateUpload, upload_pb2.CreateUploadRequest(parent=dataset, upload=body, request_id=request_id))


async def send_chunk(stub: "DatasetServiceAsyncStub", name: str, offset_bytes: int, data: bytes) -> Upload:
    """UploadChunk."""

    async def pieces() -> AsyncIterator[upload_pb2.UploadChunkRequest]:
        yield upload_pb2.UploadChunkRequest(name=name, offset_bytes=offset_bytes)
        for start in range(0, len(data), 1 << 20):
            yield upload_pb2.UploadChunkRequest(data=data[start : start + (1 << 20)])

    sent: Upload = await upload(stub.UploadChunk, pieces())
    return sent


async def get_upload(stub: "DatasetServiceAsyncStub", name: str) -> Upload:
    """GetUpload."""
    return await call(stub.GetUpload, upload_pb2.GetUploadRequest(name=name))


async def ended(stub: "DatasetServiceAsyncStub", name: str, *, timeout_seconds: float = 60) -> Upload:
    """The upload once nothing is left to do."""

    async def has_ended() -> Upload:
        found = await get_upload(stub, name)
        assert found.state in ENDED, found
        return found

    return await assert_eventually(has_ended, timeout_seconds=timeout_seconds)


async def rows_of(stub: "DatasetServiceAsyncStub", name: str) -> dict[str, Row]:
    """ListUploadRows, all pages, by source."""
    request = upload_pb2.ListUploadRowsRequest(parent=name, page_size=7)
    rows: dict[str, Row] = {}
    while True:
        reply = await call(stub.ListUploadRows, request)
        for row in reply.rows:
            assert row.source not in rows, row
            rows[row.source] = row
        if not reply.next_page_token:
            return rows
        request.page_token = reply.next_page_token


async def sent(
    stub: "DatasetServiceAsyncStub", dataset: str, file_name: str, data: bytes, options: Upload | None = None
) -> tuple[Upload, dict[str, Row]]:
    """A file sent at once, to its end, and its rows."""
    begun = await begin(stub, dataset, file_name, len(data), options=options)
    await send_chunk(stub, begun.name, 0, data)
    done = await ended(stub, begun.name)
    return done, await rows_of(stub, begun.name)
