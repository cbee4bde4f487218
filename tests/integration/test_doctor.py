"""`inkctl doctor`: each check says what is the case and what to do, and changes nothing."""

import os
import socket
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from deploy.doctor import __main__ as doctor
from deploy.doctor import databases as database_checks
from deploy.doctor import folders, machine
from deploy.doctor.__main__ import examine, main
from deploy.doctor.databases import database_finding
from deploy.doctor.finding import Finding, Level, ok
from deploy.doctor.network import bus_findings, port_findings
from deploy.embedded.settings import EmbeddedSettings
from libs.runtime.db import Database
from libs.runtime.grpc_server import GrpcServer
from libs.runtime.migrations import revisions, upgrade
from libs.runtime.secrets import InstallationKey
from libs.runtime.settings import ServiceSettings
from libs.runtime.testing import free_port, nats_server
from tests.integration.conftest import Databases
from tests.trust import TRUST


def settings(home: Path, **changed: str) -> EmbeddedSettings:
    """Of an installation in ``home``, its ports free ones."""
    free = {f"{name}_address": f"127.0.0.1:{free_port()}" for name in ("dataset", "labeling", "trainer", "inference", "gateway")}
    return EmbeddedSettings(**{"home": home, "nats_url": f"nats://127.0.0.1:{free_port()}", **free, **changed})  # type: ignore[arg-type]


def by_what(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.what: finding for finding in findings}


def test_a_home_before_the_first_start_is_fine_and_stays_away(tmp_path: Path) -> None:
    home = tmp_path / "not-yet"
    found = [
        *folders.home(settings(home)),
        *folders.key(settings(home)),
        *database_checks.databases(settings(home)),
        *machine.disk(settings(home)),
    ]
    assert {finding.level for finding in found} <= {Level.OK, Level.WARN}
    assert not home.exists()


def test_open_modes_a_lost_key_and_a_short_one_are_found(tmp_path: Path) -> None:
    InstallationKey.load(tmp_path)
    tmp_path.chmod(0o755)
    (tmp_path / "secret.key").chmod(0o644)
    [home], [key] = folders.home(settings(tmp_path)), folders.key(settings(tmp_path))
    assert (home.level, home.remedy) == (Level.WARN, f"chmod 700 {tmp_path}")
    assert (key.level, key.remedy) == (Level.WARN, f"chmod 600 {tmp_path / 'secret.key'}")
    (tmp_path / "secret.key").write_bytes(b"short")
    [key] = folders.key(settings(tmp_path))
    assert (key.level, "5 bytes" in key.said) == (Level.FAIL, True)
    (tmp_path / "secret.key").unlink()
    (tmp_path / "db").mkdir()
    (tmp_path / "db" / "dataset.sqlite").touch()
    [key] = folders.key(settings(tmp_path))
    assert (key.level, "backup" in key.remedy) == (Level.FAIL, True)
    assert not (tmp_path / "secret.key").exists()


def test_a_root_that_is_gone_is_named(tmp_path: Path) -> None:
    gone, there = folders.roots(settings(tmp_path, roots=f"{tmp_path / 'disk'}:{tmp_path}"))
    assert (gone.level, str(tmp_path / "disk") in gone.said, there.level) == (Level.WARN, True, Level.OK)


def test_missing_models_say_how_to_fetch_them(tmp_path: Path) -> None:
    found = list(folders.models(settings(tmp_path, models=str(tmp_path))))
    assert {(finding.level, "make models" in finding.remedy) for finding in found} == {(Level.FAIL, True)}


async def test_databases_older_current_and_newer(tmp_path: Path, databases: Databases) -> None:
    url = databases.url()
    await upgrade("dataset", url)
    found = await database_finding("dataset", url)
    assert (found.level, found.said.endswith(revisions("dataset")[-1])) == (Level.OK, True)
    assert ":secret@" not in found.said
    for version, level, words in (("0001", Level.WARN, "migrates"), ("9999", Level.FAIL, "newer")):
        await set_version(url, version)
        found = await database_finding("dataset", url)
        assert (found.level, words in found.remedy) == (level, True)


