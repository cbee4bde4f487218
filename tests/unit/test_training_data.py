"""What becomes a sample, what does not, and in which order it comes."""

from itertools import product
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from libs.ocrkit.charset import BASE_ALPHABET, COLUMN_BREAK
from libs.ocrkit.geometry import quad_from_box
from libs.ocrkit.labels.page import TextBox
from libs.ocrkit.line_steps import ctc_feasible
from libs.ocrkit.training.augment import JitterConfig, distort, jitter_quad
from libs.ocrkit.training.batches import BatchOrder
from libs.ocrkit.training.cache import CachedRow
from libs.ocrkit.training.data import LabelledPage, Rejection, charset_of, collect_lines
from libs.ocrkit.training.detected import Coverage, label_detections


def box(xmin: float, text: str, *, width: float = 40, ymin: float = 0, unreadable: bool = False) -> TextBox:
    return TextBox(quad_from_box(xmin, ymin, xmin + width, ymin + 20), text, unreadable)


def test_every_box_is_a_sample_or_counted() -> None:
    page = LabelledPage(
        Path("page.jpg"),
        (box(0, "a  b\tc"), box(0, "x", unreadable=True), box(0, "   "), box(0, "thin", width=0.1), box(0, "long")),
    )
    lines = collect_lines([page])
    assert [sample.text for sample in lines.samples] == ["a b c", "long"]
    assert lines.rejected == {Rejection.UNREADABLE: 1, Rejection.EMPTY_TEXT: 1, Rejection.NO_AREA: 1}
    assert len(lines.samples) + lines.rejected.total() == len(page.boxes)


def test_charset_holds_data_base_alphabet_and_break_and_ends_with_space() -> None:
    charset = charset_of(["日本 a", "b"])
    assert set(charset.characters) == set(BASE_ALPHABET) | {"日", "本", COLUMN_BREAK}
    assert charset.characters[-1] == " "


def reachable(num_steps: int, labels: tuple[int, ...]) -> bool:
    """Whether some path of classes 0 to 2 collapses to the labels: by trying all."""
    for path in product(range(3), repeat=num_steps):
        joined = [step for index, step in enumerate(path) if index == 0 or step != path[index - 1]]
        if tuple(step for step in joined if step) == labels:
            return True
    return False


@given(num_steps=st.integers(0, 5), labels=st.lists(st.integers(1, 2), max_size=5).map(tuple))
def test_feasible_means_that_a_path_exists(num_steps: int, labels: tuple[int, ...]) -> None:
    assert ctc_feasible(num_steps, labels) == reachable(num_steps, labels)


def rows() -> list[CachedRow]:
    return [CachedRow(width, row, 4, 1, width // 8) for width in (64, 128) for row in range(11)]


def test_an_epoch_holds_every_line_once_in_batches_of_one_width() -> None:
    order = BatchOrder(rows(), width_per_batch_px=384, max_lines=4, seed=3)
    batches = [order.at(step) for step in range(order.num_batches)]
    assert sorted(index for batch in batches for index in batch) == list(range(22))
    for batch in batches:
        widths = {rows()[index].width_px for index in batch}
        assert len(widths) == 1
        assert len(batch) <= min(4, 384 // widths.pop())


def test_a_step_alone_says_which_batch() -> None:
    order, again = (BatchOrder(rows(), width_per_batch_px=384, max_lines=4, seed=3) for _ in range(2))
    whole = [order.at(step) for step in range(3 * order.num_batches)]
    assert [again.at(step) for step in reversed(range(3 * order.num_batches))] == whole[::-1]
    assert sorted(whole[: order.num_batches]) != sorted(whole[order.num_batches : 2 * order.num_batches])


def test_another_seed_is_another_order() -> None:
    order, other = (BatchOrder(rows(), width_per_batch_px=384, max_lines=4, seed=seed) for seed in (3, 4))
    assert [order.at(step) for step in range(6)] != [other.at(step) for step in range(6)]


def test_detected_box_takes_the_text_it_covers() -> None:
    truth = [
        box(0, "TOTAL"),
        box(60, "9.80"),
        box(200, "CASH"),
        box(300, "a", ymin=0),
        box(300, "b", ymin=22),
        box(400, "x", unreadable=True),
    ]
    detected = [
        quad_from_box(-2, -1, 102, 21),
        quad_from_box(198, 0, 242, 20),
        quad_from_box(298, -1, 342, 43),
        quad_from_box(398, 0, 442, 20),
        quad_from_box(500, 0, 540, 20),
        quad_from_box(200, -30, 240, 60),
        quad_from_box(230, 0, 270, 20),
    ]
    lines, held = label_detections(detected, truth)
    assert [line.text for line in lines] == [f"TOTAL{COLUMN_BREAK}9.80", "CASH", ""]
    assert held == {
        Coverage.ROW: 1,
        Coverage.ONE: 1,
        Coverage.SEVERAL_ROWS: 1,
        Coverage.UNREADABLE: 1,
        Coverage.NOTHING: 1,
        Coverage.PART: 2,
    }


def test_jitter_stays_near_and_repeats_with_its_seed() -> None:
    quad = quad_from_box(10, 10, 210, 40)
    config = JitterConfig()
    moved = [jitter_quad(quad, np.random.default_rng(seed), config) for seed in range(50)]
    assert all(np.abs(other - quad).max() < 0.6 * 30 for other in moved)
    assert not np.array_equal(moved[0], moved[1])
    np.testing.assert_array_equal(jitter_quad(quad, np.random.default_rng(0), config), moved[0])


def test_distorted_line_keeps_its_shape() -> None:
    line = np.random.default_rng(0).integers(0, 256, (48, 131, 3), dtype=np.uint8)
    for seed in range(30):
        distorted = distort(line, np.random.default_rng(seed), inverted=0.15)
        assert distorted.shape == line.shape
        assert distorted.dtype == np.uint8
