"""The dataset service over gRPC."""

import grpc

from inkwright.dataset.v1 import dataset_pb2, dataset_service_pb2, dataset_service_pb2_grpc
from libs.runtime.grpc_client import call
from services.trainer.deps import DatasetView


class DatasetClient:
    """``Datasets`` over a channel."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = dataset_service_pb2_grpc.DatasetServiceStub(channel)

    async def get(self, name: str) -> DatasetView:
        """See ``Datasets``."""
        dataset = await call(self._stub.GetDataset, dataset_service_pb2.GetDatasetRequest(name=name))
        # A sync that failed later leaves what was indexed before usable.
        is_ready = dataset.state == dataset_pb2.Dataset.READY or dataset.sync_number > 0
        return DatasetView(name, is_ready, dataset.counts.num_images, dataset.counts.num_labeled)

    async def freeze(self, name: str, *, request_id: str) -> None:
        """See ``Datasets``."""
        request = dataset_service_pb2.FreezeDatasetRequest(name=name, request_id=request_id)
        await call(self._stub.FreezeDataset, request, deadline_seconds=120)
