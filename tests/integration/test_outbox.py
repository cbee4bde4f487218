"""Nothing that was committed is lost on its way to a hearer, and nothing takes effect twice."""

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from google.protobuf.wrappers_pb2 import StringValue
from sqlalchemy import select

from libs.runtime import hearing, outbox
from libs.runtime.bus import Bus
from libs.runtime.child import Child
from libs.runtime.db import Database, WorkFactory
from libs.runtime.hearing import Heard, Hearing, hear
from libs.runtime.outbox import Relay
from libs.runtime.tables import OUTBOX
from libs.runtime.testing import assert_eventually, nats_server
from tests.integration.conftest import Databases
from tests.integration.plumbing import METADATA, NoteRow, NoteWork, open_database


async def on_note(heard: Heard[StringValue], work: WorkFactory[NoteWork]) -> None:
    """The hearer's effect: one row a fact, so that a second time would fail."""
    async with heard.once(work) as w:
        w.session.add(NoteRow(id=heard.fact.value, text="heard"))
        await w.commit()


@asynccontextmanager
async def hearer(nats_url: str, database_url: str) -> AsyncIterator[Database]:
    """A service that hears every note."""
    database = await open_database(database_url)
    bus = await Bus.connect(nats_url, name="hearer")
    hearings = [Hearing("labeling-notes", StringValue, "dataset", "note", on_note)]
    stopping = asyncio.Event()
    tasks = [asyncio.create_task(consumer.run(stopping)) for consumer in hear(bus, hearings, database.work(NoteWork))]
    yield database
    stopping.set()
    await asyncio.gather(*tasks)
    await bus.close()
    await database.close()


async def notes(database: Database) -> list[int]:
    async with database.reading() as connection:
        return sorted(int(number) for number in (await connection.execute(select(METADATA.tables["note"].c.id))).scalars())


async def waiting(database: Database) -> int:
    async with database.reading() as connection:
        table = METADATA.tables[OUTBOX]
        return len((await connection.execute(select(table.c.position).where(table.c.published_time.is_(None)))).all())


async def tell_until_killed(database_url: str, nats_url: str, first: int, count: int) -> list[int]:
    """Run a teller, kill -9 it right after it committed ``count`` times, and give what it said it committed."""
    argv = [sys.executable, "-m", "tests.integration.note_teller", database_url, nats_url, str(first)]
    lines: list[str] = []
    child = await Child.start(argv, name="teller", log_line=lines.append)
    committed: list[int] = []
    async for event in child.events():
        committed.append(event["committed"])
        if len(committed) == count:
            child.kill()
    assert (await child.wait()).signal_name == "SIGKILL", lines
    return committed


async def test_a_kill_between_commit_and_publish_loses_nothing(tmp_path: Path, databases: Databases) -> None:
    url = databases.url("dataset")
    async with nats_server(tmp_path) as server:
        await server.kill()
        committed = await tell_until_killed(url, server.url, first=0, count=5)
        database = Database(url)
        assert await waiting(database) >= len(committed)
        await server.start()
        bus = await Bus.connect(server.url, name="teller again")
        stopping = asyncio.Event()
        relay = asyncio.create_task(Relay(database, METADATA, bus).run(stopping))
        async with hearer(server.url, databases.url("labeling")) as heard:

            async def all_heard() -> None:
                assert set(await notes(heard)) >= set(committed)
                assert await notes(heard) == await notes(database)

            await assert_eventually(all_heard, timeout_seconds=20)
        stopping.set()
        await relay
        assert await waiting(database) == 0
        await bus.close()
        await database.close()


async def test_kills_under_load_lose_nothing_and_double_nothing(
    tmp_path: Path, databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hearing, "ACK_WAIT_SECONDS", 2.0)
    url = databases.url("dataset")
    async with nats_server(tmp_path) as server, hearer(server.url, databases.url("labeling")) as heard:
        committed: list[int] = []
        for round_number, count in enumerate((3, 25, 60)):
            committed += await tell_until_killed(url, server.url, first=round_number * 1000, count=count)
        database = Database(url)
        bus = await Bus.connect(server.url, name="teller at last")
        stopping = asyncio.Event()
        relay = asyncio.create_task(Relay(database, METADATA, bus).run(stopping))

        async def all_heard() -> None:
            assert await notes(heard) == await notes(database)

        await assert_eventually(all_heard, timeout_seconds=30)
        assert set(await notes(heard)) >= set(committed)
        assert (await bus.jetstream.stream_info("DEAD")).state.messages == 0
        stopping.set()
        await relay
        await bus.close()
        await database.close()


class ForgetfulBus:
    """A bus that stores every message and loses the first acknowledgements."""

    def __init__(self, bus: Bus, losses: int) -> None:
        self.published: Counter[str] = Counter()
        self._bus = bus
        self._losses = losses

    async def publish(self, subject: str, payload: bytes, *, message_id: str, headers: dict[str, str]) -> None:
        await self._bus.publish(subject, payload, message_id=message_id, headers=headers)
        self.published[message_id] += 1
        if self._losses:
            self._losses -= 1
            raise TimeoutError


