"""Text as the pins of a dot-matrix printer leave it on paper."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from libs.demo.fonts import Face, load_face

GRID_PX = 13
"""The em in pins. With 13 a capital is nine pins high, what a nine-pin head prints in one pass."""

_DOT_PX = 8
_RADIUS = 0.62
"""Of a dot, in pitches: neighbouring dots touch, as ribbon ink does."""


@dataclass(frozen=True, eq=False)
class DotMask:
    """Ink of a line: float32 (H, W) in [0, 1], and the base line counted from its top."""

    ink: NDArray[np.float32]
    baseline_px: int


def dot_matrix_mask(text: str, face: Face, *, size_px: float, dropout: float, rng: np.random.Generator) -> DotMask:
    """Set a line on a coarse grid and print each filled cell as a dot.

    Args:
        text: what it says.
        face: whose letters are reduced to the grid.
        size_px: the em in pixels of the result.
        dropout: share of dots that are missing.
        rng: the only source of chance.
    """
    font = load_face(face, GRID_PX)
    width, height, baseline = round(font.getlength(text)) + 2, GRID_PX + 4, GRID_PX
    grid = Image.new("1", (width, height), 0)
    draw = ImageDraw.Draw(grid)
    draw.fontmode = "1"
    draw.text((1, baseline), text, font=font, fill=1, anchor="ls")
    pins_HW = np.asarray(grid, np.float32) * (rng.random((height, width)) >= dropout) * rng.uniform(0.75, 1.0, (height, width))
    middles = np.zeros((height * _DOT_PX, width * _DOT_PX), np.float32)
    middles[_DOT_PX // 2 :: _DOT_PX, _DOT_PX // 2 :: _DOT_PX] = pins_HW
    reach = round(_RADIUS * _DOT_PX)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    scale = size_px / GRID_PX
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    alpha_HW = cv2.resize(cv2.dilate(middles, disc), size, interpolation=cv2.INTER_AREA)
    return DotMask(np.asarray(alpha_HW, np.float32), round(baseline * scale))
