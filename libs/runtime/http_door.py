"""uvicorn as a door of the process: bound when it says so, stopped when it is told."""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Generator
from typing import Any

import uvicorn

from libs.runtime.logs import get_logger

log = get_logger()

BACKLOG = 1024


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        # Signals belong to run_service, which takes everything down in order.
        yield


class HttpDoor:
    """A ``Door`` of ``libs.runtime.service``.

    Args:
        app: what answers, an ASGI application.
        address: ``host:port``; port 0 picks a free one.
        stopping: set when no new work is wanted; streams that would last for ever end by it.
        name: for logs.
    """

    def __init__(self, app: Callable[..., Any], address: str, stopping: asyncio.Event, *, name: str = "http") -> None:
        self.name = name
        self.address = address
        self._stopping = stopping
        config = uvicorn.Config(
            app,
            http="httptools",
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=False,
            # Without it a request that was sent ahead begins in the context of the one before: with its caller.
            reset_contextvars=True,
        )
        self._server = _Server(config)
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Bind and serve; ``address`` then holds the real port.

        Raises:
            OSError: the address cannot be bound.
        """
        host, _, port = self.address.rpartition(":")
        try:
            listener = socket.create_server((host, int(port)), backlog=BACKLOG, reuse_port=False)
        except OSError as error:
            raise OSError(
                f"{self.address} cannot be bound for {self.name} ({error.strerror}); another process may hold the port"
            ) from error
        listener.setblocking(False)
        self.address = f"{host}:{listener.getsockname()[1]}"
        self._serving = asyncio.create_task(self._server.serve(sockets=[listener]), name=self.name)
        await self._server.listening.wait()
        log.info("http_serving", door=self.name, address=self.address)

    async def stop_serving(self) -> None:
        """``/healthz`` turns to 503 and event streams end; requests are still answered."""
        self._stopping.set()

    async def stop(self, grace_seconds: float) -> None:
        """Close the port, let running requests finish within the grace, cancel the rest."""
        if self._serving is None:
            return
        self._stopping.set()
        self._server.config.timeout_graceful_shutdown = max(1, round(grace_seconds)) if grace_seconds else 0
        self._server.should_exit = True
        await self._serving
        self._serving = None
