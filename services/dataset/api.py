# ruff: noqa: N802 - the proto names the methods
"""The gRPC methods: read the request, call one action, convert."""

from collections.abc import AsyncIterator
from typing import Any

import grpc

from inkwright.dataset.v1 import dataset_pb2, dataset_service_pb2
from inkwright.dataset.v1.dataset_service_pb2_grpc import DatasetServiceServicer
from libs.runtime.errors import InvalidInput
from libs.runtime.names import IMAGE, LABELS, PROJECT
from libs.runtime.paging import page_cursor, page_size, page_token
from services.dataset import actions, convert, label_actions
from services.dataset.boxes import box_from_proto
from services.dataset.connection_check import check_connection
from services.dataset.health.api import HealthMethods
from services.dataset.health.surveyor import Surveyor
from services.dataset.image_names import dataset_name, image_id_in
from services.dataset.indexing.indexer import Indexer
from services.dataset.pictures.api import PictureMethods
from services.dataset.pictures.pictures import Pictures
from services.dataset.search.api import SearchMethods
from services.dataset.store import Work
from services.dataset.stores import Stores
from services.dataset.transfer.api import TransferMethods
from services.dataset.transfer.label_importer import LabelImporter
from services.dataset.trash.api import TrashMethods
from services.dataset.uploads.api import UploadMethods
from services.dataset.uploads.staging import Staging
from services.dataset.uploads.worker import UploadWorker
from services.dataset.versions.api import VersionMethods

Context = grpc.aio.ServicerContext[Any, Any]


