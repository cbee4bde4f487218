"""Versions by filter, of several datasets, with a test set, and what differs between two of them."""

import hashlib
from collections.abc import AsyncIterator, Iterable

import pytest
import pytest_asyncio

from inkwright.dataset.v1 import dataset_pb2, dataset_service_pb2, version_pb2
from libs.runtime.errors import InvalidInput, NotFound
from libs.runtime.grpc_client import call
from services.dataset.versions import diff_store as version_diff_store
from services.dataset.versions import store as version_store
from tests.integration.conftest import Databases
from tests.integration.pictures import write_image, write_labels
from tests.integration.world import PROJECT, World, dataset_world

pytestmark = pytest.mark.asyncio(loop_scope="module")

Filter = dataset_pb2.VersionFilter
Kind = version_pb2.VersionDifference
KEYS = ["B.png", "a.png", "aXb/1.png", "a_b/1.png", "card/1.png", "card/2.png", "ä.png", "\uff21.png", "\U0001f600.png"]
"""In order of their code points, which is not that of UTF-16 nor of any language."""


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory, module_databases: Databases) -> AsyncIterator[World]:
    async with dataset_world(tmp_path_factory.mktemp("world")) as running:
        yield running


@pytest.fixture
def world(shared: World, request: pytest.FixtureRequest) -> World:
    return shared.apart("d" + hashlib.sha256(request.node.name.encode()).hexdigest()[:12])


async def freeze(world: World, request_id: str, *, further: Iterable[World] = (), **wanted: object) -> dataset_pb2.Version:
    request = dataset_service_pb2.FreezeDatasetRequest(
        name=world.name,
        request_id=request_id,
        filter=Filter(**wanted),  # type: ignore[arg-type]
        further_datasets=[other.name for other in further],
    )
    return await call(world.dataset.FreezeDataset, request)


async def entries(world: World, version: dataset_pb2.Version, *, page_size: int = 2) -> list[dataset_pb2.VersionEntry]:
    request = dataset_service_pb2.ListVersionEntriesRequest(parent=version.name, page_size=page_size)
    found: list[dataset_pb2.VersionEntry] = []
    while True:
        reply = await call(world.dataset.ListVersionEntries, request)
        found += reply.entries
        if not reply.next_page_token:
            return found
        request.page_token = reply.next_page_token


async def keys(world: World, version: dataset_pb2.Version) -> list[str]:
    return [entry.key for entry in await entries(world, version)]


async def diff(
    world: World, old: dataset_pb2.Version, new: dataset_pb2.Version, *, page_size: int = 2
) -> tuple[list[version_pb2.VersionDifference], version_pb2.VersionDifferenceCounts]:
    request = version_pb2.DiffVersionsRequest(name=old.name, other=new.name, page_size=page_size)
    found: list[version_pb2.VersionDifference] = []
    while True:
        reply = await call(world.dataset.DiffVersions, request)
        assert len(reply.differences) <= page_size
        found += reply.differences
        if not reply.next_page_token:
            return found, reply.counts
        request.page_token = reply.next_page_token


async def set_test(world: World, is_test: bool, **which: object) -> version_pb2.SetTestImagesResponse:
    request = version_pb2.SetTestImagesRequest(parent=world.name, is_test=is_test, **which)  # type: ignore[arg-type]
    return await call(world.dataset.SetTestImages, request)


async def test_set_of(world: World) -> list[str]:
    reply = await call(world.dataset.ListTestImages, version_pb2.ListTestImagesRequest(parent=world.name))
    assert reply.total_size == len(reply.images)
    return [image.key for image in reply.images]


test_set_of.__test__ = False  # type: ignore[attr-defined]


