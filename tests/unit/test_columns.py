"""Column breaks: from classes to pieces, from pieces to boxes."""

import numpy as np
from numpy.typing import NDArray

from libs.ocrkit.charset import COLUMN_BREAK, Charset
from libs.ocrkit.geometry import quad_from_box
from libs.ocrkit.postprocess.columns import StepGrid, cut_characters, cut_columns
from libs.ocrkit.postprocess.ctc import Piece, decode_greedy, decode_pieces

CHARSET = Charset(("a", "b", COLUMN_BREAK, " "))


def probs(*classes: int) -> NDArray[np.float32]:
    """One line whose best class of each step is given, at 0.8."""
    rows = np.full((1, len(classes), CHARSET.num_classes), 0.05, dtype=np.float32)
    rows[0, np.arange(len(classes)), classes] = 0.8
    return rows


def piece(text: str, *steps: int) -> Piece:
    return Piece(text, (0.9,) * len(steps), steps)


def test_a_line_without_break_is_one_piece() -> None:
    ((line,),) = decode_pieces(probs(0, 1, 1, 0, 1, 2, 0), CHARSET)
    assert line == Piece("aab", line.confs, (1, 4, 5))
    assert abs(line.conf - 0.8) < 1e-6


def test_a_break_parts_pieces_and_reads_as_a_space() -> None:
    line = probs(0, 1, 4, 2, 0, 3, 0, 1, 0)
    (pieces,) = decode_pieces(line, CHARSET)
    assert [(part.text, part.steps) for part in pieces] == [("a b", (1, 2, 3)), ("a", (7,))]
    ((text, conf),) = decode_greedy(line, CHARSET)
    assert text == "a b a"
    assert abs(conf - 0.8) < 1e-6


def test_breaks_with_nothing_between_them_leave_no_piece() -> None:
    assert decode_pieces(probs(3, 0, 3, 0, 4, 0), CHARSET) == [[]]
    assert decode_greedy(probs(3, 0, 3, 0, 4, 0), CHARSET) == [("", 0.0)]


def test_each_piece_gets_its_part_of_the_box() -> None:
    quad = quad_from_box(100, 50, 300, 90)
    left, right = cut_columns(quad, [piece("aa", 1, 4), piece("bb", 20, 27)], StepGrid(6.0, 30.0))
    half_px = 0.28 * 40
    px_per_step = 200 / 30
    np.testing.assert_allclose(left, quad_from_box(100, 50, 100 + 4.5 * px_per_step + half_px, 90))
    np.testing.assert_allclose(right, quad_from_box(100 + 20.5 * px_per_step - half_px, 50, 300, 90))


def test_close_pieces_do_not_overlap() -> None:
    quad = quad_from_box(0, 0, 100, 40)
    left, right = cut_columns(quad, [piece("aa", 0, 5), piece("bb", 7, 9)], StepGrid(6.0, 15.0))
    assert left[:, 0].max() <= right[:, 0].min() + 1e-9


def test_one_piece_keeps_the_whole_box() -> None:
    quad = quad_from_box(0, 0, 100, 40)
    (whole,) = cut_columns(quad, [piece("aa", 3, 5)], StepGrid(6.0, 15.0))
    assert whole is quad


def test_text_that_runs_downwards_is_cut_along_its_run() -> None:
    quad = np.roll(quad_from_box(0, 0, 40, 300), -1, axis=0)
    parts = cut_columns(quad, [piece("aa", 0, 5), piece("bb", 30, 40)], StepGrid(6.0, 45.0))
    spans = [(part[:, 1].min(), part[:, 1].max()) for part in parts]
    assert all(np.ptp(part[:, 0]) == 40 for part in parts)
    assert (spans[0][1] < spans[1][0]) or (spans[1][1] < spans[0][0])


def test_margins_are_no_part_of_the_box() -> None:
    quad = quad_from_box(0, 0, 100, 20)
    left, right = cut_columns(quad, [piece("a", 4), piece("b", 13)], StepGrid(2.0, 15.0, first_step=2.0))
    assert right[0, 0] - left[1, 0] > 0
    assert (left[0, 0], right[1, 0]) == (0, 100)
    assert left[1, 0] == (4.5 + 0.56 - 2) / 15 * 100


def test_characters_stand_side_by_side_in_their_box() -> None:
    quad = quad_from_box(0, 0, 120, 20)
    first, second, third = cut_characters(quad, piece("abc", 1, 5, 7), StepGrid(3.0, 12.0))
    assert first[1, 0] == second[0, 0] == 35
    assert second[1, 0] == third[0, 0] == 65
    assert third[1, 0] < 120
    assert first[0, 0] > 0
