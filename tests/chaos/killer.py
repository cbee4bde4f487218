"""Killing processes of an installation, at points of their code or wherever they are, while somebody waits for an answer."""

import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from libs.client.rest import ApiError, Unreachable
from tests.integration.processes import mentioning

KILL_SECONDS: Final = 30.0
RECOVER_SECONDS: Final = 60.0
LOOK_SECONDS: Final = 0.05
ANYWHERE: Final = "anywhere"
MARKS: Final = {
    "nats": "nats-server",
    "gateway": "gateway.main",
    "instance": "services.inference.instance ",
    "node": "services.trainer.node_main",
} | {service: f"services.{service}.main" for service in ("dataset", "labeling", "trainer", "inference")}
"""What tells a process by its command line; ``node`` is the child that trains, ``instance`` the one that reads."""


@dataclass(frozen=True)
class Kill:
    """One kill that landed.

    Args:
        process: which.
        point: where.
        num_in_flight: calls that had no answer yet.
        restarted_seconds: until another process had taken its place.
        recovered_seconds: until a call that needs the process succeeded again.
    """

    process: str
    point: str
    num_in_flight: int
    restarted_seconds: float
    recovered_seconds: float


class Killer:
    """Kills with SIGKILL.

    Args:
        home: of the installation.
        chaos: where points are armed.
        chance: which of several is hit.
        num_in_flight: calls that wait for an answer.
    """

    def __init__(self, home: Path, chaos: Path, chance: random.Random, num_in_flight: Callable[[], int]) -> None:
        self._home = home
        self._chaos = chaos
        self._chance = chance
        self._num_in_flight = num_in_flight

    def kill(self, process: str, point: str, *, answers: Callable[[], bool]) -> Kill | None:
        """Kill a process and wait until it is back; ``None`` when nobody came by in time or nothing was in flight.

        Raises:
            TimeoutError: it did not come back.
        """
        before = self.pids(process)
        landed = self._hit(process) if point == ANYWHERE else self._wait_for(process, point)
        if not landed:
            return None
        num_in_flight, began = self._num_in_flight(), time.monotonic()
        eventually(lambda: bool(self.pids(process) - before), RECOVER_SECONDS)
        restarted = time.monotonic() - began
        eventually(answers, RECOVER_SECONDS)
        return Kill(process, point, num_in_flight, restarted, time.monotonic() - began) if num_in_flight else None

    def pids(self, process: str) -> set[int]:
        """Living processes of that kind."""
        return {pid for pid, command in mentioning(f"INKWRIGHT_HOME={self._home}").items() if MARKS[process] in command}

    def _hit(self, process: str) -> bool:
        end = time.monotonic() + KILL_SECONDS
        while time.monotonic() < end:
            there = sorted(self.pids(process))
            if there and self._num_in_flight():
                try:
                    os.kill(self._chance.choice(there), signal.SIGKILL)
                except ProcessLookupError:
                    continue
                return True
            time.sleep(LOOK_SECONDS)
        return False

    def _wait_for(self, process: str, point: str) -> bool:
        armed = self._chaos / f"{process}.{point}"
        armed.touch()
        try:
            eventually(lambda: not armed.exists(), KILL_SECONDS)
        except TimeoutError:
            try:
                armed.unlink()
            except FileNotFoundError:
                return True
            return False
        return True


def eventually(check: Callable[[], bool], seconds: float) -> None:
    """Wait until ``check`` holds; a refusal or no answer counts as not yet.

    Raises:
        TimeoutError: it never did.
    """
    end = time.monotonic() + seconds
    while True:
        reason = "it is not so"
        try:
            if check():
                return
        except (ApiError, Unreachable) as error:
            reason = str(error)
        if time.monotonic() > end:
            raise TimeoutError(reason)
        time.sleep(LOOK_SECONDS)
