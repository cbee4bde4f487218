"""Formats that are images of single texts: cutting these out of pages, and reading them as pages of one box."""

from collections.abc import Callable
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from libs.ocrkit.geometry import quad_from_box
from libs.ocrkit.image_io import decode_image
from libs.ocrkit.labels.format import LabelFile
from libs.ocrkit.labels.holding import Holds, covers_image
from libs.ocrkit.labels.image_finder import FoundImage
from libs.ocrkit.labels.page import Finding, Page, Row
from libs.ocrkit.labels.shapes import Shape
from libs.ocrkit.labels.source import Source, joined, split_suffix
from libs.ocrkit.labels.target import Target
from libs.ocrkit.preprocess import line_size, warp_line
from libs.runtime.errors import NotFound

CROPS_HOLD = Holds(place="crop", unreadable="no", empty_pages=False)
_MAX_CROP_PX = 8_192
_JPEG_QUALITY = 95
_CROP_FOLDERS = ("crop_img/", "images/")


class CropWriter:
    """Cuts out each text as it stands, its first corner top left, and passes on what the image is called.

    Args:
        target: where to.
        folder: the images lie in, in the target.
        suffix: of the images; one that was a crop already is copied as it is.
        add_entry: told the image's name in the target and its text.
        close: writes what is left.
    """

    def __init__(
        self,
        target: Target,
        folder: str,
        suffix: Literal[".png", ".jpg"],
        add_entry: Callable[[str, str], None],
        close: Callable[[], None] = lambda: None,
    ) -> None:
        self._target = target
        self._folder = folder
        self._suffix = suffix
        self._add_entry = add_entry
        self._close = close

    def add(self, page: Page, source: Source) -> None:
        """Write the crops of a page.

        Raises:
            NotFound: its image is not there.
            ImageUndecodable, TooLarge: it cannot be decoded.
        """
        if not page.boxes:
            return
        name = next((page.name.removeprefix(folder) for folder in _CROP_FOLDERS if page.name.startswith(folder)), page.name)
        stem, suffix = split_suffix(name)
        try:
            with source.open(page.name) as stream:
                data = stream.read()
        except OSError as error:
            raise NotFound(
                f"{page.name} is not there, so its texts cannot be cut out; put it beside the labels.", name=page.name
            ) from error
        if len(page.boxes) == 1 and covers_image(page.boxes[0], page.width_px, page.height_px):
            self._write(stem, suffix, data, page.boxes[0].text)
            return
        image_HW3 = decode_image(data)
        for number, box in enumerate(page.boxes):
            self._write(f"{stem}_crop_{number}", self._suffix, _encoded(_cut(image_HW3, box.quad), self._suffix), box.text)

    def close(self) -> None:
        """Write what is left."""
        self._close()

    def _write(self, stem: str, suffix: str, data: bytes, text: str) -> None:
        name, number = joined(self._folder, stem + suffix), 1
        while self._target.exists(name):
            number += 1
            name = joined(self._folder, f"{stem}-{number}{suffix}")
        self._target.write_new(name, data)
        self._add_entry(name, text)


def crop_row(file: LabelFile, image: FoundImage, text: str, *, line: int | None = None, findings: tuple[Finding, ...] = ()) -> Row:
    """The row of an image that is one text."""
    if not image.is_usable:
        return file.unusable(image)
    builder = file.builder(image)
    builder.note(*findings)
    builder.add(Shape(quad_from_box(0, 0, image.width_px, image.height_px)), text, line=line)
    return file.row(image, builder)


def _cut(image_HW3: NDArray[np.uint8], quad: NDArray[np.float64]) -> NDArray[np.uint8]:
    _, height = line_size(quad)
    height_px = int(np.clip(round(height), 1, _MAX_CROP_PX))
    return warp_line(image_HW3, quad, height_px=height_px, max_width_px=_MAX_CROP_PX, turn=False)


def _encoded(pixels_HW3: NDArray[np.uint8], suffix: str) -> bytes:
    done, data = cv2.imencode(suffix, pixels_HW3, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY] if suffix == ".jpg" else [])
    assert done, "a crop has pixels"
    return data.tobytes()
