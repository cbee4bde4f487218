"""uvicorn as a door: what one request knows is not the next one's."""

import asyncio
from contextvars import ContextVar

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from libs.runtime.http_door import HttpDoor

known: ContextVar[str] = ContextVar("known", default="nobody")


async def tell(request: Request) -> PlainTextResponse:
    """Who was known before; from now on it is the one in the path."""
    before = known.get()
    known.set(request.path_params["who"])
    return PlainTextResponse(f"[{before}]")


async def test_a_request_that_is_sent_ahead_begins_knowing_nobody() -> None:
    door = HttpDoor(Starlette(routes=[Route("/{who}", tell)]), "127.0.0.1:0", asyncio.Event())
    await door.start()
    host, _, port = door.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    ahead = b"".join(f"GET /{who} HTTP/1.1\r\nHost: x\r\n\r\n".encode() for who in ("ann", "bob", "eve"))
    writer.write(ahead + b"GET /end HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    said = (await reader.read()).decode()
    writer.close()
    await door.stop(1)
    assert said.count("[nobody]") == 4