async def test_a_version_takes_what_its_filter_takes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(version_store, "_DIGESTED", 2)
    for key in KEYS:
        write_image(world.folder / key)
    write_labels(world.folder / "card/1.xml", [("one", (5, 5, 50, 30)), ("two", (5, 35, 50, 60))])
    write_labels(world.folder / "a.xml", [("one", (5, 5, 50, 30))])
    await world.indexed()
    whole = await freeze(world, "whole")
    assert await keys(world, whole) == sorted(KEYS) == KEYS
    assert not whole.HasField("filter")
    lines = [
        "\0".join([entry.key, str(entry.size_bytes), entry.store_etag, entry.label_digest]) + "\n" for entry in await entries(world, whole)
    ]
    assert whole.digest == hashlib.sha256("".join(lines).encode()).hexdigest()

    assert await keys(world, await freeze(world, "1", key_prefix="card/")) == ["card/1.png", "card/2.png"]
    assert await keys(world, await freeze(world, "2", key_prefix="a_")) == ["a_b/1.png"]
    assert await keys(world, await freeze(world, "3", key_glob="a_b*")) == ["a_b/1.png"]
    assert await keys(world, await freeze(world, "4", key_glob="A*")) == []
    assert await keys(world, await freeze(world, "5", key_glob="?.png")) == ["B.png", "a.png", *KEYS[6:]]
    assert await keys(world, await freeze(world, "6", key_glob="[ac]*")) == []
    assert await keys(world, await freeze(world, "7", min_boxes=2)) == ["card/1.png"]
    labeled = await freeze(world, "8", label_states=[dataset_pb2.Image.LABELED])
    assert await keys(world, labeled) == ["a.png", "card/1.png"]
    assert (labeled.num_images, labeled.num_labeled) == (2, 2)
    left_out = (await world.images(world.name))["a.png"].name
    rest = await freeze(world, "9", excluded_images=[left_out], key_glob="a*")
    assert await keys(world, rest) == ["aXb/1.png", "a_b/1.png"]
    assert rest.filter == Filter(excluded_images=[left_out], key_glob="a*")
    assert await call(world.dataset.GetVersion, dataset_service_pb2.GetVersionRequest(name=rest.name)) == rest
    with pytest.raises(InvalidInput):
        await freeze(world, "10", min_boxes=-1)


async def test_several_datasets_make_one_version(world: World) -> None:
    other = world.apart(f"{world.dataset_id}b")
    for one, grey in ((world, 200), (other, 100)):
        write_labels(write_image(one.folder / "same.png", grey=grey).with_suffix(".xml"), [("hi", (5, 5, 50, 30))])
    write_image(other.folder / "alone.png")
    await world.indexed()
    with pytest.raises(NotFound):
        await freeze(world, "early", further=[other])
    await other.indexed()
    both = await freeze(world, "both", further=[other, other])
    assert [(part.dataset, part.num_images, part.num_labeled) for part in both.parts] == [(world.name, 1, 1), (other.name, 2, 1)]
    assert (both.num_images, both.num_labeled) == (3, 2)
    found = await entries(world, both)
    assert [(entry.image.rsplit("/images/", 1)[0], entry.key) for entry in found] == [
        (world.name, "same.png"), (other.name, "alone.png"), (other.name, "same.png"),
    ]  # fmt: skip
    assert (await freeze(other, "both", further=[world])).digest == both.digest

    alone = await freeze(world, "alone")
    assert not alone.parts
    differences, counts = await diff(world, alone, both)
    assert [(one.image.rsplit("/images/", 1)[0], one.key, one.kind) for one in differences] == [
        (other.name, "alone.png", Kind.ADDED), (other.name, "same.png", Kind.ADDED),
    ]  # fmt: skip
    assert counts == version_pb2.VersionDifferenceCounts(num_added=2, num_unchanged=1)
    request = dataset_service_pb2.FreezeDatasetRequest(name=world.name, request_id="x", further_datasets=["projects/other/datasets/d"])
    with pytest.raises(InvalidInput):
        await call(world.dataset.FreezeDataset, request)


