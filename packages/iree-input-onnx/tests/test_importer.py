"""The importer: unsupported nodes listed at once, functions inlined, names kept, shapes on the host."""

import numpy as np
import pytest
from onnx import helper, numpy_helper

from iree_core_ir.ir.location import NameLoc
from iree_input_onnx.errors import OnnxError
from iree_input_onnx.testing import ImportedModel, run_model

F32 = 1


def build(nodes, inputs, outputs=("y",), tensors=(), opset=18, functions=(), domains=()):
    """``inputs``: name -> dims of f32 tensors, or (element type, dims)."""
    declared = []
    for name, dims in inputs.items():
        code, dims = dims if isinstance(dims, tuple) else (F32, dims)
        declared.append(helper.make_tensor_value_info(name, code, dims))
    results = [helper.make_tensor_value_info(name, F32, None) for name in outputs]
    graph = helper.make_graph(nodes, "g", declared, results, list(tensors))
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
    model = helper.make_model(graph, opset_imports=imports, functions=list(functions))
    model.ir_version = 10
    return model


def integers(name, *values):
    return numpy_helper.from_array(np.array(values, np.int64), name)


def ops_of(model, *names):
    return [op for op in model.function.walk() if op.name in names]


def test_all_unsupported_nodes_are_listed_at_once():
    nodes = [
        helper.make_node("Multinomial", ["x"], ["a"], "first"),
        helper.make_node("Relu", ["x"], ["r"], "fine"),
        helper.make_node("Frobnicate", ["r"], ["b"], "second", domain="com.example"),
        helper.make_node("Det", ["b"], ["y"], "third"),
        helper.make_node("Softmax", ["i"], ["z"], "fourth"),
    ]
    model = build(nodes, {"x": [2, 2], "i": (6, [2, 2])}, ("y", "z"), domains=["com.example"])
    with pytest.raises(OnnxError) as caught:
        ImportedModel(model)
    text = str(caught.value)
    assert caught.value.code == "IREE-ONNX-004"
    assert "4 nodes" in text
    for part in (
        "Multinomial",
        "first",
        "com.example.Frobnicate",
        "second",
        "Det",
        "third",
        "fourth",
        "int32",
    ):
        assert part in text
    assert "fine" not in text
    assert "\n" not in text


def test_every_op_knows_its_node():
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], "the_conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["y"]),
    ]
    weights = numpy_helper.from_array(np.ones((4, 3, 3, 3), np.float32), "w")
    model = ImportedModel(build(nodes, {"x": [1, 3, 8, 8]}, tensors=[weights]))
    names = set()
    for op in model.function.walk():
        assert isinstance(op.location, NameLoc), op.name
        names.add(op.location.name)
    assert {"the_conv", "Relu:y", "w"} <= names


def test_large_weights_are_resources_and_small_ones_inline():
    tensors = [
        numpy_helper.from_array(np.arange(100, dtype=np.float32), "big"),
        numpy_helper.from_array(np.arange(10, dtype=np.float32)[:, None], "small"),
    ]
    nodes = [helper.make_node("Add", ["x", "big"], ["a"]), helper.make_node("Add", ["a", "small"], ["y"])]
    model = ImportedModel(build(nodes, {"x": [10, 100]}, tensors=tensors))
    text = str(model.module)
    assert "dense_resource<big>" in text
    assert "small" not in text


@pytest.mark.parametrize("constant", [True, False])
def test_an_if_whose_condition_is_known_is_its_branch(constant):
    branches = {}
    for name, op in (("then_branch", "Neg"), ("else_branch", "Abs")):
        node = helper.make_node(op, ["x"], [f"{op}_out"])
        branches[name] = helper.make_graph(
            [node], op, [], [helper.make_tensor_value_info(f"{op}_out", F32, None)]
        )
    nodes = [helper.make_node("If", ["c"], ["y"], "branch", **branches)]
    tensors = [numpy_helper.from_array(np.array(False), "c")] if constant else []
    inputs = {"x": [3]} if constant else {"c": (9, []), "x": [3]}
    model = build(nodes, inputs, tensors=tensors)
    x = np.array([-1, 2, -3], np.float32)
    assert bool(ops_of(ImportedModel(model), "scf.if")) != constant
    if constant:
        assert run_model(model, [x])[0].tolist() == [1, 2, 3]
        return
    for condition, wanted in ((False, [1, 2, 3]), (True, [1, -2, 3])):
        assert run_model(model, [np.array(condition), x])[0].tolist() == wanted


