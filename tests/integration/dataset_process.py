"""A dataset service in a process of its own, and what the kernel says of its memory."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from inkwright.dataset.v1 import dataset_pb2, dataset_service_pb2
from inkwright.dataset.v1.dataset_service_pb2_grpc import DatasetServiceStub
from libs.client.inkwright import storage_type_of
from libs.runtime.child import Child
from libs.runtime.grpc_client import call, connect
from libs.runtime.testing import NatsServer, assert_eventually, can_connect, free_port
from tests.trust import CREDENTIALS, keyed

if TYPE_CHECKING:
    from inkwright.dataset.v1.dataset_service_pb2_grpc import DatasetServiceAsyncStub


@dataclass(frozen=True)
class Memory:
    """MiB of a process and its children: what is its own now, and the most that it ever held, mapped files included."""

    anonymous: float
    peak: float


@dataclass
class DatasetProcess:
    """A running service; ``kill`` and ``start`` as often as needed."""

    home: Path
    roots: Path
    nats: NatsServer
    port: int
    stub: "DatasetServiceAsyncStub"
    child: Child | None = None
    oss_connections: Path | None = None

    async def start(self) -> None:
        """Start it and wait until it listens."""
        env = {
            "INKWRIGHT_HOME": str(self.home),
            "INKWRIGHT_ROOTS": str(self.roots),
            "INKWRIGHT_NATS_URL": self.nats.url,
            "INKWRIGHT_DATASET_ADDRESS": f"127.0.0.1:{self.port}",
            "INKWRIGHT_LOG_LEVEL": "warning",
        }
        if self.oss_connections is not None:
            env["INKWRIGHT_OSS_CONNECTIONS"] = str(self.oss_connections)
        self.child = await Child.start([sys.executable, "-m", "services.dataset.main"], name="dataset", env=env)
        await assert_eventually(lambda: can_connect(self.port), timeout_seconds=60)

    async def kill(self) -> None:
        """Kill it where it stands."""
        assert self.child is not None
        self.child.kill()
        await self.child.wait()

    def memory(self) -> Memory:
        """Of the process and its children, from the kernel."""
        assert self.child is not None
        tasks = Path(f"/proc/{self.child.pid}/task").glob("*/children")
        memories = [memory_of(pid) for pid in (self.child.pid, *(int(pid) for task in tasks for pid in task.read_text().split()))]
        return Memory(sum(memory.anonymous for memory in memories), sum(memory.peak for memory in memories))

    async def create(self, path: str, dataset_id: str = "large") -> str:
        """Register a folder or a place in OSS; gives the dataset's name."""
        body = dataset_pb2.Dataset(path=path, storage_type=storage_type_of(path))
        request = dataset_service_pb2.CreateDatasetRequest(parent="projects/default", dataset_id=dataset_id, dataset=body)
        return (await call(self.stub.CreateDataset, request)).name

    async def sync(self, name: str) -> None:
        """Ask for a sync."""
        await call(self.stub.SyncDataset, dataset_service_pb2.SyncDatasetRequest(name=name))

    async def get(self, name: str) -> dataset_pb2.Dataset:
        """The dataset."""
        return await call(self.stub.GetDataset, dataset_service_pb2.GetDatasetRequest(name=name))


def memory_of(pid: int) -> Memory:
    """Of one process, from the kernel; nothing once it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        # It ended since it was listed.
        return Memory(0, 0)
    said = {name: value.split() for name, _, value in (line.partition(":") for line in lines)}
    return Memory(int(said["RssAnon"][0]) / 1024, int(said["VmHWM"][0]) / 1024)


@asynccontextmanager
async def dataset_process(
    folder: Path, roots: Path, nats: NatsServer, *, oss_connections: Path | None = None
) -> AsyncIterator[DatasetProcess]:
    """A started service on SQLite, its home below ``folder``."""
    port = free_port()
    async with connect(f"127.0.0.1:{port}", CREDENTIALS) as channel:
        process = DatasetProcess(keyed(folder / "home"), roots, nats, port, DatasetServiceStub(channel), oss_connections=oss_connections)
        await process.start()
        try:
            yield process
        finally:
            await process.kill()
