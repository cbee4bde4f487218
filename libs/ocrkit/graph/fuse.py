"""Patterns of small nodes rewritten as one: fewer tensors kept for the backward pass, faster kernels.

Only the last node of a pattern is replaced; the others stay and are simply not reached any more when
nothing else needs them. So every tensor of the file keeps its name and its value.
"""

import math
from collections.abc import Callable, Mapping

from libs.ocrkit.graph.nodes import Graph, Node

__all__ = ["fuse"]


class _Matcher:
    """Looks up the producers of tensors, identities skipped."""

    def __init__(self, graph: Graph) -> None:
        self._constants = graph.constants
        self._producers: Mapping[str, Node] = {node.output: node for node in graph.nodes}

    def source(self, name: str) -> str:
        while (node := self._producers.get(name)) is not None and node.op == "Identity":
            name = node.inputs[0]
        return name

    def producer(self, name: str, op: str) -> Node | None:
        node = self._producers.get(self.source(name))
        return node if node is not None and node.op == op else None

    def rank(self, name: str) -> int | None:
        """Number of axes of a constant with more than one element, None for anything else."""
        value = self._constants.get(self.source(name))
        return None if value is None or value.size < 2 else value.ndim

    def shape(self, name: str) -> tuple[int, ...]:
        value = self._constants.get(self.source(name))
        return () if value is None else value.shape

    def number(self, name: str) -> float | None:
        value = self._constants.get(self.source(name))
        return float(value.reshape(-1)[0]) if value is not None and value.size == 1 and value.dtype.kind == "f" else None

    def with_number(self, node: Node | None, value: float) -> str | None:
        """The other input of a binary node that has the number ``value`` as one input."""
        if node is None:
            return None
        left, right = node.inputs
        for number, other in ((right, left), (left, right)):
            found = self.number(number)
            if found is not None and math.isclose(found, value, rel_tol=1e-5):
                if node.op == "Div" and number is left:
                    return None
                return other
        return None


def fuse(graph: Graph) -> tuple[Node, ...]:
    """The nodes with GELU, layer norm, hard-swish, SiLU, and additions of a bias fused."""
    matcher = _Matcher(graph)
    rewrites: tuple[Callable[[_Matcher, Node], Node | None], ...] = (_gelu, _hard_swish, _silu, _layer_norm, _conv_bias, _linear)
    fused: list[Node] = []
    for node in graph.nodes:
        found = (rewritten for rewrite in rewrites if (rewritten := rewrite(matcher, node)) is not None)
        fused.append(next(found, node))
    return tuple(fused)


def _gelu(matcher: _Matcher, node: Node) -> Node | None:
    """x * (1 + erf(x / sqrt(2))) * 0.5."""
    if node.op != "Mul" or (product := matcher.with_number(node, 0.5)) is None:
        return None
    inner = matcher.producer(product, "Mul")
    if inner is None:
        return None
    for x, term in (inner.inputs, inner.inputs[::-1]):
        erf_output = matcher.with_number(matcher.producer(term, "Add"), 1.0)
        erf = matcher.producer(erf_output, "Erf") if erf_output is not None else None
        divided = matcher.with_number(matcher.producer(erf.inputs[0], "Div"), math.sqrt(2.0)) if erf is not None else None
        if divided is not None and matcher.source(divided) == matcher.source(x):
            return Node("Gelu", (x,), node.output, {})
    return None


def _hard_swish(matcher: _Matcher, node: Node) -> Node | None:
    """x * clip(x + 3, 0, 6) / 6."""
    if node.op != "Div" or (product := matcher.with_number(node, 6.0)) is None:
        return None
    inner = matcher.producer(product, "Mul")
    if inner is None:
        return None
    for x, term in (inner.inputs, inner.inputs[::-1]):
        clip = matcher.producer(term, "Clip")
        if clip is None or len(clip.inputs) != 3 or (matcher.number(clip.inputs[1]), matcher.number(clip.inputs[2])) != (0.0, 6.0):
            continue
        shifted = matcher.with_number(matcher.producer(clip.inputs[0], "Add"), 3.0)
        if shifted is not None and matcher.source(shifted) == matcher.source(x):
            return Node("HardSwish", (x,), node.output, {})
    return None


