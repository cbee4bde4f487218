"""Reading a page: detector, crops, recognizer, text in reading order."""

import math
from bisect import bisect_left
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from libs.ocrkit.bundle import Bundle
from libs.ocrkit.confidence import calibrated
from libs.ocrkit.engines.engine import Engine
from libs.ocrkit.geometry import Quad, clip_quad, quad_area, reading_order
from libs.ocrkit.image_io import Scan
from libs.ocrkit.postprocess.columns import StepGrid, cut_characters, cut_columns
from libs.ocrkit.postprocess.ctc import Piece, decode_pieces, joined
from libs.ocrkit.postprocess.db import boxes_from_prob_map
from libs.ocrkit.preprocess import (
    LINE_WIDTHS_PX,
    detector_input,
    detector_scale,
    fit_line,
    fitted_width,
    is_vertical,
    line_size,
    normalize_lines,
    warp_line,
)

_LINES_PER_BATCH, _FULL_BATCH_WIDTH_PX = 4, 256
"""Lines up to this width are read four at a time, a third faster than alone; wider ones alone, which is as fast."""

_USUAL_PAGE_PIXELS, _USUAL_PAGE_ASPECT, _USUAL_WIDTH_PX = 1_000_000, 1.414, 960
"""What an engine is prepared for: a page of the proportions of A4, lines up to twenty heights long."""

_UNUSUALLY_SMALL = 0.05
"""Share of the lines of a large page that may be less high on it than the recognizer wants them."""

_VERTICAL_TURN_BELOW = 0.9


@dataclass(frozen=True, eq=False)
class ReadCharacter:
    """One character of a line: its probability in [0, 1] and where it stands, in pixels of the upright image."""

    text: str
    conf: float
    quad: Quad


@dataclass(frozen=True, eq=False)
class ReadLine:
    """One line of text that was read.

    Args:
        text: never empty.
        conf: in [0, 1], the probability that the whole line is right where the model's confidence was calibrated.
        quad: pixels of the upright image, clockwise from the corner where the text begins.
        characters: of ``text``, in order; empty where they were not asked for.
    """

    text: str
    conf: float
    quad: Quad
    characters: tuple[ReadCharacter, ...] = ()

    def scaled(self, factors_2: NDArray[np.float64]) -> Self:
        """The same line on a page whose width and height are multiplied."""
        characters = tuple(replace(character, quad=character.quad * factors_2) for character in self.characters)
        return replace(self, quad=self.quad * factors_2, characters=characters)


