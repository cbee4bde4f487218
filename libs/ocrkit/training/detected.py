"""Boxes of the detector as samples: what the reader will be given in use, labelled by the truth they cover.

A box of the detector often holds two labelled pieces of one row. Its text is then both, with a column break between
them, so that the recognizer learns where to cut. A box far from every label holds what nobody wants read: its text is
empty, so that the recognizer learns to say nothing there.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from shapely import STRtree
from shapely.geometry import Polygon
from shapely.geometry.base import BaseGeometry

from libs.ocrkit.charset import COLUMN_BREAK
from libs.ocrkit.geometry import Quad
from libs.ocrkit.labels.page import TextBox
from libs.ocrkit.preprocess import line_size
from libs.ocrkit.training.data import plain_text

__all__ = ["Coverage", "LabelledQuad", "label_detections"]

_MIN_IOU = 0.5
_MIN_COVERED = 0.5
_MAX_TOUCHED = 0.1


class Coverage(StrEnum):
    """What a detected box holds of the truth."""

    ONE = "ONE"
    ROW = "ROW"
    NOTHING = "NOTHING"
    PART = "PART"
    SEVERAL_ROWS = "SEVERAL_ROWS"
    UNREADABLE = "UNREADABLE"


@dataclass(frozen=True, eq=False)
class LabelledQuad:
    """A detected box with the text it holds."""

    quad: Quad
    text: str


def label_detections(detected: Sequence[Quad], truth: Sequence[TextBox]) -> tuple[list[LabelledQuad], Counter[Coverage]]:
    """Give each detected box the text of the labelled boxes in it.

    Args:
        detected: quads of the detector on one page.
        truth: all labelled boxes of the page.

    Returns:
        Boxes that hold exactly one labelled text (IoU of at least 0.5), several of one row or none at all, and how many boxes held
        what.
    """
    counts: Counter[Coverage] = Counter()
    found: list[LabelledQuad] = []
    polygons = [_polygon(box.quad) for box in truth]
    tree = STRtree(polygons)
    for quad in detected:
        polygon = _polygon(quad)
        near = tree.query(polygon).tolist()
        inside = [index for index in near if polygon.intersection(polygons[index]).area > _MIN_COVERED * polygons[index].area]
        coverage, text = _judge(quad, polygon, [truth[index] for index in inside], [polygons[index] for index in inside])
        touched = sum(polygon.intersection(polygons[index]).area for index in near)
        if coverage is Coverage.NOTHING and touched > _MAX_TOUCHED * polygon.area:
            coverage = Coverage.PART
        counts[coverage] += 1
        if coverage in (Coverage.ONE, Coverage.ROW, Coverage.NOTHING):
            found.append(LabelledQuad(_as_labelled(quad, [truth[index] for index in inside]), text))
    return found, counts


def _judge(quad: Quad, polygon: BaseGeometry, boxes: list[TextBox], polygons: list[BaseGeometry]) -> tuple[Coverage, str]:
    if not boxes:
        return Coverage.NOTHING, ""
    if any(box.unreadable or not plain_text(box.text) for box in boxes):
        return Coverage.UNREADABLE, ""
    covered = sum(polygon.intersection(other).area for other in polygons)
    if len(boxes) == 1:
        shared = covered / (polygon.area + polygons[0].area - covered)
        return (Coverage.ONE, plain_text(boxes[0].text)) if shared >= _MIN_IOU else (Coverage.PART, "")
    order = _row(quad, boxes)
    if order is None:
        return Coverage.SEVERAL_ROWS, ""
    if covered < _MIN_IOU * polygon.area:
        return Coverage.PART, ""
    return Coverage.ROW, COLUMN_BREAK.join(plain_text(boxes[index].text) for index in order)


def _as_labelled(quad: Quad, boxes: Sequence[TextBox]) -> Quad:
    """The quad, beginning where the text of its boxes begins: a detector does not know which side is up."""
    if not boxes:
        return quad
    along = sum((box.quad[1] - box.quad[0] for box in boxes), start=np.zeros(2))
    turned: Quad = np.roll(quad, 2, axis=0) if float(along @ (quad[1] - quad[0])) < 0 else quad
    return turned


def _row(quad: Quad, boxes: Sequence[TextBox]) -> list[int] | None:
    """The boxes from left to right as the quad runs, None when two of them stand one above the other."""
    width, height = line_size(quad)
    along = (quad[1] - quad[0] + quad[2] - quad[3]) / 2
    along = along / max(float(np.linalg.norm(along)), 1e-9)
    if height > width:
        return None
    spans: list[NDArray[np.float64]] = [box.quad @ along for box in boxes]
    order = sorted(range(len(boxes)), key=lambda index: float(spans[index].mean()))
    for left, right in pairwise(order):
        overlap = spans[left].max() - spans[right].min()
        if overlap > 0.5 * min(np.ptp(spans[left]), np.ptp(spans[right])):
            return None
    return order


def _polygon(quad: Quad) -> BaseGeometry:
    polygon = Polygon(quad)
    return polygon if polygon.is_valid else polygon.convex_hull
