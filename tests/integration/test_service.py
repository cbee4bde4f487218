"""The life of a service's process."""

import json
import os
import signal
import sys
from asyncio import create_subprocess_exec, wait_for
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest, ServerReflectionResponse

from deploy.embedded import health
from libs.runtime.grpc_client import connect
from libs.runtime.grpc_server import GrpcServer
from libs.runtime.testing import free_port
from tests.integration.processes import mentioning
from tests.trust import CREDENTIALS, TRUST


async def run(home: Path, *arguments: str, signals: int = 0, when: str = "service_ready") -> tuple[int, list[dict[str, object]]]:
    """Run a fake service, send it a signal once it said ``when``, and give exit code and log."""
    env = {**os.environ, "INKWRIGHT_HOME": str(home), "INKWRIGHT_DATASET_ADDRESS": f"127.0.0.1:{free_port()}"}
    process = await create_subprocess_exec(
        sys.executable, "-m", "tests.integration.fake_service", "dataset", *arguments, env=env, stderr=PIPE
    )
    assert process.stderr is not None
    lines: list[dict[str, object]] = []
    async for line in process.stderr:
        lines.append(json.loads(line))
        if lines[-1]["event"] == when and signals:
            if when == "service_ready":
                assert await health.grpc_service(env["INKWRIGHT_DATASET_ADDRESS"])
            process.send_signal(signals)
    return await wait_for(process.wait(), 10), lines


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_takes_it_down_in_order(number: int, tmp_path: Path) -> None:
    code, lines = await run(tmp_path, signals=number)
    assert code == 0
    events = [str(line.get("part", line["event"])) for line in lines]
    order = ["grpc_serving", "service_ready", "service_stopping", "worker", "relay", "consumer", "child", "database", "service_stopped"]
    assert [event for event in events if event in order] == order
    assert mentioning(str(tmp_path)) == {}


async def test_a_crash_of_one_part_ends_the_process_and_closes_the_rest(tmp_path: Path) -> None:
    code, lines = await run(tmp_path, "crash")
    assert code == 1
    [crashed] = [line for line in lines if line["event"] == "service_crashed"]
    assert "the worker broke" in str(crashed["error"])
    assert [line["part"] for line in lines if line["event"] == "part_stopped"] == ["child", "database"]
    assert mentioning(str(tmp_path)) == {}


async def test_a_build_that_fails_says_why(tmp_path: Path) -> None:
    code, lines = await run(tmp_path, "hopeless")
    assert code == 1
    assert "no such base model" in str(lines[-1]["error"])


async def test_a_signal_ends_a_build_that_waits(tmp_path: Path) -> None:
    code, _ = await run(tmp_path, "forever", signals=signal.SIGTERM, when="building")
    assert code == 0


async def test_a_taken_port_is_an_error_and_not_shared() -> None:
    first = GrpcServer("127.0.0.1:0", TRUST)
    await first.start()
    with pytest.raises(OSError, match=first.address):
        await GrpcServer(first.address, TRUST).start()
    await first.stop(0)


async def test_health_and_reflection_answer_and_stop_serving_is_told() -> None:
    server = GrpcServer("127.0.0.1:0", TRUST)
    await server.start()
    assert await health.grpc_service(server.address)
    async with connect(server.address, CREDENTIALS) as channel:
        info = channel.stream_stream(
            "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
            request_serializer=ServerReflectionRequest.SerializeToString,
            response_deserializer=ServerReflectionResponse.FromString,
        )
        call = info(iter([ServerReflectionRequest(list_services="")]))
        reply = await call.read()
        assert isinstance(reply, ServerReflectionResponse)
        assert "grpc.health.v1.Health" in {service.name for service in reply.list_services_response.service}
        call.cancel()
    await server.stop_serving()
    assert not await health.grpc_service(server.address)
    await server.stop(1)
