"""What programs write into an ``<object>``: shapes, each to a quad, and attributes."""

import math
import re

import numpy as np
from lxml import etree
from numpy.typing import NDArray

from libs.ocrkit.geometry import Quad, quad_around, quad_from_box, quad_rotated, signed_area
from libs.ocrkit.labels.page import Finding

SHAPE_TAGS = frozenset({"polygon", "robndbox", "rotated_box", "points", "quad", "bndbox"})

TEXT_TAGS = ("text", "transcription", "content", "value")
TEXT_ATTRIBUTES = ("text", "transcription", "content", "label_text", "ocr", "utf8_string", "文本", "OCR识别结果")

_NUMBERED = re.compile(r"([xy])(\d{1,4})\Z")
_POINT_PAIR = re.compile(r"\s*([-+0-9.eE]+)\s*,\s*([-+0-9.eE]+)\s*\Z")


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
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) and abs(value) < 1e7 else None


def read_shape(entry: etree._Element) -> tuple[Quad | None, list[Finding]]:
    """The quad of one ``<object>``: the most exact shape it carries.

    Returns:
        The quad, not yet clipped, and what was repaired; None where no shape could be read.
    """
    for name in ("polygon", "points", "quad"):
        outline = child(entry, name)
        if outline is not None and (points := _points(outline)) is not None and len(points) >= 3:
            return _quad_of_outline(points, outline)
    for name in ("robndbox", "rotated_box", "bndbox"):
        box = child(entry, name)
        if box is None:
            continue
        turned = _turned_box(box)
        if turned is not None:
            return turned, []
        if name != "robndbox":
            return _upright_box(box)
    return None, []


def _points(outline: etree._Element) -> NDArray[np.float64] | None:
    numbered: dict[int, dict[str, float]] = {}
    listed: list[tuple[float | None, float | None]] = []
    texts = [part for part in re.split(r"[;|]", outline.text or "") if part.strip()] if len(outline) == 0 else []
    for entry in outline:
        match = _NUMBERED.match(local_name(entry))
        value = to_number(entry.text)
        if match and value is not None:
            numbered.setdefault(int(match[2]), {})[match[1]] = value
        elif len(entry):
            listed.append((number(entry, "x"), number(entry, "y")))
        elif entry.text:
            texts.append(entry.text)
    for text in texts:
        pair = _POINT_PAIR.match(text)
        listed.append((to_number(pair[1]), to_number(pair[2])) if pair else (None, None))
    if numbered:
        listed = [(point.get("x"), point.get("y")) for _, point in sorted(numbered.items())]
    if not listed or any(x is None or y is None for x, y in listed):
        return None
    return np.array(listed, dtype=np.float64)


def _quad_of_outline(points: NDArray[np.float64], outline: etree._Element) -> tuple[Quad, list[Finding]]:
    line = line_of(outline)
    if len(points) != 4:
        message = f"A polygon of {len(points)} points became the smallest rectangle around it."
        return quad_around(points), [Finding("repaired", "POLYGON_REDUCED", message, line)]
    turns = [_turn(points[i - 2], points[i - 1], points[i]) for i in range(4)]
    if min(turns) >= 0:
        return points, []
    if max(turns) <= 0:
        message = "The corners ran counter-clockwise and were turned round; the first one stayed first."
        return points[[0, 3, 2, 1]], [Finding("repaired", "COUNTER_CLOCKWISE", message, line)]
    if _crosses_itself(points):
        message = "The sides of the polygon cross; it became the smallest rectangle around it."
        return quad_around(points), [Finding("repaired", "POLYGON_CROSSED", message, line)]
    # Dented, which a page that is not flat explains; only the direction has to be right.
    return (points if signed_area(points) >= 0 else points[[0, 3, 2, 1]]), []


def _turn(a: Quad, b: Quad, c: Quad) -> float:
    return float((b[0] - a[0]) * (c[1] - b[1]) - (b[1] - a[1]) * (c[0] - b[0]))


def _crosses_itself(points: Quad) -> bool:
    def cross(a: Quad, b: Quad, c: Quad, d: Quad) -> bool:
        return _turn(a, b, c) * _turn(a, b, d) < 0 and _turn(c, d, a) * _turn(c, d, b) < 0

    p, q, r, s = points
    return cross(p, q, r, s) or cross(q, r, s, p)


def _turned_box(box: etree._Element) -> Quad | None:
    """A box about its centre, its angle in radians, clockwise on the screen (roLabelImg); degrees where it is more than a whole turn."""
    center_x, center_y = number(box, "cx", "center_x"), number(box, "cy", "center_y")
    width, height, angle = number(box, "w", "width"), number(box, "h", "height"), number(box, "angle", "rot", "rotation")
    if center_x is None:
        xmin, ymin, xmax, ymax = (number(box, name) for name in ("xmin", "ymin", "xmax", "ymax"))
        if angle is None or xmin is None or ymin is None or xmax is None or ymax is None:
            return None
        center_x, center_y, width, height = (xmin + xmax) / 2, (ymin + ymax) / 2, abs(xmax - xmin), abs(ymax - ymin)
    if center_y is None or width is None or height is None:
        return None
    radians = angle or 0.0
    if abs(radians) > 2 * math.pi:
        radians = math.radians(radians)
    return quad_rotated(center_x, center_y, abs(width), abs(height), radians)


def _upright_box(box: etree._Element) -> tuple[Quad | None, list[Finding]]:
    xmin, ymin, xmax, ymax = (number(box, name) for name in ("xmin", "ymin", "xmax", "ymax"))
    if xmin is None or ymin is None or xmax is None or ymax is None:
        return None, []
    quad = quad_from_box(min(xmin, xmax), min(ymin, ymax), max(xmin, xmax), max(ymin, ymax))
    if xmin > xmax or ymin > ymax:
        message = "The smaller bound stood where the larger belongs; they were swapped."
        return quad, [Finding("repaired", "SWAPPED_BOUNDS", message, line_of(box))]
    return quad, []
