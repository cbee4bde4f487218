"""A bundle measured on labelled pages, as it will run: through an engine, with its own settings."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from libs.ocrkit.bundle import Bundle
from libs.ocrkit.charset import BASE_ALPHABET
from libs.ocrkit.engines.engine import EngineName, Precision, load_engine
from libs.ocrkit.geometry import Quad, quad_iou
from libs.ocrkit.image_io import decode_image
from libs.ocrkit.metrics import MATCH_IOU, EndToEnd, Line, cer, edit_distance, end_to_end, line_accuracy
from libs.ocrkit.reader import Reader
from libs.ocrkit.retained import Retained
from libs.ocrkit.training.data import LabelledPage, plain_text
from libs.runtime.errors import Fault

__all__ = ["EvaluationReport", "LineScore", "evaluate_bundle", "read_labelled"]


@dataclass(frozen=True)
class LineScore:
    """One labelled line, read in its true box.

    Args:
        page: name of the image file.
        box: position of the box among those of the page.
        truth: what it says, white space folded.
        read: what the model says.
        conf: in [0, 1].
        edits: edit distance of the two.
    """

    page: str
    box: int
    truth: str
    read: str
    conf: float
    edits: int


@dataclass(frozen=True)
class EvaluationReport:
    """What a bundle can do.

    Args:
        line_accuracy: share of lines read exactly, boxes given.
        cer: character error rate of the same.
        end_to_end: finding and reading together; unreadable boxes count as neither found nor missed.
        lines: line by line, in page order, for comparisons on the same lines.
        writable: characters of the base alphabet that the model has a class for.
        retained: what it reads of replay lines; None where they were not asked for or no font is there to make them.
        model_size_bytes: of the graphs, by file.
        num_pages: pages read.
        unread_pages: pages that could not be decoded.
        seconds: of reading the pages end to end.
        engine: what ran it.
    """

    line_accuracy: float
    cer: float
    end_to_end: EndToEnd
    lines: tuple[LineScore, ...]
    writable: frozenset[str]
    retained: Retained | None
    model_size_bytes: dict[str, int]
    num_pages: int
    unread_pages: tuple[str, ...]
    seconds: float
    engine: str


def evaluate_bundle(
    bundle: Bundle,
    pages: Sequence[LabelledPage],
    *,
    engine: EngineName = "auto",
    num_threads: int,
    retained: Callable[[Reader], Retained | None] | None = None,
    progress: Callable[[float], None] | None = None,
) -> EvaluationReport:
    """Read every page twice: the labelled boxes alone, then the whole page with the bundle's own detector.

    Args:
        bundle: an opened one.
        pages: with all their boxes.
        engine: what runs it.
        num_threads: cores it may use.
        retained: measures it on replay lines as well.
        progress: told the share of pages done.

    Raises:
        BundleInvalid: the engine refuses a graph.
        ForwardFailed: the model could not be run.
    """
    loaded = load_engine(bundle, engine=engine, num_threads=num_threads)
    reader = Reader(bundle, loaded)
    scores: list[LineScore] = []
    whole: list[tuple[list[Line], list[Line]]] = []
    unread: list[str] = []
    seconds = 0.0
    try:
        for number, (page, image_HW3) in enumerate(_decoded(pages), start=1):
            if image_HW3 is None:
                unread.append(page.image.name)
                continue
            truth = _truth(page)
            scores += _read_boxes(reader, page, image_HW3)
            started_at = time.monotonic()
            lines = reader.read(image_HW3)
            seconds += time.monotonic() - started_at
            ignored = [box.quad for box in page.boxes if box.unreadable]
            kept = [(line.quad, line.text) for line in lines if not _on_ignored(line.quad, ignored)]
            whole.append(([(quad, text) for _, quad, text in truth], kept))
            if progress is not None:
                progress(number / len(pages))
        kept_of_replay = retained(reader) if retained is not None else None
    finally:
        name = loaded.name
        loaded.close()
    pairs = [(score.truth, score.read) for score in scores]
    return EvaluationReport(
        line_accuracy=line_accuracy(pairs),
        cer=cer(pairs),
        end_to_end=end_to_end(whole),
        lines=tuple(scores),
        writable=frozenset(BASE_ALPHABET) & frozenset(bundle.charset.characters),
        retained=kept_of_replay,
        model_size_bytes={file: entry.size_bytes for file, entry in bundle.manifest.files.items()},
        num_pages=len(whole),
        unread_pages=tuple(unread),
        seconds=seconds,
        engine=name,
    )


def read_labelled(bundle: Bundle, pages: Sequence[LabelledPage], *, precision: Precision, num_threads: int) -> list[LineScore]:
    """Read the labelled boxes alone; pages that cannot be decoded are left out.

    Raises:
        BundleInvalid: the engine refuses a graph.
        ForwardFailed: the model could not be run.
    """
    with closing(load_engine(bundle, num_threads=num_threads, precision=precision)) as engine:
        reader = Reader(bundle, engine)
        decoded = ((page, image_HW3) for page, image_HW3 in _decoded(pages) if image_HW3 is not None)
        return [score for page, image_HW3 in decoded for score in _read_boxes(reader, page, image_HW3)]


def _decoded(pages: Sequence[LabelledPage]) -> Iterator[tuple[LabelledPage, NDArray[np.uint8] | None]]:
    """Each page and its pixels, None where it cannot be decoded."""
    for page in pages:
        try:
            yield page, decode_image(page.image.read_bytes())
        except (Fault, OSError):
            yield page, None


def _truth(page: LabelledPage) -> list[tuple[int, Quad, str]]:
    """Position, place and text of each box that can be read."""
    texts = ((index, box.quad, plain_text(box.text)) for index, box in enumerate(page.boxes) if not box.unreadable)
    return [entry for entry in texts if entry[2]]


def _read_boxes(reader: Reader, page: LabelledPage, image_HW3: NDArray[np.uint8]) -> list[LineScore]:
    truth = _truth(page)
    readings = reader.read_lines(image_HW3, [quad for _, quad, _ in truth])
    return [
        LineScore(page.image.name, index, text, read, conf, edit_distance(text, read))
        for (index, _, text), (read, conf) in zip(truth, readings, strict=True)
    ]


def _on_ignored(quad: Quad, ignored: Sequence[Quad]) -> bool:
    return any(quad_iou(quad, other) >= MATCH_IOU for other in ignored)
