"""From the bytes of an image to its text, with one bundle in one engine."""

import time
from dataclasses import dataclass
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray

from libs.ocrkit.bundle import Bundle, BundleInvalid, open_bundle
from libs.ocrkit.engines.engine import Engine, load_engine
from libs.ocrkit.image_io import Scan
from libs.ocrkit.reader import Reader, ReadLine
from libs.runtime.errors import ForwardFailed
from libs.runtime.logs import get_logger
from services.inference.instance.orders import Orders

log = get_logger()


@dataclass(frozen=True)
class Reading:
    """The text of one image and where the time went.

    Args:
        lines: in reading order, quads in pixels of the upright image.
        decode_ms: bytes to pixels.
        detect_ms: up to the first line that goes to the recognizer.
        recognize_ms: the rest.
    """

    lines: list[ReadLine]
    width_px: int
    height_px: int
    decode_ms: float
    detect_ms: float
    recognize_ms: float


class PageReader:
    """Decodes and reads; not for two threads at once: one stopwatch runs."""

    def __init__(self, bundle: Bundle, engine: Engine, *, max_pixels: int) -> None:
        self.bundle_digest = bundle.digest
        self._stopwatch = _StopwatchEngine(engine)
        self._reader = Reader(bundle, self._stopwatch)
        self._max_pixels = max_pixels

    @classmethod
    def load(cls, orders: Orders) -> Self:
        """Open and verify the bundle and load it into the engine.

        Raises:
            BundleInvalid: it is not the bundle that was ordered, or the engine refuses a graph.
        """
        cv2.setNumThreads(orders.num_threads)
        bundle = open_bundle(orders.bundle_path)
        if bundle.digest != orders.bundle_digest:
            raise BundleInvalid(f"{orders.bundle_path} is not the bundle {orders.bundle_digest} that was ordered.", bundle=bundle.digest)
        engine = load_engine(bundle, engine=orders.engine, num_threads=orders.num_threads)
        return cls(bundle, engine, max_pixels=orders.max_image_pixels)

    @property
    def engine_name(self) -> str:
        """Engine and precision."""
        return self._stopwatch.name

    def warm_up(self) -> str:
        """Prepare the engine for the usual sizes of pages and lines.

        A graph that fails here does not stop the instance: it may fail on these shapes alone, restarting would not heal it, and a
        caller is better served by "the model failed" (2003) than by "nobody is there" (2002), which asks to try again.

        Returns:
            What the model said; empty when all went well.
        """
        try:
            self._reader.warm_up()
        except ForwardFailed as fault:
            cause = fault.metadata.get("cause", fault.message)
            log.warning("warm_up_failed", cause=cause)
            return cause
        return ""

    def read(self, data: bytes) -> Reading:
        """Read one image.

        Raises:
            ImageUndecodable: no JPG, PNG or BMP, or a damaged one.
            TooLarge: more pixels than allowed.
            ForwardFailed: the model could not be run on it.
        """
        began = time.monotonic()
        scan = Scan(data, max_pixels=self._max_pixels)
        self._stopwatch.first_recognized = None
        lines = self._reader.read_scan(scan)
        ended = time.monotonic()
        found = self._stopwatch.first_recognized or ended
        return Reading(lines, scan.width_px, scan.height_px, _ms(scan.seconds), _ms(found - began - scan.seconds), _ms(ended - found))


class _StopwatchEngine:
    """An engine that notes when the first batch of lines comes: the border between finding and recognizing."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.first_recognized: float | None = None

    @property
    def name(self) -> str:
        return self._engine.name

    @property
    def num_parallel(self) -> int:
        return self._engine.num_parallel

    def detect(self, x_B3HW: NDArray[np.float32]) -> NDArray[np.float32]:
        return self._engine.detect(x_B3HW)

    def recognize(self, x_B3HW: NDArray[np.float32]) -> NDArray[np.float32]:
        self.first_recognized = self.first_recognized or time.monotonic()
        return self._engine.recognize(x_B3HW)

    def close(self) -> None:
        self._engine.close()


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)
