"""Quads: bounds, clipping, overlap, the order of reading."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.ocrkit.geometry import (
    Quad,
    clip_quad,
    grow_quad,
    is_upright_box,
    order_corners,
    quad_area,
    quad_around,
    quad_bounds,
    quad_from_box,
    quad_iou,
    quad_ious,
    quad_rotated,
    reading_order,
    signed_area,
)

SIDES = st.floats(2, 500)
PLACES = st.floats(-200, 900)


@st.composite
def boxes(draw: st.DrawFn) -> Quad:
    x, y = draw(PLACES), draw(PLACES)
    return quad_from_box(x, y, x + draw(SIDES), y + draw(SIDES))


@given(boxes())
def test_a_box_is_its_own_bounds(quad: Quad) -> None:
    assert is_upright_box(quad)
    np.testing.assert_array_equal(quad_from_box(*quad_bounds(quad)), quad)
    assert signed_area(quad) == pytest.approx(quad_area(quad))


def test_a_box_whose_text_begins_elsewhere_is_not_upright() -> None:
    upside_down = np.roll(quad_from_box(0, 0, 10, 4), 2, axis=0)
    assert not is_upright_box(upside_down)


@given(boxes())
def test_clipping_stays_inside_and_is_told(quad: Quad) -> None:
    clipped, moved = clip_quad(quad, 640, 480)
    xmin, ymin, xmax, ymax = quad_bounds(clipped)
    assert 0 <= xmin <= xmax <= 640
    assert 0 <= ymin <= ymax <= 480
    outside = max(-quad[:, 0].min(), -quad[:, 1].min(), quad[:, 0].max() - 640, quad[:, 1].max() - 480)
    assert moved == (outside > 0.01)
    again, moved_again = clip_quad(clipped, 640, 480)
    np.testing.assert_array_equal(again, clipped)
    assert not moved_again


@given(boxes(), boxes())
def test_overlap_is_symmetric_and_bounded(a: Quad, b: Quad) -> None:
    assert quad_iou(a, a) == pytest.approx(1)
    assert 0 <= quad_iou(a, b) <= 1
    assert quad_iou(a, b) == pytest.approx(quad_iou(b, a), abs=1e-9)


@given(boxes(), boxes())
def test_overlap_of_boxes_is_that_of_their_sides(a: Quad, b: Quad) -> None:
    (ax0, ay0, ax1, ay1), (bx0, by0, bx1, by1) = quad_bounds(a), quad_bounds(b)
    shared = max(0.0, min(ax1, bx1) - max(ax0, bx0)) * max(0.0, min(ay1, by1) - max(ay0, by0))
    assert quad_iou(a, b) == pytest.approx(shared / (quad_area(a) + quad_area(b) - shared), abs=1e-6)


def test_crossing_sides_do_not_break_the_overlap() -> None:
    crossed = np.array([[0.0, 0], [10, 10], [10, 0], [0, 10]])
    assert 0 < quad_iou(crossed, quad_from_box(0, 0, 10, 10)) < 1


@given(PLACES, PLACES, st.floats(40, 400), st.floats(5, 30), st.floats(-0.7, 0.7))
def test_the_rectangle_around_a_turned_box_is_that_box(x: float, y: float, width: float, height: float, angle: float) -> None:
    turned = quad_rotated(x, y, width, height, angle)
    assert quad_area(turned) == pytest.approx(width * height, rel=1e-6)
    np.testing.assert_allclose(quad_around(turned), turned, atol=0.05)
    np.testing.assert_allclose(order_corners(turned[[2, 0, 3, 1]]), turned)
    np.testing.assert_allclose(order_corners([turned[[2, 0, 3, 1]], turned + 7]), [turned, turned + 7])


def test_angles_turn_clockwise_on_the_screen() -> None:
    turned = quad_rotated(0, 0, 10, 2, math.pi / 2)
    np.testing.assert_allclose(turned, [[1, -5], [1, 5], [-1, 5], [-1, -5]], atol=1e-9)


@given(st.integers(1, 6), st.integers(1, 5), st.floats(-0.06, 0.06), st.randoms(use_true_random=False))
def test_a_slanted_page_is_read_line_by_line(num_lines: int, num_words: int, slope: float, random: "np.random.Generator") -> None:
    words = []
    for line in range(num_lines):
        for word in range(num_words):
            x = 30 + word * 110
            y = 100 + line * 60 + slope * x
            words.append(quad_from_box(x, y, x + 90, y + 30))
    shuffled = list(range(len(words)))
    random.shuffle(shuffled)
    order = reading_order([words[index] for index in shuffled])
    assert [shuffled[index] for index in order] == list(range(len(words)))


@given(st.lists(boxes(), max_size=30))
def test_reading_order_loses_nothing(quads: list[Quad]) -> None:
    assert sorted(reading_order(quads)) == list(range(len(quads)))


@pytest.mark.parametrize("angle", [0.0, 0.3, 2.0, -1.2])
def test_a_grown_rectangle_is_the_rectangle_that_is_larger_all_round(angle: float) -> None:
    grown = grow_quad(quad_rotated(50, 40, 30, 10, angle), 3)
    np.testing.assert_allclose(grown, quad_rotated(50, 40, 36, 16, angle), atol=1e-9)


def test_overlaps_pair_by_pair_are_those_one_by_one() -> None:
    rng = np.random.default_rng(0)
    a, b = (
        [
            quad_rotated(x, y, width, height, angle)
            for x, y, width, height, angle in rng.uniform((0, 0, 5, 5, 0), (30, 30, 30, 30, 6), (40, 5)).tolist()
        ]
        for _ in range(2)
    )
    crossed = np.array([[0, 0], [10, 10], [10, 0], [0, 10]], dtype=np.float64)
    np.testing.assert_allclose(
        quad_ious([*a, crossed], [*b, crossed]), [quad_iou(p, q) for p, q in zip([*a, crossed], [*b, crossed], strict=True)]
    )
    assert quad_ious([], []).size == 0
