"""ICDAR 2013: ``x1 y1 x2 y2 "text"`` a line, with spaces or commas between, a file an image."""

import re
from collections.abc import Iterator

from libs.ocrkit.geometry import quad_bounds
from libs.ocrkit.labels.format import LabelFile
from libs.ocrkit.labels.formats.icdar_text import GroundTruthWriter, first_line, is_ground_truth, quoted, read_page, unquoted
from libs.ocrkit.labels.formats.written_places import plain
from libs.ocrkit.labels.holding import Holds
from libs.ocrkit.labels.json_values import as_number
from libs.ocrkit.labels.page import Row, TextBox
from libs.ocrkit.labels.page_builder import PageBuilder
from libs.ocrkit.labels.shapes import shape_from_bounds
from libs.ocrkit.labels.source import split_suffix
from libs.ocrkit.labels.target import Target

_NUMBER = r"[-+]?\d{1,9}(?:\.\d{0,9})?"
_LINE = re.compile(rf"\s*({_NUMBER})[\s,]+({_NUMBER})[\s,]+({_NUMBER})[\s,]+({_NUMBER})(?:[\s,]+(.*))?\Z")


class Icdar2013:
    """Upright boxes and a text in quotes."""

    key = "icdar2013"
    title = 'ICDAR 2013: `gt_a.txt` for `a.jpg`, a line `x1 y1 x2 y2 "text"` a box, or with commas; `###` is unreadable'
    holds = Holds(shape="box", fractions=False)

    def claims(self, name: str, head: str) -> bool:
        """A text file that begins with four numbers and a quote, or an empty one that is called as these are."""
        line = first_line(head)
        if split_suffix(name)[1] != ".txt":
            return False
        match = _LINE.match(line)
        return match is not None and (match[5] or "").startswith('"') if line else is_ground_truth(name)

    def read(self, file: LabelFile) -> Iterator[Row]:
        """The row of its image."""
        yield from read_page(file, _add)

    def writer(self, target: Target) -> GroundTruthWriter:
        """Begin to write."""
        return GroundTruthWriter(target, _line)


def _add(builder: PageBuilder, content: str, line: int) -> None:
    match = _LINE.match(content)
    bounds = [number for field in match.groups()[:4] if (number := as_number(field)) is not None] if match else []
    if match is None or len(bounds) != 4:
        builder.skip("LINE_UNREADABLE", "four numbers and a text in quotes were expected; the line was left out.", line)
        return
    xmin, ymin, xmax, ymax = bounds
    shape, findings = shape_from_bounds(xmin, ymin, xmax, ymax, line)
    builder.note(*findings)
    builder.add(shape, unquoted(match[5] or ""), line=line)


def _line(box: TextBox) -> str:
    bounds = ", ".join(str(plain(value)) for value in quad_bounds(box.quad))
    return f"{bounds}, {quoted(box.text)}"
