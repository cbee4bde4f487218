"""How much of the recognizer is trained, and how much of it stays as it is."""

import time
from collections.abc import Callable, Sequence
from enum import StrEnum
from functools import cache

import numpy as np
import openvino
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from libs.ocrkit.graph.module import OnnxModule
from libs.ocrkit.graph.quantize import quantize
from libs.ocrkit.graph.surgery import cut_until
from libs.ocrkit.graph.writeback import write_back
from libs.ocrkit.preprocess import LINE_HEIGHT_PX, MAX_LINE_WIDTH_PX, line_size
from libs.ocrkit.training.data import LineSample
from libs.ocrkit.training.losses import ctc_loss

__all__ = ["LEARNING_RATES", "Depth", "PartlyFrozen", "choose_depth"]

_LATE_SHARE = 0.35
_SHARE_OF_LOOP = 0.7
_TRIED_LINES, _TRIED_WIDTH_PX = 8, 256


class Depth(StrEnum):
    """What is trained: neck and head; with them the last third of the backbone's weights; everything."""

    FAST = "fast"
    DEEP = "deep"
    FULL = "full"


LEARNING_RATES = {Depth.FAST: 1e-3, Depth.DEEP: 5e-4, Depth.FULL: 3e-4}
"""At their highest; weights that were trained on millions of lines move gently."""


_LEAST_PASSES = {Depth.FULL: 8, Depth.DEEP: 4}
"""With fewer a shallower training comes further: handwriting, 468 lines, 330 s, five passes deep 0.278 of CER over pages, fast 0.295."""

_LEAST_LINES = {Depth.FULL: 2000, Depth.DEEP: 300}
"""With fewer so many weights learn the lines by heart: 65 lines, full, read worse from the second pass on."""


class PartlyFrozen:
    """A recognizer whose first part stays as it is, in the 8 bits in which it will read; what lies behind learns from its features.

    Args:
        graph: ONNX, with the head to be trained.
        depth: how much is trained.

    Raises:
        GraphUnsupported: it cannot be trained here.
    """

    def __init__(self, graph: bytes, depth: Depth) -> None:
        self.depth = depth
        self._graph = graph
        # On a CPU up to twice as fast as the usual order of axes; the stubs of torch do not know the argument.
        self.module = OnnxModule(graph).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._end_of_backbone = self.module.output_of("AveragePool")
        match depth:
            case Depth.FAST:
                self.cut_at = self._end_of_backbone
            case Depth.DEEP:
                self.cut_at = self.module.waist(self._end_of_backbone, _LATE_SHARE)
            case Depth.FULL:
                self.cut_at = self.module.input_name
        self._weights = dict(self.module.named_weights(after=self.cut_at))
        for name, weight in self.module.named_weights():
            weight.requires_grad_(name in self._weights)
        self._is_bf16 = depth is not Depth.FAST and "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        self.num_steps = cache(self._num_steps)

    def frozen(self, calibration: Sequence[NDArray[np.float32]]) -> bytes | None:
        """The first part as an ONNX graph in 8 bits, its scales measured on the given lines; None where everything is trained."""
        if self.cut_at == self.module.input_name:
            return None
        return cut_until(quantize(self._graph, calibration, until=self.cut_at), self.cut_at)

    @property
    def weights(self) -> dict[str, nn.Parameter]:
        """What is trained, by name."""
        return self._weights

    def __call__(self, features_BCHT: Tensor) -> Tensor:
        """Logits (B, T, classes) of what the first part made of lines."""
        contiguous = features_BCHT.contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self._is_bf16):
            logits_BTC: Tensor = self.module.forward_from(self.cut_at, contiguous, until=self.module.logits_name)
        return logits_BTC.float()

    def written(self) -> bytes:
        """The graph with the trained weights."""
        return write_back(self._graph, self.module)

    def in_int8(self, written: bytes, calibration: Sequence[NDArray[np.float32]]) -> bytes:
        """The written graph with its backbone in 8 bits; neck and head are a hundredth of the work and stay as they are."""
        return quantize(written, calibration, until=self._end_of_backbone)

    @torch.no_grad()
    def _num_steps(self, width_px: int) -> int:
        """Time steps that a line of this width gets."""
        blank = torch.zeros(1, 3, LINE_HEIGHT_PX, width_px)
        return int(self.module.forward_until(self.module.logits_name, blank).shape[1])


def choose_depth(graph: bytes, samples: Sequence[LineSample], margin: float, *, seconds: float, say: Callable[[str], None]) -> Depth:
    """The most that can be trained often enough in the time, with lines enough not to be learnt by heart.

    Args:
        graph: ONNX, with the head to be trained.
        samples: everything that will be learnt from.
        margin: around each line, in heights of it.
        seconds: left for features and training.
        say: told what was chosen and why.
    """
    num_lines = sum(sample.copy == 0 for sample in samples)
    megapixels = sum(_width_px(sample, margin) for sample in samples) * LINE_HEIGHT_PX / 1e6
    for depth in (Depth.FULL, Depth.DEEP):
        if num_lines < _LEAST_LINES[depth]:
            say(f"not {depth}: {num_lines} lines would be learnt by heart, {_LEAST_LINES[depth]} are needed")
            continue
        passes = _SHARE_OF_LOOP * seconds / (megapixels * _seconds_per_megapixel(graph, depth))
        if passes >= _LEAST_PASSES[depth]:
            say(f"mode {depth}: the time allows about {passes:.0f} passes over {len(samples)} lines and copies")
            return depth
        say(f"not {depth}: the time allows {passes:.1f} passes over {len(samples)} lines and copies, {_LEAST_PASSES[depth]} are needed")
    say("mode fast: the backbone stays as it is, neck and head learn from its features")
    return Depth.FAST


def _width_px(sample: LineSample, margin: float) -> float:
    width, height = sorted(line_size(sample.quad), reverse=True)
    return min(MAX_LINE_WIDTH_PX, LINE_HEIGHT_PX * (width / max(height, 1.0) + 2 * margin) / (1 + 2 * margin))


def _seconds_per_megapixel(graph: bytes, depth: Depth) -> float:
    """How long a training step takes for each million pixels of line, measured once warm."""
    recognizer = PartlyFrozen(graph, depth)
    lines_B3HW = torch.zeros(_TRIED_LINES, 3, LINE_HEIGHT_PX, _TRIED_WIDTH_PX)
    with torch.no_grad():
        features = recognizer.module.forward_until(recognizer.cut_at, lines_B3HW) if depth is not Depth.FULL else lines_B3HW
    seconds = 0.0
    for _ in range(2):
        started_at = time.monotonic()
        torch.autograd.backward(ctc_loss(recognizer(features), ((1, 2, 3),) * _TRIED_LINES))
        seconds = time.monotonic() - started_at
    return seconds / (lines_B3HW[:, 0].numel() / 1e6)
