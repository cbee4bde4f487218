"""A clock that is set forward or back, by hours, loses nothing, doubles nothing and keeps nobody waiting."""

import asyncio
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from google.protobuf.wrappers_pb2 import StringValue
from sqlalchemy import select

from libs.runtime import outbox, process
from libs.runtime.access_token import AccessKey
from libs.runtime.bus import Bus
from libs.runtime.caller import Caller
from libs.runtime.db import Database
from libs.runtime.local_folder import LocalFolder
from libs.runtime.migrations import upgrade
from libs.runtime.outbox import Relay
from libs.runtime.tables import OUTBOX
from libs.runtime.testing import assert_eventually, nats_server
from libs.runtime.times import utc_now
from services.inference.domain import Deployment, Purpose, Reason, State
from services.inference.quota import Quota
from services.inference.store import InferenceWork
from services.trainer.deps import Deps
from services.trainer.domain import TaskState, new_task
from services.trainer.settings import TrainerSettings
from services.trainer.store import TrainerWork
from services.trainer.sweeper import STALE_SECONDS, Sweeper
from tests.integration.conftest import Databases
from tests.integration.plumbing import METADATA, NoteWork, open_database
from tests.integration.test_outbox import hearer, notes
from tests.trust import TRUST
from tests.unit.test_trainer_domain import ORDER

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
HOURS = (0, -5, 3, -9, 1, -2)
"""Where the clock stands at each step, from noon."""


async def test_what_was_told_keeps_its_order_and_is_heard_once(tmp_path: Path, databases: Databases) -> None:
    database = await open_database(databases.url())
    async with nats_server(tmp_path) as server:
        bus = await Bus.connect(server.url, name="teller")
        relay = Relay(database, METADATA, bus)
        async with hearer(server.url, databases.url("labeling")) as heard:
            for number, hours in enumerate(HOURS):
                now = NOON + timedelta(hours=hours)
                database.clock = heard.clock = lambda now=now: now  # type: ignore[misc]
                async with database.work(NoteWork)() as w:
                    w.tell(StringValue(value=str(number)), resource="note", id="n")
                    await w.commit()
                assert await relay.publish_batch() == 1

            async def heard_all() -> None:
                assert await notes(heard) == list(range(len(HOURS)))

            await assert_eventually(heard_all)
            assert await outbox.replay(database, METADATA, NOON + timedelta(hours=min(HOURS))) == len(HOURS)
            assert await relay.publish_batch() == len(HOURS)
            subject = "inkwright.evt.v1.dataset.note.string_value.n"

            async def nothing_waits() -> None:
                info = await bus.jetstream.consumer_info("EVT_DATASET", "labeling-notes")
                assert (info.num_pending, info.num_ack_pending) == (0, 0)

            await assert_eventually(nothing_waits)
            assert (await bus.jetstream.stream_info("DEAD")).state.messages == 0
            stored = [await bus.jetstream.get_msg("EVT_DATASET", sequence) for sequence in range(1, len(HOURS) + 1)]
            assert [(message.subject, message.data) for message in stored] == [
                (subject, StringValue(value=str(number)).SerializeToString()) for number in range(len(HOURS))
            ]
        await bus.close()
    async with database.reading() as connection:
        assert len((await connection.execute(select(METADATA.tables[OUTBOX]))).all()) == len(HOURS)
    await database.close()


async def test_lists_hold_each_once_and_revisions_only_grow(databases: Databases) -> None:
    await upgrade("inference", databases.url("inference"))
    database = Database(databases.url("inference"))
    work = database.work(InferenceWork)
    names = [f"projects/default/deployments/d{number}" for number in range(len(HOURS))]
    for name, hours in zip(names, HOURS, strict=True):
        async with work() as w:
            at = NOON + timedelta(hours=hours)
            await w.deployments.add(_deployment(name, at), request_id=None)
            await w.commit()
    found: list[str] = []
    cursor: Any = ()
    while cursor is not None:
        async with work(read_only=True) as w:
            page = await w.deployments.page("projects/default", size=2, after=cursor, with_suggestions=False)
        found += [deployment.name for deployment in page.items]
        cursor = page.next_cursor
    assert sorted(found) == names
    deployment = _deployment(names[0], NOON)
    for hours in HOURS:
        changed = deployment.stop(at=NOON + timedelta(hours=hours)) if deployment.wanted_instances else deployment.start(at=NOON)
        assert changed.revision > deployment.revision
        assert changed.etag != deployment.etag
        deployment = changed
    await database.close()


def _deployment(name: str, at: datetime) -> Deployment:
    return Deployment(
        name=name,
        model="projects/default/models/m",
        bundle_digest="a" * 64,
        resource_type="cpu-1",
        num_instances=1,
        quota=Quota(1, 1024),
        state=State.CREATING,
        reason=Reason.INSTANCES_STARTING,
        message="",
        purpose=Purpose.PUBLIC,
        encrypted_token=b"x",
        create_time=at,
        update_time=at,
    )


@pytest.mark.parametrize("hours", [-5, 0, 5])
async def test_a_termination_that_nobody_answers_ends_in_time(hours: int, tmp_path: Path, databases: Databases) -> None:
    await upgrade("trainer", databases.url("trainer"))
    database = Database(databases.url("trainer"), clock=lambda: NOON)
    work = database.work(TrainerWork)
    deps = Deps(
        work=work,
        settings=TrainerSettings(home=tmp_path),
        datasets=cast("Any", None),
        artifacts=LocalFolder(tmp_path),
        code_version="1",
        trust=TRUST,
        task_created=asyncio.Event(),
    )
    name = "projects/default/tasks/t"
    async with work() as w:
        waiting = new_task(name, "tk-1", ORDER, request_id="", at=NOON)
        await w.tasks.put(replace(waiting, state=TaskState.TERMINATING, terminate_time=NOON))
        await w.commit()
    database.clock = lambda: NOON + timedelta(hours=hours)
    seconds = 1000.0
    sweeper = Sweeper(deps, clock=lambda: seconds)

    async def state() -> TaskState:
        async with work(read_only=True) as w:
            return (await w.tasks.get(name)).state

    await sweeper.end_stale()
    seconds += STALE_SECONDS - 0.1
    await sweeper.end_stale()
    assert await state() is TaskState.TERMINATING
    seconds += 0.2
    await sweeper.end_stale()
    assert await state() is TaskState.TERMINATED
    await database.close()


@pytest.mark.parametrize("hours", [-5, 5])
def test_the_next_call_between_processes_is_let_in_and_uptime_stays_right(hours: int, monkeypatch: pytest.MonkeyPatch) -> None:
    key, caller = AccessKey(b"k" * 32), Caller("users/ann", frozenset({"VIEW"}))
    key.caller(key.sign(caller))
    before = utc_now() - process.start_time()
    real_time = time.time
    monkeypatch.setattr(time, "time", lambda: real_time() + 3600 * hours)
    monkeypatch.setattr(process, "utc_now", lambda: utc_now() + timedelta(hours=hours))
    assert key.caller(key.sign(caller)) == caller
    after = utc_now() + timedelta(hours=hours) - process.start_time()
    assert before <= after < before + timedelta(minutes=1)
