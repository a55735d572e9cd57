"""Reductions, pooling, softmax and normalizations against onnxruntime, on odd sizes."""

import numpy as np
import pytest

from iree_input_onnx.testing import one_node

RNG = np.random.default_rng(17)
TOLERANCE = {"rtol": 1e-5, "atol": 2e-6}


def tensor(*shape, dtype=np.float32):
    if np.dtype(dtype).kind in "iu":
        return RNG.integers(0, 5, shape).astype(dtype)
    return RNG.standard_normal(shape).astype(dtype)


REDUCE = ["Sum", "Mean", "Max", "Min", "Prod", "L1", "L2", "LogSumExp", "SumSquare"]


@pytest.mark.parametrize("op", REDUCE)
@pytest.mark.parametrize("axes", [None, [0], [1, -1], [0, 1, 2]])
@pytest.mark.parametrize("keep", [0, 1])
@pytest.mark.parametrize("opset", [11, 18])
def test_reduce(op, axes, keep, opset, agree):
    x = tensor(3, 4, 5)
    name = f"Reduce{op}"
    if axes is None or opset < 13 or (opset < 18 and op != "Sum"):
        attributes = {"keepdims": keep} if axes is None else {"keepdims": keep, "axes": axes}
        agree(one_node(name, {"x": x}, attributes, opset=opset), [x], **TOLERANCE)
    else:
        inputs = {"x": x, "a": np.array(axes, np.int64)}
        model = one_node(name, inputs, {"keepdims": keep}, opset=opset, constants=["a"])
        agree(model, [x], **TOLERANCE)


@pytest.mark.parametrize(
    "dtype", [np.int32, np.int64, np.uint8, np.float16, np.float64], ids=lambda d: d.__name__
)
@pytest.mark.parametrize("op", ["Sum", "Max", "Min", "Mean"])
def test_reduce_other_types(op, dtype, agree):
    x = tensor(3, 7, dtype=dtype)
    oracle = "reference" if dtype is np.float16 else None
    if op == "Mean" and np.dtype(dtype).kind != "f":
        pytest.skip("the standard leaves the rounding of integer means open")
    agree(one_node(f"Reduce{op}", {"x": x}, {"axes": [1]}, opset=12), [x], oracle=oracle)


def test_noop_with_empty_axes(agree):
    x = tensor(3, 4)
    agree(one_node("ReduceSum", {"x": x}, {"noop_with_empty_axes": 1}, opset=13), [x])


@pytest.mark.parametrize("op", ["ArgMax", "ArgMin"])
@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("last", [0, 1])
def test_arg_extreme(op, axis, last, agree):
    x = RNG.integers(0, 3, (4, 5, 6)).astype(np.float32)  # many ties
    agree(one_node(op, {"x": x}, {"axis": axis, "select_last_index": last, "keepdims": 0}), [x])


@pytest.mark.parametrize("exclusive", [0, 1])
@pytest.mark.parametrize("reverse", [0, 1])
def test_cumsum(exclusive, reverse, agree):
    x = tensor(3, 7)
    inputs = {"x": x, "axis": np.int64(1)}
    attributes = {"exclusive": exclusive, "reverse": reverse}
    agree(one_node("CumSum", inputs, attributes, constants=["axis"]), [x], **TOLERANCE)


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax", "Hardmax"])
@pytest.mark.parametrize("opset", [11, 13])
@pytest.mark.parametrize("axis", [0, 1, 2, None])
def test_softmax_of_both_meanings(op, opset, axis, agree):
    x = tensor(3, 4, 5) * 5
    agree(one_node(op, {"x": x}, {} if axis is None else {"axis": axis}, opset=opset), [x], **TOLERANCE)


POOLS = [
    ((1, 3, 9, 7), {"kernel_shape": [3, 3]}),
    ((1, 3, 9, 7), {"kernel_shape": [2, 3], "strides": [2, 2], "pads": [0, 1, 1, 1]}),
    ((1, 3, 9, 8), {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}),
    ((1, 3, 9, 8), {"kernel_shape": [3, 2], "strides": [2, 3], "pads": [1, 1, 1, 1], "ceil_mode": 1}),
    ((1, 3, 9, 8), {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "SAME_UPPER"}),
    ((2, 3, 11), {"kernel_shape": [4], "strides": [3], "pads": [1, 2]}),
    ((1, 2, 6, 7, 5), {"kernel_shape": [2, 3, 2], "strides": [2, 1, 2]}),
]


