"""The index of a real folder: what is found, what is wrong with it, and what changes."""

import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import pytest_asyncio

from inkwright.dataset.v1 import dataset_pb2, dataset_service_pb2
from libs.runtime.allowed_roots import OutsideRoots, PathNotFound
from libs.runtime.errors import AlreadyExists, Conflict, InvalidInput, NotFound
from libs.runtime.grpc_client import call
from libs.runtime.names import InvalidName
from libs.runtime.paging import InvalidPageToken
from libs.runtime.testing import assert_eventually
from services.dataset.domain import StorageNotOffered
from services.dataset.indexing import stretches
from services.dataset.indexing.measure import HEAD_BYTES
from tests.integration.conftest import ON_LOCAL, Databases
from tests.integration.pictures import write_image, write_labels
from tests.integration.world import World, dataset_world

FINDING = dataset_pb2.Finding


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory, module_databases: Databases, storage: str) -> AsyncIterator[World]:
    async with dataset_world(tmp_path_factory.mktemp("world"), storage=storage) as running:
        yield running


@pytest.fixture
def world(shared: World, request: pytest.FixtureRequest) -> World:
    return shared.apart("d" + hashlib.sha256(request.node.name.encode()).hexdigest()[:12])


def codes(image: dataset_pb2.Image) -> list[tuple[str, int]]:
    return [(finding.code, finding.severity) for finding in image.findings]


async def test_every_kind_of_bad_input_is_a_finding_on_its_row(world: World) -> None:
    folder = world.folder
    write_labels(write_image(folder / "good.jpg").with_suffix(".xml"), [("hello", (5, 5, 50, 30)), ("world", (5, 40, 50, 70))])
    write_image(folder / "unlabeled.png")
    write_image(folder / "p" / "q" / "GROSS.JPEG".replace("JPEG", "jpeg"))
    write_labels(write_image(folder / "negative.bmp").with_suffix(".xml"), [])
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 this is no image")
    whole = write_image(folder / "cut.png").read_bytes()
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    write_image(folder / "short30.png", width_px=30)
    write_image(folder / "enough31.png", width_px=31, height_px=31)
    write_image(folder / "noxml.jpg")
    (folder / "noxml.xml").write_text("<annotation>\n<object>\n<name>hello</oops>\n")
    write_labels(write_image(folder / "clipped.jpg").with_suffix(".xml"), [("half", (100, 60, 150, 90)), ("outside", (200, 10, 260, 30))])
    write_labels(folder / "orphan.xml", [("nobody", (1, 1, 9, 9))])
    write_image(folder / "twin.jpg")
    write_image(folder / "twin.png")
    write_image(folder / ".hidden.png")
    (folder / "notes.txt").write_text("nothing")

    dataset = await world.indexed()
    assert dataset.state == dataset_pb2.Dataset.READY
    images = await world.images(dataset.name)
    assert sorted(images) == [
        "broken.jpg", "clipped.jpg", "cut.png", "enough31.png", "good.jpg", "negative.bmp", "noxml.jpg",
        "p/q/GROSS.jpeg", "short30.png", "twin.jpg", "twin.png", "unlabeled.png",
    ]  # fmt: skip

    rejected = {key for key, image in images.items() if image.state == dataset_pb2.Image.REJECTED}
    assert rejected == {"broken.jpg", "cut.png", "short30.png"}
    assert codes(images["broken.jpg"]) == [("IMAGE_UNDECODABLE", FINDING.REJECTED)]
    assert codes(images["cut.png"]) == [("IMAGE_UNDECODABLE", FINDING.REJECTED)]
    assert codes(images["short30.png"]) == [("SIDE_TOO_SHORT", FINDING.REJECTED)]
    assert "30 x 80" in images["short30.png"].findings[0].message
    assert (images["enough31.png"].width_px, codes(images["enough31.png"])) == (31, [])

    good = images["good.jpg"]
    assert (good.width_px, good.height_px, good.num_boxes, good.label_key) == (120, 80, 2, "good.xml")
    assert (good.label_state, codes(good)) == (dataset_pb2.Image.LABELED, [])
    assert images["negative.bmp"].label_state == dataset_pb2.Image.LABELED
    assert images["unlabeled.png"].label_state == dataset_pb2.Image.UNLABELED
    assert (images["noxml.jpg"].state, images["noxml.jpg"].label_state) == (dataset_pb2.Image.USABLE, dataset_pb2.Image.UNLABELED)
    assert codes(images["noxml.jpg"]) == [("LABEL_UNREADABLE", FINDING.REJECTED)]
    assert images["noxml.jpg"].findings[0].line == 3
    assert codes(images["clipped.jpg"]) == [("CLIPPED", FINDING.REPAIRED), ("OUTSIDE_IMAGE", FINDING.SKIPPED)]
    assert images["clipped.jpg"].num_boxes == 1
    assert codes(images["twin.jpg"]) == codes(images["twin.png"]) == [("LABEL_SHARED", FINDING.WARNING)]

    counts = dataset.counts
    assert (counts.num_images, counts.num_labeled, counts.num_unlabeled, counts.num_rejected) == (12, 3, 6, 3)
    assert (counts.num_boxes, counts.num_with_findings) == (3, 7)