class DatasetApi(
    HealthMethods, PictureMethods, SearchMethods, TransferMethods, TrashMethods, UploadMethods, VersionMethods, DatasetServiceServicer
):
    """``inkwright.dataset.v1.DatasetService``."""

    def __init__(
        self,
        work: Work,
        stores: Stores,
        indexer: Indexer,
        surveyor: Surveyor,
        pictures: Pictures,
        importer: LabelImporter,
        uploads: UploadWorker,
        staging: Staging,
        *,
        upload_max_bytes: int,
        trash_days: int,
    ) -> None:
        PictureMethods.__init__(self, work, pictures)
        SearchMethods.__init__(self, work)
        self._work = work
        self._stores = stores
        self._indexer = indexer
        self._surveyor = surveyor
        self._importer = importer
        self._uploads = uploads
        self._staging = staging
        self._upload_max_bytes = upload_max_bytes
        self._trash_days = trash_days

    async def CreateDataset(self, request: dataset_service_pb2.CreateDatasetRequest, context: Context) -> dataset_pb2.Dataset:
        """See the proto."""
        dataset = await actions.create_dataset(
            self._work,
            self._stores,
            project=PROJECT.parse(request.parent)["project"],
            dataset_id=request.dataset_id,
            description=request.dataset.description,
            place=convert.place_from_proto(request.dataset),
            request_id=request.request_id,
            allow_empty=request.allow_empty,
        )
        self._indexer.wake()
        return convert.dataset_to_proto(dataset)

    async def GetDataset(self, request: dataset_service_pb2.GetDatasetRequest, context: Context) -> dataset_pb2.Dataset:
        """See the proto."""
        return convert.dataset_to_proto(await actions.get_dataset(self._work, request.name))

    async def ListDatasets(
        self, request: dataset_service_pb2.ListDatasetsRequest, context: Context
    ) -> dataset_service_pb2.ListDatasetsResponse:
        """See the proto."""
        project = PROJECT.parse(request.parent)["project"]
        page = await actions.list_datasets(self._work, project, size=page_size(request), after=page_cursor(request))
        return dataset_service_pb2.ListDatasetsResponse(
            datasets=[convert.dataset_to_proto(dataset) for dataset in page.items], next_page_token=page_token(request, page.next_cursor)
        )

    async def UpdateDataset(self, request: dataset_service_pb2.UpdateDatasetRequest, context: Context) -> dataset_pb2.Dataset:
        """See the proto."""
        given = list(request.update_mask.paths) or [field.name for field, _ in request.dataset.ListFields()]
        refused = sorted(set(given) - {"description", "name", "etag"})
        if refused:
            raise InvalidInput(f"Only the description can be changed, not {', '.join(refused)}.", fields=", ".join(refused))
        if "description" not in given:
            return convert.dataset_to_proto(await actions.get_dataset(self._work, request.dataset.name))
        dataset = await actions.describe_dataset(
            self._work, request.dataset.name, description=request.dataset.description, etag=request.dataset.etag
        )
        return convert.dataset_to_proto(dataset)

    async def TestConnection(self, request: dataset_service_pb2.TestConnectionRequest, context: Context) -> dataset_pb2.ConnectionReport:
        """See the proto."""
        PROJECT.parse(request.parent)
        return convert.report_to_proto(await check_connection(self._stores, convert.place_from_proto(request)))

    async def TestDatasetConnection(
        self, request: dataset_service_pb2.TestDatasetConnectionRequest, context: Context
    ) -> dataset_pb2.ConnectionReport:
        """See the proto."""
        return convert.report_to_proto(await actions.check_dataset_connection(self._work, self._stores, request.name))

    async def SyncDataset(self, request: dataset_service_pb2.SyncDatasetRequest, context: Context) -> dataset_pb2.Dataset:
        """See the proto."""
        dataset = await actions.want_sync(self._work, request.name)
        self._indexer.wake()
        return convert.dataset_to_proto(dataset)

    async def ListImages(self, request: dataset_service_pb2.ListImagesRequest, context: Context) -> dataset_service_pb2.ListImagesResponse:
        """See the proto."""
        dataset, page, total = await actions.list_images(
            self._work,
            request.parent,
            size=page_size(request),
            after=page_cursor(request),
            state=convert.image_state_from_proto(request.state),
            label_state=convert.label_state_from_proto(request.label_state),
            key=request.key,
            image_ids=[image_id_in(request.parent, name) for name in request.names],
            even_trashed=request.show_trashed,
        )
        return dataset_service_pb2.ListImagesResponse(
            images=[convert.image_to_proto(dataset, image) for image in page.items],
            next_page_token=page_token(request, page.next_cursor),
            total_size=total,
        )

    async def GetImage(self, request: dataset_service_pb2.GetImageRequest, context: Context) -> dataset_pb2.Image:
        """See the proto."""
        ids = IMAGE.parse(request.name)
        return convert.image_to_proto(*await actions.get_image(self._work, dataset_name(ids), ids["image"]))

    async def ReadImage(
        self, request: dataset_service_pb2.ReadImageRequest, context: Context
    ) -> AsyncIterator[dataset_service_pb2.ReadImageResponse]:
        """See the proto."""
        ids = IMAGE.parse(request.name)
        chunks = label_actions.read_image(
            self._work,
            self._stores,
            dataset_name(ids),
            ids["image"],
            store_etag=request.store_etag,
            start=request.start_byte,
            length=request.num_bytes,
        )
        async for chunk in chunks:
            yield dataset_service_pb2.ReadImageResponse(chunk=chunk)

    async def GetImageLabels(self, request: dataset_service_pb2.GetImageLabelsRequest, context: Context) -> dataset_pb2.ImageLabels:
        """See the proto."""
        ids = LABELS.parse(request.name)
        found = await label_actions.get_image_labels(
            self._work, self._stores, dataset_name(ids), ids["image"], even_trashed=request.show_trashed
        )
        return convert.labels_to_proto(*found)

    async def WriteImageLabels(self, request: dataset_service_pb2.WriteImageLabelsRequest, context: Context) -> dataset_pb2.ImageLabels:
        """See the proto."""
        ids = LABELS.parse(request.labels.name)
        written = await label_actions.write_image_labels(
            self._work,
            self._stores,
            dataset_name(ids),
            ids["image"],
            boxes=[box_from_proto(box) for box in request.labels.boxes],
            file_etag=request.labels.file_etag,
        )
        return convert.labels_to_proto(*written)
