"""Elementwise ops on odd shapes, broadcast, in every dtype, with NaN, infinities and zeros."""

import numpy as np
import pytest

from iree_input_onnx.testing import one_node

FLOATS = (np.float32, np.float64, np.float16)
SIGNED = (np.int8, np.int16, np.int32, np.int64)
UNSIGNED = (np.uint8, np.uint16, np.uint32, np.uint64)
SPECIAL = (np.nan, np.inf, -np.inf, 0.0, -0.0)


def numbers(rng, shape, dtype, special=True):
    if np.dtype(dtype).kind == "f":
        array = (rng.standard_normal(shape) * 3).astype(dtype)
        if special and array.size >= 8:
            array.reshape(-1)[rng.choice(array.size, 5, replace=False)] = SPECIAL
        return array
    if np.dtype(dtype).kind == "b":
        return rng.integers(0, 2, shape).astype(bool)
    info = np.iinfo(dtype)
    return rng.integers(max(info.min, -50), min(info.max, 50), shape, dtype=dtype)


UNARY = (  # noqa: SIM905
    "Abs Neg Ceil Floor Round Sqrt Reciprocal Exp Log Sin Cos Tan Asin Acos Atan Sinh Cosh Tanh Asinh Acosh "
    "Atanh Erf Sign IsNaN IsInf Relu Sigmoid Softplus Softsign Elu Celu Selu LeakyRelu ThresholdedRelu "
    "HardSigmoid HardSwish Mish Gelu"
).split()


@pytest.mark.parametrize("dtype", [np.float32, np.float16], ids=lambda d: d.__name__)
@pytest.mark.parametrize("op", UNARY)
def test_functions_of_one_float(op, dtype, agree):
    rng = np.random.default_rng(len(op))
    x = numbers(rng, (3, 7, 5), dtype)
    model = one_node(op, {"x": x}, opset=20)
    agree(model, [x], oracle="reference", rtol=1e-5)


@pytest.mark.parametrize("dtype", [*SIGNED, *UNSIGNED], ids=lambda d: d.__name__)
@pytest.mark.parametrize("op", ["Abs", "Neg", "Sign", "BitwiseNot"])
def test_functions_of_one_integer(op, dtype, agree):
    if op == "Neg" and dtype in UNSIGNED:
        pytest.skip("Neg is not defined on unsigned integers")
    x = numbers(np.random.default_rng(1), (5, 3), dtype)
    agree(one_node(op, {"x": x}), [x], oracle="reference")


SHAPES = [
    ((3, 1, 5), (4, 1)),
    ((7,), (2, 3, 7)),
    ((), (3, 5)),
    ((2, 3), (2, 3)),
    ((1, 1), (1,)),
    ((0, 3), (1, 3)),
]


@pytest.mark.parametrize("dtype", [*FLOATS, np.int32, np.int64, np.uint8], ids=lambda d: d.__name__)
@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div", "Max", "Min", "Equal", "Less", "GreaterOrEqual"])
def test_two_numbers_broadcast(op, dtype, agree):
    rng = np.random.default_rng(len(op))
    for left, right in SHAPES:
        a, b = numbers(rng, left, dtype), numbers(rng, right, dtype)
        if op == "Div" and np.dtype(dtype).kind in "iu":
            b = np.where(b == 0, np.array(7, dtype), b).astype(dtype)
        agree(one_node(op, {"a": a, "b": b}), [a, b], oracle="reference")


@pytest.mark.parametrize("op", ["Add", "Mul", "Less"])
def test_broadcast_is_decided_when_it_runs(op, agree):
    rng = np.random.default_rng(0)
    for left, right in (((3, 1, 5), (1, 4, 5)), ((3, 4, 5), (3, 4, 5)), ((3, 4, 1), (3, 1, 5))):
        a, b = numbers(rng, left, np.float32), numbers(rng, right, np.float32)
        free = one_node(op, {"a": a, "b": b}, dims={"a": [None] * 3, "b": [None] * 3})
        agree(free, [a, b], oracle="reference")
        partly = one_node(op, {"a": a, "b": b}, dims={"a": [None] * 3})
        agree(partly, [a, b], oracle="reference")


def test_shapes_that_do_not_broadcast_are_an_error_when_it_runs():
    from iree_base.errors import IreeError
    from iree_input_onnx.testing import run_model

    a, b = np.zeros((3, 4), np.float32), np.zeros((2, 4), np.float32)
    model = one_node("Add", {"a": a, "b": b}, dims={"a": [None, 4], "b": [None, 4]})
    with pytest.raises(IreeError):
        run_model(model, [a, b])


@pytest.mark.parametrize("op", ["And", "Or", "Xor"])
def test_logic(op, agree):
    rng = np.random.default_rng(0)
    a, b = numbers(rng, (3, 1, 2), np.bool_), numbers(rng, (4, 1), np.bool_)
    agree(one_node(op, {"a": a, "b": b}), [a, b])


