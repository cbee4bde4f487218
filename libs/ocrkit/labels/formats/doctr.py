"""docTR: ``labels.json`` beside ``images/``, with texts for recognition or polygons for detection."""

import hashlib
import re
from collections.abc import Iterator

import orjson

from libs.ocrkit.labels.format import LabelFile
from libs.ocrkit.labels.formats.crops import CROPS_HOLD, CropWriter, crop_row
from libs.ocrkit.labels.formats.written_places import points_of
from libs.ocrkit.labels.holding import Holds
from libs.ocrkit.labels.image_finder import FoundImage
from libs.ocrkit.labels.json_pieces import JsonPiece, json_pieces
from libs.ocrkit.labels.json_values import as_list, as_number, as_object, as_points
from libs.ocrkit.labels.page import Finding, Page, Row
from libs.ocrkit.labels.shapes import shape_from_points
from libs.ocrkit.labels.source import Source, base_of, folder_of, split_suffix
from libs.ocrkit.labels.target import Target
from libs.ocrkit.labels.text_file import open_text
from libs.runtime.errors import NotFound

_TEXTS = re.compile(r'\s*\{\s*"(?:[^"\\]|\\.)*\.(?:jpe?g|png|bmp)"\s*:\s*"', re.IGNORECASE)
_POLYGONS = re.compile(r'\s*\{\s*"(?:[^"\\]|\\.)*"\s*:\s*\{\s*"(?:img_dimensions|img_hash|polygons)"')
_NOTHING = re.compile(r"\s*\{\s*\}\s*\Z")
_CHUNK_BYTES = 1024 * 1024


class DoctrRecognition:
    """Texts of crops."""

    key = "doctr-rec"
    title = 'docTR recognition: `labels.json` with `{"img_1.jpg": "text"}` beside `images/`'
    holds = CROPS_HOLD

    def claims(self, name: str, head: str) -> bool:
        """A JSON object of image names and texts."""
        return split_suffix(name)[1] == ".json" and (_TEXTS.match(head) is not None or _is_empty(name, head))

    def read(self, file: LabelFile) -> Iterator[Row]:
        """A row for each image."""
        for piece, image, findings in _entries(file):
            text = piece.value()
            if isinstance(text, str):
                yield crop_row(file, image, text, line=piece.line, findings=findings)
            else:
                yield file.failed("LINE_UNREADABLE", "the label is no text; it was left out.", piece.line)

    def writer(self, target: Target) -> CropWriter:
        """Begin to write."""
        listed = _JsonObject(target)
        return CropWriter(target, "images", ".jpg", lambda name, text: listed.put(name.removeprefix("images/"), text), listed.close)


class DoctrDetection:
    """Polygons of pages, without texts."""

    key = "doctr-det"
    title = "docTR detection: `labels.json` with `img_dimensions`, `img_hash` and `polygons` of four points beside `images/`"
    holds = Holds(text=False, unreadable="no")

    def claims(self, name: str, head: str) -> bool:
        """A JSON object of image names and polygons."""
        return split_suffix(name)[1] == ".json" and (_POLYGONS.match(head) is not None or _is_empty(name, head))

    def read(self, file: LabelFile) -> Iterator[Row]:
        """A row for each image."""
        for piece, image, findings in _entries(file):
            if not image.is_usable:
                yield file.unusable(image)
                continue
            builder = file.builder(image)
            builder.note(*findings)
            for polygon in as_list(as_object(piece.value()).get("polygons")):
                points, shape = as_points(polygon), None
                if points is not None:
                    shape, found = shape_from_points(points, piece.line)
                    builder.note(*found)
                builder.add(shape, "", line=piece.line)
            yield file.row(image, builder)

    def writer(self, target: Target) -> "DoctrDetectionWriter":
        """Begin to write."""
        return DoctrDetectionWriter(target)


def _is_empty(name: str, head: str) -> bool:
    return base_of(name) == "labels.json" and _NOTHING.match(head) is not None


def _entries(file: LabelFile) -> Iterator[tuple[JsonPiece, FoundImage, tuple[Finding, ...]]]:
    with open_text(file.source, file.name) as (text, findings):
        for piece in json_pieces(text, depth=1):
            dimensions = [as_number(side) for side in as_list(as_object(piece.value()).get("img_dimensions"))]
            height, width = dimensions if len(dimensions) == 2 else (None, None)
            said_size = (width, height) if width and height else None
            image = file.images.named(piece.keys[0] or "", folder_of(file.name), said_size=said_size, line=piece.line)
            yield piece, image, tuple(findings)


class DoctrDetectionWriter:
    """Writes the polygons of each page with the digest of its image, by which docTR knows it again."""

    def __init__(self, target: Target) -> None:
        self._listed = _JsonObject(target)

    def add(self, page: Page, source: Source) -> None:
        """Write a page's polygons.

        Raises:
            NotFound: its image is not there.
        """
        digest = hashlib.sha256()
        try:
            with source.open(page.name) as stream:
                while chunk := stream.read(_CHUNK_BYTES):
                    digest.update(chunk)
        except OSError as error:
            raise NotFound(f"{page.name} is not there, and docTR wants its digest; put it beside the labels.", name=page.name) from error
        polygons = [points_of(box) for box in page.boxes]
        dimensions = [page.height_px, page.width_px]
        self._listed.put(page.name, {"img_dimensions": dimensions, "img_hash": digest.hexdigest(), "polygons": polygons})

    def close(self) -> None:
        """Write the end."""
        self._listed.close()


class _JsonObject:
    """``labels.json``, written member by member."""

    def __init__(self, target: Target) -> None:
        self._file = target.open_new("labels.json")
        self._separator = b"{\n"

    def put(self, name: str, value: object) -> None:
        self._file.write(self._separator + orjson.dumps(name) + b": " + orjson.dumps(value))
        self._separator = b",\n"

    def close(self) -> None:
        self._file.write(b"{}\n" if self._separator == b"{\n" else b"\n}\n")
        self._file.close()
