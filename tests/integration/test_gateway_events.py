"""Live events: facts on a real bus become a stream that resumes without a gap."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from google.protobuf.message import Message

from gateway.console import events, tail
from inkwright.inference.v1 import deployment_pb2, inference_events_pb2
from inkwright.trainer.v1 import task_pb2, trainer_events_pb2
from libs.runtime.bus import Bus
from libs.runtime.subjects import fact_subject
from libs.runtime.testing import NatsServer, assert_eventually, nats_server
from tests.integration.gateway_running import Installation, running_gateway

PATH = "/v1/projects/default/events"
TASK = "projects/default/tasks/t1"


@pytest.fixture
async def nats(tmp_path: Path) -> AsyncIterator[NatsServer]:
    (tmp_path / "nats").mkdir()
    async with nats_server(tmp_path / "nats") as server:
        yield server


@pytest.fixture
async def installation(nats: NatsServer, tmp_path: Path) -> AsyncIterator[Installation]:
    async with running_gateway(nats, tmp_path / "home", max_event_streams=2) as found:
        yield found


@dataclass
class Browser:
    """What an EventSource would have."""

    last_id: str = ""
    heard: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    num_comments: int = 0
    ended: bool = False

    def take(self, block: str) -> None:
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        self.num_comments += block.startswith(":")
        self.last_id = fields.get("id", self.last_id)
        if "data" in fields:
            self.heard.append((fields["event"], orjson.loads(fields["data"])))


@asynccontextmanager
async def watching(http: httpx.AsyncClient, last_id: str = "") -> AsyncIterator[Browser]:
    browser = Browser()
    headers = {"Last-Event-ID": last_id} if last_id else {}
    async with http.stream("GET", PATH, headers=headers) as answer:
        assert (answer.status_code, answer.headers["content-type"].split(";")[0]) == (200, "text/event-stream")

        async def read() -> None:
            buffered = ""
            async for text in answer.aiter_text():
                *blocks, buffered = (buffered + text).split("\n\n")
                for block in blocks:
                    browser.take(block)
            browser.ended = True

        reading = asyncio.create_task(read())
        try:
            await assert_eventually(lambda: bool(browser.last_id))
            yield browser
        finally:
            reading.cancel()
            await asyncio.wait([reading])


async def tell(bus: Bus, service: str, resource: str, fact: Message, number: int) -> None:
    subject = fact_subject(service, resource, type(fact), "t1")
    await bus.publish(subject, fact.SerializeToString(), message_id=f"{service}-{number}")


def progressed(number: int, task: str = TASK) -> trainer_events_pb2.NodeProgressed:
    return trainer_events_pb2.NodeProgressed(task=task, node=task_pb2.Node(node_id="split"), task_progress=number / 100)


async def test_facts_of_the_project_arrive_in_their_json_form(installation: Installation) -> None:
    async with watching(installation.http) as browser:
        changed = trainer_events_pb2.TaskStateChanged(task=TASK, state=task_pb2.Task.RUNNING)
        await tell(installation.bus, "trainer", "task", changed, 1)
        await tell(installation.bus, "trainer", "task", progressed(2, "projects/other/tasks/t1"), 2)
        await tell(installation.bus, "trainer", "model", trainer_events_pb2.ModelRetired(model="projects/default/models/m"), 3)
        await tell(installation.bus, "trainer", "node", progressed(4), 4)
        deployed = inference_events_pb2.DeploymentStateChanged(
            deployment="projects/default/deployments/d", state=deployment_pb2.Deployment.RUNNING
        )
        await tell(installation.bus, "inference", "deployment", deployed, 5)
        await assert_eventually(lambda: len(browser.heard) == 3)
    heard = dict(browser.heard)
    assert heard["TaskStateChanged"] == {"task": TASK, "state": "RUNNING", "errorMessage": ""}
    assert (heard["NodeProgressed"]["taskProgress"], heard["NodeProgressed"]["node"]["nodeId"]) == (0.04, "split")
    assert heard["DeploymentStateChanged"]["state"] == "RUNNING"


async def test_a_stream_begins_now_and_resumes_where_it_broke_off(installation: Installation) -> None:
    await tell(installation.bus, "trainer", "node", progressed(0), 0)
    async with watching(installation.http) as first:
        await tell(installation.bus, "trainer", "node", progressed(1), 1)
        await assert_eventually(lambda: len(first.heard) == 1)
    for number in (2, 3, 4):
        await tell(installation.bus, "trainer", "node", progressed(number), number)
    async with watching(installation.http, first.last_id) as second:
        await tell(installation.bus, "trainer", "node", progressed(5), 5)
        await assert_eventually(lambda: len(second.heard) == 4)
    assert [event["taskProgress"] for _, event in first.heard + second.heard] == [0.01, 0.02, 0.03, 0.04, 0.05]


async def test_a_stream_outlives_the_bus_without_a_gap(
    installation: Installation, nats: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail, "WAIT_SECONDS", 0.5)
    async with watching(installation.http) as browser:
        await tell(installation.bus, "trainer", "node", progressed(1), 1)
        await assert_eventually(lambda: len(browser.heard) == 1)
        await nats.kill()
        await assert_eventually(lambda: not installation.bus.is_connected)
        await nats.start()
        await assert_eventually(lambda: installation.bus.is_connected)
        for number in (2, 3):
            await tell(installation.bus, "trainer", "node", progressed(number), number)
        await assert_eventually(lambda: [event["taskProgress"] for _, event in browser.heard] == [0.01, 0.02, 0.03])


async def test_a_silent_stream_says_that_it_is_alive(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "HEARTBEAT_SECONDS", 0.05)
    async with watching(installation.http) as browser:
        await assert_eventually(lambda: browser.num_comments >= 2)


@pytest.mark.parametrize(
    ("last_id", "reason"),
    [("trainer:5,inference:0", "GONE"), ("nonsense", "INVALID_INPUT"), ("trainer:1", "INVALID_INPUT")],
)
async def test_a_position_that_was_never_given_out_is_refused(installation: Installation, last_id: str, reason: str) -> None:
    answer = await installation.http.get(PATH, headers={"Last-Event-ID": last_id})
    assert (answer.status_code, answer.json()["error"]["reason"]) == (400, reason)


async def test_a_position_whose_facts_are_no_longer_kept_is_gone(installation: Installation) -> None:
    for number in range(3):
        await tell(installation.bus, "trainer", "node", progressed(number), number)
    await installation.bus.jetstream.purge_stream("EVT_TRAINER")
    answer = await installation.http.get(PATH, headers={"Last-Event-ID": "trainer:1,inference:0"})
    assert (answer.status_code, answer.json()["error"]["reason"]) == (400, "GONE")


async def test_streams_are_bounded_and_give_their_place_back(installation: Installation) -> None:
    async with watching(installation.http), watching(installation.http):
        assert (await installation.http.get(PATH)).status_code == 429

    async def opens() -> None:
        async with installation.http.stream("GET", PATH) as answer:
            assert answer.status_code == 200

    await assert_eventually(opens)


async def test_streams_end_when_the_gateway_stops(installation: Installation) -> None:
    async with watching(installation.http) as browser:
        installation.stop.set()
        await assert_eventually(lambda: browser.ended)
        await installation.task
