"""Is it up? One quick question for each kind of process."""

import asyncio

import grpc

from libs.runtime.grpc_client import is_serving
from libs.runtime.tls import SERVER_NAME, Tls

ANSWER_SECONDS = 2.0


async def nats(port: int) -> bool:
    """Whether a nats-server greets on 127.0.0.1:port."""
    return (await _first_line("127.0.0.1", port, b"")).startswith(b"INFO ")


async def http(address: str, path: str) -> bool:
    """Whether ``GET path`` at ``host:port`` is answered with 200."""
    host, _, port = address.rpartition(":")
    request = f"GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n".encode()
    return b" 200 " in await _first_line(_reachable(host), int(port), request)


async def grpc_service(address: str, tls: Tls | None = None) -> bool:
    """Whether the gRPC health service at ``host:port`` says SERVING."""
    host, _, port = address.rpartition(":")
    async with _channel(f"{_reachable(host)}:{port}", tls) as channel:
        return await is_serving(channel, within_seconds=ANSWER_SECONDS)


def _channel(target: str, tls: Tls | None) -> grpc.aio.Channel:
    if tls is None:
        return grpc.aio.insecure_channel(target)
    return grpc.aio.secure_channel(target, tls.channel_credentials(), [("grpc.ssl_target_name_override", SERVER_NAME)])


async def _first_line(host: str, port: int, request: bytes) -> bytes:
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(request)
                return await reader.readline()
            finally:
                writer.close()
    except (OSError, ValueError, TimeoutError):
        return b""


def _reachable(host: str) -> str:
    """A server bound to every interface is asked on the loopback."""
    return "127.0.0.1" if host in ("0.0.0.0", "::", "[::]") else host
