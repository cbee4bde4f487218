"""Request bodies, read no further than their limit."""

from collections.abc import AsyncIterator

from starlette.requests import Request

from libs.runtime.errors import TooLarge


async def limited_chunks(request: Request, max_bytes: int) -> AsyncIterator[bytes]:
    """The body in the pieces it comes in; what lies beyond the limit is never held.

    Raises:
        TooLarge: more than ``max_bytes``, announced or sent. The server throws the rest away.
        ClientDisconnect: the caller went away.
    """
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > max_bytes:
        raise _too_large(max_bytes)
    size_bytes = 0
    async for chunk in request.stream():
        size_bytes += len(chunk)
        if size_bytes > max_bytes:
            raise _too_large(max_bytes)
        if chunk:
            yield chunk


async def read_limited(request: Request, max_bytes: int) -> bytes:
    """The whole body; faults as ``limited_chunks``."""
    return b"".join([chunk async for chunk in limited_chunks(request, max_bytes)])


def _too_large(max_bytes: int) -> TooLarge:
    return TooLarge(f"The body has more than {max_bytes} bytes; send less.", max_bytes=max_bytes)
