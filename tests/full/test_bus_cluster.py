"""Three servers of NATS: a stream has three copies, and any one server may go."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from libs.runtime.bus import BUS_ERRORS, Bus
from libs.runtime.child import Child
from libs.runtime.key_value import KeyValue
from libs.runtime.nats_binary import nats_server_path
from libs.runtime.testing import assert_eventually, can_connect
from tests.full.bus_servers import configurations

pytestmark = pytest.mark.timeout(180)

SUBJECT = "inkwright.evt.v1.dataset.image.images_indexed.x"
PUBLISH_WITHIN_SECONDS = 15.0


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[tuple[str, list[Child]]]:
    made = configurations(tmp_path)
    servers = [
        await Child.start([nats_server_path(), "-c", str(path)], name=f"nats-{number}", log_line=lambda _: None)
        for number, (_, path) in enumerate(made)
    ]
    for port, _ in made:
        await assert_eventually(partial(can_connect, port))
    yield ",".join(f"nats://127.0.0.1:{port}" for port, _ in made), servers
    for server in servers:
        await server.terminate(2)


async def published(bus: Bus, number: int) -> None:
    """As the relay does: again, with the same id, until it is acknowledged."""
    async with asyncio.timeout(PUBLISH_WITHIN_SECONDS):
        while True:
            try:
                await bus.publish(SUBJECT, str(number).encode(), message_id=f"m{number}")
                return
            except BUS_ERRORS:
                await asyncio.sleep(0.2)


async def test_nothing_acknowledged_is_lost_when_the_leader_is_killed(cluster: tuple[str, list[Child]]) -> None:
    url, servers = cluster
    bus = await Bus.connect(url, name="test", replicas=3)
    info = await bus.jetstream.stream_info("EVT_DATASET")
    assert info.config.num_replicas == 3
    bucket = await KeyValue.open(bus, "deployments", ttl_seconds=0)
    await bucket.put("reader", b"here")
    for number in range(20):
        await published(bus, number)
    assert info.cluster is not None
    leader = int(str(info.cluster.leader).removeprefix("n"))
    servers[leader].kill()
    for number in range(20, 40):
        await published(bus, number)

    async def kept() -> bool:
        try:
            state = (await bus.jetstream.stream_info("EVT_DATASET")).state
            return state.messages == 40 and await bucket.get("reader") == b"here"
        except BUS_ERRORS:
            return False

    await assert_eventually(kept, timeout_seconds=30)
    await bus.close()
