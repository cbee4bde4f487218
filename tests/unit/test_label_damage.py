"""Damaged label files: every one ends in rows, none in an exception, a hang or a full memory."""

import tempfile
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.ocrkit.geometry import quad_from_box
from libs.ocrkit.labels.formats.all_formats import FORMATS, format_of
from libs.ocrkit.labels.page import Page, TextBox
from libs.ocrkit.labels.reading import read_labels
from libs.ocrkit.labels.target import new_folder
from tests.label_damage import LABEL_FILES, read_damaged, sample
from tests.label_pages import HEIGHT, WIDTH, MemorySource, png

BARBS = (
    b"NaN", b"1e999", b"-1e308", b"9" * 5000, b"Infinity", b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\n", b"\r", b"\t", b'"', b"\\", b",",
    b"{", b"}", b"[", b"]", b"<", b">", b"<!DOCTYPE a [", b"&a;", b"<object>", b"../", b"//", b"?", b"null", b"true", b"\\ud800",
    b"\\u0000", b"[[[[", b"]]]]", b"-0", b"###", "理".encode(), "理".encode("gb18030"), b"\xed\xa0\x80", b"a.png", b"\x1c", b"\xc2\x85",
)  # fmt: skip
EVERY = pytest.mark.parametrize("key", FORMATS)


@st.composite
def damages(draw: st.DrawFn, data: bytes) -> bytes:
    """Cut, overwrite and encode anew."""
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.sampled_from([0, 0, 1, 2, 8, 64, 10_000])))
        data = data[:start] + draw(st.sampled_from(BARBS) | st.binary(max_size=6)) + data[end:]
    encoding = draw(st.sampled_from(["", "", "", "gb18030", "utf-16", "utf-16-be", "utf-8-sig"]))
    return data.decode("utf-8", "replace").encode(encoding) if encoding else data


@EVERY
def test_a_damaged_file_ends_in_rows(key: str) -> None:
    @settings(max_examples=60, deadline=None)
    @given(damages(sample(key)))
    def check(data: bytes) -> None:
        assert read_damaged(key, data)

    check()


@EVERY
@given(data=st.binary(max_size=300))
@settings(max_examples=40, deadline=None)
def test_any_bytes_end_in_rows(key: str, data: bytes) -> None:
    assert read_damaged(key, data)


@EVERY
def test_a_sound_file_is_read_in_every_encoding(key: str) -> None:
    whole = read_damaged(key, sample(key))[0].page
    assert whole is not None
    for encoding in ("utf-8-sig", "utf-16", "utf-16-be", "gb18030"):
        text = sample(key).decode()
        page = read_damaged(key, text.encode(encoding))[0].page
        assert page is not None
        assert [box.text for box in page.boxes] == [box.text for box in whole.boxes]


DEEP = 200_000
BOMBS = {
    "brackets": b"[" * DEEP,
    "closed brackets": b"[" * DEEP + b"]" * DEEP,
    "braces": b'{"a":' * DEEP,
    "elements": b"<annotation>" + b"<a>" * DEEP,
    "entities": b'<!DOCTYPE a [<!ENTITY a "' + b"ha" * 1000 + b'">]><annotation><object><name>' + b"&a;" * 10_000 + b"</name></object>",
    "one line": b"a.png\t" + b"x" * 17_000_000,
    "quotes": b'"' * 1_000_000,
    "backslashes": b'["' + b"\\" * 1_000_001,
    "numbers": b'{"a.png":' + b"9" * 1_000_000 + b"}",
    "spaces": b"[" + b" " * 5_000_000,
    "lines": b"x\n" * 40_000,
    "commas": b"," * 1_000_000,
    "many empty": b"[" + b"[]," * 500_000 + b"[]]",
}  # fmt: skip


@EVERY
@pytest.mark.parametrize("bomb", BOMBS)
def test_bombs_do_no_harm(key: str, bomb: str) -> None:
    assert read_damaged(key, BOMBS[bomb])


class _WatchedSource(MemorySource):
    """Keeps the stream that was opened last."""

    def open(self, name: str) -> BinaryIO:
        if not name.endswith(".png"):
            self.last = super().open(name)
            return self.last
        return super().open(name)


@pytest.mark.parametrize("key", ["ppocrlabel", "itag", "label-studio"])
def test_pages_come_while_a_large_file_is_read(key: str) -> None:
    page = Page("a.png", WIDTH, HEIGHT, tuple(TextBox(quad_from_box(i, 0, i + 20, 30), "text") for i in range(300)))
    with tempfile.TemporaryDirectory() as folder:
        with new_folder(Path(folder, "photos")) as target:
            writer = format_of(key).writer(target)
            for _ in range(50):
                writer.add(page, MemorySource({}))
            writer.close()
        data = Path(folder, "photos", LABEL_FILES[key]).read_bytes()
    source = _WatchedSource({"a.png": png(), LABEL_FILES[key]: data})
    rows = read_labels(source, format_of(key))
    row = next(rows)
    assert row.page is not None
    assert len(row.page.boxes) == 300
    assert source.last.tell() < len(data) / 2
