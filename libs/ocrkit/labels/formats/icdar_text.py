"""What the ICDAR formats share: texts in quotes, and ``gt_NAME.txt`` for the image NAME."""

import re
from collections.abc import Callable, Iterator

from libs.ocrkit.labels.format import LabelFile
from libs.ocrkit.labels.page import Page, Row
from libs.ocrkit.labels.page_builder import PageBuilder
from libs.ocrkit.labels.source import Source, base_of, folder_of, joined, split_suffix
from libs.ocrkit.labels.target import Target
from libs.ocrkit.labels.text_file import numbered_lines, open_text

_ESCAPED = re.compile(r'\\([\\"])')


def quoted(text: str) -> str:
    """A text in quotes; quotes and backslashes in it get a backslash before them, as the contest's own scripts expect."""
    return '"' + re.sub(r'([\\"])', r"\\\1", text) + '"'


def unquoted(text: str) -> str:
    """The text in quotes, or without any; quotes inside that nobody escaped are part of it."""
    text = text.strip()
    if len(text) >= 2 and text[0] == text[-1] == '"':
        return _ESCAPED.sub(r"\1", text[1:-1])
    return text


def is_ground_truth(name: str) -> bool:
    """Whether a file is called as the labels of one image are."""
    base = base_of(name).lower()
    return base.startswith("gt_") and base.endswith(".txt")


def first_line(head: str) -> str:
    """The first line that says something."""
    return next((line for line in head.splitlines() if line.strip()), "")


def read_page(file: LabelFile, add: Callable[[PageBuilder, str, int], None]) -> Iterator[Row]:
    """Read the file of one image, box by box.

    Args:
        file: the label file.
        add: takes a line, with its number, into the page.
    """
    stem = split_suffix(file.name)[0]
    folder, base = folder_of(stem), base_of(stem)
    stems = [joined(folder, base[3:]), stem] if base.lower().startswith("gt_") else [stem]
    names = next((found for one in stems if (found := file.images.of_stem(one))), [])
    if not names:
        yield file.failed("IMAGE_MISSING", f"there is no image {base_of(stems[0])} for these labels; put it beside them.")
    for name in names:
        image = file.images.measured(name)
        if not image.is_usable:
            yield file.unusable(image)
            continue
        builder = file.builder(image)
        with open_text(file.source, file.name) as (text, findings):
            builder.note(*findings)
            for line, content in numbered_lines(text):
                if content is None:
                    builder.skip("LINE_TOO_LONG", "the line is too long to be a label; it was left out.", line)
                else:
                    add(builder, content, line)
        yield file.row(image, builder)


class GroundTruthWriter:
    """Writes ``gt_a.txt`` for ``a.jpg``.

    Args:
        target: where to.
        line_of: a box as its line.
    """

    def __init__(self, target: Target, line_of: Callable[..., str]) -> None:
        self._target = target
        self._line_of = line_of

    def add(self, page: Page, source: Source) -> None:
        """Write a page's file."""
        stem = split_suffix(page.name)[0]
        lines = "".join(f"{self._line_of(box)}\n" for box in page.boxes)
        self._target.write_new(joined(folder_of(stem), f"gt_{base_of(stem)}.txt"), lines.encode())

    def close(self) -> None:
        """Nothing is left to write."""