async def test_large_files_are_judged_by_their_ends(world: World) -> None:
    def large(name: str) -> bytes:
        pixels = np.random.default_rng(1).integers(0, 255, (200, 300, 3), dtype=np.uint8)
        data: bytes = cv2.imencode(Path(name).suffix, pixels)[1].tobytes()
        assert len(data) > 3 * HEAD_BYTES
        (world.folder / name).write_bytes(data)
        return data

    for name in ("jpeg.jpg", "png.png", "bmp.bmp"):
        data = large(name)
        (world.folder / f"cut-{name}").write_bytes(data[:-200])
    jpeg = (world.folder / "jpeg.jpg").read_bytes()
    comment = b"\xff\xfe" + (60_000).to_bytes(2, "big") + bytes(59_998)
    (world.folder / "long-header.jpg").write_bytes(jpeg[:2] + comment + jpeg[2:])
    (world.folder / "more-behind.jpg").write_bytes(jpeg + bytes(5000))
    (world.folder / "cut-long-header.jpg").write_bytes(jpeg[:2] + comment[:30_000])

    images = await world.images((await world.indexed()).name)
    for name, image in images.items():
        if name.startswith("cut-"):
            assert codes(image) == [("IMAGE_UNDECODABLE", FINDING.REJECTED)], name
            assert "ends" in image.findings[0].message or "cut off" in image.findings[0].message, name
        else:
            assert (image.width_px, image.height_px, codes(image)) == (300, 200, []), name
    assert len(images) == 9


async def test_labels_are_found_where_a_listing_is_cut(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stretches, "SIZE", 2)
    names = [f"{folder}{stem}" for folder in ("", "p.q/", "p/") for stem in ("a", "a.b", "a.c", "p")]
    for name in names:
        write_labels(write_image(world.folder / f"{name}.jpg").with_suffix(".xml"), [(name, (5, 5, 50, 30))])
    dataset = await world.indexed()
    assert (dataset.counts.num_images, dataset.counts.num_labeled) == (12, 12)
    for name in names:
        (world.folder / f"{name}.xml").rename(world.folder / f"{name}.XML")
        synced = await world.sync(dataset.name)
        assert (synced.counts.num_images, synced.counts.num_labeled) == (12, 12), name
    for number, name in enumerate(names, start=1):
        (world.folder / f"{name}.XML").unlink()
        synced = await world.sync(dataset.name)
        assert (synced.counts.num_images, synced.counts.num_labeled) == (12, 12 - number), name
    for name in names:
        (world.folder / f"{name}.jpg").rename(world.folder / f"{name}.bmp.jpg")
    assert sorted(await world.images((await world.sync(dataset.name)).name)) == sorted(f"{name}.bmp.jpg" for name in names)


