"""The trash over running services: what is in it, what it refuses, and that nothing is lost on the way out."""

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from inkwright.common.v1 import geometry_pb2
from inkwright.dataset.v1 import dataset_pb2, dataset_service_pb2, trash_pb2, upload_pb2
from inkwright.labeling.v1 import labeling_service_pb2, page_pb2
from libs.runtime.errors import AlreadyExists, Conflict, DatasetInTrash, NotFound, WrongState
from libs.runtime.grpc_client import call
from libs.runtime.testing import assert_eventually
from services.dataset.uploads import worker as upload_worker
from tests.integration.conftest import Databases
from tests.integration.pictures import write_image, write_labels
from tests.integration.uploading import Upload, begin, ended, get_upload, picture, send_chunk, zipped
from tests.integration.world import PROJECT, World, dataset_world, labeling_world

pytestmark = pytest.mark.asyncio(loop_scope="module")

State = page_pb2.Page


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory, module_databases: Databases) -> AsyncIterator[World]:
    async with labeling_world(tmp_path_factory.mktemp("world")) as running:
        yield running


@pytest.fixture
def world(shared: World, request: pytest.FixtureRequest) -> World:
    world = shared.apart("d" + hashlib.sha256(request.node.name.encode()).hexdigest()[:12])
    write_labels(write_image(world.folder / "a.png").with_suffix(".xml"), [("hello", (5, 5, 50, 30))])
    write_image(world.folder / "b.png")
    return world


async def trash(world: World) -> dict[str, dataset_pb2.Dataset]:
    """By name."""
    reply = await call(world.dataset.ListTrash, trash_pb2.ListTrashRequest(parent=PROJECT, page_size=1000))
    return {row.name: row for row in reply.datasets}


async def listed(world: World) -> set[str]:
    request = dataset_service_pb2.ListDatasetsRequest(parent=PROJECT, page_size=1000)
    return {row.name for row in (await call(world.dataset.ListDatasets, request)).datasets}


async def closed(world: World) -> None:
    """Until labeling has heard of the trash."""

    async def refuses() -> None:
        assert await seen(world) is None

    await assert_eventually(refuses)


async def reopened(world: World, keys: set[str]) -> dict[str, page_pb2.Page]:
    """The pages once labeling has heard of the restore and of all images."""

    async def answers() -> dict[str, page_pb2.Page]:
        found = await seen(world)
        assert found is not None
        assert set(found) == keys
        return found

    return await assert_eventually(answers)


async def seen(world: World) -> dict[str, page_pb2.Page] | None:
    """The pages; None while they are closed with their dataset."""
    try:
        return await world.pages(world.name)
    except DatasetInTrash:
        return None


async def drafted(world: World) -> page_pb2.Page:
    """The page of ``b.png`` with a box that nobody submitted."""
    page = (await world.opened(world.name, 2))["b.png"]
    corners = ((10, 10), (50, 10), (50, 30), (10, 30))
    quad = geometry_pb2.Quad(points=[geometry_pb2.Point(x=x, y=y) for x, y in corners])
    box = page_pb2.Box(box_id="b1", quad=quad, text="draft", source=page_pb2.Box.HUMAN)
    return await world.apply(page, page_pb2.Operation(operation_id="o1", create_box=page_pb2.CreateBox(box=box)))


async def test_a_deleted_dataset_is_in_the_trash_and_comes_back_as_it_was(world: World) -> None:
    dataset = await world.indexed()
    version = await call(world.dataset.FreezeDataset, dataset_service_pb2.FreezeDatasetRequest(name=world.name, request_id="f"))
    await world.delete()
    assert world.name not in await listed(world)
    kept = (await trash(world))[world.name]
    assert (kept.counts, kept.purge_time.seconds - kept.trash_time.seconds) == (dataset.counts, 30 * 24 * 3600)

    restored = await world.restore()
    assert not restored.HasField("trash_time")
    assert world.name in await listed(world)
    assert world.name not in await trash(world)
    assert (await world.synced(world.name, dataset.sync_number + 1)).counts == dataset.counts
    assert await call(world.dataset.GetVersion, dataset_service_pb2.GetVersionRequest(name=version.name)) == version


