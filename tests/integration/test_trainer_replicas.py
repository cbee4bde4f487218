"""Several trainers over one database and one folder."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from nats.aio.msg import Msg

from inkwright.trainer.v1 import model_pb2, task_pb2, trainer_events_pb2, trainer_service_pb2
from libs.runtime.grpc_client import call, upload
from libs.runtime.migrations import upgrade
from libs.runtime.testing import assert_eventually
from services.trainer.freezer import TICK_SECONDS
from services.trainer.main import build_with
from tests.integration.conftest import Databases
from tests.integration.running import running
from tests.integration.tiny_bundle import write_tiny_bundle
from tests.integration.trainer_stage import Client, Stage, draw_page, ended, node, stage

pytestmark = pytest.mark.long

NUM_REPLICAS = 3
NUM_BASES = 10


@pytest.fixture
async def scene(tmp_path: Path, shared_databases: Databases) -> AsyncIterator[Stage]:
    write_tiny_bundle(tmp_path / "models" / "small.inkbundle")
    # Without lines there is nothing to learn: a task ends after its second node.
    pages = [draw_page(number, num_lines=0) for number in range(3)]
    async with stage(tmp_path, pages, models=tmp_path / "models") as scene:
        yield scene


@asynccontextmanager
async def replicas(scene: Stage, number: int = NUM_REPLICAS) -> AsyncIterator[list[Client]]:
    """A client of each of so many trainers that start at the same moment."""
    services = await asyncio.gather(*(build_with(scene.settings) for _ in range(number)))
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(Client(await _serving(stack, service))) for service in services]


async def _serving(stack: AsyncExitStack, service: object) -> str:
    async def built() -> object:
        return service

    return await stack.enter_async_context(running(built()))  # type: ignore[arg-type]


async def snapshot_is_running(client: Client, task_id: str, attempt: int) -> None:
    snapshot = node(await client.task(task_id), "snapshot")
    assert (snapshot.state, snapshot.attempt) == (task_pb2.Node.RUNNING, attempt)


def node_children() -> int:
    """How many nodes this process runs at the moment."""
    found = 0
    for pid in Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split():
        try:
            found += b"services.trainer.node_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue  # Ended meanwhile.
    return found


async def test_those_that_start_together_register_each_base_once(scene: Stage) -> None:
    for number in range(NUM_BASES):
        write_tiny_bundle(scene.settings.models / f"base-{number}.inkbundle", name=f"base-{number}")
    # With tables that are there nothing else makes one of them wait for the other.
    await upgrade("trainer", scene.settings.database_url)
    heard: list[trainer_events_pb2.ModelRegistered] = []
    async with scene.follows(trainer_events_pb2.ModelRegistered, "model", heard), replicas(scene) as clients:
        for client in clients:
            reply = await call(client.stub.ListModels, trainer_service_pb2.ListModelsRequest(parent="projects/default"))
            assert len(reply.models) == NUM_BASES + 1
        await assert_eventually(lambda: len(heard) >= NUM_BASES + 1)
    assert len(heard) == NUM_BASES + 1


async def test_after_a_restore_a_task_begins_again_once(scene: Stage) -> None:
    scene.datasets.opened.clear()
    async with replicas(scene, 1) as [client]:
        await client.create("restored")
        await assert_eventually(lambda: snapshot_is_running(client, "restored", 1), 30)
    scene.settings.restored_mark.touch()
    scene.datasets.opened.set()
    async with replicas(scene) as clients:
        await ended(clients[0], "restored", task_pb2.Task.FAILED)
        assert (await clients[1].text_of_log("restored")).count("the task begins again") == 1
    assert not scene.settings.restored_mark.exists()


async def test_what_one_did_is_there_for_the_next_call_to_another(scene: Stage) -> None:
    async with replicas(scene) as [first, second, third]:
        made = await first.create("shared", request_id="r1")
        assert (await second.task("shared")).name == made.name
        assert (await third.create("another-name", request_id="r1")).name == made.name
        await ended(third, "shared", task_pb2.Task.FAILED)


async def test_one_of_them_asks_for_the_version_of_a_task(scene: Stage) -> None:
    scene.datasets.tells = False
    async with replicas(scene) as [client, *_]:
        await client.create("waits")
        await assert_eventually(lambda: bool(scene.datasets.frozen))
        with pytest.raises(AssertionError):
            await assert_eventually(lambda: len(scene.datasets.frozen) > 1, 2 * TICK_SECONDS)


async def test_one_that_starts_leaves_the_uploads_of_the_others_alone(scene: Stage, tmp_path: Path) -> None:
    data = write_tiny_bundle(tmp_path / "mine.inkbundle", name="mine").path.read_bytes()
    go_on = asyncio.Event()

    async def requests() -> AsyncIterator[trainer_service_pb2.ImportModelRequest]:
        yield trainer_service_pb2.ImportModelRequest(name="projects/default/models/mine", chunk=data[:1000])
        await go_on.wait()
        yield trainer_service_pb2.ImportModelRequest(chunk=data[1000:], complete=True)

    folder = scene.settings.upload_folder
    folder.mkdir(parents=True)
    left = folder / "up-left.inkbundle"
    left.write_bytes(data)
    two_hours_ago = time.time() - 7200
    os.utime(left, (two_hours_ago, two_hours_ago))
    async with replicas(scene, 1) as [first]:
        bringing = asyncio.create_task(upload(first.stub.ImportModel, requests()))
        await assert_eventually(lambda: not left.exists() and len(list(folder.iterdir())) == 1)
        async with replicas(scene, 1) as [second]:
            go_on.set()
            assert (await bringing).origin == model_pb2.Model.IMPORTED
            read = trainer_service_pb2.GetModelRequest(name="projects/default/models/mine")
            assert (await call(second.stub.GetModel, read)).bundle_digest == (await bringing).bundle_digest
    assert not list(folder.iterdir())


async def test_a_node_whose_holder_is_cut_off_runs_in_one_child_at_a_time(scene: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.datasets.opened.clear()
    most = 0

    async def watch() -> None:
        nonlocal most
        while True:
            most = max(most, node_children())
            await asyncio.sleep(0.01)

    async def nothing(_message: Msg) -> None:
        """No heartbeat reaches the bus."""

    async with replicas(scene, 2) as [client, _]:
        watching = asyncio.create_task(watch())
        with monkeypatch.context() as cut_off:
            cut_off.setattr(Msg, "in_progress", nothing)
            await client.create("taken")
            await assert_eventually(lambda: snapshot_is_running(client, "taken", 1), 30)
            await assert_eventually(lambda: snapshot_is_running(client, "taken", 2), 30)
        scene.datasets.opened.set()
        task = await ended(client, "taken", task_pb2.Task.FAILED)
        assert task.error_message.startswith("preflight failed: No labelled box")
        watching.cancel()
        await asyncio.wait([watching])
    assert most == 1
