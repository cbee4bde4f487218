"""Backup and restore of a small home: what comes back as it was, what is refused, and that a refusal leaves nothing behind."""

import asyncio
import os
import shutil
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from nats.js import api
from sqlalchemy import create_engine, delete, insert, make_url, select

from deploy.backup import databases as cutting
from deploy.backup.archive import BackupError, Manifest, extract, written
from deploy.backup.databases import DATABASES, Source, open_source
from deploy.backup.installation_bus import own_bus
from deploy.backup.postgresql import check_empty, load
from deploy.backup.restoring import CLOCKS_DIFFER, restore
from deploy.backup.taking import take
from deploy.embedded.home import RESTORING, locked_home
from libs.runtime.bus import STREAMS
from libs.runtime.cannot_start import CannotStart
from libs.runtime.migrations import upgrade
from libs.runtime.secrets import InstallationKey
from libs.runtime.tables import OUTBOX
from libs.runtime.testing import nats_server
from libs.runtime.times import utc_now
from services.trainer.settings import TrainerSettings
from services.trainer.store import METADATA
from tests.integration.conftest import Databases
from tests.integration.plumbing import NoteRow, NoteWork, open_database
from tests.integration.tiny_bundle import write_tiny_bundle

OLD, NEW, UNPUBLISHED = "0" * 32, "1" * 32, "2" * 32
FACT = "inkwright.evt.v1.dataset.image.image_removed.x"
DIGEST_OF_NOTHING = "f" * 64
NUM_NOTES = 40


@dataclass(frozen=True)
class Made:
    """A home with something of everything, and its backup."""

    settings: TrainerSettings
    file: Path
    manifest: Manifest
    letter: api.RawStreamMsg
    digest: str


async def furnish(home: Path) -> tuple[api.RawStreamMsg, str]:
    """Databases with an outbox, a bundle, and one that is missing; a bus with a letter, a job, and a consumer that has heard one of two."""
    settings = TrainerSettings(home=home)
    os.mkdir(home)
    InstallationKey.load(home)
    (home / "admin.token").write_text("a token\n")
    for service in DATABASES:
        await upgrade(service, settings.database_url_of(service))
    bundle = write_tiny_bundle(home / "tiny.inkbundle")
    settings.artifact_folder.mkdir(parents=True)
    bundle.path.rename(settings.artifact_folder / f"{bundle.digest}.inkbundle")
    now = utc_now()
    engine = create_engine(f"sqlite:///{home}/db/trainer.sqlite")
    with engine.begin() as connection:
        for number, (id, published) in enumerate(((OLD, now - 2 * CLOCKS_DIFFER), (NEW, now + timedelta(minutes=1)), (UNPUBLISHED, None))):
            row = {"id": id, "subject": "s", "type": "t", "payload": b"", "request_id": "", "told_time": now, "published_time": published}
            connection.execute(insert(METADATA.tables[OUTBOX]).values(position=number + 1, **row))
        for name, digest in (("tiny", bundle.digest), ("lost", DIGEST_OF_NOTHING)):
            known = {
                "uid": name,
                "name": name,
                "project": "p",
                "is_base": False,
                "origin": "IMPORTED",
                "state": "READY",
                "charset_digest": "",
            }
            rest = {"num_characters": 1, "task": "", "dataset_version": "", "base": "", "code_version": "", "create_time": now}
            connection.execute(insert(METADATA.tables["model"]).values(bundle_digest=digest, **known, **rest))
    engine.dispose()
    async with own_bus(home) as bus:
        for spec in STREAMS:
            await bus.jetstream.add_stream(spec.config())
        for number in range(2):
            await bus.publish(FACT, f"fact {number}".encode(), message_id=f"f{number}")
        await bus.jetstream.add_consumer("EVT_DATASET", api.ConsumerConfig(durable_name="hearer", ack_policy=api.AckPolicy.EXPLICIT))
        subscription = await bus.jetstream.pull_subscribe_bind("hearer", stream="EVT_DATASET")
        [first] = await subscription.fetch(1, timeout=5)
        await first.ack_sync()
        await bus.publish("jobs.predict.reader", b"job", message_id="j")
        for number in range(2):
            await bus.publish("inkwright.dead.hearer", b"letter", message_id=f"d{number}")
        await bus.jetstream.delete_msg("DEAD", 1)
        return await bus.jetstream.get_msg("DEAD", 2), bundle.digest


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("made")

    async def make() -> Made:
        letter, digest = await furnish(folder / "home")
        settings = TrainerSettings(home=folder / "home")
        manifest = await take(settings, folder / "backup.ink")
        return Made(settings, folder / "backup.ink", manifest, letter, digest)

    return asyncio.run(make())


def outbox(home: Path) -> dict[str, bool]:
    """Which rows of the trainer's outbox have been published."""
    table = METADATA.tables[OUTBOX]
    engine = create_engine(f"sqlite:///{home}/db/trainer.sqlite")
    with engine.connect() as connection:
        found = {row.id: row.published_time is not None for row in connection.execute(select(table))}
    engine.dispose()
    return found


