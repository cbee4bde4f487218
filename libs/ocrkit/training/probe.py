"""A detector on labelled pages: its maps, as the choice of settings wants them."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from libs.ocrkit.detector_params import DetectorParams
from libs.ocrkit.image_io import decode_image
from libs.ocrkit.manifest import GraphSpec
from libs.ocrkit.preprocess import detector_input
from libs.ocrkit.training.data import LabelledPage
from libs.ocrkit.training.detector_params import ProbedPage

__all__ = ["page_input", "probe_pages"]


def page_input(page: LabelledPage, params: DetectorParams, spec: GraphSpec) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """A page as the network takes it, and its scale; see ``detector_input``."""
    return detector_input(decode_image(page.image.read_bytes()), params, mean=spec.mean, std=spec.std)


def probe_pages(
    detect: Callable[[NDArray[np.float32]], NDArray[np.float32]], pages: Sequence[LabelledPage], params: DetectorParams, spec: GraphSpec
) -> Iterator[ProbedPage]:
    """The map of each page.

    Args:
        detect: from (1, 3, H, W) to (1, 1, H, W), as the graph has it.
        pages: can be decoded.
        params: how pages are scaled.
        spec: how the network is fed.
    """
    for page in pages:
        x_13HW, scale = page_input(page, params, spec)
        yield ProbedPage(np.rint(detect(x_13HW)[0, 0] * 255).astype(np.uint8), scale, page.boxes)
