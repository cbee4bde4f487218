"""kill -9 of the dataset service between commit and publish loses no fact."""

import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from inkwright.dataset.v1.dataset_service_pb2_grpc import DatasetServiceStub
from inkwright.labeling.v1.labeling_service_pb2_grpc import LabelingServiceStub
from libs.runtime.child import Child
from libs.runtime.grpc_client import connect
from libs.runtime.testing import assert_eventually, can_connect, free_port, nats_server
from services.labeling.main import build_with
from services.labeling.settings import LabelingSettings
from tests.integration.pictures import write_image
from tests.integration.running import running
from tests.integration.world import World


@asynccontextmanager
async def dataset_process(environment: dict[str, str]) -> AsyncIterator[Child]:
    """``python -m services.dataset.main``, killed at the end of the block if it still lives."""
    child = await Child.start([sys.executable, "-m", "services.dataset.main"], name="dataset", env=environment, log_line=lambda _line: None)
    try:
        port = int(environment["INKWRIGHT_DATASET_ADDRESS"].rpartition(":")[2])
        await assert_eventually(lambda: can_connect(port), timeout_seconds=30)
        yield child
    finally:
        await child.terminate(0)


async def test_facts_committed_without_a_bus_survive_kill_9(tmp_path: Path) -> None:
    roots, home, address = tmp_path / "roots", tmp_path / "home", f"127.0.0.1:{free_port()}"
    for number in range(5):
        write_image(roots / "cards" / f"{number}.png")
    async with AsyncExitStack() as stack:
        nats = await stack.enter_async_context(nats_server(tmp_path))
        environment = {
            "INKWRIGHT_HOME": str(home),
            "INKWRIGHT_ROOTS": str(roots),
            "INKWRIGHT_NATS_URL": nats.url,
            "INKWRIGHT_DATASET_ADDRESS": address,
        }
        channel, nobody = await stack.enter_async_context(connect(address)), await stack.enter_async_context(connect("127.0.0.1:9"))
        world = World(nats, home, roots, address, DatasetServiceStub(channel), LabelingServiceStub(nobody))
        async with dataset_process(environment) as process:
            await nats.kill()
            dataset = await world.indexed()
            assert dataset.counts.num_images == 5
            await process.terminate(0)
        await nats.start()
        settings = LabelingSettings(home=home, nats_url=nats.url, dataset_address=address, labeling_address="127.0.0.1:0")
        async with dataset_process(environment), running(build_with(settings)) as labeling_address, connect(labeling_address) as opened:
            world.labeling = LabelingServiceStub(opened)
            pages = await world.opened(dataset.name, 5)
            assert sorted(pages) == [f"{number}.png" for number in range(5)]
            # It was indexed once, not again by the second process.
            assert (await world.get(dataset.name)).sync_number == 1
