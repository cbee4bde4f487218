"""How well the generated images are read, against the generator's own truth."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from inkwright.common.v1 import geometry_pb2
from inkwright.labeling.v1 import page_pb2
from libs.demo.generator import GeneratedImage
from libs.ocrkit.bundle import open_bundle
from libs.ocrkit.evaluate import EvaluationReport, evaluate_bundle
from libs.ocrkit.geometry import Quad
from libs.ocrkit.metrics import cer, line_accuracy, match_lines
from libs.ocrkit.training.data import LabelledPage


@dataclass(frozen=True)
class Suggested:
    """How far suggestions are from the truth; shares of the true lines, the last of their characters."""

    found: float
    exact: float
    cer: float


def measure_bundle(bundle: Path, images: Sequence[GeneratedImage]) -> EvaluationReport:
    """Read images with a bundle, once by their true boxes and once from nothing."""
    pages = [LabelledPage(image.path, image.boxes) for image in images]
    return evaluate_bundle(open_bundle(bundle), pages, num_threads=os.cpu_count() or 1)


def measure_suggestions(pages: Sequence[page_pb2.Page], images: Sequence[GeneratedImage]) -> Suggested:
    """Compare the suggestions of pages with the truth of the images behind them, in the same order."""
    pairs: list[tuple[str, str]] = []
    num_found = 0
    for page, image in zip(pages, images, strict=True):
        partner = partners(page, image)
        num_found += len(partner)
        pairs += [(box.text, page.boxes[partner[line]].text if line in partner else "") for line, box in enumerate(image.boxes)]
    return Suggested(found=num_found / max(1, len(pairs)), exact=line_accuracy(pairs), cer=cer(pairs))


def partners(page: page_pb2.Page, image: GeneratedImage) -> dict[int, int]:
    """Index of the page's box for each true line that has one."""
    return dict(match_lines([box.quad for box in image.boxes], [quad_of(box.quad) for box in page.boxes]))


def quad_of(quad: geometry_pb2.Quad) -> Quad:
    """A quad of the wire as an array (4, 2)."""
    return np.array([(point.x, point.y) for point in quad.points], dtype=np.float64)
