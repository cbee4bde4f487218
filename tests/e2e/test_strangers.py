"""What someone without a token reaches: every port of a running installation is tried."""

import re
import socket
from collections.abc import Iterator
from typing import Any, cast

import grpc
import httpx
import psutil
import pytest
from google.protobuf.descriptor import MethodDescriptor
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest

from gateway.transcode.rules import methods, rpc_path
from inkwright.inference.v1 import deployment_pb2
from tests.e2e.conftest import Installation, processes_of
from tests.e2e.steps import wait_running

OPEN = {("GET", "/healthz", 200), ("GET", "/openapi.json", 200), ("POST", "/v1/session", 400), ("DELETE", "/v1/session", 200)}
"""All that may be answered with something else than a refusal; a sign-in without a body is asked for one."""
UNKNOWN_PATHS = ("/", "/v1", "/v1/", "/v1/nothing", "/api", "/metrics", "/docs", "/static/../secret.key", "/admin.token", "/api/predict")
HTTP_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE")


@pytest.fixture(scope="module")
def ports(inkwright: Installation) -> Iterator[dict[int, str]]:
    """Command lines by the port they listen at; an instance is among them."""
    inkwright.client.create_deployment("strangers", deployment_pb2.Deployment(model="ppocrv6-small"))
    wait_running(inkwright.client, "strangers")
    found = {}
    for pid, command in processes_of(inkwright.running.home).items():
        for connection in psutil.Process(pid).net_connections(kind="inet"):
            if connection.status == psutil.CONN_LISTEN:
                # gRPC binds IPv4 addresses through IPv6 sockets.
                assert connection.laddr.ip.removeprefix("::ffff:") == "127.0.0.1"
                found[connection.laddr.port] = command
    yield found
    inkwright.client.delete_deployment("strangers")


def test_every_port_belongs_to_a_process_that_is_tried(ports: dict[int, str]) -> None:
    kinds = sorted(kind_of(command) for command in ports.values())
    assert [kind for kind in kinds if kind != "instance"] == ["dataset", "gateway", "inference", "labeling", "nats", "trainer"]
    assert "instance" in kinds


def test_by_grpc_only_health_answers(ports: dict[int, str]) -> None:
    answers: dict[tuple[int, str], grpc.StatusCode] = {}
    for port, command in ports.items():
        if kind_of(command) in ("nats", "gateway"):
            continue
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            check = channel.unary_unary(
                "/grpc.health.v1.Health/Check",
                request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
                response_deserializer=health_pb2.HealthCheckResponse.FromString,
            )
            assert check(health_pb2.HealthCheckRequest(), timeout=5).status == health_pb2.HealthCheckResponse.SERVING
            answers |= {(port, rpc_path(method)): code_of(channel, method) for method in methods()}
            answers[port, "reflection"] = code_of_reflection(channel)
    # A method that the service does not have is nobody's to find out either, but the library answers that by itself.
    reached = {key: code for key, code in answers.items() if code not in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.UNIMPLEMENTED)}
    assert reached == {}
    assert sum(code is grpc.StatusCode.UNAUTHENTICATED for code in answers.values()) >= 45


def test_by_http_only_what_is_meant_for_strangers_answers(inkwright: Installation, ports: dict[int, str]) -> None:
    reached = set()
    for port, command in ports.items():
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=5) as http:
            if kind_of(command) != "gateway":
                # No HTTP/1.1 is spoken there.
                with pytest.raises(httpx.HTTPError):
                    http.get("/")
                continue
            document = http.get("/openapi.json").json()
            paths = [re.sub(r"\{project\}", "default", path) for path in document["paths"]]
            for path in (*(re.sub(r"\{\w+\}", "strangers", path) for path in paths), *UNKNOWN_PATHS, "/healthz", "/openapi.json"):
                for method in HTTP_METHODS:
                    status = http.request(method, path).status_code
                    if status not in (401, 404, 405):
                        reached.add((method, path, status))
            assert http.post("/api/predict/strangers", json={"dataArray": []}).status_code == 401
    assert reached - {("HEAD", path, status) for method, path, status in OPEN if method == "GET"} == OPEN


def test_the_bus_greets_and_turns_away(ports: dict[int, str]) -> None:
    (port,) = [port for port, command in ports.items() if kind_of(command) == "nats"]
    for attempt in (b"CONNECT {}\r\nPING\r\n", b'CONNECT {"user":"inkwright","pass":"inkwright"}\r\nPING\r\n', b"SUB > 1\r\nPING\r\n"):
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(attempt)
            said = b""
            while piece := connection.recv(65536):
                said += piece
        assert said.startswith(b"INFO ")
        assert b"Authorization Violation" in said or b"Authentication Timeout" in said
        assert b"PONG" not in said


def kind_of(command: str) -> str:
    """Which process a command line is of."""
    if "nats-server" in command:
        return "nats"
    found = re.search(r"(?:services\.)?(\w+)\.(?:main|instance)\b", command)
    assert found is not None, command
    return "instance" if ".instance" in command else found[1]


def code_of(channel: grpc.Channel, method: MethodDescriptor) -> grpc.StatusCode:
    """What a server says to an empty request without a token."""
    streams_in, streams_out = method.client_streaming, method.server_streaming
    make: dict[tuple[bool, bool], Any] = {
        (False, False): channel.unary_unary,
        (False, True): channel.unary_stream,
        (True, False): channel.stream_unary,
    }
    called = make[streams_in, streams_out](rpc_path(method), request_serializer=bytes, response_deserializer=bytes)
    try:
        answer = called(iter([b""]) if streams_in else b"", timeout=5)
        if streams_out:
            next(answer)
    except grpc.RpcError as error:
        return status_of(error)
    return grpc.StatusCode.OK


def status_of(error: grpc.RpcError) -> grpc.StatusCode:
    """The status of a failed call."""
    return cast("grpc.Call", error).code()


def code_of_reflection(channel: grpc.Channel) -> grpc.StatusCode:
    """What a server says to a stranger who asks what it offers."""
    ask = channel.stream_stream(
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        request_serializer=ServerReflectionRequest.SerializeToString,
        response_deserializer=bytes,
    )
    try:
        next(ask(iter([ServerReflectionRequest(list_services="")]), timeout=5))
    except grpc.RpcError as error:
        return status_of(error)
    return grpc.StatusCode.OK
