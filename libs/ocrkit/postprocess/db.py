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


@dataclass(frozen=True, eq=False)
class TextRegions:
    """The smallest rectangles around the pieces of text of a map, the surest first, before they are grown.

    Args:
        centers: float64 (N, 2), network pixels, (0, 0) the middle of the first.
        sizes: float64 (N, 2), along the rectangles' own axes.
        angles: float64 (N,), degrees, as OpenCV turns.
        scores: float64 (N,) in [0, 1].
    """

    centers: NDArray[np.float64]
    sizes: NDArray[np.float64]
    angles: NDArray[np.float64]
    scores: NDArray[np.float64]

    def grown(self, unclip_ratio: float) -> list[ScoredQuad]:
        """The boxes of the text; ``boxes_from_prob_map`` says how they are made."""
        width_N, height_N = self.sizes.T
        half_N2 = (self.sizes + (unclip_ratio * width_N * height_N / (width_N + height_N))[:, None]) / 2
        cos_N, sin_N = np.cos(np.radians(self.angles)), np.sin(np.radians(self.angles))
        # Half of each rectangle's two sides, as vectors.
        halves_N22 = half_N2[:, :, None] * np.stack([np.stack([cos_N, sin_N], axis=1), np.stack([-sin_N, cos_N], axis=1)], axis=1)
        corners_N42 = self.centers[:, None] + np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) @ halves_N22
        quads_N42 = order_corners(corners_N42) + 0.5
        return [ScoredQuad(quad, score) for quad, score in zip(quads_N42, self.scores.tolist(), strict=True)]


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
    return text_regions(prob_HW, params).grown(params.unclip_ratio)


def text_regions(prob_HW: NDArray[np.float32], params: DetectorParams) -> TextRegions:
    """The pieces of text of a map: all of ``boxes_from_prob_map`` but the growth."""
    mask_HW = (prob_HW > params.threshold).astype(np.uint8)
    # Outer edges only: the edge of a hole in a piece of text is no second piece.
    contours, hierarchy = cv2.findContours(mask_HW, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    outer = [contour for contour, (_, _, _, parent) in zip(contours, hierarchy[0], strict=True) if parent < 0] if contours else []
    found: list[tuple[float, ...]] = []
    for contour in outer:
        center, (width, height), angle = cv2.minAreaRect(contour)
        # A contour runs through pixel centres: the text is half a pixel larger on each side.
        if min(width, height) + 1 < params.min_side_px:
            continue
        score = _mean_inside(prob_HW, cv2.boxPoints((center, (width, height), angle)))
        if score >= params.box_threshold:
            found.append((*center, width + 1, height + 1, angle, score))
    found.sort(key=lambda region: -region[-1])
    regions = np.array(found[: params.max_boxes], dtype=np.float64).reshape(-1, 6)
    return TextRegions(regions[:, :2], regions[:, 2:4], regions[:, 4], regions[:, 5])


def _mean_inside(prob_HW: NDArray[np.float32], corners_42: ArrayLike) -> float:
    """Mean probability over a rotated rectangle."""
    corners = np.asarray(corners_42, dtype=np.float32)
    height, width = prob_HW.shape
    left, top = np.clip(np.floor(corners.min(axis=0)).astype(int), 0, (width - 1, height - 1)).tolist()
    right, bottom = np.clip(np.ceil(corners.max(axis=0)).astype(int), 0, (width - 1, height - 1)).tolist()
    inside = np.zeros((bottom - top + 1, right - left + 1), dtype=np.uint8)
    cv2.fillPoly(inside, [np.floor(corners - (left, top)).astype(np.int32)], 1)
    return float(cv2.mean(prob_HW[top : bottom + 1, left : right + 1], inside)[0])
