"""A bundle of a few kilobytes: valid graphs that no one would read with."""

from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from libs.ocrkit.bundle import Bundle, write_bundle
from libs.ocrkit.charset import Charset
from libs.ocrkit.manifest import CharsetSpec, GraphSpec, Manifest, RecognizerSpec


def write_tiny_bundle(path: Path, *, name: str = "tiny", characters: str = "abc ", fails_when_run: bool = False) -> Bundle:
    """Write it; ``fails_when_run`` makes a recognizer that every checker accepts and no engine can run on an image."""
    charset = Charset(tuple(characters))
    num_classes = charset.num_classes
    detector = _graph("ReduceMean", ["x"], [], ["batch", 1, "height", "width"], axes=[1], keepdims=1)
    # The number of elements of a real input never fits the second shape; graphs are typed by rank only.
    shape = np.array([1, 7, num_classes] if fails_when_run else [0, -1, num_classes], dtype=np.int64)
    recognizer = _graph("Reshape", ["x", "shape"], [numpy_helper.from_array(shape, "shape")], ["batch", "steps", num_classes])
    manifest = Manifest(
        name=name,
        detector=GraphSpec(file="det.onnx", input_name="x", output_name="y"),
        recognizer=RecognizerSpec(file="rec.onnx", input_name="x", output_name="y"),
        charset=CharsetSpec.of(charset),
        code_version="0.0.1",
    )
    return write_bundle(path, manifest, {"det.onnx": detector, "rec.onnx": recognizer})


def _graph(operator: str, inputs: list[str], weights: list[TensorProto], out_shape: list[str | int], **attributes: Any) -> bytes:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, "height", "width"])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, out_shape)
    graph = helper.make_graph([helper.make_node(operator, inputs, ["y"], **attributes)], "tiny", [x], [y], initializer=weights)
    return bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=8).SerializeToString())
