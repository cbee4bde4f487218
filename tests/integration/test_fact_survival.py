"""kill -9 of the dataset service loses no fact and no sync."""

import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from inkwright.dataset.v1.dataset_service_pb2_grpc import DatasetServiceStub
from inkwright.labeling.v1.labeling_service_pb2_grpc import LabelingServiceStub
from libs.runtime.allowed_roots import AllowedRoots
from libs.runtime.child import Child
from libs.runtime.db import Database
from libs.runtime.grpc_client import connect
from libs.runtime.migrations import upgrade
from libs.runtime.testing import assert_eventually, can_connect, free_port, nats_server
from services.dataset.actions import create_dataset
from services.dataset.domain import DatasetState, Place, StorageType
from services.dataset.main import build_with as build_dataset
from services.dataset.settings import DatasetSettings
from services.dataset.store import DatasetWork
from services.dataset.stores import Stores
from services.labeling.main import build_with as build_labeling
from services.labeling.settings import LabelingSettings
from tests.integration.conftest import Databases
from tests.integration.pictures import write_image
from tests.integration.running import running
from tests.integration.world import NOBODY, World
from tests.trust import CREDENTIALS, keyed


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


async def test_facts_committed_without_a_bus_survive_kill_9(tmp_path: Path, databases: Databases) -> None:
    roots, home, address = tmp_path / "roots", keyed(tmp_path / "home"), f"127.0.0.1:{free_port()}"
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
        channel = await stack.enter_async_context(connect(address, CREDENTIALS))
        nobody = await stack.enter_async_context(connect(NOBODY, CREDENTIALS))
        world = World(nats, home, roots, address, DatasetServiceStub(channel), LabelingServiceStub(nobody))
        async with dataset_process(environment) as process:
            await nats.kill()
            dataset = await world.indexed()
            assert dataset.counts.num_images == 5
            await process.terminate(0)
        await nats.start()
        settings = LabelingSettings(home=home, nats_url=nats.url, dataset_address=address, labeling_address="127.0.0.1:0")
        async with (
            dataset_process(environment),
            running(build_labeling(settings)) as labeling_address,
            connect(labeling_address, CREDENTIALS) as opened,
        ):
            world.labeling = LabelingServiceStub(opened)
            pages = await world.opened(dataset.name, 5)
            assert sorted(pages) == [f"{number}.png" for number in range(5)]
            # It was indexed once, not again by the second process.
            assert (await world.get(dataset.name)).sync_number == 1


async def test_a_sync_that_was_wanted_is_done_by_the_next_process(tmp_path: Path, databases: Databases) -> None:
    write_image(tmp_path / "cards" / "a.png")
    async with nats_server(tmp_path) as nats:
        settings = DatasetSettings(home=keyed(tmp_path / "home"), nats_url=nats.url, dataset_address="127.0.0.1:0", roots=str(tmp_path))
        await upgrade("dataset", settings.database_url)
        database = Database(settings.database_url)
        # All that a process leaves which died right after it answered CreateDataset.
        created = await create_dataset(
            database.work(DatasetWork),
            Stores(AllowedRoots([tmp_path]), {}),
            project="default",
            dataset_id="cards",
            description="",
            place=Place(StorageType.LOCAL, str(tmp_path / "cards")),
            request_id="",
        )
        assert created.state is DatasetState.INDEXING
        await database.close()
        async with (
            running(build_dataset(settings)) as address,
            connect(address, CREDENTIALS) as channel,
            connect(NOBODY, CREDENTIALS) as nobody,
        ):
            world = World(nats, settings.home, tmp_path, address, DatasetServiceStub(channel), LabelingServiceStub(nobody))
            assert (await world.synced(created.name, 1)).counts.num_images == 1
