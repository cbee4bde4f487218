"""The dataset and labeling services, as real as they come, around one folder of images."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from inkwright.dataset.v1 import dataset_pb2, dataset_service_pb2, trash_pb2
from inkwright.dataset.v1.dataset_service_pb2_grpc import DatasetServiceStub
from inkwright.labeling.v1 import labeling_service_pb2, page_pb2
from inkwright.labeling.v1.labeling_service_pb2_grpc import LabelingServiceStub
from libs.client.inkwright import storage_type_of
from libs.runtime.grpc_client import call, connect, stream
from libs.runtime.testing import NatsServer, assert_eventually, nats_server
from services.dataset.main import build_with as build_dataset
from services.dataset.settings import DatasetSettings
from services.labeling.main import build_with as build_labeling
from services.labeling.settings import LabelingSettings
from tests.integration.running import running
from tests.oss_server import FolderObjects, OssServer, oss_server
from tests.oss_server.connections import write_connections
from tests.trust import CREDENTIALS, keyed

if TYPE_CHECKING:
    from inkwright.dataset.v1.dataset_service_pb2_grpc import DatasetServiceAsyncStub
    from inkwright.labeling.v1.labeling_service_pb2_grpc import LabelingServiceAsyncStub

PROJECT = "projects/default"
NOBODY = "127.0.0.1:9"
"""Where nothing listens."""

PageState: TypeAlias = "page_pb2.Page.State.ValueType"


@dataclass
class World:
    """Where everything is, and the calls tests make again and again."""

    nats: NatsServer
    home: Path
    roots: Path
    dataset_address: str
    dataset: "DatasetServiceAsyncStub"
    labeling: "LabelingServiceAsyncStub"
    dataset_id: str = "cards"
    oss: OssServer | None = None
    """Shows the folders as prefixes of bucket ``images``; datasets lie there then."""

    def apart(self, dataset_id: str) -> "World":
        """The same world for a test that has a dataset and a folder of its own."""
        world = replace(self, dataset_id=dataset_id)
        world.folder.mkdir()
        return world

    @property
    def folder(self) -> Path:
        """Where the images of the dataset lie."""
        return self.roots / self.dataset_id

    @property
    def name(self) -> str:
        """Of the dataset."""
        return f"{PROJECT}/datasets/{self.dataset_id}"

    @property
    def path(self) -> str:
        """The same as the dataset service is told."""
        return str(self.folder) if self.oss is None else f"oss://images/{self.dataset_id}/"

    async def create(
        self, dataset_id: str | None = None, *, path: str = "", request_id: str = "", connection: str = ""
    ) -> dataset_pb2.Dataset:
        """CreateDataset."""
        path = path or self.path
        body = dataset_pb2.Dataset(path=path, storage_type=storage_type_of(path), connection=connection)
        request = dataset_service_pb2.CreateDatasetRequest(
            parent=PROJECT, dataset_id=self.dataset_id if dataset_id is None else dataset_id, dataset=body, request_id=request_id
        )
        return await call(self.dataset.CreateDataset, request)

    async def get(self, name: str) -> dataset_pb2.Dataset:
        """GetDataset."""
        return await call(self.dataset.GetDataset, dataset_service_pb2.GetDatasetRequest(name=name))

    async def indexed(self) -> dataset_pb2.Dataset:
        """A new dataset whose first sync has ended."""
        created = await self.create()
        return await self.synced(created.name, 1)

    async def synced(self, name: str, sync_number: int) -> dataset_pb2.Dataset:
        """The dataset once its ``sync_number``-th sync has ended."""

        async def ended() -> dataset_pb2.Dataset:
            found = await self.get(name)
            assert found.sync_number == sync_number, found
            return found

        return await assert_eventually(ended)

    async def sync(self, name: str) -> dataset_pb2.Dataset:
        """SyncDataset, and wait for its end."""
        before = await call(self.dataset.SyncDataset, dataset_service_pb2.SyncDatasetRequest(name=name))
        return await self.synced(name, before.sync_number + 1)

    async def delete(self) -> None:
        """DeleteDataset: into the trash."""
        await call(self.dataset.DeleteDataset, dataset_service_pb2.DeleteDatasetRequest(name=self.name))

    async def purge(self) -> None:
        """PurgeDataset, of the trash."""
        await call(self.dataset.PurgeDataset, trash_pb2.PurgeDatasetRequest(name=self.name))

    async def restore(self) -> dataset_pb2.Dataset:
        """RestoreDataset."""
        return await call(self.dataset.RestoreDataset, trash_pb2.RestoreDatasetRequest(name=self.name))

    async def images(self, name: str, **filters: object) -> dict[str, dataset_pb2.Image]:
        """ListImages, by key."""
        request = dataset_service_pb2.ListImagesRequest(parent=name, page_size=1000, **filters)  # type: ignore[arg-type]
        return {image.key: image for image in (await call(self.dataset.ListImages, request)).images}

    async def labels(self, image: dataset_pb2.Image) -> dataset_pb2.ImageLabels:
        """GetImageLabels."""
        return await call(self.dataset.GetImageLabels, dataset_service_pb2.GetImageLabelsRequest(name=f"{image.name}/labels"))

    async def write_labels(self, labels: dataset_pb2.ImageLabels) -> dataset_pb2.ImageLabels:
        """WriteImageLabels."""
        return await call(self.dataset.WriteImageLabels, dataset_service_pb2.WriteImageLabelsRequest(labels=labels))

    async def read(self, image: dataset_pb2.Image, *, store_etag: str = "") -> bytes:
        """ReadImage."""
        request = dataset_service_pb2.ReadImageRequest(name=image.name, store_etag=store_etag)
        return b"".join([reply.chunk async for reply in stream(self.dataset.ReadImage, request)])

    async def page(self, image: dataset_pb2.Image) -> page_pb2.Page:
        """GetPage."""
        return await call(self.labeling.GetPage, labeling_service_pb2.GetPageRequest(name=page_name(image)))

    async def pages(self, name: str, state: PageState = page_pb2.Page.STATE_UNSPECIFIED) -> dict[str, page_pb2.Page]:
        """ListPages, by key."""
        request = labeling_service_pb2.ListPagesRequest(parent=name, page_size=1000, state=state)
        return {page.key: page for page in (await call(self.labeling.ListPages, request)).pages}

    async def opened(self, name: str, number: int) -> dict[str, page_pb2.Page]:
        """The pages once there are so many."""

        async def all_open() -> dict[str, page_pb2.Page]:
            found = await self.pages(name)
            assert len(found) == number
            return found

        return await assert_eventually(all_open)

    async def apply(self, page: page_pb2.Page, *operations: page_pb2.Operation) -> page_pb2.Page:
        """ApplyOperations."""
        return await call(self.labeling.ApplyOperations, labeling_service_pb2.ApplyOperationsRequest(name=page.name, operations=operations))

    async def submit(self, page: page_pb2.Page, *, sequence: int = 0, overwrite: bool = False) -> page_pb2.Page:
        """SubmitPage."""
        request = labeling_service_pb2.SubmitPageRequest(name=page.name, sequence=sequence, overwrite=overwrite)
        return await call(self.labeling.SubmitPage, request)


def page_name(image: dataset_pb2.Image) -> str:
    """The page of an image."""
    return image.name.replace("/images/", "/pages/")


@asynccontextmanager
async def dataset_world(tmp_path: Path, *, storage: str = "local") -> AsyncIterator[World]:
    """A running dataset service, nothing else; with ``storage`` oss its images lie there."""
    async with AsyncExitStack() as stack:
        nats = await stack.enter_async_context(nats_server(tmp_path))
        home, roots = keyed(tmp_path / "home"), tmp_path / "roots"
        (roots / "cards").mkdir(parents=True)
        oss, connections = None, None
        if storage == "oss":
            oss = stack.enter_context(oss_server())
            oss.new_bucket("images", FolderObjects(roots))
            connections = write_connections(
                tmp_path / "oss.toml", default=oss.connection(), narrow=oss.connection(roots=["oss://images/narrow"])
            )
        settings = DatasetSettings(
            home=home, nats_url=nats.url, dataset_address="127.0.0.1:0", roots=str(roots), oss_connections=connections
        )
        address = await stack.enter_async_context(running(build_dataset(settings)))
        channel = await stack.enter_async_context(connect(address, CREDENTIALS))
        nobody = await stack.enter_async_context(connect(NOBODY, CREDENTIALS))
        yield World(nats, home, roots, address, DatasetServiceStub(channel), LabelingServiceStub(nobody), oss=oss)


@asynccontextmanager
async def labeling_world(tmp_path: Path, *, inference_address: str = NOBODY) -> AsyncIterator[World]:
    """Running dataset and labeling services."""
    async with dataset_world(tmp_path) as world, with_labeling(world, inference_address=inference_address):
        yield world


@asynccontextmanager
async def with_labeling(world: World, *, inference_address: str = NOBODY) -> AsyncIterator[None]:
    """A labeling service in a world that has none."""
    settings = LabelingSettings(
        home=world.home,
        nats_url=world.nats.url,
        dataset_address=world.dataset_address,
        labeling_address="127.0.0.1:0",
        inference_address=inference_address,
        suggestion_wait_seconds=1.0,
        suggestion_renew_seconds=0.1,
    )
    async with running(build_labeling(settings)) as address, connect(address, CREDENTIALS) as channel:
        world.labeling = LabelingServiceStub(channel)
        yield
