"""From the detector's probability map to boxes."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from libs.ocrkit.detector_params import DetectorParams
from libs.ocrkit.geometry import Quad, order_corners


@dataclass(frozen=True, eq=False)
class ScoredQuad:
    """A box and how sure the detector is of it, in [0, 1]."""

    quad: Quad
    score: float


def boxes_from_prob_map(prob_HW: NDArray[np.float32], params: DetectorParams) -> list[ScoredQuad]:
    """Turn a text-probability map into quads.

    Args:
        prob_HW: float32 in [0, 1], one page, network resolution.
        params: thresholds and growth.

    Returns:
        Quads in network pixels, clockwise from top-left, best score first. They may reach out of the map.

    Source: Liao et al. 2020 (DB), section on box formation. The map shows text shrunk by area * ratio / perimeter; growing the
    smallest rectangle by this distance on each side is what offsetting it with round corners and boxing it again would give.
    """
    mask_HW = (prob_HW > params.threshold).astype(np.uint8)
    # Outer edges only: the edge of a hole in a piece of text is no second piece.
    contours, hierarchy = cv2.findContours(mask_HW, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    outer = [contour for contour, (_, _, _, parent) in zip(contours, hierarchy[0], strict=True) if parent < 0] if contours else []
    found: list[ScoredQuad] = []
    for contour in outer:
        center, (width, height), angle = cv2.minAreaRect(contour)
        # A contour runs through pixel centres: the text is half a pixel larger on each side.
        width, height = width + 1, height + 1
        if min(width, height) < params.min_side_px:
            continue
        score = _mean_inside(prob_HW, cv2.boxPoints((center, (width - 1, height - 1), angle)))
        if score < params.box_threshold:
            continue
        grow = params.unclip_ratio * width * height / (width + height)
        corners = cv2.boxPoints((center, (width + grow, height + grow), angle))
        found.append(ScoredQuad(order_corners(corners) + 0.5, score))
    found.sort(key=lambda box: -box.score)
    return found[: params.max_boxes]


def _mean_inside(prob_HW: NDArray[np.float32], corners_42: ArrayLike) -> float:
    """Mean probability over a rotated rectangle."""
    corners = np.asarray(corners_42, dtype=np.float32)
    height, width = prob_HW.shape
    left, top = np.clip(np.floor(corners.min(axis=0)).astype(int), 0, (width - 1, height - 1)).tolist()
    right, bottom = np.clip(np.ceil(corners.max(axis=0)).astype(int), 0, (width - 1, height - 1)).tolist()
    inside = np.zeros((bottom - top + 1, right - left + 1), dtype=np.uint8)
    cv2.fillPoly(inside, [np.floor(corners - (left, top)).astype(np.int32)], 1)
    return float(cv2.mean(prob_HW[top : bottom + 1, left : right + 1], inside)[0])