class Reader:
    """Reads with one bundle through one engine; like the engine it may be used from several threads."""

    def __init__(self, bundle: Bundle, engine: Engine) -> None:
        self._manifest = bundle.manifest
        self._charset = bundle.charset
        self._engine = engine
        # Threads that end when the reader does.
        self._pool = ThreadPoolExecutor(engine.num_parallel, thread_name_prefix="recognize") if engine.num_parallel > 1 else None
        self._map = map if self._pool is None else self._pool.map

    def warm_up(self) -> None:
        """Run both graphs once on blank input of the usual sizes: engines prepare themselves for every size they see first.

        Raises:
            ForwardFailed: a graph could not be run.
        """
        height = math.isqrt(round(_USUAL_PAGE_PIXELS * _USUAL_PAGE_ASPECT))
        self.find_lines(np.full((height, round(height / _USUAL_PAGE_ASPECT), 3), 255, dtype=np.uint8))
        height_px = self._manifest.recognizer.height_px
        for width_px in (width_px for width_px in LINE_WIDTHS_PX if width_px <= _USUAL_WIDTH_PX):
            lines_B3HW = np.zeros((_num_lines(width_px), 3, height_px, width_px), dtype=np.float32)
            # As many at once as while reading: each stream prepares itself.
            list(self._map(self._engine.recognize, [lines_B3HW] * self._engine.num_parallel))

    def read_scan(self, scan: Scan, *, characters: bool = False) -> list[ReadLine]:
        """Find and read all text of a page in a file, decoded no larger than finding and then reading its lines takes.

        Args:
            scan: the page; it may have been decoded before.
            characters: whether each line comes with its characters.

        Returns:
            See ``read``; quads are in pixels of the whole page.

        Raises:
            ImageUndecodable: the file is cut off or damaged.
            ForwardFailed: the model could not be run.
        """
        params = self._manifest.postprocess
        whole = np.array([scan.width_px, scan.height_px], dtype=np.float64)
        small_HW3 = scan.pixels(detector_scale(scan.width_px, scan.height_px, params))
        quads = [quad * (whole / small_HW3.shape[1::-1]) for quad in self.find_lines(small_HW3)]
        heights = sorted(min(line_size(quad)) for quad in quads)
        smallest = heights[int(_UNUSUALLY_SMALL * len(heights))] if heights else math.inf
        cut_out_px = smallest * (1 + 2 * params.crop_margin)
        page_HW3 = scan.pixels(min(1.0, self._manifest.recognizer.height_px / cut_out_px))
        reduced_by = whole / page_HW3.shape[1::-1]
        lines = self._read_found(page_HW3, [quad / reduced_by for quad in quads], characters=characters)
        return [line.scaled(reduced_by) for line in lines]

    def read(self, image_HW3: NDArray[np.uint8], *, characters: bool = False) -> list[ReadLine]:
        """Find and read all text of a page.

        Args:
            image_HW3: uint8, blue-green-red, upright, any size from 1 x 1.
            characters: whether each line comes with its characters.

        Returns:
            Lines in reading order; those without text or below the model's confidence limit are left out.

        Raises:
            ForwardFailed: the model could not be run.
        """
        return self._read_found(image_HW3, self.find_lines(image_HW3), characters=characters)

    def _read_found(self, image_HW3: NDArray[np.uint8], quads: Sequence[Quad], *, characters: bool) -> list[ReadLine]:
        params = self._manifest.postprocess
        lines = [
            ReadLine(piece.text, calibrated(piece.conf, params), part, line.characters(piece, quad) if characters else ())
            for quad, line in zip(quads, self._read_quads(image_HW3, quads), strict=True)
            for piece, part in zip(line.pieces, line.cut(quad), strict=True)
            if piece.conf >= params.min_text_conf
        ]
        return [lines[index] for index in reading_order([line.quad for line in lines])]

    def find_lines(self, image_HW3: NDArray[np.uint8]) -> list[Quad]:
        """The quads of all lines of a page, clipped to it, surest first.

        Raises:
            ForwardFailed: the model could not be run.
        """
        spec, params = self._manifest.detector, self._manifest.postprocess
        height, width = image_HW3.shape[:2]
        x_13HW, scale = detector_input(image_HW3, params, mean=spec.mean, std=spec.std)
        (prob_HW,) = self._engine.detect(x_13HW)
        clipped = (clip_quad(found.quad / scale, width, height)[0] for found in boxes_from_prob_map(prob_HW, params))
        return [quad for quad in clipped if quad_area(quad) >= 1.0]

    def read_lines(self, image_HW3: NDArray[np.uint8], quads: Sequence[Quad]) -> list[tuple[str, float]]:
        """Read given lines of a page.

        Returns:
            Text (may be empty) and confidence of each quad, in their order.

        Raises:
            ForwardFailed: the model could not be run.
        """
        return [self._joined(line) for line in self._read_quads(image_HW3, quads)]

    def read_crops(self, crops: Sequence[NDArray[np.uint8]]) -> list[tuple[str, float]]:
        """Read lines that were cut out already: uint8 (48, W, 3) each, as ``warp_line`` gives them.

        Raises:
            ForwardFailed: the model could not be run.
        """
        return [self._joined(line) for line in self._read(crops, [self._manifest.postprocess.turn_below] * len(crops))]

    def _joined(self, line: "_Line") -> tuple[str, float]:
        text, conf = joined(line.pieces)
        return text, calibrated(conf, self._manifest.postprocess) if text else 0.0

    def _read_quads(self, image_HW3: NDArray[np.uint8], quads: Sequence[Quad]) -> list["_Line"]:
        spec, params = self._manifest.recognizer, self._manifest.postprocess

        def cut(quad: Quad) -> NDArray[np.uint8]:
            return warp_line(image_HW3, quad, margin=params.crop_margin, height_px=spec.height_px, max_width_px=spec.max_width_px)

        crops = list(self._map(cut, quads))
        # Text on its side runs downwards or upwards, and nothing but reading it tells which.
        turn_below = [max(params.turn_below, _VERTICAL_TURN_BELOW) if is_vertical(quad) else params.turn_below for quad in quads]
        return self._read(crops, turn_below)

    def _read(self, crops: Sequence[NDArray[np.uint8]], turn_below: Sequence[float]) -> list["_Line"]:
        """Each line as it stands, or upside down where its confidence is below a limit and that is surer."""
        lines = self._read_once(crops)
        doubtful = [index for index, line in enumerate(lines) if line.conf < turn_below[index]]
        turned = self._read_once([np.ascontiguousarray(crops[index][::-1, ::-1]) for index in doubtful])
        for index, line in zip(doubtful, turned, strict=True):
            if line.conf > lines[index].conf:
                lines[index] = replace(line, is_turned=True)
        return lines

    def _read_once(self, crops: Sequence[NDArray[np.uint8]]) -> list["_Line"]:
        lines = [_Line((), StepGrid(0.0, 0.0))] * len(crops)
        margin = self._manifest.postprocess.crop_margin

        def read(batch: tuple[int, list[int]]) -> tuple[float, list[list[Piece]]]:
            width_px, indices = batch
            lines_B3HW = normalize_lines([fit_line(crops[index]) for index in indices], width_px, _num_lines(width_px))
            probs_BTC = self._engine.recognize(lines_B3HW)[: len(indices)]
            return probs_BTC.shape[1] / width_px, decode_pieces(probs_BTC, self._charset)

        widths_px = [fitted_width(crop.shape[1]) for crop in crops]
        batches = plan_batches(widths_px)
        for (_, indices), (steps_per_px, read_lines) in zip(batches, self._map(read, batches), strict=True):
            for index, pieces in zip(indices, read_lines, strict=True):
                height_px, line_width_px = crops[index].shape[:2]
                num_steps = steps_per_px * widths_px[index]
                steps_per_height = num_steps / line_width_px * height_px / (1 + 2 * margin)
                before = margin * steps_per_height
                lines[index] = _Line(tuple(pieces), StepGrid(steps_per_height, num_steps - 2 * before, before))
        return lines