async def test_indexing_copies_no_image_into_the_home(world: World) -> None:
    for number in range(3):
        write_image(world.folder / f"{number}.png", width_px=90 + number)
    dataset = await world.indexed()
    await call(world.dataset.FreezeDataset, dataset_service_pb2.FreezeDatasetRequest(name=dataset.name, request_id="f"))
    bytes_of_images = [path.read_bytes() for path in world.folder.iterdir()]
    files = [path for path in [*world.home.rglob("*"), *world.nats.folder.glob("store/**/*")] if path.is_file()]
    assert files
    for path in files:
        content = path.read_bytes()
        for image in bytes_of_images:
            assert image[40:90] not in content
            assert image[:8] not in content


async def test_images_are_listed_page_by_page_and_filtered(world: World) -> None:
    for number in range(7):
        write_image(world.folder / f"i{number}.png")
    write_labels(world.folder / "i3.xml", [("x", (5, 5, 50, 30))])
    (world.folder / "i5.png").write_bytes(b"broken")
    dataset = await world.indexed()

    keys: list[str] = []
    request = dataset_service_pb2.ListImagesRequest(parent=dataset.name, page_size=3)
    while True:
        reply = await call(world.dataset.ListImages, request)
        assert reply.total_size == 7
        keys += [image.key for image in reply.images]
        if not reply.next_page_token:
            break
        request.page_token = reply.next_page_token
    assert keys == [f"i{number}.png" for number in range(7)]

    with pytest.raises(InvalidPageToken):
        await call(
            world.dataset.ListImages, dataset_service_pb2.ListImagesRequest(parent=dataset.name, key="i1", page_token=request.page_token)
        )
    assert list(await world.images(dataset.name, state=dataset_pb2.Image.REJECTED)) == ["i5.png"]
    assert list(await world.images(dataset.name, label_state=dataset_pb2.Image.LABELED)) == ["i3.png"]
    unlabeled = dataset_service_pb2.ListImagesRequest(parent=dataset.name, label_state=dataset_pb2.Image.UNLABELED, page_size=4)
    first = await call(world.dataset.ListImages, unlabeled)
    unlabeled.page_token = first.next_page_token
    rest = await call(world.dataset.ListImages, unlabeled)
    assert [image.key for image in (*first.images, *rest.images)] == [f"i{number}.png" for number in (0, 1, 2, 4, 5, 6)]
    assert (first.total_size, rest.total_size, rest.next_page_token) == (6, 6, "")
    usable = dataset_service_pb2.ListImagesRequest(parent=dataset.name, state=dataset_pb2.Image.USABLE, key="i3")
    assert (await call(world.dataset.ListImages, usable)).total_size == 1
    assert list(await world.images(dataset.name, key="i2")) == ["i2.png"]
    assert list(await world.images(dataset.name, key="i2.png")) == ["i2.png"]
    assert await world.images(dataset.name, key="i") == {}
    image = (await world.images(dataset.name, key="i4"))["i4.png"]
    absent = f"{dataset.name}/images/img_0000"
    assert list(await world.images(dataset.name, names=[image.name, absent])) == ["i4.png"]
    assert await call(world.dataset.GetImage, dataset_service_pb2.GetImageRequest(name=image.name)) == image
    with pytest.raises(NotFound):
        await call(world.dataset.GetImage, dataset_service_pb2.GetImageRequest(name=absent))
    with pytest.raises(InvalidInput):
        await world.images(dataset.name, names=["projects/default/datasets/other/images/img_1"])


