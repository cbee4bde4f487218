"""The bus against a real nats-server."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvloop
from google.protobuf.wrappers_pb2 import Int64Value, StringValue
from nats.js import api

from libs.runtime import call_context, hearing
from libs.runtime.bus import BUS_ERRORS, MESSAGE_ID_HEADER, STREAMS, TYPE_HEADER, Bus, StreamSpec
from libs.runtime.dead_letters import Cause, DeadLetters
from libs.runtime.errors import NoReadyInstance, NotFound
from libs.runtime.hearing import Consumer, Heard, Hearing, hear
from libs.runtime.key_value import KeyChange, KeyValue
from libs.runtime.subjects import fact_subject
from libs.runtime.testing import NatsServer, assert_eventually, nats_server
from libs.runtime.work_queue import WorkQueue


@dataclass
class Ear:
    """Collects what handlers see."""

    values: list[str] = field(default_factory=list)
    tries: list[int] = field(default_factory=list)
    request_ids: list[str | None] = field(default_factory=list)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[NatsServer]:
    async with nats_server(tmp_path) as server:
        yield server


@pytest.fixture
async def bus(server: NatsServer) -> AsyncIterator[Bus]:
    bus = await Bus.connect(server.url, name="test")
    yield bus
    await bus.close()


async def tell(bus: Bus, value: str, *, message_id: str | None = None, service: str = "dataset") -> None:
    subject = fact_subject(service, "note", StringValue, "n1")
    headers = {call_context.REQUEST_ID_KEY: "r1"}
    await bus.publish(subject, StringValue(value=value).SerializeToString(), message_id=message_id or value, headers=headers)


def on_note(handle: Callable[[Heard[StringValue], Ear], Awaitable[None]], **options: Any) -> Hearing[StringValue, Ear]:
    return Hearing("labeling-notes", StringValue, "dataset", "note", handle, **options)


async def remember(heard: Heard[StringValue], ear: Ear) -> None:
    ear.values.append(heard.fact.value)
    ear.tries.append(heard.num_tries)
    ear.request_ids.append(call_context.request_id.get())


@asynccontextmanager
async def running(consumers: list[Consumer]) -> AsyncIterator[None]:
    stopping = asyncio.Event()
    tasks = [asyncio.create_task(consumer.run(stopping)) for consumer in consumers]
    try:
        yield
    finally:
        stopping.set()
        await asyncio.gather(*tasks)


async def test_streams_can_be_declared_again_and_changed(bus: Bus, server: NatsServer) -> None:
    await bus.declare()
    changed = [*STREAMS[1:], StreamSpec(STREAMS[0].name, STREAMS[0].subjects, max_age_seconds=3600)]
    other = await Bus.connect(server.url, name="newer", streams=changed)
    assert (await other.jetstream.stream_info(STREAMS[0].name)).config.max_age == 3600
    await other.close()


async def test_a_repeated_message_id_is_stored_once(bus: Bus) -> None:
    for _ in range(3):
        await tell(bus, "a")
    assert (await bus.jetstream.stream_info("EVT_DATASET")).state.messages == 1


async def test_facts_told_before_anyone_listened_are_heard_in_order(bus: Bus) -> None:
    expected = [f"n{number}" for number in range(50)]
    for value in expected:
        await tell(bus, value)
    ear = Ear()
    async with running(hear(bus, [on_note(remember)], ear)):
        await assert_eventually(lambda: len(ear.values) == 50)
    assert ear.values == expected
    assert set(ear.request_ids) == {"r1"}


async def test_passing_trouble_is_tried_again_and_keeps_the_order(bus: Bus) -> None:
    ear = Ear()

    async def stumble(heard: Heard[StringValue], ear: Ear) -> None:
        if heard.fact.value == "a" and heard.num_tries < 3:
            raise NoReadyInstance("The peer is away.")
        await remember(heard, ear)

    async with running(hear(bus, [on_note(stumble)], ear)):
        await tell(bus, "a")
        await tell(bus, "b")
        await assert_eventually(lambda: ear.values == ["a", "b"])
    assert ear.tries == [3, 1]


@pytest.mark.parametrize(("error", "max_deliver"), [(NotFound("No such page."), 30), (RuntimeError("always"), 2)])
async def test_hopeless_facts_go_to_the_dead_letters_and_the_next_is_heard(error: Exception, max_deliver: int, bus: Bus) -> None:
    ear = Ear()

    async def refuse(heard: Heard[StringValue], ear: Ear) -> None:
        if heard.fact.value == "bad":
            raise error
        await remember(heard, ear)

    async with running(hear(bus, [on_note(refuse, max_deliver=max_deliver)], ear)):
        await tell(bus, "bad")
        await tell(bus, "good")
        await assert_eventually(lambda: ear.values == ["good"])
    letter = await bus.jetstream.get_last_msg("DEAD", "inkwright.dead.labeling-notes")
    assert StringValue.FromString(letter.data or b"").value == "bad"
    headers = letter.headers or {}
    assert type(error).__name__ in headers["Inkwright-Error"]
    assert headers["Inkwright-Subject"] == fact_subject("dataset", "note", StringValue, "n1")


async def test_bytes_that_are_no_fact_are_dead_letters(bus: Bus) -> None:
    ear = Ear()
    async with running(hear(bus, [on_note(remember)], ear)):
        await bus.publish(fact_subject("dataset", "note", StringValue, "n1"), b"\xff\xff", message_id="broken")
        await tell(bus, "good")
        await assert_eventually(lambda: ear.values == ["good"])
    assert (await bus.jetstream.stream_info("DEAD")).state.messages == 1


async def test_a_fact_of_another_version_is_a_dead_letter_that_says_so(bus: Bus) -> None:
    ear = Ear()
    subject = fact_subject("dataset", "note", StringValue, "n1")
    async with running(hear(bus, [on_note(remember)], ear)):
        # Its bytes could be read as the known fact, with nonsense in it.
        newer = StringValue(value="misread").SerializeToString()
        await bus.publish(subject, newer, message_id="newer", headers={TYPE_HEADER: "inkwright.dataset.v2.NoteTaken"})
        await tell(bus, "good")
        await assert_eventually(lambda: ear.values == ["good"])
    [letter] = (await DeadLetters(bus).page(size=5, after=())).items
    assert (letter.cause, letter.payload, letter.type) == (Cause.UNREADABLE, newer, "inkwright.dataset.v2.NoteTaken")
    assert "this program reads google.protobuf.StringValue here and was sent inkwright.dataset.v2.NoteTaken" in letter.error


async def test_a_long_handler_keeps_its_fact(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hearing, "ACK_WAIT_SECONDS", 0.5)
    ear = Ear()

    async def dawdle(heard: Heard[StringValue], ear: Ear) -> None:
        await asyncio.sleep(1.5)
        await remember(heard, ear)

    async with running(hear(bus, [on_note(dawdle)], ear)):
        await tell(bus, "slow")
        await assert_eventually(lambda: ear.values == ["slow"])
        info = await bus.jetstream.consumer_info("EVT_DATASET", "labeling-notes")
        assert info.num_redelivered == 0
    assert ear.tries == [1]


async def test_a_fact_in_hand_is_finished_when_told_to_stop(bus: Bus) -> None:
    ear, begun, stopping = Ear(), asyncio.Event(), asyncio.Event()

    async def dawdle(heard: Heard[StringValue], ear: Ear) -> None:
        begun.set()
        await asyncio.sleep(0.3)
        await remember(heard, ear)

    [consumer] = hear(bus, [on_note(dawdle)], ear)
    task = asyncio.create_task(consumer.run(stopping))
    await tell(bus, "a")
    await begun.wait()
    stopping.set()
    await task
    assert ear.values == ["a"]

    async def acknowledged() -> None:
        info = await bus.jetstream.consumer_info("EVT_DATASET", "labeling-notes")
        assert (info.num_ack_pending, info.num_pending) == (0, 0)

    await assert_eventually(acknowledged)


async def test_the_bus_survives_a_kill_of_the_server(bus: Bus, server: NatsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    # A killed server may forget the last acknowledgement: it gives that fact out again before the next.
    monkeypatch.setattr(hearing, "ACK_WAIT_SECONDS", 1.0)
    ear = Ear()
    async with running(hear(bus, [on_note(remember)], ear)):
        await tell(bus, "before")
        await assert_eventually(lambda: ear.values == ["before"])
        await server.kill()
        await server.start()
        await assert_eventually(lambda: bus.is_connected)
        await tell(bus, "after")
        await assert_eventually(lambda: ear.values[-1] == "after", timeout_seconds=20)
    assert set(ear.values) == {"before", "after"}


async def test_a_server_that_lost_its_state_gets_its_streams_back(bus: Bus, server: NatsServer) -> None:
    ear = Ear()
    async with running(hear(bus, [on_note(remember)], ear)):
        await tell(bus, "before")
        await assert_eventually(lambda: ear.values == ["before"])
        for spec in STREAMS:
            await bus.jetstream.delete_stream(spec.name)

        async def tell_again() -> None:
            try:
                await tell(bus, "after")
            except Exception as error:
                raise AssertionError from error

        await assert_eventually(tell_again)
        await assert_eventually(lambda: ear.values == ["before", "after"], timeout_seconds=20)


async def test_connecting_waits_for_a_server_that_comes_later(tmp_path: Path) -> None:
    async with nats_server(tmp_path) as server:
        await server.kill()
        connecting = asyncio.create_task(Bus.connect(server.url, name="early"))
        done, _ = await asyncio.wait([connecting], timeout=0.5)
        assert not done
        await server.start()
        bus = await asyncio.wait_for(connecting, 20)
        await tell(bus, "a")
        await bus.close()


def test_a_bus_whose_server_died_is_closed_without_a_fault(tmp_path: Path) -> None:
    async def live() -> None:
        async with nats_server(tmp_path) as server:
            bus = await Bus.connect(server.url, name="orphan")
            putting = asyncio.create_task(keep_putting(await KeyValue.open(bus, "instances", ttl_seconds=8)))
            await asyncio.sleep(0.05)
            await server.kill()
            await assert_eventually(lambda: not bus.is_connected)
            # What was asked for meanwhile waits in the client, and closing it would write that to the lost connection.
            await asyncio.sleep(0.05)
            await bus.close()
            putting.cancel()

    async def keep_putting(bucket: KeyValue) -> None:
        while True:
            with suppress(*BUS_ERRORS):
                async with asyncio.timeout(0.02):
                    await bucket.put("a", b"1")

    # The loop of the processes: it refuses writes to a closed connection with a RuntimeError.
    uvloop.run(live())


async def test_followers_see_facts_from_now_on(bus: Bus) -> None:
    await tell(bus, "old")
    seen: list[str] = []

    async def follow() -> None:
        async for fact in bus.follow(StringValue, service="dataset", resource="note"):
            seen.append(fact.value)  # noqa: PERF401 - it never ends

    following = asyncio.create_task(follow())

    async def told() -> None:
        await tell(bus, f"new{len(seen)}")
        assert seen

    await assert_eventually(told)
    assert "old" not in seen
    following.cancel()
    await asyncio.wait([following])


async def put_job(bus: Bus, number: int) -> None:
    await bus.publish("jobs.train.cpu", Int64Value(value=number).SerializeToString(), message_id=f"job-{number}")


def queue_on(bus: Bus, lease_seconds: float = 30.0) -> WorkQueue[Int64Value]:
    return WorkQueue(bus, stream="JOBS_TRAIN", subject="jobs.train.cpu", order=Int64Value, lease_seconds=lease_seconds)


async def test_each_job_goes_to_one_worker_and_is_gone_when_done(bus: Bus) -> None:
    one, other = queue_on(bus), queue_on(bus)
    for number in range(4):
        await put_job(bus, number)
    seen = []
    for queue in (one, other, one, other):
        job = await queue.pull(wait_seconds=2)
        assert job is not None
        seen.append(job.order.value)
        await job.done()
    assert sorted(seen) == [0, 1, 2, 3]
    assert await one.pull(wait_seconds=0.2) is None
    assert (await bus.jetstream.stream_info("JOBS_TRAIN")).state.messages == 0


async def test_a_silent_worker_loses_its_job_and_a_holding_one_does_not(bus: Bus) -> None:
    queue = queue_on(bus, lease_seconds=0.6)
    await put_job(bus, 7)
    held = await queue.pull(wait_seconds=2)
    assert held is not None
    async with held.held():
        assert await queue.pull(wait_seconds=1.5) is None
    again = await queue.pull(wait_seconds=3)
    assert again is not None
    assert (again.order.value, again.num_tries, again.id) == (7, 2, "job-7")
    await again.done()


async def test_a_job_given_back_comes_again_and_a_dead_one_does_not(bus: Bus) -> None:
    queue = queue_on(bus)
    await put_job(bus, 7)
    job = await queue.pull(wait_seconds=2)
    assert job is not None
    await job.retry(0.1)
    job = await queue.pull(wait_seconds=2)
    assert job is not None
    assert job.num_tries == 2
    await job.dead("diverged")

    async def buried() -> None:
        assert (await bus.jetstream.stream_info("JOBS_TRAIN")).state.messages == 0
        assert (await bus.jetstream.stream_info("DEAD")).state.messages == 1

    await assert_eventually(buried)
    letter = await bus.jetstream.get_last_msg("DEAD", "inkwright.dead.jobs-train-cpu")
    assert (letter.headers or {})["Inkwright-Error"] == "diverged"


async def test_an_unreadable_job_is_buried(bus: Bus) -> None:
    queue = queue_on(bus)
    await bus.publish("jobs.train.cpu", b"\xff", message_id="broken")
    assert await queue.pull(wait_seconds=2) is None
    assert (await bus.jetstream.stream_info("DEAD")).state.messages == 1


async def test_values_are_kept_renewed_deleted_and_run_out(bus: Bus) -> None:
    bucket = await KeyValue.open(bus, "instances", ttl_seconds=1.0)
    again = await KeyValue.open(bus, "instances", ttl_seconds=1.0)
    await bucket.put("a.one", b"1")
    assert await again.get("a.one") == b"1"
    assert await again.get("a.two") is None
    changes: list[KeyChange | None] = []

    async def watch() -> None:
        async for change in again.watch():
            changes.append(change)  # noqa: PERF401 - it never ends

    watching = asyncio.create_task(watch())
    await assert_eventually(lambda: changes == [KeyChange("a.one", b"1"), None])
    await bucket.put("a.two", b"2")
    await bucket.delete("a.two")
    await assert_eventually(lambda: KeyChange("a.two", None) in changes)
    await assert_eventually(lambda: KeyChange("a.one", None) in changes, timeout_seconds=5)
    assert await again.get("a.one") is None
    watching.cancel()
    await asyncio.wait([watching])


async def test_messages_carry_their_id(bus: Bus) -> None:
    await tell(bus, "a", message_id="row-1")
    stored: api.RawStreamMsg = await bus.jetstream.get_last_msg("EVT_DATASET", fact_subject("dataset", "note", StringValue, "n1"))
    assert (stored.headers or {})[MESSAGE_ID_HEADER] == "row-1"
