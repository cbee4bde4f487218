"""Routing of the public API over a real bus and real instances."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from libs.runtime.child import Child
from libs.runtime.errors import NoReadyInstance, QueueFull
from libs.runtime.testing import NatsServer, assert_eventually, free_port, nats_server
from tests.gateway_world import DIGEST, FakeInstance, bmp, label_of, route_entry, serving_instance
from tests.integration.gateway_running import Installation, running_gateway

IMAGE = bmp(40, 40)
ROOT = Path(__file__).parents[2]


@pytest.fixture
async def nats(tmp_path: Path) -> AsyncIterator[NatsServer]:
    (tmp_path / "nats").mkdir()
    async with nats_server(tmp_path / "nats") as server:
        yield server


@pytest.fixture
async def installation(nats: NatsServer, tmp_path: Path) -> AsyncIterator[Installation]:
    async with running_gateway(nats, tmp_path / "home", connect_timeout_seconds=1.0) as found:
        yield found


async def start_instances(stack: AsyncExitStack, *fakes: FakeInstance) -> list[str]:
    return [(await stack.enter_async_context(serving_instance(fake))).address for fake in fakes]


async def test_64_callers_each_get_their_own_answer(installation: Installation) -> None:
    async with AsyncExitStack() as stack:
        await installation.deploy("reader", *await start_instances(stack, FakeInstance(), FakeInstance()))
        await installation.until_status("reader", IMAGE, 200)

        async def caller(number: int) -> None:
            for turn in range(4):
                images = [bmp(32 + number % 3, 32, number=number * 1000 + turn * 10 + item) for item in range(2)]
                answer = await installation.predict("reader", *images)
                labels = [result["result"]["output"][0]["label"] for result in answer.json()["results"]]
                assert labels == [label_of(image) for image in images]
                assert answer.json()["requestId"] == answer.headers["X-Request-Id"]

        async with asyncio.TaskGroup() as group:
            for number in range(64):
                group.create_task(caller(number))


async def test_work_goes_to_the_instance_with_the_least(installation: Installation) -> None:
    fakes = [FakeInstance(), FakeInstance(), FakeInstance()]
    async with AsyncExitStack() as stack:
        await installation.deploy("reader", *await start_instances(stack, *fakes))
        await assert_eventually(lambda: _called_all(installation, fakes))
        for fake in fakes:
            fake.num_calls = 0
            fake.gate.clear()
        calls = [asyncio.create_task(installation.predict("reader", IMAGE)) for _ in range(9)]
        await assert_eventually(lambda: [fake.num_calls for fake in fakes] == [3, 3, 3])
        for fake in fakes:
            fake.gate.set()
        assert [answer.status_code for answer in await asyncio.gather(*calls)] == [200] * 9


async def _called_all(installation: Installation, fakes: list[FakeInstance]) -> bool:
    await installation.predict("reader", IMAGE)
    return all(fake.num_calls for fake in fakes)


async def test_elements_of_one_request_run_side_by_side_up_to_a_bound(installation: Installation) -> None:
    fake = FakeInstance()
    async with AsyncExitStack() as stack:
        await installation.deploy("reader", *await start_instances(stack, fake))
        await installation.until_status("reader", IMAGE, 200)
        fake.gate.clear()
        call = asyncio.create_task(installation.predict("reader", *[IMAGE] * 10))
        await assert_eventually(lambda: fake.num_at_once == 4)
        fake.gate.set()
        assert len((await call).json()["results"]) == 10
        assert fake.most_at_once == 4


async def test_an_instance_that_takes_no_connection_is_passed_over(installation: Installation) -> None:
    fake = FakeInstance()
    async with AsyncExitStack() as stack:
        dead = [f"127.0.0.1:{free_port()}" for _ in range(2)]
        await installation.deploy("reader", *dead, *await start_instances(stack, fake))
        await installation.until_status("reader", IMAGE, 200)
        for _ in range(5):
            assert (await installation.predict("reader", IMAGE)).status_code == 200


@pytest.mark.parametrize("fault", [NoReadyInstance("I am draining."), QueueFull("My queue is full.")])
async def test_a_refusal_that_computed_nothing_goes_to_the_next_instance(installation: Installation, fault: Exception) -> None:
    refusing, willing = FakeInstance(), FakeInstance()
    refusing.fault = fault
    async with AsyncExitStack() as stack:
        await installation.deploy("reader", *await start_instances(stack, refusing, willing))
        await installation.until_status("reader", IMAGE, 200)
        answers = [await installation.predict("reader", IMAGE) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200] * 4
        assert refusing.num_calls > 0


async def test_no_instance_is_2002_until_one_registers(installation: Installation) -> None:
    port = free_port()
    await installation.deploy("reader", f"127.0.0.1:{port}")
    await installation.until_status("reader", IMAGE, 503)
    answer = await installation.predict("reader", IMAGE)
    assert (answer.json()["errorCode"], answer.headers["Retry-After"]) == (2002, "1")
    # The same endpoint again: having been set aside, it must come back with its next registration, and at once.
    async with serving_instance(FakeInstance(), f"127.0.0.1:{port}") as server:
        assert (await installation.predict("reader", IMAGE)).status_code == 503
        await installation.register("reader", "i0", server.address)
        await installation.until_status("reader", IMAGE, 200)


async def test_an_endpoint_with_another_model_behind_it_is_not_believed(installation: Installation) -> None:
    async with AsyncExitStack() as stack:
        [endpoint] = await start_instances(stack, FakeInstance(digest="ee" * 32))
        await installation.deploy("reader", endpoint, digest=DIGEST)
        await installation.until_status("reader", IMAGE, 503)


@asynccontextmanager
async def instance_process() -> AsyncIterator[tuple[Child, str, asyncio.Event]]:
    """A process to kill, its endpoint, and an event that says when it holds a request."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "protos" / "gen")])
    child = await Child.start([sys.executable, "-m", "tests.fake_instance"], name="fake-instance", env={"PYTHONPATH": path}, cwd=ROOT)
    holds, endpoint = asyncio.Event(), asyncio.get_running_loop().create_future()

    async def listen() -> None:
        async for event in child.events():
            if "endpoint" in event:
                endpoint.set_result(event["endpoint"])
            else:
                holds.set()

    listening = asyncio.create_task(listen())
    try:
        yield child, await asyncio.wait_for(endpoint, 20), holds
    finally:
        await child.terminate(0)
        await listening


