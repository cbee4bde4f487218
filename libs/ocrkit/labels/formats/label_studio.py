"""Label Studio: a JSON array of tasks, places in percent."""

import re
from collections.abc import Iterator, Mapping
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

import numpy as np
import orjson

from libs.ocrkit.geometry import is_upright_box, quad_bounds
from libs.ocrkit.labels.format import LabelFile
from libs.ocrkit.labels.formats.addresses import names_of_address
from libs.ocrkit.labels.formats.label_studio_regions import UNREADABLE_CHOICE, add_regions
from libs.ocrkit.labels.formats.written_places import outline_of, plain
from libs.ocrkit.labels.holding import Holds
from libs.ocrkit.labels.json_pieces import json_pieces
from libs.ocrkit.labels.json_values import as_list, as_number, as_object, is_true
from libs.ocrkit.labels.page import Finding, Page, Row, TextBox
from libs.ocrkit.labels.source import Source, folder_of, split_suffix
from libs.ocrkit.labels.target import Target
from libs.ocrkit.labels.text_file import open_text
from libs.ocrkit.labels.texts import UNREADABLE

_TASK = re.compile(r'"(?:annotations|completions|predictions|from_name|to_name)"\s*:')
_NO_TASK = re.compile(r"\s*\[\s*\]\s*\Z")
_DECIMALS = 8


class LabelStudio:
    """The JSON export, not JSON-MIN."""

    key = "label-studio"
    title = (
        "Label Studio JSON: polygons and rectangles in percent with a text area each; `image_rotation` and turned rectangles are honoured"
    )
    holds = Holds(shape="polygon", unreadable="flag", attributes=None)

    def claims(self, name: str, head: str) -> bool:
        """A JSON array of tasks."""
        if split_suffix(name)[1] != ".json":
            return False
        return (re.match(r"\s*\[\s*\{", head) is not None and _TASK.search(head) is not None) or _NO_TASK.match(head) is not None

    def read(self, file: LabelFile) -> Iterator[Row]:
        """A row for each task."""
        with open_text(file.source, file.name) as (text, findings):
            for piece in json_pieces(text, depth=1):
                task = as_object(piece.value())
                said = _image(as_object(task.get("data")))
                if not said:
                    yield file.failed("LINE_UNREADABLE", "this is no task with an image in its data; it was left out.", piece.line)
                    continue
                results, found = _results(task, piece.line)
                size = [as_number(as_object(r).get(side)) for r in (results or [])[:1] for side in ("original_width", "original_height")]
                said_size = (size[0], size[1]) if len(size) == 2 and size[0] and size[1] else None
                places = [
                    file.images.named(name, folder_of(file.name), said_size=said_size, line=piece.line) for name in names_of_address(said)
                ]
                image = next((place for place in places if place.is_usable and not place.findings), places[-1])
                if not image.is_usable:
                    yield file.unusable(image)
                elif results is None:
                    finding = Finding("warning", "NOT_LABELED", f"Line {piece.line}: nobody has labelled it.", piece.line)
                    yield Row(image.name, file.name, None, (finding,))
                else:
                    builder = file.builder(image)
                    builder.note(*findings, *found)
                    add_regions(builder, results, piece.line)
                    yield file.row(image, builder)

    def writer(self, target: Target) -> "LabelStudioWriter":
        """Begin to write."""
        return LabelStudioWriter(target)


def _image(data: Mapping[str, object]) -> str:
    """The image's address: in the usual fields, or else the first that ends like an image."""
    for name in ("image", "ocr", "img", "captioning"):
        if isinstance(said := data.get(name), str) and said:
            return said
    texts = [value for value in data.values() if isinstance(value, str)]
    return next((text for text in texts if re.search(r"\.(jpe?g|png|bmp)\b", text, re.IGNORECASE)), "")


