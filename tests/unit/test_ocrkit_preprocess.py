"""Pixels to network inputs."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from libs.ocrkit.detector_params import DetectorParams
from libs.ocrkit.geometry import quad_from_box, quad_rotated
from libs.ocrkit.preprocess import (
    DETECTOR_GRID_PX,
    LINE_WIDTHS_PX,
    detector_input,
    detector_scale,
    fit_line,
    line_size,
    normalize_lines,
    warp_line,
)
from libs.ocrkit.reader import plan_batches

HALF = (0.5, 0.5, 0.5)


def gradient(width_px: int, height_px: int) -> NDArray[np.uint8]:
    """Blue grows to the right, green downwards, red is fixed."""
    x, y = np.meshgrid((np.arange(width_px) + 0.5) / width_px, (np.arange(height_px) + 0.5) / height_px)
    return np.round(np.dstack([255 * x, 255 * y, np.full_like(x, 90)])).astype(np.uint8)


def test_line_size_takes_the_longer_of_opposite_sides() -> None:
    assert line_size(np.array([[0.0, 0], [100, 0], [90, 20], [0, 30]])) == (100, 30)


@pytest.mark.parametrize("height", [12, 48, 480])
def test_a_box_is_cut_out_at_its_edges_whatever_its_size(height: int) -> None:
    page = np.zeros((3 * height, 6 * height, 3), np.uint8)
    page[height : 2 * height, height : 5 * height] = gradient(4 * height, height)
    line = warp_line(page, quad_from_box(height, height, 5 * height, 2 * height))
    assert line.shape == (48, 192, 3)
    expected = gradient(192, 48)
    border = max(1, round(48 / height))
    inner = (slice(border, -border), slice(border, -border))
    assert np.abs(line[inner].astype(int) - expected[inner]).max() <= 6


@pytest.mark.parametrize("angle", [0.3, -0.9, 2.0, 3.1])
def test_a_turned_line_comes_out_straight(angle: float) -> None:
    matrix = cv2.getRotationMatrix2D((100, 24), -np.degrees(angle), 1)
    matrix[:, 2] += (300 - 100, 300 - 24)
    page = np.asarray(cv2.warpAffine(gradient(200, 48), matrix, (600, 600)), dtype=np.uint8)
    line = warp_line(page, quad_rotated(300.5, 300.5, 200, 48, angle))
    assert line.shape[0] == 48
    assert 199 <= line.shape[1] <= 202
    expected = np.asarray(cv2.resize(gradient(200, 48), (line.shape[1], 48)))
    assert np.abs(line[4:-4, 4:-4].astype(int) - expected[4:-4, 4:-4]).mean() < 5


def test_text_that_runs_downwards_is_turned_to_the_left() -> None:
    line = warp_line(gradient(20, 100), quad_from_box(0, 0, 20, 100))
    assert line.shape == (48, 240, 3)
    # What stood at the top is now on the left, what stood on the right is now on top.
    assert line[24, 5, 1] < 30 < 220 < line[24, -5, 1]
    assert line[5, 120, 0] > 200 > 60 > line[-5, 120, 0]


@given(st.floats(-50, 80), st.floats(-50, 80), st.floats(0.1, 3000), st.floats(0.1, 300))
def test_any_quad_gives_a_line(x: float, y: float, width: float, height: float) -> None:
    line = warp_line(gradient(40, 30), quad_from_box(x, y, x + width, y + height), max_width_px=320)
    assert line.dtype == np.uint8
    assert line.shape[0] == 48
    assert 1 <= line.shape[1] <= 320


def test_a_line_longer_than_opencv_can_address_is_read_whole() -> None:
    page = np.zeros((20, 40_000, 3), np.uint8)
    page[:, 20_000:] = 255
    line = warp_line(page, quad_from_box(0, 0, 40_000, 20), max_width_px=2560)
    assert line.shape == (48, 2560, 3)
    assert line[:, :1200].max() == 0
    assert line[:, -1200:].min() == 255


def test_lines_are_normalised_and_filled_up_with_zeros() -> None:
    lines = [np.full((48, 10, 3), (0, 51, 255), np.uint8), np.full((48, 64, 3), 255, np.uint8)]
    x_B3HW = normalize_lines(lines, 64)
    assert x_B3HW.shape == (2, 3, 48, 64)
    assert x_B3HW.dtype == np.float32
    np.testing.assert_allclose(x_B3HW[0, :, 0, 0], [-1, -0.6, 1], atol=1e-6)
    assert not x_B3HW[0, :, :, 10:].any()
    with pytest.raises(ValueError, match="does not fit"):
        normalize_lines(lines, 32)


@given(st.integers(1, 6000), st.integers(1, 6000))
def test_the_plan_of_the_scale_keeps_its_limits(width: int, height: int) -> None:
    params = DetectorParams()
    scale = detector_scale(width, height, params)
    assert 0 < scale <= params.max_upscale
    assert scale * max(width, height) <= params.max_side + 1e-6
    assert scale * scale * width * height <= params.max_pixels * (1 + 1e-6)


def test_receipts_are_enlarged_and_photographs_reduced() -> None:
    assert detector_scale(459, 949, DetectorParams()) == pytest.approx(736 / 459)
    assert detector_scale(3000, 4000, DetectorParams()) == pytest.approx((2_097_152 / 12_000_000) ** 0.5)
    assert detector_scale(1000, 4000, DetectorParams()) == pytest.approx(2048 / 4000)
    assert detector_scale(1000, 1500, DetectorParams()) == 1


@given(st.integers(1, 90), st.integers(1, 90))
def test_detector_input_has_a_size_of_the_grid(width: int, height: int) -> None:
    x_13HW, scale = detector_input(gradient(width, height), DetectorParams(), mean=HALF, std=HALF)
    assert x_13HW.shape[:2] == (1, 3)
    network = np.array(x_13HW.shape[:1:-1])
    assert not (network % DETECTOR_GRID_PX).any()
    filled_up = network - scale * (width, height)
    assert (filled_up > -1e-6).all()
    assert (filled_up < DETECTOR_GRID_PX).all()


@given(st.integers(300, 900), st.integers(300, 900))
def test_pages_at_the_limit_of_the_area_share_few_sizes(width: int, height: int) -> None:
    params = DetectorParams(target_short_side=2048, max_side=4096, max_pixels=800_000)
    x_13HW, scale = detector_input(gradient(width, height), params, mean=HALF, std=HALF)
    high, wide = x_13HW.shape[2:]
    assert high == round(800_000 / wide / DETECTOR_GRID_PX) * DETECTOR_GRID_PX
    np.testing.assert_allclose(scale, [wide / width, high / height])
    planned = detector_scale(width, height, params)
    assert (np.abs(np.log(scale / planned)) <= np.log(1.12) + 1e-2).all()


def test_detector_input_keeps_the_channel_order_and_the_constants() -> None:
    page = np.full((736, 736, 3), (0, 51, 255), np.uint8)
    x_13HW, scale = detector_input(page, DetectorParams(), mean=(0.0, 0.5, 0.5), std=(1.0, 0.5, 0.25))
    np.testing.assert_array_equal(scale, 1)
    np.testing.assert_allclose(x_13HW[0, :, 5, 5], [0, -0.6, 2], atol=1e-5)


@given(st.integers(1, 6000))
def test_a_line_is_fitted_to_a_width_that_is_read(width: int) -> None:
    fitted = fit_line(gradient(width, 48))
    assert fitted.shape[0] == 48
    fitted_px = fitted.shape[1]
    assert fitted_px in LINE_WIDTHS_PX or fitted_px % 640 == 0 or (fitted_px < 64 and fitted_px == int(1.35 * width))
    assert 1 / 1.15 <= fitted_px / width <= 1.35


def test_a_fitted_line_is_whole() -> None:
    line = np.zeros((48, 500, 3), np.uint8)
    line[:, :20] = line[:, -20:] = 255
    for width in (480, 500, 556):
        fitted = fit_line(np.asarray(cv2.resize(line, (width, 48))))
        assert fitted[:, :15].min() > 240
        assert fitted[:, -15:].min() > 240
        assert not fitted[:, 40:-40].any()
    untouched = line[:, :480]
    assert fit_line(untouched) is untouched


@given(st.lists(st.integers(1, 2560), max_size=60))
def test_every_line_is_in_exactly_one_batch_that_is_wide_enough(widths: list[int]) -> None:
    batches = plan_batches(widths)
    assert sorted(index for _, indices in batches for index in indices) == list(range(len(widths)))
    for width_px, indices in batches:
        assert indices
        below = max((width for width in LINE_WIDTHS_PX if width < width_px), default=0)
        widest = max(widths[index] for index in indices)
        assert below < widest <= width_px
        assert all(2 * widths[index] > widest for index in indices)
        assert len(indices) == 1 or (len(indices) <= 4 and width_px <= 256)


def test_a_model_for_longer_lines_gets_its_batches() -> None:
    assert plan_batches([2561, 4000]) == [(4480, [1]), (3200, [0])]
