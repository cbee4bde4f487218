"""Child processes: orders as JSON on stdin, JSON lines back, dead when their parent is."""

import asyncio
import contextlib
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process, SubprocessStreamProtocol
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import orjson

from libs.runtime.logs import get_logger

log = get_logger()

MAX_LINE_BYTES = 16 * 1024 * 1024
KEPT_STDERR_LINES = 200

_LIFELINE = str(Path(__file__).with_name("lifeline.py"))
_PIPE_GRACE_SECONDS = 1.0


@dataclass(frozen=True)
class Exit:
    """How a child ended."""

    code: int | None
    """Exit code; ``None`` when a signal ended it."""
    signal_name: str | None
    """``SIGKILL`` …; ``None`` when it exited by itself."""
    stderr_tail: tuple[str, ...]
    """Its last lines on stderr."""

    @property
    def ok(self) -> bool:
        """Whether it exited with code 0."""
        return self.code == 0

    def __str__(self) -> str:
        return f"killed by {self.signal_name}" if self.signal_name else f"exit code {self.code}"


def tied_to_this_process(argv: Sequence[str]) -> list[str]:
    """The command line that runs ``argv`` so that it cannot outlive the calling process."""
    return [sys.executable, "-I", "-S", _LIFELINE, str(os.getpid()), "--", *argv]


class Child:
    """A running child, leader of its own process group. Made by ``start``.

    Read ``events`` to their end: a child whose output nobody reads stands still when the pipe is full.
    """

    def __init__(
        self,
        name: str,
        process: Process,
        transport: asyncio.SubprocessTransport,
        ended: asyncio.Event,
        log_line: Callable[[str], None] | None,
    ) -> None:
        self.name = name
        self.pid = process.pid
        self.exit: Exit | None = None
        """Set once it has ended and ``wait`` or ``terminate`` returned."""
        self._process = process
        self._transport = transport
        self._ended = ended
        self._log_line = log_line or self._log
        self._stderr: deque[str] = deque(maxlen=KEPT_STDERR_LINES)
        self._stderr_reader = asyncio.create_task(self._read_stderr(), name=f"stderr-{name}")

    @classmethod
    async def start(
        cls,
        argv: Sequence[str],
        *,
        name: str,
        orders: Mapping[str, Any] | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        log_line: Callable[[str], None] | None = None,
    ) -> Self:
        """Start a program: ``Child.start([sys.executable, "-m", "services.trainer.node"], name="node", orders={…})``.

        Args:
            argv: the program and its arguments; no shell.
            name: for logs.
            orders: first line on its stdin; without orders stdin is closed at once.
            env: added to this process's environment.
            cwd: its working folder.
            log_line: gets each line of stderr and each line of stdout that is no JSON object; default: our log.
        """
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.subprocess_exec(
            lambda: _Protocol(limit=MAX_LINE_BYTES, loop=loop),
            # -I -S: no site packages, no folder of ours on the path. The launcher needs only the standard library.
            *tied_to_this_process(argv),
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            env={**os.environ, **(env or {})},
            cwd=cwd,
            start_new_session=True,
        )
        child = cls(name, Process(transport, protocol, loop), transport, protocol.ended, log_line)
        if orders is None:
            child.close_stdin()
        else:
            await child.send(orders)
        return child

    async def send(self, order: Mapping[str, Any]) -> None:
        """Write one JSON line to its stdin; lost without a word when it has ended."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._process.stdin.write(orjson.dumps(order, default=str) + b"\n")
            await self._process.stdin.drain()

    def close_stdin(self) -> None:
        """End its orders."""
        assert self._process.stdin is not None
        self._process.stdin.close()

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        """Its JSON objects, one a line, until it closes stdout; other lines become log lines."""
        assert self._process.stdout is not None
        async for line in _lines(self._process.stdout):
            try:
                event = orjson.loads(line)
            except orjson.JSONDecodeError:
                event = None
            if isinstance(event, dict):
                yield event
            elif line.strip():
                self._log_line(line.decode(errors="replace").rstrip())

    async def wait(self) -> Exit:
        """Wait for its end, then end whatever is left of its group."""
        await self._ended.wait()
        self._signal(signal.SIGKILL)
        if self.exit is None:
            # With the group gone its pipes close. Whoever left the group and still holds one is not worth waiting for.
            await asyncio.wait([self._stderr_reader], timeout=_PIPE_GRACE_SECONDS)
            self._stderr_reader.cancel()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PIPE_GRACE_SECONDS):
                    await self._process.wait()
            self._transport.close()
            code = self._process.returncode
            assert code is not None
            ended_by = signal.Signals(-code).name if code < 0 else None
            self.exit = Exit(None if code < 0 else code, ended_by, tuple(self._stderr))
        return self.exit

    async def terminate(self, grace_seconds: float = 3.0) -> Exit:
        """Ask the whole group to end, wait for the grace, then kill it. May be called twice."""
        if not self._ended.is_set():
            self._signal(signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace_seconds):
                    await self._ended.wait()
            self._signal(signal.SIGKILL)
        return await self.wait()

    def kill(self) -> None:
        """kill -9 of the whole group, without waiting."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    async def _read_stderr(self) -> None:
        assert self._process.stderr is not None
        async for line in _lines(self._process.stderr):
            text = line.decode(errors="replace").rstrip()
            self._stderr.append(text)
            self._log_line(text)

    def _log(self, line: str) -> None:
        log.info("child_line", child=self.name, line=line)


class _Protocol(SubprocessStreamProtocol):
    """Says when the process itself has ended; the library's own ``wait`` also waits until nobody holds its pipes."""

    def __init__(self, limit: int, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(limit=limit, loop=loop)
        self.ended = asyncio.Event()

    def process_exited(self) -> None:
        """See ``asyncio.SubprocessProtocol``."""
        super().process_exited()
        self.ended.set()


async def _lines(stream: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while True:
        try:
            line = await stream.readline()
        except ValueError:
            # Longer than the limit; the reader has dropped what it held of it.
            yield b"(a line of more than 16 MiB was dropped)"
            continue
        if not line:
            return
        yield line
