"""The trainer with a real nats-server, a real database and real children; no training here."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from inkwright.trainer.v1 import task_pb2
from libs.ocrkit.models import models_dir
from libs.runtime.testing import assert_eventually
from services.trainer.main import build_with
from tests.integration.running import running
from tests.integration.trainer_stage import Client, Stage, draw_page, node, stage

BASE = "projects/default/models/ppocrv6-small"


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Stage]:
    async with stage(tmp_path, [draw_page(number) for number in range(6)], models=models_dir()) as scene:
        yield scene


async def ended(client: Client, task_id: str, state: task_pb2.Task.State.ValueType, *, seconds: float = 60) -> task_pb2.Task:
    """Wait for the task's end."""

    async def check() -> task_pb2.Task:
        task = await client.task(task_id)
        assert task.state == state, (task.error_message, [(node.node_id, node.state, node.message) for node in task.nodes])
        return task

    return await assert_eventually(check, seconds)


async def test_a_changed_image_fails_the_task_by_name(scene: Stage) -> None:
    scene.datasets.changed_keys.add("page003.png")
    async with running(build_with(scene.settings)) as address, Client(address).channel:
        client = Client(address)
        made = await client.create("changed")
        assert made.state == task_pb2.Task.PENDING
        task = await ended(client, "changed", task_pb2.Task.FAILED)
        assert task.error_message == "snapshot failed: page003.png changed since it was indexed."
        assert node(task, "snapshot").state == task_pb2.Node.FAILED
        assert node(task, "gate").state == task_pb2.Node.TERMINATED
        assert "page003.png changed" in await client.text_of_log("changed")
        await assert_eventually(lambda: not list(scene.settings.task_folder.iterdir()))