async def set_version(url: str, version: str) -> None:
    database = Database(url)
    async with database.writing() as connection:
        await connection.execute(text(f"UPDATE alembic_version SET version_num = '{version}'"))
    await database.close()


async def test_a_database_that_is_none_or_away_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "noise.sqlite").write_bytes(os.urandom(4096))
    for url in (f"sqlite+aiosqlite:///{tmp_path}/noise.sqlite", f"postgresql+psycopg://u:secret@127.0.0.1:{free_port()}/x"):
        found = await database_finding("dataset", url)
        assert (found.level, "secret" in found.said, "INKWRIGHT_DATASET_DATABASE_URL" in found.remedy) == (Level.FAIL, False, True)
    with sqlite3.connect(tmp_path / "empty.sqlite"):
        pass
    assert (await database_finding("dataset", f"sqlite+aiosqlite:///{tmp_path}/empty.sqlite")).level is Level.OK


async def test_ports_that_are_ours_free_or_held_by_another_program(tmp_path: Path) -> None:
    server = GrpcServer("127.0.0.1:0", TRUST)
    await server.start()
    with socket.socket() as stranger:
        # It holds the port and never answers.
        stranger.bind(("127.0.0.1", 0))
        taken = f"127.0.0.1:{stranger.getsockname()[1]}"
        ours = settings(tmp_path, dataset_address=server.address, trainer_address=taken, inference_address="name.invalid:50054")
        found = by_what(await port_findings(ours))
    await server.stop(0)
    assert (found["dataset port"].level, "answers" in found["dataset port"].said) == (Level.OK, True)
    assert (found["labeling port"].level, "free" in found["labeling port"].said) == (Level.OK, True)
    assert (found["trainer port"].level, "INKWRIGHT_TRAINER_ADDRESS" in found["trainer port"].remedy) == (Level.FAIL, True)
    assert (found["inference port"].level, "INKWRIGHT_INFERENCE_ADDRESS" in found["inference port"].remedy) == (Level.FAIL, True)


async def test_the_bus_there_absent_and_away(tmp_path: Path) -> None:
    async with nats_server(tmp_path) as server:
        [there] = await bus_findings(settings(tmp_path, nats_url=server.url))
    [absent] = await bus_findings(settings(tmp_path))
    [away] = await bus_findings(settings(tmp_path, nats_url="nats://token@name.invalid:4222"))
    assert (there.level, "0 streams" in there.said) == (Level.OK, True)
    assert (absent.level, "supervisor starts it" in absent.said) == (Level.OK, True)
    assert (away.level, "token" in away.said) == (Level.FAIL, False)


def test_processors_are_told_apart() -> None:
    text = "processor\t: 0\nflags\t\t: fpu avx2 avx512f avx512_vnni\nbugs\t\t: none\nflags\t\t: other\n"
    assert machine.cpu_flags(text) == {"fpu", "avx2", "avx512f", "avx512_vnni"}
    assert machine.cpu_flags("") == set()


def test_a_check_that_breaks_does_not_hide_the_others(tmp_path: Path) -> None:
    def broken(_settings: ServiceSettings) -> Iterator[Finding]:
        raise RuntimeError("surprise")

    def fine(_settings: ServiceSettings) -> Iterator[Finding]:
        yield ok("fine", "yes")

    first, second = examine(settings(tmp_path), [broken, fine])
    assert (first.level, "surprise" in first.said, second.level) == (Level.FAIL, True, Level.OK)


def test_wrong_settings_are_a_finding_and_exit_code_1(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("INKWRIGHT_GATEWAY_METRICS_ADDRESS", "127.0.0.1:9105")
    # Logs set up here would write to a stream that ends with this test.
    monkeypatch.setattr(doctor, "configure_logs", lambda *_, **__: None)
    assert main(["--json"]) == 1
    assert "INKWRIGHT_METRICS_TOKEN" in capsys.readouterr().out
