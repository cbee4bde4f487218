"""Every format, out of one dataset and into another: nothing is lost but what the format has no field for."""

import hashlib
import io
import zipfile
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.integration.label_trips import OF_CROPS, OF_PAGES, PAGES, done, there_and_back, write_pages
from tests.integration.transfers import Outcome, exported
from tests.integration.world import World, dataset_world

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with dataset_world(tmp_path_factory.mktemp("world")) as running:
        yield running


@pytest.fixture
def world(shared: World, request: pytest.FixtureRequest) -> World:
    return shared.apart("d" + hashlib.sha256(request.node.name.encode()).hexdigest()[:12])


@pytest.mark.parametrize("key", OF_PAGES)
async def test_what_goes_out_comes_in_again_but_for_what_the_format_lacks(world: World, key: str) -> None:
    await there_and_back(world, key)


@pytest.mark.parametrize("key", OF_CROPS)
async def test_crops_go_out_with_their_texts_and_come_in_again(world: World, key: str) -> None:
    write_pages(world)
    source = await world.indexed()
    data, _ = await exported(world.dataset, source.name, key)
    other = world.apart(world.dataset_id + "-2")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        archive.extractall(other.folder, [name for name in archive.namelist() if name.endswith((".png", ".jpg"))])
    target = await other.indexed()
    rows = await done(other, target.name, "labels.zip", data, label_format=key)
    assert {Outcome.Name(row.outcome) for row in rows} == {"IMPORTED"}
    labels = [await other.labels(image) for image in (await other.images(target.name)).values()]
    texts = sorted(box.text for one in labels for box in one.boxes)
    assert texts == sorted(box.text for page in PAGES.values() for box in page.boxes if not box.unreadable)
