"""Everything around a trainer under test: a real nats-server, a small dataset service, drawn receipts."""

# ruff: noqa: N802 - the proto names the methods

import asyncio
import hashlib
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

from google.protobuf.message import Message
from PIL import Image, ImageDraw, ImageFont

from inkwright.common.v1 import geometry_pb2
from inkwright.dataset.v1 import dataset_events_pb2, dataset_pb2, dataset_service_pb2, dataset_service_pb2_grpc
from inkwright.trainer.v1 import task_pb2, trainer_service_pb2, trainer_service_pb2_grpc
from libs.runtime import call_context
from libs.runtime.bus import Bus
from libs.runtime.errors import Conflict, NoReadyInstance, NotFound
from libs.runtime.grpc_client import call, connect
from libs.runtime.grpc_server import GrpcServer
from libs.runtime.subjects import fact_subject
from libs.runtime.testing import NatsServer, assert_eventually, nats_server
from services.trainer.settings import TrainerSettings
from tests.trust import CREDENTIALS, TRUST, keyed

DATASET = "projects/default/datasets/receipts"
M = TypeVar("M", bound=Message)
WORDS = ("TOTAL", "Milk 1l", "Bread", "12.50", "Cash", "No. 4711", "Tea", "3 x 0.99", "Coffee", "VAT 7%")


class ImageChanged(Conflict):
    """As the real service says it."""

    reason = "IMAGE_CHANGED"


@dataclass
class DrawnPage:
    """A page of the small dataset; ``boxes`` is ``None`` where it has no labels."""

    key: str
    data: bytes
    width_px: int
    height_px: int
    boxes: list[dataset_pb2.LabelBox] | None

    @property
    def image_id(self) -> str:
        """Its last name part."""
        return f"im-{hashlib.sha256(self.key.encode()).hexdigest()[:10]}"