async def test_a_restored_home_is_the_one_that_was_backed_up(made: Made, tmp_path: Path) -> None:
    settings = TrainerSettings(home=tmp_path / "home")
    await restore(settings, made.file)
    for name in ("secret.key", "admin.token", f"trainer/artifacts/{made.digest}.inkbundle"):
        assert (settings.home / name).read_bytes() == (made.settings.home / name).read_bytes()
    assert settings.home.stat().st_mode & 0o777 == 0o700
    assert settings.restored_mark.exists()
    assert not (settings.home / RESTORING).exists()
    # What the bus may not have is told again, the rest is not.
    assert outbox(settings.home) == {OLD: True, NEW: False, UNPUBLISHED: False}
    with locked_home(settings.home):
        async with own_bus(settings.home) as bus:
            letter = await bus.jetstream.get_msg("DEAD", 2)
            assert (letter.data, letter.time, letter.headers) == (b"letter", made.letter.time, made.letter.headers)
            assert (await bus.jetstream.stream_info("JOBS_PREDICT")).state.messages == 1
            consumer = await bus.jetstream.consumer_info("EVT_DATASET", "hearer")
            assert (consumer.ack_floor.stream_seq if consumer.ack_floor else 0, consumer.num_pending) == (1, 1)


def test_a_bundle_that_is_gone_is_named_and_the_rest_is_kept(made: Made) -> None:
    [problem] = made.manifest.problems
    assert DIGEST_OF_NOTHING in problem
    assert {name for name in made.manifest.members if name.startswith("bundles/")} == {f"bundles/{made.digest}.inkbundle"}


def doctored(made: Made, folder: Path, name: str = "", content: bytes = b"", **changed: object) -> Path:
    """The backup with one member or the manifest changed, its digests right."""
    manifest = extract(made.file, folder / "members")
    if name:
        (folder / "members" / name).write_bytes(content)
    with written(folder / "doctored.ink") as writer:
        for member in manifest.members:
            writer.add(member, folder / "members" / member)
        writer.finish(manifest.model_copy(update=changed))
    shutil.rmtree(folder / "members")
    return folder / "doctored.ink"


async def test_a_newer_schema_is_refused_by_name(made: Made, tmp_path: Path) -> None:
    newer = made.manifest.databases | {"labeling": made.manifest.databases["labeling"].model_copy(update={"revision": "9999"})}
    file = doctored(made, tmp_path, databases=newer, code_version="7.0.0")
    with pytest.raises(BackupError, match=r"labeling has the schema 9999.*7\.0\.0"):
        await restore(TrainerSettings(home=tmp_path / "home"), file)
    assert not (tmp_path / "home").exists()


async def test_a_failure_in_the_middle_leaves_nothing_behind(made: Made, tmp_path: Path) -> None:
    file = doctored(made, tmp_path, "bus/EVT_DATASET", b"no snapshot")
    (tmp_path / "home").mkdir()
    with pytest.raises(BackupError, match="refuses the snapshot of EVT_DATASET"):
        await restore(TrainerSettings(home=tmp_path / "home"), file)
    assert list((tmp_path / "home").iterdir()) == []


