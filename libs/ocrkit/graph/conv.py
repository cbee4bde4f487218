"""Convolutions, pools and resizing, with the padding rules of ONNX.

Letters in names: B batch, C channels, H height, W width.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from libs.ocrkit.graph.faults import GraphUnsupported
from libs.ocrkit.graph.nodes import Node

__all__ = ["average_pool", "conv", "conv_transpose", "max_pool", "resize"]

_Pair = tuple[int, int]


def _pair(node: Node, key: str, default: int) -> _Pair:
    values = node.attributes.get(key, (default, default))
    if len(values) != 2:
        raise GraphUnsupported(f"{node.op} over {len(values)} axes is not supported, only images are", operator=node.op)
    return int(values[0]), int(values[1])


def _pads(node: Node, x_BCHW: Tensor, kernel: _Pair) -> tuple[int, int, int, int]:
    """Top, left, bottom, right."""
    mode = node.attributes.get("auto_pad", "NOTSET")
    if mode in ("NOTSET", "VALID"):
        top, left, bottom, right = node.attributes.get("pads", (0, 0, 0, 0)) if mode == "NOTSET" else (0, 0, 0, 0)
        return int(top), int(left), int(bottom), int(right)
    strides, dilations = _pair(node, "strides", 1), _pair(node, "dilations", 1)
    begins, ends = [], []
    for size, width, stride, dilation in zip(x_BCHW.shape[2:], kernel, strides, dilations, strict=True):
        total = max((-(-size // stride) - 1) * stride + (width - 1) * dilation + 1 - size, 0)
        small, large = total // 2, total - total // 2
        begins.append(small if mode == "SAME_UPPER" else large)
        ends.append(large if mode == "SAME_UPPER" else small)
    return begins[0], begins[1], ends[0], ends[1]


def _padded(x_BCHW: Tensor, pads: tuple[int, int, int, int], value: float) -> tuple[Tensor, _Pair]:
    """The tensor, padded only where the two sides differ, and the even padding left to the operator itself."""
    top, left, bottom, right = pads
    if top == bottom and left == right:
        return x_BCHW, (top, left)
    return functional.pad(x_BCHW, (left, right, top, bottom), value=value), (0, 0)


def _tensors(inputs: Sequence[Tensor | None]) -> tuple[Tensor, Tensor, Tensor | None]:
    x, weight = inputs[0], inputs[1]
    if x is None or weight is None or x.dim() != 4:
        raise GraphUnsupported("a convolution needs an image and a weight")
    bias = inputs[2] if len(inputs) > 2 else None
    return x, weight, None if bias is None else bias.reshape(-1)


def _image(node: Node, inputs: Sequence[Tensor | None]) -> Tensor:
    x = inputs[0]
    if x is None or x.dim() != 4:
        raise GraphUnsupported(f"{node.op} works on images here", operator=node.op)
    return x


def conv(node: Node, inputs: Sequence[Tensor | None]) -> Tensor:
    """2-D convolution; the bias may come as C or as 1 x C x 1 x 1 (from a fused addition)."""
    x_BCHW, weight, bias_C = _tensors(inputs)
    kernel = (weight.shape[2], weight.shape[3])
    x_BCHW, padding = _padded(x_BCHW, _pads(node, x_BCHW, kernel), 0.0)
    return functional.conv2d(
        x_BCHW,
        weight,
        bias_C,
        stride=_pair(node, "strides", 1),
        padding=padding,
        dilation=_pair(node, "dilations", 1),
        groups=int(node.attributes.get("group", 1)),
    )


def conv_transpose(node: Node, inputs: Sequence[Tensor | None]) -> Tensor:
    """2-D transposed convolution with even padding."""
    x_BCHW, weight, bias_C = _tensors(inputs)
    top, left, bottom, right = (int(pad) for pad in node.attributes.get("pads", (0, 0, 0, 0)))
    if node.attributes.get("auto_pad", "NOTSET") != "NOTSET" or (top, left) != (bottom, right) or "output_shape" in node.attributes:
        raise GraphUnsupported("a transposed convolution with uneven or automatic padding is not supported", operator=node.op)
    return functional.conv_transpose2d(
        x_BCHW,
        weight,
        bias_C,
        stride=_pair(node, "strides", 1),
        padding=(top, left),
        output_padding=_pair(node, "output_padding", 0),
        groups=int(node.attributes.get("group", 1)),
        dilation=_pair(node, "dilations", 1),
    )


def max_pool(node: Node, inputs: Sequence[Tensor | None]) -> Tensor:
    """2-D maximum over windows; what is padded never wins."""
    x_BCHW = _image(node, inputs)
    kernel = _pair(node, "kernel_shape", 1)
    top, left, bottom, right = _pads(node, x_BCHW, kernel)
    if (top, left, bottom, right) != (0, 0, 0, 0):
        x_BCHW = functional.pad(x_BCHW, (left, right, top, bottom), value=-torch.inf)
    return functional.max_pool2d(
        x_BCHW,
        kernel,
        stride=_pair(node, "strides", 1),
        dilation=_pair(node, "dilations", 1),
        ceil_mode=bool(node.attributes.get("ceil_mode", 0)),
    )


def average_pool(node: Node, inputs: Sequence[Tensor | None]) -> Tensor:
    """2-D mean over windows."""
    x_BCHW = _image(node, inputs)
    kernel = _pair(node, "kernel_shape", 1)
    top, left, bottom, right = _pads(node, x_BCHW, kernel)
    if (top, left) != (bottom, right):
        raise GraphUnsupported("an average pool with uneven padding is not supported", operator=node.op)
    return functional.avg_pool2d(
        x_BCHW,
        kernel,
        stride=_pair(node, "strides", 1),
        padding=(top, left),
        ceil_mode=bool(node.attributes.get("ceil_mode", 0)),
        count_include_pad=bool(node.attributes.get("count_include_pad", 0)),
    )


def resize(node: Node, inputs: Sequence[Tensor | None]) -> Tensor:
    """Nearest (asymmetric, floor) and bilinear (half pixel or corners aligned) resizing of height and width."""
    x_BCHW = _image(node, inputs)
    scales = inputs[2] if len(inputs) > 2 else None
    sizes = inputs[3] if len(inputs) > 3 else None
    if sizes is not None and sizes.numel() > 0:
        height, width = (int(size) for size in sizes.tolist()[2:])
    elif scales is not None and scales.numel() == 4:
        factor_h, factor_w = scales.tolist()[2:]
        height, width = int(x_BCHW.shape[2] * factor_h), int(x_BCHW.shape[3] * factor_w)
    else:
        raise GraphUnsupported("a resize without scales or sizes is not supported", operator=node.op)
    mode = node.attributes.get("mode", "nearest")
    frame = node.attributes.get("coordinate_transformation_mode", "half_pixel")
    if (mode, frame, node.attributes.get("nearest_mode", "round_prefer_floor")) == ("nearest", "asymmetric", "floor"):
        return functional.interpolate(x_BCHW, size=(height, width), mode="nearest")
    if mode == "linear" and frame in ("half_pixel", "pytorch_half_pixel", "align_corners"):
        return functional.interpolate(x_BCHW, size=(height, width), mode="bilinear", align_corners=frame == "align_corners")
    raise GraphUnsupported(f"a resize in mode {mode}, {frame} is not supported", mode=mode, frame=frame)
