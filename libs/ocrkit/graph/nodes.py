"""An ONNX graph as plain values: nodes in order, constants by name."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from libs.ocrkit.graph.faults import GraphUnsupported

__all__ = ["Graph", "Node", "constant_tensors", "read_graph"]


@dataclass(frozen=True, slots=True)
class Node:
    """One operator call with exactly one output; an empty input name is an absent optional input."""

    op: str
    inputs: tuple[str, ...]
    output: str
    attributes: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Graph:
    """A graph with one input and one output.

    Attributes:
        nodes: in topological order, as ONNX demands.
        constants: initializers and the values of ``Constant`` nodes.
        opset: version of the default operator set.
    """

    nodes: tuple[Node, ...]
    constants: dict[str, NDArray[Any]]
    input: str
    output: str
    opset: int


def read_graph(model: onnx.ModelProto) -> Graph:
    """Read the default-domain graph of a model.

    Raises:
        GraphUnsupported: several inputs or outputs, a foreign operator domain or a node with several outputs.
    """
    graph = model.graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    nodes: list[Node] = []
    for proto in graph.node:
        if proto.domain not in ("", "ai.onnx"):
            raise GraphUnsupported(f"operator {proto.domain}.{proto.op_type} is not of the ONNX standard", operator=proto.op_type)
        outputs = [name for name in proto.output if name]
        if len(outputs) != 1:
            raise GraphUnsupported(f"operator {proto.op_type} with {len(outputs)} outputs is not supported", operator=proto.op_type)
        attributes = {attribute.name: _attribute_value(attribute) for attribute in proto.attribute}
        if proto.op_type == "Constant":
            constants[outputs[0]] = np.asarray(next(iter(attributes.values())))
            continue
        nodes.append(Node(proto.op_type, tuple(proto.input), outputs[0], attributes))
    inputs = [value.name for value in graph.input if value.name not in constants]
    if len(inputs) != 1 or len(graph.output) != 1:
        raise GraphUnsupported(
            f"a base model has one input and one output, this one has {len(inputs)} and {len(graph.output)}",
            inputs=len(inputs),
            outputs=len(graph.output),
        )
    opset = max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=1)
    return Graph(tuple(nodes), constants, inputs[0], graph.output[0].name, opset)


def constant_tensors(model: onnx.ModelProto) -> dict[str, onnx.TensorProto]:
    """Initializers and the tensors of ``Constant`` nodes by name, as parts of the model that may be changed in place."""
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant":
            for attribute in node.attribute:
                if attribute.name == "value":
                    tensors[node.output[0]] = attribute.t
    return tensors


def _attribute_value(attribute: onnx.AttributeProto) -> Any:
    value = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, onnx.TensorProto):
        return numpy_helper.to_array(value)
    if isinstance(value, bytes):
        return value.decode()
    if attribute.type in (onnx.AttributeProto.INTS, onnx.AttributeProto.FLOATS):
        return tuple(value)
    return value
