"""Pages of labels for tests, and the files they are read from."""

import io
from collections.abc import Iterator, Mapping
from functools import cache
from typing import BinaryIO

import cv2
import numpy as np
from hypothesis import strategies as st

from libs.ocrkit.geometry import quad_around, quad_from_box, quad_rotated
from libs.ocrkit.labels.format import Format
from libs.ocrkit.labels.page import Page, ReadOptions, Row, TextBox
from libs.ocrkit.labels.reading import read_labels
from libs.ocrkit.labels.texts import UNREADABLE, is_no_text

WIDTH, HEIGHT = 640, 480
NAMES = ("a.png", "sub/b c.png", "中文 目录/图 片.png", "what?#100%.png", 'o\'clock, "x".png')


class MemorySource:
    """Files that lie in memory."""

    def __init__(self, files: Mapping[str, bytes], title: str = "photos") -> None:
        self.files = dict(files)
        self.title = title

    def names(self) -> Iterator[str]:
        yield from sorted(self.files)

    def exists(self, name: str) -> bool:
        return name in self.files

    def open(self, name: str) -> BinaryIO:
        if name not in self.files:
            raise FileNotFoundError(2, "no such file", name)
        return io.BytesIO(self.files[name])


@cache
def png(width_px: int = WIDTH, height_px: int = HEIGHT) -> bytes:
    """A white image."""
    done, data = cv2.imencode(".png", np.full((height_px, width_px, 3), 255, dtype=np.uint8))
    assert done
    return data.tobytes()


def rows_of(label_format: Format, files: Mapping[str, bytes | str], options: ReadOptions | None = None) -> list[Row]:
    """Read some files; ``a.png`` is there if nothing else is."""
    data = {name: content.encode() if isinstance(content, str) else content for name, content in files.items()}
    return list(read_labels(MemorySource({"a.png": png()} | data), label_format, options))


def page_of(label_format: Format, files: Mapping[str, bytes | str], options: ReadOptions | None = None) -> Page:
    """The one page that some files have."""
    (page,) = [row.page for row in rows_of(label_format, files, options) if row.page is not None]
    return page


def same_boxes(read: Page, expected: Page, atol: float = 0.011) -> None:
    """Compare two pages; what says that a text cannot be read is the same in each of its spellings."""
    assert (read.name, read.confirmed) == (expected.name, expected.confirmed)
    assert [_said(box) for box in read.boxes] == [_said(box) for box in expected.boxes]
    for box, other in zip(read.boxes, expected.boxes, strict=True):
        assert (box.outline is None) == (other.outline is None)
        if box.outline is None or other.outline is None:
            np.testing.assert_allclose(box.quad, other.quad, atol=atol)
        else:
            np.testing.assert_allclose(box.outline, other.outline, atol=atol)


def _said(box: TextBox) -> tuple[str, bool, dict[str, str]]:
    return UNREADABLE if is_no_text(box.text) else box.text, box.unreadable, dict(box.attributes)


TEXTS = (
    st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp"], exclude_characters="\ufffe\uffff"), max_size=12)
    | st.text(st.sampled_from("\"',\\#*[]{}:;1a .中"), max_size=8)
).map(str.strip)
_ATTRIBUTES = st.dictionaries(st.sampled_from(["key_cls", "language", "class", "score", "box_id", "颜色"]), TEXTS.filter(bool), max_size=3)
_NEAR = st.integers(0, 30_000).map(lambda hundredths: hundredths / 100)


@st.composite
def text_boxes(draw: st.DrawFn) -> TextBox:
    """A box of each kind: upright, turned, or a polygon of five points; whole pixels or hundredths."""
    x, y, width, height = (draw(_NEAR) for _ in range(4))
    quad = np.round(quad_from_box(x, y, x + 12 + width, y + 12 + height / 2), 2)
    outline = None
    match draw(st.sampled_from(["upright", "whole", "turned", "polygon"])):
        case "whole":
            quad = np.round(quad)
        case "turned":
            angle = draw(st.sampled_from([0.1, -0.2, 1.6, 3.1]))
            quad = np.round(quad_rotated(320, 240, 40 + width, 20 + height / 4, angle), 2)
            quad = np.clip(quad, 0, [WIDTH, HEIGHT])
        case "polygon":
            outline = np.round(np.insert(quad, 1, [(quad[0, 0] + quad[1, 0]) / 2, max(y - 5, 0)], axis=0), 2)
            quad = quad_around(outline)
    text = draw(TEXTS)
    unreadable = draw(st.booleans()) or is_no_text(text)
    return TextBox(quad, text, unreadable, draw(_ATTRIBUTES), outline)


@st.composite
def pages(draw: st.DrawFn) -> list[Page]:
    """Some labelled images."""
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True))
    return [Page(name, WIDTH, HEIGHT, tuple(draw(st.lists(text_boxes(), max_size=4))), draw(st.booleans())) for name in names]