def _silu(matcher: _Matcher, node: Node) -> Node | None:
    """x * sigmoid(x), also where an exporter multiplied the argument by one."""
    if node.op != "Mul":
        return None
    for x, term in (node.inputs, node.inputs[::-1]):
        sigmoid = matcher.producer(term, "Sigmoid")
        if sigmoid is None:
            continue
        argument = sigmoid.inputs[0]
        scaled = matcher.with_number(matcher.producer(argument, "Mul"), 1.0)
        if matcher.source(scaled if scaled is not None else argument) == matcher.source(x):
            return Node("Silu", (x,), node.output, {})
    return None


def _layer_norm(matcher: _Matcher, node: Node) -> Node | None:
    """(x - mean) / sqrt(mean((x - mean)^2) + eps) * weight + bias over the last axis."""
    if node.op != "Add":
        return None
    for scaled, bias in (node.inputs, node.inputs[::-1]):
        multiply = matcher.producer(scaled, "Mul")
        if multiply is None or matcher.rank(bias) != 1:
            continue
        for normed, weight in (multiply.inputs, multiply.inputs[::-1]):
            match = _normed(matcher, normed) if matcher.rank(weight) == 1 else None
            if match is not None:
                x, epsilon = match
                return Node("LayerNormalization", (x, weight, bias), node.output, {"axis": -1, "epsilon": epsilon})
    return None


def _normed(matcher: _Matcher, name: str) -> tuple[str, float] | None:
    divide = matcher.producer(name, "Div")
    root = matcher.producer(divide.inputs[1], "Sqrt") if divide is not None else None
    if divide is None or root is None or (added := matcher.producer(root.inputs[0], "Add")) is None:
        return None
    epsilon = matcher.number(added.inputs[1])
    variance = matcher.producer(added.inputs[0], "ReduceMean")
    centred = matcher.producer(divide.inputs[0], "Sub")
    if epsilon is None or variance is None or centred is None:
        return None
    x, mean = centred.inputs[0], matcher.producer(centred.inputs[1], "ReduceMean")
    squared = matcher.with_number(matcher.producer(variance.inputs[0], "Pow"), 2.0)
    whole = (
        mean is not None
        and squared is not None
        and matcher.source(squared) == centred.output
        and matcher.source(mean.inputs[0]) == matcher.source(x)
        and mean.attributes.get("axes") == variance.attributes.get("axes") == (-1,)
    )
    return (x, epsilon) if whole else None


def _conv_bias(matcher: _Matcher, node: Node) -> Node | None:
    """A convolution without bias followed by the addition of 1 x C x 1 x 1."""
    if node.op != "Add":
        return None
    for convolved, bias in (node.inputs, node.inputs[::-1]):
        conv = matcher.producer(convolved, "Conv")
        if conv is not None and len(conv.inputs) == 2 and matcher.rank(bias) == 4:
            channels = matcher.shape(conv.inputs[1])[:1]
            if matcher.shape(bias) == (1, *channels, 1, 1):
                return Node("Conv", (*conv.inputs, bias), node.output, conv.attributes)
    return None


def _linear(matcher: _Matcher, node: Node) -> Node | None:
    """A product with a weight matrix followed by the addition of a bias row."""
    if node.op != "Add":
        return None
    for product, bias in (node.inputs, node.inputs[::-1]):
        multiply = matcher.producer(product, "MatMul")
        if multiply is not None and matcher.rank(multiply.inputs[1]) == 2 and matcher.rank(bias) == 1:
            return Node("Linear", (*multiply.inputs, bias), node.output, {})
    return None
