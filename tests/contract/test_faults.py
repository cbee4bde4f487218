"""The fault table: every fault has one gRPC status, and nothing of it is lost between two processes."""

import asyncio
import errno
import importlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, wrappers_pb2
from google.protobuf.wrappers_pb2 import StringValue

from inkwright.common.v1 import errors_pb2, permission_pb2
from libs.runtime import call_context, errors, grpc_faults
from libs.runtime.errors import Fault, all_faults
from libs.runtime.grpc_client import call, connect, stream
from libs.runtime.grpc_faults import code_of
from libs.runtime.grpc_server import GrpcServer
from libs.runtime.testing import free_port
from tests.trust import CREDENTIALS, TRUST

ROOT = Path(__file__).parents[2]

TABLE = {
    errors.InvalidInput: "INVALID_ARGUMENT",
    errors.TooLarge: "INVALID_ARGUMENT",
    errors.ImageUndecodable: "INVALID_ARGUMENT",
    errors.Unauthenticated: "UNAUTHENTICATED",
    errors.Forbidden: "PERMISSION_DENIED",
    errors.NotFound: "NOT_FOUND",
    errors.AlreadyExists: "ALREADY_EXISTS",
    errors.Conflict: "ABORTED",
    errors.WrongState: "FAILED_PRECONDITION",
    errors.QueueFull: "RESOURCE_EXHAUSTED",
    errors.RateLimited: "RESOURCE_EXHAUSTED",
    errors.Expired: "DEADLINE_EXCEEDED",
    errors.Gone: "OUT_OF_RANGE",
    errors.NoReadyInstance: "UNAVAILABLE",
    errors.ForwardFailed: "INTERNAL",
    errors.Internal: "INTERNAL",
}


class PageTorn(errors.Conflict):
    """A leaf with a constructor of its own, as services write them."""

    # No other leaf has this reason: which of two comes back would depend on what was imported.
    reason = "ERROR_REASON_UNSPECIFIED"

    def __init__(self, page: int) -> None:
        super().__init__(f"Page {page} is torn; scan it again.", page=page)


class Server:
    """One unary and one streaming method that raise what the test put in."""

    def __init__(self) -> None:
        self.error: Exception = errors.Internal("unset")
        self.seen_request_id: str | None = None
        self.seen_remaining: float | None = None

    async def say(self, request: StringValue, _context: Any) -> StringValue:
        self.seen_request_id = call_context.request_id.get()
        self.seen_remaining = call_context.remaining_seconds()
        if request.value == "hello":
            return StringValue(value="hello")
        if request.value == "sleep":
            await asyncio.sleep(60)
        raise self.error

    async def count(self, request: StringValue, _context: Any) -> AsyncIterator[StringValue]:
        for number in range(2):
            yield StringValue(value=str(number))
        if request.value != "hello":
            raise self.error

    def add(self, _servicer: object, server: grpc.aio.Server) -> None:
        handlers = {
            "Say": grpc.unary_unary_rpc_method_handler(self.say, StringValue.FromString, StringValue.SerializeToString),
            "Count": grpc.unary_stream_rpc_method_handler(self.count, StringValue.FromString, StringValue.SerializeToString),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("inkwright.echo.v1.EchoService", handlers),))


def annotated_echo() -> None:
    """Let the protos know the service above: a method that carries no permission is nobody's."""
    file = descriptor_pb2.FileDescriptorProto(name="echo.proto", package="inkwright.echo.v1", syntax="proto3")
    file.dependency.append("google/protobuf/wrappers.proto")
    service = file.service.add(name="EchoService")
    for name, streams in (("Say", False), ("Count", True)):
        text = ".google.protobuf.StringValue"
        method = service.method.add(name=name, input_type=text, output_type=text, server_streaming=streams)
        method.options.Extensions[permission_pb2.permission] = permission_pb2.VIEW
    descriptor_pool.Default().Add(file)


annotated_echo()


class Client:
    def __init__(self, address: str) -> None:
        self.channel = connect(address, CREDENTIALS)
        forms: dict[str, Any] = {"request_serializer": StringValue.SerializeToString, "response_deserializer": StringValue.FromString}
        self.say: Any = self.channel.unary_unary("/inkwright.echo.v1.EchoService/Say", **forms)
        self.count: Any = self.channel.unary_stream("/inkwright.echo.v1.EchoService/Count", **forms)


@pytest.fixture
async def server() -> Server:
    return Server()


@pytest.fixture
async def client(server: Server) -> AsyncIterator[Client]:
    running = GrpcServer("127.0.0.1:0", TRUST)
    running.add(server.add, server, wrappers_pb2.DESCRIPTOR)
    await running.start()
    client = Client(running.address)
    yield client
    await client.channel.close()
    await running.stop(0)


def rooms() -> list[str]:
    """Every module that may add leaves: what is imported counts."""
    found = [*ROOT.glob("services/*/domain.py"), *ROOT.glob("gateway/*.py"), *ROOT.glob("libs/runtime/*.py")]
    return sorted(
        ".".join(path.relative_to(ROOT).with_suffix("").parts) for path in found if path.stem not in ("__init__", "main", "lifeline")
    )


