"""An installation of its own: free ports, an empty home, stopped at the end. The demo and the end-to-end tests run on one."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from libs.client.inkwright import Inkwright
from libs.client.rest import RestClient
from libs.runtime.child import tied_to_this_process

START_SECONDS = 120
STOP_SECONDS = 40
SERVICES = ("DATASET", "LABELING", "TRAINER", "INFERENCE", "GATEWAY")


@dataclass(frozen=True)
class Running:
    """An installation that takes calls.

    Args:
        url: of the gateway.
        token: for management calls.
        home: where its state lies.
        client: with that token.
        supervisor: the process above all others.
    """

    url: str
    token: str
    home: Path
    client: Inkwright
    supervisor: "subprocess.Popen[str]"


@contextmanager
def installation(home: Path, root: Path, *, env: Mapping[str, str] | None = None) -> Iterator[Running]:
    """Start everything, as ``make run`` does, and stop it at the end.

    Args:
        home: where its state goes.
        root: the one folder data sets may lie in.
        env: settings beside those.

    Raises:
        RuntimeError: it did not start; what it said is on stderr and in ``home/logs``.
    """
    own = {f"INKWRIGHT_{service}_ADDRESS": "127.0.0.1:0" for service in SERVICES} | {
        "INKWRIGHT_HOME": str(home),
        "INKWRIGHT_ROOTS": str(root),
        "INKWRIGHT_NATS_URL": "nats://127.0.0.1:0",
    }
    inherited = {name: value for name, value in os.environ.items() if name != "INKWRIGHT_TOKEN"}
    command = tied_to_this_process([sys.executable, "-m", "deploy.embedded"])
    supervisor = subprocess.Popen(command, env=inherited | own | dict(env or {}), stdout=subprocess.PIPE, text=True)
    try:
        said = _announcement(supervisor, home)
        rest = RestClient(said["address"], said["token"])
        try:
            yield Running(said["address"], said["token"], home, Inkwright(rest), supervisor)
        finally:
            rest.close()
    finally:
        supervisor.send_signal(signal.SIGINT)
        supervisor.wait(STOP_SECONDS)
        if supervisor.stdout is not None:
            supervisor.stdout.close()


def _announcement(supervisor: "subprocess.Popen[str]", home: Path) -> dict[str, str]:
    """The lines ``address …`` and ``token …``, by their first word."""
    assert supervisor.stdout is not None
    said: dict[str, str] = {}
    too_late = threading.Timer(START_SECONDS, supervisor.terminate)
    too_late.start()
    try:
        for line in supervisor.stdout:
            word, _, rest = line.strip().partition(" ")
            said[word] = rest
            if {"address", "token"} <= said.keys():
                return said
    finally:
        too_late.cancel()
    raise RuntimeError(f"Inkwright did not start within {START_SECONDS} s; look into {home / 'logs'}.")
