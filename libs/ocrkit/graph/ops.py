"""Operators by name: each takes the node and its input tensors and gives the output tensor.

Letters in names: B batch, C channels, H height, W width, T time steps.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import torch
from torch import Tensor
from torch.nn import functional

from libs.ocrkit.graph.conv import average_pool, conv, conv_transpose, max_pool, resize
from libs.ocrkit.graph.faults import GraphUnsupported
from libs.ocrkit.graph.nodes import Node

__all__ = ["OPERATORS", "Operator"]

Inputs = Sequence[Tensor | None]
Operator = Callable[[Node, Inputs], Tensor]

_DTYPES = {1: torch.float32, 6: torch.int32, 7: torch.int64, 9: torch.bool, 10: torch.float16, 11: torch.float64, 16: torch.bfloat16}


def _given(inputs: Inputs, index: int) -> Tensor | None:
    return inputs[index] if index < len(inputs) else None


def _first(inputs: Inputs) -> Tensor:
    return _nth(inputs, 0)


def _nth(inputs: Inputs, index: int) -> Tensor:
    tensor = _given(inputs, index)
    if tensor is None:
        raise GraphUnsupported(f"an operator lacks its input {index}", index=index)
    return tensor


def _axes(node: Node, inputs: Inputs) -> tuple[int, ...] | None:
    """Axes stand in an attribute up to opset 12 or 17 and in the second input after."""
    if "axes" in node.attributes:
        return tuple(int(axis) for axis in node.attributes["axes"])
    given = _given(inputs, 1)
    return None if given is None else tuple(int(axis) for axis in given.tolist())


def _unary(function: Callable[[Tensor], Tensor]) -> Operator:
    return lambda node, inputs: function(_first(inputs))


def _binary(function: Callable[[Tensor, Tensor], Tensor]) -> Operator:
    return lambda node, inputs: function(_first(inputs), _nth(inputs, 1))


def _div(a: Tensor, b: Tensor) -> Tensor:
    return a / b if a.is_floating_point() else torch.div(a, b, rounding_mode="trunc")


def _batch_norm(node: Node, inputs: Inputs) -> Tensor:
    """Always with the stored statistics: small batches of lines would spoil them."""
    epsilon = float(node.attributes.get("epsilon", 1e-5))
    scale, shift, mean, variance = (_nth(inputs, index) for index in range(1, 5))
    return functional.batch_norm(_first(inputs), mean, variance, scale, shift, training=False, eps=epsilon)


def _cast(node: Node, inputs: Inputs) -> Tensor:
    code = int(node.attributes["to"])
    if code not in _DTYPES:
        raise GraphUnsupported(f"a cast to ONNX type {code} is not supported", type=code)
    return _first(inputs).to(_DTYPES[code])


def _clip(node: Node, inputs: Inputs) -> Tensor:
    low = _given(inputs, 1) if len(inputs) > 1 else node.attributes.get("min")
    high = _given(inputs, 2) if len(inputs) > 2 else node.attributes.get("max")
    return torch.clamp(_first(inputs), None if low is None else float(low), None if high is None else float(high))


def _concat(node: Node, inputs: Inputs) -> Tensor:
    return torch.cat([_nth(inputs, index) for index in range(len(inputs))], dim=int(node.attributes["axis"]))


def _flatten(node: Node, inputs: Inputs) -> Tensor:
    x = _first(inputs)
    axis = int(node.attributes.get("axis", 1)) % (x.dim() + 1)
    return x.reshape(math.prod(x.shape[:axis]), -1)


def _gather(node: Node, inputs: Inputs) -> Tensor:
    x, index = _first(inputs), _nth(inputs, 1)
    axis = int(node.attributes.get("axis", 0)) % x.dim()
    picked = torch.index_select(x, axis, index.reshape(-1).to(x.device) % x.shape[axis])
    return picked.reshape(*x.shape[:axis], *index.shape, *x.shape[axis + 1 :])


def _gelu(node: Node, inputs: Inputs) -> Tensor:
    return functional.gelu(_first(inputs), approximate=str(node.attributes.get("approximate", "none")))


def _gemm(node: Node, inputs: Inputs) -> Tensor:
    a, b, c = _first(inputs), _nth(inputs, 1), _given(inputs, 2)
    a = a.T if node.attributes.get("transA", 0) else a
    b = b.T if node.attributes.get("transB", 0) else b
    y = float(node.attributes.get("alpha", 1.0)) * (a @ b)
    return y if c is None else y + float(node.attributes.get("beta", 1.0)) * c


def _hard_sigmoid(node: Node, inputs: Inputs) -> Tensor:
    slope, offset = float(node.attributes.get("alpha", 0.2)), float(node.attributes.get("beta", 0.5))
    return torch.clamp(_first(inputs) * slope + offset, 0.0, 1.0)


def _layer_norm(node: Node, inputs: Inputs) -> Tensor:
    x_BTC, weight_C = _first(inputs), _nth(inputs, 1)
    if int(node.attributes.get("axis", -1)) not in (-1, x_BTC.dim() - 1):
        raise GraphUnsupported("layer normalization over several axes is not supported", operator=node.op)
    epsilon = float(node.attributes.get("epsilon", 1e-5))
    return functional.layer_norm(x_BTC, weight_C.shape, weight_C, _given(inputs, 2), eps=epsilon)


def _linear(node: Node, inputs: Inputs) -> Tensor:
    return functional.linear(_first(inputs), _nth(inputs, 1).T, _nth(inputs, 2))


def _pow(a: Tensor, b: Tensor) -> Tensor:
    return torch.pow(a, b.to(a.dtype))


def _reduce_mean(node: Node, inputs: Inputs) -> Tensor:
    x = _first(inputs)
    axes = _axes(node, inputs)
    return x.mean(dim=tuple(range(x.dim())) if axes is None else axes, keepdim=bool(node.attributes.get("keepdims", 1)))


def _reshape(node: Node, inputs: Inputs) -> Tensor:
    x, shape = _first(inputs), [int(size) for size in _nth(inputs, 1).tolist()]
    if not node.attributes.get("allowzero", 0):
        shape = [x.shape[axis] if size == 0 else size for axis, size in enumerate(shape)]
    return x.reshape(shape)


def _shape(node: Node, inputs: Inputs) -> Tensor:
    sizes = list(_first(inputs).shape)
    return torch.tensor(sizes[node.attributes.get("start", 0) : node.attributes.get("end", None)], dtype=torch.int64)


def _slice(node: Node, inputs: Inputs) -> Tensor:
    x = _first(inputs)
    starts, ends = _nth(inputs, 1).tolist(), _nth(inputs, 2).tolist()
    axes_given, steps_given = _given(inputs, 3), _given(inputs, 4)
    axes = list(range(len(starts))) if axes_given is None else axes_given.tolist()
    steps = [1] * len(starts) if steps_given is None else steps_given.tolist()
    window: list[slice] = [slice(None)] * x.dim()
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        if step < 1:
            raise GraphUnsupported(f"a slice with step {step} is not supported", step=step)
        window[axis] = slice(start, end, step)
    return x[tuple(window)]


def _softmax(node: Node, inputs: Inputs) -> Tensor:
    x = _first(inputs)
    axis = int(node.attributes.get("axis", -1))
    if axis not in (-1, x.dim() - 1):
        # Before opset 13 a softmax over an inner axis flattens what follows; no OCR model needs it.
        raise GraphUnsupported(f"a softmax over axis {axis} of {x.dim()} is not supported", axis=axis)
    return torch.softmax(x, dim=-1)


def _squeeze(node: Node, inputs: Inputs) -> Tensor:
    x, axes = _first(inputs), _axes(node, inputs)
    return x.squeeze() if axes is None else x.squeeze(axes)


def _transpose(node: Node, inputs: Inputs) -> Tensor:
    x = _first(inputs)
    return x.permute(tuple(node.attributes.get("perm", tuple(reversed(range(x.dim()))))))


def _unsqueeze(node: Node, inputs: Inputs) -> Tensor:
    x, axes = _first(inputs), _axes(node, inputs) or ()
    rank = x.dim() + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        x = x.unsqueeze(axis)
    return x


OPERATORS: Mapping[str, Operator] = MappingProxyType(
    {
        "Add": _binary(torch.add),
        "AveragePool": average_pool,
        "BatchNormalization": _batch_norm,
        "Cast": _cast,
        "Clip": _clip,
        "Concat": _concat,
        "Conv": conv,
        "ConvTranspose": conv_transpose,
        "Div": _binary(_div),
        "Erf": _unary(torch.erf),
        "Flatten": _flatten,
        "Gather": _gather,
        "Gelu": _gelu,
        "Gemm": _gemm,
        "GlobalAveragePool": _unary(lambda x_BCHW: x_BCHW.mean(dim=(2, 3), keepdim=True)),
        "HardSigmoid": _hard_sigmoid,
        "HardSwish": _unary(functional.hardswish),
        "Identity": _unary(lambda x: x),
        "LayerNormalization": _layer_norm,
        "Linear": _linear,
        "MatMul": _binary(torch.matmul),
        "MaxPool": max_pool,
        "Mul": _binary(torch.mul),
        "Pow": _binary(_pow),
        "ReduceMean": _reduce_mean,
        "Relu": _unary(torch.relu),
        "Reshape": _reshape,
        "Resize": resize,
        "Shape": _shape,
        "Sigmoid": _unary(torch.sigmoid),
        "Silu": _unary(functional.silu),
        "Slice": _slice,
        "Softmax": _softmax,
        "Sqrt": _unary(torch.sqrt),
        "Squeeze": _squeeze,
        "Sub": _binary(torch.sub),
        "Tanh": _unary(torch.tanh),
        "Transpose": _transpose,
        "Unsqueeze": _unsqueeze,
    }
)
"""Operators of the PP-OCR families, and the fused ``Linear`` and ``Silu`` that no ONNX opset of theirs has."""
