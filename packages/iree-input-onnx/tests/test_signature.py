"""Inputs: names and dims reach the function; fixing a size fixes it everywhere."""

import numpy as np
import pytest
from onnx import helper

from iree_core_ir.ir.types import DYNAMIC
from iree_input_onnx.errors import OnnxError
from iree_input_onnx.testing import ImportedModel


def concat(x, y, out=("n", None), axis=1):
    """``concat(x, y)`` of inputs declared with the dims ``x`` and ``y``."""
    inputs = [helper.make_tensor_value_info(n, 1, d) for n, d in (("x", x), ("y", y))]
    node = helper.make_node("Concat", ["x", "y"], ["z"], "concat", axis=axis)
    graph = helper.make_graph([node], "g", inputs, [helper.make_tensor_value_info("z", 1, out)])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def shapes(model):
    return [a.type.shape for a in model.function.arguments]


def names(attribute):
    return None if attribute is None else [item.value for item in attribute]


def test_names_and_dims_are_on_the_function():
    model = ImportedModel(concat(["n", 3], ["n", "m"]))
    function = model.function
    assert model.input_names == ["x", "y"]
    assert function.result_attr(0, "iree.name").value == "z"
    assert names(function.arg_attr(0, "iree.dims")) == ["n", ""]
    assert names(function.arg_attr(1, "iree.dims")) == ["n", "m"]
    assert names(function.result_attr(0, "iree.dims")) == ["n", ""]
    assert shapes(model) == [(DYNAMIC, 3), (DYNAMIC, DYNAMIC)]


def test_equal_names_are_one_value():
    model = ImportedModel(concat(["n", 3], ["n", 5]))
    dims = [op for op in model.function.walk() if op.name == "tensor.dim"]
    assert len(dims) <= 1
    (got,) = model(np.ones((4, 3), np.float32), np.zeros((4, 5), np.float32))
    assert got.shape == (4, 8)


def test_a_fixed_size_holds_wherever_its_name_stands():
    model = ImportedModel(concat(["n", 3], ["n", "m"]), {"x": (7, 3)})
    assert shapes(model) == [(7, 3), (7, DYNAMIC)]
    assert model.function.type.results[0].shape == (7, DYNAMIC)
    model = ImportedModel(concat(["n", 3], ["n", "m"]), {"y": (7, None)})
    assert shapes(model) == [(7, 3), (7, DYNAMIC)]
    model = ImportedModel(concat(["n", 3], ["n", "m"]), {"x": ("?", 3), "y": (-1, 2)})
    assert shapes(model) == [(DYNAMIC, 3), (DYNAMIC, 2)]


@pytest.mark.parametrize("unknown", ["?", "-1", "None", ""])
def test_marks_for_unknown_are_no_names(unknown):
    model = ImportedModel(concat([unknown, 3], [unknown, 5]))
    assert model.function.arg_attr(0, "iree.dims") is None
    assert shapes(model)[0] == (DYNAMIC, 3)


@pytest.mark.parametrize(
    "wrong",
    [{"w": (1, 3)}, {"x": (1,)}, {"x": (1, 4)}, {"x": (1, 3), "y": (2, 5)}, {"x": ("a", 3)}, {"x": (1.5, 3)}],
)
def test_shapes_that_do_not_fit_the_model(wrong):
    with pytest.raises(OnnxError) as caught:
        ImportedModel(concat(["n", 3], ["n", "m"]), wrong)
    assert caught.value.code == "IREE-ONNX-010"
    assert caught.value.status == 2


def test_an_input_of_unknown_rank_needs_a_shape():
    model = concat(["n", 3], ["n", 3])
    model.graph.input[0].type.tensor_type.ClearField("shape")
    with pytest.raises(OnnxError) as caught:
        ImportedModel(model)
    assert caught.value.code == "IREE-ONNX-011"
    assert shapes(ImportedModel(model, {"x": (2, None)}))[0] == (2, DYNAMIC)


def test_unsigned_inputs_say_so():
    node = helper.make_node("Identity", ["x"], ["y"])
    values = [helper.make_tensor_value_info(n, 2, [3]) for n in "xy"]
    model = helper.make_model(
        helper.make_graph([node], "g", values[:1], values[1:]), opset_imports=[helper.make_opsetid("", 18)]
    )
    model.ir_version = 10
    imported = ImportedModel(model)
    assert str(imported.function.arguments[0].type) == "tensor<3xi8>"
    assert imported.function.arg_attr(0, "iree.element_type").value == "ui8"
    (got,) = imported(np.array([0, 200, 255], np.uint8))
    assert got.dtype == np.uint8
    assert got.tolist() == [0, 200, 255]


def test_sequences_and_strings_are_refused():
    model = concat(["n", 3], ["n", 3])
    model.graph.input[0].type.tensor_type.elem_type = 8
    with pytest.raises(OnnxError) as caught:
        ImportedModel(model)
    assert caught.value.code == "IREE-ONNX-007"
