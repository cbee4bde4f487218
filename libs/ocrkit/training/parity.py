"""The written graph against the trained module: the proof that nothing drifted."""

import copy
from collections.abc import Sequence

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from libs.ocrkit.graph.module import OnnxModule

__all__ = ["PARITY_BOUND", "ParityBroken", "largest_difference"]


class ParityBroken(RuntimeError):
    """The written graph does not say what the trained module says; it must not be used."""


PARITY_BOUND = 1e-4
"""Largest allowed difference of probabilities between the trained weights, computed in float64, and ONNX Runtime's float32."""


def largest_difference(module: OnnxModule, graph: bytes, batches: Sequence[NDArray[np.float32]]) -> float:
    """Largest absolute difference of the outputs over all batches.

    The module computes in float64, so that the difference is the written graph's alone: in float32 its own rounding was most of it
    (at most 4e-5 on 100 lines of receipts, 2e-5 against float64).

    Args:
        module: in torch, on the CPU.
        graph: ONNX, run in ONNX Runtime.
        batches: inputs.
    """
    exact = copy.deepcopy(module).double()
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    worst = 0.0
    for x in batches:
        with torch.no_grad():
            ours = exact(torch.from_numpy(x).double()).numpy()
        theirs = session.run([module.output_name], {module.input_name: x})[0]
        worst = max(worst, float(np.abs(ours - theirs).max()))
    return worst
