"""The listener that shows a process's metrics to Prometheus, to nobody without the token."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest

from libs.runtime.logs import get_logger
from libs.runtime.metrics import PROBE_FAILURES
from libs.runtime.secrets import same
from libs.runtime.settings import ServiceSettings

if TYPE_CHECKING:
    from libs.runtime.http_door import HttpDoor

log = get_logger()

PROBE_SECONDS = 3.0
"""How long one look at a database or the bus may hold up a scrape."""

Probe = Callable[[], Awaitable[None]]
"""Brings some gauges up to date; called at each scrape."""
Page = Callable[[], Awaitable[tuple[str, bytes]]]
"""Content type and body of something else that the listener shows."""


def metrics_doors(settings: ServiceSettings, probes: Mapping[str, Probe], pages: Mapping[str, Page] | None = None) -> "list[HttpDoor]":
    """The listener of this process for ``Service(doors=…)``; none where no address is set.

    Args:
        settings: of the service; they refuse an address without a token.
        probes: by name.
        pages: what else is shown, by path.
    """
    token = settings.metrics_token.get_secret_value() if settings.metrics_token else ""
    return listener(settings.metrics_address, token, probes, pages)


def listener(address: str, token: str, probes: Mapping[str, Probe], pages: Mapping[str, Page] | None = None) -> "list[HttpDoor]":
    """As ``metrics_doors``, for processes without settings of their own."""
    if not address:
        return []
    if not token:
        raise ValueError("metrics are shown to nobody without a token")
    # The server is loaded only where it is wanted: an instance should stay small.
    from libs.runtime.http_door import HttpDoor

    async def metrics() -> tuple[str, bytes]:
        await asyncio.gather(*(_look(name, probe) for name, probe in probes.items()))
        return CONTENT_TYPE_LATEST, generate_latest(REGISTRY)

    return [HttpDoor(_Listener(token, {"/metrics": metrics, **(pages or {})}), address, asyncio.Event(), name="metrics")]


async def _look(name: str, probe: Probe) -> None:
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            await probe()
    except Exception as error:  # noqa: BLE001 - what is away must not hide the numbers that are there
        PROBE_FAILURES.labels(name).inc()
        log.warning("metrics_probe_failed", probe=name, error=repr(error))


class _Listener:
    """The ASGI application: one token, a few pages."""

    def __init__(self, token: str, pages: Mapping[str, Page]) -> None:
        self._token = token
        self._pages = pages

    async def __call__(self, scope: dict[str, Any], receive: object, send: Callable[[dict[str, Any]], Awaitable[None]]) -> None:
        """See ASGI."""
        headers: Sequence[tuple[bytes, bytes]] = scope["headers"]
        given = next((value.decode("latin-1") for name, value in headers if name == b"authorization"), "")
        kind, body = "text/plain; charset=utf-8", b""
        if not same(given, f"Bearer {self._token}"):
            status, body = 401, b"Send `Authorization: Bearer` with INKWRIGHT_METRICS_TOKEN.\n"
        elif scope["path"] not in self._pages or scope["method"] != "GET":
            status, body = 404, f"GET {', '.join(self._pages)}\n".encode()
        else:
            status = 200
            kind, body = await self._pages[scope["path"]]()
        answer = [(b"content-type", kind.encode()), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": answer})
        await send({"type": "http.response.body", "body": body})
