"""Whether a recognizer can say a line at all: it emits one character for each step, and a line has as many steps as it is wide."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Final, TypeVar

from libs.ocrkit.geometry import Quad
from libs.ocrkit.preprocess import LINE_HEIGHT_PX, MAX_LINE_WIDTH_PX, fitted_width, is_vertical, line_size

PX_PER_STEP: Final = 8
"""Of a line in the height of the network: what the recognizers of PP-OCR emit one step for."""

T = TypeVar("T")


def ctc_feasible(num_steps: int, labels: Sequence[T]) -> bool:
    """Whether any CTC path of ``num_steps`` says ``labels``: one step each, and a blank between equal neighbours."""
    return needed_steps(labels) <= num_steps


def needed_steps(labels: Sequence[T]) -> int:
    """The fewest steps that say ``labels``, classes or characters."""
    return len(labels) + sum(a == b for a, b in pairwise(labels))


def line_steps(quad: Quad) -> int:
    """Steps that the line in a quad gets when it is cut out without a margin and fitted as ``warp_line`` and ``fit_line`` do it."""
    width, height = line_size(quad)
    if is_vertical(quad):
        width, height = height, width
    width_px = min(max(1, math.ceil(LINE_HEIGHT_PX * width / max(height, 1e-6))), MAX_LINE_WIDTH_PX)
    return fitted_width(width_px) // PX_PER_STEP
