"""A whole installation, as `make run` starts it, on free ports and an empty home."""

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from libs.client.inkwright import Inkwright
from libs.client.rest import RestClient

START_SECONDS = 90
STOP_SECONDS = 40
CHECKOUT = Path(__file__).resolve().parents[2]


@dataclass
class Installation:
    """One that runs; the tests share it."""

    url: str
    token: str
    home: Path
    folder: Path
    """Below the allowed roots: data sets of the tests lie here."""
    supervisor: subprocess.Popen[str]

    @property
    def client(self) -> Inkwright:
        """A client with the management token."""
        return Inkwright(RestClient(self.url, self.token))

    def inkctl(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run the command line as a person would."""
        environment = os.environ | {"INKWRIGHT_URL": self.url, "INKWRIGHT_TOKEN": self.token, "COLUMNS": "160"}
        command = [sys.executable, "-c", "from libs.client.cli import main; main()", *arguments]
        return subprocess.run(command, env=environment, cwd=CHECKOUT, input=stdin, capture_output=True, text=True, timeout=300, check=False)

    def inkctl_json(self, *arguments: str) -> dict[str, object]:
        """Run a command with ``--json`` and give what it printed; it must succeed."""
        done = self.inkctl(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        answer: dict[str, object] = json.loads(done.stdout)
        return answer


def processes_of(home: Path) -> dict[int, str]:
    """Command lines of the living processes that were started for this home, by pid."""
    mark = f"INKWRIGHT_HOME={home}".encode()
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if mark in (entry / "environ").read_bytes().split(b"\0"):
                found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue  # Ended between the listing and the look.
    return {pid: command for pid, command in found.items() if command}


def start_supervisor(home: Path, roots: Sequence[Path]) -> subprocess.Popen[str]:
    """Start everything on free ports."""
    addresses = {f"INKWRIGHT_{part}_ADDRESS": "127.0.0.1:0" for part in ("DATASET", "LABELING", "TRAINER", "INFERENCE", "GATEWAY")}
    environment = (
        os.environ
        | addresses
        | {
            "INKWRIGHT_HOME": str(home),
            "INKWRIGHT_ROOTS": ":".join(map(str, roots)),
            "INKWRIGHT_NATS_URL": "nats://127.0.0.1:0",
            "INKWRIGHT_INFERENCE_SUGGESTION_IDLE_SECONDS": "5",
        }
    )
    environment.pop("INKWRIGHT_TOKEN", None)
    command = [sys.executable, "-m", "deploy.embedded"]
    return subprocess.Popen(command, env=environment, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True)


def wait_ready(supervisor: subprocess.Popen[str]) -> tuple[str, str]:
    """Address and token, once both lines are printed."""
    assert supervisor.stdout is not None
    said: dict[str, str] = {}
    deadline = time.monotonic() + START_SECONDS
    with selectors.DefaultSelector() as selector:
        selector.register(supervisor.stdout, selectors.EVENT_READ)
        while not {"address", "token"} <= said.keys():
            assert selector.select(max(0.0, deadline - time.monotonic())), f"not ready after {START_SECONDS} s; it said {said}"
            line = supervisor.stdout.readline()
            assert line, f"the supervisor ended with {supervisor.wait()}"
            word, _, rest = line.strip().partition(" ")
            said[word] = rest
    return said["address"], said["token"]


@pytest.fixture(scope="session")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Everything, started once for all tests; must leave no process behind."""
    home = tmp_path_factory.mktemp("home")
    folder = tmp_path_factory.mktemp("data")
    supervisor = start_supervisor(home, [folder])
    try:
        url, token = wait_ready(supervisor)
        yield Installation(url, token, home, folder, supervisor)
    finally:
        supervisor.send_signal(signal.SIGINT)
        supervisor.wait(STOP_SECONDS)
    assert processes_of(home) == {}
