"""The trainer's tasks with a real nats-server, a real database and real children; no training here."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from inkwright.trainer.v1 import task_pb2, trainer_events_pb2, trainer_service_pb2
from libs.runtime.errors import AlreadyExists, Fault, InvalidInput, NotFound, WrongState
from libs.runtime.grpc_client import call
from libs.runtime.testing import assert_eventually
from services.trainer import worker
from services.trainer.graph import MAX_CRASHES
from services.trainer.main import build_with
from tests.integration.conftest import Databases
from tests.integration.running import running
from tests.integration.tiny_bundle import write_tiny_bundle
from tests.integration.trainer_stage import DATASET, Client, Stage, draw_page, ended, node, stage


@pytest.fixture
async def scene(tmp_path: Path, databases: Databases) -> AsyncIterator[Stage]:
    write_tiny_bundle(tmp_path / "models" / "small.inkbundle")
    async with stage(tmp_path, [draw_page(number) for number in range(6)], models=tmp_path / "models") as scene:
        yield scene


async def test_orders_that_are_not_offered_are_refused_by_name(scene: Stage) -> None:
    async with running(build_with(scene.settings)) as address, Client(address) as client:

        async def refusal(task_id: str = "t", **fields: Any) -> tuple[type[Fault], str, str]:
            with pytest.raises(Fault) as caught:
                await client.create(task_id, **fields)
            return type(caught.value), caught.value.reason, caught.value.message

        assert (await refusal(algorithm="magic"))[1] == "ALGORITHM_NOT_OFFERED"
        for resources in (task_pb2.TaskResources(num_gpus=1), task_pb2.TaskResources(gpu_type="h100")):
            gpu = await refusal(resources=resources)
            assert gpu[1] == "RESOURCE_NOT_OFFERED"
            assert "'cpu'" in gpu[2]
        base = await refusal(base="projects/default/models/large")
        assert base[1] == "BASE_NOT_OFFERED"
        assert "projects/default/models/small" in base[2]
        assert (await refusal(task_id="no spaces"))[1] == "INVALID_NAME"
        assert (await refusal(dataset="receipts"))[1] == "INVALID_NAME"
        assert (await refusal(validation_fraction=0.7))[0] is InvalidInput
        assert (await refusal(dataset="projects/default/datasets/nowhere"))[:2] == (NotFound, "NOT_FOUND")
        scene.datasets.ready = False
        assert (await refusal())[1] == "DATASET_NOT_READY"
        scene.datasets.ready = True
        scene.datasets.pages = [draw_page(1, labeled=False)]
        assert (await refusal())[1] == "NO_LABELS"
        scene.datasets.pages = [draw_page(1), draw_page(2, labeled=False)]
        unlabeled = await refusal()
        assert unlabeled[1] == "NO_LABELS"
        assert "label and submit" in unlabeled[2]
        tasks = await call(client.stub.ListTasks, trainer_service_pb2.ListTasksRequest(parent="projects/default"))
        assert not tasks.tasks
        assert not scene.datasets.frozen


async def test_only_the_fact_starts_a_task(scene: Stage) -> None:
    scene.datasets.tells = False
    async with running(build_with(scene.settings)) as address, Client(address) as client:
        made = await client.create("waits", request_id="r1", description="first")
        again = await client.create("other-name", request_id="r1")
        assert again.name == made.name
        with pytest.raises(AlreadyExists):
            await client.create("waits")
        await assert_eventually(lambda: bool(scene.datasets.frozen))
        task = await client.task("waits")
        assert (task.state, task.version) == (task_pb2.Task.PENDING, "")
        assert {node.state for node in task.nodes} == {task_pb2.Node.WAITING}
    # A restart asks again under the same request id.
    async with running(build_with(scene.settings)) as address, Client(address) as client:
        await assert_eventually(lambda: len(scene.datasets.frozen) == 2)
        assert len(set(scene.datasets.frozen)) == 1
        assert (await client.task("waits")).state == task_pb2.Task.PENDING
        await scene.datasets.tell("a-stranger")
        await scene.datasets.tell(scene.datasets.frozen[0])

        async def started() -> None:
            task = await client.task("waits")
            assert task.version == f"{DATASET}/versions/{scene.datasets.frozen[0]}"
            assert node(task, "snapshot").attempt == 1

        await assert_eventually(started)
        assert (await client.terminate("waits")).state in (task_pb2.Task.TERMINATING, task_pb2.Task.TERMINATED)
        await ended(client, "waits", task_pb2.Task.TERMINATED)


async def test_a_task_on_a_frozen_version_starts_at_once(scene: Stage) -> None:
    version = f"{DATASET}/versions/v-1"
    async with running(build_with(scene.settings)) as address, Client(address) as client:
        for refused in ({"dataset": DATASET}, {"dataset": "", "further_datasets": [DATASET]}):
            with pytest.raises(InvalidInput):
                await client.create("both", version=version, **refused)
        with pytest.raises(InvalidInput):
            await client.create("foreign", dataset="", version="projects/other/datasets/d/versions/v-1")
        with pytest.raises(NotFound):
            await client.create("nowhere", dataset="", version="projects/default/datasets/nowhere/versions/v-1")
        made = await client.create("frozen", dataset="", version=version)
        assert (made.version, made.dataset, [*made.further_datasets]) == (version, DATASET, ["projects/default/datasets/another"])

        async def started() -> None:
            assert node(await client.task("frozen"), "snapshot").attempt == 1

        await assert_eventually(started)
        await client.terminate("frozen")
        await ended(client, "frozen", task_pb2.Task.TERMINATED)
    assert not scene.datasets.frozen


async def test_a_task_asks_for_one_version_of_all_its_datasets(scene: Stage) -> None:
    scene.datasets.tells = False
    async with running(build_with(scene.settings)) as address, Client(address) as client:
        with pytest.raises(NotFound):
            await client.create("lost", further_datasets=["projects/default/datasets/nowhere"])
        with pytest.raises(InvalidInput):
            await client.create("foreign", further_datasets=["projects/other/datasets/d"])
        scene.datasets.others = {"projects/default/datasets/another"}
        made = await client.create("joined", further_datasets=["projects/default/datasets/another", DATASET])
        await assert_eventually(lambda: scene.datasets.joined == {DATASET: ["projects/default/datasets/another"]})
        assert await client.task("joined") == made
        await client.terminate("joined")


async def test_a_waiting_task_terminates_at_once_and_only_once(scene: Stage) -> None:
    scene.datasets.tells = False
    async with running(build_with(scene.settings)) as address, Client(address) as client:
        for number in range(3):
            await client.create(f"task-{number}")
        terminated = await client.terminate("task-1")
        assert terminated.state == task_pb2.Task.TERMINATED
        assert (await client.terminate("task-1")).etag == terminated.etag
        with pytest.raises(NotFound):
            await client.terminate("nobody")
        # A version that arrives too late starts nothing.
        await assert_eventually(lambda: len(set(scene.datasets.frozen)) >= 3)
        for request_id in set(scene.datasets.frozen):
            await scene.datasets.tell(request_id)

        async def others_started() -> None:
            assert (await client.task("task-0")).version
            assert (await client.task("task-2")).version

        await assert_eventually(others_started)
        assert not (await client.task("task-1")).version
        request = trainer_service_pb2.ListTasksRequest(parent="projects/default", page_size=2)
        first = await call(client.stub.ListTasks, request)
        request.page_token = first.next_page_token
        second = await call(client.stub.ListTasks, request)
        assert [task.name[-1] for task in (*first.tasks, *second.tasks)] == ["2", "1", "0"]
        assert not second.next_page_token


async def test_a_dataset_that_vanished_fails_the_task(scene: Stage) -> None:
    scene.datasets.vanishes = True
    async with running(build_with(scene.settings)) as address, Client(address) as client:
        await client.create("orphan")
        task = await ended(client, "orphan", task_pb2.Task.FAILED)
        assert task.error_message.startswith("The dataset could not be frozen: ")
        with pytest.raises(WrongState) as caught:
            await client.terminate("orphan")
        assert caught.value.reason == "WRONG_STATE"


async def test_a_changed_image_fails_the_task_by_name(scene: Stage) -> None:
    scene.datasets.changed_keys.add("page003.png")
    async with running(build_with(scene.settings)) as address, Client(address) as client:
        heard: list[trainer_events_pb2.TaskStateChanged] = []
        async with scene.follows(trainer_events_pb2.TaskStateChanged, "task", heard):
            await client.create("changed")
            task = await ended(client, "changed", task_pb2.Task.FAILED)
            assert task.error_message == "snapshot failed: page003.png changed since it was indexed."
            assert node(task, "snapshot").state == task_pb2.Node.FAILED
            assert node(task, "gate").state == task_pb2.Node.TERMINATED
            assert "page003.png changed" in await client.text_of_log("changed")
            await assert_eventually(lambda: not list(scene.settings.task_folder.iterdir()))
            await assert_eventually(lambda: [fact.state for fact in heard][-1:] == [task_pb2.Task.FAILED])
        assert [fact.state for fact in heard] == [task_pb2.Task.PENDING, task_pb2.Task.RUNNING, task_pb2.Task.FAILED]
        assert heard[-1].error_message == task.error_message


async def test_a_dataset_service_that_is_away_for_a_while_is_waited_for(scene: Stage) -> None:
    scene.datasets.pages = [draw_page(0, num_lines=0), draw_page(1, num_lines=0)]
    scene.datasets.num_away = 3
    async with running(build_with(scene.settings)) as address, Client(address) as client:
        await client.create("patient")
        task = await ended(client, "patient", task_pb2.Task.FAILED)
        assert (node(task, "snapshot").state, node(task, "snapshot").attempt) == (task_pb2.Node.SUCCEEDED, 1)
        assert (node(task, "snapshot").info["num_images"], scene.datasets.num_away) == ("2", 0)
        assert task.error_message.startswith("preflight failed: No labelled box")


async def test_a_node_whose_process_is_killed_is_tried_again_and_given_up_at_last(scene: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "RETRY_SECONDS", 0.2)
    scene.datasets.opened.clear()

    async def kill(client: Client, attempt: int) -> None:
        async def runs() -> psutil.Process:
            assert node(await client.task("killed"), "snapshot").attempt == attempt
            found = [child for child in psutil.Process().children() if "services.trainer.node_main" in child.cmdline()]
            assert len(found) == 1
            return found[0]

        (await assert_eventually(runs, 30)).kill()

    async with running(build_with(scene.settings)) as address, Client(address) as client:
        await client.create("killed")
        for attempt in range(1, MAX_CRASHES + 1):
            await kill(client, attempt)
        task = await ended(client, "killed", task_pb2.Task.FAILED)
        assert task.error_message.startswith(f"snapshot failed: Its process vanished {MAX_CRASHES} times")
        assert (await client.text_of_log("killed")).count("killed by SIGKILL; it is tried again") == MAX_CRASHES


async def test_preflight_counts_what_cannot_be_used_and_fails_when_nothing_is_left(scene: Stage) -> None:
    unreadable = draw_page(0)
    for box in unreadable.boxes or ():
        box.unreadable, box.text = True, ""
    broken = replace(draw_page(1), data=b"\x89PNG\r\n\x1a\nbroken")
    scene.datasets.pages = [unreadable, broken, draw_page(2, labeled=False)]
    async with running(build_with(scene.settings)) as address, Client(address) as client:
        await client.create("hopeless")
        task = await ended(client, "hopeless", task_pb2.Task.FAILED)
        assert task.error_message.startswith("preflight failed: No labelled box has a text")
        snapshot, preflight = node(task, "snapshot"), node(task, "preflight")
        assert (snapshot.info["num_images"], snapshot.info["num_labeled"]) == ("3", "2")
        assert (preflight.info["num_undecodable"], preflight.info["num_unlabeled"]) == ("1", "1")
        assert (preflight.info["num_lines"], preflight.info["num_unreadable"]) == ("0", "3")
        lines = (await client.logs("hopeless", page_size=1000)).lines
        assert [line.sequence for line in lines] == list(range(1, len(lines) + 1))
        assert any(line.level == "warning" and line.message.startswith("page001.png is left out") for line in lines)
        first = await client.logs("hopeless", page_size=1, node_id="preflight")
        assert first.next_page_token
        rest = await client.logs("hopeless", page_size=1000, node_id="preflight", after_sequence=first.lines[0].sequence)
        assert {line.node_id for line in rest.lines} == {"preflight"}
        assert rest.lines[0].sequence > first.lines[0].sequence


async def test_a_trainer_stopped_in_good_order_hands_its_node_on(scene: Stage) -> None:
    scene.datasets.opened.clear()
    scene.datasets.pages = [draw_page(0, num_lines=0), draw_page(1, num_lines=0)]

    async def snapshot_runs(client: Client) -> None:
        task = await client.task("handed-on")
        assert node(task, "snapshot").state == task_pb2.Node.RUNNING
        assert scene.settings.task_folder.is_dir()

    async with running(build_with(scene.settings)) as address, Client(address) as client:
        await client.create("handed-on")
        await assert_eventually(lambda: snapshot_runs(client), 30)
    scene.datasets.opened.set()
    async with running(build_with(scene.settings)) as address, Client(address) as client:
        task = await ended(client, "handed-on", task_pb2.Task.FAILED)
        assert (node(task, "snapshot").state, node(task, "snapshot").attempt) == (task_pb2.Node.SUCCEEDED, 2)
        assert task.error_message.startswith("preflight failed: No labelled box")
