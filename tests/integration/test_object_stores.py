"""What every object store promises, on the local folder and on OSS."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from libs.runtime.errors import AlreadyExists, Conflict, InvalidInput, NotFound
from libs.runtime.local_folder import LocalFolder
from libs.runtime.object_store import ObjectStore
from libs.runtime.oss_bucket import OssBucket
from libs.runtime.oss_client import OssClient
from libs.runtime.oss_connection import OssConnection
from tests.integration.listing import all_keys, fill
from tests.oss_server import FolderObjects, oss_server

KEYS = ("a.jpg", "a/b.jpg", "a/c/d.jpg", "a/c/ä ö.jpg", "a0.jpg", "b.jpg", "c/d/e/f.jpg", "c/d/g.jpg", "Z.jpg")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder beside others, whose files are the store's objects."""
    root = tmp_path / "root"
    root.mkdir()
    fill(tmp_path, "outside.txt", "root0.jpg")
    return root


@pytest.fixture(params=["local", "oss v4", "oss v1"])
def store(root: Path, request: pytest.FixtureRequest) -> Iterator[ObjectStore]:
    kind, _, version = request.param.partition(" ")
    if kind == "local":
        yield LocalFolder(root)
        return
    with oss_server() as server:
        server.new_bucket("images", FolderObjects(root.parent))
        client = OssClient("test", OssConnection.model_validate(server.connection(signature=version)))
        yield OssBucket(client, "images", "root/")
        client.close()


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
async def test_a_listing_is_sorted_and_whole_whatever_the_page(limit: int, root: Path, store: ObjectStore) -> None:
    fill(root, *KEYS)
    assert await all_keys(store, limit=limit) == sorted(KEYS)


@pytest.mark.parametrize("prefix", ["a", "a/", "a/c", "c/d/g", "nothing", "b.jpg"])
async def test_a_prefix_narrows_the_listing(prefix: str, root: Path, store: ObjectStore) -> None:
    fill(root, *KEYS)
    assert await all_keys(store, prefix=prefix, limit=2) == sorted(key for key in KEYS if key.startswith(prefix))


async def test_a_listing_begins_behind_any_key(root: Path, store: ObjectStore) -> None:
    fill(root, *KEYS)
    for prefix in ("", "a", "a/", "c/d/"):
        for after in (
            "",
            "A",
            "a",
            "a.jpg",
            "a/",
            "a/b.jpg",
            "a/c",
            "a/c/",
            "a/c/x",
            "a/z",
            "a1",
            "c/d/f",
            "c/d/e/f.jpg",
            "c/\U0010ffff",
            "z",
        ):
            found = [item.key for item in (await store.list(prefix, after=after)).items]
            assert found == sorted(key for key in KEYS if key.startswith(prefix) and key > after), (prefix, after)


async def test_a_listing_says_what_a_look_says(root: Path, store: ObjectStore) -> None:
    fill(root, "a.jpg")
    os.utime(root / "a.jpg", (1_700_000_000, 1_700_000_000))
    (listed,) = (await store.list()).items
    assert listed == await store.head("a.jpg")
    assert listed.modified_time.timestamp() == 1_700_000_000


@pytest.mark.parametrize("limit", [1, 100])
async def test_hidden_names_are_left_out(limit: int, root: Path, store: ObjectStore) -> None:
    fill(root, ".a.jpg", ".git/config", "b/.c.jpg", "b/c.jpg", "d/.e/f.jpg")
    assert await all_keys(store, limit=limit) == ["b/c.jpg"]
    for key in (".a.jpg", "d/.e/f.jpg"):
        with pytest.raises(NotFound, match="hidden"):
            await store.read(key)


async def test_names_are_taken_as_they_are(root: Path, store: ObjectStore) -> None:
    names = [
        "a?b.jpg",
        "a&b=c.jpg",
        "a+b c.jpg",
        "100%.jpg",
        "a%2Fb.jpg",
        "票据/中文 名.jpg",
        "#1;x,y.jpg",
        "q'\"<>.jpg",
        "😀.jpg",
        "a\\b.jpg",
        "a\nb.jpg",
    ]
    fill(root, *names)
    assert await all_keys(store, limit=3) == sorted(names)
    for name in names:
        assert await store.read(name) == name.encode()
        info = await store.write_new(f"new/{name}", b"written")
        assert await store.head(f"new/{name}") == info
        await store.delete(f"new/{name}")