async def test_what_is_in_the_trash_refuses_every_call_and_says_how_to_restore_it(world: World) -> None:
    await world.indexed()
    images = await world.images(world.name)
    await world.delete()
    calls: list[tuple[Any, Any]] = [
        (world.dataset.GetDataset, dataset_service_pb2.GetDatasetRequest(name=world.name)),
        (world.dataset.SyncDataset, dataset_service_pb2.SyncDatasetRequest(name=world.name)),
        (world.dataset.DeleteDataset, dataset_service_pb2.DeleteDatasetRequest(name=world.name)),
        (world.dataset.ListImages, dataset_service_pb2.ListImagesRequest(parent=world.name)),
        (world.dataset.GetImage, dataset_service_pb2.GetImageRequest(name=images["a.png"].name)),
        (world.dataset.FreezeDataset, dataset_service_pb2.FreezeDatasetRequest(name=world.name, request_id="f")),
        (
            world.dataset.CreateUpload,
            upload_pb2.CreateUploadRequest(parent=world.name, upload=upload_pb2.Upload(file_name="c.png", size_bytes=1)),
        ),
    ]
    for method, request in calls:
        with pytest.raises(DatasetInTrash, match="inkctl dataset restore"):
            await call(method, request)
    assert set(await world.images(world.name, show_trashed=True)) == {"a.png", "b.png"}
    with pytest.raises(AlreadyExists, match="restore or purge"):
        await world.create()


async def test_pages_close_with_the_trash_and_reopen_with_their_drafts(world: World) -> None:
    await world.indexed()
    draft = await drafted(world)
    await world.delete()
    await closed(world)
    with pytest.raises(DatasetInTrash):
        await world.submit(draft)
    with pytest.raises(DatasetInTrash):
        await call(world.labeling.GetPage, labeling_service_pb2.GetPageRequest(name=draft.name))

    await world.restore()
    pages = await reopened(world, {"a.png", "b.png"})
    assert [pages["b.png"].state, pages["a.png"].state] == [State.DRAFT, State.DRAFT]
    again = await call(world.labeling.GetPage, labeling_service_pb2.GetPageRequest(name=draft.name))
    assert ([box.text for box in again.boxes], again.sequence) == (["draft"], draft.sequence)
    assert (await world.submit(again)).state == State.SUBMITTED


async def test_what_was_told_before_the_trash_is_heard_in_it(world: World) -> None:
    await world.indexed()
    await world.opened(world.name, 2)
    write_image(world.folder / "c.png")
    await world.sync(world.name)
    # The facts about the new image may still be on their way.
    await world.delete()
    await closed(world)
    await world.restore()
    await reopened(world, {"a.png", "b.png", "c.png"})


async def test_a_file_that_came_meanwhile_is_indexed_after_the_restore_and_not_before(world: World) -> None:
    dataset = await world.indexed()
    await world.delete()
    write_image(world.folder / "c.png")
    assert set(await world.images(world.name, show_trashed=True)) == {"a.png", "b.png"}
    await world.restore()
    assert (await world.synced(world.name, dataset.sync_number + 1)).counts.num_images == 3


async def test_an_upload_rests_with_its_dataset_and_goes_on_after_the_restore(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload_worker, "BATCH_ROWS", 1)
    await world.indexed()
    data = picture(tmp_path)
    pack = zipped({f"{number:02}.png": data for number in range(20)})
    begun = await begin(world.dataset, world.name, "all.zip", len(pack))
    await send_chunk(world.dataset, begun.name, 0, pack)
    await world.delete()
    with pytest.raises(DatasetInTrash):
        await get_upload(world.dataset, begun.name)
    await world.restore()
    done = await ended(world.dataset, begun.name)
    assert (done.state, done.counts.num_stored) == (Upload.DONE, 20)


async def test_only_what_is_in_the_trash_is_purged_or_restored(world: World) -> None:
    dataset = await world.indexed()
    await drafted(world)
    with pytest.raises(WrongState, match="not in the trash"):
        await world.purge()
    with pytest.raises(WrongState, match="not in the trash"):
        await world.restore()
    await world.delete()
    with pytest.raises(Conflict):
        await call(world.dataset.PurgeDataset, trash_pb2.PurgeDatasetRequest(name=world.name, etag=dataset.etag))
    await world.purge()
    assert world.name not in await trash(world)
    with pytest.raises(NotFound):
        await world.restore()
    assert sorted(path.name for path in world.folder.iterdir()) == ["a.png", "a.xml", "b.png"]
    # The name is free, and nothing of the old pages comes up under it.
    assert (await world.indexed()).counts.num_images == 2

    async def starts_afresh() -> None:
        found = await seen(world)
        assert found is not None
        assert {key: page.num_boxes for key, page in found.items()} == {"a.png": 1, "b.png": 0}

    await assert_eventually(starts_afresh)


async def test_after_its_days_it_is_purged(tmp_path: Path, databases: Databases, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INKWRIGHT_TRASH_DAYS", "0")
    async with dataset_world(tmp_path) as alone:
        write_image(alone.folder / "a.png")
        await alone.indexed()
        await alone.delete()

        async def is_gone() -> None:
            assert await trash(alone) == {}

        await assert_eventually(is_gone)
        assert (await alone.indexed()).counts.num_images == 1
