"""What consumers gave up on: seen with its cause, handed back to the one that gave it up, effective once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from google.protobuf.wrappers_pb2 import Int64Value, StringValue
from sqlalchemy import select

from libs.runtime import call_context
from libs.runtime.bus import TYPE_HEADER, Bus
from libs.runtime.db import Database, WorkFactory
from libs.runtime.dead_letters import Cause, DeadLetters
from libs.runtime.errors import NoReadyInstance, NotFound
from libs.runtime.hearing import Heard, Hearing, hear
from libs.runtime.subjects import fact_subject
from libs.runtime.testing import assert_eventually, nats_server
from libs.runtime.work_queue import WorkQueue
from tests.gateway_world import World, gateway_world
from tests.integration.conftest import Databases
from tests.integration.plumbing import METADATA, NoteRow, NoteWork, open_database

NOTES, COPIES = "labeling-notes", "trainer-copies"


@dataclass
class Hearer:
    """Two durables of one fact; ``broken`` says which notes each cannot stand."""

    work: WorkFactory[NoteWork]
    broken: dict[str, Exception] = field(default_factory=dict)
    num_copies: int = 0


async def on_note(heard: Heard[StringValue], hearer: Hearer) -> None:
    """One row a note: a second time would fail."""
    if (error := hearer.broken.get(heard.fact.value)) is not None:
        raise error
    async with heard.once(hearer.work) as w:
        w.session.add(NoteRow(id=heard.fact.value, text="heard"))
        await w.commit()


async def on_copy(_heard: Heard[StringValue], hearer: Hearer) -> None:
    """The other durable never has trouble."""
    hearer.num_copies += 1


@asynccontextmanager
async def hearing(bus: Bus, hearer: Hearer) -> AsyncIterator[None]:
    """Both durables at work."""
    hearings = [
        Hearing(NOTES, StringValue, "dataset", "note", on_note, max_deliver=2),
        Hearing(COPIES, StringValue, "dataset", "note", on_copy),
    ]
    stopping = asyncio.Event()
    tasks = [asyncio.create_task(consumer.run(stopping)) for consumer in hear(bus, hearings, hearer)]
    try:
        yield
    finally:
        stopping.set()
        await asyncio.gather(*tasks)


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncIterator[Bus]:
    async with nats_server(tmp_path) as server:
        bus = await Bus.connect(server.url, name="test")
        yield bus
        await bus.close()


@pytest.fixture
async def database(databases: Databases) -> AsyncIterator[Database]:
    database = await open_database(databases.url())
    yield database
    await database.close()


async def tell(bus: Bus, value: str, payload: bytes | None = None) -> None:
    headers = {call_context.REQUEST_ID_KEY: "r1", TYPE_HEADER: StringValue.DESCRIPTOR.full_name}
    data = StringValue(value=value).SerializeToString() if payload is None else payload
    await bus.publish(fact_subject("dataset", "note", StringValue, "n1"), data, message_id=value, headers=headers)


async def notes(database: Database) -> set[str]:
    async with database.reading() as connection:
        return set((await connection.execute(select(METADATA.tables["note"].c.id))).scalars())


async def test_letters_say_why_and_are_heard_once_when_replayed(bus: Bus, database: Database) -> None:
    hearer = Hearer(database.work(NoteWork), {"refused": NotFound("No such page."), "away": NoReadyInstance("The peer is away.")})
    letters = DeadLetters(bus)
    async with hearing(bus, hearer):
        for value in ("refused", "away", "fine"):
            await tell(bus, value)
        await tell(bus, "garbled", b"\xff\xff")

        async def buried() -> list[tuple[str, Cause, int]]:
            found = (await letters.page(size=10, after=())).items
            assert len(found) == 4
            return [(letter.message_id, letter.cause, letter.tries) for letter in found]

        # Whatever cannot be read is dead for both durables, whatever one of them refuses for that one alone.
        expected = {("refused", Cause.REFUSED, 1), ("away", Cause.EXHAUSTED, 2), ("garbled", Cause.UNREADABLE, 1)}
        assert set(await assert_eventually(buried)) == expected
        first, *_ = (await letters.page(size=10, after=(), durable=NOTES)).items
        assert (first.message_id, first.type, first.request_id) == ("refused", "google.protobuf.StringValue", "r1")
        assert "No such page." in first.error

        # Still broken: it dies again, as another letter, and is not lost to the window in which the bus notices repeats.
        await letters.replay(str(first.sequence))

        async def died_again() -> str:
            found = [letter for letter in (await letters.page(size=10, after=(), durable=NOTES)).items if letter.message_id == "refused"]
            assert [letter.sequence > first.sequence for letter in found] == [True]
            return str(found[0].sequence)

        again = await assert_eventually(died_again)
        hearer.broken.clear()
        copies_before = hearer.num_copies
        await letters.replay(again)
        for letter in (await letters.page(size=10, after=(), durable=NOTES)).items:
            if letter.cause is Cause.EXHAUSTED:
                await letters.replay(str(letter.sequence))

        async def heard() -> None:
            assert await notes(database) == {"fine", "refused", "away"}

        await assert_eventually(heard)
        await tell(bus, "last")
        await assert_eventually(lambda: hearer.num_copies == copies_before + 1)
        assert [letter.cause for letter in (await letters.page(size=10, after=())).items] == [Cause.UNREADABLE, Cause.UNREADABLE]


async def test_replaying_what_had_its_effect_changes_nothing(bus: Bus, database: Database) -> None:
    hearer = Hearer(database.work(NoteWork))
    letters = DeadLetters(bus)
    async with hearing(bus, hearer):
        await tell(bus, "once")
        await assert_eventually(lambda: hearer.num_copies == 1)
        # As after a crash between the two halves of a replay: the letter is still there although its message took effect.
        headers = {"Inkwright-Message-Id": "once", "Inkwright-Subject": fact_subject("dataset", "note", StringValue, "n1")}
        payload = StringValue(value="once").SerializeToString()
        await bus.publish(f"inkwright.dead.{NOTES}", payload, message_id="letter", headers=headers)
        (letter,) = (await letters.page(size=10, after=())).items
        await letters.replay(str(letter.sequence))
        await tell(bus, "next")

        async def heard() -> None:
            assert await notes(database) == {"once", "next"}

        await assert_eventually(heard)
        assert (await letters.page(size=10, after=())).items == []


async def test_a_dead_job_goes_back_into_its_queue(bus: Bus) -> None:
    queue = WorkQueue(bus, stream="JOBS_TRAIN", subject="jobs.train.cpu", order=Int64Value)
    await bus.publish("jobs.train.cpu", Int64Value(value=7).SerializeToString(), message_id="job-7")
    job = await queue.pull(wait_seconds=2)
    assert job is not None
    await job.dead("diverged")
    letters = DeadLetters(bus)
    (letter,) = (await letters.page(size=10, after=())).items
    assert (letter.durable, letter.cause, letter.error) == ("jobs-train-cpu", Cause.REFUSED, "diverged")
    await letters.replay(str(letter.sequence))
    again = await queue.pull(wait_seconds=2)
    assert again is not None
    assert (again.order.value, again.id) == (7, "job-7")
    await again.done()


@pytest.fixture
async def world(bus: Bus, tmp_path: Path) -> AsyncIterator[World]:
    async with gateway_world(tmp_path / "home", bus=bus) as world:
        yield world


async def test_operators_page_and_replay_letters_over_rest(bus: Bus, world: World) -> None:
    for number in range(3):
        headers = {"Inkwright-Subject": "jobs.train.cpu", "Inkwright-Cause": "REFUSED", "Inkwright-Tries": "4", "Inkwright-Error": "no"}
        await bus.publish("inkwright.dead.jobs-train-cpu", b"12345", message_id=f"m{number}", headers=headers)
    first = (await world.http.get("/v1/deadLetters", params={"pageSize": 2})).json()
    assert [letter["name"] for letter in first["deadLetters"]] == ["deadLetters/1", "deadLetters/2"]
    shown = first["deadLetters"][0]
    assert (shown["cause"], shown["numTries"], shown["error"], shown["sizeBytes"]) == ("REFUSED", 4, "no", "5")
    rest = (await world.http.get("/v1/deadLetters", params={"pageSize": 2, "pageToken": first["nextPageToken"]})).json()
    assert [letter["name"] for letter in rest["deadLetters"]] == ["deadLetters/3"]
    assert rest["nextPageToken"] == ""
    assert (await world.http.post("/v1/deadLetters/2:replay", json={})).json()["durable"] == "jobs-train-cpu"
    gone = await world.http.post("/v1/deadLetters/2:replay", json={})
    assert (gone.status_code, gone.json()["error"]["reason"]) == (404, "NOT_FOUND")
    assert len((await world.http.get("/v1/deadLetters", params={"durable": "jobs-train-cpu"})).json()["deadLetters"]) == 2
    assert (await world.http.get("/v1/deadLetters", params={"durable": "labeling-notes"})).json()["deadLetters"] == []
    for wrong in ("*", ">", "a b", "a.b", "\n"):
        refused = await world.http.get("/v1/deadLetters", params={"durable": wrong})
        assert (refused.status_code, refused.json()["error"]["reason"]) == (400, "INVALID_INPUT")
    for wrong in ("0", "nine", "9" * 30):
        assert (await world.http.post(f"/v1/deadLetters/{wrong}:replay", json={})).status_code == 404
    left = (await world.http.get("/v1/deadLetters")).json()
    assert [letter["name"] for letter in left["deadLetters"]] == ["deadLetters/1", "deadLetters/3"]
    assert (await bus.jetstream.stream_info("JOBS_TRAIN")).state.messages == 1


async def test_without_a_bus_operators_are_told_so(tmp_path: Path) -> None:
    async with gateway_world(tmp_path) as world:
        answer = await world.http.get("/v1/deadLetters")
        assert (answer.status_code, answer.json()["error"]["reason"]) == (503, "NO_READY_INSTANCE")
