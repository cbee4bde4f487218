"""Cutting a box where the recognizer saw a column break."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from libs.ocrkit.geometry import Quad
from libs.ocrkit.postprocess.ctc import Piece
from libs.ocrkit.preprocess import VERTICAL_RATIO, line_size

HALF_CHARACTER = 0.28
"""From the middle of a character, where its step lies, to its edge; in heights of the line."""


def cut_columns(quad: Quad, pieces: Sequence[Piece], *, steps_per_height: float, num_line_steps: float) -> list[Quad]:
    """The part of a box that each piece stands in.

    Args:
        quad: the whole box.
        pieces: from left to right, as the text runs.
        steps_per_height: time steps in one height of the line.
        num_line_steps: time steps that the line itself takes, without what was filled up to its right.

    Returns:
        One quad for each piece, in their order.
    """
    if len(pieces) < 2:
        return [quad] * len(pieces)
    width, height = line_size(quad)
    if height >= VERTICAL_RATIO * width:
        # Lines that run downwards were turned before they were read.
        quad = np.roll(quad, -1, axis=0)
    half = HALF_CHARACTER * steps_per_height
    ends: list[float] = [0.0]
    for left, right in pairwise(pieces):
        middle = (left.last_step + right.first_step + 1) / 2
        ends.append(min(left.last_step + 0.5 + half, middle))
        ends.append(max(right.first_step + 0.5 - half, middle))
    ends.append(num_line_steps)
    shares = np.clip(np.array(ends) / max(num_line_steps, 1e-6), 0.0, 1.0).reshape(-1, 2)
    return [_between(quad, begin, end) for begin, end in shares.tolist()]


def _between(quad: Quad, begin: float, end: float) -> Quad:
    top_left, top_right, bottom_right, bottom_left = quad
    top, bottom = top_right - top_left, bottom_right - bottom_left
    return np.stack([top_left + begin * top, top_left + end * top, bottom_left + end * bottom, bottom_left + begin * bottom])
