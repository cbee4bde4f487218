"""What programs write into an ``<object>``: shapes, each to a quad, and attributes."""

import math
import re

import numpy as np
from lxml import etree
from numpy.typing import NDArray

from libs.ocrkit.geometry import quad_rotated
from libs.ocrkit.labels.page import Finding
from libs.ocrkit.labels.shapes import MAX_POINTS, Shape, finite, shape_from_bounds, shape_from_points

SHAPE_TAGS = frozenset({"polygon", "robndbox", "rotated_box", "points", "quad", "quadrilateral", "bndbox"})

TEXT_TAGS = ("text", "transcription", "content", "value")

_NUMBERED = re.compile(r"([xy])(\d{1,4})\Z")
_POINT_PAIR = re.compile(r"\s*([-+0-9.eE]+)\s*,\s*([-+0-9.eE]+)\s*\Z")

ReadShape = tuple[Shape | None, list[Finding]]


def local_name(element: etree._Element) -> str:
    """The tag without its namespace; empty for comments."""
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def line_of(element: etree._Element) -> int | None:
    """Where the element begins in its file, from 1."""
    line: object = element.sourceline
    return line if isinstance(line, int) else None


def child(element: etree._Element, name: str) -> etree._Element | None:
    """The first child of that name."""
    return next((entry for entry in element if local_name(entry) == name), None)


def child_text(element: etree._Element, name: str) -> str | None:
    """All text below the first child of that name."""
    found = child(element, name)
    return None if found is None else "".join(str(part) for part in found.itertext())


def read_attributes(entry: etree._Element) -> dict[str, str]:
    """The ``<attributes>`` of an object, name to value, as Datumaro and CVAT write them."""
    attributes: dict[str, str] = {}
    found = child(entry, "attributes")
    for attribute in found if found is not None else ():
        name = (child_text(attribute, "name") or "").strip()
        if name:
            attributes.setdefault(name, (child_text(attribute, "value") or "").strip())
    return attributes


def number(element: etree._Element | None, *names: str) -> float | None:
    """The finite number in the first child of one of these names."""
    for name in names:
        found = child(element, name) if element is not None else None
        value = to_number(found.text) if found is not None else None
        if value is not None:
            return value
    return None


def to_number(text: str | None) -> float | None:
    """A finite float, or None."""
    try:
        return finite(float(text or ""))
    except ValueError:
        return None


def read_shape(entry: etree._Element, *, one_based: bool = False) -> ReadShape:
    """The shape of one ``<object>``: the most exact that it carries.

    Args:
        entry: the object.
        one_based: its coordinates count pixels from 1: a box covers its last pixel, the corner of a polygon is the middle of one.

    Returns:
        The shape, not yet clipped, and what was repaired; None where none could be read.
    """
    shift_px = 0.5 if one_based else 0.0
    return (
        _outline(entry, ("polygon", "points"), shift_px)
        or _turned(entry, shift_px)
        or _outline(entry, ("quad", "quadrilateral", "bndbox"), shift_px)
        or _corners_in(entry, shift_px)
        or _upright_box(entry, shift_px)
    )


def _outline(entry: etree._Element, names: tuple[str, ...], shift_px: float) -> ReadShape | None:
    for name in names:
        outline = child(entry, name)
        if outline is not None and (points := _points(outline)) is not None and len(points) >= 3:
            return shape_from_points(points - shift_px, line_of(outline))
    return None


def _corners_in(entry: etree._Element, shift_px: float) -> ReadShape | None:
    """Four points that stand in the object itself, without an element around them."""
    points = _numbered_points(entry)
    return shape_from_points(points - shift_px, line_of(entry)) if points is not None and len(points) == 4 else None


def _numbered_points(outline: etree._Element) -> NDArray[np.float64] | None:
    numbered: dict[int, dict[str, float]] = {}
    for entry in outline:
        match = _NUMBERED.match(local_name(entry))
        if match and (value := to_number(entry.text)) is not None:
            numbered.setdefault(int(match[2]), {})[match[1]] = value
    points = [(point["x"], point["y"]) for _, point in sorted(numbered.items()) if len(point) == 2]
    return np.array(points, dtype=np.float64) if points and len(points) == len(numbered) else None


def _points(outline: etree._Element) -> NDArray[np.float64] | None:
    if len(outline) > 2 * MAX_POINTS:
        return None
    numbered = _numbered_points(outline)
    if numbered is not None:
        return numbered
    listed: list[tuple[float | None, float | None]] = []
    texts = [part for part in re.split(r"[;|]", outline.text or "") if part.strip()] if len(outline) == 0 else []
    for entry in outline:
        if len(entry):
            listed.append((number(entry, "x"), number(entry, "y")))
        elif entry.text and _NUMBERED.match(local_name(entry)) is None:
            texts.append(entry.text)
    for text in texts:
        pair = _POINT_PAIR.match(text)
        listed.append((to_number(pair[1]), to_number(pair[2])) if pair else (None, None))
    if not listed or len(listed) > MAX_POINTS or any(x is None or y is None for x, y in listed):
        return None
    return np.array(listed, dtype=np.float64)


def _turned(entry: etree._Element, shift_px: float) -> ReadShape | None:
    """A box about its centre, its angle in radians, clockwise on the screen (roLabelImg); degrees where it is more than a whole turn."""
    for name in ("robndbox", "rotated_box", "bndbox"):
        box = child(entry, name)
        if box is None:
            continue
        center_x, center_y = number(box, "cx", "center_x"), number(box, "cy", "center_y")
        width, height, angle = number(box, "w", "width"), number(box, "h", "height"), number(box, "angle", "rot", "rotation")
        if center_x is None:
            xmin, ymin, xmax, ymax = (number(box, side) for side in ("xmin", "ymin", "xmax", "ymax"))
            if angle is None or xmin is None or ymin is None or xmax is None or ymax is None:
                continue
            center_x, center_y, width, height = (xmin + xmax) / 2, (ymin + ymax) / 2, abs(xmax - xmin), abs(ymax - ymin)
        if center_y is None or width is None or height is None:
            continue
        radians, findings = angle or 0.0, []
        if abs(radians) > 2 * math.pi:
            radians = math.radians(radians)
            message = "The angle is more than a whole turn in radians and was read as degrees."
            findings = [Finding("repaired", "ANGLE_IN_DEGREES", message, line_of(box))]
        return Shape(quad_rotated(center_x - shift_px, center_y - shift_px, abs(width), abs(height), radians)), findings
    return None


def _upright_box(entry: etree._Element, shift_px: float) -> ReadShape:
    box = child(entry, "bndbox")
    xmin, ymin, xmax, ymax = (number(box, name) for name in ("xmin", "ymin", "xmax", "ymax"))
    if box is None or xmin is None or ymin is None or xmax is None or ymax is None:
        return None, []
    shape, findings = shape_from_bounds(xmin, ymin, xmax, ymax, line_of(box))
    if shift_px:
        quad = shape.quad.copy()
        quad[[0, 3], 0] -= 1
        quad[[0, 1], 1] -= 1
        shape = Shape(quad)
    return shape, findings
