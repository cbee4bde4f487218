"""What the local folder has of its own as an object store, and the folders it may lie in."""

import errno
import os
from pathlib import Path
from typing import cast

import pytest

from libs.runtime import local_folder
from libs.runtime.allowed_roots import AllowedRoots, OutsideRoots
from libs.runtime.errors import AlreadyExists, InvalidInput, NoReadyInstance, NotFound
from libs.runtime.local_folder import LocalFolder
from libs.runtime.object_store import ObjectStore
from libs.runtime.parts import Parts, Wanted, read_parts
from tests.integration.listing import all_keys, fill


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    root.mkdir()
    return root


@pytest.fixture
def store(root: Path) -> ObjectStore:
    return LocalFolder(root)


async def test_parts_of_many_objects_come_in_their_order(root: Path, tmp_path: Path) -> None:
    fill(root, "a/first.bin", "second.bin")
    (root / "a" / "link.bin").symlink_to(root / "second.bin")
    (tmp_path / "outside.bin").write_bytes(b"x")
    (root / "outside.bin").symlink_to(tmp_path / "outside.bin")
    local = LocalFolder(root)

    class Remote:
        """The same store without the shortcut."""

        list, read, head = local.list, local.read, local.head

    for store in (local, cast("ObjectStore", Remote())):
        wanted = [
            Wanted("a/first.bin", 11, "listed", 3, 2),
            Wanted("second.bin", 10, "listed", 100, 2, is_checked=True),
            Wanted("a/link.bin", 10, "listed", 6),
            Wanted("gone.bin", 1, "listed", 1),
            Wanted("outside.bin", 1, "listed", 1),
            Wanted("../outside.bin", 1, "listed", 1),
        ]
        first, second, linked, gone, outside, above = await read_parts(store, wanted)
        assert isinstance(first, Parts)
        assert isinstance(second, Parts)
        assert isinstance(linked, Parts)
        assert (first.head, first.tail) == (b"a/f", b"in")
        assert (second.head, second.tail, second.etag) == (b"second.bin", b"", (await local.head("second.bin")).etag)
        assert linked.head == b"second"
        assert isinstance(gone, NotFound)
        assert isinstance(outside, OutsideRoots)
        assert isinstance(above, OutsideRoots)


async def test_what_is_no_file_is_left_out(root: Path, store: ObjectStore) -> None:
    fill(root, "seen.jpg")
    (root / "broken.jpg").symlink_to(root / "nowhere.jpg")
    os.mkfifo(root / "pipe.jpg")
    assert await all_keys(store) == ["seen.jpg"]


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


async def test_a_file_has_its_usual_mode_and_keeps_another(root: Path, store: ObjectStore) -> None:
    info = await store.write_new("y.xml", b"first")
    assert (root / "y.xml").stat().st_mode & 0o777 == 0o644
    (root / "y.xml").chmod(0o640)
    await store.replace("y.xml", b"other", if_etag=info.etag)
    assert (root / "y.xml").stat().st_mode & 0o777 == 0o640


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


async def test_a_name_that_is_too_long_for_the_disk_is_refused(store: ObjectStore) -> None:
    for attempt in (store.read("x" * 300), store.write_new("x" * 300, b"")):
        with pytest.raises(InvalidInput):
            await attempt


@pytest.mark.parametrize("key", ["/etc/passwd", "a//b"])
async def test_an_empty_part_leads_out(key: str, store: ObjectStore) -> None:
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
