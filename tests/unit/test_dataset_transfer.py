"""Which image a label file means, and the ZIPs that come in and go out."""

import io
import zipfile
from pathlib import Path

import pytest

from libs.runtime.errors import InvalidInput
from services.dataset.transfer.label_import import Match, match_key
from services.dataset.transfer.label_sources import MAX_DIRECTORY_BYTES, UploadedZip
from services.dataset.transfer.zip_writer import ZipWriter


@pytest.mark.parametrize(
    ("said", "keys", "expected"),
    [
        ("a.jpg", ["a.jpg"], Match(("a.jpg",))),
        ("a.jpg", ["photos/a.jpg"], Match(("photos/a.jpg",))),
        ("C:/data/photos/a.jpg", ["photos/a.jpg", "a.jpg"], Match(("photos/a.jpg",))),
        ("one/a.jpg", ["one/a.jpg", "two/a.jpg"], Match(("one/a.jpg",))),
        ("one/a.jpg", ["one/a.jpg", "x/one/a.jpg"], Match(("one/a.jpg",))),
        ("a.jpg", ["one/a.jpg", "two/a.jpg"], Match(("one/a.jpg", "two/a.jpg"))),
        ("three/a.jpg", ["two/a.jpg"], Match(("two/a.jpg",), is_elsewhere=True)),
        ("a.png", ["a.jpg"], Match(("a.jpg",), is_elsewhere=True)),
        ("a.png", ["a.jpg", "a.png"], Match(("a.png",))),
        ("v1.2", ["v1.2.jpg"], Match(("v1.2.jpg",))),
        ("a", ["a.jpg", "a.png"], Match(("a.jpg", "a.png"))),
        ("b.jpg", ["a.jpg"], Match()),
        ("a.jpg", [], Match()),
    ],
)
def test_the_image_whose_path_agrees_best_is_meant(said: str, keys: list[str], expected: Match) -> None:
    assert match_key(said, keys) == expected


def written(files: dict[str, bytes]) -> bytes:
    data = bytearray()
    writer = ZipWriter(data.extend)
    for number, (name, content) in enumerate(files.items()):
        writer.add(name, io.BytesIO(content), is_packed=bool(number % 2))
    writer.close()
    return bytes(data)


def test_zips_are_read_by_others_and_equal_content_gives_equal_bytes() -> None:
    files = {"a b/图.png": b"\x00\xff" * 3000, "gt_a.txt": b"1,2,3\n" * 900, "empty": b""}
    data = written(files)
    assert data == written(files)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == files


def test_more_files_than_a_plain_zip_can_number_are_read_by_others() -> None:
    data = written({f"{number}.txt": b"x" for number in range(70_000)})
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert len(archive.namelist()) == 70_000
        assert archive.read("69999.txt") == b"x"


def test_names_of_chinese_systems_are_read_and_those_that_leave_the_zip_are_not(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("发票.txt", "../up.txt", "/root.txt"):
            archive.writestr(name, "x")
    # The same in GB18030, and without the mark that says UTF-8.
    data = (tmp_path / "a.zip").read_bytes()
    chinese = "发票".encode()
    gbk = "发票 a".encode("gb18030")
    assert len(gbk) == len(chinese)
    data = data.replace(chinese, gbk).replace(b"\x14\x00\x00\x08", b"\x14\x00\x00\x00")
    (tmp_path / "a.zip").write_bytes(data)
    found = UploadedZip(tmp_path / "a.zip", tmp_path)
    assert list(found.names()) == ["发票 a.txt"]
    with found.open("发票 a.txt") as file:
        assert file.read() == b"x"


def test_a_zip_whose_list_of_files_is_huge_is_not_opened(tmp_path: Path) -> None:
    end = b"PK\x05\x06" + b"\0" * 8 + (MAX_DIRECTORY_BYTES + 1).to_bytes(4, "little") + b"\0" * 6
    (tmp_path / "a.zip").write_bytes(b"PK\x03\x04" + end)
    with pytest.raises(InvalidInput, match="more than"):
        UploadedZip(tmp_path / "a.zip", tmp_path)
