"""Lines through the frozen part of the recognizer, once, into the cache.

Letters in names: B batch, C channels, T time steps, H height, W width. Deep in the network T is a quarter or an eighth of W.
"""

import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from libs.ocrkit.engines.openvino import OpenVinoGraph
from libs.ocrkit.image_io import decode_image
from libs.ocrkit.preprocess import MAX_LINE_WIDTH_PX, fit_line, normalize_lines, warp_line
from libs.ocrkit.reader import plan_batches
from libs.ocrkit.training.augment import distort
from libs.ocrkit.training.cache import FeatureCache
from libs.ocrkit.training.data import LineSample, Rejection
from libs.runtime.errors import Fault

__all__ = ["Backbone", "Extraction", "extract"]

_INVERTED = 0.15
"""How often a distorted copy of a line is light on dark."""


@dataclass(frozen=True)
class FeatureConfig:
    """How lines become features.

    Args:
        batch_size: lines of one width in one call; on a CPU larger batches gain nothing.
        max_width_px: of a line.
        margin: cut out around each line, in heights of the line.
        max_cache_bytes: of all features on disk.
    """

    batch_size: int = 8
    max_width_px: int = MAX_LINE_WIDTH_PX
    margin: float = 0.0
    max_cache_bytes: int = 4 * 1024**3


class Backbone:
    """The frozen part of a recognizer on OpenVINO, one stream a thread; in the precision of the reader, so that the head trains on
    what it will be given.

    Args:
        graph: ONNX, from lines (B, 3, 48, W) to features (B, C, H, T); None where nothing is frozen and the lines are the features.
        num_threads: cores it may use.
    """

    def __init__(self, graph: bytes | None, *, num_threads: int) -> None:
        self._run = None if graph is None else OpenVinoGraph(graph, num_threads=num_threads, num_streams=num_threads)
        self._pool = ThreadPoolExecutor(max_workers=num_threads, thread_name_prefix="backbone")
        self.num_threads = num_threads

    def start(self, x_B3HW: NDArray[np.float32]) -> Future[NDArray[np.float16]]:
        """Begin a batch; the result is float16 (B, C, H, T)."""
        run = self._run
        return self._pool.submit(lambda: (x_B3HW if run is None else run(x_B3HW)).astype(np.float16))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._pool.shutdown(cancel_futures=True)


@dataclass(frozen=True)
class Extraction:
    """What went into the cache: the key of each sample that has features, and why the others have none."""

    keys: Mapping[int, str]
    rejected: Mapping[int, Rejection]


@dataclass(frozen=True)
class _Cut:
    index: int
    key: str
    line: NDArray[np.uint8]


def extract(
    samples: Sequence[LineSample],
    cache: FeatureCache,
    backbone: Backbone,
    config: FeatureConfig,
    *,
    progress: Callable[[int], None],
) -> Extraction:
    """Compute the features of every sample that the cache does not hold yet.

    Args:
        samples: those of one image one after another, so that it is decoded once.
        progress: called with the number of samples done, now and then.

    Returns:
        Keys and rejections by position in ``samples``; each position is in exactly one of them.
    """
    keys: dict[int, str] = {}
    rejected: dict[int, Rejection] = {}
    waiting: dict[int, list[_Cut]] = {}
    running: deque[tuple[int, list[_Cut], Future[NDArray[np.float16]]]] = deque()

    def finish_oldest() -> None:
        width_px, cuts, future = running.popleft()
        for cut, features_CHT in zip(cuts, future.result(), strict=True):
            if cache.add(cut.key, width_px, features_CHT):
                keys[cut.index] = cut.key
            else:
                rejected[cut.index] = Rejection.CACHE_FULL
        progress(len(keys) + len(rejected))

    def send(width_px: int) -> None:
        cuts = waiting.pop(width_px)
        if len(running) > 2 * backbone.num_threads:
            finish_oldest()
        running.append((width_px, cuts, backbone.start(normalize_lines([cut.line for cut in cuts], width_px))))

    for cut in _cuts(samples, cache, keys, rejected, config):
        # The reader's own plan: zeros to the right of a line change its features, so they must be as many as in use.
        ((width_px, _),) = plan_batches([cut.line.shape[1]])
        waiting.setdefault(width_px, []).append(cut)
        if len(waiting[width_px]) == config.batch_size:
            send(width_px)
    for width_px in sorted(waiting):
        send(width_px)
    while running:
        finish_oldest()
    cache.flush()
    progress(len(samples))
    return Extraction(keys, rejected)


def _cuts(
    samples: Sequence[LineSample],
    cache: FeatureCache,
    keys: dict[int, str],
    rejected: dict[int, Rejection],
    config: FeatureConfig,
) -> Iterator[_Cut]:
    """Line images that still need features; known ones and broken pages are noted on the way."""
    for image, group in groupby(enumerate(samples), key=lambda entry: entry[1].image):
        entries = list(group)
        try:
            data = image.read_bytes()
        except OSError:
            rejected.update({index: Rejection.IMAGE_UNDECODABLE for index, _ in entries})
            continue
        digest = hashlib.sha256(data).hexdigest()
        missing: list[tuple[int, LineSample, str]] = []
        for index, sample in entries:
            key = sample.key(digest)
            if cache.find(key) is not None:
                keys[index] = key
            else:
                missing.append((index, sample, key))
        if not missing:
            continue
        try:
            page_HW3 = decode_image(data)
        except Fault:
            rejected.update({index: Rejection.IMAGE_UNDECODABLE for index, _, _ in missing})
            continue
        for index, sample, key in missing:
            line_HW3 = warp_line(page_HW3, sample.quad, margin=config.margin, max_width_px=config.max_width_px)
            if sample.distort:
                # The key seeds the distortion: the same copy looks the same in every run.
                line_HW3 = distort(line_HW3, np.random.default_rng(int(key[:16], 16)), inverted=_INVERTED)
            yield _Cut(index, key, fit_line(line_HW3))
