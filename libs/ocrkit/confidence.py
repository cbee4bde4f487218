"""Confidences that mean something: what is shown as 0.9 is right nine times of ten."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from libs.ocrkit.detector_params import DetectorParams

__all__ = ["calibrated", "calibration_error", "fit_calibration"]

_EDGE = 1e-4
_LEAST_LINES = 50
_LEAST_WRONG = 5
_NUM_STEPS = 100
_LONGEST_STEP = 0.2
_STIFFNESS = 1.0
"""How strongly the calibration holds on to "as it is", as if so many lines said so."""
_PRIOR_2 = np.array([1.0, 0.0])
_NUM_BINS = 10


def calibrated(conf: float, params: DetectorParams) -> float:
    """A confidence in [0, 1] as the model's calibration shows it; without one as it is."""
    if params.conf_slope == 1.0 and params.conf_offset == 0.0:
        return conf
    logit = params.conf_slope * _logits(conf) + params.conf_offset
    return float(1 / (1 + np.exp(-logit)))


def fit_calibration(confs: Sequence[float], right: Sequence[bool], params: DetectorParams) -> DetectorParams:
    """The same settings with a calibration fitted to lines of known truth.

    Args:
        confs: of lines, read without any calibration.
        right: whether each was read exactly.
        params: what the calibration is written into; returned as they are where too few lines, or too few wrong ones, would decide.

    Source: Platt 1999, logistic regression of being right on the logit of the confidence, with his smoothed targets.
    """
    num_right = sum(right)
    num_wrong = len(right) - num_right
    if len(right) < _LEAST_LINES or num_wrong < _LEAST_WRONG or not num_right:
        return params
    x_N2 = np.stack([_logits(np.asarray(confs)), np.ones(len(confs))], axis=1)
    target_N = np.where(right, (num_right + 1) / (num_right + 2), 1 / (num_wrong + 2))
    weights_2 = _PRIOR_2.copy()
    for _ in range(_NUM_STEPS):
        probability_N = 1 / (1 + np.exp(-(x_N2 @ weights_2)))
        gradient_2 = x_N2.T @ (probability_N - target_N) + _STIFFNESS * (weights_2 - _PRIOR_2)
        curvature_22 = (x_N2 * (probability_N * (1 - probability_N))[:, None]).T @ x_N2 + _STIFFNESS * np.eye(2)
        step_2 = np.linalg.solve(curvature_22, gradient_2)
        # Newton alone leaps away where nearly all lines are right: probabilities saturate and the curvature vanishes.
        weights_2 = weights_2 - step_2 * min(1.0, _LONGEST_STEP / float(np.abs(step_2).max() + 1e-12))
    slope, offset = weights_2.tolist()
    # Where surer lines are no righter there is nothing to calibrate by.
    if slope <= 0:
        return params
    return replace(params, conf_slope=round(slope, 4), conf_offset=round(offset, 4))


def calibration_error(confs: Sequence[float], right: Sequence[bool]) -> float:
    """Expected calibration error in [0, 1]: how far confidence and share of right lines lie apart, over ten bins of equal width."""
    bins = np.minimum((np.asarray(confs) * _NUM_BINS).astype(int), _NUM_BINS - 1)
    gaps = [abs(float(np.asarray(confs)[bins == bin].mean()) - float(np.asarray(right)[bins == bin].mean())) for bin in np.unique(bins)]
    sizes = [int((bins == bin).sum()) for bin in np.unique(bins)]
    return sum(gap * size for gap, size in zip(gaps, sizes, strict=True)) / max(1, len(bins))


def _logits(conf: float | NDArray[np.float64]) -> NDArray[np.float64]:
    clipped = np.clip(conf, _EDGE, 1 - _EDGE)
    logits: NDArray[np.float64] = np.log(clipped / (1 - clipped))
    return logits