async def test_what_is_written_is_read(root: Path, store: ObjectStore) -> None:
    info = await store.write_new("x/y.xml", b"0123456789")
    assert (info.key, info.size_bytes) == ("x/y.xml", 10)
    assert await store.head("x/y.xml") == info
    assert await store.read("x/y.xml") == b"0123456789"
    assert await store.read("x/y.xml", start=3, length=4) == b"3456"
    assert await store.read("x/y.xml", start=8, length=100) == b"89"
    assert await store.read("x/y.xml", start=7) == b"789"
    assert await store.read("x/y.xml", start=10, length=5) == b""
    assert await store.read("x/y.xml", start=3, length=0) == b""
    assert [chunk async for chunk in store.read_stream("x/y.xml", chunk_bytes=4)] == [b"0123", b"4567", b"89"]
    assert os.listdir(root / "x") == ["y.xml"]


async def test_an_empty_object_is_one(root: Path, store: ObjectStore) -> None:
    assert (await store.write_new("empty.xml", b"")).size_bytes == 0
    assert await store.read("empty.xml") == b""
    assert [chunk async for chunk in store.read_stream("empty.xml")] == []


async def test_a_taken_key_is_not_overwritten(root: Path, store: ObjectStore) -> None:
    await store.write_new("y.xml", b"first")
    for content in (b"second", b"first"):
        with pytest.raises(AlreadyExists):
            await store.write_new("y.xml", content)
    assert await store.read("y.xml") == b"first"
    assert os.listdir(root) == ["y.xml"]


async def test_replacing_needs_the_latest_etag(root: Path, store: ObjectStore) -> None:
    info = await store.write_new("y.xml", b"first")
    second = await store.replace("y.xml", b"other", if_etag=info.etag)
    assert second.etag != info.etag
    assert second.size_bytes == info.size_bytes
    with pytest.raises(Conflict):
        await store.replace("y.xml", b"third", if_etag=info.etag)
    assert await store.read("y.xml") == b"other"
    assert os.listdir(root) == ["y.xml"]


async def test_a_change_from_outside_changes_the_etag(root: Path, store: ObjectStore) -> None:
    before = await store.write_new("y.xml", b"first")
    os.utime(root / "y.xml", ns=(before_ns := 1_700_000_000_000_000_000, before_ns))
    (root / "y.xml").write_bytes(b"other")
    assert (await store.head("y.xml")).etag != before.etag


async def test_what_is_not_there_is_not_found(root: Path, store: ObjectStore) -> None:
    fill(root, "folder/a.jpg")
    for key in ("no.jpg", "folder", "folder/a.jpg/b.jpg", "no/folder/a.jpg"):
        with pytest.raises(NotFound):
            await store.read(key)
        with pytest.raises(NotFound):
            await store.head(key)
        with pytest.raises(NotFound):
            await store.replace(key, b"", if_etag="x")
        with pytest.raises(NotFound):
            _ = [chunk async for chunk in store.read_stream(key)]
    with pytest.raises(NotFound):
        await store.delete("no.jpg")


async def test_a_key_that_is_too_long_is_refused(store: ObjectStore) -> None:
    for attempt in (store.read("x" * 2000), store.write_new("x" * 2000, b"")):
        with pytest.raises(InvalidInput):
            await attempt


async def test_a_deleted_object_is_gone(root: Path, store: ObjectStore) -> None:
    await store.write_new("y.xml", b"first")
    await store.delete("y.xml")
    assert await all_keys(store) == []


@pytest.mark.parametrize("key", ["../outside.txt", "a/../../outside.txt", "", ".", "a/./b", "a/", "a\0b"])
async def test_no_key_leads_out(key: str, store: ObjectStore) -> None:
    with pytest.raises(InvalidInput) as caught:
        await store.read(key)
    assert caught.value.reason == "OUTSIDE_ROOTS"
    with pytest.raises(InvalidInput):
        await store.write_new(key, b"x")
