"""A dataset service that is killed again and again while it indexes: the index ends right, and each image is told of once."""

import os
import random
from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import select

from inkwright.dataset.v1 import dataset_service_pb2
from inkwright.dataset.v1.dataset_events_pb2 import ImagesIndexed
from libs.runtime.db import Database
from libs.runtime.grpc_client import call
from libs.runtime.testing import assert_eventually, nats_server
from services.dataset.settings import DatasetSettings
from services.dataset.store import METADATA
from tests.integration.conftest import Databases
from tests.integration.dataset_process import DatasetProcess, dataset_process
from tests.integration.pictures import write_image, write_labels

pytestmark = pytest.mark.long

NUM_IMAGES = 3000
KILLS = 3


def grow(folder: Path) -> list[str]:
    """Hard links of one image in folders within folders, each with a label file; gives their keys."""
    image = write_image(folder / ".one.jpg")
    labels = write_labels(folder / ".one.xml", [("hello", (5, 5, 50, 30))])
    keys = [f"box.{number % 3}/folder{number // 1000}/page.{number:04}.jpg" for number in range(NUM_IMAGES)]
    for key in keys:
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        os.link(image, folder / key)
        os.link(labels, (folder / key).with_suffix(".xml"))
    return sorted(keys)


async def listed(service: DatasetProcess, name: str) -> list[str]:
    request = dataset_service_pb2.ListImagesRequest(parent=name, page_size=1000)
    keys: list[str] = []
    while True:
        reply = await call(service.stub.ListImages, request)
        keys += [image.key for image in reply.images]
        if not reply.next_page_token:
            return keys
        request.page_token = reply.next_page_token


async def told(home: Path) -> Counter[str]:
    """How often each image was said to be new."""
    database = Database(DatasetSettings(home=home).database_url)
    outbox = METADATA.tables["outbox"].c
    async with database.reading() as connection:
        rows = await connection.execute(select(outbox.payload).where(outbox.type == ImagesIndexed.DESCRIPTOR.full_name))
        names = Counter(name for (payload,) in rows for name in ImagesIndexed.FromString(payload).images)
    await database.close()
    return names


@pytest.mark.timeout(120)
@pytest.mark.parametrize("seed", range(7))
async def test_an_index_that_is_killed_again_and_again_ends_right(seed: int, tmp_path: Path, long_databases: Databases) -> None:
    chance = random.Random(seed)
    keys = grow(tmp_path / "images")
    (tmp_path / "nats").mkdir()
    async with nats_server(tmp_path / "nats") as nats, dataset_process(tmp_path, tmp_path / "images", nats) as service:
        name = await service.create(str(tmp_path / "images"))
        seen: list[int] = []
        for kill_at in sorted(chance.sample(range(1, NUM_IMAGES // 2), KILLS)):

            async def is_there(kill_at: int = kill_at) -> int:
                dataset = await service.get(name)
                assert dataset.sync_number or dataset.progress.num_seen >= kill_at
                return dataset.progress.num_seen

            seen.append(await assert_eventually(is_there, timeout_seconds=60))
            await service.kill()
            await service.start()

        async def ended() -> None:
            assert (await service.get(name)).sync_number == 1

        await assert_eventually(ended, timeout_seconds=60)
        counts = (await service.get(name)).counts
        assert (counts.num_images, counts.num_labeled, counts.num_boxes) == (NUM_IMAGES, NUM_IMAGES, NUM_IMAGES)
        assert await listed(service, name) == keys
        # Progress is gone with the end of a sync: this kill came before.
        assert any(seen)
    times = await told(service.home)
    assert len(times) == NUM_IMAGES
    assert set(times.values()) == {1}
