"""The written graph against the trained module: the proof that nothing drifted."""

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
"""Largest allowed difference of class probabilities between torch and ONNX Runtime, both in float32."""


def largest_difference(module: OnnxModule, graph: bytes, batches: Sequence[NDArray[np.float32]]) -> float:
    """Largest absolute difference of the outputs over all batches.

    Args:
        module: in torch, on the CPU.
        graph: ONNX, run in ONNX Runtime.
        batches: inputs.
    """
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    worst = 0.0
    for x in batches:
        with torch.no_grad():
            ours = module(torch.from_numpy(x)).numpy()
        theirs = session.run([module.output_name], {module.input_name: x})[0]
        worst = max(worst, float(np.abs(ours - theirs).max()))
    return worst
