"""iTAG manifests, as PAI's labelling writes them: a line of JSON an image, with the stages label, check and verify."""

import re
from collections.abc import Iterator, Mapping

import numpy as np
import orjson
from numpy.typing import NDArray

from libs.ocrkit.geometry import quad_from_box
from libs.ocrkit.labels.format import LabelFile
from libs.ocrkit.labels.formats.addresses import names_of_address
from libs.ocrkit.labels.formats.written_places import points_of
from libs.ocrkit.labels.holding import Holds
from libs.ocrkit.labels.json_pieces import parse_json
from libs.ocrkit.labels.json_values import as_list, as_number, as_object, as_points, as_text
from libs.ocrkit.labels.page import Finding, Page, Row
from libs.ocrkit.labels.page_builder import PageBuilder
from libs.ocrkit.labels.shapes import shape_from_points
from libs.ocrkit.labels.source import Source, folder_of, split_suffix
from libs.ocrkit.labels.target import Target
from libs.ocrkit.labels.text_file import numbered_lines, open_text
from libs.ocrkit.labels.texts import TEXT_ATTRIBUTES

_LINE = re.compile(r'\s*\{.*"(?:label-[^"]*|data)"\s*:\s*\{')
_TEXT_LABEL = "OCR识别结果"
_STAGES = ("", "-check", "-verify")
"""From the first look to the last."""


class Itag:
    """``.manifest``."""

    key = "itag"
    title = "iTAG manifest of PAI: JSON lines; of the stages verify, check and label the latest is read; `###` is unreadable"
    holds = Holds(shape="polygon", attributes=None, confirmed=True)

    def claims(self, name: str, head: str) -> bool:
        """A manifest, or JSON lines with its fields."""
        suffix = split_suffix(name)[1]
        return suffix == ".manifest" or (suffix in (".json", ".jsonl") and "label-" in head and _LINE.match(head) is not None)

    def read(self, file: LabelFile) -> Iterator[Row]:
        """A row for each line."""
        with open_text(file.source, file.name) as (text, findings):
            for line, content in numbered_lines(text):
                fields = as_object(parse_json(content or ""))
                said = as_text(as_object(fields.get("data")).get("source"))
                if not said:
                    yield file.failed("LINE_UNREADABLE", "this is no JSON with an image at data.source; the line was left out.", line)
                    continue
                stage, results = _latest(fields)
                sizes = [as_number(as_object(result).get(side)) for result in results[:1] for side in ("width", "height")]
                said_size = (sizes[0], sizes[1]) if len(sizes) == 2 and sizes[0] and sizes[1] else None
                image = file.images.named(names_of_address(said)[-1], folder_of(file.name), said_size=said_size, line=line)
                if not image.is_usable:
                    yield file.unusable(image)
                elif stage is None:
                    yield Row(
                        image.name, file.name, None, (Finding("warning", "NOT_LABELED", f"Line {line}: nobody has labelled it.", line),)
                    )
                else:
                    builder = file.builder(image)
                    builder.note(*findings)
                    for result in results:
                        _read_result(builder, as_object(result), line)
                    yield file.row(image, builder, confirmed=bool(stage))

    def writer(self, target: Target) -> "ItagWriter":
        """Begin to write."""
        return ItagWriter(target)


def _latest(fields: Mapping[str, object]) -> tuple[str | None, list[object]]:
    """The last stage that has results, and these; None where nobody has labelled."""
    found: tuple[str | None, list[object]] = (None, [])
    for stage in _STAGES:
        for key, value in fields.items():
            ending = next((ending for ending in reversed(_STAGES) if key.endswith(ending)), "")
            results = as_object(value).get("results")
            if key.startswith("label-") and ending == stage and isinstance(results, list):
                found = stage, results
    return found


def _read_result(builder: PageBuilder, result: Mapping[str, object], line: int) -> None:
    said = (as_number(result.get("width")), as_number(result.get("height")))
    if all(said) and said != (builder.width_px, builder.height_px):
        message = f"Line {line}: it speaks of {said[0]:g} x {said[1]:g} pixels, the image has {builder.width_px} x {builder.height_px}."
        builder.note(Finding("warning", "SIZE_DIFFERS", message, line))
    if as_number(result.get("rotation")):
        message = f"Line {line}: it was labelled on the image turned by {as_text(result.get('rotation'))[:20]} degrees; check its boxes."
        builder.note(Finding("warning", "SIZE_TURNED", message, line))
    for entry in as_list(result.get("data")):
        fields = as_object(entry)
        points, shape = _points(fields.get("value")), None
        if points is not None:
            shape, findings = shape_from_points(points, line)
            builder.note(*findings)
        labels = {name: as_text(value) for name, value in as_object(fields.get("labels")).items()}
        said_texts = [labels.pop(name) for name in TEXT_ATTRIBUTES if name in labels]
        builder.add(shape, next(filter(str.strip, said_texts), ""), attributes=labels, line=line)


def _points(value: object) -> NDArray[np.float64] | None:
    fields = as_object(value)
    numbers = [number for side in ("x", "y", "width", "height") if (number := as_number(fields.get(side))) is not None]
    if len(numbers) == 4:
        x, y, width, height = numbers
        return quad_from_box(x, y, x + width, y + height)
    return as_points(value)


class ItagWriter:
    """Writes a line a page."""

    def __init__(self, target: Target) -> None:
        self._file = target.open_new("labels.manifest")

    def add(self, page: Page, source: Source) -> None:
        """Write a page's line."""
        data = [
            {"id": str(number), "type": "image/polygon", "value": points_of(box), "labels": dict(box.attributes) | {_TEXT_LABEL: box.text}}
            for number, box in enumerate(page.boxes, start=1)
        ]
        size = {"width": page.width_px, "height": page.height_px}
        result = {"questionId": "1", "data": data, "rotation": 0, "markTitle": "OCR标签配置", "type": "image", **size}
        stage = "label-inkwright" + (_STAGES[-1] if page.confirmed else "")
        self._file.write(orjson.dumps({"data": {"source": page.name}, stage: {"results": [result]}}) + b"\n")

    def close(self) -> None:
        """Close the file."""
        self._file.close()
