"""ICDAR 2015 (and SROIE): ``x1,y1,x2,y2,x3,y3,x4,y4,text`` a line, a file an image."""

from collections.abc import Iterator

import numpy as np

from libs.ocrkit.labels.format import LabelFile
from libs.ocrkit.labels.formats.icdar_text import GroundTruthWriter, first_line, is_ground_truth, read_page
from libs.ocrkit.labels.formats.written_places import flat_points_of
from libs.ocrkit.labels.holding import Holds
from libs.ocrkit.labels.json_values import as_number
from libs.ocrkit.labels.page import Row, TextBox
from libs.ocrkit.labels.page_builder import PageBuilder
from libs.ocrkit.labels.shapes import shape_from_points
from libs.ocrkit.labels.source import split_suffix
from libs.ocrkit.labels.target import Target

_NUM_NUMBERS = 8


class Icdar2015:
    """Four corners and a text."""

    key = "icdar2015"
    title = "ICDAR 2015 and SROIE: `gt_a.txt` for `a.jpg`, a line `x1,y1,x2,y2,x3,y3,x4,y4,text` a box; `###` is unreadable"
    holds = Holds(fractions=False)

    def claims(self, name: str, head: str) -> bool:
        """A text file that begins with eight numbers, or an empty one that is called as these are."""
        line = first_line(head)
        if split_suffix(name)[1] != ".txt":
            return False
        return _numbers(line) is not None if line else is_ground_truth(name)

    def read(self, file: LabelFile) -> Iterator[Row]:
        """The row of its image."""
        yield from read_page(file, _add)

    def writer(self, target: Target) -> GroundTruthWriter:
        """Begin to write."""
        return GroundTruthWriter(target, _line)


def _numbers(line: str) -> list[float] | None:
    # The text may hold commas: nothing behind the eighth is split.
    fields = line.split(",", _NUM_NUMBERS)[:_NUM_NUMBERS]
    numbers = [number for field in fields if (number := as_number(field)) is not None]
    return numbers if len(numbers) == _NUM_NUMBERS else None


def _add(builder: PageBuilder, content: str, line: int) -> None:
    numbers = _numbers(content)
    if numbers is None:
        builder.skip("LINE_UNREADABLE", "eight numbers and a text, separated by commas, were expected; the line was left out.", line)
        return
    shape, findings = shape_from_points(np.array(numbers).reshape(4, 2), line)
    builder.note(*findings)
    builder.add(shape, "".join(content.split(",", _NUM_NUMBERS)[_NUM_NUMBERS:]), line=line)


def _line(box: TextBox) -> str:
    return ",".join(map(str, [*flat_points_of(box), box.text]))
