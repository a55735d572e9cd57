"""linalg: meanings against scipy, numpy in float64 and hand-written loops; corner cases of MLIR."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import signal, special

from iree_base.element_types import element_type
from iree_core_ir.errors import CoreIrError

Run = Callable[..., Any]
FLOATS = ["f64", "f32", "f16", "bf16"]
INTEGERS = ["i8", "i16", "i32", "i64"]
TOLERANCE = {"f64": 1e-12, "f32": 1e-5, "f16": 4e-3, "bf16": 3e-2, "f8E4M3FN": 0.2}


def tensor(shape: Any, element: str) -> str:
    return f"tensor<{'x'.join([*map(str, shape), element])}>"


def dtype(element: str) -> np.dtype[Any]:
    return element_type(element).dtype


def sample(rng: np.random.Generator, shape: Any, element: str) -> np.ndarray[Any, Any]:
    row = element_type(element)
    if row.kind in "iub":
        low, high = (0, 2) if row.kind == "b" else (-100, 100)
        return rng.integers(low, high, shape).astype(row.dtype)
    return rng.normal(size=shape).astype(row.dtype)


def named(op: str, shapes: list[Any], elements: list[str], attributes: str = "") -> str:
    """A function of one named op; the last operand is the output."""
    types = [tensor(s, e) if s is not None else e for s, e in zip(shapes, elements, strict=True)]
    names = [f"%a{i}" for i in range(len(types))]
    ins = f"ins({', '.join(names[:-1])} : {', '.join(types[:-1])}) " if len(types) > 1 else ""
    arguments = ", ".join(f"{n}: {t}" for n, t in zip(names, types, strict=True))
    return f"""func.func @f({arguments}) -> {types[-1]} {{
      %r = linalg.{op} {attributes} {ins}outs({names[-1]} : {types[-1]}) -> {types[-1]}
      return %r : {types[-1]}
    }}"""


# -- contractions ---------------------------------------------------------------------------------

CONTRACTIONS = {
    "matmul": "mk,kn->mn",
    "batch_matmul": "bmk,bkn->bmn",
    "batch_reduce_matmul": "bmk,bkn->mn",
    "matmul_transpose_a": "km,kn->mn",
    "matmul_transpose_b": "mk,nk->mn",
    "batch_matmul_transpose_a": "bkm,bkn->bmn",
    "batch_matmul_transpose_b": "bmk,bnk->bmn",
    "matvec": "mk,k->m",
    "vecmat": "k,kn->n",
    "batch_matvec": "bmk,bk->bm",
    "batch_vecmat": "bk,bkn->bn",
    "dot": "k,k->",
    "mmt4d": "mkij,nklj->mnil",
}
SIZES = {"b": 2, "m": 3, "n": 5, "k": 7, "i": 2, "j": 3, "l": 4}


@pytest.mark.parametrize("op", CONTRACTIONS)
@pytest.mark.parametrize("element", [*FLOATS, *INTEGERS])
def test_contractions_accumulate_into_the_output(run_text: Run, op: str, element: str) -> None:
    rng = np.random.default_rng(1)
    spec = CONTRACTIONS[op]
    shapes = [[SIZES[c] for c in part] for part in spec.replace("->", ",").split(",")]
    a, b, c = (sample(rng, s, element) for s in shapes)
    (result,) = run_text(named(op, shapes, [element] * 3), a, b, c)
    assert result.dtype == dtype(element)
    if element in INTEGERS:
        wide = np.einsum(spec, a.astype(np.int64), b.astype(np.int64)) + c.astype(np.int64)
        np.testing.assert_array_equal(result, wide.astype(result.dtype))
    else:
        exact = np.einsum(spec, a.astype(np.float64), b.astype(np.float64)) + c.astype(np.float64)
        np.testing.assert_allclose(
            result.astype(np.float64), exact, rtol=TOLERANCE[element], atol=8 * TOLERANCE[element]
        )


@pytest.mark.parametrize(
    ("inputs", "output"), [("i8", "i32"), ("f16", "f32"), ("bf16", "f32"), ("i8", "f32"), ("f32", "f64")]
)
def test_contractions_promote_their_inputs(run_text: Run, inputs: str, output: str) -> None:
    rng = np.random.default_rng(2)
    shapes = [[4, 33], [33, 6], [4, 6]]
    a, b = (sample(rng, s, inputs) for s in shapes[:2])
    c = np.zeros((4, 6), dtype(output))
    (result,) = run_text(named("matmul", shapes, [inputs, inputs, output]), a, b, c)
    exact = a.astype(np.float64) @ b.astype(np.float64)
    np.testing.assert_allclose(result, exact, rtol=1e-5, atol=1e-5)


def test_unsigned_casts(run_text: Run) -> None:
    a, b = np.full((2, 3), -1, np.int8), np.full((3, 2), 2, np.int8)
    c = np.zeros((2, 2), np.int32)
    text = named(
        "matmul", [[2, 3], [3, 2], [2, 2]], ["i8", "i8", "i32"], "{cast = #linalg.type_fn<cast_unsigned>}"
    )
    np.testing.assert_array_equal(run_text(text, a, b, c)[0], np.full((2, 2), 255 * 2 * 3))
    signed = named("matmul", [[2, 3], [3, 2], [2, 2]], ["i8", "i8", "i32"])
    np.testing.assert_array_equal(run_text(signed, a, b, c)[0], np.full((2, 2), -6))


def test_large_integers_wrap_exactly(run_text: Run) -> None:
    rng = np.random.default_rng(3)
    for element in ("i32", "i64"):
        info = np.iinfo(dtype(element))
        a = rng.integers(info.min, info.max, (3, 8), dtype=dtype(element))
        b = rng.integers(info.min, info.max, (8, 2), dtype=dtype(element))
        c = np.zeros((3, 2), dtype(element))
        (result,) = run_text(named("matmul", [[3, 8], [8, 2], [3, 2]], [element] * 3), a, b, c)
        exact = a.astype(object) @ b.astype(object)
        width = info.bits
        wrapped = [[((v + (1 << width - 1)) % (1 << width)) - (1 << width - 1) for v in row] for row in exact]
        np.testing.assert_array_equal(result, np.array(wrapped, dtype(element)))


def test_boolean_matmul_is_or_of_ands(run_text: Run) -> None:
    rng = np.random.default_rng(4)
    a, b = rng.random((3, 5)) < 0.3, rng.random((5, 4)) < 0.3
    (result,) = run_text(
        named("matmul", [[3, 5], [5, 4], [3, 4]], ["i1"] * 3), a, b, np.zeros((3, 4), np.bool_)
    )
    np.testing.assert_array_equal(result, (a[:, :, None] & b[None]).any(1))


@pytest.mark.parametrize("sizes", [(0, 3, 4), (2, 0, 4), (2, 3, 0), (0, 0, 0), (1, 1, 1)])
def test_zero_and_one_sizes(run_text: Run, sizes: tuple[int, int, int]) -> None:
    m, n, k = sizes
    a, b, c = np.ones((m, k), np.float32), np.ones((k, n), np.float32), np.full((m, n), 5, np.float32)
    (result,) = run_text(named("matmul", [["?", "?"]] * 3, ["f32"] * 3), a, b, c)
    np.testing.assert_array_equal(result, np.full((m, n), 5 + k, np.float32))


def test_shapes_that_disagree_at_run_time_are_an_error(run_text: Run) -> None:
    text = named("matmul", [["?", "?"]] * 3, ["f32"] * 3)
    with pytest.raises(CoreIrError, match=r"dim 0 of operand 1 has size 3, but loop d2 has 4"):
        run_text(text, np.ones((2, 4), np.float32), np.ones((3, 2), np.float32), np.ones((2, 2), np.float32))


def test_nan_and_inf_propagate(run_text: Run) -> None:
    a = np.array([[1, np.inf], [np.nan, 0]], np.float32)
    b = np.array([[0, 1], [1, -1]], np.float32)
    (result,) = run_text(named("matmul", [[2, 2]] * 3, ["f32"] * 3), a, b, np.zeros((2, 2), np.float32))
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(result, a @ b)


def test_quantized_matmul(run_text: Run) -> None:
    rng = np.random.default_rng(5)
    a, b = sample(rng, (4, 9), "i8"), sample(rng, (9, 3), "i8")
    c = sample(rng, (4, 3), "i32")
    text = named("quantized_matmul", [[4, 9], [9, 3], None, None, [4, 3]], ["i8", "i8", "i32", "i32", "i32"])
    (result,) = run_text(text, a, b, 3, -7, c)
    exact = (a.astype(np.int64) - 3) @ (b.astype(np.int64) + 7) + c
    np.testing.assert_array_equal(result, exact)


# -- convolutions against scipy's correlation, pooling against windows ---------------------------------------------------------

CONVOLUTIONS = [
    # op, input layout, kernel layout, output layout, groups are explicit
    ("conv_1d_ncw_fcw", "ncw", "fcw", "nfw"),
    ("conv_1d_nwc_wcf", "nwc", "wcf", "nwf"),
    ("conv_2d_nchw_fchw", "nchw", "fchw", "nfhw"),
    ("conv_2d_nhwc_hwcf", "nhwc", "hwcf", "nhwf"),
    ("conv_2d_nhwc_fhwc", "nhwc", "fhwc", "nhwf"),
    ("conv_2d_ngchw_gfchw", "ngchw", "gfchw", "ngfhw"),
    ("conv_2d_ngchw_fgchw", "ngchw", "fgchw", "ngfhw"),
    ("conv_2d_nhwgc_gfhwc", "nhwgc", "gfhwc", "nhwgf"),
    ("conv_3d_ncdhw_fcdhw", "ncdhw", "fcdhw", "nfdhw"),
    ("conv_3d_ndhwc_dhwcf", "ndhwc", "dhwcf", "ndhwf"),
    ("depthwise_conv_1d_ncw_cw", "ngw", "gw", "ngw"),
    ("depthwise_conv_1d_nwc_wc", "nwg", "wg", "nwg"),
    ("depthwise_conv_1d_nwc_wcm", "nwg", "wgf", "nwgf"),
    ("depthwise_conv_2d_nchw_chw", "nghw", "ghw", "nghw"),
    ("depthwise_conv_2d_nhwc_hwc", "nhwg", "hwg", "nhwg"),
    ("depthwise_conv_2d_nhwc_hwcm", "nhwg", "hwgf", "nhwgf"),
    ("depthwise_conv_3d_ndhwc_dhwc", "ndhwg", "dhwg", "ndhwg"),
    ("depthwise_conv_3d_ndhwc_dhwcm", "ndhwg", "dhwgf", "ndhwgf"),
]


def arrange(array: np.ndarray[Any, Any], axes: str, layout: str) -> np.ndarray[Any, Any]:
    """``array`` with named ``axes`` in the order ``layout``; axes that the layout lacks have size 1."""
    for axis in axes:
        if axis not in layout:
            array = array.take(0, axis=axes.index(axis))
            axes = axes.replace(axis, "")
    return np.ascontiguousarray(array.transpose([axes.index(axis) for axis in layout]))


def correlated(
    x: np.ndarray[Any, Any], w: np.ndarray[Any, Any], strides: list[int], dilations: list[int]
) -> np.ndarray[Any, Any]:
    """``x[n, g, c, space]`` with ``w[g, f, c, space]`` in float64: scipy correlates, holes and steps are ours."""
    spread = np.zeros((*w.shape[:3], *((k - 1) * d + 1 for k, d in zip(w.shape[3:], dilations, strict=True))))
    spread[(..., *(slice(None, None, d) for d in dilations))] = w
    taken = (0, *(slice(None, None, step) for step in strides))
    return np.array(
        [
            [
                [signal.correlate(image, kernel, "valid", "direct")[taken] for kernel in kernels]
                for image, kernels in zip(images, spread, strict=True)
            ]
            for images in x
        ]
    )


@pytest.mark.parametrize(
    ("op", "layout_x", "layout_w", "layout_y"), CONVOLUTIONS, ids=[c[0] for c in CONVOLUTIONS]
)
@pytest.mark.parametrize("variant", [0, 1, 2])
def test_convolutions(
    run_text: Run, op: str, layout_x: str, layout_w: str, layout_y: str, variant: int
) -> None:
    rng = np.random.default_rng(variant)
    space = "".join(c for c in "dhw" if c in layout_x)
    n_space = len(space)
    groups = 3 if "g" in layout_x else 1
    c = 2 if "c" in layout_x else 1
    f = 4 if "f" in layout_w else 1
    kernel = [[3, 2, 1], [1, 1, 1], [2, 3, 2]][variant][:n_space]
    strides = [[1, 1, 1], [2, 1, 3], [2, 3, 1]][variant][:n_space]
    dilations = [[1, 1, 1], [1, 1, 1], [2, 1, 3]][variant][:n_space]
    size = [7, 8, 6][:n_space]
    x = rng.normal(size=(2, groups, c, *size))
    w = rng.normal(size=(groups, f, c, *kernel))
    exact = correlated(x, w, strides, dilations)
    a = arrange(x, "ngc" + space, layout_x).astype(np.float32)
    b = arrange(w, "gfc" + space, layout_w).astype(np.float32)
    y = arrange(exact, "ngf" + space, layout_y)
    start = rng.normal(size=y.shape).astype(np.float32)
    attributes = (
        f"{{dilations = dense<{dilations}> : tensor<{n_space}xi64>,"
        f" strides = dense<{strides}> : tensor<{n_space}xi64>}}"
    )
    (result,) = run_text(named(op, [a.shape, b.shape, y.shape], ["f32"] * 3, attributes), a, b, start)
    np.testing.assert_allclose(result, y + start, rtol=1e-4, atol=1e-4)


def test_quantized_convolution(run_text: Run) -> None:
    rng = np.random.default_rng(0)
    x, w = sample(rng, (1, 5, 5, 2), "i8"), sample(rng, (3, 3, 2, 4), "i8")
    c = np.zeros((1, 3, 3, 4), np.int32)
    text = named(
        "conv_2d_nhwc_hwcf_q", [x.shape, w.shape, None, None, c.shape], ["i8", "i8", "i32", "i32", "i32"]
    )
    (result,) = run_text(text, x, w, 5, -2, c)
    windows = np.lib.stride_tricks.sliding_window_view(x.astype(np.int64) - 5, (3, 3), axis=(1, 2))
    np.testing.assert_array_equal(result, np.einsum("nhwcij,ijcf->nhwf", windows, w.astype(np.int64) + 2))


@pytest.mark.parametrize(
    "op", ["pooling_nchw_max", "pooling_nchw_sum", "pooling_nhwc_max", "pooling_nhwc_min", "pooling_nhwc_sum"]
)
@pytest.mark.parametrize("element", ["f32", "f16", "i32"])
def test_pooling_2d(run_text: Run, op: str, element: str) -> None:
    rng = np.random.default_rng(0)
    x = sample(rng, (2, 3, 9, 8), element)
    kernel, strides, dilations = (3, 2), (2, 1), (1, 3)
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    windows = np.lib.stride_tricks.sliding_window_view(x.astype(np.float64), reach, axis=(2, 3))
    windows = windows[:, :, :: strides[0], :: strides[1], :: dilations[0], :: dilations[1]]
    kind = op.rpartition("_")[2]
    exact = getattr(windows, kind)(axis=(4, 5))
    start = {"max": -np.inf, "min": np.inf, "sum": 0}[kind]
    if element == "i32":
        start = {"max": np.iinfo(np.int32).min, "min": np.iinfo(np.int32).max, "sum": 0}[kind]
    if "nhwc" in op:
        x, exact = x.transpose(0, 2, 3, 1), exact.transpose(0, 2, 3, 1)
    output = np.full(exact.shape, start, dtype(element))
    attributes = "{dilations = dense<[1, 3]> : tensor<2xi64>, strides = dense<[2, 1]> : tensor<2xi64>}"
    text = named(op, [x.shape, kernel, exact.shape], [element] * 3, attributes)
    (result,) = run_text(text, x, np.empty(kernel, dtype(element)), output)
    np.testing.assert_allclose(result.astype(np.float64), exact, rtol=2e-3, atol=1e-2)


@pytest.mark.parametrize(
    ("op", "axes"),
    [
        ("pooling_ncw_max", (2,)),
        ("pooling_nwc_sum", (1,)),
        ("pooling_ndhwc_max", (1, 2, 3)),
        ("pooling_ndhwc_sum", (1, 2, 3)),
        ("pooling_ndhwc_min", (1, 2, 3)),
        ("pooling_nwc_min", (1,)),
        ("pooling_ncw_sum", (2,)),
        ("pooling_nwc_max", (1,)),
    ],
)
def test_pooling_1d_and_3d(run_text: Run, op: str, axes: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    shape = [2, 3, 4] if len(axes) == 1 else [2, 4, 5, 6, 3]
    x = rng.normal(size=shape).astype(np.float32)
    kernel = (2,) * len(axes)
    kind = op.rpartition("_")[2]
    windows = np.lib.stride_tricks.sliding_window_view(x.astype(np.float64), kernel, axis=axes)
    exact = getattr(windows, kind)(axis=tuple(range(x.ndim, windows.ndim)))
    start = {"max": -np.inf, "min": np.inf, "sum": 0}[kind]
    text = named(op, [x.shape, kernel, exact.shape], ["f32"] * 3)
    (result,) = run_text(text, x, np.empty(kernel, np.float32), np.full(exact.shape, start, np.float32))
    np.testing.assert_allclose(result, exact, rtol=1e-5, atol=1e-5)


def test_max_pooling_keeps_nan_and_initial_infinity(run_text: Run) -> None:
    x = np.array([[[[np.nan, 1, -np.inf, -np.inf]]]], np.float32)
    text = named("pooling_nchw_max", [[1, 1, 1, 4], [1, 2], [1, 1, 1, 2]], ["f32"] * 3,
                 "{dilations = dense<1> : tensor<2xi64>, strides = dense<[1, 2]> : tensor<2xi64>}")  # fmt: skip
    (result,) = run_text(text, x, np.empty((1, 2), np.float32), np.full((1, 1, 1, 2), -np.inf, np.float32))
    np.testing.assert_array_equal(result, [[[[np.nan, -np.inf]]]])


def test_unsigned_pooling_compares_bits(run_text: Run) -> None:
    x = np.array([[[[1], [-1]]]], np.int8)
    for op, start, expected in (("pooling_nhwc_max_unsigned", 0, -1), ("pooling_nhwc_min_unsigned", -1, 1)):
        text = named(op, [[1, 1, 2, 1], [1, 2], [1, 1, 1, 1]], ["i8"] * 3)
        (result,) = run_text(text, x, np.empty((1, 2), np.int8), np.full((1, 1, 1, 1), start, np.int8))
        assert result.item() == expected


def test_windows_that_leave_the_input_are_an_error(run_text: Run) -> None:
    text = named("pooling_nchw_sum", [["?"] * 4, ["?"] * 2, ["?"] * 4], ["f32"] * 3)
    one = np.float32
    with pytest.raises(CoreIrError, match="runs from 0 to 4, dim 3 has size 4"):
        run_text(text, np.ones((1, 1, 3, 4), one), np.ones((1, 2), one), np.ones((1, 1, 3, 4), one))


# -- elementwise -----------------------------------------------------------------------------------

UNARY: dict[str, Callable[[Any], Any]] = {
    "exp": np.exp, "log": np.log, "abs": np.abs, "ceil": np.ceil, "floor": np.floor, "negf": np.negative,
    "sqrt": np.sqrt, "square": np.square, "tanh": np.tanh, "reciprocal": np.reciprocal,
    "rsqrt": lambda x: 1 / np.sqrt(x),
}  # fmt: skip
BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "max": np.maximum,
    "min": np.minimum, "powf": np.power,
}  # fmt: skip


@pytest.mark.parametrize("op", [*UNARY, *BINARY])
@pytest.mark.parametrize("element", FLOATS)
def test_elementwise(run_text: Run, op: str, element: str) -> None:
    rng = np.random.default_rng(0)
    special = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 0.5])
    inputs = [
        np.concatenate([rng.normal(size=25), special]).astype(dtype(element))
        for _ in range(1 if op in UNARY else 2)
    ]
    inputs = [rng.permutation(x) for x in inputs]
    text = named(op, [[33]] * (len(inputs) + 1), [element] * (len(inputs) + 1))
    (result,) = run_text(text, *inputs, np.zeros(33, dtype(element)))
    with np.errstate(all="ignore"):
        exact = (UNARY | BINARY)[op](*[x.astype(np.float64) for x in inputs])  # type: ignore[operator]
        exact = exact.astype(dtype(element)).astype(np.float64)
    np.testing.assert_allclose(result.astype(np.float64), exact, rtol=TOLERANCE[element], atol=1e-30)


def test_rounding_goes_away_from_zero_at_halves(run_text: Run) -> None:
    x = np.array([0.5, 1.5, -0.5, -2.5, 0.49999997, 2.0], np.float32)
    (result,) = run_text(named("round", [[6], [6]], ["f32"] * 2), x, x)
    np.testing.assert_array_equal(result, [1, 2, -1, -3, 0, 2])


def test_erf_against_scipy(run_text: Run) -> None:
    x = np.linspace(-4, 4, 101).astype(np.float32)
    (result,) = run_text(named("erf", [[101], [101]], ["f32"] * 2), x, x)
    np.testing.assert_allclose(result, special.erf(x.astype(np.float64)), rtol=1e-6, atol=1e-7)


def test_integer_elementwise(run_text: Run) -> None:
    a, b = np.array([7, -7, 100], np.int8), np.array([2, 2, 100], np.int8)
    for op, expected in (
        ("add", [9, -5, -56]),
        ("div", [3, -3, 1]),
        ("div_unsigned", [3, 124, 1]),
        ("max", [7, 2, 100]),
        ("min", [2, -7, 100]),
    ):
        (result,) = run_text(named(op, [[3]] * 3, ["i8"] * 3), a, b, a)
        np.testing.assert_array_equal(result, expected)


def test_fill_casts_and_takes_zero_sizes_and_ranks(run_text: Run) -> None:
    (result,) = run_text(named("fill", [None, ["?", 3]], ["f32", "f32"]), 2.5, np.zeros((2, 3), np.float32))
    np.testing.assert_array_equal(result, np.full((2, 3), 2.5, np.float32))
    (empty,) = run_text(named("fill", [None, ["?", 3]], ["f32", "f32"]), 2.5, np.zeros((0, 3), np.float32))
    assert empty.shape == (0, 3)
    (scalar,) = run_text(named("fill", [None, []], ["f32", "f32"]), 2.5, np.zeros((), np.float32))
    assert scalar.shape == () and scalar[()] == 2.5
    (cast,) = run_text(named("fill", [None, [2]], ["i32", "f64"]), -3, np.zeros(2))
    np.testing.assert_array_equal(cast, [-3.0, -3.0])
    (index,) = run_text(named("fill", [None, [2]], ["index", "index"]), 4, np.zeros(2, np.int64))
    np.testing.assert_array_equal(index, [4, 4])


def test_copy_converts(run_text: Run) -> None:
    x = np.array([1.75, -2.5, 300.0, np.nan], np.float32)
    (result,) = run_text(named("copy", [[4], [4]], ["f32", "i8"]), x, np.zeros(4, np.int8))
    np.testing.assert_array_equal(result, [1, -2, 127, 0])


def test_select(run_text: Run) -> None:
    c = np.array([True, False])
    (result,) = run_text(
        named("select", [[2]] * 4, ["i1", "f32", "f32", "f32"]),
        c,
        *[np.array(v, np.float32) for v in ([1, 2], [3, 4], [0, 0])],
    )
    np.testing.assert_array_equal(result, [1, 4])


# -- reduce, transpose, broadcast, map ---------------------------------------------------------------

COMBINERS: dict[str, Callable[[Any, Any], Any]] = {
    "arith.addf": np.add, "arith.mulf": np.multiply, "arith.maximumf": np.maximum,
    "arith.minimumf": np.minimum, "arith.maxnumf": np.fmax, "arith.minnumf": np.fmin,
}  # fmt: skip
INTEGER_COMBINERS: dict[str, Callable[[Any, Any], Any]] = {
    "arith.addi": np.add, "arith.muli": np.multiply, "arith.maxsi": np.maximum, "arith.minsi": np.minimum,
    "arith.andi": np.bitwise_and, "arith.ori": np.bitwise_or, "arith.xori": np.bitwise_xor,
}  # fmt: skip


def reduce_text(op: str, shape: Any, kept: Any, dims: list[int], element: str) -> str:
    return f"""func.func @f(%x: {tensor(shape, element)}, %o: {tensor(kept, element)}) -> {tensor(kept, element)} {{
      %r = linalg.reduce {{ {op} }} ins(%x : {tensor(shape, element)}) outs(%o : {tensor(kept, element)}) dimensions = {dims}
      return %r : {tensor(kept, element)}
    }}"""


def folded(ufunc: Any, x: Any, start: Any, dims: list[int]) -> Any:
    """Element after element, in the order of the loops."""
    moved = np.moveaxis(x, dims, range(len(dims)))
    for point in itertools.product(*map(range, moved.shape[: len(dims)])):
        start = ufunc(start, moved[point])
    return start


@pytest.mark.parametrize("op", COMBINERS)
@pytest.mark.parametrize("element", FLOATS)
@pytest.mark.parametrize("dims", [[0], [1, 2], [0, 1, 2], []])
def test_float_reductions(run_text: Run, op: str, element: str, dims: list[int]) -> None:
    rng = np.random.default_rng(0)
    x = sample(rng, (3, 4, 5), element)
    x[0, 1, 2], x[1, 0, 3] = np.nan, -np.inf
    x[2, 3, :2] = 0.0, -0.0
    kept = [n for i, n in enumerate(x.shape) if i not in dims]
    start = sample(rng, kept, element)
    (result,) = run_text(reduce_text(op, x.shape, kept, dims, element), x, start)
    with np.errstate(all="ignore"):
        exact = folded(COMBINERS[op], x.astype(np.float64), start.astype(np.float64), dims)
    np.testing.assert_allclose(
        result.astype(np.float64), exact, rtol=20 * TOLERANCE[element], atol=TOLERANCE[element]
    )


@pytest.mark.parametrize("op", INTEGER_COMBINERS)
@pytest.mark.parametrize("element", INTEGERS)
def test_integer_reductions(run_text: Run, op: str, element: str) -> None:
    rng = np.random.default_rng(0)
    x, start = sample(rng, (3, 4, 5), element), sample(rng, (4,), element)
    (result,) = run_text(reduce_text(op, x.shape, [4], [0, 2], element), x, start)
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(result, folded(INTEGER_COMBINERS[op], x, start, [0, 2]))


@pytest.mark.parametrize(("op", "expected"), [("arith.maxui", -1), ("arith.minui", 1), ("arith.maxsi", 2)])
def test_unsigned_reductions(run_text: Run, op: str, expected: int) -> None:
    x = np.array([1, -1, 2], np.int16)
    (result,) = run_text(reduce_text(op, [3], [], [0], "i16"), x, np.array(x[0]))
    assert result[()] == expected


@pytest.mark.parametrize(
    "op",
    [
        "arith.addi",
        "arith.muli",
        "arith.ori",
        "arith.andi",
        "arith.xori",
        "arith.maxsi",
        "arith.maxui",
        "arith.minsi",
        "arith.minui",
    ],
)
def test_boolean_reductions_are_one_bit_arithmetic(run_text: Run, op: str) -> None:
    values = {"arith.addi": lambda a, b: a ^ b, "arith.muli": lambda a, b: a & b, "arith.ori": lambda a, b: a | b,
              "arith.andi": lambda a, b: a & b, "arith.xori": lambda a, b: a ^ b,
              "arith.maxsi": lambda a, b: a & b, "arith.minsi": lambda a, b: a | b,
              "arith.maxui": lambda a, b: a | b, "arith.minui": lambda a, b: a & b}  # fmt: skip
    for bits in itertools.product([False, True], repeat=3):
        x = np.array(bits[:2])
        (result,) = run_text(reduce_text(op, [2], [], [0], "i1"), x, np.array(bits[2]))
        assert bool(result) == values[op](values[op](bits[2], bits[0]), bits[1])


@pytest.mark.parametrize("op", ["arith.addf", "arith.maximumf"])
def test_reducing_nothing_gives_the_initial_value(run_text: Run, op: str) -> None:
    text = reduce_text(op, ["?", 2], [2], [0], "f32")
    (result,) = run_text(text, np.zeros((0, 2), np.float32), np.array([1, -np.inf], np.float32))
    np.testing.assert_array_equal(result, [1, -np.inf])


def test_zeros_keep_their_order(run_text: Run) -> None:
    """-0 < +0 for maximumf and minimumf, whatever the order of the elements."""
    for values in itertools.product([0.0, -0.0], repeat=3):
        x = np.array(values, np.float32)
        for op, positive in (("arith.maximumf", any), ("arith.minimumf", all)):
            (result,) = run_text(reduce_text(op, [3], [], [0], "f32"), x, np.array(values[0], np.float32))
            assert np.signbit(result) == (not positive(not np.signbit(v) for v in values))


def test_transpose_and_broadcast(run_text: Run) -> None:
    x = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    text = """func.func @f(%x: tensor<2x3x4xf32>, %o: tensor<4x2x3xf32>, %p: tensor<5x2x3x6x4xf32>)
        -> (tensor<4x2x3xf32>, tensor<5x2x3x6x4xf32>) {
      %0 = linalg.transpose ins(%x : tensor<2x3x4xf32>) outs(%o : tensor<4x2x3xf32>) permutation = [2, 0, 1]
      %1 = linalg.broadcast ins(%x : tensor<2x3x4xf32>) outs(%p : tensor<5x2x3x6x4xf32>) dimensions = [0, 3]
      return %0, %1 : tensor<4x2x3xf32>, tensor<5x2x3x6x4xf32>
    }"""
    transposed, repeated = run_text(
        text, x, np.zeros((4, 2, 3), np.float32), np.zeros((5, 2, 3, 6, 4), np.float32)
    )
    np.testing.assert_array_equal(transposed, x.transpose(2, 0, 1))
    np.testing.assert_array_equal(repeated, np.broadcast_to(x[None, :, :, None, :], (5, 2, 3, 6, 4)))


def test_map_with_and_without_the_output(run_text: Run) -> None:
    text = """func.func @f(%x: tensor<3xf32>, %o: tensor<3xf32>) -> (tensor<3xf32>, tensor<3xf32>) {
      %0 = linalg.map { arith.mulf } ins(%x, %x : tensor<3xf32>, tensor<3xf32>) outs(%o : tensor<3xf32>)
      %1 = linalg.map ins(%x : tensor<3xf32>) outs(%o : tensor<3xf32>) (%in: f32, %init: f32) {
        %2 = arith.subf %init, %in : f32
        linalg.yield %2 : f32
      }
      return %0, %1 : tensor<3xf32>, tensor<3xf32>
    }"""
    x, o = np.array([1, 2, 3], np.float32), np.array([10, 10, 10], np.float32)
    square, difference = run_text(text, x, o)
    np.testing.assert_array_equal(square, [1, 4, 9])
    np.testing.assert_array_equal(difference, [9, 8, 7])


# -- generic ------------------------------------------------------------------------------------------


def test_argmax_takes_the_first(run_text: Run) -> None:
    """Two results that depend on each other: one step of the reduction after the other."""
    text = """
    #in = affine_map<(d0, d1) -> (d0, d1)>
    #out = affine_map<(d0, d1) -> (d0)>
    func.func @f(%x: tensor<?x?xf32>, %v: tensor<?xf32>, %i: tensor<?xindex>) -> (tensor<?xf32>, tensor<?xindex>) {
      %0:2 = linalg.generic {indexing_maps = [#in, #out, #out], iterator_types = ["parallel", "reduction"]}
          ins(%x : tensor<?x?xf32>) outs(%v, %i : tensor<?xf32>, tensor<?xindex>) {
      ^bb0(%in: f32, %best: f32, %at: index):
        %j = linalg.index 1 : index
        %c = arith.cmpf ogt, %in, %best : f32
        %1 = arith.select %c, %in, %best : f32
        %2 = arith.select %c, %j, %at : index
        linalg.yield %1, %2 : f32, index
      } -> (tensor<?xf32>, tensor<?xindex>)
      return %0#0, %0#1 : tensor<?xf32>, tensor<?xindex>
    }"""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 5, (6, 9)).astype(np.float32)
    values, at = run_text(text, x, np.full(6, -np.inf, np.float32), np.zeros(6, np.int64))
    np.testing.assert_array_equal(values, x.max(1))
    np.testing.assert_array_equal(at, x.argmax(1))


def test_gather_in_the_body(run_text: Run) -> None:
    text = """
    #id = affine_map<(d0, d1) -> (d0, d1)>
    #row = affine_map<(d0, d1) -> (d0)>
    func.func @f(%t: tensor<5x3xf32>, %i: tensor<?xi32>, %o: tensor<?x3xf32>) -> tensor<?x3xf32> {
      %0 = linalg.generic {indexing_maps = [#row, #id], iterator_types = ["parallel", "parallel"]}
          ins(%i : tensor<?xi32>) outs(%o : tensor<?x3xf32>) {
      ^bb0(%in: i32, %out: f32):
        %r = arith.index_cast %in : i32 to index
        %c = linalg.index 1 : index
        %v = tensor.extract %t[%r, %c] : tensor<5x3xf32>
        linalg.yield %v : f32
      } -> tensor<?x3xf32>
      return %0 : tensor<?x3xf32>
    }"""
    table = np.arange(15, dtype=np.float32).reshape(5, 3)
    i = np.array([4, 0, 2, 2], np.int32)
    (result,) = run_text(text, table, i, np.zeros((4, 3), np.float32))
    np.testing.assert_array_equal(result, table[i])
    with pytest.raises(CoreIrError, match="index 5 is outside dim 0 of size 5"):
        run_text(text, table, np.array([5], np.int32), np.zeros((1, 3), np.float32))


def generic(maps: list[str], iterators: list[str], types: list[str], body: str) -> str:
    """A generic of several inputs and one output, its function."""
    names = [f"%a{i}" for i in range(len(types))]
    elements = [re.sub(r"tensor<(?:[\d?]+x)*(.*)>", r"\1", t) for t in types]
    block = ", ".join(f"%x{i}: {e}" for i, e in enumerate(elements))
    return f"""func.func @f({", ".join(f"{n}: {t}" for n, t in zip(names, types, strict=True))}) -> {types[-1]} {{
      %r = linalg.generic {{indexing_maps = [{", ".join(f"affine_map<{m}>" for m in maps)}],
          iterator_types = [{", ".join(f'"{i}"' for i in iterators)}]}}
          ins({", ".join(names[:-1])} : {", ".join(types[:-1])}) outs({names[-1]} : {types[-1]}) {{
      ^bb0({block}):
        {body}
      }} -> {types[-1]}
      return %r : {types[-1]}
    }}"""


def test_reversed_strided_and_diagonal_reads(run_text: Run) -> None:
    x = np.arange(12, dtype=np.float32)
    text = generic(
        ["(d0) -> (11 - d0 * 3)", "(d0) -> (d0)"],
        ["parallel"],
        ["tensor<12xf32>", "tensor<4xf32>"],
        "linalg.yield %x0 : f32",
    )
    np.testing.assert_array_equal(run_text(text, x, np.zeros(4, np.float32))[0], x[::-1][::3])
    square = np.arange(9, dtype=np.float32).reshape(3, 3)
    text = generic(
        ["(d0) -> (d0, d0)", "(d0) -> (d0)"],
        ["parallel"],
        ["tensor<3x3xf32>", "tensor<3xf32>"],
        "linalg.yield %x0 : f32",
    )
    np.testing.assert_array_equal(run_text(text, square, np.zeros(3, np.float32))[0], np.diag(square))


def test_reads_that_are_not_linear(run_text: Run) -> None:
    x = np.arange(6, dtype=np.float32)
    text = generic(
        ["(d0) -> (d0 floordiv 2)", "(d0) -> (d0)"],
        ["parallel"],
        ["tensor<6xf32>", "tensor<12xf32>"],
        "linalg.yield %x0 : f32",
    )
    np.testing.assert_array_equal(run_text(text, x, np.zeros(12, np.float32))[0], np.repeat(x, 2))
    text = generic(
        ["(d0) -> (d0 mod 4)", "(d0) -> (d0)"],
        ["parallel"],
        ["tensor<6xf32>", "tensor<12xf32>"],
        "linalg.yield %x0 : f32",
    )
    np.testing.assert_array_equal(run_text(text, x, np.zeros(12, np.float32))[0], np.tile(x[:4], 3))


def test_writes_through_strides_keep_the_rest(run_text: Run) -> None:
    text = generic(
        ["(d0) -> (d0)", "(d0) -> (d0 * 2 + 1)"],
        ["parallel"],
        ["tensor<3xf32>", "tensor<8xf32>"],
        "linalg.yield %x0 : f32",
    )
    (result,) = run_text(text, np.array([1, 2, 3], np.float32), np.zeros(8, np.float32))
    np.testing.assert_array_equal(result, [0, 1, 0, 2, 0, 3, 0, 0])


def test_outputs_with_unit_dims_reduce(run_text: Run) -> None:
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    text = generic(
        ["(d0, d1) -> (d0, d1)", "(d0, d1) -> (d0, 0)"],
        ["parallel", "reduction"],
        ["tensor<2x3xf32>", "tensor<2x1xf32>"],
        "%s = arith.addf %x0, %x1 : f32\nlinalg.yield %s : f32",
    )
    np.testing.assert_array_equal(
        run_text(text, x, np.ones((2, 1), np.float32))[0], x.sum(1, keepdims=True) + 1
    )


def test_overlapping_writes_happen_in_loop_order(run_text: Run) -> None:
    """d0 + d1 addresses elements several times: only one iteration after the other is right."""
    text = generic(
        ["(d0, d1) -> (d0, d1)", "(d0, d1) -> (d0 + d1)"],
        ["reduction", "reduction"],
        ["tensor<2x3xf32>", "tensor<4xf32>"],
        "%s = arith.addf %x0, %x1 : f32\nlinalg.yield %s : f32",
    )
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    expected = np.zeros(4)
    for i, j in np.ndindex(2, 3):
        expected[i + j] += x[i, j]
    np.testing.assert_array_equal(run_text(text, x, np.zeros(4, np.float32))[0], expected)


def test_a_reduction_that_is_no_plain_combination(run_text: Run) -> None:
    """acc = acc * 0.5 + x, whose order matters."""
    text = generic(
        ["(d0, d1) -> (d0, d1)", "(d0, d1) -> (d1)"],
        ["reduction", "parallel"],
        ["tensor<3x2xf32>", "tensor<2xf32>"],
        "%h = arith.constant 0.5 : f32\n%m = arith.mulf %x1, %h : f32\n%s = arith.addf %m, %x0 : f32\nlinalg.yield %s : f32",
    )
    x = np.array([[1, 2], [3, 4], [5, 6]], np.float32)
    expected = np.zeros(2)
    for row in x:
        expected = expected * 0.5 + row
    np.testing.assert_array_equal(run_text(text, x, np.zeros(2, np.float32))[0], expected)


def test_control_flow_in_the_body(run_text: Run) -> None:
    body = """%z = arith.constant 0.0 : f32
        %c = arith.cmpf ogt, %x0, %z : f32
        %s = scf.if %c -> (f32) {
          scf.yield %x0 : f32
        } else {
          %i = linalg.index 0 : index
          %n = arith.index_cast %i : index to i32
          %f = arith.sitofp %n : i32 to f32
          scf.yield %f : f32
        }
        linalg.yield %s : f32"""
    text = generic(["(d0) -> (d0)", "(d0) -> (d0)"], ["parallel"], ["tensor<4xf32>", "tensor<4xf32>"], body)
    x = np.array([1.5, -1, 2.5, -3], np.float32)
    np.testing.assert_array_equal(run_text(text, x, x)[0], [1.5, 1, 2.5, 3])


def test_sum_of_products_with_casts_and_offsets(run_text: Run) -> None:
    """Factors that depend on some loops only are computed once, not per iteration."""
    body = """%a = arith.extsi %x0 : i8 to i32
        %o = arith.constant 5 : i32
        %p = arith.subi %a, %o : i32
        %b = arith.extsi %x1 : i8 to i32
        %m = arith.muli %p, %b : i32
        %s = arith.addi %x2, %m : i32
        linalg.yield %s : i32"""
    text = generic(
        ["(m, n, k) -> (m, k)", "(m, n, k) -> (n, k)", "(m, n, k) -> (n, m)"],
        ["parallel", "parallel", "reduction"],
        ["tensor<3x7xi8>", "tensor<4x7xi8>", "tensor<4x3xi32>"],
        body,
    )
    rng = np.random.default_rng(0)
    a, b = sample(rng, (3, 7), "i8"), sample(rng, (4, 7), "i8")
    c = sample(rng, (4, 3), "i32")
    np.testing.assert_array_equal(run_text(text, a, b, c)[0], b.astype(int) @ (a.astype(int) - 5).T + c)


def test_a_product_that_ignores_a_reduced_loop_counts_it(run_text: Run) -> None:
    body = "%m = arith.mulf %x0, %x1 : f32\n%s = arith.addf %x3, %m : f32\nlinalg.yield %s : f32"
    text = generic(
        ["(i, j, k) -> (i)", "(i, j, k) -> (j)", "(i, j, k) -> (k)", "(i, j, k) -> (i, j)"],
        ["parallel", "parallel", "reduction"],
        ["tensor<2xf32>", "tensor<3xf32>", "tensor<4xf32>", "tensor<2x3xf32>"],
        body,
    )
    a, b = np.array([1, 2], np.float32), np.array([1, 2, 3], np.float32)
    (result,) = run_text(text, a, b, np.zeros(4, np.float32), np.ones((2, 3), np.float32))
    np.testing.assert_array_equal(result, 4 * np.outer(a, b) + 1)


def test_memrefs_are_written_in_place_and_may_alias(run_text: Run) -> None:
    text = """
    #id = affine_map<(d0) -> (d0)>
    func.func @f(%x: memref<4xf32>, %y: memref<4xf32, strided<[-1], offset: 3>>, %s: memref<f32>) {
      linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel"]}
          ins(%y : memref<4xf32, strided<[-1], offset: 3>>) outs(%x : memref<4xf32>) {
      ^bb0(%a: f32, %b: f32):
        linalg.yield %a : f32
      }
      linalg.reduce { arith.addf } ins(%x : memref<4xf32>) outs(%s : memref<f32>) dimensions = [0]
      return
    }""".replace("strided<[-1], offset: 3>", "strided<[?], offset: ?>")
    x, total = np.array([1, 2, 3, 4], np.float32), np.array(100, np.float32)
    assert run_text(text, x, x[::-1], total) == ()
    np.testing.assert_array_equal(x, [4, 3, 2, 1])
    assert total == 110


def test_tensor_operands_are_never_written(run_text: Run) -> None:
    c = np.ones((2, 2), np.float32)
    run_text(named("matmul", [[2, 2]] * 3, ["f32"] * 3), c, c, c)
    np.testing.assert_array_equal(c, 1)


def test_narrow_floats_accumulate_wide(run_text: Run) -> None:
    """1 + 2^-11 + 2^-11 + ... in f16: the sum is rounded once, not at every step."""
    x = np.full(4096, 2.0**-11, np.float16)
    (result,) = run_text(reduce_text("arith.addf", [4096], [], [0], "f16"), x, np.array(1, np.float16))
    assert result == np.float16(3.0)


@pytest.mark.parametrize("element", ["f8E4M3FN", "f8E5M2", "i4", "ui8", "ui32", "complex<f32>"])
def test_unusual_element_types_move(run_text: Run, element: str) -> None:
    x = np.array([0, 1, 2, 3, 1, 0]).astype(dtype(element))
    text = generic(
        ["(d0) -> (5 - d0)", "(d0) -> (d0)"],
        ["parallel"],
        [tensor([6], element)] * 2,
        f"linalg.yield %x0 : {element}",
    )
    (result,) = run_text(text, x, np.zeros(6, dtype(element)))
    assert result.tobytes() == np.ascontiguousarray(x[::-1]).tobytes()


def test_four_bit_integers_reduce(run_text: Run) -> None:
    x = np.array([7, 1, -3], np.int8).astype(dtype("i4"))
    (result,) = run_text(reduce_text("arith.addi", [3], [], [0], "i4"), x, np.zeros((), dtype("i4")))
    assert int(result[()]) == 5


def test_elementwise_and_contract(run_text: Run) -> None:
    text = """#id = affine_map<(d0, d1) -> (d0, d1)>
    #row = affine_map<(d0, d1) -> (d1)>
    func.func @f(%a: tensor<4x8xf32>, %b: tensor<8xf32>, %s: tensor<4xf32>) -> (tensor<4x8xf32>, tensor<4xf32>) {
      %0 = linalg.elementwise kind=#linalg.elementwise_kind<sub> indexing_maps = [#id, #row, #id]
        ins(%a, %b : tensor<4x8xf32>, tensor<8xf32>) outs(%a : tensor<4x8xf32>) -> tensor<4x8xf32>
      %1 = linalg.contract indexing_maps = [#id, #row, affine_map<(d0, d1) -> (d0)>]
        ins(%a, %b : tensor<4x8xf32>, tensor<8xf32>) outs(%s : tensor<4xf32>) -> tensor<4xf32>
      return %0, %1 : tensor<4x8xf32>, tensor<4xf32>
    }"""
    rng = np.random.default_rng(0)
    a, b, s = (rng.normal(size=n).astype(np.float32) for n in ((4, 8), 8, 4))
    difference, product = run_text(text, a, b, s)
    np.testing.assert_array_equal(difference, a - b)
    np.testing.assert_allclose(product, a @ b + s, rtol=1e-5, atol=1e-6)