async def test_an_instance_killed_with_the_request_in_flight_is_2001_and_not_tried_elsewhere(installation: Installation) -> None:
    other = FakeInstance()
    async with AsyncExitStack() as stack, instance_process() as (child, endpoint, holds):
        await installation.deploy("reader", endpoint)
        await installation.until_status("reader", IMAGE, 200)
        call = asyncio.create_task(installation.predict("reader", bmp(40, 40, number=255)))
        await holds.wait()
        [spare] = await start_instances(stack, other)
        await installation.register("reader", "i1", spare)
        await assert_eventually(lambda: _called_all(installation, [other]))
        calls_before = other.num_calls
        await child.terminate(0)
        answer = await call
        assert (answer.status_code, answer.json()["errorCode"]) == (500, 2001)
        assert other.num_calls == calls_before
        # The next request finds the dead one out without being harmed by it.
        assert (await installation.predict("reader", IMAGE)).status_code == 200


async def test_predictions_go_on_while_the_bus_is_down_and_after_it_is_back(installation: Installation, nats: NatsServer) -> None:
    fake = FakeInstance()
    async with AsyncExitStack() as stack:
        [endpoint] = await start_instances(stack, fake)
        await installation.deploy("reader", endpoint)
        await installation.until_status("reader", IMAGE, 200)
        await nats.kill()
        await assert_eventually(lambda: not installation.bus.is_connected)
        assert (await installation.http.get("/healthz")).status_code == 200
        assert (await installation.predict("reader", IMAGE)).status_code == 200
        await nats.start()
        await assert_eventually(lambda: installation.bus.is_connected)
        await installation.deployments.put("second", route_entry(installation.key, "second"))
        assert (await installation.predict("reader", IMAGE)).status_code == 200
        await installation.instances.delete("reader.i0")
        await installation.until_status("second", IMAGE, 503)
        # Its registration is gone, yet it is well: better than nothing.
        assert (await installation.predict("reader", IMAGE)).status_code == 200


async def test_a_deleted_deployment_is_404(installation: Installation) -> None:
    async with AsyncExitStack() as stack:
        await installation.deploy("reader", *await start_instances(stack, FakeInstance()))
        await installation.until_status("reader", IMAGE, 200)
        await installation.deployments.delete("reader")
        await installation.until_status("reader", IMAGE, 404)
