"""Each operator against ONNX Runtime, on graphs of one to nine nodes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from libs.ocrkit.graph.faults import GraphUnsupported
from libs.ocrkit.graph.module import OnnxModule
from libs.ocrkit.graph.writeback import write_back

Constants = Mapping[str, NDArray[Any]]
RNG = np.random.default_rng(7)
IMAGE = RNG.standard_normal((2, 6, 9, 13)).astype(np.float32)
ROWS = RNG.standard_normal((2, 5, 8)).astype(np.float32)


def weights(*shape: int) -> NDArray[np.float32]:
    return RNG.standard_normal(shape).astype(np.float32)


def ints(*values: int) -> NDArray[np.int64]:
    return np.array(values, dtype=np.int64)


def scalar(value: float) -> NDArray[np.float32]:
    return np.array(value, dtype=np.float32)


def model_of(nodes: Sequence[onnx.NodeProto], x: NDArray[np.float32], constants: Constants, opset: int) -> bytes:
    graph = helper.make_graph(
        list(nodes),
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [f"d{axis}" for axis in range(x.ndim)])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return model.SerializeToString()


def difference(model_bytes: bytes, x: NDArray[np.float32], *, fused: bool) -> float:
    """Largest distance between the module and ONNX Runtime, before and after the weights went through ``write_back``."""
    module = OnnxModule(model_bytes, fused=fused)
    with torch.no_grad():
        for weight in module.parameters():
            weight.add_(0.01)
        ours = module(torch.from_numpy(x)).numpy()
    theirs = onnxruntime.InferenceSession(write_back(model_bytes, module)).run(None, {"x": x})[0]
    assert ours.shape == theirs.shape
    return float(np.abs(ours - theirs).max())


def node(op: str, *inputs: str, to: str = "y", **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op, list(inputs), [to], **attributes)


CONV: dict[str, Any] = {"kernel_shape": [3, 3]}
CASES: dict[str, tuple[list[onnx.NodeProto], NDArray[np.float32], Constants, int]] = {
    "conv strided": (
        [node("Conv", "x", "w", "b", **CONV, strides=[2, 1], pads=[1, 1, 1, 1])],
        IMAGE,
        {"w": weights(4, 6, 3, 3), "b": weights(4)},
        11,
    ),
    "conv uneven pads": ([node("Conv", "x", "w", **CONV, pads=[0, 1, 1, 2])], IMAGE, {"w": weights(4, 6, 3, 3)}, 11),
    "conv depthwise": ([node("Conv", "x", "w", **CONV, group=6, dilations=[2, 1])], IMAGE, {"w": weights(6, 1, 3, 3)}, 11),
    "conv same upper": ([node("Conv", "x", "w", kernel_shape=[2, 2], auto_pad="SAME_UPPER")], IMAGE, {"w": weights(4, 6, 2, 2)}, 11),
    "conv same upper strided": (
        [node("Conv", "x", "w", kernel_shape=[4, 4], strides=[2, 3], auto_pad="SAME_UPPER")],
        IMAGE,
        {"w": weights(4, 6, 4, 4)},
        11,
    ),
    "conv same lower": ([node("Conv", "x", "w", kernel_shape=[2, 2], auto_pad="SAME_LOWER")], IMAGE, {"w": weights(4, 6, 2, 2)}, 11),
    "conv with added bias": (
        [node("Conv", "x", "w", to="c", **CONV), node("Add", "c", "b")],
        IMAGE,
        {"w": weights(4, 6, 3, 3), "b": weights(1, 4, 1, 1)},
        11,
    ),
    "conv transpose": (
        [node("ConvTranspose", "x", "w", "b", kernel_shape=[2, 2], strides=[2, 2])],
        IMAGE,
        {"w": weights(6, 4, 2, 2), "b": weights(4)},
        11,
    ),
    "max pool same upper": ([node("MaxPool", "x", kernel_shape=[2, 2], strides=[1, 1], auto_pad="SAME_UPPER")], IMAGE, {}, 11),
    "max pool padded": ([node("MaxPool", "x", **CONV, strides=[2, 2], pads=[1, 1, 1, 1])], IMAGE, {}, 11),
    "average pool": ([node("AveragePool", "x", kernel_shape=[3, 2], strides=[3, 2])], IMAGE, {}, 11),
    "average pool padded": ([node("AveragePool", "x", **CONV, pads=[1, 1, 1, 1])], IMAGE, {}, 11),
    "global average pool": ([node("GlobalAveragePool", "x")], IMAGE, {}, 11),
    "batch norm": (
        [node("BatchNormalization", "x", "s", "b", "m", "v", epsilon=1e-4)],
        IMAGE,
        {"s": weights(6), "b": weights(6), "m": weights(6), "v": np.abs(weights(6)) + 0.5},
        11,
    ),
    "resize nearest": (
        [node("Resize", "x", "roi", "s", mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor")],
        IMAGE,
        {"roi": weights(0), "s": np.array([1, 1, 2, 2], dtype=np.float32)},
        11,
    ),
    "resize linear": (
        [node("Resize", "x", "", "", "s", mode="linear", coordinate_transformation_mode="half_pixel")],
        IMAGE,
        {"s": ints(2, 6, 18, 20)},
        13,
    ),
    "gelu": (
        [
            node("Div", "x", "r", to="d"),
            node("Erf", "d", to="e"),
            node("Add", "e", "one", to="a"),
            node("Mul", "x", "a", to="m"),
            node("Mul", "m", "h"),
        ],
        IMAGE,
        {"r": scalar(1.4142135), "one": scalar(1.0), "h": scalar(0.5)},
        11,
    ),
    "hard swish": (
        [
            node("Add", "x", "three", to="a"),
            node("Clip", "a", "zero", "six", to="c"),
            node("Mul", "x", "c", to="m"),
            node("Div", "m", "six"),
        ],
        IMAGE * 4,
        {"three": scalar(3.0), "zero": scalar(0.0), "six": scalar(6.0)},
        11,
    ),
    "silu": ([node("Mul", "x", "one", to="o"), node("Sigmoid", "o", to="s"), node("Mul", "x", "s")], ROWS, {"one": scalar(1.0)}, 11),
    "layer norm": (
        [
            node("Identity", "x", to="i"),
            node("ReduceMean", "i", to="m", axes=[-1]),
            node("Sub", "i", "m", to="c"),
            node("Pow", "c", "two", to="p"),
            node("ReduceMean", "p", to="v", axes=[-1]),
            node("Add", "v", "eps", to="ve"),
            node("Sqrt", "ve", to="r"),
            node("Div", "c", "r", to="n"),
            node("Mul", "n", "w", to="nw"),
            node("Add", "nw", "b"),
        ],
        ROWS,
        {"two": scalar(2.0), "eps": scalar(1e-5), "w": weights(8), "b": weights(8)},
        11,
    ),
    "linear": ([node("MatMul", "x", "w", to="m"), node("Add", "m", "b")], ROWS, {"w": weights(8, 3), "b": weights(3)}, 11),
    "gemm": ([node("Gemm", "x", "w", "b", transB=1, alpha=0.5, beta=2.0)], ROWS[0], {"w": weights(3, 8), "b": weights(3)}, 11),
    "hard sigmoid": ([node("HardSigmoid", "x", alpha=0.3, beta=0.4)], IMAGE * 3, {}, 11),
    "relu, sqrt, tanh": ([node("Relu", "x", to="r"), node("Sqrt", "r", to="s"), node("Tanh", "s")], IMAGE, {}, 11),
    "softmax": ([node("Softmax", "x", axis=2)], ROWS, {}, 11),
    "slice and concat": (
        [
            node("Slice", "x", "from", "until", "axes", "steps", to="a"),
            node("Slice", "x", "from", "until", "axes", to="b"),
            node("Concat", "a", "b", axis=-1),
        ],
        ROWS,
        {"from": ints(1), "until": ints(7), "axes": ints(2), "steps": ints(2)},
        11,
    ),
    "reshape by shape": (
        [
            node("Shape", "x", to="s"),
            node("Slice", "s", "zero", "two", "zero", to="head"),
            node("Concat", "head", "rest", to="to", axis=0),
            node("Reshape", "x", "to", to="r"),
            node("Transpose", "r", perm=[0, 2, 1]),
        ],
        IMAGE,
        {"zero": ints(0), "two": ints(2), "rest": ints(-1)},
        11,
    ),
    "squeeze and unsqueeze 11": (
        [node("Unsqueeze", "x", to="u", axes=[0, 4]), node("Squeeze", "u", axes=[4])],
        ROWS,
        {},
        11,
    ),
    "squeeze and unsqueeze 13": (
        [node("Unsqueeze", "x", "at", to="u"), node("Squeeze", "u", "off")],
        ROWS,
        {"at": ints(-1, 0), "off": ints(4)},
        13,
    ),
    "gather and cast": ([node("Cast", "x", to="c"), node("Gather", "c", "i", axis=1)], ROWS, {"i": ints(3, -1)}, 11),
    "flatten": ([node("Flatten", "x", axis=2)], IMAGE, {}, 11),
    "sub and div": ([node("Sub", "x", "a", to="s"), node("Div", "s", "b")], ROWS, {"a": weights(8), "b": np.abs(weights(8)) + 1}, 11),
}
CASES["gather and cast"][0][0].attribute.append(helper.make_attribute("to", TensorProto.FLOAT))


@pytest.mark.parametrize("fused", [True, False], ids=["fused", "plain"])
@pytest.mark.parametrize("case", CASES)
def test_operator_equals_onnx_runtime(case: str, fused: bool) -> None:
    nodes, x, constants, opset = CASES[case]
    assert difference(model_of(nodes, x, constants, opset), x, fused=fused) <= 1e-5


@pytest.mark.parametrize(
    ("case", "op"),
    [
        ("gelu", "Gelu"),
        ("hard swish", "HardSwish"),
        ("silu", "Silu"),
        ("layer norm", "LayerNormalization"),
        ("linear", "Linear"),
        ("conv with added bias", "Conv"),
    ],
)
def test_pattern_becomes_one_node(case: str, op: str) -> None:
    nodes, x, constants, opset = CASES[case]
    module = OnnxModule(model_of(nodes, x, constants, opset))
    assert module.output_of(op) == "y"


def test_almost_a_gelu_stays_as_it_is() -> None:
    nodes, x, constants, opset = CASES["gelu"]
    other = dict(constants) | {"h": scalar(0.25)}
    model_bytes = model_of(nodes, x, other, opset)
    with pytest.raises(GraphUnsupported):
        OnnxModule(model_bytes).output_of("Gelu")
    assert difference(model_bytes, x, fused=True) <= 1e-5


def test_unknown_operator_is_refused_by_name() -> None:
    with pytest.raises(GraphUnsupported, match="Det"):
        OnnxModule(model_of([node("Det", "x")], ROWS, {}, 11))


def test_unsupported_resize_is_refused() -> None:
    model_bytes = model_of([node("Resize", "x", "", "s", mode="cubic")], IMAGE, {"s": np.array([1, 1, 2, 2], dtype=np.float32)}, 11)
    with pytest.raises(GraphUnsupported, match="cubic"):
        OnnxModule(model_bytes)(torch.from_numpy(IMAGE))
