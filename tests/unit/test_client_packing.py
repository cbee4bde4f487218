"""What `inkctl dataset upload` sends at once."""

import os
import zipfile
from pathlib import Path

import pytest

from libs.client import packing
from libs.client.packing import found, parcels, write_pack


def tree(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    return folder


def test_one_file_and_documents_go_alone_the_rest_together(tmp_path: Path) -> None:
    folder = tree(tmp_path / "in", "a/1.png", "a/1.xml", "b.jpg", "scan.PDF", "more.zip", ".hidden.png", ".git/x.png")
    (single,) = parcels(found([folder / "b.jpg"]))
    assert (single.is_packed, [name for _, name in single.files]) == (False, ["b.jpg"])
    sent = [(parcel.is_packed, [name for _, name in parcel.files]) for parcel in parcels(found([folder]))]
    assert sorted(sent) == [(False, ["more.zip"]), (False, ["scan.PDF"]), (True, ["a/1.png", "a/1.xml", "b.jpg"])]


def test_an_image_and_its_labels_are_never_parted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "PACK_FILES", 3)
    folder = tree(tmp_path / "in", *(f"{number}.{ending}" for number in range(5) for ending in ("png", "xml")))
    packs = [[name for _, name in parcel.files] for parcel in parcels(found([folder]))]
    assert packs == [["0.png", "0.xml", "1.png", "1.xml"], ["2.png", "2.xml", "3.png", "3.xml"], ["4.png", "4.xml"]]


def test_a_pack_has_the_same_bytes_each_time(tmp_path: Path) -> None:
    folder = tree(tmp_path / "in", "收据/a.png", "b.png")
    (parcel,) = parcels(found([folder]))
    write_pack(parcel, tmp_path / "1.zip")
    os.utime(folder / "b.png", (0, 0))
    write_pack(parcel, tmp_path / "2.zip")
    assert (tmp_path / "1.zip").read_bytes() == (tmp_path / "2.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "1.zip") as packed:
        assert {name: packed.read(name).decode() for name in packed.namelist()} == {"b.png": "b.png", "收据/a.png": "收据/a.png"}


def test_a_name_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such file or folder"):
        found([tmp_path / "nowhere"])
