"""Three servers of NATS: a stream has three copies, and any one server may go."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from libs.runtime.bus import BUS_ERRORS, Bus
from libs.runtime.child import Child
from libs.runtime.key_value import KeyValue
from libs.runtime.nats_binary import nats_server_path
from libs.runtime.testing import assert_eventually, can_connect, free_port

pytestmark = pytest.mark.timeout(180)

SUBJECT = "inkwright.evt.v1.dataset.image.images_indexed.x"
PUBLISH_WITHIN_SECONDS = 15.0


@contextmanager
def configurations(folder: Path) -> Iterator[list[tuple[int, Path]]]:
    """Ports and files of three servers that know each other."""
    ports = [(free_port(), free_port()) for _ in range(3)]
    routes = ", ".join(f'"nats://127.0.0.1:{route}"' for _, route in ports)
    made = []
    for number, (port, route) in enumerate(ports):
        path = folder / f"nats-{number}.conf"
        path.write_text(
            f"""listen: "127.0.0.1:{port}"
server_name: "n{number}"
jetstream {{
  store_dir: "{folder}/store-{number}"
  sync_interval: always
}}
cluster {{
  name: "inkwright"
  listen: "127.0.0.1:{route}"
  routes: [{routes}]
}}
"""
        )
        made.append((port, path))
    yield made


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[tuple[str, list[Child]]]:
    with configurations(tmp_path) as made:
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
