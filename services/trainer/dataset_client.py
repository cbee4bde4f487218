"""The dataset service over gRPC."""

from collections.abc import Sequence

import grpc

from inkwright.dataset.v1 import dataset_pb2, dataset_service_pb2, dataset_service_pb2_grpc
from libs.runtime.grpc_client import call
from libs.runtime.names import DATASET, VERSION
from services.trainer.deps import DatasetView, VersionView


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

    async def get_version(self, name: str) -> VersionView:
        """See ``Datasets``."""
        ids = VERSION.parse(name)
        own = DATASET.format(project=ids["project"], dataset=ids["dataset"])
        version = await call(self._stub.GetVersion, dataset_service_pb2.GetVersionRequest(name=name))
        datasets = dict.fromkeys((own, *(part.dataset for part in version.parts)))
        return VersionView(name, tuple(datasets), version.num_images, version.num_labeled)

    async def freeze(self, name: str, *, further: Sequence[str], request_id: str) -> None:
        """See ``Datasets``."""
        request = dataset_service_pb2.FreezeDatasetRequest(name=name, further_datasets=further, request_id=request_id)
        await call(self._stub.FreezeDataset, request, deadline_seconds=120)
