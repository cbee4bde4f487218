"""The detector's settings fitted to the labels: no training, only the choice of thresholds and growth.

Every project draws its boxes differently, tight or wide. A detector's boxes count when they overlap the labelled ones
enough, so the growth of its boxes alone moves the score by several points.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from libs.ocrkit.detector_params import DetectorParams
from libs.ocrkit.geometry import Quad, quad_bounds, quad_ious
from libs.ocrkit.labels.page import TextBox
from libs.ocrkit.postprocess.db import ScoredQuad, TextRegions, text_regions

__all__ = ["ChosenParams", "ProbedPage", "choose_params", "matched_pairs"]

_THRESHOLDS = (0.2, 0.3, 0.4)
_BOX_THRESHOLDS = (0.4, 0.5, 0.6, 0.65, 0.7)
_UNCLIP_RATIOS = (0.8, 1.0, 1.2, 1.4, 1.6, 1.8)
_MIN_GAIN = 0.005
_NEARLY = 0.005
"""Among settings whose closeness differs by less the overlaps themselves decide: ten validation boxes often find several growths equally
close, and the tightest of them cuts characters off."""

_IOU, _CLOSE_IOU = 0.5, 0.7
"""Boxes count from the first on; settings are chosen by the mean h-mean of both. By the first alone many come out equal, and of those the
tighter ones read receipts better: held-out end-to-end 0.896 and 0.886."""


@dataclass(frozen=True, eq=False)
class ProbedPage:
    """The detector's map of one page (uint8 (H, W), 255 is certain), network pixels per page pixel across and down, and the truth."""

    prob: NDArray[np.uint8]
    scale: NDArray[np.float64]
    truth: tuple[TextBox, ...]

    def prob_map(self) -> NDArray[np.float32]:
        """The map as the detector gave it: float32 (H, W) in [0, 1]."""
        return self.prob.astype(np.float32) * np.float32(1 / 255)


@dataclass(frozen=True)
class ChosenParams:
    """The settings to use and what they come to on the probed pages.

    Args:
        hmean_base: of boxes (IoU of at least 0.5) with the settings as they were.
        hmean: with those chosen.
        closeness: mean of ``hmean`` and the h-mean of boxes with an IoU of at least 0.7.
    """

    params: DetectorParams
    hmean_base: float
    hmean: float
    closeness: float


def choose_params(pages: Sequence[ProbedPage], base: DetectorParams) -> ChosenParams:
    """The best of a small grid around what the detector was made for; of those that are nearly as good, the one whose boxes overlap most.

    The base's own settings stay where the gain is under half a point.
    """
    found_base = _fits(pages, _regions(pages, base), [base])[base]
    tried: dict[DetectorParams, _Fit] = {}
    for threshold in _THRESHOLDS:
        # Growth is the cheap part: what is grown is looked for once.
        loosest = replace(base, threshold=threshold, box_threshold=min(_BOX_THRESHOLDS))
        regions = _regions(pages, loosest)
        for unclip_ratio in _UNCLIP_RATIOS:
            grid = [replace(loosest, unclip_ratio=unclip_ratio, box_threshold=box_threshold) for box_threshold in _BOX_THRESHOLDS]
            tried.update(_fits(pages, regions, grid))
    most = max(found.closeness for found in tried.values())
    nearly_best = {params: found for params, found in tried.items() if found.closeness > most - _NEARLY}
    best, found_best = max(nearly_best.items(), key=lambda entry: entry[1].overlap)
    if most < found_base.closeness + _MIN_GAIN:
        best, found_best = base, found_base
    return ChosenParams(best, found_base.hmean, found_best.hmean, found_best.closeness)


@dataclass(frozen=True)
class _Fit:
    """H-means of boxes at both overlaps, and the one in which a pair counts as much as it overlaps."""

    hmean: float
    close_hmean: float
    overlap: float

    @property
    def closeness(self) -> float:
        return (self.hmean + self.close_hmean) / 2


def _regions(pages: Sequence[ProbedPage], params: DetectorParams) -> list[TextRegions]:
    return [text_regions(page.prob_map(), params) for page in pages]


def _fits(pages: Sequence[ProbedPage], regions: Sequence[TextRegions], grid: Sequence[DetectorParams]) -> dict[DetectorParams, _Fit]:
    """For settings that differ in nothing but ``box_threshold``, so that boxes are made once."""
    matched = {params: [0.0, 0.0, 0.0] for params in grid}
    total = dict.fromkeys(grid, 0)
    for page, pieces in zip(pages, regions, strict=True):
        found = pieces.grown(grid[0].unclip_ratio)
        overlaps = _overlaps([box.quad / page.scale for box in found], [box.quad for box in page.truth])
        for params in grid:
            kept = _kept(found, params)
            pairs = [(iou, i, j) for iou, i, j in overlaps if i in kept]
            fitting = _greedy(pairs)
            shared = {(i, j): iou for iou, i, j in pairs}
            matched[params][0] += len(fitting)
            matched[params][1] += len(_greedy([pair for pair in pairs if pair[0] >= _CLOSE_IOU]))
            matched[params][2] += sum(shared[pair] for pair in fitting)
            total[params] += len(kept) + len(page.truth)
    return {params: _Fit(*(2 * number / max(1, total[params]) for number in matched[params])) for params in grid}


def _kept(found: Sequence[ScoredQuad], params: DetectorParams) -> set[int]:
    return {index for index, box in enumerate(found) if box.score >= params.box_threshold}


def matched_pairs(found: Sequence[Quad], truth: Sequence[Quad]) -> list[tuple[int, int]]:
    """Pairs (found, truth) that overlap by an IoU of at least 0.5, each box once, the best first."""
    return _greedy(_overlaps(found, truth))


def _greedy(overlaps: Sequence[tuple[float, int, int]]) -> list[tuple[int, int]]:
    used_i: set[int] = set()
    used_j: set[int] = set()
    pairs: list[tuple[int, int]] = []
    for _, i, j in sorted(overlaps, key=lambda entry: -entry[0]):
        if i not in used_i and j not in used_j:
            used_i.add(i)
            used_j.add(j)
            pairs.append((i, j))
    return pairs


def _overlaps(found: Sequence[Quad], truth: Sequence[Quad]) -> list[tuple[float, int, int]]:
    if not found or not truth:
        return []
    a = np.array([quad_bounds(quad) for quad in found])
    b = np.array([quad_bounds(quad) for quad in truth])
    sides = np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2])
    i, j = np.nonzero((sides > 0).all(axis=2))
    ious = quad_ious([found[index] for index in i.tolist()], [truth[index] for index in j.tolist()])
    enough = ious >= _IOU
    return list(zip(ious[enough].tolist(), i[enough].tolist(), j[enough].tolist(), strict=True))
