"""Places as label files write them."""

import numpy as np
from numpy.typing import NDArray

from libs.ocrkit.labels.page import TextBox


def plain(value: float, decimals: int = 2) -> int | float:
    """A whole number where it is one, else with these decimals at most."""
    rounded = round(float(value), decimals) + 0.0
    return int(rounded) if rounded == int(rounded) else rounded


def outline_of(box: TextBox) -> NDArray[np.float64]:
    """The polygon of a box: its outline, or the corners of its quad; float64 (N, 2)."""
    return box.quad if box.outline is None else box.outline


def points_of(box: TextBox) -> list[list[int | float]]:
    """``[[x, y], …]`` in pixels."""
    return [[plain(x), plain(y)] for x, y in outline_of(box).tolist()]


def flat_points_of(box: TextBox) -> list[int | float]:
    """``[x, y, x, y, …]`` in pixels."""
    return [value for point in points_of(box) for value in point]
