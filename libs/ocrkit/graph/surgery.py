"""Cutting a recognizer's head to other characters, and a graph to its first part.

The head is the last weight matrix (features x classes) and its bias, followed by a softmax.
"""

from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from libs.ocrkit.charset import Charset
from libs.ocrkit.graph.faults import GraphUnsupported, HeadNotFound
from libs.ocrkit.graph.nodes import constant_tensors

__all__ = ["cut_head", "cut_until", "nodes_until"]


@dataclass(frozen=True)
class _Head:
    weight: TensorProto
    bias: TensorProto


def cut_head(model_bytes: bytes, old: Charset, new: Charset, *, seed: int = 0) -> bytes:
    """The same recognizer with a head for the characters of ``new``.

    The column of a character both charsets know moves as it is, as does the blank's. A new character begins with the mean
    of the old columns plus noise of a tenth of their spread, and with a bias low enough to be read nowhere before it is
    trained. The metadata entry ``character`` lists the new characters, a final space left out as in every PP-OCR model.

    Args:
        model_bytes: a recognizer that ends in weights (features x classes), bias and softmax.
        old: the charset of the file, blank excluded.
        new: the charset wanted.
        seed: of the noise for new characters.

    Raises:
        HeadNotFound: the graph ends otherwise, or not in ``old.num_classes`` classes.
    """
    model = onnx.load_model_from_string(model_bytes)
    head = _find_head(model, old.num_classes)
    weight_FK, bias_K = numpy_helper.to_array(head.weight), numpy_helper.to_array(head.bias)
    row_of = {character: row for row, character in enumerate(old.characters, start=1)}
    rows = [0, *(row_of.get(character, -1) for character in new.characters)]
    known = [row for row in rows if row >= 0]
    rng = np.random.default_rng(seed)
    spread_F1 = weight_FK[:, known].std(axis=1, keepdims=True)
    noise_FK = rng.standard_normal((weight_FK.shape[0], len(rows))).astype(np.float32)
    cut_FK = weight_FK[:, known].mean(axis=1, keepdims=True) + 0.1 * spread_F1 * noise_FK
    cut_K = np.full(len(rows), bias_K[known].min(), dtype=np.float32)
    for column, row in enumerate(rows):
        if row >= 0:
            cut_FK[:, column] = weight_FK[:, row]
            cut_K[column] = bias_K[row]
    _replace(head.weight, cut_FK)
    _replace(head.bias, cut_K)
    model.graph.output[0].type.tensor_type.shape.dim[-1].dim_value = new.num_classes
    # Shapes stored for inner tensors would still promise the old number of classes.
    del model.graph.value_info[:]
    listed = new.characters[:-1] if new.characters[-1:] == (" ",) else new.characters
    metadata = {entry.key: entry.value for entry in model.metadata_props} | {"character": "\n".join(listed) + "\n"}
    helper.set_model_props(model, metadata)
    return model.SerializeToString()


def cut_until(model_bytes: bytes, tensor_name: str) -> bytes:
    """The part of a graph that computes one tensor, with that tensor as its only output.

    Raises:
        GraphUnsupported: no node makes this tensor.
    """
    model = onnx.load_model_from_string(model_bytes)
    graph = model.graph
    nodes = nodes_until(model, tensor_name)
    needed = {tensor_name, *(name for node in nodes for name in node.input)}
    del graph.node[:]
    graph.node.extend(nodes)
    initializers = [tensor for tensor in graph.initializer if tensor.name in needed]
    del graph.initializer[:]
    graph.initializer.extend(initializers)
    del graph.value_info[:]
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info(tensor_name, TensorProto.FLOAT, None))
    return model.SerializeToString()


def nodes_until(model: onnx.ModelProto, tensor_name: str) -> list[onnx.NodeProto]:
    """The nodes that compute one tensor, in the order of the graph.

    Raises:
        GraphUnsupported: no node makes this tensor.
    """
    needed, kept = {tensor_name}, []
    for node in reversed(model.graph.node):
        if needed.intersection(node.output):
            kept.append(node)
            needed.update(node.input)
    if not kept:
        raise GraphUnsupported(f"no node makes the tensor {tensor_name}", tensor=tensor_name)
    return kept[::-1]


def _find_head(model: onnx.ModelProto, num_classes: int) -> _Head:
    producers = {name: node for node in model.graph.node for name in node.output}
    constants = constant_tensors(model)

    def producer(name: str, op: str) -> onnx.NodeProto:
        while (node := producers.get(name)) is not None and node.op_type == "Identity":
            name = node.input[0]
        if node is None or node.op_type != op:
            raise HeadNotFound(f"the graph does not end in MatMul, Add and Softmax: {op} is missing", operator=op)
        return node

    softmax = producer(model.graph.output[0].name, "Softmax")
    add = producer(softmax.input[0], "Add")
    bias = next((constants[name] for name in add.input if name in constants), None)
    matmul = producer(next((name for name in add.input if name not in constants), ""), "MatMul")
    weight = constants.get(matmul.input[1])
    if weight is None or bias is None or len(weight.dims) != 2 or list(weight.dims)[1:] != list(bias.dims):
        raise HeadNotFound("the graph ends without a weight matrix and its bias")
    if weight.dims[1] != num_classes:
        raise HeadNotFound(
            f"the head has {weight.dims[1]} classes and the charset {num_classes}, the blank included",
            head=weight.dims[1],
            charset=num_classes,
        )
    return _Head(weight, bias)


def _replace(tensor: TensorProto, value: NDArray[np.float32]) -> None:
    tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(value, dtype=np.float32), tensor.name))
