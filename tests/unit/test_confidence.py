"""Calibrated confidences."""

import numpy as np
import pytest

from libs.ocrkit.confidence import calibrated, calibration_error, fit_calibration
from libs.ocrkit.detector_params import DetectorParams


def lines(num_lines: int, *, power: float) -> tuple[list[float], list[bool]]:
    """Lines whose chance of being right is the given power of their confidence."""
    rng = np.random.default_rng(0)
    confs = rng.uniform(0.3, 1.0, num_lines)
    return confs.tolist(), (rng.random(num_lines) < confs**power).tolist()


@pytest.mark.parametrize("power", [0.3, 4.0])
def test_a_calibration_brings_confidence_and_truth_together(power: float) -> None:
    confs, right = lines(3000, power=power)
    params = fit_calibration(confs, right, DetectorParams())
    shown = [calibrated(conf, params) for conf in confs]
    assert calibration_error(shown, right) < 0.04
    assert calibration_error(shown, right) < calibration_error(confs, right) / 2
    assert shown[np.argmax(confs)] >= shown[np.argmin(confs)]


def test_lines_that_are_nearly_all_right_give_a_calibration_of_common_size() -> None:
    rng = np.random.default_rng(1)
    confs = np.concatenate([rng.uniform(0.97, 1.0, 1150), rng.uniform(0.6, 1.0, 30)])
    right = np.concatenate([np.ones(1150, dtype=bool), rng.random(30) < 0.3])
    params = fit_calibration(confs.tolist(), right.tolist(), DetectorParams())
    assert 0.1 < params.conf_slope < 10
    assert abs(params.conf_offset) < 10
    shown = [calibrated(conf, params) for conf in (0.0, 0.5, 0.9, 0.999, 1.0)]
    assert shown == sorted(shown)
    assert all(0.0 <= conf <= 1.0 for conf in shown)


def test_without_a_calibration_nothing_changes() -> None:
    assert calibrated(0.123, DetectorParams()) == 0.123


@pytest.mark.parametrize(("num_lines", "right"), [(20, [True, False] * 10), (200, [True] * 200), (200, [True] * 197 + [False] * 3)])
def test_too_little_to_judge_by_leaves_confidences_as_they_are(num_lines: int, right: list[bool]) -> None:
    assert fit_calibration([0.9] * num_lines, right, DetectorParams()) == DetectorParams()


def test_confidence_that_says_the_contrary_is_not_turned_round() -> None:
    confs, right = lines(1000, power=1.0)
    assert fit_calibration(confs, [not ok for ok in right], DetectorParams()) == DetectorParams()


def test_sure_lines_stay_finite() -> None:
    params = DetectorParams(conf_slope=3.0, conf_offset=2.0)
    assert 0.0 <= calibrated(0.0, params) < calibrated(1.0, params) <= 1.0
