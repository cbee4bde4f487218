"""Graphs in 8 bits."""

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from libs.ocrkit.graph.quantize import quantize

RNG = np.random.default_rng(0)
FIRST = RNG.normal(size=(8, 3, 3, 3)).astype(np.float32)
SECOND = RNG.normal(size=(4, 8, 1, 1)).astype(np.float32)


def graph(*, constants: bool) -> bytes:
    """Two convolutions, opset 11 as the base models have it; weights as initializers or as Constant nodes."""
    weights = {"first": FIRST, "second": SECOND}
    nodes: list[Any] = [
        helper.make_node("Conv", ["x", "first"], ["a"], name="conv.0", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"], name="relu.0"),
        helper.make_node("Conv", ["b", "second"], ["y"], name="conv.1"),
    ]
    tensors = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    if constants:
        nodes = [helper.make_node("Constant", [], [tensor.name], value=tensor) for tensor in tensors] + nodes
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, "height", "width"])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 4, "height", "width"])
    made = helper.make_graph(nodes, "two", [x], [y], initializer=[] if constants else tensors)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 11)], ir_version=8)
    helper.set_model_props(model, {"character": "a\nb\n"})
    return bytes(model.SerializeToString())


def run(model: bytes, x: NDArray[np.float32]) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": x})[0])


def kinds(model: bytes) -> dict[str, int]:
    return {tensor.name: tensor.data_type for tensor in onnx.load_model_from_string(model).graph.initializer}


@pytest.mark.parametrize("constants", [False, True])
def test_eight_bits_are_close_and_smaller(constants: bool) -> None:
    whole = graph(constants=constants)
    batches = [RNG.normal(size=(2, 3, 16, width)).astype(np.float32) for width in (16, 24, 40)]
    small = quantize(whole, batches)
    x = batches[1]
    exact = run(whole, x)
    assert np.abs(run(small, x) - exact).max() < 0.03 * np.abs(exact).max()
    assert [tensor for tensor in kinds(small).values() if tensor == TensorProto.INT8]
    assert not {"first", "second"} & kinds(small).keys()


def test_what_lies_behind_a_tensor_stays_as_it_is() -> None:
    small = quantize(graph(constants=False), [RNG.normal(size=(1, 3, 8, 8)).astype(np.float32)], until="b")
    assert "first" not in kinds(small)
    assert kinds(small)["second"] == TensorProto.FLOAT


def test_metadata_stays() -> None:
    small = onnx.load_model_from_string(quantize(graph(constants=False), [np.zeros((1, 3, 8, 8), np.float32)]))
    assert {entry.key: entry.value for entry in small.metadata_props} == {"character": "a\nb\n"}
