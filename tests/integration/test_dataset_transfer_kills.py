"""An import of labels whose service is killed, and labels that come in under a page somebody is working on."""

import os
import random
from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import select

from inkwright.dataset.v1 import transfer_pb2
from inkwright.dataset.v1.dataset_events_pb2 import ImageChanged
from inkwright.labeling.v1 import page_pb2
from libs.runtime.db import Database
from libs.runtime.grpc_client import call
from libs.runtime.testing import assert_eventually, nats_server
from services.dataset.settings import DatasetSettings
from services.dataset.store import METADATA
from tests.integration.conftest import Databases
from tests.integration.dataset_process import dataset_process
from tests.integration.pictures import write_image, write_labels
from tests.integration.transfers import State, ended, rows_of, uploaded
from tests.integration.world import labeling_world

NUM_IMAGES = 300
BOX = '[{"transcription": "new", "points": [[5, 5], [60, 5], [60, 40], [5, 40]]}]'


async def changes(home: Path) -> Counter[str]:
    """How often each image was said to have changed."""
    database = Database(DatasetSettings(home=home).database_url)
    outbox = METADATA.tables["outbox"].c
    async with database.reading() as connection:
        rows = await connection.execute(select(outbox.payload).where(outbox.type == ImageChanged.DESCRIPTOR.full_name))
        found = Counter(ImageChanged.FromString(payload).image for (payload,) in rows)
    await database.close()
    return found


async def replaced(home: Path) -> int:
    database = Database(DatasetSettings(home=home).database_url)
    async with database.reading() as connection:
        number = len((await connection.execute(select(METADATA.tables["replaced_labels"].c.uid))).all())
    await database.close()
    return number


@pytest.mark.timeout(120)
async def test_an_import_that_is_killed_twice_does_every_row_once(tmp_path: Path) -> None:
    chance = random.Random(7)
    folder = tmp_path / "images"
    image = write_image(folder / ".one.jpg")
    old = write_labels(folder / ".one.xml", [("old", (5, 5, 50, 30))])
    keys = [f"page{number:04}.jpg" for number in range(NUM_IMAGES)]
    for key in keys:
        os.link(image, folder / key)
        (folder / key).with_suffix(".xml").write_bytes(old.read_bytes())
    (tmp_path / "nats").mkdir()
    async with nats_server(tmp_path / "nats") as nats, dataset_process(tmp_path, folder, nats) as service:
        name = await service.create(str(folder))

        async def indexed() -> None:
            assert (await service.get(name)).sync_number == 1

        await assert_eventually(indexed, timeout_seconds=60)
        data = "".join(f"{key}\t{BOX}\n" for key in keys).encode()
        started = await uploaded(service.stub, name, "Label.txt", data, overwrite=True)
        seen: list[int] = []
        for kill_at in sorted(chance.sample(range(1, NUM_IMAGES - 50), 2)):

            async def is_there(kill_at: int = kill_at) -> transfer_pb2.LabelImport:
                one = await call(service.stub.GetLabelImport, transfer_pb2.GetLabelImportRequest(name=started.name))
                assert one.counts.num_rows >= kill_at
                return one

            one = await assert_eventually(is_there, timeout_seconds=60)
            seen.append(one.counts.num_rows)
            await service.kill()
            await service.start()
        one = await ended(service.stub, started.name, timeout_seconds=60)
        assert (one.state, one.counts.num_rows, one.counts.num_imported) == (State.SUCCEEDED, NUM_IMAGES, NUM_IMAGES)
        # The first kill came in the middle.
        assert seen[0] < NUM_IMAGES
        rows = await rows_of(service.stub, one.name)
        assert [(row.number, row.key) for row in rows] == list(enumerate(keys, start=1))
        assert await replaced(service.home) == NUM_IMAGES
        assert set((await changes(service.home)).values()) == {1}


async def test_a_page_takes_imported_labels_over_and_a_draft_is_not_lost(tmp_path: Path, databases: Databases) -> None:
    async with labeling_world(tmp_path) as world:
        for key in ("draft.png", "plain.png"):
            write_labels(write_image(world.folder / key).with_suffix(".xml"), [("old", (5, 5, 50, 30))])
        dataset = await world.indexed()
        pages = await world.opened(dataset.name, 2)
        images = await world.images(dataset.name)
        draft = await world.page(images["draft.png"])
        retype = page_pb2.RetypeBox(box_id=draft.boxes[0].box_id, text="mine")
        await world.apply(draft, page_pb2.Operation(operation_id="one", retype_box=retype))
        data = "".join(f"{key}\t{BOX}\n" for key in pages).encode()
        started = await uploaded(world.dataset, dataset.name, "Label.txt", data, overwrite=True)
        assert (await ended(world.dataset, started.name)).counts.num_imported == 2

        async def taken_over() -> None:
            assert [box.text for box in (await world.page(images["plain.png"])).boxes] == ["new"]

        await assert_eventually(taken_over)
        assert [box.text for box in (await world.page(images["draft.png"])).boxes] == ["mine"]