def test_functions_of_the_model_are_inlined():
    attributes = [helper.make_attribute("slope", 0.5)]
    body = [helper.make_node("LeakyRelu", ["a"], ["b"]), helper.make_node("Add", ["b", "a"], ["c"])]
    body[0].attribute.add(name="alpha", ref_attr_name="slope", type=1)
    imports = [helper.make_opsetid("", 18)]
    function = helper.make_function(
        "local", "Twice", ["a"], ["c"], body, imports, attribute_protos=attributes
    )
    nodes = [
        helper.make_node("Twice", ["x"], ["t"], "first", domain="local"),
        helper.make_node("Twice", ["t"], ["y"], "second", domain="local", slope=0.25),
    ]
    model = build(nodes, {"x": [2]}, functions=[function], domains=["local"])
    imported = ImportedModel(model)
    assert imported(np.array([-2, 1], np.float32))[0].tolist() == [-3.75, 4.0]
    names = {op.location.name for op in imported.function.walk()}
    assert any(name.startswith("second/") for name in names)


def test_functions_that_call_themselves_are_an_error():
    imports = [helper.make_opsetid("local", 1)]
    body = [helper.make_node("Loop", ["a"], ["b"], domain="local")]
    function = helper.make_function("local", "Loop", ["a"], ["b"], body, imports)
    nodes = [helper.make_node("Loop", ["x"], ["y"], "start", domain="local")]
    with pytest.raises(OnnxError) as caught:
        ImportedModel(build(nodes, {"x": [2]}, functions=[function], domains=["local"]))
    assert caught.value.code == "IREE-ONNX-005"


def test_an_op_with_a_body_in_the_standard_needs_no_table_entry():
    from iree_input_onnx.table import table

    assert ("", "MeanVarianceNormalization") not in table()
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 5)).astype(np.float32)
    nodes = [helper.make_node("MeanVarianceNormalization", ["x"], ["y"], "mvn", axes=[0, 2, 3])]
    (got,) = run_model(build(nodes, {"x": list(x.shape)}), [x])
    wide = x.astype(np.float64)
    mean = wide.mean((0, 2, 3), keepdims=True)
    expected = (wide - mean) / (wide.std((0, 2, 3), keepdims=True) + 1e-9)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "nodes",
    [
        [helper.make_node("Relu", ["nothing"], ["y"])],
        [helper.make_node("Relu", ["y"], ["y"])],
        [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Abs", ["x"], ["y"])],
        [helper.make_node("Relu", ["x"], ["other"])],
        [helper.make_node("Relu", ["a"], ["y"]), helper.make_node("Relu", ["x"], ["a"])],
    ],
)
def test_graphs_that_make_no_sense(nodes):
    with pytest.raises(OnnxError) as caught:
        ImportedModel(build(nodes, {"x": [2]}))
    assert caught.value.code == "IREE-ONNX-006"


@pytest.mark.parametrize(
    "node",
    [
        helper.make_node("Relu", ["x", "x"], ["y"], "bad"),
        helper.make_node("Relu", ["x"], ["y"], "bad", alpha=1.0),
        helper.make_node("Transpose", ["x"], ["y"], "bad", perm=[0, 0]),
        helper.make_node("Softmax", ["x"], ["y"], "bad", axis=1.5),
        helper.make_node("Concat", ["x"], ["y"], "bad"),
        helper.make_node("Flatten", ["x"], ["y"], "bad", axis=7),
        helper.make_node("MaxPool", ["x"], ["y"], "bad", kernel_shape=[0, 2]),
        helper.make_node("Split", ["x"], ["y"], "bad", num_outputs=0),
        helper.make_node("ReduceMax", ["x", "axes"], ["y"], "bad"),
    ],
)
def test_nodes_that_break_their_definition_are_named(node):
    model = build([node], {"x": [2, 3]}, tensors=[integers("axes", 5)])
    with pytest.raises(OnnxError) as caught:
        ImportedModel(model)
    assert caught.value.code == "IREE-ONNX-005"
    assert "bad" in str(caught.value)


