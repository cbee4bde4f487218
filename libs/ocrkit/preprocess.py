"""Pixels to network inputs: the only preprocessing in the product, for training and reading alike.

Shapes in names: H height, W width, B batch, 3 blue-green-red.
"""

import math
from bisect import bisect_left
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from libs.ocrkit.detector_params import DetectorParams
from libs.ocrkit.geometry import Quad, grow_quad, quad_bounds

LINE_HEIGHT_PX = 48
MAX_LINE_WIDTH_PX = 2560
DETECTOR_STRIDE_PX = 32

DETECTOR_GRID_PX = 64
"""Sides of pages are brought to multiples of it. The network asks for 32 only, but an engine spends a tenth of a second and 8 MB on every
new size."""

_MOST_RESIZED = 1.12
"""By how much sides may become longer or shorter to end on that grid instead of being filled up to it."""

_LIMITED = 0.98
"""A page above this share of the most pixels is as large as the limit allows, and shares its area with all such pages."""

LINE_WIDTHS_PX = (64, 96, 128, 160, 192, 256, 320, 384, 480, 608, 768, 960, 1216, 1504, 1888, 2240, 2560)
"""Each about a quarter above the one before: in 8 bits an engine packs the weights anew for every shape, 9 MB on two cores each time and a
twentieth of a second, so shapes must be few."""

_MOST_SQUEEZED, _MOST_STRETCHED = 1.15, 1.35
"""By how much a line may be narrower or wider than on the page to have one of these widths. On receipts that were not trained on, a
twentieth of the misread characters came from the blank at the ends of lines that were not stretched; squeezed by a fifth, they are read
worse."""

VERTICAL_RATIO = 1.5
"""Text at least this much higher than wide is read as written from top to bottom, turned by 90 degrees (as PP-OCR does it)."""

_MAX_SOURCE_PX = 16_000
"""OpenCV addresses the source of a warp with 16-bit integers."""


def line_size(quad: Quad) -> tuple[float, float]:
    """Width and height in pixels of the text in a quad as it stands on the page: the longer of each two opposite sides."""
    # Asked some hundred times a page: for four points plain numbers are ten times as fast as arrays.
    (x0, y0), (x1, y1), (x2, y2), (x3, y3) = quad.tolist()
    top, right, bottom, left = (
        math.hypot(x1 - x0, y1 - y0),
        math.hypot(x2 - x1, y2 - y1),
        math.hypot(x3 - x2, y3 - y2),
        math.hypot(x0 - x3, y0 - y3),
    )
    return max(top, bottom), max(left, right)


def is_vertical(quad: Quad) -> bool:
    """Whether the text in a quad runs downwards or upwards rather than along its upper side."""
    width, height = line_size(quad)
    return height >= VERTICAL_RATIO * width


