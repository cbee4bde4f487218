"""A whole installation, as `make run` starts it, on free ports and an empty home."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from libs.client.inkwright import Inkwright
from libs.demo.installation import Running, installation


@dataclass(frozen=True)
class Installation:
    """One that runs; the tests share it."""

    running: Running
    folder: Path
    """Below the allowed roots: data sets of the tests lie here."""

    @property
    def client(self) -> Inkwright:
        """A client with the management token."""
        return self.running.client

    def inkctl(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run the command line as a person would."""
        environment = os.environ | {"INKWRIGHT_URL": self.running.url, "INKWRIGHT_TOKEN": self.running.token, "COLUMNS": "160"}
        command = [sys.executable, "-c", "from libs.client.cli import main; main()", *arguments]
        return subprocess.run(command, env=environment, input=stdin, capture_output=True, text=True, timeout=300, check=False)

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


@pytest.fixture(scope="session")
def inkwright(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Everything, started once for all tests; must leave no process behind."""
    home = tmp_path_factory.mktemp("home")
    folder = tmp_path_factory.mktemp("data")
    with installation(
        home, folder, env={"INKWRIGHT_INFERENCE_SUGGESTION_IDLE_SECONDS": "5", "INKWRIGHT_TRAINER_MAX_TRAINING_SECONDS": "20"}
    ) as running:
        yield Installation(running, folder)
    assert processes_of(home) == {}
