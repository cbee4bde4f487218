"""Quads: where a piece of text stands on a page.

A coordinate is a pixel edge, counted from 0: a box over the whole of a 10 x 20 image runs from (0, 0) to (10, 20).
All coordinates are of the upright image, y grows downwards.
"""

from collections.abc import Sequence
from typing import TypeAlias

import cv2
import numpy as np
import shapely
from numpy.typing import ArrayLike, NDArray

Quad: TypeAlias = NDArray[np.float64]
"""float64 (4, 2): x, y in pixels, clockwise on the screen, beginning at the top left of the text."""

SAME_PX = 0.01
"""Coordinates closer than this are the same: label files are written with two decimals."""


def quad_from_box(xmin: float, ymin: float, xmax: float, ymax: float) -> Quad:
    """The quad of an upright box."""
    return np.array([[xmin, ymin], [xmax, ymin], [xmax, ymax], [xmin, ymax]], dtype=np.float64)


def quad_bounds(quad: Quad) -> tuple[float, float, float, float]:
    """``(xmin, ymin, xmax, ymax)`` of the smallest upright box around a quad."""
    (xmin, ymin), (xmax, ymax) = quad.min(axis=0), quad.max(axis=0)
    return float(xmin), float(ymin), float(xmax), float(ymax)


def is_upright_box(quad: Quad) -> bool:
    """Whether the quad says no more than its bounds do: an upright rectangle whose text begins at its top left."""
    return bool(np.abs(quad - quad_from_box(*quad_bounds(quad))).max() <= SAME_PX)


def quad_area(quad: Quad) -> float:
    """Area in square pixels; negative areas (counter-clockwise quads) do not exist here, the result is never below 0."""
    return abs(signed_area(quad))


def signed_area(points: NDArray[np.float64]) -> float:
    """Shoelace area of an (N, 2) outline: positive when it runs clockwise on the screen."""
    x, y = points[:, 0], points[:, 1]
    return float(0.5 * (x * np.roll(y, -1) - np.roll(x, -1) * y).sum())


def clip_quad(quad: Quad, width_px: int, height_px: int) -> tuple[Quad, bool]:
    """Bring a quad into the image, corner by corner.

    Returns:
        The quad inside ``[0, width_px] x [0, height_px]`` and whether anything had to be moved. What lay wholly outside comes
        back without area.
    """
    inside = np.clip(quad, 0.0, np.array([width_px, height_px], dtype=np.float64))
    return inside, bool(np.abs(inside - quad).max() > SAME_PX)


def grow_quad(quad: Quad, by_px: float) -> Quad:
    """The quad with each side moved outwards along the two it meets; corners keep their order."""
    ahead = np.roll(quad, -1, axis=0) - quad
    ahead /= np.maximum(np.linalg.norm(ahead, axis=1, keepdims=True), 1e-9)
    grown: Quad = quad + by_px * (np.roll(ahead, 1, axis=0) - ahead)
    return grown


def quad_iou(a: Quad, b: Quad) -> float:
    """Intersection over union in [0, 1]; 0 where neither has an area."""
    ax0, ay0, ax1, ay1 = quad_bounds(a)
    bx0, by0, bx1, by1 = quad_bounds(b)
    if ax0 >= bx1 or bx0 >= ax1 or ay0 >= by1 or by0 >= ay1:
        return 0.0
    return float(quad_ious([a], [b])[0])


def quad_ious(a: Sequence[Quad], b: Sequence[Quad]) -> NDArray[np.float64]:
    """``quad_iou`` pair by pair: float64 (N,)."""
    if not a:
        return np.zeros(0)
    p, q = _polygons(a), _polygons(b)
    shared = shapely.area(shapely.intersection(p, q))
    union = shapely.area(p) + shapely.area(q) - shared
    ious: NDArray[np.float64] = np.where(union > 0, np.minimum(1.0, shared / np.maximum(union, 1e-12)), 0.0)
    return ious


def _polygons(quads: Sequence[Quad]) -> NDArray[np.object_]:
    polygons: NDArray[np.object_] = np.asarray(shapely.polygons(np.stack(quads)), dtype=object)
    # A quad that crosses itself has no area of its own that can be intersected.
    crossed = ~shapely.is_valid(polygons)
    polygons[crossed] = shapely.buffer(polygons[crossed], 0)
    return polygons


def order_corners(points: ArrayLike) -> NDArray[np.float64]:
    """Put four corners of rectangles into reading order: clockwise, beginning at the top left as the image stands.

    Args:
        points: (..., 4, 2), of one rectangle or of many.

    Returns:
        float64 of the same shape.

    Source: the left pair and the right pair are told apart by x, each is sorted by y, as PP-OCR does it.
    """
    by_x = _sorted_points(np.asarray(points, dtype=np.float64), axis=0)
    left, right = _sorted_points(by_x[..., :2, :], axis=1), _sorted_points(by_x[..., 2:, :], axis=1)
    return np.stack([left[..., 0, :], right[..., 0, :], right[..., 1, :], left[..., 1, :]], axis=-2)


def _sorted_points(points: NDArray[np.float64], *, axis: int) -> NDArray[np.float64]:
    order = np.argsort(points[..., axis], axis=-1, kind="stable")
    return np.take_along_axis(points, order[..., None], axis=-2)


def quad_around(points: ArrayLike) -> Quad:
    """The smallest rotated rectangle around an outline of three or more points."""
    outline = np.asarray(points, dtype=np.float64).reshape(-1, 2)
    # OpenCV computes in float32: far from the origin that would cost whole hundredths of a pixel.
    origin = outline.min(axis=0)
    rectangle = cv2.minAreaRect((outline - origin).astype(np.float32))
    around: Quad = order_corners(cv2.boxPoints(rectangle)) + origin
    return around


def quad_rotated(center_x: float, center_y: float, width: float, height: float, angle: float) -> Quad:
    """A rectangle turned about its centre; ``angle`` in radians, clockwise on the screen. The order is that of the unturned box."""
    corners = quad_from_box(-width / 2, -height / 2, width / 2, height / 2)
    cos, sin = np.cos(angle), np.sin(angle)
    turned: Quad = corners @ np.array([[cos, sin], [-sin, cos]]) + np.array([center_x, center_y])
    return turned


def reading_order(quads: Sequence[Quad]) -> list[int]:
    """Indices of ``quads`` line by line from the top, each line from the left.

    A quad joins a line when its middle lies within half a height of the line's nearest quad, so a slanted line stays one.
    """
    if not quads:
        return []
    boxes = np.array([quad_bounds(quad) for quad in quads])
    middle_x, middle_y = (boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2
    heights = np.maximum(boxes[:, 3] - boxes[:, 1], 1e-6)
    lines: list[list[int]] = []
    for index in np.lexsort((middle_x, middle_y)).tolist():
        # The last few lines only: an older one has ended higher up the page.
        for line in reversed(lines[-4:]):
            nearest = line[int(np.abs(middle_x[line] - middle_x[index]).argmin())]
            beside = boxes[nearest, 0] >= boxes[index, 2] or boxes[index, 0] >= boxes[nearest, 2]
            close = abs(middle_y[nearest] - middle_y[index]) < 0.5 * min(heights[nearest], heights[index])
            if close and (beside or abs(middle_y[nearest] - middle_y[index]) < 0.2 * heights[index]):
                line.append(index)
                break
        else:
            lines.append([index])
    lines.sort(key=lambda line: float(np.mean(middle_y[line])))
    return [index for line in lines for index in sorted(line, key=lambda i: (float(boxes[i, 0]), float(middle_y[i])))]
