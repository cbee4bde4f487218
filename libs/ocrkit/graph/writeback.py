"""Trained weights written back into the very graph they came from: there is no export that could drift."""

import onnx
from onnx import numpy_helper

from libs.ocrkit.graph.faults import GraphUnsupported
from libs.ocrkit.graph.module import OnnxModule
from libs.ocrkit.graph.nodes import constant_tensors

__all__ = ["write_back"]


def write_back(model_bytes: bytes, module: OnnxModule, *, after: str | None = None) -> bytes:
    """The same graph with the module's weights in place of its own.

    Args:
        model_bytes: the file the module was made from, or one of equal names and shapes.
        module: its parameters are read as float32; buffers and everything else of the file stay as they are.
        after: a tensor; only weights that are used behind it are written. None writes all.

    Raises:
        GraphUnsupported: a weight of the module has no constant of the same name and shape in the file.
    """
    model = onnx.load_model_from_string(model_bytes)
    constants = constant_tensors(model)
    for name, weight in module.named_weights(after=after):
        constant = constants.get(name)
        if constant is None or tuple(constant.dims) != tuple(weight.shape):
            raise GraphUnsupported(f"the file has no constant {name} of shape {tuple(weight.shape)}", tensor=name)
        stored_name = constant.name
        constant.CopyFrom(numpy_helper.from_array(weight.detach().float().cpu().numpy(), stored_name))
    return model.SerializeToString()
