"""What tests of the gateway stand on: small image files, fake services behind real gRPC, and the gateway itself."""

import asyncio
import base64
import hashlib
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import nats.aio.client
from google.protobuf.empty_pb2 import Empty

from gateway.app import Parts, build_app
from gateway.console.letters import EventApi
from gateway.console.status import StatusApi
from gateway.identity.api import AuditApi, UserApi
from gateway.identity.doorkeeper import Doorkeeper
from gateway.identity.passwords import Passwords, Throttle
from gateway.identity.session import Sessions
from gateway.public.routing import RoutingTable
from gateway.settings import GatewaySettings
from gateway.store import GatewayWork, Work
from gateway.transcode.call import Peers
from inkwright.common.v1 import geometry_pb2
from inkwright.dataset.v1 import dataset_pb2, dataset_service_pb2, dataset_service_pb2_grpc, picture_pb2
from inkwright.inference.v1 import (
    deployment_pb2,
    inference_service_pb2,
    inference_service_pb2_grpc,
    instance_service_pb2,
    instance_service_pb2_grpc,
)
from inkwright.trainer.v1 import model_pb2, task_pb2, trainer_service_pb2, trainer_service_pb2_grpc
from libs.runtime import call_context
from libs.runtime.bus import Bus
from libs.runtime.db import Database
from libs.runtime.errors import AlreadyExists, Conflict, Fault, NotFound
from libs.runtime.grpc_server import GrpcServer
from libs.runtime.key_value import KeyChange
from libs.runtime.migrations import upgrade
from libs.runtime.secrets import InstallationKey
from libs.runtime.testing import free_port
from libs.runtime.uploads import whole_upload
from tests.trust import TRUST, keyed

ADMIN_TOKEN = "management-token-of-a-test"
DEPLOYMENT_TOKEN = base64.b64encode(b"0123456789abcdef0123456789abcdef01234567").decode()
DIGEST = "d1" * 32
DATASETS = "/v1/projects/default/datasets"
IMAGE = "projects/default/datasets/receipts/images/im-1"


