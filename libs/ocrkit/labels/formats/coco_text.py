"""COCO-Text and TextOCR: one JSON file with ``anns`` and ``imgs``. Plain COCO with texts is read as well."""

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import orjson
from numpy.typing import NDArray

from libs.ocrkit.geometry import quad_bounds
from libs.ocrkit.labels.format import LabelFile
from libs.ocrkit.labels.formats.written_places import flat_points_of, outline_of, plain
from libs.ocrkit.labels.holding import Holds
from libs.ocrkit.labels.json_pieces import JsonPiece, json_pieces
from libs.ocrkit.labels.json_values import as_list, as_number, as_object, as_points, as_text
from libs.ocrkit.labels.page import LabelUnreadable, Page, Row
from libs.ocrkit.labels.page_builder import PageBuilder
from libs.ocrkit.labels.shapes import Shape, shape_from_bounds, shape_from_points
from libs.ocrkit.labels.source import Source, folder_of, split_suffix
from libs.ocrkit.labels.target import Target
from libs.ocrkit.labels.text_file import open_text

_SECTIONS = re.compile(r'"(anns|imgs|imgToAnns|img2Anns|annotations|images)"\s*:')
_UNKNOWN = {"class": "others", "language": "na"}
"""What a file says where nothing is known; it has no empty value for these."""


class CocoText:
    """COCO-Text v1 and v2, TextOCR."""

    key = "coco-text"
    title = "COCO-Text v2 (`anns`, `imgs`, `imgToAnns`, `utf8_string`, `legibility`; class and language); TextOCR is read too"
    holds = Holds(shape="polygon", unreadable="flag", attributes=frozenset(_UNKNOWN))

    def claims(self, name: str, head: str) -> bool:
        """A JSON object with the sections of these files."""
        return split_suffix(name)[1] == ".json" and head.lstrip().startswith("{") and _SECTIONS.search(head) is not None

    def read(self, file: LabelFile) -> Iterator[Row]:
        """A row for each image the file lists; annotations are held as they are written until their image is."""
        images: dict[str, JsonPiece] = {}
        annotations: defaultdict[str, list[JsonPiece]] = defaultdict(list)
        broken: LabelUnreadable | None = None
        with open_text(file.source, file.name) as (text, findings):
            try:
                for piece in json_pieces(text, depth=2):
                    if len(piece.keys) != 2:
                        continue
                    section, key = piece.keys
                    if section in ("imgs", "images"):
                        images[as_text(as_object(piece.value()).get("id")) or key or ""] = piece
                    elif section in ("anns", "annotations"):
                        annotations[as_text(as_object(piece.value()).get("image_id"))].append(piece)
            except LabelUnreadable as fault:
                broken = fault
        for image_id, piece in images.items():
            fields = as_object(piece.value())
            width, height = as_number(fields.get("width")), as_number(fields.get("height"))
            said_size = (width, height) if width and height else None
            image = file.images.named(as_text(fields.get("file_name")), folder_of(file.name), said_size=said_size, line=piece.line)
            listed = annotations.pop(image_id, [])
            if not image.is_usable:
                yield file.unusable(image)
                continue
            builder = file.builder(image)
            builder.note(*findings)
            for annotation in listed:
                _add(builder, annotation)
            yield file.row(image, builder)
        for image_id, rest in annotations.items():
            message = f"{len(rest)} annotations are of the image {image_id[:80]!r}, which the file does not list."
            yield file.failed("IMAGE_UNKNOWN", message, rest[0].line)
        if broken is not None:
            raise broken

    def writer(self, target: Target) -> "CocoTextWriter":
        """Begin to write."""
        return CocoTextWriter(target)


def _add(builder: PageBuilder, piece: JsonPiece) -> None:
    fields = as_object(piece.value())
    points = next(
        (found for name in ("mask", "points", "polygon", "segmentation") if (found := _outline(fields.get(name))) is not None), None
    )
    bounds = [number for value in as_list(fields.get("bbox")) if (number := as_number(value)) is not None]
    shape: Shape | None = None
    if points is not None:
        shape, findings = shape_from_points(points, piece.line)
        builder.note(*findings)
    elif len(bounds) == 4:
        x, y, width, height = bounds
        shape, findings = shape_from_bounds(x, y, x + width, y + height, piece.line)
        builder.note(*findings)
    text = as_text(fields.get("utf8_string"))
    legibility = as_text(fields.get("legibility")) or "legible"
    # TextOCR has no legibility: it writes a point for a word that nobody can read.
    unreadable = legibility != "legible" or (text == "." and "legibility" not in fields)
    attributes = {name: value for name, unknown in _UNKNOWN.items() if (value := as_text(fields.get(name))) not in ("", unknown)}
    builder.add(shape, text, unreadable=unreadable, attributes=attributes, line=piece.line)


def _outline(value: object) -> NDArray[np.float64] | None:
    listed = as_list(value)
    # COCO lists several outlines; a text has one.
    return as_points(listed[0] if len(listed) == 1 else listed)


@dataclass
class _Listed:
    images: dict[str, dict[str, object]] = field(default_factory=dict)
    annotations: dict[str, list[int]] = field(default_factory=dict)


class CocoTextWriter:
    """Writes annotations as they come; images, of which little is said, at the end."""

    def __init__(self, target: Target) -> None:
        self._file = target.open_new("labels.json")
        self._file.write(b'{"cats":{},"anns":{')
        self._listed = _Listed()
        self._num_written = 0

    def add(self, page: Page, source: Source) -> None:
        """Write a page's annotations."""
        image_id = len(self._listed.images) + 1
        size = {"file_name": page.name, "height": page.height_px, "width": page.width_px}
        self._listed.images[str(image_id)] = {"id": image_id, **size, "set": "train"}
        ids = self._listed.annotations.setdefault(str(image_id), [])
        for box in page.boxes:
            outline = outline_of(box)
            xmin, ymin, xmax, ymax = quad_bounds(outline)
            x, y = outline[:, 0], outline[:, 1]
            self._num_written += 1
            ids.append(self._num_written)
            annotation = {
                "mask": flat_points_of(box),
                **{name: box.attributes.get(name, unknown) for name, unknown in _UNKNOWN.items()},
                "bbox": [plain(value) for value in (xmin, ymin, xmax - xmin, ymax - ymin)],
                "image_id": image_id,
                "id": self._num_written,
                "area": plain(abs(float(0.5 * (x * np.roll(y, -1) - np.roll(x, -1) * y).sum()))),
                "utf8_string": box.text,
                "legibility": "illegible" if box.unreadable else "legible",
            }
            comma = b",\n" if self._num_written > 1 else b"\n"
            self._file.write(comma + f'"{self._num_written}":'.encode() + orjson.dumps(annotation))

    def close(self) -> None:
        """Write the images."""
        self._file.write(b'\n},"imgs":' + orjson.dumps(self._listed.images))
        self._file.write(b',"imgToAnns":' + orjson.dumps(self._listed.annotations) + b',"info":{}}\n')
        self._file.close()
