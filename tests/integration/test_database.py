import asyncio
import threading
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
import sqlmodel
from google.protobuf.wrappers_pb2 import BytesValue, StringValue
from sqlalchemy import Column, MetaData, String, Table, insert, select, text
from sqlalchemy.exc import OperationalError, StatementError

from libs.runtime import inbox
from libs.runtime.alone import Alone
from libs.runtime.call_context import Origin
from libs.runtime.db import ORIGIN_KEPT, Database
from libs.runtime.errors import Conflict, InvalidInput, NoReadyInstance
from libs.runtime.inbox import AlreadyHeard
from libs.runtime.service import Worker
from libs.runtime.tables import INBOX, OUTBOX, UtcDateTime
from libs.runtime.testing import assert_eventually, free_port
from tests.integration.conftest import Databases
from tests.integration.plumbing import METADATA, NoteRow, NoteWork, open_database


@pytest.fixture
async def database(databases: Databases) -> AsyncIterator[Database]:
    database = await open_database(databases.url())
    yield database
    await database.close()


async def texts(database: Database) -> set[str]:
    async with database.work(NoteWork)(read_only=True) as w:
        return {row.text for row in (await w.session.exec(sqlmodel.select(NoteRow))).all()}


async def test_connections_have_the_settings_that_keep_data(database: Database) -> None:
    await database.ping()
    settings = {"PRAGMA journal_mode": "wal", "PRAGMA synchronous": 2, "PRAGMA foreign_keys": 1}
    if not database.is_sqlite:
        settings = {"SHOW lock_timeout": "10s", "SHOW statement_timeout": "1min", "SHOW timezone": "UTC"}
    async with database.reading() as connection:
        found = {query: (await connection.execute(text(query))).scalar() for query in settings}
    assert found == settings


async def test_a_unit_without_commit_leaves_nothing(database: Database) -> None:
    async with database.work(NoteWork)() as w:
        w.session.add(NoteRow(id="1", text="lost"))
        w.tell(StringValue(value="lost"), resource="note", id="1")
        await w.session.flush()
    with pytest.raises(ZeroDivisionError):
        await fail_inside(database)
    assert await texts(database) == set()
    async with database.reading() as connection:
        assert (await connection.execute(select(METADATA.tables[OUTBOX]))).all() == []
    assert not database.outbox_filled.is_set()


async def fail_inside(database: Database) -> None:
    async with database.work(NoteWork)() as w:
        w.session.add(NoteRow(id="1", text=str(1 / 0)))
        await w.commit()


async def test_commit_keeps_rows_and_facts_together(database: Database) -> None:
    async with database.work(NoteWork)() as w:
        w.session.add(NoteRow(id="1", text="kept"))
        w.tell(StringValue(value="kept"), resource="note", id="1")
        w.enqueue("jobs.train.cpu", StringValue(value="go"))
        await w.commit()
    assert await texts(database) == {"kept"}
    async with database.reading() as connection:
        rows = (await connection.execute(select(METADATA.tables[OUTBOX]).order_by("position"))).all()
    assert [row.subject for row in rows] == ["inkwright.evt.v1.dataset.note.string_value.1", "jobs.train.cpu"]
    assert rows[0].told_time == w.now
    assert database.outbox_filled.is_set()


async def test_a_read_only_unit_cannot_commit_and_waits_for_no_writer(database: Database) -> None:
    async with database.work(NoteWork)() as writer:
        writer.session.add(NoteRow(id="1", text="kept"))
        await writer.session.flush()
        async with asyncio.timeout(2), database.work(NoteWork)(read_only=True) as reader:
            assert (await reader.session.exec(sqlmodel.select(NoteRow))).all() == []
            with pytest.raises(RuntimeError):
                await reader.commit()


async def append(database: Database, text: str) -> int:
    """Add a note whose id is the number of notes there are; gives how often somebody else was faster."""
    num_lost = 0
    while True:
        try:
            async with database.work(NoteWork)() as w:
                count = len((await w.session.exec(sqlmodel.select(NoteRow))).all())
                w.session.add(NoteRow(id=str(count), text=text))
                await w.commit()
        except Conflict:
            num_lost += 1
        else:
            return num_lost


async def test_of_writers_that_read_first_none_is_lost(database: Database) -> None:
    """SQLite lets one write at a time; on PostgreSQL they run side by side and the loser of a race is told."""
    lost = await asyncio.gather(*(append(database, f"{number}") for number in range(30)))
    assert await texts(database) == {f"{number}" for number in range(30)}
    assert (sum(lost) == 0) == database.is_sqlite


async def hear_note(database: Database, message_id: str, note: str) -> None:
    async with database.work(NoteWork)() as w:
        w.session.add(NoteRow(id="1", text=note))
        await inbox.record(w, "dataset-x", message_id)
        await w.commit()


async def test_what_the_database_cannot_keep_is_the_callers_mistake(shared_databases: Databases) -> None:
    database = await open_database(shared_databases.url())
    with pytest.raises(InvalidInput, match="U\\+0000"):
        await hear_note(database, "m1", "nul \0")
    with pytest.raises(InvalidInput, match="too long"):
        await hear_note(database, "m" * 101, "fine")
    assert await texts(database) == set()
    await database.close()


