"""How much paper around a line the recognizer is shown."""

from collections.abc import Callable, Sequence
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from libs.ocrkit.image_io import decode_image
from libs.ocrkit.metrics import cer, fold
from libs.ocrkit.preprocess import warp_line
from libs.ocrkit.training.data import LineSample
from libs.runtime.errors import Fault

__all__ = ["choose_margin"]

_MARGINS = (0.0, 0.1, 0.2, 0.3)
_NUM_LINES = 200
_MAX_RISE = 0.002
"""A wider margin is taken when it costs at most this much as CER: text then is smaller, and every pixel saved is time saved."""


def choose_margin(
    samples: Sequence[LineSample], read: Callable[[Sequence[NDArray[np.uint8]]], list[tuple[str, float]]], *, seed: int
) -> tuple[float, dict[float, float]]:
    """The widest margin with which the untrained recognizer reads labelled lines about as well as with the best.

    Args:
        samples: labelled lines.
        read: text and confidence of crops as ``warp_line`` gives them.
        seed: which lines are read.

    Returns:
        The margin in heights of the line, and the CER (case and white space folded) with each that was tried.
    """
    chosen = sorted(np.random.default_rng(seed).permutation(len(samples))[:_NUM_LINES].tolist())
    crops: dict[float, list[NDArray[np.uint8]]] = {margin: [] for margin in _MARGINS}
    truth: list[str] = []
    for image, group in groupby((samples[index] for index in chosen), key=lambda sample: sample.image):
        try:
            page_HW3 = decode_image(image.read_bytes())
        except (Fault, OSError):
            continue
        for sample in group:
            truth.append(fold(sample.text))
            for margin in _MARGINS:
                crops[margin].append(warp_line(page_HW3, sample.quad, margin=margin))
    rates = {margin: cer((text, fold(said)) for text, (said, _) in zip(truth, read(lines), strict=True)) for margin, lines in crops.items()}
    return max(margin for margin, rate in rates.items() if rate <= min(rates.values()) + _MAX_RISE), rates
