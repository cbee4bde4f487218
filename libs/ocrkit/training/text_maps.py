"""Crops of labelled pages with the map a detector should give for them.

Letters in names: B batch, H height, W width, 3 blue-green-red.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from shapely.geometry import Polygon

from libs.ocrkit.geometry import Quad, quad_area
from libs.ocrkit.preprocess import line_size
from libs.ocrkit.training.augment import distort

__all__ = ["CropConfig", "TextMap", "crop_page", "text_map"]


@dataclass(frozen=True)
class CropConfig:
    """How a page is cut and changed for the detector.

    Args:
        size_px: both sides of a crop, a multiple of 32; pages planned smaller are cut smaller.
        zoom_low: least factor on top of the scale planned for reading.
        zoom_high: largest.
        turn_rad: largest turn of the page.
        on_text: share of the crops that surely hold a labelled box.
        unclip_ratio: growth of the boxes in reading, which the maps are drawn for.
        inverted: how often light and dark change places.
        fill: what lies outside the page, blue-green-red; the network's mean, which it sees as zeros, as in reading.
    """

    size_px: int = 640
    zoom_low: float = 0.7
    zoom_high: float = 1.4
    turn_rad: float = 0.06
    on_text: float = 0.8
    unclip_ratio: float = 1.4
    inverted: float = 0.05
    fill: tuple[float, float, float] = (127.5, 127.5, 127.5)


@dataclass(frozen=True, eq=False)
class TextMap:
    """What the detector should say: ``text`` is 1 inside shrunken text, ``counted`` is 0 where nobody knows; both float32 (H, W)."""

    text: NDArray[np.float32]
    counted: NDArray[np.float32]


def text_map(readable: Sequence[Quad], unreadable: Sequence[Quad], *, height_px: int, width_px: int, unclip_ratio: float) -> TextMap:
    """Draw the boxes of a crop, each shrunk to what reading will grow to the box again.

    DB shrinks by area * (1 - 0.4^2) / perimeter, which a growth by one ratio undoes for one shape only.

    Args:
        readable: quads in pixels of the crop; they may reach out of it.
        unreadable: whatever the detector says there is neither right nor wrong.
        height_px: of the crop.
        width_px: of the crop.
        unclip_ratio: growth in reading, as in ``DetectorParams``.
    """
    text_HW = np.zeros((height_px, width_px), dtype=np.uint8)
    counted_HW = np.ones((height_px, width_px), dtype=np.uint8)
    for quad in unreadable:
        cv2.fillPoly(counted_HW, [np.rint(quad).astype(np.int32)], 0)
    for quad in readable:
        outline = _shrunk(quad, unclip_ratio)
        if outline is None:
            cv2.fillPoly(counted_HW, [np.rint(quad).astype(np.int32)], 0)
        else:
            cv2.fillPoly(text_HW, [np.rint(outline - 0.5).astype(np.int32)], 1)
    return TextMap(text_HW.astype(np.float32), counted_HW.astype(np.float32))


def _shrunk(quad: Quad, unclip_ratio: float) -> NDArray[np.float64] | None:
    """The outline whose growth by ``boxes_from_prob_map`` gives the quad; None where nothing is left of it.

    For a box of W x H and a distance D on each side: D = ratio * (W - 2 D) (H - 2 D) / (2 (W + H - 4 D)).
    """
    width, height = line_size(quad)
    both = (width + height) * (unclip_ratio + 1)
    squared = 4 * unclip_ratio + 8
    distance = (both - math.sqrt(max(0.0, both**2 - squared * unclip_ratio * width * height))) / squared
    polygon = Polygon(quad)
    if not polygon.is_valid:
        return None
    inner = polygon.buffer(-distance, join_style="mitre")
    if inner.is_empty or inner.geom_type != "Polygon":
        return None
    outline: NDArray[np.float64] = np.asarray(inner.exterior.coords, dtype=np.float64)[:-1]
    return outline


def crop_page(
    image_HW3: NDArray[np.uint8],
    scale: float,
    readable: Sequence[Quad],
    unreadable: Sequence[Quad],
    rng: np.random.Generator,
    config: CropConfig,
) -> tuple[NDArray[np.uint8], TextMap]:
    """Cut a random square out of a page, changed as other cameras and hands would have given it.

    Args:
        image_HW3: uint8, blue-green-red, the whole page.
        scale: network pixels a page pixel, as planned for reading.
        readable: quads of the page that should be found.
        unreadable: quads that count neither way.
        rng: all chance comes from it.
        config: limits.

    Returns:
        uint8 (size, size, 3) and its map.
    """
    size = config.size_px
    zoom = scale * math.exp(rng.uniform(math.log(config.zoom_low), math.log(config.zoom_high)))
    angle = rng.uniform(-config.turn_rad, config.turn_rad)
    # A page much larger than its crop would alias: it is brought near the wanted size by averaging first.
    if zoom < 0.75:
        small = max(1, round(image_HW3.shape[1] * zoom)), max(1, round(image_HW3.shape[0] * zoom))
        shrunk_by = np.array([small[0] / image_HW3.shape[1], small[1] / image_HW3.shape[0]])
        image_HW3 = np.asarray(cv2.resize(image_HW3, small, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        readable, unreadable = [quad * shrunk_by for quad in readable], [quad * shrunk_by for quad in unreadable]
        zoom = 1.0
    height, width = image_HW3.shape[:2]
    cos, sin = zoom * math.cos(angle), zoom * math.sin(angle)
    turn = np.array([[cos, -sin], [sin, cos]])
    corner = _corner(turn, width, height, readable, rng, config)
    matrix = np.concatenate([turn, -corner[:, None]], axis=1)
    # Quads are pixel edges, OpenCV counts from pixel centres.
    centred = matrix.copy()
    centred[:, 2] += turn @ np.array([0.5, 0.5]) - 0.5
    crop = cv2.warpAffine(image_HW3, centred, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=config.fill)
    moved = [quad @ turn.T - corner for quad in readable]
    ignored = [quad @ turn.T - corner for quad in unreadable]
    inside = [quad for quad in moved if _touches(quad, size)]
    target = text_map(
        inside, [quad for quad in ignored if _touches(quad, size)], height_px=size, width_px=size, unclip_ratio=config.unclip_ratio
    )
    return distort(np.asarray(crop, dtype=np.uint8), rng, inverted=config.inverted), target


def _corner(
    turn: NDArray[np.float64], width: int, height: int, readable: Sequence[Quad], rng: np.random.Generator, config: CropConfig
) -> NDArray[np.float64]:
    """Where the crop's top left lies on the turned page; a page smaller than a crop lies somewhere in it."""
    size = config.size_px
    outline = np.array([[0, 0], [width, 0], [width, height], [0, height]], dtype=np.float64) @ turn.T
    low, high = outline.min(axis=0), outline.max(axis=0) - size
    if readable and rng.random() < config.on_text:
        middle = readable[int(rng.integers(len(readable)))].mean(axis=0) @ turn.T
        wanted = middle - rng.uniform(0.1, 0.9, 2) * size
    else:
        wanted = rng.uniform(np.minimum(low, high), np.maximum(low, high))
    corner: NDArray[np.float64] = np.clip(wanted, np.minimum(low, high), np.maximum(low, high))
    return corner


def _touches(quad: Quad, size: int) -> bool:
    (xmin, ymin), (xmax, ymax) = quad.min(axis=0), quad.max(axis=0)
    return bool(xmin < size and ymin < size and xmax > 0 and ymax > 0 and quad_area(quad) >= 1.0)
