"""A page as a large scanner gives it, 4,960 x 7,016 pixels (A4 at 600 dpi): what a reader's memory has to be measured on."""

from pathlib import Path

import cv2
import numpy as np

from libs.demo.fonts import families
from libs.demo.sheet import Sheet, Type
from libs.ocrkit.labels.voc import TextBox, write_voc

WIDTH_PX, HEIGHT_PX = 4960, 7016

_PX_PER_MM = 600 / 25.4
_WORDS = ("delivery", "note", "invoice", "total", "amount", "paid", "signature", "number", "street", "account", "order", "weight", "price")
_MARGIN_MM, _LEADING_MM, _SIZE_MM = 18.0, 5.2, 3.4
_WORDS_A_LINE = 9


def write_large_page(folder: Path, *, seed: int = 0) -> Path:
    """Write ``large.jpg`` with its labels beside it, about fifty lines of print; the same for the same seed.

    Raises:
        NotFound: a demo font is not installed.
    """
    rng = np.random.default_rng(seed)
    sheet = Sheet(
        width_mm=WIDTH_PX / _PX_PER_MM,
        height_mm=HEIGHT_PX / _PX_PER_MM,
        px_per_mm=_PX_PER_MM,
        paper=(250, 249, 245),
        ink_strength=0.9,
        rng=rng,
    )
    set_in = Type(families("heldout", "serif")[0].regular, _SIZE_MM, (20, 20, 24))
    for y_mm in np.arange(_MARGIN_MM, sheet.height_mm - _MARGIN_MM, _LEADING_MM).tolist():
        sheet.text(_MARGIN_MM, y_mm, " ".join(rng.choice(_WORDS, _WORDS_A_LINE)), set_in)
    boxes = [TextBox(np.round(line.quad, 2), line.text) for line in sheet.lines]
    path = folder / "large.jpg"
    encoded = cv2.imencode(".jpg", cv2.cvtColor(sheet.image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 85])[1]
    path.write_bytes(encoded.tobytes())
    path.with_suffix(".xml").write_bytes(write_voc(boxes, filename=path.name, width_px=WIDTH_PX, height_px=HEIGHT_PX))
    return path
