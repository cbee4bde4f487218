# ruff: noqa: N802 - the proto names the methods
"""The gRPC methods about uploads: read the request, call one action, convert."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
from google.protobuf.empty_pb2 import Empty

from inkwright.dataset.v1 import upload_pb2
from libs.runtime.errors import InvalidInput, TooLarge
from libs.runtime.names import PROJECT
from libs.runtime.paging import page_cursor, page_size, page_token
from services.dataset.store import Work
from services.dataset.stores import Stores
from services.dataset.uploads import actions as upload_actions
from services.dataset.uploads.convert import options_from_proto, outcome_to_proto, result_from_proto, upload_to_proto
from services.dataset.uploads.staging import Staging
from services.dataset.uploads.upload import MAX_CHUNK_BYTES
from services.dataset.uploads.worker import UploadWorker

Context = grpc.aio.ServicerContext[Any, Any]


class UploadMethods:
    """Those of ``DatasetService`` that bring files into a dataset's folder."""

    _work: Work
    _stores: Stores
    _uploads: UploadWorker
    _staging: Staging
    _upload_max_bytes: int

    async def CreateUpload(self, request: upload_pb2.CreateUploadRequest, context: Context) -> upload_pb2.Upload:
        """See the proto."""
        dataset, upload = await upload_actions.create_upload(
            self._work,
            self._staging,
            request.parent,
            file_name=request.upload.file_name,
            folder=request.upload.folder,
            size_bytes=request.upload.size_bytes,
            sha256=request.upload.sha256,
            options=options_from_proto(request.upload),
            request_id=request.request_id,
            max_bytes=self._upload_max_bytes,
        )
        return upload_to_proto(dataset, upload)

    async def UploadChunk(self, requests: AsyncIterator[upload_pb2.UploadChunkRequest], context: Context) -> upload_pb2.Upload:
        """See the proto."""
        first = await anext(aiter(requests), None)
        if first is None or not first.name:
            raise InvalidInput("The first message must name the upload and the offset.")
        data = bytearray(first.data)
        async for request in requests:
            data += request.data
            if len(data) > MAX_CHUNK_BYTES:
                raise TooLarge(f"A chunk may have {MAX_CHUNK_BYTES} bytes; send the file in more of them.", max_bytes=MAX_CHUNK_BYTES)
        taking = upload_actions.take_chunk(self._work, self._staging, first.name, offset_bytes=first.offset_bytes, data=bytes(data))
        # A caller that goes away leaves a chunk that is kept, or not, but never a file that is closed while it is written.
        dataset, upload = await asyncio.shield(asyncio.create_task(taking, name="upload-chunk"))
        self._uploads.wake()
        return upload_to_proto(dataset, upload)

    async def GetUpload(self, request: upload_pb2.GetUploadRequest, context: Context) -> upload_pb2.Upload:
        """See the proto."""
        return upload_to_proto(*await upload_actions.get_upload(self._work, request.name))

    async def ListUploads(self, request: upload_pb2.ListUploadsRequest, context: Context) -> upload_pb2.ListUploadsResponse:
        """See the proto."""
        dataset, page = await upload_actions.list_uploads(self._work, request.parent, size=page_size(request), after=page_cursor(request))
        return upload_pb2.ListUploadsResponse(
            uploads=[upload_to_proto(dataset, upload) for upload in page.items], next_page_token=page_token(request, page.next_cursor)
        )

    async def ListUploadRows(self, request: upload_pb2.ListUploadRowsRequest, context: Context) -> upload_pb2.ListUploadRowsResponse:
        """See the proto."""
        page = await upload_actions.list_upload_rows(
            self._work, request.parent, size=page_size(request), after=page_cursor(request), result=result_from_proto(request.result)
        )
        return upload_pb2.ListUploadRowsResponse(
            rows=[outcome_to_proto(outcome) for outcome in page.items], next_page_token=page_token(request, page.next_cursor)
        )

    async def DeleteUpload(self, request: upload_pb2.DeleteUploadRequest, context: Context) -> Empty:
        """See the proto."""
        await upload_actions.delete_upload(self._work, self._staging, request.name)
        return Empty()

    async def CreateDemoDataset(self, request: upload_pb2.CreateDemoDatasetRequest, context: Context) -> upload_pb2.Upload:
        """See the proto."""
        dataset, upload = await upload_actions.create_demo(
            self._work,
            self._stores,
            project=PROJECT.parse(request.parent)["project"],
            dataset_id=request.dataset_id,
            num_images=request.num_images,
            request_id=request.request_id,
        )
        self._uploads.wake()
        return upload_to_proto(dataset, upload)
