"""How much paper around a line the recognizer is shown."""

from collections.abc import Sequence

from libs.ocrkit.metrics import cer
from libs.ocrkit.training.data import LineSample
from libs.ocrkit.training.tried_lines import ReadCrops, cut_some

__all__ = ["choose_margin"]

_MARGINS = (0.0, 0.1, 0.2, 0.3)
_NUM_LINES = 200
_MAX_RISE = 0.002
"""A wider margin is taken when it costs at most this much as CER: text then is smaller, and every pixel saved is time saved."""


def choose_margin(samples: Sequence[LineSample], read: ReadCrops, *, seed: int) -> tuple[float, dict[float, float]]:
    """The widest margin with which the untrained recognizer reads labelled lines about as well as with the best.

    Args:
        samples: labelled lines.
        read: text and confidence of crops as ``warp_line`` gives them.
        seed: which lines are read.

    Returns:
        The margin in heights of the line, and the CER (case and white space folded) with each that was tried.
    """
    tried = cut_some(samples, _MARGINS, num_lines=_NUM_LINES, seed=seed)
    rates = {margin: cer(tried.compared(margin, read)) for margin in _MARGINS}
    return max(margin for margin, rate in rates.items() if rate <= min(rates.values()) + _MAX_RISE), rates
