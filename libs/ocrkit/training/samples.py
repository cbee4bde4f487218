"""Everything that is learned from beside the labelled boxes: the detector's boxes, changed copies, synthetic lines."""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from libs.ocrkit.bundle import Bundle
from libs.ocrkit.detector_params import DetectorParams
from libs.ocrkit.engines.engine import load_engine
from libs.ocrkit.geometry import clip_quad, quad_area, quad_from_box
from libs.ocrkit.image_io import decode_image
from libs.ocrkit.postprocess.db import boxes_from_prob_map
from libs.ocrkit.preprocess import detector_input
from libs.ocrkit.replay import replay_lines
from libs.ocrkit.training.augment import JitterConfig, jitter_quad
from libs.ocrkit.training.data import LabelledPage, LineSample
from libs.ocrkit.training.detected import Coverage, label_detections
from libs.runtime.errors import Fault

__all__ = ["DetectedLines", "detect_lines", "jittered_copies", "replay_samples"]


@dataclass(frozen=True)
class DetectedLines:
    """The detector's boxes that hold labelled text.

    Args:
        training: samples of the training pages.
        validation: samples of the validation pages.
        coverage: what all its boxes on the training pages hold.
        num_unread_pages: pages that could not be decoded.
    """

    training: tuple[LineSample, ...]
    validation: tuple[LineSample, ...]
    coverage: Counter[Coverage]
    num_unread_pages: int


@dataclass(frozen=True, eq=False)
class _Mapped:
    page: LabelledPage
    prob: NDArray[np.float32]
    scale: NDArray[np.float64]
    width_px: int
    height_px: int


def detect_lines(
    base: Bundle,
    training: Sequence[LabelledPage],
    validation: Sequence[LabelledPage],
    *,
    num_threads: int,
    seed: int,
    progress: Callable[[float], None],
) -> DetectedLines:
    """Run the base's detector over all pages.

    Raises:
        BundleInvalid: the engine refuses the base.
        ForwardFailed: the detector could not be run.
    """
    spec, params = base.manifest.detector, base.manifest.postprocess
    engine = load_engine(base, num_threads=num_threads)
    num_done = 0

    def mapped(page: LabelledPage) -> _Mapped | None:
        nonlocal num_done
        num_done += 1
        progress(num_done / (len(training) + len(validation)))
        try:
            image_HW3 = decode_image(page.image.read_bytes())
        except (Fault, OSError):
            return None
        x_13HW, scale = detector_input(image_HW3, params, mean=spec.mean, std=spec.std)
        (prob_HW,) = engine.detect(x_13HW)
        return _Mapped(page, prob_HW, scale, image_HW3.shape[1], image_HW3.shape[0])

    try:
        coverage: Counter[Coverage] = Counter()
        num_unread = 0
        samples: dict[bool, list[LineSample]] = {True: [], False: []}
        for is_training, pages in ((True, training), (False, validation)):
            for page in pages:
                found = mapped(page)
                if found is None:
                    num_unread += 1
                    continue
                lines, held = _lines(found, params)
                samples[is_training] += lines
                if is_training:
                    coverage.update(held)
    finally:
        engine.close()
    return DetectedLines(_few_empty(samples[True], seed), tuple(samples[False]), coverage, num_unread)


def _few_empty(samples: Sequence[LineSample], seed: int) -> tuple[LineSample, ...]:
    """At most half as many boxes without text as with: pages where little is labelled must not teach silence."""
    empty = [index for index, sample in enumerate(samples) if not sample.text]
    allowed = (len(samples) - len(empty)) // 2
    dropped = set(np.random.default_rng(seed).permutation(np.array(empty, dtype=np.int64))[allowed:].tolist())
    return tuple(sample for index, sample in enumerate(samples) if index not in dropped)


def _lines(found: _Mapped, params: DetectorParams) -> tuple[list[LineSample], Counter[Coverage]]:
    scored = boxes_from_prob_map(found.prob, params)
    quads = [clip_quad(box.quad / found.scale, found.width_px, found.height_px)[0] for box in scored]
    labelled, held = label_detections([quad for quad in quads if quad_area(quad) >= 1.0], found.page.boxes)
    return [LineSample(found.page.image, line.quad, line.text, copy=1) for line in labelled], held


def replay_samples(folder: Path, characters: Collection[str], num_lines: int, *, seed: int) -> tuple[LineSample, ...]:
    """Synthetic lines in which every character comes up, so that what the labels do not show is not forgotten.

    Args:
        folder: where their images are written; made when missing.
        characters: the alphabet.
        num_lines: how many; none come back where this machine has no font.
        seed: equal seeds give equal lines on a machine with equal fonts.
    """
    folder.mkdir(parents=True, exist_ok=True)
    samples: list[LineSample] = []
    for number, line in enumerate(replay_lines(characters, num_lines, seed=seed, part="training")):
        path = folder / f"{number:05d}.png"
        path.write_bytes(cv2.imencode(".png", line.image)[1].tobytes())
        height, width = line.image.shape[:2]
        samples.append(LineSample(path, quad_from_box(0, 0, width, height), line.text, copy=1))
    return tuple(samples)


def jittered_copies(samples: Sequence[LineSample], num_copies: int, *, seed: int) -> tuple[LineSample, ...]:
    """Copies of each line with its box moved and its pixels distorted, as other detectors and cameras would give it."""
    rng = np.random.default_rng(seed)
    config = JitterConfig()
    return tuple(
        LineSample(sample.image, jitter_quad(sample.quad, rng, config), sample.text, copy=copy, distort=True)
        for copy in range(2, 2 + num_copies)
        for sample in samples
    )