async def test_a_sync_takes_over_what_changed_and_only_that(world: World) -> None:
    for name in ("same", "redrawn", "relabeled", "gone", "broken"):
        write_labels(write_image(world.folder / f"{name}.png").with_suffix(".xml"), [(name, (5, 5, 50, 30))])
    dataset = await world.indexed()
    before = await world.images(dataset.name)

    write_image(world.folder / "redrawn.png", width_px=200, grey=100)
    write_labels(world.folder / "relabeled.xml", [("one", (5, 5, 50, 30)), ("two", (5, 40, 50, 70))])
    (world.folder / "gone.png").unlink()
    (world.folder / "broken.png").write_bytes(b"broken")
    write_image(world.folder / "new.png")
    synced = await world.sync(dataset.name)
    after = await world.images(dataset.name)

    assert sorted(after) == ["broken.png", "new.png", "redrawn.png", "relabeled.png", "same.png"]
    assert after["same.png"] == before["same.png"]
    assert after["redrawn.png"].width_px == 200
    assert after["redrawn.png"].name == before["redrawn.png"].name
    assert after["relabeled.png"].num_boxes == 2
    assert after["relabeled.png"].label_digest != before["relabeled.png"].label_digest
    assert after["broken.png"].state == dataset_pb2.Image.REJECTED
    counts = synced.counts
    assert (counts.num_images, counts.num_labeled, counts.num_unlabeled, counts.num_rejected, counts.num_boxes) == (5, 3, 1, 1, 4)

    os.remove(world.folder / "same.xml")
    unlabeled = await world.sync(dataset.name)
    assert (await world.images(dataset.name))["same.png"].label_state == dataset_pb2.Image.UNLABELED
    assert (unlabeled.counts.num_labeled, unlabeled.sync_number) == (2, 3)


@ON_LOCAL
async def test_a_folder_that_went_away_keeps_the_index(world: World) -> None:
    write_image(world.folder / "a.png")
    dataset = await world.indexed()
    world.folder.rename(world.roots / "elsewhere")
    await call(world.dataset.SyncDataset, dataset_service_pb2.SyncDatasetRequest(name=dataset.name))

    async def failed() -> dataset_pb2.Dataset:
        found = await world.get(dataset.name)
        assert found.state == dataset_pb2.Dataset.FAILED
        return found

    assert "There is no folder" in (await assert_eventually(failed)).error_message
    assert len(await world.images(dataset.name)) == 1
    # An empty folder is what an unmounted disk looks like.
    world.folder.mkdir()
    await call(world.dataset.SyncDataset, dataset_service_pb2.SyncDatasetRequest(name=dataset.name))

    async def says_empty() -> None:
        assert "holds no image any more" in (await world.get(dataset.name)).error_message

    await assert_eventually(says_empty)
    assert len(await world.images(dataset.name)) == 1
    world.folder.rmdir()
    (world.roots / "elsewhere").rename(world.folder)
    repaired = await world.sync(dataset.name)
    assert (repaired.state, repaired.error_message) == (dataset_pb2.Dataset.READY, "")


@pytest.mark.parametrize("dataset_id", ["", "-a", "a b", "x" * 31, "ä"])
async def test_names_that_break_the_rule_are_refused(world: World, dataset_id: str) -> None:
    write_image(world.folder / "a.png")
    with pytest.raises(InvalidName):
        await world.create(dataset_id)


@ON_LOCAL
async def test_paths_that_cannot_be_indexed_are_refused(world: World, tmp_path: Path) -> None:
    # The training service has a fault of the same reason; which of the two a client raises depends on what is loaded.
    with pytest.raises(InvalidInput, match="holds no JPG, PNG or BMP"):
        await world.create()
    write_image(world.folder / "a.png")
    with pytest.raises(PathNotFound):
        await world.create(path=str(world.roots / "nowhere"))
    with pytest.raises(PathNotFound):
        await world.create(path=str(world.folder / "a.png"))
    write_image(tmp_path / "outside" / "a.png")
    with pytest.raises(OutsideRoots):
        await world.create(path=str(tmp_path / "outside"))
    (world.roots / "link").symlink_to(tmp_path / "outside")
    with pytest.raises(OutsideRoots):
        await world.create(path=str(world.roots / "link"))
    with pytest.raises(InvalidInput):
        await world.create(path="images")
    with pytest.raises(StorageNotOffered, match="not offered by this installation"):
        await world.create(path="oss://images/cards/")
    with pytest.raises(InvalidInput, match="has no connection"):
        await world.create(connection="default")
    with pytest.raises(NotFound):
        await world.get(world.name)


@ON_LOCAL
async def test_a_folder_may_be_named_by_its_url(world: World) -> None:
    write_image(world.folder / "a.png")
    by_url = await world.create(path=world.folder.as_uri())
    assert (await world.synced(by_url.name, 1)).counts.num_images == 1


