"""Starts processes, starts again what dies, stops them in order."""

import asyncio
import re
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson

from deploy.embedded.log_file import LogFile
from deploy.embedded.processes import Process, Stage
from libs.runtime import cannot_start
from libs.runtime.cannot_start import CannotStart
from libs.runtime.child import Child, Exit
from libs.runtime.logs import get_logger

log = get_logger()

START_SECONDS = 120.0
MAX_EARLY_DEATHS = 3
FIRST_RESTART_SECONDS = 0.5
MAX_RESTART_SECONDS = 30.0
STABLE_SECONDS = 10.0
"""A process that lived so long is restarted with the first, short delay again."""
POLL_SECONDS = 0.1
ROOM_POLL_SECONDS = 1.0
EXTRA_GRACE_SECONDS = 5.0
SHOWN_LINES = 20

_NATS_PROBLEM = re.compile(r"\[(WRN|ERR|FTL)\]")


class Minder:
    """Keeps one process alive until told to stop."""

    def __init__(self, process: Process, env: Mapping[str, str], logs: Path) -> None:
        self.process = process
        self.healthy = asyncio.Event()
        """Set when it was healthy for the first time."""
        self.num_deaths = 0
        self.last_exit: Exit | None = None
        self.task: asyncio.Task[None] | None = None
        self._env = {**env, **process.env}
        self.log_path = logs / f"{process.name}.log"
        self._child: Child | None = None
        self._stopping = asyncio.Event()
        self._grace_seconds = 0.0

    def start(self) -> None:
        """Start it, and again whenever it dies."""
        self.task = asyncio.create_task(self._mind(), name=self.process.name)

    async def stop(self, grace_seconds: float) -> None:
        """Ask it to end, wait for the grace, then kill it and its group."""
        self._grace_seconds = grace_seconds
        self._stopping.set()
        if self.task is not None:
            await asyncio.wait([self.task])
            log.info("process_stopped", process=self.process.name, how=str(self.last_exit))

    def kill(self) -> None:
        """Cut the wait of a running ``stop`` short."""
        if self._child is not None:
            self._child.kill()

    async def _mind(self) -> None:
        delay = FIRST_RESTART_SECONDS
        with closing(LogFile(self.log_path)) as log_file:
            while True:
                began = time.monotonic()
                self.last_exit = await self._live_once(log_file)
                if self._stopping.is_set():
                    return
                self.num_deaths += 1
                if time.monotonic() - began > STABLE_SECONDS:
                    delay = FIRST_RESTART_SECONDS
                log.error(
                    "process_died",
                    process=self.process.name,
                    how=str(self.last_exit),
                    restart_in_seconds=delay,
                    last_lines="\n".join(last_words(self.last_exit)),
                )
                if await _set_within(self._stopping, delay):
                    return
                delay = min(delay * 2, MAX_RESTART_SECONDS)

    async def _live_once(self, log_file: LogFile) -> Exit:
        name = self.process.name

        stuck = asyncio.Event()

        def on_line(line: str) -> None:
            log_file.write(line)
            problem = _problem(line)
            if problem is not None:
                log.warning("process_reports", process=name, **problem)
            if self.process.is_stuck(line):
                stuck.set()

        async def copy_events(child: Child) -> None:
            async for event in child.events():
                on_line(orjson.dumps(event).decode())

        child = await Child.start(self.process.argv, name=name, env=self._env, log_line=on_line)
        self._child = child
        exited = asyncio.create_task(child.wait(), name=f"exit-{name}")
        stopping = asyncio.create_task(self._stopping.wait(), name=f"stop-{name}")
        copying = asyncio.create_task(copy_events(child), name=f"output-{name}")
        watching = asyncio.create_task(self._watch_health(), name=f"health-{name}")
        freeing = asyncio.create_task(self._free(child, stuck), name=f"free-{name}")
        try:
            await asyncio.wait([exited, stopping], return_when=asyncio.FIRST_COMPLETED)
            if stopping.done():
                await child.terminate(self._grace_seconds)
            return await exited
        finally:
            # What it wrote last is still in the pipe.
            await asyncio.wait([copying], timeout=1)
            for task in (exited, stopping, copying, watching, freeing):
                task.cancel()

    async def _free(self, child: Child, stuck: asyncio.Event) -> None:
        """End a process that cannot go on by itself, as soon as a fresh one could; it is then started like any that died."""
        await stuck.wait()
        while True:
            if self.process.can_go_on():
                log.warning("process_freed", process=self.process.name)
                await child.terminate(EXTRA_GRACE_SECONDS)
                return
            await asyncio.sleep(ROOM_POLL_SECONDS)

    async def _watch_health(self) -> None:
        began = time.monotonic()
        while True:
            if await self.process.is_healthy():
                log.info("process_healthy", process=self.process.name, seconds=round(time.monotonic() - began, 2))
                self.healthy.set()
                return
            await asyncio.sleep(POLL_SECONDS)


