"""One command starts everything, keeps it alive and leaves nothing behind, however it ends."""

import asyncio
import json
import os
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx
import pytest

from deploy.embedded.home import admin_token
from deploy.embedded.log_file import LogFile
from libs.runtime.testing import assert_eventually
from tests.integration.processes import is_alive, mentioning

ADDRESSES = ("DATASET_ADDRESS", "LABELING_ADDRESS", "TRAINER_ADDRESS", "INFERENCE_ADDRESS", "GATEWAY_ADDRESS")
NUM_PROCESSES = 4 + 4
"""The four of the table, and in each of the two services a child and a grandchild."""


def environment(home: Path, **changes: str) -> dict[str, str]:
    ports = {f"INKWRIGHT_{name}": "127.0.0.1:0" for name in ADDRESSES}
    own = {"INKWRIGHT_HOME": str(home), "INKWRIGHT_NATS_URL": "nats://127.0.0.1:0", "INKWRIGHT_GRACE_SECONDS": "5", **ports, **changes}
    return {**{key: value for key, value in os.environ.items() if not key.startswith("INKWRIGHT_")}, **own}


class Installation:
    """A running supervisor of a test."""

    def __init__(self, home: Path, process: Process) -> None:
        self.home = home
        self.process = process
        self.address = ""
        self.token = ""
        self.log: list[str] = []
        self._reader = asyncio.create_task(self._read_log())

    async def _read_log(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            self.log.append(line.decode().rstrip())

    async def ready(self) -> None:
        assert self.process.stdout is not None
        first, second = [(await asyncio.wait_for(self.process.stdout.readline(), 60)).decode().split() for _ in range(2)]
        assert (first[0], second[0]) == ("address", "token"), self.log
        self.address, self.token = first[1], second[1]

    async def ended(self) -> int:
        code = await asyncio.wait_for(self.process.wait(), 40)
        await self._reader
        return code

    def events(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.log if line.startswith("{")]


@asynccontextmanager
async def installation(home: Path, *arguments: str, **changes: str) -> AsyncIterator[Installation]:
    process = await asyncio.create_subprocess_exec(
        *[sys.executable, "-m", "tests.integration.fake_installation", *arguments],
        env=environment(home, INKWRIGHT_LOG_FORMAT="json", **changes),
        stdout=PIPE,
        stderr=PIPE,
        limit=1024 * 1024,
    )
    running = Installation(home, process)
    try:
        yield running
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await running.ended()
        await assert_eventually(lambda: mentioning(str(home)) == {})


async def test_it_starts_answers_and_stops_politely_in_order(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with installation(home) as running:
        await running.ready()
        async with httpx.AsyncClient() as client:
            assert (await client.get(running.address)).text == running.token
        await assert_eventually(lambda: len(mentioning(str(home))) == NUM_PROCESSES + 1)
        assert home.stat().st_mode & 0o777 == 0o700
        assert (home / "admin.token").read_text().strip() == running.token
        assert (home / "admin.token").stat().st_mode & 0o777 == 0o600
        assert (home / "secret.key").stat().st_mode & 0o777 == 0o600
        running.process.send_signal(signal.SIGINT)
        assert await running.ended() == 0
        assert mentioning(str(home)) == {}
        stopped = [event["process"] for event in running.events() if event["event"] == "process_stopped"]
        assert (stopped[0], sorted(map(str, stopped[1:3])), stopped[3]) == ("gateway", ["dataset", "labeling"], "nats")
        assert not [event for event in running.events() if event["event"] in ("process_died", "process_reports")]
        parts = [json.loads(line) for line in (home / "logs" / "dataset.log").read_text().splitlines()]
        assert [part["part"] for part in parts if part["event"] == "part_stopped"] == ["worker", "relay", "consumer", "child", "database"]
        assert (home / "logs" / "gateway.log").read_text() == "gateway begins\n"


def test_the_token_is_made_once_kept_and_replaced_by_the_setting(tmp_path: Path) -> None:
    made = admin_token(tmp_path, None)
    assert len(made) == 43
    assert admin_token(tmp_path, None) == made
    assert admin_token(tmp_path, "my-own-token") == "my-own-token"
    assert admin_token(tmp_path, None) == "my-own-token"
    assert (tmp_path / "admin.token").stat().st_mode & 0o777 == 0o600


async def test_nothing_outlives_a_killed_supervisor(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with installation(home) as running:
        await running.ready()
        await assert_eventually(lambda: len(mentioning(str(home))) == NUM_PROCESSES + 1)
        left = [pid for pid in mentioning(str(home)) if pid != running.process.pid]
        running.process.kill()
        assert await running.ended() == -signal.SIGKILL
        await assert_eventually(lambda: not any(is_alive(pid) for pid in left))
    async with installation(home) as again:
        await again.ready()
        assert again.token == running.token


async def test_what_dies_is_started_again_and_its_children_are_not_doubled(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with installation(home) as running:
        await running.ready()
        first = int((home / "pids" / "dataset").read_text())
        os.kill(first, signal.SIGKILL)

        def started_again() -> None:
            assert int((home / "pids" / "dataset").read_text()) != first
            assert len(mentioning(str(home))) == NUM_PROCESSES + 1

        await assert_eventually(started_again, timeout_seconds=20)
        [died] = [event for event in running.events() if event["event"] == "process_died"]
        assert (died["process"], died["how"]) == ("dataset", "killed by SIGKILL")
        running.process.terminate()
        assert await running.ended() == 0


async def test_a_second_supervisor_on_one_home_is_refused_by_name(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with installation(home) as running:
        await running.ready()
        async with installation_beside(home) as second:
            assert await second.ended() == 1
            assert f"already runs on {home} (process {running.process.pid})" in second.log[-1]
        assert running.process.returncode is None


@asynccontextmanager
async def installation_beside(home: Path) -> AsyncIterator[Installation]:
    process = await asyncio.create_subprocess_exec(
        *[sys.executable, "-m", "tests.integration.fake_installation"], env=environment(home), stdout=PIPE, stderr=PIPE
    )
    yield Installation(home, process)


async def test_a_taken_port_is_named_with_its_setting(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        async with installation(tmp_path / "home", INKWRIGHT_TRAINER_ADDRESS=f"127.0.0.1:{port}") as running:
            assert await running.ended() == 1
            assert f"Port {port} on 127.0.0.1" in running.log[-1]
            assert "INKWRIGHT_TRAINER_ADDRESS" in running.log[-1]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"INKWRIGHT_GATEWAY_ADDRESS": "8080"}, "INKWRIGHT_GATEWAY_ADDRESS"),
        ({"INKWRIGHT_NATS_URL": "nats://elsewhere:4222"}, "INKWRIGHT_NATS_URL"),
        ({"INKWRIGHT_TOKEN": "a b"}, "INKWRIGHT_TOKEN"),
        ({"INKWRIGHT_GRACE_SECONDS": "soon"}, "INKWRIGHT_GRACE_SECONDS"),
    ],
)
async def test_a_wrong_setting_is_named(changes: dict[str, str], said: str, tmp_path: Path) -> None:
    async with installation(tmp_path / "home", **changes) as running:
        assert await running.ended() == 1
        assert said in "\n".join(running.log)


async def test_a_process_that_cannot_start_ends_the_start_with_its_last_lines(tmp_path: Path) -> None:
    async with installation(tmp_path / "home", "broken") as running:
        assert await running.ended() == 1
        assert "trainer cannot start (exit code 1)" in "\n".join(running.log)
        assert running.log[-1].strip() == "the model folder is empty"
        assert mentioning(str(tmp_path / "home")) == {}


async def test_a_process_that_says_it_cannot_start_is_not_tried_again(tmp_path: Path) -> None:
    async with installation(tmp_path / "home", "refusing") as running:
        assert await running.ended() == 1
        assert "trainer cannot start (exit code 78)" in "\n".join(running.log)
        assert running.log[-1].strip() == "service_cannot_start: The key is damaged."
        assert len([event for event in running.events() if event["event"] == "process_died"]) == 1


async def test_a_bus_that_found_the_disk_full_is_started_again_once_there_is_room(tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    async with installation(tmp_path / "home", "stuck", str(tmp_path)) as running:
        await running.ready()
        await assert_eventually(lambda: any(event["event"] == "process_reports" for event in running.events()))
        assert starts.read_text() == "x"
        (tmp_path / "room").touch()
        await assert_eventually(lambda: len(starts.read_text()) > 1, timeout_seconds=20)
        assert "process_freed" in [event["event"] for event in running.events()]


def test_a_log_that_cannot_be_written_stops_nobody(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    path.symlink_to("/dev/full")
    log_file = LogFile(path)
    for number in range(3):
        log_file.write(f"line {number}")
    path.unlink()
    path.write_text("before\n")
    log_file.close()
    log_file.write("line 3")
    log_file.write("line 4")
    log_file.close()
    assert path.read_text() == "before\n(3 lines were lost: they could not be written)\nline 3\nline 4\n"


async def test_a_second_signal_does_not_wait_for_the_stubborn(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with installation(home, INKWRIGHT_GRACE_SECONDS="60") as running:
        await running.ready()
        os.kill(int((home / "pids" / "dataset").read_text()), signal.SIGSTOP)
        running.process.terminate()
        await assert_eventually(lambda: any(event["event"] == "stopping" for event in running.events()))
        running.process.terminate()
        assert await running.ended() == 0
        assert mentioning(str(home)) == {}


def test_a_log_file_turns_over_at_its_cap(tmp_path: Path) -> None:
    log_file = LogFile(tmp_path / "x.log", max_bytes=100, kept_files=2)
    for number in range(100):
        log_file.write(f"line {number:03d}")
    log_file.close()
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["x.log", "x.log.1", "x.log.2"]
    assert all((tmp_path / name).stat().st_size <= 110 for name in files)
    newest_last = "".join((tmp_path / name).read_text() for name in reversed(files)).split("\n")
    assert newest_last[-2] == "line 099"
    assert newest_last[:-1] == sorted(newest_last[:-1])
