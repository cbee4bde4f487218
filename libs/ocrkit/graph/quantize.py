"""Graphs in 8-bit integers: weights and activations of the heavy operators, by scales measured on real inputs."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, version_converter
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from libs.ocrkit.graph.surgery import nodes_until

__all__ = ["quantize"]

_OPSET = 13
"""The first in which scales may differ from channel to channel."""

_PREPARED = {"onnx.quant.pre_process": "onnxruntime.quant"}
"""Without this entry ONNX Runtime asks, in a warning, for a clean-up that these graphs do not need."""

_HEAVY = ("Conv", "MatMul", "ConvTranspose")


def quantize(model_bytes: bytes, batches: Sequence[NDArray[np.float32]], *, until: str | None = None) -> bytes:
    """The same graph with 8-bit convolutions and matrix products, written as pairs of QuantizeLinear and DequantizeLinear.

    Weights are symmetric with a scale for each output channel, activations asymmetric between the smallest and the largest value
    that any of the batches gives. Everything else stays in floating point, and so do all names of tensors.

    Args:
        model_bytes: a graph with one input.
        batches: real inputs; a few dozen are enough.
        until: a tensor; operators behind it keep floating point, weights included. None quantizes the whole graph.

    Source: the scheme is ONNX Runtime's static quantization; engines other than ONNX Runtime read it as their own.
    """
    model = version_converter.convert_version(onnx.load_model_from_string(model_bytes), _OPSET)
    _lift_constants(model)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    helper.set_model_props(model, {**metadata, **_PREPARED})
    chosen = [node.name for node in nodes_until(model, until or model.graph.output[0].name) if node.op_type in _HEAVY]
    with tempfile.TemporaryDirectory(prefix="quantize-") as folder:
        written = Path(folder) / "int8.onnx"
        quantize_static(
            model,
            written,
            _Batches(model.graph.input[0].name, batches),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(_HEAVY),
            nodes_to_quantize=chosen,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            # Engines join an operator with the scales of its inputs; scales behind it would only be computed and thrown away.
            extra_options={"OpTypesToExcludeOutputQuantization": list(_HEAVY), "WeightSymmetric": True},
        )
        quantized = onnx.load_model(written)
    helper.set_model_props(quantized, metadata)
    return quantized.SerializeToString()


def _lift_constants(model: onnx.ModelProto) -> None:
    """Constant nodes become initializers: only those are taken for weights."""
    kept = []
    for node in model.graph.node:
        value = (
            next((attribute.t for attribute in node.attribute if attribute.name == "value"), None) if node.op_type == "Constant" else None
        )
        if value is None:
            kept.append(node)
        else:
            tensor = onnx.TensorProto()
            tensor.CopyFrom(value)
            tensor.name = node.output[0]
            model.graph.initializer.append(tensor)
    del model.graph.node[:]
    model.graph.node.extend(kept)


class _Batches(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, input_name: str, batches: Sequence[NDArray[np.float32]]) -> None:
        self._feeds = iter([{input_name: batch} for batch in batches])

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        return next(self._feeds, None)
