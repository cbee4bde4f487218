"""Small images and label files for tests."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

Bounds = tuple[float, float, float, float]


def write_image(path: Path, *, width_px: int = 120, height_px: int = 80, grey: int = 200) -> Path:
    """An image with a dark bar on it; the format is that of the extension."""
    pixels = np.full((height_px, width_px, 3), grey, dtype=np.uint8)
    pixels[height_px // 4 : height_px // 2, : width_px // 2] = 30
    written, data = cv2.imencode(path.suffix, pixels)
    assert written
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.tobytes())
    return path


def write_labels(path: Path, boxes: Sequence[tuple[str, Bounds]], *, extra: str = "") -> Path:
    """A VOC file as labelling programs write it."""
    objects = "".join(
        f"<object><name>{text}</name><bndbox><xmin>{x0}</xmin><ymin>{y0}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox></object>\n"
        for text, (x0, y0, x1, y1) in boxes
    )
    path.write_text(f"<annotation>\n{extra}{objects}</annotation>\n")
    return path