def warp_line(
    image_HW3: NDArray[np.uint8],
    quad: Quad,
    *,
    margin: float = 0.0,
    height_px: int = LINE_HEIGHT_PX,
    max_width_px: int = MAX_LINE_WIDTH_PX,
    turn: bool = True,
) -> NDArray[np.uint8]:
    """Cut a line out of a page and bring it to the height of the network.

    One perspective warp; where the page is larger than needed, to a whole multiple of the size that is then averaged.
    Text that runs downwards is turned.

    Args:
        image_HW3: uint8, blue-green-red.
        quad: where the line stands; it may reach out of the image, the border is then repeated.
        margin: how much around the quad is cut out with it, on each side, in heights of the line.
        height_px: of the result.
        max_width_px: longer lines are squeezed to this width, never cut.
        turn: whether text that runs downwards is turned; if not, the first corner stays top left.

    Returns:
        uint8 (height_px, W, 3) with 1 <= W <= max_width_px, in the proportions of the quad.
    """
    if turn and is_vertical(quad):
        quad = np.roll(quad, -1, axis=0)
    width, height = line_size(quad)
    if margin:
        quad, width, height = grow_quad(quad, margin * height), width + 2 * margin * height, height * (1 + 2 * margin)
    line_width = min(max(1, math.ceil(height_px * width / max(height, 1e-6))), max_width_px)
    source_HW3, corners = _cut_out(image_HW3, quad)
    times = max(1, min(round(height / height_px), 8))
    to_width, to_height = line_width * times, height_px * times
    # Quads are pixel edges, OpenCV counts from pixel centres: half a pixel lies between them.
    to_corners = np.array([[0, 0], [to_width, 0], [to_width, to_height], [0, to_height]], dtype=np.float32) - 0.5
    matrix = cv2.getPerspectiveTransform((corners - 0.5).astype(np.float32), to_corners)
    warped = cv2.warpPerspective(source_HW3, matrix, (to_width, to_height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    if times > 1:
        warped = cv2.resize(warped, (line_width, height_px), interpolation=cv2.INTER_AREA)
    return np.asarray(warped, dtype=np.uint8)


def _cut_out(image_HW3: NDArray[np.uint8], quad: Quad) -> tuple[NDArray[np.uint8], Quad]:
    """The part of the image around a quad, made smaller where it is too large to warp from, and the quad in it."""
    page_height, page_width = image_HW3.shape[:2]
    xmin, ymin, xmax, ymax = quad_bounds(quad)
    left, top = (int(np.clip(math.floor(low) - 2, 0, size - 1)) for low, size in ((xmin, page_width), (ymin, page_height)))
    right, bottom = max(left + 1, min(page_width, math.ceil(xmax) + 2)), max(top + 1, min(page_height, math.ceil(ymax) + 2))
    part, corners = image_HW3[top:bottom, left:right], quad - np.array([left, top], dtype=np.float64)
    largest = max(part.shape[:2])
    if largest > _MAX_SOURCE_PX:
        scale = _MAX_SOURCE_PX / largest
        size = max(1, round(part.shape[1] * scale)), max(1, round(part.shape[0] * scale))
        corners = corners * np.array([size[0] / part.shape[1], size[1] / part.shape[0]])
        part = np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return part, corners


def fitted_width(width_px: int) -> int:
    """The width that ``fit_line`` gives to a line of this width."""
    place = bisect_left(LINE_WIDTHS_PX, width_px / _MOST_SQUEEZED)
    wanted_px = LINE_WIDTHS_PX[place] if place < len(LINE_WIDTHS_PX) else -(-width_px // 640) * 640
    return min(wanted_px, math.floor(_MOST_STRETCHED * width_px))


def fit_line(line_HW3: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Squeeze or stretch a line, as ``warp_line`` gives it, into one of ``LINE_WIDTHS_PX`` or, above all of them, a multiple of 640.

    Returns:
        uint8, as high as the line; narrower than one of these widths only where the line is much narrower than the smallest.
    """
    height_px, width_px = line_HW3.shape[:2]
    fitted_px = fitted_width(width_px)
    if fitted_px == width_px:
        return line_HW3
    interpolation = cv2.INTER_AREA if fitted_px < width_px else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(line_HW3, (fitted_px, height_px), interpolation=interpolation), dtype=np.uint8)


def normalize_lines(lines: Sequence[NDArray[np.uint8]], width_px: int, num_lines: int = 0) -> NDArray[np.float32]:
    """Put lines into one batch of the recognizer.

    Args:
        lines: uint8 (48, W, 3) each, as ``fit_line`` gives them.
        width_px: of the batch.
        num_lines: of the batch, filled up with blank ones; 0 for as many as there are.

    Returns:
        float32 (B, 3, 48, width_px): ``x / 127.5 - 1``, blue-green-red, zeros to the right of each line.

    Raises:
        ValueError: a line is wider than the batch.
    """
    height_px = lines[0].shape[0] if lines else LINE_HEIGHT_PX
    x_B3HW = np.zeros((num_lines or len(lines), 3, height_px, width_px), dtype=np.float32)
    for x_3HW, line_HW3 in zip(x_B3HW[: len(lines)], lines, strict=True):
        if line_HW3.shape[1] > width_px:
            raise ValueError(f"a line of {line_HW3.shape[1]} px does not fit into a batch of {width_px} px")
        x_3HW[:, :, : line_HW3.shape[1]] = line_HW3.transpose(2, 0, 1) * np.float32(1 / 127.5) - np.float32(1)
    return x_B3HW


def detector_scale(width_px: int, height_px: int, params: DetectorParams) -> float:
    """By how much a page is scaled for the detector: enough for its shorter side, never past the limits."""
    scale = min(max(1.0, params.target_short_side / min(width_px, height_px)), params.max_upscale)
    return min(scale, params.max_side / max(width_px, height_px), math.sqrt(params.max_pixels / (width_px * height_px)))


def detector_input(
    image_HW3: NDArray[np.uint8],
    params: DetectorParams,
    *,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Scale a page to a size of the grid and normalise it.

    Pages as large as the limit allows are stretched or squeezed a little: one height goes with each width, so that there are few sizes.
    Others are filled up to the grid.

    Args:
        image_HW3: uint8, blue-green-red, any size from 1 x 1.
        params: the planning of the scale.
        mean: of ``x / 255``, in the order blue, green, red.
        std: likewise.

    Returns:
        float32 (1, 3, H, W), both sides multiples of ``DETECTOR_GRID_PX``, and the scale across and down, float64 (2,): network pixels =
        page pixels * scale.
    """
    page_height, page_width = image_HW3.shape[:2]
    scale = detector_scale(page_width, page_height, params)
    width, height = max(1, round(page_width * scale)), max(1, round(page_height * scale))
    padded_width, padded_height = (math.ceil(side / DETECTOR_GRID_PX) * DETECTOR_GRID_PX for side in (width, height))
    if width * height > _LIMITED * params.max_pixels:
        wide = max(1, round(width / DETECTOR_GRID_PX)) * DETECTOR_GRID_PX
        high = max(1, round(width * height / wide / DETECTOR_GRID_PX)) * DETECTOR_GRID_PX
        if max(wide / width, width / wide, high / height, height / high) <= _MOST_RESIZED:
            width, height = padded_width, padded_height = wide, high
    if (width, height) != (page_width, page_height):
        interpolation = cv2.INTER_AREA if scale < 0.5 else cv2.INTER_LINEAR
        image_HW3 = np.asarray(cv2.resize(image_HW3, (width, height), interpolation=interpolation), dtype=np.uint8)
    x_13HW = np.zeros((1, 3, padded_height, padded_width), dtype=np.float32)
    normalize_page(image_HW3, mean=mean, std=std, out=x_13HW[0, :, :height, :width])
    return x_13HW, np.array([width / page_width, height / page_height])


def normalize_page(
    image_HW3: NDArray[np.uint8],
    *,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    out: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """``(x / 255 - mean) / std`` channel by channel: float32 (3, H, W), written into ``out`` where it is given."""
    x_3HW = np.empty((3, *image_HW3.shape[:2]), dtype=np.float32) if out is None else out
    for plane_HW, x_HW, channel_mean, channel_std in zip(cv2.split(image_HW3), x_3HW, mean, std, strict=True):
        cv2.LUT(plane_HW, ((np.arange(256) / 255 - channel_mean) / channel_std).astype(np.float32), dst=x_HW)
    return x_3HW
