"""Several replicas of the inference service share the instances, and hand them on."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from inkwright.inference.v1 import instance_service_pb2
from libs.runtime.errors import NoReadyInstance
from libs.runtime.testing import assert_eventually, free_port
from tests.integration.conftest import Databases
from tests.integration.inference_stage import Client, Stage, State, made_up_bundle, predict, stage, written_page
from tests.integration.test_inference_life import serving
from tests.trust import keyed

pytestmark = pytest.mark.long

PAGE = written_page("x")


@asynccontextmanager
async def replica(around: Stage, folder: Path) -> AsyncIterator[Client]:
    """One more, with a disk of its own."""
    address = f"127.0.0.1:{free_port()}"
    # On a busy machine an instance takes its time to start, and nobody is to be cut off here.
    update = {"home": keyed(folder), "inference_address": address, "inference_memory_mb": 4096, "grace_seconds": 90.0}
    settings = around.settings.model_copy(update=update)
    async with serving(settings) as inference:
        yield inference


async def read_once(around: Stage) -> None:
    """Predict as the gateway does: at any instance that the bus knows."""
    # A listing misses what is renewed in the same moment; a watcher, as the gateway is, hears of it right after.
    entries = await around.entries("instances") or await around.entries("instances")
    endpoints = [instance_service_pb2.InstanceRegistration.FromString(value).endpoint for value in entries.values()]
    assert endpoints, "nobody is registered"
    for endpoint in endpoints:
        try:
            await predict(endpoint, PAGE)
            return
        except NoReadyInstance:
            # It withdrew a moment ago; the next one is asked.
            continue
    raise AssertionError(f"none of {endpoints} answers")


async def test_a_replica_that_is_stopped_hands_its_instances_on(tmp_path: Path, shared_databases: Databases) -> None:
    async with stage(tmp_path) as around, AsyncExitStack() as stays:
        num_read = 0
        async with replica(around, tmp_path / "a") as first:
            model = await around.trainer.register("blank", made_up_bundle(tmp_path / "blank.inkbundle"))
            await first.create("cards", model=model)
            before = await first.becomes("cards", State.RUNNING, num_instances=1)
            await first.create("pair", model=model, num_instances=2)
            await first.becomes("pair", State.RUNNING, num_instances=2)
            second = await stays.enter_async_context(replica(around, tmp_path / "b"))
            # Either answers for both, and a later instance goes where there is more room.
            assert (await second.get("cards")).instances[0].endpoint == before.instances[0].endpoint
            await second.scale("pair", 3)
            pair = await second.becomes("pair", State.RUNNING, num_instances=3)
            stopped = asyncio.Event()

            async def keep_reading() -> None:
                nonlocal num_read
                while not stopped.is_set():
                    await read_once(around)
                    num_read += 1

            reading = asyncio.create_task(keep_reading())
        # The first is gone, its processes with it, and nobody noticed.
        after = await second.becomes("cards", State.RUNNING, num_instances=1)
        assert after.instances[0].instance_id != before.instances[0].instance_id
        pair_after = await second.becomes("pair", State.RUNNING, num_instances=3)
        stayed = {instance.instance_id for instance in pair.instances} & {instance.instance_id for instance in pair_after.instances}
        assert len(stayed) == 1, "what ran on the second was left alone"
        stopped.set()
        await reading
        assert num_read > 10
        await second.delete("cards")
        await second.scale("pair", 1)
        await second.becomes("pair", State.RUNNING, num_instances=1)


async def test_deployments_outlive_their_only_replica(tmp_path: Path, shared_databases: Databases) -> None:
    async with stage(tmp_path) as around:
        async with replica(around, tmp_path / "a") as first:
            model = await around.trainer.register("blank", made_up_bundle(tmp_path / "blank.inkbundle"))
            await first.create("cards", model=model)
            await first.becomes("cards", State.RUNNING, num_instances=1)
        async with replica(around, tmp_path / "b") as second:
            await assert_eventually(lambda: read_once(around), 40)
            await second.becomes("cards", State.RUNNING, num_instances=1)


async def test_instances_outlive_a_database_that_goes_away(tmp_path: Path, shared_databases: Databases) -> None:
    server, database = shared_databases.postgres, shared_databases.name
    assert server is not None
    async with stage(tmp_path) as around, replica(around, tmp_path / "a") as first, replica(around, tmp_path / "b") as second:
        model = await around.trainer.register("blank", made_up_bundle(tmp_path / "blank.inkbundle"))
        await first.create("cards", model=model, num_instances=2)
        before = await first.becomes("cards", State.RUNNING, num_instances=2)
        server.sql("postgres", "-c", f"ALTER DATABASE {database} ALLOW_CONNECTIONS false")
        server.sql("postgres", "-c", f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'")
        for inference in (first, second):
            with pytest.raises(NoReadyInstance, match="cannot be reached"):
                await inference.get("cards")
        # Long enough for every loop to have asked in vain.
        for _ in range(30):
            await read_once(around)
            await asyncio.sleep(0.1)
        server.sql("postgres", "-c", f"ALTER DATABASE {database} ALLOW_CONNECTIONS true")
        await second.scale("cards", 3)
        after = await second.becomes("cards", State.RUNNING, num_instances=3)
        assert {instance.instance_id for instance in before.instances} < {instance.instance_id for instance in after.instances}
