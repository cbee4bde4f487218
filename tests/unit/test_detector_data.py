"""What a detector is shown and what it should say: maps, crops, the planned size of pages."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from libs.ocrkit.detector_params import DetectorParams
from libs.ocrkit.geometry import Quad, quad_from_box, quad_rotated
from libs.ocrkit.labels.page import TextBox
from libs.ocrkit.manifest import GraphSpec
from libs.ocrkit.postprocess.db import boxes_from_prob_map
from libs.ocrkit.training.crops import CropStream
from libs.ocrkit.training.data import LabelledPage
from libs.ocrkit.training.detector_params import ProbedPage, choose_params
from libs.ocrkit.training.input_plan import LEAST_PIXELS, MOST_PIXELS, SMALL_TEXT_PX, plan_input
from libs.ocrkit.training.losses import text_map_loss
from libs.ocrkit.training.text_maps import CropConfig, TextMap, crop_page, text_map

SPEC = GraphSpec(file="det.onnx", input_name="x", output_name="y")
PARAMS = DetectorParams()


def bright_page(boxes: list[Quad], *, width: int = 900, height: int = 700) -> NDArray[np.uint8]:
    """A dark page on which the boxes are bright."""
    image = np.full((height, width, 3), 20, dtype=np.uint8)
    for quad in boxes:
        cv2.fillPoly(image, [np.rint(quad).astype(np.int32)], (230, 230, 230))
    return image


def draw(readable: list[Quad], unreadable: list[Quad] | None = None, *, height_px: int, width_px: int) -> TextMap:
    return text_map(readable, unreadable or [], height_px=height_px, width_px=width_px, unclip_ratio=PARAMS.unclip_ratio)


@pytest.mark.parametrize(
    "quad",
    [
        quad_from_box(40, 30, 240, 60),
        quad_from_box(40, 30, 90, 80),
        quad_from_box(140, 10, 170, 110),
        quad_rotated(150, 60, 180, 36, 0.2),
    ],
    ids=["line", "square", "upright", "slanted"],
)
def test_boxes_of_a_perfect_map_are_the_labelled_ones(quad: Quad) -> None:
    target = draw([quad], height_px=128, width_px=320)
    (found,) = boxes_from_prob_map(target.text, PARAMS)
    np.testing.assert_allclose(found.quad, quad, atol=2.2)
    assert target.counted.min() == 1.0


@pytest.mark.parametrize("drawn_with", [0.8, 1.0, 1.2, 1.6])
def test_of_settings_that_are_as_close_the_one_that_overlaps_most_is_chosen(drawn_with: float) -> None:
    """A growth of 0.8 still overlaps boxes drawn with one of 1.2 by 0.8: by counting alone, one labelled box tells nothing apart."""
    prob = np.zeros((96, 640), np.uint8)
    prob[40:52, 40:600] = 255
    spread = drawn_with * 560 * 12 / (2 * (560 + 12))
    truth = TextBox(quad_from_box(40 - spread, 40 - spread, 600 + spread, 52 + spread), "a")
    found = choose_params([ProbedPage(prob, np.ones(2), (truth,))], replace(PARAMS, unclip_ratio=4.0))
    assert found.params.unclip_ratio == drawn_with
    assert found.closeness == 1.0


def test_neighbouring_lines_do_not_touch_in_the_map() -> None:
    target = draw([quad_from_box(10, 10, 200, 40), quad_from_box(10, 40, 200, 70)], height_px=96, width_px=224)
    num_parts, _ = cv2.connectedComponents(target.text.astype(np.uint8))
    assert num_parts == 3


def test_what_cannot_be_read_counts_neither_way() -> None:
    target = draw([quad_from_box(0, 0, 60, 30)], [quad_from_box(100, 50, 160, 80)], height_px=96, width_px=192)
    assert target.text[60:70, 110:150].max() == 0.0
    assert target.counted[52:78, 102:158].max() == 0.0
    assert target.counted.sum() < target.counted.size


@pytest.mark.parametrize("seed", range(12))
def test_a_crop_and_its_map_show_the_same_place(seed: int) -> None:
    boxes = [quad_from_box(100, 80, 400, 130), quad_from_box(500, 300, 820, 350), quad_from_box(60, 500, 300, 560)]
    config = CropConfig(size_px=320, inverted=0.0, on_text=1.0)
    crop, target = crop_page(bright_page(boxes), 0.8, boxes, [], np.random.default_rng(seed), config)
    assert crop.shape == (320, 320, 3)
    assert target.text.shape == target.counted.shape == (320, 320)
    assert target.text.max() == 1.0
    bright = cv2.GaussianBlur(crop, (0, 0), 2).mean(axis=2)
    inside, outside = bright[target.text > 0], bright[cv2.dilate(target.text, np.ones((25, 25))) == 0]
    assert np.median(inside) > np.median(outside) + 40


def test_a_page_smaller_than_a_crop_lies_whole_in_it() -> None:
    boxes = [quad_from_box(20, 20, 120, 50)]
    config = CropConfig(size_px=320, turn_rad=0.0, zoom_low=1.0, zoom_high=1.0, fill=(0.0, 0.0, 0.0))
    for seed in range(5):
        crop, target = crop_page(bright_page(boxes, width=150, height=80), 1.0, boxes, [], np.random.default_rng(seed), config)
        whole = draw(boxes, height_px=80, width_px=150).text.sum()
        assert target.text.sum() == pytest.approx(whole, rel=0.15)
        assert crop.mean() < 60


def test_a_step_alone_says_its_crops(tmp_path: Path) -> None:
    pages = []
    for number in range(3):
        box = TextBox(quad_from_box(20 + 10 * number, 20, 200, 50), "x")
        cv2.imwrite(str(tmp_path / f"{number}.png"), bright_page([box.quad], width=300, height=200))
        pages.append(LabelledPage(tmp_path / f"{number}.png", (box,)))
    config = CropConfig(size_px=64)
    with (
        CropStream(pages, PARAMS, SPEC, config, batch_size=2, seed=1) as one,
        CropStream(pages, PARAMS, SPEC, config, batch_size=2, seed=1) as other,
        CropStream(pages, PARAMS, SPEC, config, batch_size=2, seed=2) as foreign,
    ):
        ahead = [one.at(step) for step in range(5)]
        for step in (4, 0):
            batch = other.at(step)
            assert batch.x.shape == (2, 3, 64, 64)
            assert torch.equal(batch.x, ahead[step].x)
            assert torch.equal(batch.text, ahead[step].text)
        assert not torch.equal(foreign.at(0).x, ahead[0].x)


def test_a_scan_much_larger_than_its_crops_is_decoded_once(tmp_path: Path) -> None:
    box = TextBox(quad_from_box(400, 300, 2600, 700), "x")
    scan = tmp_path / "scan.png"
    cv2.imwrite(str(scan), bright_page([box.quad], width=3000, height=2000))
    params = replace(PARAMS, max_pixels=60_000, target_short_side=1)
    config = CropConfig(size_px=128, turn_rad=0.0, inverted=0.0)
    with CropStream([LabelledPage(scan, (box,))], params, SPEC, config, batch_size=2, seed=1) as stream:
        first = stream.at(0)
        scan.unlink()
        batches = [first, *(stream.at(step) for step in range(5, 8))]
    for batch in batches:
        is_text = batch.text > 0
        assert batch.x[:, 0][is_text].mean() > batch.x[:, 0][~is_text].mean() + 0.3


def test_pages_are_planned_by_their_small_text(tmp_path: Path) -> None:
    def page(name: str, height_px: float) -> LabelledPage:
        cv2.imwrite(str(tmp_path / name), np.zeros((1000, 1000, 3), dtype=np.uint8))
        return LabelledPage(tmp_path / name, tuple(TextBox(quad_from_box(10, 10, 200, 10 + height_px), "x") for _ in range(10)))

    half = plan_input([page("a.png", 2 * SMALL_TEXT_PX / 1.6)], PARAMS)
    assert half.max_pixels == pytest.approx(1_000_000 * 0.8**2, rel=0.01)
    assert plan_input([page("b.png", 400)], PARAMS).max_pixels == LEAST_PIXELS
    assert plan_input([page("c.png", 3)], PARAMS).max_pixels == MOST_PIXELS


def test_the_map_loss_wants_text_where_it_is_and_nowhere_else() -> None:
    text = torch.zeros(1, 64, 64)
    text[:, 20:30, 10:50] = 1
    counted = torch.ones_like(text)
    right = text_map_loss(20 * text - 10, text, counted)
    silent = text_map_loss(torch.full_like(text, -10.0), text, counted)
    loud = text_map_loss(torch.full_like(text, 10.0), text, counted)
    assert right < 0.01
    assert silent > 0.5
    assert loud > 0.5
    # What stands where nobody knows changes nothing.
    counted[:, 40:] = 0
    noisy = 20 * text - 10
    noisy[:, 40:] = 10
    assert text_map_loss(noisy, text, counted) < 0.01


def test_a_page_without_text_is_learnt_too() -> None:
    logits = torch.zeros(1, 64, 64, requires_grad=True)
    loss = text_map_loss(logits, torch.zeros(1, 64, 64), torch.ones(1, 64, 64))
    torch.autograd.backward(loss)
    assert torch.isfinite(loss)
    assert logits.grad is not None
    assert logits.grad.sum() > 0