def shape_chain():
    """Reshape to [batch, rest] computed from Shape, Gather, Mul, Unsqueeze, Concat, as exporters write it."""
    return [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "i0"], ["n"], axis=0),
        helper.make_node("Gather", ["s", "i1"], ["c"], axis=0),
        helper.make_node("Slice", ["s", "two", "four"], ["hw"]),
        helper.make_node("ReduceProd", ["hw"], ["p"], keepdims=0),
        helper.make_node("Mul", ["c", "two0"], ["c2"]),
        helper.make_node("Div", ["c2", "two0"], ["c3"]),
        helper.make_node("Unsqueeze", ["n", "zero"], ["n1"]),
        helper.make_node("Unsqueeze", ["c3", "zero"], ["c1"]),
        helper.make_node("Concat", ["n1", "c1", "minus"], ["t"], axis=0),
        helper.make_node("Reshape", ["x", "t"], ["y"], "reshape"),
    ]


def shape_tensors():
    scalars = {"i0": 0, "i1": 1, "two0": 2}
    tensors = [numpy_helper.from_array(np.array(v, np.int64), k) for k, v in scalars.items()]
    return [*tensors, integers("two", 2), integers("four", 4), integers("zero", 0), integers("minus", -1)]


def without_product():
    return [n for n in shape_chain() if n.op_type != "ReduceProd"]


def test_shape_arithmetic_of_static_shapes_leaves_no_trace():
    model = ImportedModel(build(without_product(), {"x": [2, 3, 4, 5]}, tensors=shape_tensors()))
    assert {op.name for op in model.function.walk()} == {
        "func.func",
        "tensor.collapse_shape",
        "func.return",
    }


def test_shape_arithmetic_of_dynamic_shapes_is_index_arithmetic():
    inputs = {"x": ["n", "c", "h", "w"]}
    model = ImportedModel(build(without_product(), inputs, tensors=shape_tensors()))
    assert not ops_of(model, "tensor.from_elements", "tensor.extract", "linalg.generic")
    x = np.arange(120, dtype=np.float32).reshape(2, 3, 4, 5)
    assert np.array_equal(model(x)[0], x.reshape(2, 3, 20))


def test_sizes_of_one_formula_need_no_check():
    """Two branches halve the same dims in different ways; their sum is not checked when it runs."""
    nodes = [
        helper.make_node("MaxPool", ["x"], ["a"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("AveragePool", ["x"], ["b"], kernel_shape=[4, 4], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["a", "b"], ["y"]),
    ]
    model = ImportedModel(build(nodes, {"x": ["n", 3, "h", "w"]}))
    assert not ops_of(model, "util.broadcast_dim")


def test_reading_a_size_from_data_is_one_read():
    nodes = [helper.make_node("Expand", ["x", "s"], ["e"]), helper.make_node("Reshape", ["e", "s"], ["y"])]
    model = ImportedModel(build(nodes, {"x": [1, 1], "s": (7, [2])}))
    assert len(ops_of(model, "tensor.extract")) == 2
    x = np.ones((1, 1), np.float32)
    assert model(x, np.array([3, 4], np.int64))[0].shape == (3, 4)


def test_the_same_model_gives_the_same_text():
    model = build(without_product(), {"x": ["n", "c", "h", "w"]}, tensors=shape_tensors())
    assert str(ImportedModel(model).module) == str(ImportedModel(model).module)


def test_an_output_listed_again_has_a_name_of_its_own():
    nodes = [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Neg", ["y"], ["y_2"])]
    model = ImportedModel(build(nodes, {"x": [3]}, ("y", "y", "y_2", "y")))
    rows = model.function.attributes["res_attrs"].items
    assert [row.to_dict()["iree.name"].value for row in rows] == ["y", "y_3", "y_2", "y_4"]
    x = np.array([1, -2, 3], np.float32)
    y = np.maximum(x, 0)
    for result, expected in zip(model(x), (y, y, -y, y), strict=True):
        np.testing.assert_array_equal(result, expected)