def test_the_table_of_the_tree_is_the_table_of_the_edge() -> None:
    assert {fault: code_of(fault).name for fault in TABLE} == TABLE


def test_every_fault_has_a_status_and_a_reason_in_the_contract() -> None:
    for room in rooms():
        importlib.import_module(room)
    known = set(errors_pb2.ErrorReason.keys())
    assert len(all_faults()) > len(TABLE)
    for fault in all_faults():
        assert code_of(fault) is not grpc.StatusCode.OK, fault
        assert fault.reason in known, f"{fault.__name__}: {fault.reason} is no ErrorReason"


def test_a_fault_outside_the_tree_has_no_status() -> None:
    with pytest.raises(LookupError):
        code_of(Fault)


@pytest.mark.parametrize("kind", [kind for kind in TABLE if kind is not errors.Internal], ids=lambda kind: kind.__name__)
async def test_a_fault_arrives_whole(kind: type[Fault], server: Server, client: Client) -> None:
    server.error = kind("Größe 7 is wrong; use 8.", size=7, hint="8")
    with pytest.raises(kind) as caught:
        await call(client.say, StringValue())
    assert type(caught.value) is kind
    assert caught.value.message == "Größe 7 is wrong; use 8."
    assert caught.value.metadata == {"size": "7", "hint": "8"}
    assert caught.value.reason == kind.reason


async def test_a_leaf_with_its_own_constructor_arrives_as_itself(server: Server, client: Client) -> None:
    server.error = PageTorn(3)
    with pytest.raises(PageTorn) as caught:
        await call(client.say, StringValue())
    assert caught.value.message == "Page 3 is torn; scan it again."
    assert caught.value.metadata == {"page": "3"}


async def test_a_full_disk_is_passing_trouble(server: Server, client: Client) -> None:
    server.error = OSError(errno.ENOSPC, "No space left on device", "/srv/ink/upload")
    with pytest.raises(errors.NoReadyInstance, match="The disk is full: /srv/ink/upload was not written"):
        await call(client.say, StringValue())


async def test_an_unknown_leaf_arrives_as_its_kind_with_its_reason(server: Server, client: Client) -> None:
    fault = errors.WrongState("Wait.")
    vars(fault)["reason"] = "REASON_OF_A_NEWER_PEER"
    server.error = fault
    with pytest.raises(errors.WrongState) as caught:
        await call(client.say, StringValue())
    assert caught.value.reason == "REASON_OF_A_NEWER_PEER"


@pytest.mark.parametrize("error", [errors.Internal("secret path /srv/x"), ValueError("secret path /srv/x"), KeyError("secret")])
async def test_what_nobody_foresaw_stays_in_the_log(error: Exception, server: Server, client: Client) -> None:
    server.error = error
    with pytest.raises(errors.Internal) as caught:
        await call(client.say, StringValue())
    assert caught.value.message == grpc_faults.HIDDEN_MESSAGE
    assert caught.value.metadata == {}
    assert caught.value.reason == "INTERNAL"


async def test_a_stream_gives_its_items_and_then_its_fault(server: Server, client: Client) -> None:
    server.error = errors.Gone("Begin again.", first=7)
    seen = []

    async def read() -> None:
        async for reply in stream(client.count, StringValue()):
            seen.append(reply.value)  # noqa: PERF401 - a comprehension would lose what came before the fault

    with pytest.raises(errors.Gone) as caught:
        await read()
    assert seen == ["0", "1"]
    assert caught.value.metadata == {"first": "7"}
    assert [reply.value async for reply in stream(client.count, StringValue(value="hello"))] == ["0", "1"]


async def test_a_peer_that_is_away_is_named() -> None:
    client = Client(f"127.0.0.1:{free_port()}")
    with pytest.raises(errors.NoReadyInstance) as caught:
        await call(client.say, StringValue(), deadline_seconds=5)
    assert caught.value.metadata == {"peer": "echo"}
    assert "echo" in caught.value.message
    await client.channel.close()


async def test_a_passed_deadline_is_expired(client: Client) -> None:
    with pytest.raises(errors.Expired):
        await call(client.say, StringValue(value="sleep"), deadline_seconds=0.1)


async def test_a_message_over_the_limit_is_too_large(client: Client) -> None:
    with pytest.raises(errors.TooLarge):
        await call(client.say, StringValue(value="x" * (65 * 1024 * 1024)))


async def test_request_id_and_deadline_are_carried_on(server: Server, client: Client) -> None:
    async def answering_a_call() -> None:
        call_context.request_id.set("abc")
        call_context.set_deadline(3.0)
        await call(client.say, StringValue(value="hello"))

    await asyncio.create_task(answering_a_call())
    assert server.seen_request_id == "abc"
    assert server.seen_remaining is not None
    # gRPC writes a timeout with few digits, rounded up.
    assert 0 < server.seen_remaining <= 3.2


async def test_a_call_without_a_deadline_gets_the_default(server: Server, client: Client) -> None:
    await call(client.say, StringValue(value="hello"))
    assert server.seen_remaining is not None
    assert 5 < server.seen_remaining <= 10.5
    assert server.seen_request_id