async def test_a_home_with_anything_in_it_is_refused_and_left_alone(made: Made, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter").write_text("mine")
    with pytest.raises(BackupError, match="is not empty"):
        await restore(TrainerSettings(home=tmp_path / "home"), made.file)
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["letter"]


async def test_a_home_in_use_is_refused(made: Made, tmp_path: Path) -> None:
    with locked_home(tmp_path / "home"), pytest.raises(BackupError, match="Inkwright runs on"):
        await restore(TrainerSettings(home=tmp_path / "home"), made.file)


async def test_a_disk_without_room_is_noticed_before_anything_is_written(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage)
    with pytest.raises(BackupError, match="room for 1,000 bytes"):
        await restore(TrainerSettings(home=tmp_path / "home"), made.file)
    assert not (tmp_path / "home").exists()


async def test_databases_of_another_kind_are_refused(made: Made, tmp_path: Path) -> None:
    settings = TrainerSettings(home=tmp_path / "home", gateway_database_url="postgresql+psycopg://nobody@127.0.0.1:1/none")
    with pytest.raises(BackupError, match="unset INKWRIGHT_GATEWAY_DATABASE_URL"):
        await restore(settings, made.file)


async def test_a_bus_elsewhere_is_read_and_filled_there(made: Made, tmp_path: Path) -> None:
    async with nats_server(tmp_path) as server:
        away = server.url.replace("://", "://name:password@")
        settings = TrainerSettings(home=tmp_path / "home", nats_url=away)
        await restore(settings, made.file)
        assert not (settings.home / "nats").exists()
        manifest = await take(settings, tmp_path / "again.ink")
        assert manifest.streams["DEAD"]["state"]["last_ts"] == made.manifest.streams["DEAD"]["state"]["last_ts"]
        with pytest.raises(BackupError, match="has a stream EVT_DATASET already"):
            await restore(TrainerSettings(home=tmp_path / "other", nats_url=away), made.file)
    assert not (tmp_path / "other").exists()


async def test_rows_of_postgresql_come_back_as_they_were(shared_databases: Databases, tmp_path: Path) -> None:
    assert shared_databases.postgres is not None
    there = make_url(shared_databases.url("dataset"))
    here = there.set(database=shared_databases.postgres.new_database())
    await upgrade("dataset", shared_databases.url("dataset"))
    table, before, now = METADATA.tables[OUTBOX], create_engine(there), utc_now()
    awkward = {"subject": "tab\t line\n back\\slash \\N é", "type": "", "request_id": "", "told_time": now, "published_time": None}
    with before.begin() as connection:
        connection.execute(insert(table), [{"id": str(number), "payload": bytes(range(256)), **awkward} for number in range(3)])
        rows = connection.execute(select(table)).all()
        # The last position is never given again, though its row is gone.
        connection.execute(delete(table).where(table.c.id == "2"))
    with closing(open_source("dataset", shared_databases.url("dataset"))) as source:
        source.begin()
        copy = source.copy(tmp_path)
    after = create_engine(here)
    with pytest.raises(BackupError, match="schema of dataset is not empty"):
        check_empty("dataset", there)
    check_empty("dataset", here)
    with after.begin() as connection:
        load("dataset", connection, copy, tmp_path / "dataset")
        assert connection.execute(select(table)).all() == rows[:2]
        connection.execute(insert(table).values(id="3", payload=b"", **awkward))
        assert connection.execute(select(table.c.position).where(table.c.id == "3")).scalar_one() == rows[2].position + 1
    for engine in (before, after):
        engine.dispose()
    shared_databases.postgres.drop_database(str(here.database))


async def test_no_supervisor_starts_on_half_a_restore(tmp_path: Path) -> None:
    (tmp_path / RESTORING).mkdir()
    with pytest.raises(CannotStart, match="was cut off"), locked_home(tmp_path):
        pass


async def test_where_nothing_is_installed_nothing_is_backed_up(tmp_path: Path) -> None:
    with pytest.raises(BackupError, match="no installation in"):
        await take(TrainerSettings(home=tmp_path / "nowhere"), tmp_path / "backup.ink")
    assert os.listdir(tmp_path) == []


async def test_a_damaged_database_is_named_and_no_file_is_left(made: Made, tmp_path: Path) -> None:
    shutil.copytree(made.settings.home, tmp_path / "home")
    file = tmp_path / "home" / "db" / "labeling.sqlite"
    content = bytearray(file.read_bytes())
    content[4096:12288] = b"\xa5" * 8192
    file.write_bytes(content)
    with pytest.raises(BackupError, match=r"labeling\.sqlite"):
        await take(TrainerSettings(home=tmp_path / "home"), tmp_path / "backup.ink")
    assert os.listdir(tmp_path) == ["home"]


class Chain:
    """Somebody who writes a note into the first database and, once it is committed, into the second, without a pause."""

    def __init__(self, urls: list[str]) -> None:
        self._urls = urls
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._write()))

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_error: object) -> None:
        self._stopping.set()
        self._thread.join()

    async def _write(self) -> None:
        opened = [await open_database(url) for url in self._urls]
        number = 0
        while not self._stopping.is_set():
            for database in opened:
                async with database.work(NoteWork)() as w:
                    w.session.add(NoteRow(id=str(number), text=""))
                    await w.commit()
            number += 1
        for database in opened:
            await database.close()


def test_no_effect_is_copied_without_its_cause(databases: Databases, monkeypatch: pytest.MonkeyPatch) -> None:
    urls = [databases.url("dataset"), databases.url("labeling")]
    for url in urls:
        asyncio.run(_made(url))
    causes = 0
    with Chain(urls):
        while causes < NUM_NOTES:
            # The effects' database is looked at last, and late: without the hold it would show those of later causes.
            sources: list[Source] = [open_source(name, url) for name, url in zip(("dataset", "labeling"), urls, strict=True)]
            with closing(sources[0]), closing(sources[1]):
                monkeypatch.setattr(sources[1], "begin", late(sources[1].begin))
                cutting._cut(sources)
                causes, effects = (int(source.texts("SELECT count(*) FROM note")[0]) for source in sources)
            assert causes - 1 <= effects <= causes
            # A writer that is always kept out writes nothing to see.
            time.sleep(0.05)


def late(begin: Callable[[], None]) -> Callable[[], None]:
    def begin_late() -> None:
        time.sleep(0.03)
        begin()

    return begin_late


async def _made(url: str) -> None:
    await (await open_database(url)).close()