def draw_page(number: int, *, num_lines: int = 3, labeled: bool = True) -> DrawnPage:
    """A small receipt; equal numbers give equal bytes, different ones look different."""
    width, height = 200, 30 + 26 * num_lines
    image = Image.new("RGB", (width, height), (235 - 7 * (number % 9), 240, 238))
    draw = ImageDraw.Draw(image)
    # A dark field at a place of its own keeps drawn pages from being near-duplicates.
    column, row = number % 5, number // 5 % 5
    draw.rectangle((width - 40 + 7 * column, row * height // 5, width - 34 + 7 * column, (row + 1) * height // 5), fill=(40, 40, 60))
    boxes: list[dataset_pb2.LabelBox] = []
    for line in range(num_lines):
        text = f"{WORDS[(number * 3 + line) % len(WORDS)]} {number * 17 + line}"
        left, top = 8 + 3 * ((number + line) % 4), 12 + 26 * line
        draw.text((left, top), text, font=ImageFont.load_default(16), fill=(20, 20, 20))
        x0, y0, x1, y1 = draw.textbbox((left, top), text, font=ImageFont.load_default(16))
        corners = ((x0 - 2, y0 - 2), (x1 + 2, y0 - 2), (x1 + 2, y1 + 2), (x0 - 2, y1 + 2))
        quad = geometry_pb2.Quad(points=[geometry_pb2.Point(x=x, y=y) for x, y in corners])
        boxes.append(dataset_pb2.LabelBox(box_id=str(line), quad=quad, text=text))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return DrawnPage(f"page{number:03}.png", buffer.getvalue(), width, height, boxes if labeled else None)


@dataclass
class SmallDatasets(dataset_service_pb2_grpc.DatasetServiceServicer):
    """The methods of the dataset service that a trainer calls, over pages in memory."""

    bus: Bus
    pages: list[DrawnPage]
    ready: bool = True
    tells: bool = True
    vanishes: bool = False
    """Whether it is gone when it is to be frozen."""
    num_away: int = 0
    """So many calls for what is frozen find nobody there."""
    changed_keys: set[str] = field(default_factory=set)
    opened: asyncio.Event = field(default_factory=asyncio.Event)
    """Images are given out once it is set."""
    frozen: list[str] = field(default_factory=list)
    """Request ids of the freezes, repeats included."""
    others: set[str] = field(default_factory=set)
    """Names of further datasets; they hold the same."""
    joined: dict[str, list[str]] = field(default_factory=dict)
    """The further datasets of the last freeze of each."""
    asked_for: dict[str, set[str | None]] = field(default_factory=dict)
    """For which requests each method was called."""

    async def GetDataset(self, request: dataset_service_pb2.GetDatasetRequest, context: object) -> dataset_pb2.Dataset:
        if request.name not in {DATASET, *self.others}:
            raise NotFound(f"There is no dataset {request.name}.", name=request.name)
        num_labeled = sum(page.boxes is not None for page in self.pages)
        counts = dataset_pb2.DatasetCounts(num_images=len(self.pages), num_labeled=num_labeled)
        state = dataset_pb2.Dataset.READY if self.ready else dataset_pb2.Dataset.INDEXING
        return dataset_pb2.Dataset(name=request.name, state=state, counts=counts)

    async def FreezeDataset(self, request: dataset_service_pb2.FreezeDatasetRequest, context: object) -> dataset_pb2.Version:
        self._note("FreezeDataset")
        self.frozen.append(request.request_id)
        self.joined[request.name] = list(request.further_datasets)
        if self.vanishes:
            raise NotFound(f"There is no dataset {request.name}.", name=request.name)
        if self.tells:
            await self.tell(request.request_id)
        return dataset_pb2.Version(name=f"{DATASET}/versions/{request.request_id}")

    async def tell(self, request_id: str) -> None:
        """Publish that the version is frozen."""
        fact = dataset_events_pb2.VersionFrozen(version=f"{DATASET}/versions/{request_id}", request_id=request_id)
        await publish(self.bus, fact, service="dataset", resource="version", id=request_id)

    async def GetVersion(self, request: dataset_service_pb2.GetVersionRequest, context: object) -> dataset_pb2.Version:
        if not request.name.startswith(f"{DATASET}/versions/"):
            raise NotFound(f"There is no version {request.name}.", name=request.name)
        num_labeled = sum(page.boxes is not None for page in self.pages)
        parts = [dataset_pb2.VersionPart(dataset=dataset) for dataset in ("projects/default/datasets/another", DATASET)]
        return dataset_pb2.Version(name=request.name, num_images=len(self.pages), num_labeled=num_labeled, parts=parts)

    async def ListVersionEntries(
        self, request: dataset_service_pb2.ListVersionEntriesRequest, context: object
    ) -> dataset_service_pb2.ListVersionEntriesResponse:
        self._note("ListVersionEntries")
        self._be_away()
        # Two entries a page: paging is what a large dataset does.
        start = int(request.page_token or 0)
        entries = [self._entry(page) for page in self.pages[start : start + 2]]
        token = str(start + 2) if start + 2 < len(self.pages) else ""
        return dataset_service_pb2.ListVersionEntriesResponse(entries=entries, next_page_token=token)

    async def ReadImage(
        self, request: dataset_service_pb2.ReadImageRequest, context: object
    ) -> AsyncIterator[dataset_service_pb2.ReadImageResponse]:
        self._note("ReadImage")
        await self.opened.wait()
        self._be_away()
        page = next(page for page in self.pages if request.name.endswith(f"/{page.image_id}"))
        if page.key in self.changed_keys:
            raise ImageChanged(f"{page.key} changed since it was indexed.", key=page.key)
        for start in range(0, len(page.data), 1024):
            yield dataset_service_pb2.ReadImageResponse(chunk=page.data[start : start + 1024])

    def _be_away(self) -> None:
        if self.num_away:
            self.num_away -= 1
            raise NoReadyInstance("The dataset service is starting.")

    def _note(self, method: str) -> None:
        self.asked_for.setdefault(method, set()).add(call_context.request_id.get())

    def _entry(self, page: DrawnPage) -> dataset_pb2.VersionEntry:
        return dataset_pb2.VersionEntry(
            image=f"{DATASET}/images/{page.image_id}",
            key=page.key,
            size_bytes=len(page.data),
            store_etag="v1",
            width_px=page.width_px,
            height_px=page.height_px,
            label_digest="" if page.boxes is None else "00",
            boxes=page.boxes,
        )


@dataclass
class Stage:
    """What stands around the trainer."""

    nats: NatsServer
    bus: Bus
    datasets: SmallDatasets
    settings: TrainerSettings

    @asynccontextmanager
    async def follows(self, fact: type[M], resource: str, heard: list[M]) -> AsyncIterator[None]:
        """Collect the trainer's facts of one kind while the block runs."""

        async def collect() -> None:
            async for message in self.bus.follow(fact, service="trainer", resource=resource):
                heard.append(message)  # noqa: PERF401 - the test looks at the list while it grows

        collecting = asyncio.create_task(collect())
        # The subscription is known to the server once a flush has come back.
        await asyncio.sleep(0)
        await self.bus.client.flush()
        try:
            yield
        finally:
            collecting.cancel()
            await asyncio.wait([collecting])


@asynccontextmanager
async def stage(folder: Path, pages: list[DrawnPage], *, models: Path) -> AsyncIterator[Stage]:
    """Everything but the trainer."""
    (folder / "nats").mkdir(parents=True)
    async with nats_server(folder / "nats") as nats:
        bus = await Bus.connect(nats.url, name="test")
        datasets = SmallDatasets(bus, pages)  # type: ignore[abstract]
        datasets.opened.set()
        server = GrpcServer("127.0.0.1:0", TRUST)
        server.add(dataset_service_pb2_grpc.add_DatasetServiceServicer_to_server, datasets, dataset_service_pb2.DESCRIPTOR)
        await server.start()
        settings = TrainerSettings(
            home=keyed(folder / "home"),
            models=models,
            nats_url=nats.url,
            trainer_address="127.0.0.1:0",
            dataset_address=server.address,
            trainer_lease_seconds=2.0,
            trainer_max_training_seconds=3.0,
            # With one thread a busy machine costs its share of time, with two the threads wait for each other as well.
            trainer_threads=1,
            log_level="warning",
        )
        try:
            yield Stage(nats, bus, datasets, settings)
        finally:
            await server.stop(0)
            await bus.close()


async def publish(bus: Bus, fact: Message, *, service: str, resource: str, id: str) -> None:
    """Put a fact on the bus as its service would."""
    subject, payload = fact_subject(service, resource, type(fact), id), fact.SerializeToString()
    headers = {call_context.REQUEST_ID_KEY: call_context.request_id.get() or ""}
    await bus.publish(subject, payload, message_id=hashlib.sha256(subject.encode() + payload).hexdigest(), headers=headers)


class Client:
    """The trainer as its callers see it."""

    def __init__(self, address: str) -> None:
        self.channel = connect(address, CREDENTIALS)
        self.stub = trainer_service_pb2_grpc.TrainerServiceStub(self.channel)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.channel.close()

    async def create(self, task_id: str, *, request_id: str = "", **fields: Any) -> task_pb2.Task:
        """Create a task on the small dataset."""
        order = task_pb2.Task(**{"dataset": DATASET, **fields})
        request = trainer_service_pb2.CreateTaskRequest(parent="projects/default", task_id=task_id, task=order, request_id=request_id)
        return await call(self.stub.CreateTask, request)

    async def task(self, task_id: str) -> task_pb2.Task:
        """The task as it is now."""
        return await call(self.stub.GetTask, trainer_service_pb2.GetTaskRequest(name=f"projects/default/tasks/{task_id}"))

    async def terminate(self, task_id: str) -> task_pb2.Task:
        """Terminate it."""
        return await call(self.stub.TerminateTask, trainer_service_pb2.TerminateTaskRequest(name=f"projects/default/tasks/{task_id}"))

    async def logs(self, task_id: str, **fields: Any) -> trainer_service_pb2.ListTaskLogsResponse:
        """Its log lines."""
        request = trainer_service_pb2.ListTaskLogsRequest(name=f"projects/default/tasks/{task_id}", **fields)
        return await call(self.stub.ListTaskLogs, request)

    async def text_of_log(self, task_id: str) -> str:
        """All messages, a line each."""
        return "\n".join(line.message for line in (await self.logs(task_id, page_size=1000)).lines)


def node(task: task_pb2.Task, node_id: str) -> task_pb2.Node:
    """One node of a task."""
    return next(node for node in task.nodes if node.node_id == node_id)


async def ended(client: Client, task_id: str, state: task_pb2.Task.State.ValueType, *, seconds: float = 60) -> task_pb2.Task:
    """Wait for a task's end in the given state."""

    async def check() -> task_pb2.Task:
        task = await client.task(task_id)
        assert task.state == state, (task.error_message, [(node.node_id, node.state, node.message) for node in task.nodes])
        return task

    return await assert_eventually(check, seconds)
