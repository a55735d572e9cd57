"""MatMul, Gemm, Einsum, Conv and ConvTranspose against onnxruntime, on odd sizes."""

import numpy as np
import pytest

from iree_input_onnx.testing import one_node

RNG = np.random.default_rng(11)
TOLERANCE = {"rtol": 1e-5, "atol": 2e-6}


def tensor(*shape, dtype=np.float32):
    if np.dtype(dtype).kind in "iu":
        return RNG.integers(0, 9, shape).astype(dtype)
    return RNG.standard_normal(shape).astype(dtype)


MATMULS = [
    ((3, 5), (5, 7)),
    ((5,), (5, 7)),
    ((3, 5), (5,)),
    ((5,), (5,)),
    ((2, 3, 5), (5, 7)),
    ((2, 3, 5), (2, 5, 7)),
    ((2, 1, 3, 5), (4, 5, 7)),
    ((4, 1, 3, 5), (1, 2, 5, 7)),
    ((5,), (3, 5, 7)),
    ((3, 2, 5), (5,)),
    ((1, 3, 5), (1, 5, 7)),
]


@pytest.mark.parametrize(("left", "right"), MATMULS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, np.int32], ids=lambda d: d.__name__)
def test_matmul(left, right, dtype, agree):
    a, b = tensor(*left, dtype=dtype), tensor(*right, dtype=dtype)
    agree(one_node("MatMul", {"a": a, "b": b}), [a, b], **TOLERANCE)


@pytest.mark.parametrize(("left", "right"), MATMULS)
def test_matmul_of_unknown_sizes(left, right, agree):
    a, b = tensor(*left), tensor(*right)
    dims = {"a": [None] * a.ndim, "b": [None] * b.ndim}
    agree(one_node("MatMul", {"a": a, "b": b}, dims=dims), [a, b], **TOLERANCE)


@pytest.mark.parametrize("transposed", [(0, 0), (0, 1), (1, 0), (1, 1)])
@pytest.mark.parametrize("bias", [None, (), (1,), (7,), (3, 1), (3, 7)])
def test_gemm(transposed, bias, agree):
    left, right = transposed
    a = tensor(5, 3) if left else tensor(3, 5)
    b = tensor(7, 5) if right else tensor(5, 7)
    inputs = {"a": a, "b": b}
    if bias is not None:
        inputs["c"] = tensor(*bias)
    for attributes in ({}, {"alpha": 0.5, "beta": 2.0}):
        model = one_node(
            "Gemm", inputs, {"transA": left, "transB": right, **attributes}, constants=["b", "c"]
        )
        agree(model, [a], **TOLERANCE)


def test_a_bias_that_counts_nothing_may_be_nan(agree):
    a, b, c = tensor(3, 5), tensor(5, 7), np.full((3, 7), np.nan, np.float32)
    for alpha in (1.0, 0.5):
        model = one_node("Gemm", {"a": a, "b": b, "c": c}, {"alpha": alpha, "beta": 0.0}, constants=["b"])
        agree(model, [a, c], **TOLERANCE)


@pytest.mark.parametrize(
    ("equation", "shapes"),
    [
        ("ij,jk->ik", [(3, 5), (5, 4)]),
        ("bij,bjk->bik", [(2, 3, 5), (2, 5, 4)]),
        ("...ij,...jk->...ik", [(2, 3, 5), (2, 5, 4)]),
        ("ij->ji", [(3, 5)]),
        ("ij->", [(3, 5)]),
        ("ii->i", [(4, 4)]),
        ("i,j->ij", [(3,), (5,)]),
        ("bhqd,bhkd->bhqk", [(2, 3, 4, 5), (2, 3, 6, 5)]),
        ("ij,ij", [(3, 5), (3, 5)]),
    ],
)
def test_einsum(equation, shapes, agree):
    inputs = {f"x{i}": tensor(*shape) for i, shape in enumerate(shapes)}
    agree(one_node("Einsum", inputs, {"equation": equation}), list(inputs.values()), **TOLERANCE)


