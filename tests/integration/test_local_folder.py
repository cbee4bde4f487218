"""The local folder as an object store, and the folders it may lie in."""

import errno
import os
from pathlib import Path

import pytest

from libs.runtime import local_folder
from libs.runtime.allowed_roots import AllowedRoots
from libs.runtime.errors import AlreadyExists, Conflict, InvalidInput, NoReadyInstance, NotFound
from libs.runtime.local_folder import LocalFolder
from libs.runtime.object_store import ObjectInfo, ObjectStore


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    root.mkdir()
    return root


@pytest.fixture
def store(root: Path) -> ObjectStore:
    return LocalFolder(root)


def fill(root: Path, *keys: str) -> None:
    for key in keys:
        (root / key).parent.mkdir(parents=True, exist_ok=True)
        (root / key).write_bytes(key.encode())


async def all_keys(store: ObjectStore, *, prefix: str = "", limit: int = 1000) -> list[str]:
    found: list[ObjectInfo] = []
    after: str | None = None
    while True:
        page = await store.list(prefix, after=after, limit=limit)
        assert len(page.items) <= limit
        found += page.items
        if page.next_after is None:
            return [item.key for item in found]
        after = page.next_after


KEYS = ("a.jpg", "a/b.jpg", "a/c/d.jpg", "a/c/ä ö.jpg", "a0.jpg", "b.jpg", "c/d/e/f.jpg", "c/d/g.jpg", "Z.jpg")


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
async def test_a_listing_is_sorted_and_whole_whatever_the_page(limit: int, root: Path, store: ObjectStore) -> None:
    fill(root, *KEYS)
    assert await all_keys(store, limit=limit) == sorted(KEYS)


@pytest.mark.parametrize("prefix", ["a", "a/", "a/c", "c/d/g", "nothing", "b.jpg"])
async def test_a_prefix_narrows_the_listing(prefix: str, root: Path, store: ObjectStore) -> None:
    fill(root, *KEYS)
    assert await all_keys(store, prefix=prefix, limit=2) == sorted(key for key in KEYS if key.startswith(prefix))


async def test_hidden_files_and_broken_links_are_left_out(root: Path, store: ObjectStore) -> None:
    fill(root, "seen.jpg", ".hidden.jpg", ".git/config")
    (root / "broken.jpg").symlink_to(root / "nowhere.jpg")
    os.mkfifo(root / "pipe.jpg")
    assert await all_keys(store) == ["seen.jpg"]
    with pytest.raises(NotFound):
        await store.read(".hidden.jpg")


async def test_a_link_in_a_circle_ends(root: Path, store: ObjectStore) -> None:
    fill(root, "a/b.jpg")
    (root / "a" / "again").symlink_to(root)
    assert await all_keys(store) == ["a/b.jpg"]


async def test_a_name_that_is_no_unicode_is_left_out(root: Path, store: ObjectStore) -> None:
    fill(root, "seen.jpg")
    os.mknod(os.fsencode(root) + b"/bad\xff.jpg")
    assert await all_keys(store) == ["seen.jpg"]


async def test_a_remembered_listing_notices_changes(root: Path, store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_folder, "_SETTLED_NS", 0)
    fill(root, "a.jpg", "c.jpg")
    assert await all_keys(store) == ["a.jpg", "c.jpg"]
    fill(root, "b.jpg")
    (root / "a.jpg").unlink()
    assert await all_keys(store) == ["b.jpg", "c.jpg"]


async def test_what_is_written_is_read(root: Path, store: ObjectStore) -> None:
    info = await store.write_new("x/y.xml", b"0123456789")
    assert (info.key, info.size_bytes) == ("x/y.xml", 10)
    assert await store.head("x/y.xml") == info
    assert await store.read("x/y.xml") == b"0123456789"
    assert await store.read("x/y.xml", start=3, length=4) == b"3456"
    assert await store.read("x/y.xml", start=8, length=100) == b"89"
    assert [chunk async for chunk in store.read_stream("x/y.xml", chunk_bytes=4)] == [b"0123", b"4567", b"89"]
    assert (root / "x" / "y.xml").stat().st_mode & 0o777 == 0o644
    assert os.listdir(root / "x") == ["y.xml"]


async def test_a_taken_key_is_not_overwritten(root: Path, store: ObjectStore) -> None:
    await store.write_new("y.xml", b"first")
    with pytest.raises(AlreadyExists):
        await store.write_new("y.xml", b"second")
    assert await store.read("y.xml") == b"first"
    assert os.listdir(root) == ["y.xml"]


