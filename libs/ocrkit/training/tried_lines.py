"""Some labelled lines, cut out, for what is chosen by reading them before any training."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from libs.ocrkit.image_io import decode_image
from libs.ocrkit.metrics import fold
from libs.ocrkit.preprocess import warp_line
from libs.ocrkit.training.data import LineSample
from libs.runtime.errors import Fault

__all__ = ["ReadCrops", "TriedLines", "cut_some"]

ReadCrops = Callable[[Sequence[NDArray[np.uint8]]], list[tuple[str, float]]]


@dataclass(frozen=True)
class TriedLines:
    """What lines say, case and white space folded, and their crops with each margin: uint8 (48, W, 3)."""

    truth: tuple[str, ...]
    crops: Mapping[float, Sequence[NDArray[np.uint8]]]

    def compared(self, margin: float, read: ReadCrops) -> list[tuple[str, str]]:
        """Truth and reading of each line, folded alike."""
        return [(text, fold(said)) for text, (said, _) in zip(self.truth, read(self.crops[margin]), strict=True)]


def cut_some(samples: Sequence[LineSample], margins: Sequence[float], *, num_lines: int, seed: int) -> TriedLines:
    """Cut some lines out; those of pages that cannot be decoded are left out.

    Args:
        samples: labelled lines, those of a page one after another.
        margins: around each line, in heights of it.
        num_lines: at most.
        seed: which.
    """
    chosen = sorted(np.random.default_rng(seed).permutation(len(samples))[:num_lines].tolist())
    crops: dict[float, list[NDArray[np.uint8]]] = {margin: [] for margin in margins}
    truth: list[str] = []
    for image, group in groupby((samples[index] for index in chosen), key=lambda sample: sample.image):
        try:
            page_HW3 = decode_image(image.read_bytes())
        except (Fault, OSError):
            continue
        for sample in group:
            truth.append(fold(sample.text))
            for margin in margins:
                crops[margin].append(warp_line(page_HW3, sample.quad, margin=margin))
    return TriedLines(tuple(truth), crops)
