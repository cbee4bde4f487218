"""The file of a backup is whole or refused, and refused in words."""

import gzip
import io
import os
import subprocess
import sys
import tarfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from deploy.backup.archive import BackupError, DatabaseCopy, Manifest, extract, verified, written

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
MANIFEST = Manifest(
    cut_time=NOW,
    bus_time=NOW,
    code_version="0.1.0",
    databases={"dataset": DatabaseCopy(kind="sqlite", revision="0002")},
    streams={"DEAD": {"config": {}, "state": {"messages": 1}}},
    problems=[],
)
CONTENTS = {"databases/dataset.sqlite": os.urandom(200_000), "bus/DEAD": b"letters", "home/secret.key": b"k" * 32, "bundles/empty": b""}


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    """A small one."""
    path = tmp_path / "backup.ink"
    with written(path) as writer:
        for name, content in CONTENTS.items():
            (tmp_path / "content").write_bytes(content)
            writer.add(name, tmp_path / "content")
        writer.finish(MANIFEST)
    (tmp_path / "content").unlink()
    return path


def test_what_was_written_is_read_again(backup: Path, tmp_path: Path) -> None:
    manifest = verified(backup)
    assert manifest.members.keys() == CONTENTS.keys()
    assert manifest.model_copy(update={"members": {}}) == MANIFEST
    assert extract(backup, tmp_path / "out") == manifest
    assert {name: (tmp_path / "out" / name).read_bytes() for name in CONTENTS} == CONTENTS
    assert (tmp_path / "out" / "home" / "secret.key").stat().st_mode & 0o777 == 0o600
    assert backup.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_every_length_short_of_the_whole_is_refused(backup: Path, tmp_path: Path) -> None:
    whole = backup.read_bytes()
    for size in (0, 1, 17, 100, len(whole) // 2, len(whole) - 300, len(whole) - 8, len(whole) - 1):
        (tmp_path / "cut").write_bytes(whole[:size])
        with pytest.raises(BackupError):
            verified(tmp_path / "cut")


def test_a_flipped_bit_is_noticed_or_changes_nothing(backup: Path, tmp_path: Path) -> None:
    whole = bytearray(backup.read_bytes())
    content, num_noticed = gzip.decompress(whole), 0
    places = [*range(0, len(whole), len(whole) // 60), *range(len(whole) - 60, len(whole))]
    for place in places:
        whole[place] ^= 0x20
        (tmp_path / "flipped").write_bytes(whole)
        try:
            verified(tmp_path / "flipped")
        except BackupError:
            num_noticed += 1
        else:
            # A run of zeros may be copied from one place as well as from another.
            assert gzip.decompress(whole) == content
        whole[place] ^= 0x20
    assert num_noticed > len(places) * 0.6


def pack(path: Path, *members: tuple[str, bytes]) -> Path:
    """What no backup writes, well packed."""
    with gzip.open(path, "wb") as packed, tarfile.open(fileobj=packed, mode="w") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


FORMAT = ("format", b"inkwright backup 1\n")


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ((), "is no backup"),
        ((("readme", b"hello"),), "is no backup"),
        ((("format", b"inkwright backup 2\n"),), "has format 2, this version reads 1"),
        ((FORMAT,), "manifest is missing"),
        ((FORMAT, ("../evil", b"x")), "no backup does"),
        ((FORMAT, ("/etc/evil", b"x")), "no backup does"),
        ((FORMAT, ("a", b"x"), ("a", b"y")), "no backup does"),
        ((FORMAT, ("manifest.json", b"{}")), "its manifest has field required"),
        ((FORMAT, ("manifest.json", MANIFEST.model_dump_json().encode()), ("late", b"x")), "no backup does"),
        ((FORMAT, ("more", b"x"), ("manifest.json", MANIFEST.model_dump_json().encode())), "more is not what was backed up"),
    ],
)
def test_what_is_no_backup_is_refused_by_name(tmp_path: Path, members: tuple[tuple[str, bytes], ...], said: str) -> None:
    with pytest.raises(BackupError, match=said):
        verified(pack(tmp_path / "file", *members))


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a letter to a friend")
    with pytest.raises(BackupError, match="damaged or cut off"):
        verified(tmp_path / "file")


def test_a_name_that_is_taken_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"a photo")
    with pytest.raises(BackupError, match="exists already"), written(tmp_path / "photo.jpg"):
        raise AssertionError("nothing is begun")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"a photo"]


FULL_DISK = """
import resource, sys
from pathlib import Path
from deploy.backup.archive import written
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
with written(Path(sys.argv[1])) as writer:
    writer.add("large", Path(sys.argv[2]))
"""


def test_a_disk_without_room_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(os.urandom(2_000_000))
    done = subprocess.run([sys.executable, "-c", FULL_DISK, tmp_path / "backup.ink", tmp_path / "large"], capture_output=True, check=False)
    assert b"OSError" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["large"]