async def test_a_difference_is_found_whatever_the_pages(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(12):
        write_labels(write_image(world.folder / f"{number:02}.png").with_suffix(".xml"), [("old", (5, 5, 50, 30))])
    await world.indexed()
    before = await freeze(world, "before")
    write_image(world.folder / "00.png", grey=90)
    write_labels(world.folder / "03.xml", [("new", (5, 5, 50, 30)), ("more", (5, 35, 50, 60))])
    (world.folder / "04.png").unlink()
    (world.folder / "11.png").unlink()
    write_image(world.folder / "055.png")
    write_image(world.folder / "99.png")
    await world.sync(world.name)
    await set_test(world, True, keys=["07.png"])
    after = await freeze(world, "after")
    whole, counts = await diff(world, before, after, page_size=100)
    assert [(one.key, one.kind) for one in whole] == [
        ("00.png", Kind.CHANGED), ("03.png", Kind.CHANGED), ("04.png", Kind.REMOVED), ("055.png", Kind.ADDED), ("07.png", Kind.CHANGED),
        ("11.png", Kind.REMOVED), ("99.png", Kind.ADDED),
    ]  # fmt: skip
    changed, labels, taken = whole[0], whole[1], whole[4]
    assert (changed.image_changed, changed.labels_changed, labels.image_changed, labels.labels_changed) == (True, False, False, True)
    assert (labels.old_num_boxes, labels.num_boxes, taken.test_changed) == (1, 2, True)
    assert [(change.old_text, change.text) for change in labels.text_changes] == [("old", "new")]
    assert counts == version_pb2.VersionDifferenceCounts(
        num_added=2, num_removed=2, num_image_changed=1, num_labels_changed=1, num_test_changed=1, num_unchanged=7
    )
    for step, size in ((1, 1), (2, 2), (3, 5), (5, 3), (100, 1)):
        monkeypatch.setattr(version_diff_store, "_STEP", step)
        assert await diff(world, before, after, page_size=size) == (whole, counts)
    back, _ = await diff(world, after, before, page_size=100)
    assert [one.key for one in back if one.kind == Kind.ADDED] == ["04.png", "11.png"]
    assert await diff(world, after, after) == ([], version_pb2.VersionDifferenceCounts(num_unchanged=12))
    with pytest.raises(InvalidInput):
        await diff(world, before, dataset_pb2.Version(name="projects/other/datasets/d/versions/v"))


async def test_a_test_set_outlives_syncs_and_is_part_of_versions(world: World) -> None:
    for key in ("a.png", "b.png", "c/1.png", "c/2.png"):
        write_image(world.folder / key)
    await world.indexed()
    plain = await freeze(world, "plain")
    name = (await world.images(world.name))["a.png"].name
    assert await set_test(world, True, names=[name], keys=["b.png"]) == version_pb2.SetTestImagesResponse(num_changed=2, num_test=2)
    assert await set_test(world, True, key_prefix="c/") == version_pb2.SetTestImagesResponse(num_changed=2, num_test=4)
    assert (await set_test(world, True, key_prefix="c/1")).num_changed == 0
    assert await set_test(world, False, keys=["c/2.png"]) == version_pb2.SetTestImagesResponse(num_changed=1, num_test=3)
    version = await freeze(world, "tested")
    assert version.num_test == 3
    assert version.digest != plain.digest
    assert [entry.key for entry in await entries(world, version) if entry.is_test] == ["a.png", "b.png", "c/1.png"]

    (world.folder / "b.png").unlink()
    await world.sync(world.name)
    assert await test_set_of(world) == ["a.png", "b.png", "c/1.png"]
    write_image(world.folder / "b.png", grey=77)
    await world.sync(world.name)
    assert [entry.key for entry in await entries(world, await freeze(world, "again")) if entry.is_test] == ["a.png", "b.png", "c/1.png"]
    for refused in ({}, {"keys": ["a.png"], "key_prefix": "c/"}, {"keys": ["a.png"] * 501}):
        with pytest.raises(InvalidInput):
            await set_test(world, True, **refused)
    with pytest.raises(NotFound):
        await set_test(world, True, keys=["a.png", "nowhere.png"])
    with pytest.raises(InvalidInput):
        await set_test(world, True, names=[f"{PROJECT}/datasets/other/images/img_1"])
