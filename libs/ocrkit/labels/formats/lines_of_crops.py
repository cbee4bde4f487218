"""Crops with one list of their texts: PPOCRLabel's ``rec_gt.txt``, ICDAR's ``gt.txt``, and plain pairs."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from libs.ocrkit.labels.format import LabelFile
from libs.ocrkit.labels.formats.crops import CROPS_HOLD, CropWriter, crop_row
from libs.ocrkit.labels.formats.icdar_text import quoted, unquoted
from libs.ocrkit.labels.holding import Holds
from libs.ocrkit.labels.page import Row
from libs.ocrkit.labels.source import base_of, folder_of, split_suffix
from libs.ocrkit.labels.target import Target
from libs.ocrkit.labels.text_file import numbered_lines, open_text

_TAB = re.compile(r"(?P<name>[^\t]+\.(?:jpe?g|png|bmp))\t(?P<text>.*)\Z", re.IGNORECASE)
_QUOTED = re.compile(r"(?P<name>.+?\.(?:jpe?g|png|bmp))\s*,\s*(?P<text>\".*\"?)\s*\Z", re.IGNORECASE)
_BOXES = re.compile(r"\t\s*\[\s*(?:\{\s*\"|\]\s*\Z)")
"""What follows the name in a file of PPOCRLabel."""

_OTHERS = frozenset({"label.txt", "filestate.txt"})


@dataclass(frozen=True)
class CropList:
    """A file with a line an image.

    Args:
        key: see ``Format``.
        title: likewise.
        list_name: the file that is written.
        folder: where the crops are written.
        suffix: of the crops.
        separator: a tab, or a comma before a text in quotes.
        list_names: what such files are called; None for any text file with such lines that no other format names as its own.
    """

    key: str
    title: str
    list_name: str
    folder: str
    suffix: Literal[".png", ".jpg"]
    separator: Literal["tab", "quotes"]
    list_names: re.Pattern[str] | None = None
    holds: Holds = CROPS_HOLD

    def claims(self, name: str, head: str) -> bool:
        """By the file's name, or by its first line."""
        base = base_of(name).lower()
        if split_suffix(base)[1] not in (".txt", ".tsv") or base in _OTHERS:
            return False
        if self.list_names is not None:
            return self.list_names.match(base) is not None
        return not _REC_GT.match(base) and any(self._pattern.match(line) and not _BOXES.search(line) for line in head.splitlines())

    def read(self, file: LabelFile) -> Iterator[Row]:
        """A row for each line."""
        with open_text(file.source, file.name) as (text, findings):
            for line, content in numbered_lines(text):
                match = self._pattern.match(content or "")
                if match is None:
                    yield file.failed("LINE_UNREADABLE", "an image name and its text were expected; the line was left out.", line)
                    continue
                said = unquoted(match["text"]) if self.separator == "quotes" else match["text"]
                image = file.images.named(match["name"], folder_of(file.name), line=line)
                yield crop_row(file, image, said, line=line, findings=tuple(findings))

    def writer(self, target: Target) -> CropWriter:
        """Begin to write."""
        listed = target.open_new(self.list_name)

        def add_entry(name: str, text: str) -> None:
            listed.write((f"{name}, {quoted(text)}\n" if self.separator == "quotes" else f"{name}\t{text}\n").encode())

        return CropWriter(target, self.folder, self.suffix, add_entry, listed.close)

    @property
    def _pattern(self) -> re.Pattern[str]:
        return _QUOTED if self.separator == "quotes" else _TAB


_REC_GT = re.compile(r"rec_gt.*\.txt\Z")

PPOCR_REC = CropList(
    "ppocr-rec",
    "PPOCRLabel's recognition set: `rec_gt.txt` with a line `crop_img/a_crop_0.jpg<TAB>text` an image",
    "rec_gt.txt",
    "crop_img",
    ".jpg",
    "tab",
    _REC_GT,
)
ICDAR_REC = CropList(
    "icdar-rec", 'ICDAR 2013 and 2015, word recognition: `gt.txt` with a line `word_1.png, "text"` an image', "gt.txt", "", ".png", "quotes"
)
PAIRS = CropList("pairs", "Plain pairs: a text file with a line `name.png<TAB>text` an image", "labels.txt", "images", ".png", "tab")
