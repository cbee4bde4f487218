"""The choice of the margin around lines, with a reader that fails outside a range of widths."""

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from libs.ocrkit.geometry import quad_from_box
from libs.ocrkit.training.data import LineSample
from libs.ocrkit.training.margin import choose_margin

Crops = Sequence[NDArray[np.uint8]]


@pytest.fixture
def samples(tmp_path: Path) -> list[LineSample]:
    """Five lines ten times as wide as high: the wider the margin, the narrower the crop (480 px without one, 317 px at 0.3)."""
    page = tmp_path / "page.png"
    page.write_bytes(cv2.imencode(".png", np.full((300, 400, 3), 255, np.uint8))[1].tobytes())
    return [LineSample(page, quad_from_box(50, 30 + 50 * row, 250, 50 + 50 * row), "Total 12") for row in range(5)]


def reading(low_px: int, high_px: int) -> Callable[[Crops], list[tuple[str, float]]]:
    return lambda crops: [("TOTAL12" if low_px <= crop.shape[1] <= high_px else "", 1.0) for crop in crops]


@pytest.mark.parametrize(
    ("low_px", "high_px", "margin"),
    [(0, 999, 0.3), (350, 999, 0.2), (400, 430, 0.1), (470, 999, 0.0)],
)
def test_the_widest_margin_that_reads_as_well_is_taken(samples: list[LineSample], low_px: int, high_px: int, margin: float) -> None:
    chosen, rates = choose_margin(samples, reading(low_px, high_px), seed=0)
    assert chosen == margin
    assert rates[margin] == 0.0
    assert set(rates) == {0.0, 0.1, 0.2, 0.3}


def test_pages_that_cannot_be_decoded_do_not_judge(samples: list[LineSample], tmp_path: Path) -> None:
    broken = LineSample(tmp_path / "missing.png", samples[0].quad, "x")
    assert choose_margin([broken, *samples], reading(0, 999), seed=0)[1] == dict.fromkeys((0.0, 0.1, 0.2, 0.3), 0.0)
