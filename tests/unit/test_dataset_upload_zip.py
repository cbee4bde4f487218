"""Hostile and odd ZIPs, and the names in them."""

import io
import random
import stat
import struct
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.dataset.uploads.names import UnsafeName, encoding_of, is_of_system, safe_key
from services.dataset.uploads.source import Entry, Refused
from services.dataset.uploads.zip_upload import MAX_MEMBERS, ZipFolder

MANY = 1 << 40


def entries(data: bytes, folder: Path, *, max_unpacked_bytes: int = MANY) -> list[Entry]:
    path = folder / "all.zip"
    path.write_bytes(data)
    packed = ZipFolder(path, "", max_unpacked_bytes=max_unpacked_bytes)
    try:
        return [entry for number in range(packed.num_groups) for entry in packed.group(number)]
    finally:
        packed.close()


def zip_of(*files: tuple[zipfile.ZipInfo | str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files:
            archive.writestr(name, data)
    return packed.getvalue()


def renamed(data: bytes, name: str, encoded: bytes) -> bytes:
    """The ZIP as a program wrote it that knows no Unicode: ``name`` (ASCII, of that length) is ``encoded``."""
    assert len(name) == len(encoded)
    return data.replace(name.encode(), encoded)


@pytest.mark.parametrize(
    ("name", "encoding"),
    [("收据一.png", "gbk"), ("收据.png", "utf-8"), ("Übergröße.png", "cp437"), ("Élève.png", "cp437"), ("中.png", "gbk")],
)
def test_names_of_every_program_are_read(name: str, encoding: str, tmp_path: Path) -> None:
    encoded = name.encode(encoding)
    plain = "x" * (len(encoded) - 4) + ".png"
    assert [entry.key for entry in entries(renamed(zip_of((plain, b"1")), plain, encoded), tmp_path)] == [name]


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1)))
def test_names_in_utf_8_are_never_taken_for_others(names: list[str]) -> None:
    assert encoding_of([name.encode() for name in names]) == "utf-8"


@given(st.text())
def test_a_safe_key_stays_below_its_folder(name: str) -> None:
    try:
        key = safe_key(name)
    except UnsafeName:
        return
    assert Path("/root/folder", key).resolve() == Path(f"/root/folder/{key}")
    assert key.count("\\") == key.count("\0") == 0


def test_files_of_systems_are_known() -> None:
    assert all(map(is_of_system, ["__MACOSX/a/._b.png", "a/.DS_Store", "a/Thumbs.db", "DESKTOP.INI"]))
    assert not any(map(is_of_system, ["a.png", "macosx/a.png", "thumbs.png"]))


def test_links_and_encrypted_files_are_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    data = bytearray(zip_of((link, b"/etc/passwd"), ("secret.png", b"1")))
    at = data.rindex(b"PK\x01\x02")
    data[at + 8] |= 1
    reasons = {entry.name: entry.refusal.reason for entry in entries(bytes(data), tmp_path) if entry.refusal}
    assert reasons == {"link.png": "SYMLINK", "secret.png": "ENCRYPTED"}


def test_an_image_comes_before_its_label_file_and_both_together(tmp_path: Path) -> None:
    data = zip_of(("b.xml", b""), ("a.xml", b""), ("b.png", b""), ("a.jpg", b""), ("a.png", b""))
    assert [entry.name for entry in entries(data, tmp_path)] == ["a.jpg", "a.png", "a.xml", "b.png", "b.xml"]


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    data = zip_of(("white.bmp", bytes(150 << 20)))
    with pytest.raises(Refused) as refused:
        entries(data, tmp_path)
    assert refused.value.reason == "ZIP_BOMB"


def test_a_little_that_was_packed_well_is_no_bomb(tmp_path: Path) -> None:
    (white,) = entries(zip_of(("white.bmp", bytes(2 << 20))), tmp_path)
    assert white.refusal is None


def test_more_bytes_or_files_than_allowed_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="more than the 10 allowed"):
        entries(zip_of(("a.png", bytes(11))), tmp_path, max_unpacked_bytes=10)
    # A directory of empty files, and an end that says there is one.
    member = struct.pack("<4s6H3L5H2L", b"PK\x01\x02", 20, 20, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"a"
    directory = member * (MAX_MEMBERS + 1)
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, len(directory), 0, 0)
    with pytest.raises(Refused, match="split it"):
        entries(directory + end, tmp_path)


def test_a_member_that_says_too_little_gives_no_more(tmp_path: Path) -> None:
    data = bytearray(zip_of(("a.png", bytes(1000))))
    at = data.rindex(b"PK\x01\x02")
    data[at + 24 : at + 28] = (10).to_bytes(4, "little")
    path = tmp_path / "a.zip"
    path.write_bytes(data)
    packed = ZipFolder(path, "", max_unpacked_bytes=MANY)
    with pytest.raises(Refused) as refused:
        packed.group(0)[0].read()
    assert refused.value.reason == "ZIP_DAMAGED"


def test_whatever_is_damaged_is_refused_by_name(tmp_path: Path) -> None:
    whole = zip_of(("a.png", bytes(300)), ("收据.png", random.Random(1).randbytes(300)))
    for seed in range(300):
        rng = random.Random(seed)
        data = bytearray(whole[: rng.randrange(len(whole))] if seed % 3 == 0 else whole)
        for _ in range(rng.randrange(4)):
            if data:
                data[rng.randrange(len(data))] = rng.randrange(256)
        path = tmp_path / "a.zip"
        path.write_bytes(data)
        try:
            packed = ZipFolder(path, "in", max_unpacked_bytes=1 << 20)
        except Refused:
            continue
        for number in range(packed.num_groups):
            for entry in packed.group(number):
                with suppress(Refused):
                    if entry.refusal is None:
                        assert len(entry.read()) <= 1 << 20
        packed.close()