async def test_a_repeated_create_gives_the_first_dataset(world: World) -> None:
    write_image(world.folder / "a.png")
    once, twice = f"{world.dataset_id}-once", f"{world.dataset_id}-twice"
    first = await world.create(request_id=once)
    again = await world.create(request_id=once)
    assert (again.name, again.create_time) == (first.name, first.create_time)
    with pytest.raises(AlreadyExists):
        await world.create(request_id=twice)
    with pytest.raises(AlreadyExists):
        await world.create()
    listing = dataset_service_pb2.ListDatasetsRequest(parent="projects/default", page_size=1000)
    listed = [dataset.name for dataset in (await call(world.dataset.ListDatasets, listing)).datasets]
    assert first.name in listed
    assert listed == sorted(listed)


async def test_describe_and_delete_mind_the_etag(world: World) -> None:
    write_image(world.folder / "a.png")
    dataset = await world.indexed()
    update = dataset_service_pb2.UpdateDatasetRequest(
        dataset=dataset_pb2.Dataset(name=dataset.name, description="Cards", etag=dataset.etag)
    )
    changed = await call(world.dataset.UpdateDataset, update)
    assert (changed.description, changed.path) == ("Cards", dataset.path)
    with pytest.raises(Conflict):
        await call(world.dataset.UpdateDataset, update)
    update.dataset.path = "/elsewhere"
    with pytest.raises(InvalidInput, match="not path"):
        await call(world.dataset.UpdateDataset, update)
    with pytest.raises(Conflict):
        await call(world.dataset.DeleteDataset, dataset_service_pb2.DeleteDatasetRequest(name=dataset.name, etag=dataset.etag))
    await call(world.dataset.DeleteDataset, dataset_service_pb2.DeleteDatasetRequest(name=dataset.name, etag=changed.etag))
    await world.purge()
    with pytest.raises(NotFound):
        await world.get(dataset.name)
    assert (world.folder / "a.png").exists()
    assert (await world.indexed()).counts.num_images == 1


async def test_a_version_keeps_what_the_dataset_held(world: World) -> None:
    write_labels(write_image(world.folder / "a.png").with_suffix(".xml"), [("hello", (5, 5, 50, 30))])
    write_image(world.folder / "b.png")
    (world.folder / "c.png").write_bytes(b"broken")
    dataset = await world.indexed()
    freeze = dataset_service_pb2.FreezeDatasetRequest(name=dataset.name, request_id="f1")
    version = await call(world.dataset.FreezeDataset, freeze)
    assert (version.num_images, version.num_labeled) == (2, 1)

    write_labels(world.folder / "a.xml", [("changed", (5, 5, 50, 30))])
    await world.sync(dataset.name)
    assert await call(world.dataset.FreezeDataset, freeze) == version
    assert await call(world.dataset.GetVersion, dataset_service_pb2.GetVersionRequest(name=version.name)) == version
    entries = (await call(world.dataset.ListVersionEntries, dataset_service_pb2.ListVersionEntriesRequest(parent=version.name))).entries
    assert [entry.key for entry in entries] == ["a.png", "b.png"]
    assert [[box.text for box in entry.boxes] for entry in entries] == [["hello"], []]
    assert (entries[0].width_px, entries[0].size_bytes) == (120, (world.folder / "a.png").stat().st_size)
    assert [bool(entry.label_digest) for entry in entries] == [True, False]

    freeze.request_id = "f2"
    other = await call(world.dataset.FreezeDataset, freeze)
    assert other.digest != version.digest
    freeze.request_id = "f3"
    assert (await call(world.dataset.FreezeDataset, freeze)).digest == other.digest
    listed = await call(world.dataset.ListVersions, dataset_service_pb2.ListVersionsRequest(parent=dataset.name, page_size=2))
    assert [one.name for one in listed.versions][1] == other.name
    assert listed.next_page_token
    freeze.request_id = ""
    with pytest.raises(InvalidInput):
        await call(world.dataset.FreezeDataset, freeze)
