"""Outlines of all kinds to quads, and quads into the image."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from libs.ocrkit.geometry import Quad, clip_quad, quad_area, quad_around, quad_bounds, quad_from_box, signed_area
from libs.ocrkit.labels.page import Finding

MAX_POINTS = 10_000
_MIN_AREA_PX = 0.5


@dataclass(frozen=True, eq=False)
class Shape:
    """Where a piece of text stands: a quad, and the polygon it was put around (float64 (N, 2)) where there was one."""

    quad: Quad
    outline: NDArray[np.float64] | None = None


def finite(value: float) -> float | None:
    """The number, or None where no coordinate can be so: not finite, or beyond any image."""
    return value if math.isfinite(value) and abs(value) < 1e7 else None


def shape_from_points(points: NDArray[np.float64], line: int | None = None) -> tuple[Shape, list[Finding]]:
    """The shape of a polygon.

    Args:
        points: (N, 2), three or more.
        line: of the label file, for the findings.
    """
    if len(points) != 4:
        message = f"A polygon of {len(points)} points is read as the smallest rectangle around it; its outline is kept."
        return Shape(quad_around(points), points), [Finding("warning", "POLYGON_REDUCED", message, line)]
    turns = [_turn(points[i - 2], points[i - 1], points[i]) for i in range(4)]
    if min(turns) >= 0:
        return Shape(points), []
    if max(turns) <= 0:
        message = "The corners ran counter-clockwise and were turned round; the first one stayed first."
        return Shape(points[[0, 3, 2, 1]]), [Finding("repaired", "COUNTER_CLOCKWISE", message, line)]
    if _crosses_itself(points):
        message = "The sides of the polygon cross; it became the smallest rectangle around it."
        return Shape(quad_around(points)), [Finding("repaired", "POLYGON_CROSSED", message, line)]
    # Dented, which a page that is not flat explains; only the direction has to be right.
    return Shape(points if signed_area(points) >= 0 else points[[0, 3, 2, 1]]), []


def shape_from_bounds(xmin: float, ymin: float, xmax: float, ymax: float, line: int | None = None) -> tuple[Shape, list[Finding]]:
    """The shape of an upright box, its bounds in whatever order."""
    quad = quad_from_box(min(xmin, xmax), min(ymin, ymax), max(xmin, xmax), max(ymin, ymax))
    if xmin > xmax or ymin > ymax:
        message = "The smaller bound stood where the larger belongs; they were swapped."
        return Shape(quad), [Finding("repaired", "SWAPPED_BOUNDS", message, line)]
    return Shape(quad), []


def fit_shape(shape: Shape, width_px: int, height_px: int, line: int | None = None) -> tuple[Shape | None, list[Finding]]:
    """The shape clipped to the image; None where nothing of it is left."""
    at = "" if line is None else f"Line {line}: "
    quad, clipped = clip_quad(shape.quad, width_px, height_px)
    if quad_area(quad) < _MIN_AREA_PX:
        bounds = ", ".join(f"{value:g}" for value in quad_bounds(shape.quad))
        where = f"outside the image of {width_px} x {height_px} pixels" if clipped else "without area"
        code = "OUTSIDE_IMAGE" if clipped else "NO_AREA"
        return None, [Finding("skipped", code, f"{at}the box ({bounds}) lies {where}; it was left out.", line)]
    outline = shape.outline
    if outline is not None:
        # What matters is the polygon: the rectangle around it may reach out of an image that the polygon stays in.
        outline, clipped = clip_quad(outline, width_px, height_px)
    findings = []
    if clipped:
        findings = [Finding("repaired", "CLIPPED", f"{at}the box reached out of the image and was clipped to it.", line)]
    return Shape(quad, outline), findings


def turn_back(points: NDArray[np.float64], degrees: int, width_px: int, height_px: int) -> NDArray[np.float64]:
    """Points of an image that was turned clockwise, as points of the image before.

    Args:
        points: (N, 2), pixels of the turned image.
        degrees: 0, 90, 180 or 270.
        width_px: of the image before.
        height_px: of the image before.
    """
    x, y = points[:, 0], points[:, 1]
    match degrees % 360:
        case 90:
            return np.stack([y, height_px - x], axis=1)
        case 180:
            return np.stack([width_px - x, height_px - y], axis=1)
        case 270:
            return np.stack([width_px - y, x], axis=1)
        case _:
            return points


def _turn(a: Quad, b: Quad, c: Quad) -> float:
    return float((b[0] - a[0]) * (c[1] - b[1]) - (b[1] - a[1]) * (c[0] - b[0]))


def _crosses_itself(points: Quad) -> bool:
    def cross(a: Quad, b: Quad, c: Quad, d: Quad) -> bool:
        return _turn(a, b, c) * _turn(a, b, d) < 0 and _turn(c, d, a) * _turn(c, d, b) < 0

    p, q, r, s = points
    return cross(p, q, r, s) or cross(q, r, s, p)
