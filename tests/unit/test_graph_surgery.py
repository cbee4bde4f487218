"""Cutting heads and graphs, on a recognizer of four nodes."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from libs.ocrkit.charset import Charset, charset_from_onnx_metadata
from libs.ocrkit.graph.faults import GraphUnsupported, HeadNotFound
from libs.ocrkit.graph.module import OnnxModule
from libs.ocrkit.graph.surgery import cut_head, cut_until
from libs.ocrkit.graph.writeback import write_back

OLD = Charset(("a", "b", "c", "d", " "))
NEW = Charset(("d", "é", "a", " "))
FEATURES_BTF = np.random.default_rng(3).standard_normal((2, 7, 4)).astype(np.float32)


def recognizer(*, constants_as_nodes: bool = False, with_softmax: bool = True) -> bytes:
    rng = np.random.default_rng(5)
    weight = numpy_helper.from_array(rng.standard_normal((4, OLD.num_classes)).astype(np.float32), "head.w")
    bias = numpy_helper.from_array(rng.standard_normal(OLD.num_classes).astype(np.float32), "head.b")
    nodes = [
        helper.make_node("Relu", ["x"], ["r"]),
        helper.make_node("MatMul", ["r", "head.w"], ["m"]),
        helper.make_node("Add", ["m", "head.b"], ["logits"]),
        helper.make_node("Identity", ["logits"], ["i"]),
        helper.make_node("Softmax", ["i"], ["y"], axis=2) if with_softmax else helper.make_node("Sigmoid", ["i"], ["y"]),
    ]
    if constants_as_nodes:
        nodes = [helper.make_node("Constant", [], [tensor.name], value=tensor) for tensor in (weight, bias)] + nodes
    graph = helper.make_graph(
        nodes,
        "recognizer",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["B", "T", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["B", "T", OLD.num_classes])],
        [] if constants_as_nodes else [weight, bias],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=8)
    helper.set_model_props(model, {"character": "a\nb\nc\nd\n"})
    return model.SerializeToString()


def logits(model_bytes: bytes) -> NDArray[np.float32]:
    module = OnnxModule(model_bytes)
    with torch.no_grad():
        output: NDArray[np.float32] = module.forward_until(module.logits_name, torch.from_numpy(FEATURES_BTF)).numpy()
    return output


@pytest.mark.parametrize("constants_as_nodes", [False, True])
def test_columns_move_with_their_character(constants_as_nodes: bool) -> None:
    model_bytes = recognizer(constants_as_nodes=constants_as_nodes)
    cut = cut_head(model_bytes, OLD, NEW)
    before, after = logits(model_bytes), logits(cut)
    moved = {0: 0} | {
        old: new for new, character in enumerate(NEW.characters, 1) for old, known in enumerate(OLD.characters, 1) if known == character
    }
    assert len(moved) == 4
    for old, new in moved.items():
        np.testing.assert_array_equal(after[..., new], before[..., old])


def test_the_file_says_what_it_reads() -> None:
    model = onnx.load_model_from_string(cut_head(recognizer(), OLD, NEW))
    assert charset_from_onnx_metadata({entry.key: entry.value for entry in model.metadata_props}) == NEW
    assert model.graph.output[0].type.tensor_type.shape.dim[-1].dim_value == NEW.num_classes


def test_a_new_character_is_read_nowhere_before_training() -> None:
    alphabet = Charset(("a", "b", "c", "d", "é", " "))
    after = logits(cut_head(recognizer(), OLD, alphabet))
    assert 5 not in after.argmax(axis=-1)


def test_cut_head_runs_in_onnx_runtime() -> None:
    output = onnxruntime.InferenceSession(cut_head(recognizer(), OLD, NEW)).run(None, {"x": FEATURES_BTF})[0]
    assert output.shape == (2, 7, NEW.num_classes)
    np.testing.assert_allclose(output.sum(axis=-1), 1.0, rtol=1e-5)


def test_a_head_of_another_size_is_refused() -> None:
    with pytest.raises(HeadNotFound, match="6 classes and the charset 5"):
        cut_head(recognizer(), NEW, OLD)


def test_a_graph_without_softmax_is_refused() -> None:
    with pytest.raises(HeadNotFound, match="Softmax"):
        cut_head(recognizer(with_softmax=False), OLD, NEW)


def test_first_part_gives_the_inner_tensor() -> None:
    part = cut_until(recognizer(), "m")
    inner = onnxruntime.InferenceSession(part).run(None, {"x": FEATURES_BTF})[0]
    module = OnnxModule(recognizer())
    with torch.no_grad():
        np.testing.assert_allclose(module.forward_until("m", torch.from_numpy(FEATURES_BTF)).numpy(), inner, atol=1e-6)
        whole = module(torch.from_numpy(FEATURES_BTF)).numpy()
        np.testing.assert_allclose(module.forward_from("m", torch.from_numpy(inner)).numpy(), whole, atol=1e-6)
    with pytest.raises(GraphUnsupported):
        cut_until(recognizer(), "no such tensor")


def test_what_lies_before_the_start_is_missed_by_name() -> None:
    module = OnnxModule(recognizer())
    with pytest.raises(GraphUnsupported, match="x is missing"):
        module.forward_from("logits", torch.zeros(1), until="m")


def test_untrained_weights_are_written_back_bit_for_bit() -> None:
    model_bytes = recognizer(constants_as_nodes=True)
    assert write_back(model_bytes, OnnxModule(model_bytes)) == model_bytes


def test_weights_of_another_shape_are_not_written() -> None:
    with pytest.raises(GraphUnsupported, match=r"head\.w"):
        write_back(recognizer(), OnnxModule(cut_head(recognizer(), OLD, NEW)))
