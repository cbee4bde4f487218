"""Labelled boxes that stand on their head are found and turned."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from libs.ocrkit.geometry import quad_from_box
from libs.ocrkit.labels.page import TextBox
from libs.ocrkit.training.data import LabelledPage
from libs.ocrkit.training.detected import label_detections
from libs.ocrkit.training.orientation import turn_upright

BOX = quad_from_box(10, 10, 110, 34)


def page(folder: Path, name: str, *, on_its_head: bool) -> LabelledPage:
    """A box that is bright on the side where its text begins."""
    image = np.zeros((60, 130, 3), dtype=np.uint8)
    image[10:34, slice(60, 110) if on_its_head else slice(10, 60)] = 255
    cv2.imwrite(str(folder / name), image)
    return LabelledPage(folder / name, (TextBox(BOX, "AB-12"), TextBox(BOX, "", unreadable=True)))


def read(crops: Sequence[NDArray[np.uint8]]) -> list[tuple[str, float]]:
    """Reads what is bright at the left; upside down it reads something else."""
    return [("ab 12", 0.9) if crop[:, : crop.shape[1] // 2].mean() > 128 else ("ZL-8Q", 0.4) for crop in crops]


@pytest.mark.parametrize("num_on_head", [0, 1, 5])
def test_boxes_on_their_head_are_turned_and_no_other(tmp_path: Path, num_on_head: int) -> None:
    pages = [page(tmp_path, f"{number}.png", on_its_head=number < num_on_head) for number in range(12)]
    turned = turn_upright(pages, read, seed=0)
    assert (turned.num_turned, turned.num_probed) == (num_on_head, 12)
    for number, one in enumerate(turned.pages):
        assert one.image == pages[number].image
        expected = np.roll(BOX, 2, axis=0) if number < num_on_head else BOX
        np.testing.assert_array_equal(one.boxes[0].quad, expected)
        np.testing.assert_array_equal(one.boxes[1].quad, BOX)


def test_broken_images_and_single_letters_turn_nothing(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no image")
    letter = page(tmp_path, "letter.png", on_its_head=True)
    letter = LabelledPage(letter.image, (TextBox(BOX, "A"),))
    broken = LabelledPage(tmp_path / "broken.png", (TextBox(BOX, "AB-12"),))
    assert turn_upright([broken, letter], read, seed=0).num_turned == 0


def test_a_detected_box_begins_where_the_text_it_holds_begins() -> None:
    (upright,), _ = label_detections([BOX + 1], [TextBox(BOX, "AB-12")])
    (turned,), _ = label_detections([BOX + 1], [TextBox(np.roll(BOX, 2, axis=0), "AB-12")])
    np.testing.assert_array_equal(upright.quad, BOX + 1)
    np.testing.assert_array_equal(turned.quad, np.roll(BOX + 1, 2, axis=0))
