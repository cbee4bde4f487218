"""What tests need: a real nats-server, free ports, waiting without sleeping."""

import asyncio
import contextlib
import inspect
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, overload

from libs.runtime.child import Child
from libs.runtime.nats_binary import nats_server_path, write_config

T = TypeVar("T")


def free_port() -> int:
    """A TCP port on 127.0.0.1 that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@overload
async def assert_eventually(check: Callable[[], Awaitable[T]], timeout_seconds: float = 10.0) -> T: ...
@overload
async def assert_eventually(check: Callable[[], T], timeout_seconds: float = 10.0) -> T: ...
async def assert_eventually(check: Callable[[], object], timeout_seconds: float = 10.0) -> object:
    """Call ``check`` every 20 ms until it neither raises ``AssertionError`` nor returns ``False``, and give its value.

    Args:
        check: a function, plain or async, with asserts inside or returning a truth.
        timeout_seconds: after this the last failure is the test's.

    Raises:
        AssertionError: it never held.
    """
    end = time.monotonic() + timeout_seconds
    while True:
        try:
            result = check()
            value = await result if inspect.isawaitable(result) else result
            assert value is not False, f"{getattr(check, '__name__', 'the check')} stayed false for {timeout_seconds} s"
            return value
        except AssertionError:
            if time.monotonic() > end:
                raise
        await asyncio.sleep(0.02)


@dataclass
class NatsServer:
    """A nats-server of a test."""

    url: str
    port: int
    folder: Path
    child: Child

    async def kill(self) -> None:
        """kill -9."""
        await self.child.terminate(0)

    async def start(self) -> None:
        """Start (again) with the same port and store; returns when it takes connections."""
        config = write_config(self.folder / "nats.conf", port=self.port, store=self.folder / "store")
        self.child = await Child.start([nats_server_path(), "-c", str(config)], name="nats-server", log_line=lambda _line: None)
        await assert_eventually(lambda: can_connect(self.port))


@asynccontextmanager
async def nats_server(folder: Path) -> AsyncIterator[NatsServer]:
    """A real server with JetStream on a free port; its state lies in ``folder``."""
    port = free_port()
    server = NatsServer.__new__(NatsServer)
    server.url, server.port, server.folder = f"nats://127.0.0.1:{port}", port, folder
    await server.start()
    try:
        yield server
    finally:
        await server.child.terminate()


def can_connect(port: int) -> bool:
    """Whether something listens on 127.0.0.1:port."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
