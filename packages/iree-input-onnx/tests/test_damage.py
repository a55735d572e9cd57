"""Damaged files: seeded bit flips and truncations end in a module or in a coded error, never in a crash."""

import random
import warnings

import numpy as np
import pytest
from onnx import helper, numpy_helper

from iree_base.errors import IreeError
from iree_core_ir.constants import ConstantStore
from iree_input_onnx.frontend import OnnxFrontend

REPETITIONS = 500


def small_network():
    """A bit of everything that is parsed: attributes of all kinds, raw and typed tensors, a subgraph."""
    rng = np.random.default_rng(0)

    def constant(name, *shape):
        return numpy_helper.from_array(rng.standard_normal(shape).astype(np.float32), name)

    branch = helper.make_graph(
        [helper.make_node("Relu", ["pooled"], ["b"])],
        "then",
        [],
        [helper.make_tensor_value_info("b", 1, None)],
    )
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], "conv", pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("BatchNormalization", ["c", "b", "b", "b", "v"], ["n"], "bn", epsilon=1e-3),
        helper.make_node("MaxPool", ["n"], ["pooled"], "pool", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Constant", [], ["yes"], value=helper.make_tensor("t", 9, [], [True])),
        helper.make_node("If", ["yes"], ["r"], "if", then_branch=branch, else_branch=branch),
        helper.make_node("Shape", ["r"], ["s"], "shape"),
        helper.make_node("Gather", ["s", "zero"], ["n0"], "gather"),
        helper.make_node("Concat", ["n0", "minus"], ["target"], "concat", axis=0),
        helper.make_node("Reshape", ["r", "target"], ["flat"], "reshape"),
        helper.make_node("Gemm", ["flat", "g", "b"], ["z"], "gemm", transB=1),
        helper.make_node("Slice", ["z", "zero", "two", "one"], ["cut"], "slice"),
        helper.make_node("Softmax", ["cut"], ["y"], "softmax", axis=1),
    ]
    numbers = {"zero": [0], "one": [1], "two": [2], "minus": [-1]}
    tensors = [helper.make_tensor(k, 7, [1], v) for k, v in numbers.items()]
    tensors += [constant("w", 8, 3, 3, 3), constant("b", 8), constant("g", 8, 8 * 4 * 4), constant("v", 8)]
    inputs = [helper.make_tensor_value_info("x", 1, ["batch", 3, 16, 16])]
    outputs = [helper.make_tensor_value_info("y", 1, ["batch", 2])]
    graph = helper.make_graph(nodes, "g", inputs, outputs, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return model.SerializeToString()


DATA = small_network()


def damaged(seed):
    """The file with a part missing, or with some bits flipped, most of them outside of the weights."""
    rng = random.Random(seed)
    data = bytearray(DATA)
    if seed % 4 == 0:
        return bytes(data[: rng.randrange(len(data))])
    for _ in range(rng.choice([1, 1, 2, 8])):
        if rng.random() < 0.8:
            position = rng.choice([rng.randrange(900), len(data) - 1 - rng.randrange(200)])
        else:
            position = rng.randrange(len(data))
        data[position] ^= 1 << rng.randrange(8)
    return bytes(data)


def load(data):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return OnnxFrontend().load(data, ConstantStore())


def test_the_whole_file_loads():
    load(DATA)


@pytest.mark.parametrize("block", range(10))
def test_damage_never_escapes_as_another_exception(block):
    for seed in range(block * REPETITIONS // 10, (block + 1) * REPETITIONS // 10):
        try:
            load(damaged(seed))
        except IreeError as error:
            assert error.code.startswith(("IREE-ONNX-", "IREE-IR-"))
            assert "\n" not in str(error), seed


def test_damage_is_noticed_most_of_the_time():
    """Truncation always is: a model is one message."""
    for seed in range(0, REPETITIONS, 4):
        with pytest.raises(IreeError):
            load(damaged(seed))
