"""How large pages are shown to the detector: as small as their text allows."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from libs.ocrkit.detector_params import DetectorParams
from libs.ocrkit.image_header import read_header
from libs.ocrkit.preprocess import line_size
from libs.ocrkit.training.data import LabelledPage

__all__ = ["LEAST_PIXELS", "MOST_PIXELS", "plan_input"]

SMALL_TEXT_PX = 12.5
"""Height in network pixels that nine of ten boxes reach. Printed text this small is found as well as at twice the size
(receipts: h-mean 0.946 and 0.947), for a quarter of the work."""

MOST_PIXELS = 4_194_304

LEAST_PIXELS = 300_000
"""Pages of few large texts are found best at this area: plates in street pictures 0.98 here and 0.94 at 0.96 megapixels."""


def plan_input(pages: Sequence[LabelledPage], base: DetectorParams) -> DetectorParams:
    """The base's settings with an area that suits the labelled boxes; every page is brought to this area.

    An area and not a factor, because the same document comes from many cameras.

    Args:
        pages: with at least one box each; can be decoded.
        base: its limits of sides and enlargement stay.
    """
    relative: list[float] = []
    for page in pages:
        header = read_header(page.image.read_bytes())
        side = float(np.sqrt(header.width_px * header.height_px))
        relative += [min(line_size(box.quad)) / side for box in page.boxes]
    wanted = (SMALL_TEXT_PX / max(float(np.percentile(relative, 10)), 1e-6)) ** 2
    num_pixels = round(min(max(wanted, LEAST_PIXELS), MOST_PIXELS))
    return replace(base, target_short_side=base.max_side, max_pixels=num_pixels)
