"""Copies of a line as another detector, hand or camera would have given it."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from libs.ocrkit.geometry import Quad
from libs.ocrkit.preprocess import line_size

__all__ = ["JitterConfig", "distort", "jitter_quad"]


@dataclass(frozen=True)
class JitterConfig:
    """How far a copy's box may lie from the labelled one.

    Args:
        grow_low: least a side moves outwards, in heights of the line; negative cuts into it.
        grow_high: most a side moves outwards.
        slant: largest shift of the upper side along the line against the lower one, in heights of the line: italics, other hands.
        corner: by how much each corner moves on its own at most, in heights of the line: a camera held askew.
        turn_rad: largest turn about the middle, for lines up to ``turn_full_aspect`` times wider than high; longer ones turn less.
    """

    grow_low: float = -0.08
    grow_high: float = 0.22
    slant: float = 0.15
    corner: float = 0.04
    turn_rad: float = 0.03
    turn_full_aspect: float = 5.0


def jitter_quad(quad: Quad, rng: np.random.Generator, config: JitterConfig) -> Quad:
    """Move each side of a quad on its own, slant it, move its corners, then turn it a little."""
    width, height = line_size(quad)
    size = max(min(width, height), 1e-6)
    left, top, right, bottom = (rng.uniform(config.grow_low, config.grow_high, 4) * size).tolist()
    along = _unit(quad[1] - quad[0])
    down = _unit(quad[3] - quad[0])
    moves = np.array([[-left, -top], [right, -top], [right, bottom], [-left, bottom]])
    moved = quad + moves[:, :1] * along + moves[:, 1:] * down
    slant = rng.uniform(-config.slant, config.slant) * size
    moved += np.array([[slant], [slant], [0], [0]]) * along + rng.uniform(-config.corner, config.corner, (4, 2)) * size
    limit = config.turn_rad * min(1.0, config.turn_full_aspect * size / max(width, height))
    angle = rng.uniform(-limit, limit)
    cos, sin = np.cos(angle), np.sin(angle)
    middle = moved.mean(axis=0)
    turned: Quad = (moved - middle) @ np.array([[cos, sin], [-sin, cos]]) + middle
    return turned


def _unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    length = float(np.linalg.norm(vector))
    return vector / length if length > 0 else vector


def distort(image_HW3: NDArray[np.uint8], rng: np.random.Generator, *, inverted: float) -> NDArray[np.uint8]:
    """Blur, shrink, brighten, darken, add noise, compress: each with its own chance, none of it strong enough to hide the text.

    Args:
        image_HW3: uint8, a line or a part of a page.
        rng: all chance comes from it.
        inverted: how often light and dark change places.
    """
    image = image_HW3.astype(np.float32)
    height, width = image_HW3.shape[:2]
    if rng.random() < 0.3:
        factor = rng.uniform(0.4, 0.9)
        small = cv2.resize(image, (max(2, round(width * factor)), max(2, round(height * factor))), interpolation=cv2.INTER_AREA)
        image = np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.float32)
    if rng.random() < 0.3:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.5)), dtype=np.float32)
    if rng.random() < 0.5:
        middle = image.mean()
        image = (image - middle) * rng.uniform(0.6, 1.3) + middle + rng.uniform(-35, 35)
    if rng.random() < 0.3:
        ramp = np.linspace(rng.uniform(-30, 30), rng.uniform(-30, 30), width, dtype=np.float32)
        image = image + ramp[None, :, None]
    if rng.random() < inverted:
        image = 255 - image
    if rng.random() < 0.4:
        image = image + rng.normal(0, rng.uniform(2, 12), image.shape).astype(np.float32)
    distorted = np.clip(image, 0, 255).astype(np.uint8)
    if rng.random() < 0.3:
        packed = cv2.imencode(".jpg", distorted, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(30, 80))])[1]
        distorted = np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), dtype=np.uint8)
    return distorted
