"""What cards and forms lie on: wood, stone and cloth, made of noise."""

import cv2
import numpy as np
from numpy.typing import NDArray

_WOODS = ((150, 108, 70), (108, 74, 48), (196, 164, 124), (70, 50, 38))
_STONES = ((128, 128, 126), (74, 76, 80), (186, 182, 174), (220, 218, 212))
_CLOTHS = ((60, 74, 98), (120, 60, 56), (84, 96, 78), (46, 46, 50))


def table_top(rng: np.random.Generator, *, width_px: int, height_px: int) -> NDArray[np.float32]:
    """A table top.

    Returns:
        float32 (height, width, 3), red-green-blue, 0 to 255.
    """
    kind = int(rng.integers(3))
    colors = (_WOODS, _STONES, _CLOTHS)[kind]
    base = np.array(colors[int(rng.integers(len(colors)))], np.float32) * rng.uniform(0.9, 1.1, 3).astype(np.float32)
    pattern_HW = (_wood, _stone, _cloth)[kind](rng, width_px, height_px)
    top: NDArray[np.float32] = (pattern_HW + 1)[..., None] * base
    return top


def _noise(rng: np.random.Generator, width_px: int, height_px: int, cells_x: int, cells_y: int) -> NDArray[np.float32]:
    """Smooth noise of about unit spread: so many cells across and down, blown up to the picture."""
    cells = rng.standard_normal((max(2, cells_y), max(2, cells_x)), np.float32)
    return np.asarray(cv2.resize(cells, (width_px, height_px), interpolation=cv2.INTER_CUBIC), np.float32)


def _wood(rng: np.random.Generator, width_px: int, height_px: int) -> NDArray[np.float32]:
    """Grain along the picture: rings of a plank cut lengthwise, fibres, a seam between boards here and there."""
    y_HW = np.linspace(0, 1, height_px, dtype=np.float32)[:, None]
    bend_HW = _noise(rng, width_px, height_px, 4, 5)
    rings_HW = np.sin(2 * np.pi * (rng.uniform(10, 22) * y_HW + 0.5 * bend_HW))
    fibres_HW = _noise(rng, width_px, height_px, 24, height_px // 3)
    pattern_HW = 0.06 * rings_HW + 0.05 * fibres_HW + 0.05 * bend_HW
    for seam in rng.uniform(0.05, 0.95, int(rng.integers(0, 3))):
        row = int(seam * height_px)
        pattern_HW[row : row + max(2, width_px // 400)] -= 0.35
    return np.asarray(pattern_HW, np.float32)


def _stone(rng: np.random.Generator, width_px: int, height_px: int) -> NDArray[np.float32]:
    """Clouds and speckles."""
    speckles_HW = _noise(rng, width_px, height_px, width_px // 3, height_px // 3)
    pattern_HW = 0.07 * _noise(rng, width_px, height_px, 6, 5) + 0.04 * _noise(rng, width_px, height_px, 60, 45) + 0.03 * speckles_HW
    return np.asarray(pattern_HW, np.float32)


def _cloth(rng: np.random.Generator, width_px: int, height_px: int) -> NDArray[np.float32]:
    """A weave with folds."""
    period = rng.uniform(4, 8)
    y_HW, x_HW = np.ogrid[0:height_px, 0:width_px]
    weave_HW = np.sin(2 * np.pi * x_HW / period) * np.sin(2 * np.pi * y_HW / period)
    pattern_HW = 0.09 * weave_HW + 0.10 * _noise(rng, width_px, height_px, 5, 3) + 0.04 * _noise(rng, width_px, height_px, 200, 150)
    return np.asarray(pattern_HW, np.float32)