@pytest.mark.parametrize(("shape", "attributes"), POOLS)
@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("op", ["MaxPool", "AveragePool", "LpPool"])
def test_pool(op, shape, attributes, known, agree):
    if op == "LpPool" and ("ceil_mode" in attributes or "auto_pad" in attributes):
        pytest.skip("onnxruntime's LpPool differs from the standard here")
    x = tensor(*shape)
    dims = None if known else {"x": [*shape[:2], *[None] * (len(shape) - 2)]}
    agree(one_node(op, {"x": x}, attributes, opset=19, dims=dims), [x], **TOLERANCE)
    if op == "AveragePool":
        counted = {**attributes, "count_include_pad": 1}
        agree(one_node(op, {"x": x}, counted, opset=19, dims=dims), [x], **TOLERANCE)


def test_max_pool_dilations_and_indices(agree):
    x = tensor(2, 3, 9, 8)
    attributes = {"kernel_shape": [2, 3], "dilations": [2, 2]}
    agree(one_node("MaxPool", {"x": x}, attributes), [x])
    attributes = {"kernel_shape": [2, 3], "strides": [2, 2], "pads": [1, 1, 0, 1]}
    agree(one_node("MaxPool", {"x": x}, attributes, outputs=2), [x])


def test_max_pool_of_unsigned_integers(agree):
    x = RNG.integers(0, 255, (1, 2, 6, 6)).astype(np.uint8)
    agree(one_node("MaxPool", {"x": x}, {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}), [x])


@pytest.mark.parametrize("op", ["GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"])
def test_global_pool(op, agree):
    x = tensor(2, 3, 5, 7)
    agree(one_node(op, {"x": x}), [x], **TOLERANCE)


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("opset", [7, 9, 15])
def test_batch_normalization(known, opset, agree):
    x = tensor(2, 5, 4, 3)
    inputs = {"x": x, "s": tensor(5), "b": tensor(5), "m": tensor(5), "v": np.abs(tensor(5)) + 0.1}
    constants = list(inputs)[1:] if known else []
    arrays = [x] if known else list(inputs.values())
    agree(one_node("BatchNormalization", inputs, opset=opset, constants=constants), arrays, **TOLERANCE)


@pytest.mark.parametrize("axis", [1, 2, -1])
@pytest.mark.parametrize("bias", [True, False])
def test_layer_normalization(axis, bias, agree):
    x = tensor(2, 3, 5)
    inputs = {"x": x, "s": tensor(*x.shape[axis:])}
    if bias:
        inputs["b"] = tensor(*x.shape[axis:])
    agree(one_node("LayerNormalization", inputs, {"axis": axis}), list(inputs.values()), **TOLERANCE)


def test_instance_and_group_normalization(agree):
    x = tensor(2, 6, 5, 4)
    agree(
        one_node("InstanceNormalization", {"x": x, "s": (s := tensor(6)), "b": (b := tensor(6))}),
        [x, s, b],
        **TOLERANCE,
    )
    inputs = {"x": x, "s": tensor(6), "b": tensor(6)}
    agree(
        one_node("GroupNormalization", inputs, {"num_groups": 3}, opset=21),
        list(inputs.values()),
        **TOLERANCE,
    )


@pytest.mark.parametrize("size", [1, 3, 5])
def test_lrn(size, agree):
    x = tensor(2, 7, 3, 3)
    agree(
        one_node("LRN", {"x": x}, {"size": size, "alpha": 0.01, "beta": 0.6, "bias": 2.0}), [x], **TOLERANCE
    )


def test_quantize_and_dequantize(agree):
    x = tensor(3, 4) * 50
    for dtype in (np.uint8, np.int8):
        inputs = {"x": x, "s": np.float32(0.37), "z": dtype(5)}
        agree(one_node("QuantizeLinear", inputs), list(inputs.values()))
        q = RNG.integers(0, 100, (3, 4)).astype(dtype)
        inputs = {"x": q, "s": np.abs(tensor(4)) + 0.1, "z": RNG.integers(0, 9, 4).astype(dtype)}
        agree(one_node("DequantizeLinear", inputs, {"axis": 1}), list(inputs.values()))
