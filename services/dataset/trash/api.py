# ruff: noqa: N802 - the proto names the methods
"""The gRPC methods about the trash: read the request, call one action, convert."""

from typing import Any

import grpc
from google.protobuf.empty_pb2 import Empty

from inkwright.dataset.v1 import dataset_pb2, dataset_service_pb2, trash_pb2
from libs.runtime.names import PROJECT
from libs.runtime.paging import page_cursor, page_size, page_token
from services.dataset.convert import dataset_to_proto
from services.dataset.indexing.indexer import Indexer
from services.dataset.store import Work
from services.dataset.trash import actions as trash_actions

Context = grpc.aio.ServicerContext[Any, Any]


class TrashMethods:
    """Those of ``DatasetService`` that delete datasets and bring them back."""

    _work: Work
    _indexer: Indexer
    _trash_days: int

    async def DeleteDataset(self, request: dataset_service_pb2.DeleteDatasetRequest, context: Context) -> Empty:
        """See the proto."""
        await trash_actions.trash_dataset(self._work, request.name, etag=request.etag, days=self._trash_days)
        self._indexer.wake()
        return Empty()

    async def ListTrash(self, request: trash_pb2.ListTrashRequest, context: Context) -> trash_pb2.ListTrashResponse:
        """See the proto."""
        project = PROJECT.parse(request.parent)["project"]
        page = await trash_actions.list_trash(self._work, project, size=page_size(request), after=page_cursor(request))
        return trash_pb2.ListTrashResponse(
            datasets=[dataset_to_proto(dataset) for dataset in page.items], next_page_token=page_token(request, page.next_cursor)
        )

    async def RestoreDataset(self, request: trash_pb2.RestoreDatasetRequest, context: Context) -> dataset_pb2.Dataset:
        """See the proto."""
        dataset = await trash_actions.restore_dataset(self._work, request.name)
        self._indexer.wake()
        return dataset_to_proto(dataset)

    async def PurgeDataset(self, request: trash_pb2.PurgeDatasetRequest, context: Context) -> Empty:
        """See the proto."""
        await trash_actions.purge_dataset(self._work, request.name, etag=request.etag)
        self._indexer.wake()
        return Empty()
