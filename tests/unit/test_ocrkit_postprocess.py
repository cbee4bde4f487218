"""From network outputs to boxes and text."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from libs.ocrkit.charset import Charset
from libs.ocrkit.detector_params import DetectorParams
from libs.ocrkit.geometry import quad_from_box, quad_iou, quad_rotated
from libs.ocrkit.postprocess.ctc import decode_greedy
from libs.ocrkit.postprocess.db import boxes_from_prob_map

PARAMS = DetectorParams(threshold=0.3, box_threshold=0.6, unclip_ratio=1.5, min_side_px=3)


def test_a_filled_rectangle_grows_by_the_ratio() -> None:
    prob_HW = np.zeros((96, 160), np.float32)
    prob_HW[20:30, 40:100] = 0.9
    (found,) = boxes_from_prob_map(prob_HW, PARAMS)
    distance = 1.5 * 60 * 10 / (2 * (60 + 10))
    np.testing.assert_allclose(found.quad, quad_from_box(40 - distance, 20 - distance, 100 + distance, 30 + distance), atol=0.01)
    assert found.score == pytest.approx(0.9, abs=1e-3)


@pytest.mark.parametrize("angle", [0.15, -0.4, 0.7])
def test_a_turned_line_gives_a_turned_quad(angle: float) -> None:
    x, y = np.meshgrid(np.arange(320) + 0.5 - 160, np.arange(320) + 0.5 - 160)
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    prob_HW = np.where((np.abs(along) <= 90) & (np.abs(across) <= 6), np.float32(0.95), np.float32(0))
    (found,) = boxes_from_prob_map(prob_HW, PARAMS)
    grow = 1.5 * 180 * 12 / (180 + 12)
    assert quad_iou(found.quad, quad_rotated(160, 160, 180 + grow, 12 + grow, angle)) > 0.9


def test_weak_and_small_spots_are_dropped_and_the_surest_comes_first() -> None:
    prob_HW = np.zeros((64, 256), np.float32)
    prob_HW[10:20, 10:60] = 0.7
    prob_HW[10:20, 80:130] = 0.95
    prob_HW[10:20, 150:200] = 0.5
    prob_HW[40:42, 10:12] = 1.0
    found = boxes_from_prob_map(prob_HW, PARAMS)
    assert [round(box.score, 2) for box in found] == [0.95, 0.7]
    assert found[0].quad[0, 0] > found[1].quad[0, 0]
    best = DetectorParams(threshold=0.3, box_threshold=0.6, unclip_ratio=1.5, min_side_px=3, max_boxes=1)
    assert [round(box.score, 2) for box in boxes_from_prob_map(prob_HW, best)] == [0.95]


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_noise_gives_boxes_or_nothing(width: int, height: int, seed: int) -> None:
    prob_HW = np.random.default_rng(seed).random((height, width), dtype=np.float32)
    for found in boxes_from_prob_map(prob_HW, PARAMS):
        assert found.quad.shape == (4, 2)
        assert np.isfinite(found.quad).all()
        assert 0.6 <= found.score <= 1


CHARSET = Charset(("a", "b", " "))


def probabilities(path: str) -> NDArray[np.float32]:
    """A batch of one whose best class follows a path; ``-`` is the blank."""
    ids = [0 if step == "-" else CHARSET.encode(step)[0] for step in path]
    probs = np.full((1, len(ids), CHARSET.num_classes), 0.1, np.float32)
    probs[0, np.arange(len(ids)), ids] = 0.7
    return probs


@pytest.mark.parametrize(
    ("path", "text"), [("aab-b", "abb"), ("a-a", "aa"), ("---", ""), ("--a  b--", "a b"), ("aaaa", "a"), ("-a", "a"), ("ba", "ba")]
)
def test_repeats_are_joined_and_blanks_dropped(path: str, text: str) -> None:
    ((read, conf),) = decode_greedy(probabilities(path), CHARSET)
    assert read == text
    assert conf == pytest.approx(0.7 if text else 0)


@given(st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_a_batch_reads_as_its_lines_do(num_steps: int, seed: int) -> None:
    probs_BTC = np.random.default_rng(seed).dirichlet(np.ones(4), (3, num_steps)).astype(np.float32)
    together = decode_greedy(probs_BTC, CHARSET)
    assert together == [decode_greedy(probs_BTC[index : index + 1], CHARSET)[0] for index in range(3)]
    assert all(0 <= conf <= 1 for _, conf in together)