async def test_two_processes_worth_of_engines_do_not_lose_updates(database: Database) -> None:
    other = Database(database.url)
    await asyncio.gather(*(append(engine, f"{number}") for number in range(10) for engine in (database, other)))
    await other.close()
    async with database.work(NoteWork)(read_only=True) as w:
        assert len((await w.session.exec(sqlmodel.select(NoteRow))).all()) == 20


async def test_one_process_at_a_time_is_alone(shared_databases: Databases) -> None:
    # A second engine is what a second process has; another service's schema is none of their business.
    first, second, stranger = (Database(shared_databases.url(service)) for service in ("dataset", "dataset", "labeling"))
    inside: list[str] = []

    async def enter(database: Database, name: str, leave: asyncio.Event) -> None:
        async with database.alone("relay"):
            inside.append(name)
            await leave.wait()

    async def enter_and_lose(database: Database, name: str, leave: asyncio.Event) -> None:
        with pytest.raises(OperationalError):
            await enter(database, name, leave)

    leave = [asyncio.Event() for _ in range(3)]
    async with asyncio.TaskGroup() as group:
        group.create_task(enter_and_lose(first, "first", leave[0]))
        await assert_eventually(lambda: inside == ["first"])
        group.create_task(enter(second, "second", leave[1]))
        group.create_task(enter_and_lose(stranger, "stranger", leave[2]))
        await assert_eventually(lambda: inside == ["first", "stranger"])
        # The server ends the connection of the first, as it does when its process dies.
        query = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted"
        assert shared_databases.postgres is not None
        shared_databases.postgres.sql(shared_databases.name, "-c", query)
        await assert_eventually(lambda: "second" in inside)
        for event in leave:
            event.set()
    for database in (first, second, stranger):
        await database.close()


async def test_a_cancelled_unit_gives_the_writer_back(database: Database) -> None:
    begun = asyncio.Event()

    async def hang() -> None:
        async with database.work(NoteWork)() as w:
            w.session.add(NoteRow(id="1", text="lost"))
            await w.session.flush()
            begun.set()
            await asyncio.sleep(60)

    task = asyncio.create_task(hang())
    await begun.wait()
    task.cancel()
    await asyncio.wait([task])
    async with asyncio.timeout(5), database.work(NoteWork)() as w:
        w.session.add(NoteRow(id="1", text="kept"))
        await w.commit()
    assert await texts(database) == {"kept"}


async def test_moments_keep_their_zone(database: Database) -> None:
    table = Table("moment", MetaData(), Column("id", String(1), primary_key=True), Column("at", UtcDateTime))
    moment = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=timezone(timedelta(hours=9)))
    async with database.writing() as connection:
        await connection.run_sync(table.metadata.create_all)
        await connection.execute(insert(table).values(id="a", at=moment))
        await connection.execute(insert(table).values(id="b", at=None))
    async with database.reading() as connection:
        found = {row.id: row.at for row in await connection.execute(select(table))}
        earlier = await connection.execute(select(table.c.id).where(table.c.at < moment + timedelta(microseconds=1)))
        assert earlier.scalars().all() == ["a"]
    assert found == {"a": moment, "b": None}
    assert found["a"].tzinfo is UTC
    with pytest.raises(StatementError):
        async with database.writing() as connection:
            await connection.execute(insert(table).values(id="c", at=datetime(2026, 1, 1)))


async def test_facts_the_bus_could_not_carry_are_refused_at_once(database: Database) -> None:
    async with database.work(NoteWork)() as w:
        with pytest.raises(ValueError):
            w.tell(BytesValue(value=b"x" * 1_000_000), resource="note", id="1")
        with pytest.raises(ValueError):
            w.tell(StringValue(), resource="note", id="a.b")
        with pytest.raises(ValueError):
            w.enqueue("other.train", StringValue())


async def test_positions_are_never_used_again(database: Database) -> None:
    async def tell_and_clear() -> int:
        async with database.work(NoteWork)() as w:
            w.tell(StringValue(), resource="note", id="1")
            await w.commit()
        outbox = METADATA.tables[OUTBOX]
        async with database.writing() as connection:
            position: int = (await connection.execute(select(outbox.c.position))).scalar_one()
            await connection.execute(outbox.delete())
        return position

    assert await tell_and_clear() < await tell_and_clear()


async def test_the_inbox_lets_a_message_in_once_and_forgets_after_its_time(database: Database) -> None:
    async with database.work(NoteWork)() as w:
        await inbox.record(w, "dataset-x", "m1")
        await w.commit()
    async with database.work(NoteWork)() as w:
        await inbox.record(w, "dataset-y", "m1")
        with pytest.raises(AlreadyHeard):
            await inbox.record(w, "dataset-x", "m1")
    later = Database(database.url, clock=lambda: datetime.now(UTC) + inbox.KEPT + timedelta(days=1))
    async with later.work(NoteWork)() as w:
        await inbox.record(w, "dataset-x", "m2")
        await w.commit()
    await later.close()
    async with database.reading() as connection:
        assert (await connection.execute(select(METADATA.tables[INBOX].c.message_id))).scalars().all() == ["m2"]


