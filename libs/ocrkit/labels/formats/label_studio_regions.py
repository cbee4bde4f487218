"""Regions of a Label Studio annotation: two or three results of one id, in percent, to boxes in pixels."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from libs.ocrkit.geometry import quad_from_box
from libs.ocrkit.labels.json_values import as_list, as_number, as_object, as_points, as_text, is_true
from libs.ocrkit.labels.page_builder import PageBuilder
from libs.ocrkit.labels.shapes import shape_from_points, turn_back
from libs.ocrkit.labels.texts import TEXT_ATTRIBUTES

UNREADABLE_CHOICE = "unreadable"
_LABELS = ("labels", "polygonlabels", "rectanglelabels", "brushlabels", "ellipselabels")


@dataclass
class _Region:
    results: list[Mapping[str, object]] = field(default_factory=list)


def add_regions(builder: PageBuilder, results: Iterable[object], line: int) -> None:
    """Take the regions of an annotation into a page, in the order in which they begin."""
    regions: dict[str, _Region] = {}
    for number, result in enumerate(results):
        fields = as_object(result)
        # Without an id a result is a region of its own.
        regions.setdefault(as_text(fields.get("id")) or f" {number}", _Region()).results.append(fields)
    for region in regions.values():
        _add(builder, region.results, line)


def _add(builder: PageBuilder, results: list[Mapping[str, object]], line: int) -> None:
    points = next((found for result in results if (found := _points(builder, result)) is not None), None)
    texts: dict[str, str] = {}
    attributes: dict[str, str] = {}
    unreadable = False
    for result in results:
        value, name = as_object(result.get("value")), as_text(result.get("from_name"))
        said = value.get("text")
        if said is not None:
            texts.setdefault(name, "\n".join(map(as_text, said)) if isinstance(said, list) else as_text(said))
        for kind in _LABELS:
            if listed := as_list(value.get(kind)):
                attributes["label"] = ",".join(map(as_text, listed))
        choices = [as_text(choice) for choice in as_list(value.get("choices"))]
        if name == UNREADABLE_CHOICE and choices:
            unreadable = is_true(choices[0]) or choices[0] == UNREADABLE_CHOICE
        elif choices:
            attributes[name] = ",".join(choices)
        if (score := result.get("score")) is not None:
            attributes["score"] = as_text(score)
    text_name = next((name for name in TEXT_ATTRIBUTES if name in texts), next(iter(texts), ""))
    text = texts.pop(text_name, "")
    if points is None:
        if text or not (attributes or texts):
            builder.skip("NO_SHAPE", f"a region ({text[:40]!r}) has no polygon or rectangle that can be read; it was left out.", line)
        return
    shape, findings = shape_from_points(points, line)
    builder.note(*findings)
    builder.add(shape, text, unreadable=unreadable, attributes=attributes | texts, line=line)


def _points(builder: PageBuilder, result: Mapping[str, object]) -> NDArray[np.float64] | None:
    """The outline of a result in pixels of the upright image; (N, 2)."""
    value = as_object(result.get("value"))
    rotation = round(as_number(result.get("image_rotation")) or 0.0) % 360
    width_px, height_px = builder.width_px, builder.height_px
    # Percents are of the image as it was turned on the screen.
    shown = np.array([height_px, width_px] if rotation in (90, 270) else [width_px, height_px], dtype=np.float64)
    points = as_points(value.get("points"))
    if points is not None:
        points = points / 100 * shown
    else:
        sides = [number for side in ("x", "y", "width", "height") if (number := as_number(value.get(side))) is not None]
        if len(sides) != 4:
            return None
        corner, size = np.array(sides[:2]) / 100 * shown, np.array(sides[2:]) / 100 * shown
        angle = math.radians(as_number(value.get("rotation")) or 0.0)
        cos, sin = math.cos(angle), math.sin(angle)
        # The corner stays where it is: a rectangle turns about its top left, not about its middle.
        points = quad_from_box(0, 0, size[0], size[1]) @ np.array([[cos, sin], [-sin, cos]]) + corner
    return turn_back(points, rotation, width_px, height_px)
