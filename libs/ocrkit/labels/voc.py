"""Pascal VOC XML for text: a tolerant reader; the canonical writer stands beside it in ``voc_writer``.

The reader takes what labelling programs really write (see ``voc_elements`` for the geometry, ``xml_text`` for encodings) and tells of
each thing it had to change. It never shifts coordinates by one: pixel edges are counted from 0.
"""

import re
from dataclasses import dataclass

from lxml import etree

from libs.ocrkit.geometry import clip_quad, quad_area, quad_bounds
from libs.ocrkit.labels.page import Finding, LabelUnreadable, Severity, TextBox
from libs.ocrkit.labels.voc_elements import (
    TEXT_ATTRIBUTES,
    TEXT_TAGS,
    child,
    child_text,
    line_of,
    local_name,
    number,
    read_attributes,
    read_shape,
)
from libs.ocrkit.labels.voc_writer import write_voc
from libs.ocrkit.labels.xml_text import parse_xml

__all__ = ["Finding", "LabelUnreadable", "Severity", "TextBox", "VocPage", "read_voc", "write_voc"]

_CLASS_NAMES = frozenset({"text", "texts", "word", "words", "line", "textline", "文本"})
_MAX_OBJECTS = 20_000
_MIN_AREA_PX = 0.5


@dataclass(frozen=True)
class VocPage:
    """The text boxes of one file, in its order, and what was noticed. No box at all is a page labelled as holding no text."""

    boxes: tuple[TextBox, ...]
    findings: tuple[Finding, ...]


def read_voc(data: bytes, *, width_px: int, height_px: int) -> VocPage:
    """Read one label file.

    Args:
        data: the file.
        width_px: width of the upright image; it, not ``<size>``, is right.
        height_px: height of the upright image.

    Raises:
        LabelUnreadable: it is no XML, or no VOC annotation; the message names the line.
    """
    root, findings = parse_xml(data)
    if local_name(root).lower() != "annotation":
        raise LabelUnreadable(
            f"Line {line_of(root)}: the XML begins with <{local_name(root)}>, a VOC label file with <annotation>.", line=line_of(root)
        )
    findings += _check_size(root, width_px, height_px)
    entries = [entry for entry in root.iter() if local_name(entry) == "object"]
    if len(entries) > _MAX_OBJECTS:
        raise LabelUnreadable(f"The file has {len(entries)} objects, more than {_MAX_OBJECTS}.", num_objects=len(entries))
    boxes: list[TextBox] = []
    for entry in entries:
        box, found = _read_object(entry, width_px, height_px)
        findings += found
        if box is not None:
            boxes.append(box)
    if boxes and all(box.text.casefold() in _CLASS_NAMES for box in boxes):
        message = "Every text is a class name such as 'text': this file may hold no transcriptions."
        findings.append(Finding("warning", "NAME_IS_CLASS", message))
    return VocPage(tuple(boxes), tuple(findings))


def _check_size(root: etree._Element, width_px: int, height_px: int) -> list[Finding]:
    size = child(root, "size")
    said_width, said_height = number(size, "width"), number(size, "height")
    if size is None or not said_width or not said_height or (said_width == width_px and said_height == height_px):
        return []
    if said_width == height_px and said_height == width_px:
        message = "The file was written for the image turned by 90 degrees; check its boxes."
        return [Finding("warning", "SIZE_TURNED", message, line_of(size))]
    message = f"The file speaks of {said_width:g} x {said_height:g} pixels, the image has {width_px} x {height_px}; check its boxes."
    return [Finding("warning", "SIZE_DIFFERS", message, line_of(size))]


def _read_object(entry: etree._Element, width_px: int, height_px: int) -> tuple[TextBox | None, list[Finding]]:
    line = line_of(entry)
    shape, findings = read_shape(entry)
    if shape is None:
        return None, [Finding("skipped", "NO_SHAPE", f"Line {line}: the object has no box that can be read; it was left out.", line)]
    quad, clipped = clip_quad(shape, width_px, height_px)
    if quad_area(quad) < _MIN_AREA_PX:
        bounds = ", ".join(f"{value:g}" for value in quad_bounds(shape))
        where = f"outside the image of {width_px} x {height_px} pixels" if clipped else "without area"
        code = "OUTSIDE_IMAGE" if clipped else "NO_AREA"
        return None, [*findings, Finding("skipped", code, f"Line {line}: the box ({bounds}) lies {where}; it was left out.", line)]
    if clipped:
        findings.append(Finding("repaired", "CLIPPED", f"Line {line}: the box reached out of the image and was clipped to it.", line))
    attributes = read_attributes(entry)
    text, found = _read_text(entry, attributes)
    unreadable = _is_true(child_text(entry, "difficult")) or not text or text == "###" or not text.strip("*")
    kept = {name: value for name, value in attributes.items() if name not in TEXT_ATTRIBUTES}
    return TextBox(quad, text, unreadable, kept), findings + found


def _read_text(entry: etree._Element, attributes: dict[str, str]) -> tuple[str, list[Finding]]:
    name = (child_text(entry, "name") or "").strip()
    said = [attributes[key] for key in TEXT_ATTRIBUTES if attributes.get(key, "").strip()]
    said += [value for tag in TEXT_TAGS if (value := child_text(entry, tag)) and value.strip()]
    raw = (said[0] if said else name).strip()
    text = re.sub(r"\s*[\r\n]+\s*", " ", raw)
    findings: list[Finding] = []
    if text != raw:
        message = f"Line {line_of(entry)}: the text runs over several lines; they were joined by a space."
        findings.append(Finding("repaired", "LINES_JOINED", message, line_of(entry)))
    if said and name and raw not in (name, "") and name.casefold() not in _CLASS_NAMES:
        message = f"Line {line_of(entry)}: the name and the text of the object differ; the text was taken."
        findings.append(Finding("warning", "TEXT_DIFFERS", message, line_of(entry)))
    return text, findings


def _is_true(text: str | None) -> bool:
    return (text or "").strip().lower() in {"1", "true", "yes"}
