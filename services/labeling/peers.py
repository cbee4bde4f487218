"""What labeling asks of other services: images and label files of dataset, instances of inference, suggestions of an instance."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import grpc

from inkwright.dataset.v1 import dataset_pb2, dataset_service_pb2
from inkwright.dataset.v1.dataset_service_pb2_grpc import DatasetServiceStub
from inkwright.inference.v1 import inference_service_pb2, instance_service_pb2
from inkwright.inference.v1.inference_service_pb2_grpc import InferenceServiceStub
from inkwright.inference.v1.instance_service_pb2_grpc import InstanceServiceStub
from libs.runtime.errors import DatasetInTrash, NotFound, WrongState
from libs.runtime.grpc_client import call, connect, stream
from libs.runtime.names import DATASET, LABELS
from libs.runtime.trust import Credentials
from services.labeling.boxes import Box
from services.labeling.convert import file_from_proto, image_from_proto, label_box_to_proto, line_from_proto
from services.labeling.domain import IndexedImage, LabelFile, Page
from services.labeling.prelabel import SuggestedLine

CALLS_AT_ONCE: Final = 8
PREDICT_SECONDS: Final = 120.0


@dataclass(frozen=True)
class DatasetStatus:
    """Where a dataset's index stands."""

    is_indexing: bool
    num_usable: int


@dataclass(frozen=True)
class Lease:
    """An instance kept for a while."""

    endpoint: str
    model: str


class Peers:
    """Channels to the services labeling calls; nothing is called yet."""

    def __init__(self, dataset_address: str, inference_address: str, credentials: Credentials) -> None:
        self.credentials = credentials
        """Shown to instances too."""
        dataset, inference = connect(dataset_address, credentials), connect(inference_address, credentials)
        self._channels = [dataset, inference]
        self._dataset = DatasetServiceStub(dataset)
        self._inference = InferenceServiceStub(inference)
        self._calls = asyncio.Semaphore(CALLS_AT_ONCE)

    async def close(self) -> None:
        """Close the channels."""
        for channel in self._channels:
            await channel.close()

    async def dataset_status(self, dataset: str) -> DatasetStatus:
        """Where the index of ``dataset`` stands.

        Raises:
            NotFound: no such dataset.
            DatasetInTrash: it is in the trash.
        """
        found = await call(self._dataset.GetDataset, dataset_service_pb2.GetDatasetRequest(name=dataset))
        counts = found.counts
        return DatasetStatus(found.state == dataset_pb2.Dataset.INDEXING, counts.num_labeled + counts.num_unlabeled)

    async def is_trashed(self, dataset: str) -> bool:
        """Whether ``dataset`` is in the trash now; one that is gone is not."""
        try:
            await self.dataset_status(dataset)
        except DatasetInTrash:
            return True
        except NotFound:
            return False
        return False

    async def images(self, dataset: str, names: Sequence[str]) -> list[IndexedImage]:
        """Those of the images (at most 500) that are there, in the trash too; none when the dataset is gone."""
        request = dataset_service_pb2.ListImagesRequest(parent=dataset, names=names, page_size=len(names), show_trashed=True)
        try:
            reply = await call(self._dataset.ListImages, request)
        except NotFound:
            return []
        return [image_from_proto(image) for image in reply.images]

    async def label_files(self, dataset: str, images: Sequence[IndexedImage]) -> dict[str, LabelFile]:
        """What lies beside each image, by image id; an image that went away meanwhile is left out."""

        async def one(image: IndexedImage) -> tuple[str, LabelFile | None]:
            async with self._calls:
                return image.image_id, await self.label_file(dataset, image)

        found = await asyncio.gather(*(one(image) for image in images))
        return {image_id: file for image_id, file in found if file is not None}

    async def label_file(self, dataset: str, image: IndexedImage) -> LabelFile | None:
        """What lies beside an image; None when the image is gone or cannot be used."""
        if not image.has_label_file:
            return LabelFile()
        name = LABELS.format(**DATASET.parse(dataset), image=image.image_id)
        try:
            request = dataset_service_pb2.GetImageLabelsRequest(name=name, show_trashed=True)
            return file_from_proto(await call(self._dataset.GetImageLabels, request))
        except (NotFound, WrongState):
            return None

    async def write_labels(self, page: Page, boxes: Sequence[Box], *, file_etag: str) -> str:
        """Write the label file of a page's image.

        Returns:
            Its new tag.

        Raises:
            Conflict: the file is not the one with ``file_etag``.
        """
        labels = dataset_pb2.ImageLabels(name=page.labels, boxes=[label_box_to_proto(box) for box in boxes], file_etag=file_etag)
        reply = await call(self._dataset.WriteImageLabels, dataset_service_pb2.WriteImageLabelsRequest(labels=labels))
        return reply.file_etag

    async def file_etag(self, page: Page) -> str:
        """The tag of the label file that lies there now; empty when there is none."""
        reply = await call(self._dataset.GetImageLabels, dataset_service_pb2.GetImageLabelsRequest(name=page.labels))
        return reply.file_etag

    async def read_image(self, page: Page) -> bytes:
        """The image's bytes.

        Raises:
            NotFound: it is gone.
        """
        request = dataset_service_pb2.ReadImageRequest(name=page.image)
        return b"".join([reply.chunk async for reply in stream(self._dataset.ReadImage, request, deadline_seconds=PREDICT_SECONDS)])

    async def acquire(self, model: str) -> Lease:
        """Find or start an instance of a model, or keep the one there is.

        Raises:
            NoReadyInstance: it is starting, or inference is away; call again.
            NotFound, WrongState: no such model, or a retired one.
        """
        request = inference_service_pb2.AcquireSuggestionInstanceRequest(model=model)
        reply = await call(self._inference.AcquireSuggestionInstance, request)
        return Lease(reply.endpoint, reply.model)


async def predict(channel: grpc.aio.Channel, image: bytes) -> list[SuggestedLine]:
    """Let an instance read an image.

    Raises:
        ImageUndecodable, TooLarge, ForwardFailed: this image cannot be read.
        QueueFull, NoReadyInstance, Expired: the instance cannot answer now.
    """
    stub = InstanceServiceStub(channel)
    reply = await call(stub.Predict, instance_service_pb2.PredictRequest(image=image), deadline_seconds=PREDICT_SECONDS)
    return [line_from_proto(line) for line in reply.lines]
