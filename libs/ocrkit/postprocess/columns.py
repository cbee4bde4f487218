"""Cutting a box where the recognizer saw a column break."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from libs.ocrkit.geometry import Quad
from libs.ocrkit.postprocess.ctc import Piece

HALF_CHARACTER = 0.28
"""From the middle of a character, where its step lies, to its edge; in heights of the line."""


@dataclass(frozen=True)
class StepGrid:
    """Where the time steps of a line lie on its box.

    Args:
        steps_per_height: time steps in one height of the line.
        num_steps: time steps that the line takes, without its margins and what was filled up to its right.
        first_step: time steps of the margin before it.
    """

    steps_per_height: float
    num_steps: float
    first_step: float = 0.0

    @property
    def half_character(self) -> float:
        """From the middle of a character to its edge, in time steps."""
        return HALF_CHARACTER * self.steps_per_height

    def parts(self, quad: Quad, ends: Sequence[float]) -> list[Quad]:
        """The parts of a box, whose first corner is where the text begins, between each two time steps."""
        shares = np.clip((np.array(ends) - self.first_step) / max(self.num_steps, 1e-6), 0.0, 1.0).reshape(-1, 2)
        return [_between(quad, begin, end) for begin, end in shares.tolist()]


def cut_columns(quad: Quad, pieces: Sequence[Piece], grid: StepGrid) -> list[Quad]:
    """The part of a box that each piece stands in.

    Args:
        quad: the whole box, from the corner where the text begins.
        pieces: from left to right, as the text runs.
        grid: of the line.

    Returns:
        One quad for each piece, in their order.
    """
    if len(pieces) < 2:
        return [quad] * len(pieces)
    ends: list[float] = [grid.first_step]
    for left, right in pairwise(pieces):
        middle = (left.steps[-1] + right.steps[0] + 1) / 2
        ends.append(min(left.steps[-1] + 0.5 + grid.half_character, middle))
        ends.append(max(right.steps[0] + 0.5 - grid.half_character, middle))
    ends.append(grid.first_step + grid.num_steps)
    return grid.parts(quad, ends)


def cut_characters(quad: Quad, piece: Piece, grid: StepGrid) -> list[Quad]:
    """The part of a line's whole box that each character of a piece stands in; neighbours meet halfway between their steps."""
    middles = [step + 0.5 for step in piece.steps]
    between = [(left + right) / 2 for left, right in pairwise(middles)]
    begins = [middles[0] - grid.half_character, *between]
    ends = [*between, middles[-1] + grid.half_character]
    return grid.parts(quad, [end for pair in zip(begins, ends, strict=True) for end in pair])


def _between(quad: Quad, begin: float, end: float) -> Quad:
    top_left, top_right, bottom_right, bottom_left = quad
    top, bottom = top_right - top_left, bottom_right - bottom_left
    return np.stack([top_left + begin * top, top_left + end * top, bottom_left + end * bottom, bottom_left + begin * bottom])