async def test_a_lost_acknowledgement_publishes_again_and_keeps_the_order(
    tmp_path: Path, databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "FIRST_BACKOFF_SECONDS", 0.01)
    database = await open_database(databases.url())
    async with nats_server(tmp_path) as server:
        bus = await Bus.connect(server.url, name="teller")
        forgetful = ForgetfulBus(bus, losses=2)
        async with database.work(NoteWork)() as w:
            for number in range(5):
                w.tell(StringValue(value=str(number)), resource="note", id="n")
            await w.commit()
        stopping = asyncio.Event()
        stopping.set()
        await Relay(database, METADATA, forgetful).run(stopping)  # type: ignore[arg-type]
        assert sorted(forgetful.published.values()) == [1, 1, 1, 1, 3]
        state = (await bus.jetstream.stream_info("EVT_DATASET")).state
        assert state.messages == 5
        stored = [await bus.jetstream.get_msg("EVT_DATASET", sequence) for sequence in range(state.first_seq, state.last_seq + 1)]
        assert [StringValue.FromString(message.data or b"").value for message in stored] == ["0", "1", "2", "3", "4"]
        await bus.close()
    await database.close()


async def test_after_the_bus_lost_its_store_what_was_told_is_published_again_and_heard_once(tmp_path: Path, databases: Databases) -> None:
    database = await open_database(databases.url())
    async with nats_server(tmp_path) as server:
        bus = await Bus.connect(server.url, name="teller")
        async with database.work(NoteWork)() as w:
            for number in range(6):
                w.tell(StringValue(value=str(number)), resource="note", id="n")
            await w.commit()
        relay = Relay(database, METADATA, bus)
        assert await relay.publish_batch() == 6
        await bus.jetstream.delete_stream("EVT_DATASET")
        await bus.declare()
        async with hearer(server.url, databases.url("labeling")) as heard:
            for _ in range(2):
                assert await outbox.replay(database, METADATA, w.now) == 6
                assert await relay.publish_batch() == 6

                async def heard_all() -> None:
                    assert await notes(heard) == list(range(6))

                await assert_eventually(heard_all)
            assert (await bus.jetstream.stream_info("DEAD")).state.messages == 0
        assert await outbox.replay(database, METADATA, w.now + timedelta(seconds=1)) == 0
        await bus.close()
    await database.close()


async def test_what_was_published_is_kept_for_a_week(tmp_path: Path, databases: Databases) -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    database = await open_database(databases.url())
    database.clock = lambda: moment
    async with nats_server(tmp_path) as server:
        bus = await Bus.connect(server.url, name="teller")
        relay = Relay(database, METADATA, bus)

        async def tell_and_publish() -> int:
            async with database.work(NoteWork)() as w:
                w.tell(StringValue(value="x"), resource="note", id="n")
                await w.commit()
            assert await relay.publish_batch() == 1
            async with database.reading() as connection:
                return len((await connection.execute(select(METADATA.tables[OUTBOX]))).all())

        assert await tell_and_publish() == 1
        moment += timedelta(days=6)
        assert await tell_and_publish() == 2
        moment += timedelta(days=2)
        assert await tell_and_publish() == 2
        await bus.close()
    await database.close()


async def test_relays_of_replicas_publish_one_after_the_other(tmp_path: Path, shared_databases: Databases) -> None:
    replicas = [await open_database(shared_databases.url()) for _ in range(3)]
    async with nats_server(tmp_path) as server:
        bus = await Bus.connect(server.url, name="tellers")
        stopping = asyncio.Event()
        counting = ForgetfulBus(bus, losses=0)
        relays = [asyncio.create_task(Relay(replica, METADATA, counting).run(stopping)) for replica in replicas]  # type: ignore[arg-type]
        for number in range(60):
            async with replicas[number % 3].work(NoteWork)() as w:
                w.tell(StringValue(value=str(number)), resource="note", id="n")
                await w.commit()
        stopping.set()
        await asyncio.gather(*relays)
        assert set(counting.published.values()) == {1}
        state = (await bus.jetstream.stream_info("EVT_DATASET")).state
        stored = [await bus.jetstream.get_msg("EVT_DATASET", sequence) for sequence in range(state.first_seq, state.last_seq + 1)]
        assert [StringValue.FromString(message.data or b"").value for message in stored] == [str(number) for number in range(60)]
        await bus.close()
    for replica in replicas:
        await replica.close()


async def test_the_relay_wakes_on_commit(tmp_path: Path, databases: Databases, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "TICK_SECONDS", 60.0)
    database = await open_database(databases.url())
    async with nats_server(tmp_path) as server:
        bus = await Bus.connect(server.url, name="teller")
        stopping = asyncio.Event()
        relay = asyncio.create_task(Relay(database, METADATA, bus).run(stopping))
        for number in range(3):
            async with database.work(NoteWork)() as w:
                w.tell(StringValue(value=str(number)), resource="note", id="n")
                await w.commit()

            async def published() -> None:
                assert await waiting(database) == 0

            await assert_eventually(published, timeout_seconds=5)
        stopping.set()
        await asyncio.wait_for(relay, 5)
        assert (await bus.jetstream.stream_info("EVT_DATASET")).state.messages == 3
        await bus.close()
    await database.close()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["nosuch", "sqlite+aiosqlite://", "--since", "2026-11-20"], 2, "invalid choice"),
        (["dataset", "sqlite+aiosqlite://", "--since", "yesterday"], 2, "no moment such as"),
        (["dataset", "foo", "--since", "2026-11-20"], 1, "give the URL that the service has"),
        (["dataset", "sqlite+aiosqlite://", "--since", "2026-11-20T08:00Z"], 1, "no such table"),
    ],
)
def test_the_command_says_what_is_wrong(
    arguments: list[str], code: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["outbox", "replay", *arguments])
    with pytest.raises(SystemExit) as ended:
        outbox.main()
    assert ended.value.code == code
    assert said in capsys.readouterr().err
