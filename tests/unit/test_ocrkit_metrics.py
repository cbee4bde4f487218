"""Scores, by hand-made cases whose answers are known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.ocrkit.geometry import Quad, quad_from_box
from libs.ocrkit.metrics import cer, edit_distance, end_to_end, line_accuracy, match_lines, paired_bootstrap


def box(x: float, width: float = 100) -> Quad:
    return quad_from_box(x, 0, x + width, 20)


def test_error_rates_by_hand() -> None:
    assert edit_distance("kitten", "sitting") == 3
    assert cer([("abcd", "abxd"), ("xy", "")]) == pytest.approx(3 / 6)
    assert cer([("", "abc")]) == 3
    assert cer([]) == 0
    assert line_accuracy([("a", "a"), ("b", "B")]) == 0.5
    assert line_accuracy([]) == 0


def test_place_text_and_folded_text_count_apart() -> None:
    truth = [(box(0), "TOTAL"), (box(200), "RM 1.00"), (box(400), "KOPI")]
    read = [(box(5), "TOTAL"), (box(200), "rm1.00"), (box(900), "KOPI"), (box(1200), "X")]
    score = end_to_end([(truth, read)])
    assert score.precision == pytest.approx(1 / 4)
    assert score.recall == pytest.approx(1 / 3)
    assert score.hmean_exact == pytest.approx(2 / 7)
    assert score.hmean_folded == pytest.approx(4 / 7)
    assert score.detection_hmean == pytest.approx(4 / 7)


def test_pages_without_lines_score_nothing() -> None:
    assert end_to_end([([], [])]).hmean_exact == 0
    assert end_to_end([([(box(0), "A")], []), ([], [(box(0), "A")])]).hmean_exact == 0


def test_the_best_overlap_wins_and_each_line_counts_once() -> None:
    assert match_lines([box(0), box(30)], [box(28)]) == [(1, 0)]
    assert sorted(match_lines([box(0), box(30)], [box(28), box(2), box(1)])) == [(0, 2), (1, 0)]
    assert match_lines([box(0)], [box(40)]) == []


def test_a_better_reader_is_told_from_chance() -> None:
    generator = np.random.default_rng(3)
    lengths = generator.integers(5, 20, 400).astype(float)
    worse, better = generator.binomial(2, 0.5, 400).astype(float), generator.binomial(2, 0.1, 400).astype(float)
    delta, low, high = paired_bootstrap(worse.tolist(), better.tolist(), lengths.tolist(), num_samples=300, seed=1)
    assert delta == pytest.approx((better.sum() - worse.sum()) / lengths.sum())
    assert low < delta < high < 0
    _, low, high = paired_bootstrap(worse.tolist(), worse[::-1].tolist(), lengths.tolist(), num_samples=300, seed=1)
    assert low < 0 < high


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(1, 9)), min_size=1, max_size=20))
def test_changing_sides_changes_the_sign(lines: list[tuple[int, int, int]]) -> None:
    a, b, n = zip(*lines, strict=True)
    delta, low, high = paired_bootstrap(a, b, n, num_samples=50, seed=7)
    back = paired_bootstrap(b, a, n, num_samples=50, seed=7)
    assert back == pytest.approx((-delta, -high, -low))
    assert paired_bootstrap(a, b, n, num_samples=50, seed=7) == (delta, low, high)


def test_unpaired_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="paired"):
        paired_bootstrap([1], [1, 2], [1], num_samples=10, seed=0)
    with pytest.raises(ValueError, match="paired"):
        paired_bootstrap([], [], [], num_samples=10, seed=0)
