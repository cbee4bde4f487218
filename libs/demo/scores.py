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
from libs.ocrkit.engines.engine import load_engine
from libs.ocrkit.geometry import Quad
from libs.ocrkit.image_io import decode_image
from libs.ocrkit.metrics import Line, cer, end_to_end, line_accuracy, match_lines
from libs.ocrkit.reader import Reader


@dataclass(frozen=True)
class Scores:
    """One bundle over a set of images; every value in [0, 1] but ``cer``, which may exceed 1.

    Args:
        line_accuracy: lines read without an error, cropped by their true boxes.
        cer: character error rate of the same lines.
        hmean_exact: finding and reading together, harmonic mean.
        hmean_folded: the same without regard to case and spaces.
    """

    line_accuracy: float
    cer: float
    hmean_exact: float
    hmean_folded: float


@dataclass(frozen=True)
class Suggested:
    """How far suggestions are from the truth; shares of the true lines, the last of their characters."""

    found: float
    exact: float
    cer: float


def measure_bundle(bundle: Path, images: Sequence[GeneratedImage]) -> Scores:
    """Read images with a bundle, once by their true boxes and once from nothing."""
    opened = open_bundle(bundle)
    engine = load_engine(opened, num_threads=os.cpu_count() or 1)
    reader = Reader(opened, engine)
    on_true_boxes: list[tuple[str, str]] = []
    pages: list[tuple[list[Line], list[Line]]] = []
    for image in images:
        page_HW3 = decode_image(image.path.read_bytes())
        read = reader.read_lines(page_HW3, [box.quad for box in image.boxes])
        on_true_boxes += [(box.text, text) for box, (text, _) in zip(image.boxes, read, strict=True)]
        pages.append(([(box.quad, box.text) for box in image.boxes], [(line.quad, line.text) for line in reader.read(page_HW3)]))
    engine.close()
    whole = end_to_end(pages)
    return Scores(line_accuracy(on_true_boxes), cer(on_true_boxes), whole.hmean_exact, whole.hmean_folded)


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
