"""An ONNX graph as a torch module whose weights can be trained."""

from collections.abc import Iterator, Sequence

import onnx
import torch
from torch import Tensor, nn

from libs.ocrkit.graph.faults import GraphUnsupported
from libs.ocrkit.graph.fuse import fuse
from libs.ocrkit.graph.nodes import Graph, Node, read_graph
from libs.ocrkit.graph.ops import OPERATORS

__all__ = ["OnnxModule"]

_WEIGHT_INPUTS = {
    "Add": (0, 1),
    "BatchNormalization": (1, 2),
    "Conv": (1, 2),
    "ConvTranspose": (1, 2),
    "Gemm": (1, 2),
    "LayerNormalization": (1, 2),
    "Linear": (1, 2),
    "MatMul": (0, 1),
    "Mul": (0, 1),
}


class OnnxModule(nn.Module):
    """Runs the nodes of an ONNX graph one by one; its parameters are the graph's float weights.

    Float constants with more than one element that an operator uses as weight or bias are parameters, other float
    constants (normalization statistics, scalars) are buffers, integer constants are part of the plan. Batch
    normalization always uses the stored statistics. Nothing behaves differently in training mode.

    Args:
        model_bytes: the ONNX file.
        fused: rewrite patterns of small nodes (GELU, layer norm, …) as one; False follows the file node by node.

    Raises:
        GraphUnsupported: an operator or attribute outside the supported set.
    """

    def __init__(self, model_bytes: bytes, *, fused: bool = True) -> None:
        super().__init__()
        graph = read_graph(onnx.load_model_from_string(model_bytes))
        nodes = fuse(graph) if fused else graph.nodes
        unknown = sorted({node.op for node in nodes} - OPERATORS.keys())
        if unknown:
            raise GraphUnsupported(
                f"the graph uses operators that cannot be trained here: {', '.join(unknown)}", operators=",".join(unknown)
            )
        self.input_name = graph.input
        self.output_name = graph.output
        self._nodes = nodes
        self._plain_nodes = graph.nodes
        self._producers = {node.output: node for node in nodes}
        self._attribute_of: dict[str, str] = {}
        self._fixed: dict[str, Tensor] = {}
        self._plans: dict[tuple[str, str], tuple[tuple[Node, tuple[str, ...]], ...]] = {}
        self._adopt_constants(graph, nodes)

    def _adopt_constants(self, graph: Graph, nodes: Sequence[Node]) -> None:
        weights = {node.inputs[index] for node in nodes for index in _WEIGHT_INPUTS.get(node.op, ()) if index < len(node.inputs)}
        for name, value in graph.constants.items():
            tensor = torch.from_numpy(value.copy())
            if not tensor.is_floating_point():
                self._fixed[name] = tensor
                continue
            attribute = "onnx:" + name.replace("%", "%25").replace(".", "%2E")
            self._attribute_of[name] = attribute
            if name in weights and tensor.numel() > 1:
                self.register_parameter(attribute, nn.Parameter(tensor))
            else:
                self.register_buffer(attribute, tensor)

    def forward(self, x: Tensor) -> Tensor:
        """The graph's output for its input; float32."""
        return self._run(self.input_name, x, self.output_name)

    def forward_until(self, tensor_name: str, x: Tensor) -> Tensor:
        """The value of one tensor of the file, for the graph's input."""
        return self._run(self.input_name, x, tensor_name)

    def forward_from(self, tensor_name: str, value: Tensor, until: str | None = None) -> Tensor:
        """The graph's output (or the tensor ``until``) when ``tensor_name`` has the given value.

        Raises:
            GraphUnsupported: something before ``tensor_name`` is needed as well.
        """
        return self._run(tensor_name, value, until or self.output_name)

    @property
    def logits_name(self) -> str:
        """The tensor that the final softmax or sigmoid turns into the output; the output itself where there is neither."""
        name = self._source(self.output_name)
        node = self._producers.get(name)
        return node.inputs[0] if node is not None and node.op in ("Softmax", "Sigmoid") else self.output_name

    def output_of(self, op: str) -> str:
        """The name of the tensor made by the only node of this operator on the way from input to output.

        Raises:
            GraphUnsupported: none or several such nodes.
        """
        found = [node.output for node, _ in self._plan(self.input_name, self.output_name) if node.op == op]
        if len(found) != 1:
            raise GraphUnsupported(f"the graph has {len(found)} {op} nodes where one is expected", operator=op, found=len(found))
        return found[0]

    def waist(self, before: str, share: float) -> str:
        """The last tensor that everything goes through and between which and ``before`` lies a share of the weights.

        Args:
            before: a tensor further on.
            share: in (0, 1), of all elements of the weights between input and ``before``.

        Raises:
            GraphUnsupported: there is no such tensor.
        """
        plan = [node for node, _ in self._plan(self.input_name, before)]
        sizes = [sum(tensor.numel() for name in node.inputs if isinstance(tensor := self._constant(name), nn.Parameter)) for node in plan]
        wanted = share * sum(sizes)
        for index in range(len(plan) - 1, -1, -1):
            if sum(sizes[index + 1 :]) >= wanted and self._is_waist(plan[index].output, before):
                return plan[index].output
        raise GraphUnsupported(f"no single tensor leads to {before} with {share:.0%} of its weights behind it", tensor=before)

    def _constant(self, name: str) -> Tensor | None:
        return getattr(self, self._attribute_of[name]) if name in self._attribute_of else None

    def _is_waist(self, name: str, before: str) -> bool:
        return not self._choose(self._nodes, name, before)[1]

    def named_weights(self, after: str | None = None) -> Iterator[tuple[str, nn.Parameter]]:
        """Trainable weights by their name in the file; with ``after`` those used between that tensor and the output."""
        names = list(self._attribute_of) if after is None else self._constants_between(after)
        for name in names:
            tensor = getattr(self, self._attribute_of[name])
            if isinstance(tensor, nn.Parameter):
                yield name, tensor

    def _constants_between(self, start: str) -> list[str]:
        used = {name for node, _ in self._plan(start, self.output_name) for name in node.inputs}
        return [name for name in self._attribute_of if name in used]

    def _source(self, name: str) -> str:
        while (node := self._producers.get(name)) is not None and node.op == "Identity":
            name = node.inputs[0]
        return name

    def _plan(self, start: str, end: str) -> tuple[tuple[Node, tuple[str, ...]], ...]:
        """Nodes between two tensors in order, each with the tensors that nobody needs after it."""
        key = (start, end)
        if key not in self._plans:
            # A start or an end inside a fused pattern is reached by the file's own nodes only.
            chosen, missing = self._choose(self._nodes, start, end)
            if missing:
                chosen, missing = self._choose(self._plain_nodes, start, end)
            if missing:
                raise GraphUnsupported(
                    f"tensor {end} cannot be computed from {start}: {missing[0]} is missing", tensor=end, missing=missing[0]
                )
            steps: list[tuple[Node, tuple[str, ...]]] = []
            later = {end}
            for node in chosen:
                steps.append((node, tuple({name for name in node.inputs if name} - later)))
                later.update(node.inputs)
            self._plans[key] = tuple(reversed(steps))
        return self._plans[key]

    def _choose(self, nodes: Sequence[Node], start: str, end: str) -> tuple[list[Node], list[str]]:
        """The needed ones among ``nodes``, last first, and the tensors that nothing gives."""
        needed, chosen = {end}, []
        for node in reversed(nodes):
            if node.output in needed and node.output != start:
                chosen.append(node)
                needed.update(name for name in node.inputs if name)
        known = {start, *self._attribute_of, *self._fixed, *(node.output for node in chosen)}
        return chosen, sorted(needed - known)

    def _run(self, start: str, value: Tensor, end: str) -> Tensor:
        tensors: dict[str, Tensor] = {start: value}
        for node, finished in self._plan(start, end):
            tensors[node.output] = OPERATORS[node.op](node, [self._tensor(tensors, name) for name in node.inputs])
            for name in finished:
                # Frees what is not needed any more; without it a frozen pass keeps every layer of the page alive.
                tensors.pop(name, None)
        return tensors[end]

    def _tensor(self, tensors: dict[str, Tensor], name: str) -> Tensor | None:
        if not name:
            return None
        if name in tensors:
            return tensors[name]
        if name in self._fixed:
            return self._fixed[name]
        tensor = getattr(self, self._attribute_of[name])
        assert isinstance(tensor, Tensor)
        return tensor
