"""Bytes to pixels: JPG, PNG and BMP, upright, blue-green-red.

Everything that reads an image in this product reads it here, so that labels, training and serving see the same pixels.
"""

import time

import cv2
import numpy as np
from numpy.typing import NDArray

from libs.ocrkit.image_header import ImageFormat, ImageHeader, check_complete, read_header
from libs.runtime.errors import ImageUndecodable, TooLarge

__all__ = ["MAX_PIXELS", "ImageFormat", "ImageHeader", "Scan", "check_num_pixels", "decode_image", "read_header"]

MAX_PIXELS = 178_000_000
"""About 13,300 pixels square; an image of this size takes half a gigabyte."""

MAX_SIDE_PX = 32_766
"""OpenCV warps and resizes no longer side (``SHRT_MAX`` in its ``imgwarp.cpp``)."""

_LEAST_PIXELS_TO_REDUCE = 10_000_000
"""Smaller pages are decoded once for detector and lines: reading a JPEG twice would cost more than it spares."""

_FLAGS = {1: cv2.IMREAD_UNCHANGED, 2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4, 8: cv2.IMREAD_REDUCED_COLOR_8}


class Scan:
    """A page in a file, decoded each time as large as it is wanted; width and height are those of the whole upright page, in pixels.

    Args:
        data: the whole file.
        max_pixels: see ``decode_image``.

    Raises:
        ImageUndecodable: no JPG, PNG or BMP.
        TooLarge: more than ``max_pixels``.
    """

    def __init__(self, data: bytes, *, max_pixels: int = MAX_PIXELS) -> None:
        header = check_num_pixels(read_header(data), max_pixels)
        self.width_px, self.height_px = header.width_px, header.height_px
        self.seconds = 0.0
        """Spent on decoding so far."""
        self._data = data
        self._max_pixels = max_pixels
        self._is_reducible = header.format == "JPEG" and header.width_px * header.height_px >= _LEAST_PIXELS_TO_REDUCE
        self._last: tuple[int, NDArray[np.uint8]] | None = None

    def pixels(self, scale: float) -> NDArray[np.uint8]:
        """The page at ``scale`` (0 to 1) of its size or larger: uint8 (height, width, 3), blue-green-red.

        Raises:
            ImageUndecodable: it is cut off or damaged.
        """
        reduced_by = next((by for by in (8, 4, 2) if by * scale <= 1), 1) if self._is_reducible else 1
        if self._last is None or self._last[0] != reduced_by:
            began = time.monotonic()
            # Given up first: a page is never held twice.
            self._last = None
            self._last = reduced_by, decode_image(self._data, max_pixels=self._max_pixels, reduced_by=reduced_by)
            self.seconds += time.monotonic() - began
        return self._last[1]


def decode_image(data: bytes, *, max_pixels: int = MAX_PIXELS, reduced_by: int = 1) -> NDArray[np.uint8]:
    """Decode an image the way a person would see it.

    EXIF orientation is applied, transparency is laid over white, grey, palette and 16-bit images become 8-bit colour.

    Args:
        data: the whole file.
        max_pixels: width times height above which nothing is decoded.
        reduced_by: 1, or for a JPEG 2, 4 or 8: both sides come divided by it, in less time and memory.

    Returns:
        uint8 (height, width, 3), blue-green-red, contiguous, of the upright size that ``read_header`` gives.

    Raises:
        ImageUndecodable: no JPG, PNG or BMP, cut off, or damaged.
        TooLarge: more than ``max_pixels``.
    """
    header = check_num_pixels(read_header(data), max_pixels)
    check_complete(data, header.format)
    flags = _FLAGS[reduced_by] | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        decoded = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), flags)
    except cv2.error as error:
        raise _damaged(header) from error
    if decoded is None:
        raise _damaged(header)
    upright = _turn(_colour(decoded, header), header.orientation)
    if upright.shape[:2] != (-(-header.height_px // reduced_by), -(-header.width_px // reduced_by)):
        raise _damaged(header)
    return upright


def check_num_pixels(header: ImageHeader, max_pixels: int = MAX_PIXELS) -> ImageHeader:
    """Return it.

    Raises:
        TooLarge: more than ``max_pixels``, or a side of more than 32,766.
    """
    if max(header.width_px, header.height_px) > MAX_SIDE_PX:
        raise TooLarge(
            f"The image has {header.width_px} x {header.height_px} pixels; no side may be over {MAX_SIDE_PX}. Cut it into several.",
            width_px=header.width_px,
            height_px=header.height_px,
            max_side_px=MAX_SIDE_PX,
        )
    if header.width_px * header.height_px > max_pixels:
        raise TooLarge(
            f"The image has {header.width_px} x {header.height_px} pixels, more than the {max_pixels} allowed; make it smaller.",
            width_px=header.width_px,
            height_px=header.height_px,
            max_pixels=max_pixels,
        )
    return header


def _damaged(header: ImageHeader) -> ImageUndecodable:
    return ImageUndecodable(f"The {header.format} is damaged and cannot be decoded; copy the file again.", problem="corrupt")


def _colour(decoded: NDArray[np.generic], header: ImageHeader) -> NDArray[np.uint8]:
    """Any depth and number of channels to 8-bit blue-green-red."""
    pixels: NDArray[np.uint8]
    if decoded.dtype == np.uint16:
        pixels = np.asarray(cv2.convertScaleAbs(decoded.astype(np.uint16, copy=False), alpha=1 / 257), dtype=np.uint8)
    elif decoded.dtype == np.uint8:
        pixels = decoded.astype(np.uint8, copy=False)
    else:
        raise _damaged(header)
    if pixels.ndim == 2 or pixels.shape[2] == 1:
        return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGR), dtype=np.uint8)
    if pixels.shape[2] == 4:
        return _over_white(pixels, header)
    return np.ascontiguousarray(pixels)


def _over_white(pixels_HW4: NDArray[np.uint8], header: ImageHeader) -> NDArray[np.uint8]:
    alpha = pixels_HW4[..., 3]
    # The fourth byte of a 32-bit BMP is mostly padding: all zeros mean that nobody wrote an alpha.
    if alpha.min() == 255 or (header.format == "BMP" and alpha.max() == 0):
        return np.ascontiguousarray(pixels_HW4[..., :3])
    image_HW3 = np.empty((*alpha.shape, 3), dtype=np.uint8)
    # In bands: the 16-bit intermediates of a whole large image would need gigabytes.
    for top in range(0, len(alpha), 256):
        band_HW4 = pixels_HW4[top : top + 256].astype(np.uint16)
        opacity = band_HW4[..., 3:]
        image_HW3[top : top + 256] = (band_HW4[..., :3] * opacity + 255 * (255 - opacity) + 127) // 255
    return image_HW3


def _turn(image_HW3: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    match orientation:
        case 2:
            turned = image_HW3[:, ::-1]
        case 3:
            turned = image_HW3[::-1, ::-1]
        case 4:
            turned = image_HW3[::-1]
        case 5:
            turned = image_HW3.transpose(1, 0, 2)
        case 6:
            turned = image_HW3.transpose(1, 0, 2)[:, ::-1]
        case 7:
            turned = image_HW3.transpose(1, 0, 2)[::-1, ::-1]
        case 8:
            turned = image_HW3.transpose(1, 0, 2)[::-1]
        case _:
            turned = image_HW3
    return np.ascontiguousarray(turned)
