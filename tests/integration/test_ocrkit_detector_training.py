"""Training of the real base's detector: it learns which text is wanted, or it stays."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from libs.ocrkit.bundle import open_bundle
from libs.ocrkit.geometry import quad_from_box
from libs.ocrkit.labels.page import TextBox
from libs.ocrkit.models import base_bundle_path
from libs.ocrkit.training.data import LabelledPage
from libs.ocrkit.training.detector import DetectorTrainingSpec, train_detector
from libs.ocrkit.training.events import TrainingEvent
from libs.ocrkit.training.loop import LoopConfig
from libs.ocrkit.training.package import package_detector
from libs.ocrkit.training.parity import PARITY_BOUND
from libs.ocrkit.training.spec import NothingToTrain
from libs.ocrkit.training.text_maps import CropConfig


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """Training sets the number of threads of the process: put it back."""
    num_threads = torch.get_num_threads()
    yield
    torch.set_num_threads(num_threads)
    torch.set_flush_denormal(False)


def draw_pages(folder: Path, num_pages: int, *, only_plates: bool) -> tuple[LabelledPage, ...]:
    """Pages with three lines of a text and one number on a blue plate; either only the plate is labelled, or everything."""
    folder.mkdir()
    rng = np.random.default_rng(4)
    pages = []
    for number in range(num_pages):
        image = np.full((256, 320, 3), 235, dtype=np.uint8)
        rows = rng.permutation(4)
        boxes = []
        for index, row in enumerate(rows.tolist()):
            left, base = int(rng.integers(8, 60)), 48 + 58 * row
            text = f"{rng.integers(100, 999)}-{rng.integers(10, 99)}"
            if index == 0:
                cv2.rectangle(image, (left - 6, base - 30), (left + 150, base + 10), (160, 60, 30), -1)
            color = (250, 250, 250) if index == 0 else (40, 40, 40)
            cv2.putText(image, text, (left, base), cv2.FONT_HERSHEY_DUPLEX, 1.0, color, 2, cv2.LINE_AA)
            (width, height), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_DUPLEX, 1.0, 2)
            if index == 0 or not only_plates:
                boxes.append(TextBox(quad_from_box(left - 2, base - height - 3, left + width + 2, base + below // 2 + 2), text))
        path = folder / f"page{number:03d}.png"
        cv2.imwrite(str(path), image)
        pages.append(LabelledPage(path, tuple(boxes)))
    return tuple(pages)


def spec_for(pages: tuple[LabelledPage, ...], folder: Path, **changes: object) -> DetectorTrainingSpec:
    spec = DetectorTrainingSpec(
        base_bundle=base_bundle_path("ppocrv4-mobile"),
        training=pages[:-4],
        validation=pages[-4:],
        work_dir=folder / "work",
        max_seconds=120.0,
        epochs=1,
        batch_size=4,
        loop=LoopConfig(learning_rate=2e-4, warmup_steps=4, average_decay=0.95),
        crops=CropConfig(size_px=256),
    )
    return replace(spec, **changes)  # type: ignore[arg-type]


@pytest.mark.long
def test_it_learns_to_find_only_what_is_labelled(tmp_path: Path) -> None:
    spec = spec_for(draw_pages(tmp_path / "images", 20, only_plates=True), tmp_path)
    events: list[TrainingEvent] = []
    result = train_detector(spec, events.append)
    assert result.hmean_base < 0.6
    assert result.is_trained
    assert result.hmean > result.hmean_base + 0.2
    assert 0 < result.parity <= PARITY_BOUND
    fractions = [event.fraction for event in events]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert any("val_hmean" in event.values for event in events if event.kind == "metrics")
    assert not list((spec.work_dir / "checkpoints").iterdir())

    base = open_bundle(spec.base_bundle)
    begun = package_detector(tmp_path / "begun.inkbundle", base, result.onnx, result.int8_onnx, result.postprocess)
    assert begun.manifest.base == base.digest
    assert begun.manifest.postprocess == result.postprocess
    assert begun.read(begun.manifest.recognizer.file) == base.read(base.manifest.recognizer.file)


def test_a_base_that_finds_everything_stands(tmp_path: Path) -> None:
    spec = spec_for(draw_pages(tmp_path / "images", 8, only_plates=False), tmp_path)
    events: list[TrainingEvent] = []
    result = train_detector(spec, events.append)
    base = open_bundle(spec.base_bundle)
    assert not result.is_trained
    assert result.onnx == base.read(base.manifest.detector.file)
    assert result.num_steps == 0
    assert any("stands" in event.message for event in events)


def test_without_time_only_the_settings_are_fitted(tmp_path: Path) -> None:
    spec = spec_for(draw_pages(tmp_path / "images", 8, only_plates=True), tmp_path, max_seconds=0.0)
    result = train_detector(spec, lambda event: None)
    assert not result.is_trained
    assert result.hmean >= result.hmean_base - 0.005


def test_pages_without_a_box_are_refused(tmp_path: Path) -> None:
    pages = tuple(LabelledPage(page.image, ()) for page in draw_pages(tmp_path / "images", 8, only_plates=True))
    with pytest.raises(NothingToTrain, match="label more pages"):
        train_detector(spec_for(pages, tmp_path), lambda event: None)