@pytest.mark.parametrize("fmod", [0, 1])
@pytest.mark.parametrize("dtype", [*SIGNED, *UNSIGNED, np.float32], ids=lambda d: d.__name__)
def test_mod(dtype, fmod, agree):
    if not fmod and dtype is np.float32:
        pytest.skip("defined from opset 28 on, which onnxruntime does not know")
    rng = np.random.default_rng(3)
    a, b = numbers(rng, (5, 7), dtype, special=False), numbers(rng, (7,), dtype, special=False)
    b = np.where(b == 0, np.array(3, dtype), b).astype(dtype)
    agree(one_node("Mod", {"a": a, "b": b}, {"fmod": fmod}), [a, b])


@pytest.mark.parametrize("direction", ["LEFT", "RIGHT"])
@pytest.mark.parametrize("dtype", UNSIGNED, ids=lambda d: d.__name__)
def test_bit_shift(dtype, direction, agree):
    rng = np.random.default_rng(3)
    a, b = rng.integers(0, 200, (5, 7), dtype=dtype), rng.integers(0, 8, (7,), dtype=dtype)
    agree(one_node("BitShift", {"a": a, "b": b}, {"direction": direction}), [a, b], oracle="reference")


@pytest.mark.parametrize("constant", [True, False])
@pytest.mark.parametrize("exponent", [1.0, 2.0, 3.0, 0.5, -1.0])
def test_pow(exponent, constant, agree):
    x = np.abs(numbers(np.random.default_rng(3), (4, 5), np.float32, special=False))
    e = np.float32(exponent)
    model = one_node("Pow", {"x": x, "e": e}, constants=["e"] if constant else [])
    agree(model, [x] if constant else [x, e])


@pytest.mark.parametrize("opset", [7, 11, 13])
@pytest.mark.parametrize("dtype", [np.float32, np.int32], ids=lambda d: d.__name__)
def test_clip(dtype, opset, agree):
    if opset < 12 and dtype is np.int32:
        pytest.skip("Clip takes integers from opset 12 on")
    x = numbers(np.random.default_rng(3), (4, 5), dtype, special=False)
    if opset < 11:
        agree(one_node("Clip", {"x": x}, {"min": -1.0, "max": 2.0}, opset=opset), [x])
        agree(one_node("Clip", {"x": x}, {"max": 2.0}, opset=opset), [x])
        return
    low, high = np.array(-1, dtype), np.array(2, dtype)
    agree(one_node("Clip", {"x": x, "l": low, "h": high}, opset=opset), [x, low, high])
    model = one_node("Clip", {"x": x, "l": None, "h": high}, opset=opset, constants=["h"])
    agree(model, [x])


@pytest.mark.parametrize("count", [1, 2, 3, 5])
@pytest.mark.parametrize("op", ["Sum", "Mean", "Max", "Min"])
def test_any_number_of_inputs(op, count, agree):
    rng = np.random.default_rng(count)
    shapes = [(3, 1), (3, 4), (1, 4), (4,), ()][:count]
    inputs = {f"x{i}": numbers(rng, shape, np.float32, special=False) for i, shape in enumerate(shapes)}
    agree(one_node(op, inputs), list(inputs.values()))


def test_where_takes_the_chosen_nan_only(agree):
    rng = np.random.default_rng(0)
    c, a, b = (numbers(rng, s, d) for s, d in (((3, 1), np.bool_), ((3, 7), np.float32), ((7,), np.float32)))
    agree(one_node("Where", {"c": c, "a": a, "b": b}), [c, a, b], oracle="reference")


CASTS = [np.float32, np.float64, np.float16, np.int8, np.int32, np.int64, np.uint8, np.uint32, np.bool_]


@pytest.mark.parametrize("target", CASTS, ids=lambda d: np.dtype(d).name)
@pytest.mark.parametrize("source", CASTS, ids=lambda d: np.dtype(d).name)
def test_cast(source, target, agree):
    from onnx.helper import np_dtype_to_tensor_dtype

    rng = np.random.default_rng(0)
    x = numbers(rng, (5, 3), source, special=False)
    if np.dtype(target).kind == "u":
        x = np.abs(x) if np.dtype(source).kind != "b" else x
    model = one_node("Cast", {"x": x}, {"to": np_dtype_to_tensor_dtype(np.dtype(target))})
    agree(model, [x])


def test_float_to_integer_saturates():
    from iree_input_onnx.testing import run_model

    x = np.array([np.nan, np.inf, -np.inf, 3e9, -3e9, 1.9, -1.9], np.float32)
    (got,) = run_model(one_node("Cast", {"x": x}, {"to": 6}), [x])
    assert got.tolist() == [0, 2**31 - 1, -(2**31), 2**31 - 1, -(2**31), 1, -1]