def _results(task: Mapping[str, object], line: int) -> tuple[list[object] | None, list[Finding]]:
    """The results to take: of the annotation that is the ground truth, or the last one; else of the last prediction."""
    listed = [as_object(entry) for entry in as_list(task.get("annotations")) or as_list(task.get("completions"))]
    given = [entry for entry in listed if isinstance(entry.get("result"), list) and not is_true(entry.get("was_cancelled"))]
    if given:
        best = next((entry for entry in given if is_true(entry.get("ground_truth"))), given[-1])
        message = f"Line {line}: the task has {len(given)} annotations; one was taken."
        return as_list(best.get("result")), [Finding("warning", "SEVERAL_ANNOTATIONS", message, line)] if len(given) > 1 else []
    predicted = [as_object(entry) for entry in as_list(task.get("predictions"))]
    if not predicted:
        return None, []
    message = f"Line {line}: nobody has labelled it; the boxes are a model's prediction."
    return as_list(predicted[-1].get("result")), [Finding("warning", "PREDICTION_TAKEN", message, line)]


class LabelStudioWriter:
    """Writes tasks as they come, and at the end the labelling interface that they need."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._file = target.open_new("labels.json")
        self._separator = b"[\n"
        self._attributes: set[str] = set()

    def add(self, page: Page, source: Source) -> None:
        """Write a page as a task whose image lies below the local storage of Label Studio."""
        results = [result for number, box in enumerate(page.boxes, start=1) for result in self._results(page, number, box)]
        task = {"data": {"image": f"/data/local-files/?d={quote(page.name)}"}, "annotations": [{"result": results}]}
        self._file.write(self._separator + orjson.dumps(task))
        self._separator = b",\n"

    def _results(self, page: Page, number: int, box: TextBox) -> list[dict[str, object]]:
        size = {"original_width": page.width_px, "original_height": page.height_px, "image_rotation": 0}
        place, kind = _place(page, box)
        common: dict[str, object] = {"id": f"box{number}", "to_name": "image", **size}
        names = {"transcription": box.text or UNREADABLE, **box.attributes}
        self._attributes |= box.attributes.keys()
        results = [{**common, "from_name": kind, "type": kind, "value": place}]
        results += [{**common, "from_name": name, "type": "textarea", "value": {**place, "text": [text]}} for name, text in names.items()]
        if box.unreadable:
            choice = {**place, "choices": [UNREADABLE_CHOICE]}
            results.append({**common, "from_name": UNREADABLE_CHOICE, "type": "choices", "value": choice})
        return results

    def close(self) -> None:
        """Write the end, and the interface."""
        self._file.write(b"[]\n" if self._separator == b"[\n" else b"\n]\n")
        self._file.close()
        areas = "".join(
            f'  <TextArea name={quoteattr(name)} toName="image" perRegion="true"/>\n'
            for name in ("transcription", *sorted(self._attributes))
        )
        interface = (
            '<View>\n  <Image name="image" value="$image"/>\n  <Polygon name="polygon" toName="image"/>\n'
            f'  <Rectangle name="rectangle" toName="image"/>\n{areas}'
            f'  <Choices name="{UNREADABLE_CHOICE}" toName="image" perRegion="true">'
            f'<Choice value="{UNREADABLE_CHOICE}"/></Choices>\n</View>\n'
        )
        self._target.write_new("labeling_interface.txt", interface.encode())


def _place(page: Page, box: TextBox) -> tuple[dict[str, object], str]:
    """The value of a region, and its type."""
    per_cent = np.array([100 / page.width_px, 100 / page.height_px])
    if box.outline is None and is_upright_box(box.quad):
        xmin, ymin, xmax, ymax = quad_bounds(box.quad)
        x, y = np.array([xmin, ymin]) * per_cent
        width, height = np.array([xmax - xmin, ymax - ymin]) * per_cent
        sides = {"x": x, "y": y, "width": width, "height": height}
        return {**{side: plain(value, _DECIMALS) for side, value in sides.items()}, "rotation": 0}, "rectangle"
    points = (outline_of(box) * per_cent).tolist()
    return {"points": [[plain(value, _DECIMALS) for value in point] for point in points]}, "polygon"
