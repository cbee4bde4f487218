"""Calls to other services: request id and deadline carried on, faults raised."""

import asyncio
import ipaddress
from collections.abc import AsyncIterator, Iterator
from typing import TypeVar

import grpc
from grpc_health.v1 import health_pb2

from libs.runtime import call_context
from libs.runtime.grpc_faults import fault_from_rpc_error
from libs.runtime.grpc_server import CHANNEL_OPTIONS
from libs.runtime.peer_channel import PeerChannel
from libs.runtime.tls import SERVER_NAME
from libs.runtime.trust import Credentials

DEFAULT_DEADLINE_SECONDS = 10.0
REFUSED_PAUSES_SECONDS = (0.0, 0.01, 0.05, 0.2)
"""Before a call that a stopping server refused is made again, by then to another replica; several may stop at the same moment."""

Req = TypeVar("Req")
Res = TypeVar("Res")


def connect(address: str, credentials: Credentials, *options: tuple[str, int | str]) -> grpc.aio.Channel:
    """A channel to ``host:port``; connects when first used and again, within 2 s, whenever the peer is back.

    Args:
        address: of the peer. Of several replicas: a name that stands for all of them, or ``127.0.0.1:1,127.0.0.1:2``; calls go to those
            that are there in turn.
        credentials: shown with each call.
        options: of the gRPC library, beside the house's own.
    """
    every = [
        *CHANNEL_OPTIONS,
        ("grpc.initial_reconnect_backoff_ms", 100),
        # In spite of its name how long an attempt to connect may take. A peer on a busy machine does not answer within 100 ms.
        ("grpc.min_reconnect_backoff_ms", 5000),
        ("grpc.max_reconnect_backoff_ms", 2000),
        *options,
    ]
    if not _is_one(address):
        every.append(("grpc.lb_policy_name", "round_robin"))
    target = f"ipv4:{address}" if "," in address else address
    if credentials.tls is None:
        return PeerChannel(grpc.aio.insecure_channel(target, options=every), credentials.token)
    named = [*every, ("grpc.ssl_target_name_override", SERVER_NAME)]
    return PeerChannel(grpc.aio.secure_channel(target, credentials.tls.channel_credentials(), options=named), credentials.token)


async def is_serving(channel: grpc.aio.Channel, *, within_seconds: float) -> bool:
    """Whether the health service of the peer says that it takes new work."""
    check = channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    try:
        reply = await check(health_pb2.HealthCheckRequest(), timeout=within_seconds)
    except grpc.RpcError:
        return False
    return bool(reply.status == health_pb2.HealthCheckResponse.SERVING)


def _is_one(address: str) -> bool:
    """Whether an address can be one server's alone: then a lost connection is made anew by the next call, not after a wait."""
    try:
        ipaddress.ip_address(address.rpartition(":")[0].strip("[]"))
    except ValueError:
        return address.startswith("localhost:")
    return True


async def call(
    method: grpc.aio.UnaryUnaryMultiCallable[Req, Res], request: Req, *, deadline_seconds: float | None = None, wait_for_ready: bool = False
) -> Res:
    """Call a method: ``dataset = await call(stub.GetDataset, request)``. What a stopping server refused is asked again.

    Args:
        method: of a stub on a channel made by ``connect``.
        request: its message.
        deadline_seconds: at most this long, and never longer than what is left to the call being answered; without it
            what is left to that call, or else 10 s.
        wait_for_ready: wait within the deadline for a peer that is not there yet, in place of failing at once.

    Raises:
        Fault: what the peer raised; ``NoReadyInstance`` when it cannot be reached, ``Expired`` after the deadline.
    """
    pauses = iter(REFUSED_PAUSES_SECONDS)
    while True:
        try:
            return await method(
                request,
                timeout=_timeout(deadline_seconds, DEFAULT_DEADLINE_SECONDS),
                metadata=_metadata(),
                wait_for_ready=wait_for_ready,
            )
        except grpc.RpcError as error:
            await _go_on_if_refused(error, method, pauses)


async def stream(
    method: grpc.aio.UnaryStreamMultiCallable[Req, Res], request: Req, *, deadline_seconds: float | None = None
) -> AsyncIterator[Res]:
    """The replies of a server-streaming method; leaving the loop early cancels the call.

    There is no deadline of its own: it lasts until ``deadline_seconds`` or the end of the call being answered.

    Raises:
        Fault: as ``call``.
    """
    pauses = iter(REFUSED_PAUSES_SECONDS)
    while True:
        running = method(request, timeout=_timeout(deadline_seconds, None), metadata=_metadata())
        try:
            async for reply in running:
                # Whoever has begun to answer has not refused.
                pauses = iter(())
                yield reply
            return
        except grpc.RpcError as error:
            await _go_on_if_refused(error, method, pauses)
        finally:
            running.cancel()


async def upload(
    method: grpc.aio.StreamUnaryMultiCallable[Req, Res], requests: AsyncIterator[Req], *, deadline_seconds: float | None = None
) -> Res:
    """Call a client-streaming method; without ``deadline_seconds`` it lasts as long as the call being answered.

    Raises:
        Fault: as ``call``.
    """
    try:
        return await method(requests, timeout=_timeout(deadline_seconds, None), metadata=_metadata())
    except grpc.RpcError as error:
        raise fault_from_rpc_error(error, _peer(method)) from error


async def _go_on_if_refused(error: grpc.RpcError, method: object, pauses: Iterator[float]) -> None:
    """Wait a moment after a refusal that may be passing.

    A server that stops takes no new calls, while some are under way to it that were sent before its callers heard of that. It resets
    them, without a word and before anything was done; calls that it breaks off in the middle end otherwise (UNAVAILABLE).

    Raises:
        Fault: it was no such refusal, or one too many.
    """
    was_refused = isinstance(error, grpc.aio.AioRpcError) and error.code() is grpc.StatusCode.CANCELLED and not error.trailing_metadata()
    pause = next(pauses, None) if was_refused else None
    if pause is None:
        raise fault_from_rpc_error(error, _peer(method)) from error
    await asyncio.sleep(pause)


def _timeout(wanted: float | None, default: float | None) -> float | None:
    remaining = call_context.remaining_seconds()
    if wanted is None:
        return default if remaining is None else remaining
    return wanted if remaining is None else min(wanted, remaining)


def _metadata() -> tuple[tuple[str, str], ...]:
    request_id = call_context.request_id.get() or call_context.new_request_id()
    traceparent = call_context.traceparent.get()
    trace = ((call_context.TRACEPARENT_KEY, traceparent),) if traceparent else ()
    return ((call_context.REQUEST_ID_KEY, request_id), *trace)


def _peer(method: object) -> str:
    # "/inkwright.dataset.v1.DatasetService/GetDataset" -> "dataset".
    path = str(getattr(method, "path", ""))
    package = path.strip("/").split(".")
    return package[1] if package[0] == "inkwright" and len(package) > 2 else path or "called"