CONVS = [
    # input, weights, attributes
    ((1, 3, 9, 7), (5, 3, 3, 3), {}),
    ((2, 3, 9, 7), (5, 3, 3, 3), {"pads": [1, 0, 2, 1], "strides": [2, 1]}),
    ((1, 4, 9, 7), (4, 1, 3, 3), {"group": 4, "pads": [1, 1, 1, 1]}),
    ((1, 4, 9, 7), (8, 1, 3, 3), {"group": 4, "pads": [1, 1, 1, 1]}),
    ((1, 6, 9, 7), (4, 3, 3, 2), {"group": 2, "dilations": [2, 1]}),
    ((1, 3, 8, 9), (5, 3, 1, 1), {"strides": [2, 2]}),
    ((1, 3, 8, 9), (2, 3, 5, 4), {"auto_pad": "SAME_UPPER", "strides": [3, 2]}),
    ((1, 3, 8, 9), (2, 3, 5, 4), {"auto_pad": "SAME_LOWER"}),
    ((1, 3, 8, 9), (2, 3, 3, 3), {"auto_pad": "VALID"}),
    ((2, 3, 11), (4, 3, 4), {"pads": [2, 1], "strides": [2]}),
    ((2, 4, 11), (4, 1, 3), {"group": 4}),
    ((2, 6, 11), (4, 3, 3), {"group": 2}),
    ((1, 2, 5, 6, 7), (3, 2, 2, 3, 3), {"pads": [0, 1, 1, 1, 0, 1]}),
    ((1, 4, 5, 6, 7), (4, 2, 2, 3, 3), {"group": 2, "strides": [1, 2, 1]}),
]


@pytest.mark.parametrize(("source", "weights", "attributes"), CONVS)
@pytest.mark.parametrize("known", [True, False])
def test_conv(source, weights, attributes, known, agree):
    x, w, b = tensor(*source), tensor(*weights), tensor(weights[0])
    dims = None if known else {"x": [None, source[1], *[None] * (len(source) - 2)]}
    model = one_node("Conv", {"x": x, "w": w, "b": b}, attributes, constants=["w", "b"], dims=dims)
    agree(model, [x], **TOLERANCE)


def test_conv_in_half_precision_accumulates_in_f32(agree):
    x, w = tensor(1, 16, 6, 6, dtype=np.float16), tensor(4, 16, 3, 3, dtype=np.float16)
    agree(one_node("Conv", {"x": x, "w": w}, constants=["w"]), [x], oracle="reference")


TRANSPOSED = [
    ((1, 3, 4, 5), (3, 4, 3, 3), {}),
    ((1, 3, 4, 5), (3, 4, 2, 2), {"strides": [2, 2]}),
    ((1, 3, 4, 5), (3, 4, 3, 3), {"strides": [2, 3], "pads": [1, 0, 1, 2]}),
    ((1, 3, 4, 5), (3, 4, 3, 3), {"strides": [2, 2], "output_padding": [1, 0]}),
    ((1, 3, 4, 5), (3, 4, 3, 3), {"dilations": [2, 1], "pads": [1, 1, 1, 1]}),
    ((2, 4, 4, 5), (4, 3, 3, 3), {"group": 2, "strides": [2, 2]}),
    ((2, 4, 4, 5), (4, 1, 2, 2), {"group": 4, "strides": [2, 2]}),
    ((1, 3, 7), (3, 4, 4), {"strides": [2], "pads": [1, 1]}),
    ((1, 2, 3, 4, 3), (2, 3, 2, 3, 2), {"strides": [2, 1, 2]}),
    ((1, 3, 4, 5), (3, 4, 3, 3), {"strides": [2, 2], "output_shape": [8, 10]}),
    ((1, 3, 4, 5), (3, 4, 3, 3), {"strides": [2, 2], "auto_pad": "SAME_UPPER"}),
]


@pytest.mark.parametrize(("source", "weights", "attributes"), TRANSPOSED)
def test_conv_transpose(source, weights, attributes, agree):
    x, w = tensor(*source), tensor(*weights)
    b = tensor(weights[1] * attributes.get("group", 1))
    model = one_node("ConvTranspose", {"x": x, "w": w, "b": b}, attributes, constants=["w", "b"])
    agree(model, [x], **TOLERANCE)


@pytest.mark.parametrize("unsigned", [True, False])
def test_matmul_integer(unsigned, agree):
    a = tensor(3, 5, dtype=np.uint8)
    b = tensor(5, 4, dtype=np.uint8 if unsigned else np.int8)
    inputs = {"a": a, "b": b, "za": np.uint8(3), "zb": b.dtype.type(2)}
    agree(one_node("MatMulInteger", inputs), list(inputs.values()))