@dataclass(frozen=True)
class _Line:
    """What a line says, where its time steps lie, and whether it was read upside down."""

    pieces: tuple[Piece, ...]
    grid: StepGrid
    is_turned: bool = False

    @property
    def conf(self) -> float:
        return joined(self.pieces)[1]

    def cut(self, quad: Quad) -> list[Quad]:
        return cut_columns(self._as_read(quad), self.pieces, self.grid)

    def characters(self, piece: Piece, quad: Quad) -> tuple[ReadCharacter, ...]:
        parts = cut_characters(self._as_read(quad), piece, self.grid)
        return tuple(
            ReadCharacter(character, min(1.0, conf), part) for character, conf, part in zip(piece.text, piece.confs, parts, strict=True)
        )

    def _as_read(self, quad: Quad) -> Quad:
        """The box from the corner where the text begins."""
        return np.roll(quad, (2 if self.is_turned else 0) - is_vertical(quad), axis=0)


def plan_batches(widths_px: Sequence[int]) -> list[tuple[int, list[int]]]:
    """Group lines of like width into batches.

    Args:
        widths_px: of the lines, as ``fit_line`` leaves them.

    Returns:
        Width of the batch, the least of ``LINE_WIDTHS_PX`` that holds its lines (above all of them a multiple of 640), and their
        indices, the most work first; each line is in exactly one batch, with none that is twice as wide.
    """
    left = sorted(range(len(widths_px)), key=lambda index: -widths_px[index])
    batches: list[tuple[int, list[int]]] = []
    while left:
        widest_px = widths_px[left[0]]
        width_px = _batch_width(widest_px)
        alike = [index for index in left[: _num_lines(width_px)] if 2 * widths_px[index] > widest_px]
        batches.append((width_px, alike))
        del left[: len(alike)]
    return sorted(batches, key=lambda batch: -batch[0] * _num_lines(batch[0]))


def _num_lines(width_px: int) -> int:
    return _LINES_PER_BATCH if width_px <= _FULL_BATCH_WIDTH_PX else 1


def _batch_width(width_px: int) -> int:
    place = bisect_left(LINE_WIDTHS_PX, width_px)
    return LINE_WIDTHS_PX[place] if place < len(LINE_WIDTHS_PX) else -(-width_px // 640) * 640