class Supervisor:
    """All processes of an installation.

    Args:
        processes: the table.
        env: for each of them.
        logs: folder of their log files.
        grace_seconds: what the processes give to work that has begun.
    """

    def __init__(self, processes: Sequence[Process], *, env: Mapping[str, str], logs: Path, grace_seconds: float) -> None:
        self._minders = [Minder(process, env, logs) for process in processes]
        self._grace_seconds = grace_seconds + EXTRA_GRACE_SECONDS

    async def start(self) -> None:
        """Start the bus, then all the rest at once; returns when everything is healthy.

        Raises:
            CannotStart: a process said that it cannot start, died three times, or was not healthy in 120 s.
        """
        bus = [minder for minder in self._minders if minder.process.stage is Stage.BUS]
        rest = [minder for minder in self._minders if minder.process.stage is not Stage.BUS]
        for minders in (bus, rest):
            for minder in minders:
                minder.start()
            await asyncio.gather(*(self._until_healthy(minder) for minder in minders))

    async def watch(self) -> None:
        """Return only by an error in the supervisor itself."""
        # Not gather: cancelling it would cancel the minders, and their processes would not be stopped politely.
        done, _ = await asyncio.wait([minder.task for minder in self._minders if minder.task], return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()

    async def stop(self, firm: asyncio.Event) -> None:
        """Stop politely, stage by stage from the gateway to the bus; ``firm`` cuts all waiting short."""
        for stage in sorted(Stage, reverse=True):
            minders = [minder for minder in self._minders if minder.process.stage is stage]
            await asyncio.gather(*(self._stop(minder, firm) for minder in minders))

    async def _stop(self, minder: Minder, firm: asyncio.Event) -> None:
        polite = asyncio.create_task(minder.stop(0 if firm.is_set() else self._grace_seconds))
        hurry = asyncio.create_task(firm.wait())
        await asyncio.wait([polite, hurry], return_when=asyncio.FIRST_COMPLETED)
        if not polite.done():
            minder.kill()
        hurry.cancel()
        await polite

    async def _until_healthy(self, minder: Minder) -> None:
        name, end = minder.process.name, time.monotonic() + START_SECONDS
        while not minder.healthy.is_set():
            last = minder.last_exit
            if last is not None and (last.code == cannot_start.EXIT_CODE or minder.num_deaths >= MAX_EARLY_DEATHS):
                lines = "\n".join(f"  {line}" for line in last_words(last))
                raise CannotStart(f"{name} cannot start ({last}); all it said is in {minder.log_path}. The last of it:\n{lines}")
            if time.monotonic() > end:
                raise CannotStart(f"{name} was not ready within {START_SECONDS:.0f} s; what it said is in {minder.log_path}.")
            await asyncio.sleep(POLL_SECONDS)


async def _set_within(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            return await event.wait()
    except TimeoutError:
        return False


def last_words(last: Exit) -> list[str]:
    """What a process said before it ended, as far as it may say why: for people, without tracebacks of its own."""
    return [_in_short(line) for line in last.stderr_tail if _is_telling(line)][-SHOWN_LINES:]


def _in_short(line: str) -> str:
    problem = _problem(line) or {}
    said = problem.get("reason") or problem.get("error")
    return f"{problem['what']}: {said}" if "what" in problem and said else line


def _is_telling(line: str) -> bool:
    """Whether a line may say why a process died: all but the log lines of a process that does well."""
    return _problem(line) is not None or not line.startswith("{")


def _problem(line: str) -> dict[str, Any] | None:
    """The fields of a line that reports trouble; ``None`` for every other line."""
    if _NATS_PROBLEM.search(line):
        return {"line": line}
    try:
        fields = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(fields, dict) or fields.get("level") not in ("warning", "error", "critical"):
        return None
    return {("what" if key == "event" else key): value for key, value in fields.items() if key not in ("time", "service")}