def bmp(width_px: int, height_px: int, *, number: int = 0) -> bytes:
    """A 24-bit BMP whose pixels differ by ``number``."""
    stride = (width_px * 3 + 3) // 4 * 4
    pixels = number.to_bytes(4, "big") * (stride * height_px // 4)
    header = struct.pack(
        "<2sIHHIIiiHHIIiiII", b"BM", 54 + len(pixels), 0, 0, 54, 40, width_px, height_px, 1, 24, 0, len(pixels), 0, 0, 0, 0
    )
    return header + pixels


def element(image: bytes, **more: object) -> dict[str, object]:
    """One entry of ``dataArray``."""
    return {"type": "stream", "body": base64.b64encode(image).decode(), **more}


def label_of(image: bytes) -> str:
    """What a fake instance reads in an image: something nobody else's image gives."""
    return hashlib.sha256(image).hexdigest()


class FakeInstance(instance_service_pb2_grpc.InstanceServiceServicer):
    """Reads the digest of the image, or raises what the test put in."""

    def __init__(self, digest: str = DIGEST) -> None:
        self.digest = digest
        self.fault: Exception | None = None
        self.num_calls = 0
        self.num_at_once = 0
        self.most_at_once = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.lines: list[instance_service_pb2.TextLine] | None = None

    async def Predict(self, request: instance_service_pb2.PredictRequest, context: Any) -> instance_service_pb2.PredictResponse:  # noqa: N802
        self.num_calls += 1
        self.num_at_once += 1
        self.most_at_once = max(self.most_at_once, self.num_at_once)
        try:
            await self.gate.wait()
        finally:
            self.num_at_once -= 1
        if self.fault is not None:
            raise self.fault
        # Calls finish in another order than they came.
        await asyncio.sleep(request.image[-1] % 7 / 1000)
        return instance_service_pb2.PredictResponse(
            lines=self.lines if self.lines is not None else [text_line(label_of(request.image))],
            width_px=1280,
            height_px=720,
            bundle_digest=self.digest,
            timings=instance_service_pb2.Timings(queue_ms=0.5, decode_ms=1.25, detect_ms=30, recognize_ms=12.3456),
        )


def text_line(text: str, confidence: float = 0.98765) -> instance_service_pb2.TextLine:
    """A line near the middle of a page of 1280 x 720 pixels."""
    corners = [(130.56, 144.72), (535.04, 144.72), (535.04, 189.36), (130.56, 189.36)]
    quad = geometry_pb2.Quad(points=[geometry_pb2.Point(x=x, y=y) for x, y in corners])
    return instance_service_pb2.TextLine(text=text, confidence=confidence, quad=quad)


class FakeDatasets(dataset_service_pb2_grpc.DatasetServiceServicer):
    """Datasets in memory; one image whose bytes the test sets."""

    def __init__(self) -> None:
        self.datasets: dict[str, dataset_pb2.Dataset] = {}
        self.image = bmp(40, 40)
        self.store_etag = "tag-1"
        self.num_reads = 0
        self.fault: Exception | None = None
        self.last_request: Any = None
        self.seen_request_id: str | None = None

    def _note(self, request: Any) -> None:
        self.last_request = request
        self.seen_request_id = call_context.request_id.get()
        if self.fault is not None:
            raise self.fault

    async def CreateDataset(self, request: dataset_service_pb2.CreateDatasetRequest, context: Any) -> dataset_pb2.Dataset:  # noqa: N802
        self._note(request)
        name = f"{request.parent}/datasets/{request.dataset_id}"
        if name in self.datasets:
            raise AlreadyExists(f"There is a dataset {name} already; choose another name.", name=name)
        dataset = dataset_pb2.Dataset()
        dataset.CopyFrom(request.dataset)
        dataset.name, dataset.sync_number, dataset.state = name, 2**53 + 1, dataset_pb2.Dataset.INDEXING
        self.datasets[name] = dataset
        return dataset

    async def GetDataset(self, request: dataset_service_pb2.GetDatasetRequest, context: Any) -> dataset_pb2.Dataset:  # noqa: N802
        self._note(request)
        if request.name not in self.datasets:
            raise NotFound(f"There is no dataset {request.name}.", name=request.name)
        return self.datasets[request.name]

    async def UpdateDataset(self, request: dataset_service_pb2.UpdateDatasetRequest, context: Any) -> dataset_pb2.Dataset:  # noqa: N802
        self._note(request)
        request.update_mask.MergeMessage(request.dataset, self.datasets[request.dataset.name])
        return self.datasets[request.dataset.name]

    async def DeleteDataset(self, request: dataset_service_pb2.DeleteDatasetRequest, context: Any) -> Empty:  # noqa: N802
        self._note(request)
        del self.datasets[request.name]
        return Empty()

    async def ListImages(self, request: Any, context: Any) -> dataset_service_pb2.ListImagesResponse:  # noqa: N802
        self._note(request)
        return dataset_service_pb2.ListImagesResponse()

    async def GetImage(self, request: dataset_service_pb2.GetImageRequest, context: Any) -> dataset_pb2.Image:  # noqa: N802
        self._note(request)
        if request.name != IMAGE:
            raise NotFound(f"There is no image {request.name}.", name=request.name)
        return dataset_pb2.Image(name=IMAGE, store_etag=self.store_etag, size_bytes=len(self.image))

    async def ReadImage(self, request: Any, context: Any) -> AsyncIterator[dataset_service_pb2.ReadImageResponse]:  # noqa: N802
        self.num_reads += 1
        if request.store_etag != "tag-1":
            raise Conflict("The image changed since it was indexed; sync the dataset.")
        end = request.start_byte + request.num_bytes if request.num_bytes else len(self.image)
        wanted = self.image[request.start_byte : end]
        for start in range(0, len(wanted), 1000):
            yield dataset_service_pb2.ReadImageResponse(chunk=wanted[start : start + 1000])

    async def ReadThumbnail(self, request: Any, context: Any) -> picture_pb2.Picture:  # noqa: N802
        self.num_reads += 1
        return picture_pb2.Picture(data=f"thumbnail of {request.size_px}".encode())

    async def GetTilePyramid(self, request: Any, context: Any) -> picture_pb2.TilePyramid:  # noqa: N802
        return picture_pb2.TilePyramid(name=request.name, width_px=1300, height_px=700, tile_size_px=512, num_levels=12)

    async def ReadTile(self, request: Any, context: Any) -> picture_pb2.Picture:  # noqa: N802
        self.num_reads += 1
        return picture_pb2.Picture(data=f"tile {request.level} {request.column} {request.row}".encode())


class FakeTrainer(trainer_service_pb2_grpc.TrainerServiceServicer):
    """Bundles in memory."""

    def __init__(self) -> None:
        self.bundles: dict[str, bytes] = {}
        self.largest_piece = 0
        self.tasks: list[task_pb2.Task] = []

    async def ListTasks(self, request: Any, context: Any) -> trainer_service_pb2.ListTasksResponse:  # noqa: N802
        return trainer_service_pb2.ListTasksResponse(tasks=self.tasks)

    async def ImportModel(  # noqa: N802
        self, requests: AsyncIterator[trainer_service_pb2.ImportModelRequest], context: Any
    ) -> model_pb2.Model:
        first = await anext(aiter(requests))
        name = first.name
        if name in self.bundles:
            raise AlreadyExists(f"There is a model {name} already.", name=name)
        pieces = [chunk async for chunk in whole_upload(first, requests)]
        self.largest_piece = max(map(len, pieces))
        self.bundles[name] = b"".join(pieces)
        return model_pb2.Model(name=name, origin=model_pb2.Model.IMPORTED)

    async def ReadBundle(self, request: Any, context: Any) -> AsyncIterator[trainer_service_pb2.ReadBundleResponse]:  # noqa: N802
        if request.model not in self.bundles:
            raise NotFound(f"There is no model {request.model}.", name=request.model)
        data = self.bundles[request.model]
        for start in range(0, len(data), 100_000):
            yield trainer_service_pb2.ReadBundleResponse(chunk=data[start : start + 100_000])


class FakeInference(inference_service_pb2_grpc.InferenceServiceServicer):
    """Raises what the test put in."""

    def __init__(self) -> None:
        self.fault: Fault = NotFound("There is no such deployment.")
        self.deployments: list[deployment_pb2.Deployment] = []

    async def ListDeployments(self, request: Any, context: Any) -> inference_service_pb2.ListDeploymentsResponse:  # noqa: N802
        return inference_service_pb2.ListDeploymentsResponse(deployments=self.deployments)

    async def GetDeployment(self, request: Any, context: Any) -> Any:  # noqa: N802
        raise self.fault


@dataclass
class World:
    """Fakes, the gateway's table, and a client of the gateway."""

    settings: GatewaySettings
    parts: Parts
    work: Work
    key: InstallationKey
    table: RoutingTable
    http: httpx.AsyncClient
    datasets: FakeDatasets
    trainer: FakeTrainer
    inference: FakeInference

    def deploy(self, deployment_id: str, *endpoints: str, digest: str = DIGEST) -> None:
        """Let the gateway hear of a deployment and its instances."""
        self.table.on_deployment(KeyChange(deployment_id, route_entry(self.key, deployment_id)))
        self.table.on_deployment(None)
        for number, endpoint in enumerate(endpoints):
            entry = instance_entry(deployment_id, f"i{number}", endpoint, digest)
            self.table.on_instance(KeyChange(f"{deployment_id}.i{number}", entry))

    async def predict(self, deployment_id: str, *elements: object, token: str = DEPLOYMENT_TOKEN) -> httpx.Response:
        """Call the public API."""
        return await self.http.post(f"/api/predict/{deployment_id}", json={"dataArray": list(elements)}, headers={"Authorization": token})


def route_entry(key: InstallationKey, deployment_id: str) -> bytes:
    """As inference writes it."""
    name = f"projects/default/deployments/{deployment_id}"
    token = key.encrypt(DEPLOYMENT_TOKEN, purpose=name)
    return instance_service_pb2.DeploymentRoute(deployment=name, bundle_digest=DIGEST, encrypted_tokens=[token]).SerializeToString()


def instance_entry(deployment_id: str, instance_id: str, endpoint: str, digest: str = DIGEST) -> bytes:
    """As an instance writes it."""
    name = f"projects/default/deployments/{deployment_id}"
    registration = instance_service_pb2.InstanceRegistration(
        deployment=name, instance_id=instance_id, endpoint=endpoint, bundle_digest=digest
    )
    return registration.SerializeToString()


@asynccontextmanager
async def serving(fake: Any, add: Callable[[Any, Any], None], file: Any, address: str = "127.0.0.1:0") -> AsyncIterator[GrpcServer]:
    """A fake behind real gRPC."""
    server = GrpcServer(address, TRUST)
    server.add(add, fake, file)
    await server.start()
    try:
        yield server
    finally:
        await server.stop(0)


@asynccontextmanager
async def serving_instance(fake: FakeInstance, address: str = "127.0.0.1:0") -> AsyncIterator[GrpcServer]:
    """A fake instance behind real gRPC."""
    add = instance_service_pb2_grpc.add_InstanceServiceServicer_to_server
    async with serving(fake, add, instance_service_pb2.DESCRIPTOR, address) as server:
        yield server


@asynccontextmanager
async def gateway_world(home: Path, *, bus: Bus | None = None, **changed: Any) -> AsyncIterator[World]:
    """The gateway's application in this process, fakes behind real gRPC; without a bus of the test's, one that is not connected."""
    # The generated bases are abstract to the type checker; a fake answers only what tests call.
    datasets, trainer, inference = FakeDatasets(), FakeTrainer(), FakeInference()  # type: ignore[abstract]
    async with (
        serving(datasets, dataset_service_pb2_grpc.add_DatasetServiceServicer_to_server, dataset_service_pb2.DESCRIPTOR) as dataset_at,
        serving(trainer, trainer_service_pb2_grpc.add_TrainerServiceServicer_to_server, trainer_service_pb2.DESCRIPTOR) as trainer_at,
        serving(
            inference, inference_service_pb2_grpc.add_InferenceServiceServicer_to_server, inference_service_pb2.DESCRIPTOR
        ) as inference_at,
    ):
        settings = GatewaySettings(home=keyed(home), **changed)
        key = InstallationKey.load(home)
        table = RoutingTable(key, TRUST.as_service("gateway"))
        await upgrade("gateway", settings.database_url)
        database = Database(settings.database_url)
        work, passwords, throttle = database.work(GatewayWork), Passwords(), Throttle()
        addresses = {"dataset": dataset_at.address, "trainer": trainer_at.address, "inference": inference_at.address}
        bus = bus or Bus(nats.aio.client.Client(), ())
        addresses["labeling"] = f"127.0.0.1:{free_port()}"
        status = StatusApi(bus, home, settings.address, addresses, TRUST.as_caller())
        own = {
            "AuditService": AuditApi(work),
            "EventService": EventApi(bus, work),
            "StatusService": status,
            "UserService": UserApi(work, passwords, throttle, TRUST.key),
        }
        peers = Peers(addresses, TRUST.as_caller(), own)
        doorkeeper = Doorkeeper(work, ADMIN_TOKEN)
        sessions = Sessions(work, passwords, throttle, secure_cookies=False)
        parts = Parts(settings, doorkeeper, sessions, peers, bus, table, asyncio.Event())
        app = build_app(parts)
        transport = httpx.ASGITransport(app)
        headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway", headers=headers) as http:
            yield World(settings, parts, work, key, table, http, datasets, trainer, inference)
        await table.close()
        await status.close()
        await peers.close()
        await database.close()