async def test_a_disk_without_hard_links_overwrites_nothing_either(root: Path, store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_paths: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    await store.write_new("y.xml", b"first")
    with pytest.raises(AlreadyExists):
        await store.write_new("y.xml", b"second")
    assert await store.read("y.xml") == b"first"


@pytest.mark.parametrize("has_links", [True, False])
async def test_a_full_disk_is_said_and_leaves_what_was_there(
    has_links: bool, root: Path, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = await store.write_new("y.xml", b"first")

    def refuse(*_paths: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    if not has_links:
        monkeypatch.setattr(os, "link", refuse)
    real, num_calls = os.fsync, 0

    def full(descriptor: int) -> None:
        nonlocal num_calls
        num_calls += 1
        # Without links a file is written a second time, under its own name: that is where this disk fills up.
        if has_links or num_calls == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(NoReadyInstance, match="disk is full"):
        await store.write_new("z.xml", b"second")
    num_calls = 1
    with pytest.raises(NoReadyInstance, match="disk is full"):
        await store.replace("y.xml", b"third", if_etag=info.etag)
    assert await store.read("y.xml") == b"first"
    assert os.listdir(root) == ["y.xml"]


async def test_replacing_needs_the_latest_etag_and_keeps_the_mode(root: Path, store: ObjectStore) -> None:
    info = await store.write_new("y.xml", b"first")
    (root / "y.xml").chmod(0o640)
    second = await store.replace("y.xml", b"other", if_etag=info.etag)
    assert second.etag != info.etag
    assert second.size_bytes == info.size_bytes
    with pytest.raises(Conflict):
        await store.replace("y.xml", b"third", if_etag=info.etag)
    assert await store.read("y.xml") == b"other"
    assert (root / "y.xml").stat().st_mode & 0o777 == 0o640
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
        await store.delete("no.jpg")


async def test_a_key_that_is_too_long_is_refused(store: ObjectStore) -> None:
    for attempt in (store.read("x" * 300), store.write_new("x" * 300, b"")):
        with pytest.raises(InvalidInput):
            await attempt


async def test_a_deleted_object_is_gone(root: Path, store: ObjectStore) -> None:
    await store.write_new("y.xml", b"first")
    await store.delete("y.xml")
    assert await all_keys(store) == []


@pytest.mark.parametrize("key", ["../outside.txt", "a/../../outside.txt", "/etc/passwd", "", ".", "a//b", "a/", "a\0b"])
async def test_no_key_leads_out(key: str, root: Path, store: ObjectStore) -> None:
    (root.parent / "outside.txt").write_bytes(b"secret")
    with pytest.raises(InvalidInput) as caught:
        await store.read(key)
    assert caught.value.reason == "OUTSIDE_ROOTS"
    with pytest.raises(InvalidInput):
        await store.write_new(key, b"x")


async def test_links_lead_as_far_as_the_allowed_roots(root: Path, tmp_path: Path) -> None:
    fill(tmp_path, "shared/a.jpg", "secret/b.jpg")
    for name in ("shared", "secret"):
        (root / name).symlink_to(tmp_path / name)
    (root / "b.jpg").symlink_to(tmp_path / "secret" / "b.jpg")
    store = LocalFolder(root, AllowedRoots([root, tmp_path / "shared"]))
    assert await all_keys(store) == ["shared/a.jpg"]
    assert await store.read("shared/a.jpg") == b"shared/a.jpg"
    for key in ("secret/b.jpg", "b.jpg"):
        with pytest.raises(InvalidInput) as caught:
            await store.read(key)
        assert caught.value.reason == "OUTSIDE_ROOTS"
        assert "INKWRIGHT_ROOTS" in caught.value.message


def test_a_path_and_a_file_url_name_the_same_folder(root: Path) -> None:
    folder = root / "my images ä"
    folder.mkdir()
    allowed = AllowedRoots.from_setting(f":{root}:/does/not/exist:")
    assert allowed.resolve(str(folder)) == folder
    assert allowed.resolve(folder.as_uri()) == folder
    assert allowed.resolve(f"{folder}/../my images ä/") == folder
    assert allowed.resolve(f"file://localhost{folder.as_uri().removeprefix('file://')}") == folder


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("{root}/missing", "PATH_NOT_FOUND"),
        ("{root}/file.txt", "PATH_NOT_FOUND"),
        ("/etc", "OUTSIDE_ROOTS"),
        ("/no/such/place", "OUTSIDE_ROOTS"),
        ("{root}/../other", "OUTSIDE_ROOTS"),
        ("{root}-other", "OUTSIDE_ROOTS"),
        ("relative/path", "INVALID_INPUT"),
        ("", "INVALID_INPUT"),
        ("file://elsewhere/x", "INVALID_INPUT"),
        ("oss://bucket/x", "INVALID_INPUT"),
        ("{root}/a\0b", "INVALID_INPUT"),
        ("{root}/" + "x" * 5000, "PATH_NOT_FOUND"),
    ],
)
def test_a_path_that_cannot_be_used_is_refused_by_name(path: str, reason: str, root: Path) -> None:
    (root / "file.txt").write_bytes(b"x")
    with pytest.raises((InvalidInput, NotFound)) as caught:
        AllowedRoots([root]).resolve(path.format(root=root))
    assert caught.value.reason == reason
