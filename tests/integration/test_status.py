"""`inkctl status` against a running gateway: everything at a glance, also while much is away."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest
from google.protobuf import json_format
from typer.testing import CliRunner, Result

from inkwright.gateway.v1 import status_pb2
from inkwright.inference.v1 import deployment_pb2
from inkwright.trainer.v1 import task_pb2
from libs.client.cli import app
from libs.runtime.bus import Bus
from libs.runtime.testing import NatsServer, nats_server
from tests.gateway_world import ADMIN_TOKEN, World, gateway_world
from tests.integration.gateway_running import running_gateway


@pytest.fixture
async def nats(tmp_path: Path) -> AsyncIterator[NatsServer]:
    (tmp_path / "bus").mkdir()
    async with nats_server(tmp_path / "bus") as server:
        yield server


async def asked(world: World) -> status_pb2.Status:
    """GET /v1/status."""
    answer = await world.http.get("/v1/status")
    assert answer.status_code == 200, answer.text
    return json_format.Parse(answer.content, status_pb2.Status())


async def test_everything_is_told_and_what_is_away_is_a_problem(nats: NatsServer, tmp_path: Path) -> None:
    bus = await Bus.connect(nats.url, name="test")
    await bus.publish("inkwright.dead.labeling-notes", b"?", message_id="d1")
    async with gateway_world(tmp_path / "home", bus=bus) as world:
        node = task_pb2.Node(node_id="train-recognizer", state=task_pb2.Node.RUNNING)
        name = "projects/default/tasks"
        world.trainer.tasks = [
            task_pb2.Task(name=f"{name}/now", state=task_pb2.Task.RUNNING, progress=0.5, nodes=[node]),
            task_pb2.Task(name=f"{name}/then", state=task_pb2.Task.SUCCEEDED),
        ]
        ready = deployment_pb2.Instance(state=deployment_pb2.Instance.READY, num_in_flight=2)
        starting = deployment_pb2.Instance(state=deployment_pb2.Instance.STARTING)
        world.inference.deployments = [
            deployment_pb2.Deployment(
                name="projects/default/deployments/reader",
                state=deployment_pb2.Deployment.SCALING,
                num_instances=2,
                instances=[ready, starting],
            )
        ]
        found = await asked(world)
        assert [(row.service, row.is_reachable, row.is_ready) for row in found.services] == [
            ("gateway", True, True),
            ("dataset", True, True),
            ("trainer", True, True),
            ("inference", True, True),
            ("labeling", False, False),
        ]
        dataset = found.services[1]
        assert dataset.version == found.services[0].version
        assert abs(dataset.clock_offset_seconds) < 0.5
        assert [(task.name, task.state, list(task.running_nodes)) for task in found.tasks] == [
            (f"{name}/now", "RUNNING", ["train-recognizer"])
        ]
        [reader] = found.deployments
        assert (reader.state, reader.num_ready, reader.num_instances, reader.num_in_flight) == ("SCALING", 1, 2, 2)
        assert (found.bus.is_connected, found.bus.num_dead_letters) == (True, 1)
        assert found.bus.server_version.startswith("2.")
        assert "EVT_DATASET" in {stream.name for stream in found.bus.streams}
        assert found.disk.free_bytes > 0
        away, letters = found.problems
        assert "labeling does not answer" in away
        assert "1 message was given up on" in letters
        await bus.close()
        found = await asked(world)
        assert not found.bus.is_connected
        assert any("bus does not answer" in problem for problem in found.problems)


async def test_a_stranger_learns_nothing(tmp_path: Path) -> None:
    async with gateway_world(tmp_path) as world:
        assert (await world.http.get("/v1/status", headers={"Authorization": "Bearer x"})).status_code == 401


async def test_inkctl_shows_one_screen_and_exits_4_when_something_is_wrong(nats: NatsServer, tmp_path: Path) -> None:
    async with running_gateway(nats, tmp_path / "home") as gateway:

        async def inkctl(*arguments: str) -> Result:
            return await asyncio.to_thread(CliRunner().invoke, app, ["--url", gateway.url, "--token", ADMIN_TOKEN, "status", *arguments])

        shown = await inkctl()
        assert shown.exit_code == 4
        for words in ("gateway", "trainer", "away", "nats-server 2.", "0 dead letters", "deployments   none"):
            assert words in shown.stdout
        assert shown.stderr.count("not well:") == 4
        data = orjson.loads((await inkctl("--json")).stdout)
        assert (len(data["services"]), len(data["problems"]), data["bus"]["isConnected"]) == (5, 4, True)