async def test_the_last_request_that_asked_for_work_is_remembered_for_a_month(database: Database) -> None:
    work = database.work(NoteWork)
    for request_id in ("first", "second"):
        with Origin(request_id, "00-trace").continued():
            async with work() as w:
                await w.note_origin("index/ds-1")
                await w.commit()
    with Origin("lost").continued():
        async with work() as w:
            await w.note_origin("index/ds-1")
    async with work(read_only=True) as w:
        assert await w.origin_of("index/ds-1") == Origin("second", "00-trace")
        assert await w.origin_of("index/ds-2") == Origin()
    later = Database(database.url, clock=lambda: datetime.now(UTC) + ORIGIN_KEPT + timedelta(days=1))
    async with later.work(NoteWork)() as w:
        await w.note_origin("index/ds-2")
        assert await w.origin_of("index/ds-1") == Origin()
    await later.close()


async def test_a_database_that_is_away_fails_its_ping(tmp_path: Path) -> None:
    (tmp_path / "folder.sqlite").mkdir()
    database = Database(f"sqlite+aiosqlite:///{tmp_path}/folder.sqlite")
    with pytest.raises(OperationalError):
        await database.ping()
    await database.close()
    # aiosqlite does not wait for the thread of a connection that failed; it must not outlive the test's loop.
    for thread in threading.enumerate():
        if "_connection_worker_thread" in thread.name:
            await asyncio.to_thread(thread.join, 5)


async def test_a_loop_of_replicas_goes_on_in_one_and_then_in_another(shared_databases: Databases) -> None:
    replicas = [Database(shared_databases.url()) for _ in range(3)]
    running: list[int] = []

    def loop(number: int) -> Alone:
        async def run(stopping: asyncio.Event) -> None:
            running.append(number)
            await stopping.wait()
            running.remove(number)

        return Alone(Worker("indexer", run), replicas[number])

    stops = [asyncio.Event() for _ in replicas]
    tasks = [asyncio.create_task(loop(number).run(stops[number])) for number in range(3)]
    await assert_eventually(lambda: len(running) == 1)
    (first,) = running
    # One that only waits ends when it is told to, as does the one at work; then the last takes over.
    idle, last = (number for number in range(3) if number != first)
    stops[idle].set()
    await asyncio.wait_for(tasks[idle], 5)
    assert running == [first]
    stops[first].set()
    await asyncio.wait_for(tasks[first], 5)
    await assert_eventually(lambda: running == [last])
    stops[last].set()
    await asyncio.wait_for(tasks[last], 5)
    for replica in replicas:
        await replica.close()


async def test_a_full_disk_is_said_and_loses_nothing_that_was_kept(tmp_path: Path) -> None:
    database = await open_database(f"sqlite+aiosqlite:///{tmp_path}/notes.sqlite")

    async def keep(id: str, num_characters: int) -> None:
        async with database.work(NoteWork)() as w:
            # As large as the file is now, and a little: what SQLite says then is what it says on a full disk.
            await (await w.session.connection()).execute(text("PRAGMA max_page_count = 40"))
            w.session.add(NoteRow(id=id, text="x" * num_characters))
            await w.commit()

    await keep("first", 10)
    with pytest.raises(NoReadyInstance, match="disk"):
        await keep("second", 400_000)
    await keep("third", 10)
    async with database.work(NoteWork)(read_only=True) as w:
        assert {row.id for row in (await w.session.exec(sqlmodel.select(NoteRow))).all()} == {"first", "third"}
    await database.close()


async def keep_without_a_connection(database: Database) -> None:
    """A unit whose connection is cut before its commit."""
    async with database.work(NoteWork)() as w:
        w.session.add(NoteRow(id="1", text="x"))
        await w.session.flush()
        mine = (await (await w.session.connection()).execute(text("SELECT pg_backend_pid()"))).scalar_one()
        async with database.engine.connect() as other:
            await other.execute(text(f"SELECT pg_terminate_backend({mine})"))
        await w.commit()


async def test_a_database_that_goes_away_and_returns(shared_databases: Databases) -> None:
    nowhere = Database(f"postgresql+psycopg://nobody@127.0.0.1:{free_port()}/nothing")
    with pytest.raises(NoReadyInstance, match="cannot be reached"):
        async with nowhere.work(NoteWork)():
            raise AssertionError
    await nowhere.close()
    database = await open_database(shared_databases.url())
    with pytest.raises(NoReadyInstance, match="cannot be reached"):
        await keep_without_a_connection(database)
    assert await texts(database) == set()
    async with database.work(NoteWork)() as w:
        w.session.add(NoteRow(id="1", text="back"))
        await w.commit()
    assert await texts(database) == {"back"}
    await database.close()
