"""PPOCRLabel: ``Label.txt`` with a line an image, ``fileState.txt`` with the images that were looked over."""

import re
from collections.abc import Iterator

import orjson

from libs.ocrkit.labels.format import LabelFile
from libs.ocrkit.labels.formats.written_places import points_of
from libs.ocrkit.labels.holding import Holds
from libs.ocrkit.labels.json_pieces import parse_json
from libs.ocrkit.labels.json_values import as_object, as_points, as_text, is_true
from libs.ocrkit.labels.page import Page, Row
from libs.ocrkit.labels.page_builder import PageBuilder
from libs.ocrkit.labels.shapes import shape_from_points
from libs.ocrkit.labels.source import Source, base_of, clean_name, folder_of, joined, split_suffix
from libs.ocrkit.labels.target import Target
from libs.ocrkit.labels.text_file import numbered_lines, open_text

_LINE = re.compile(r"^[^\t\n]+\t\s*\[\s*(?:\{\s*\"|\]\s*$)", re.MULTILINE)
_ATTRIBUTES = ("key_cls", "label", "id", "linking")


class PpocrLabel:
    """``Label.txt``."""

    key = "ppocrlabel"
    title = "PPOCRLabel: `Label.txt` with a line of JSON an image, `fileState.txt`; key_cls, label, id and linking of its KIE files"
    holds = Holds(shape="polygon", unreadable="flag", attributes=frozenset(_ATTRIBUTES), confirmed=True)

    def claims(self, name: str, head: str) -> bool:
        """``Label.txt``, or a file of such lines."""
        return split_suffix(name)[1] == ".txt" and (base_of(name).lower() == "label.txt" or _LINE.search(head) is not None)

    def read(self, file: LabelFile) -> Iterator[Row]:
        """A row for each line."""
        confirmed = _confirmed(file)
        with open_text(file.source, file.name) as (text, findings):
            for line, content in numbered_lines(text):
                said, tab, rest = (content or "").partition("\t")
                parsed = parse_json(rest) if tab else None
                if not isinstance(parsed, list):
                    message = "this is no image name, tab and list of boxes; the line was left out."
                    yield file.failed("LINE_UNREADABLE", message, line)
                    continue
                image = file.images.named(said, folder_of(file.name), line=line)
                if not image.is_usable:
                    yield file.unusable(image)
                    continue
                builder = file.builder(image)
                builder.note(*findings)
                for entry in parsed:
                    _add(builder, entry, line)
                yield file.row(image, builder, confirmed=clean_name(said) in confirmed)

    def writer(self, target: Target) -> "PpocrLabelWriter":
        """Begin to write."""
        return PpocrLabelWriter(target)


def _confirmed(file: LabelFile) -> set[str]:
    """Images that ``fileState.txt`` calls looked over, by every ending of their paths: it has those of the machine it was written on."""
    name = joined(folder_of(file.name), "fileState.txt")
    if not file.source.exists(name):
        return set()
    endings: set[str] = set()
    with open_text(file.source, name) as (text, _):
        for _, content in numbered_lines(text):
            said, _, state = (content or "").rpartition("\t")
            parts = (clean_name(said.replace("\\", "/")) or "").split("/")
            if state.strip() == "1":
                endings |= {"/".join(parts[start:]) for start in range(len(parts))}
    return endings


def _add(builder: PageBuilder, entry: object, line: int) -> None:
    fields = as_object(entry)
    points = as_points(fields.get("points"))
    shape = None
    if points is not None:
        shape, findings = shape_from_points(points, line)
        builder.note(*findings)
    attributes = {name: as_text(fields[name]) for name in _ATTRIBUTES if fields.get(name) is not None}
    if attributes.get("key_cls") == "None":
        del attributes["key_cls"]
    text = as_text(fields.get("transcription"))
    builder.add(shape, text, unreadable=is_true(fields.get("difficult")), attributes=attributes, line=line)


class PpocrLabelWriter:
    """Writes both files side by side."""

    def __init__(self, target: Target) -> None:
        self._folder = target.title
        self._labels = target.open_new("Label.txt")
        self._states = target.open_new("fileState.txt")

    def add(self, page: Page, source: Source) -> None:
        """Write a page's lines; PPOCRLabel looks for its images below the folder's own name."""
        name = f"{self._folder}/{page.name}"
        boxes = [
            {"transcription": box.text, "points": points_of(box), "difficult": box.unreadable}
            | {key: _as_written(key, value) for key, value in box.attributes.items()}
            for box in page.boxes
        ]
        self._labels.write(f"{name}\t".encode() + orjson.dumps(boxes) + b"\n")
        if page.confirmed:
            self._states.write(f"{name}\t1\n".encode())

    def close(self) -> None:
        """Close both files."""
        self._labels.close()
        self._states.close()


def _as_written(key: str, value: str) -> object:
    """Ids and links are numbers and lists in these files, as far as they are."""
    parsed = parse_json(value) if key in ("id", "linking") else None
    return parsed if isinstance(parsed, list | int) and as_text(parsed) == value else value
