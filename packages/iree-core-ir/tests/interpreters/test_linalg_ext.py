"""linalg_ext: meanings against scipy, onnx.reference and plain loops; checked indices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import special

from iree_base.element_types import element_type
from iree_core_ir.errors import CoreIrError

Run = Callable[..., Any]


def tensor(shape: Any, element: str) -> str:
    return f"tensor<{'x'.join([*map(str, shape), element])}>"


def call(
    run_text: Run, op: str, inputs: list[Any], outputs: list[Any], types: list[str] | None = None
) -> Any:
    """Run ``op`` on arrays (dynamic shapes) and scalars; types follow from dtypes unless given."""
    names = {np.dtype(np.float32): "f32", np.dtype(np.float16): "f16", np.dtype(np.int32): "i32",
             np.dtype(np.int64): "i64", np.dtype(np.int8): "i8", np.dtype(np.float64): "f64",
             np.dtype(np.bool_): "i1", element_type("bf16").dtype: "bf16"}  # fmt: skip
    values = [*inputs, *outputs]
    spelled = [
        tensor(["?"] * v.ndim, names[v.dtype]) if isinstance(v, np.ndarray) else names[np.asarray(v).dtype]
        for v in values
    ]
    arguments = ", ".join(f"%a{i}: {t}" for i, t in enumerate(spelled))
    n = len(inputs)
    ins = f"ins({', '.join(f'%a{i}' for i in range(n))} : {', '.join(spelled[:n])})"
    outs = f"outs({', '.join(f'%a{i}' for i in range(n, len(values)))} : {', '.join(spelled[n:])})"
    results = ", ".join(spelled[n:])
    count = len(outputs)
    returned = ", ".join(f"%r#{i}" for i in range(count)) if count > 1 else "%r"
    head, _, body = op.partition("{")
    body = f" {{{body}" if body else ""
    text = f"""func.func @f({arguments}) -> ({results}) {{
      %r{f":{count}" if count > 1 else ""} = linalg_ext.{head} {ins} {outs}{body} -> {results}
      return {returned} : {results}
    }}"""
    found = run_text(text, *values)
    return found[0] if count == 1 else found


@pytest.mark.parametrize("element", ["f64", "f32", "f16", "bf16"])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_softmax_against_scipy(run_text: Run, element: str, axis: int) -> None:
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(3, 4, 5)) * 8).astype(element_type(element).dtype)
    found = call(run_text, f"softmax dimension({axis})", [x], [np.zeros_like(x)])
    exact = special.softmax(x.astype(np.float64), axis)
    tolerance = {"f64": 1e-13, "f32": 1e-6, "f16": 1e-3, "bf16": 1e-2}[element]
    np.testing.assert_allclose(found.astype(np.float64), exact, rtol=tolerance, atol=tolerance)


def test_softmax_of_large_infinite_and_no_values(run_text: Run) -> None:
    x = np.array([[1e30, 1e30], [-np.inf, 0], [-np.inf, -np.inf], [np.nan, 1], [np.inf, 0]], np.float32)
    found = call(run_text, "softmax dimension(1)", [x], [x])
    nan = np.nan
    np.testing.assert_array_equal(found, [[0.5, 0.5], [0, 1], [nan, nan], [nan, nan], [nan, nan]])
    empty = np.zeros((2, 0), np.float32)
    assert call(run_text, "softmax dimension(1)", [empty], [empty]).shape == (2, 0)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("shape", [(), (4,), (2, 3), (0,)])
@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_gather_is_take(run_text: Run, axis: int, shape: tuple[int, ...], dtype: Any) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4, 5, 6)).astype(np.float32)
    indices = rng.integers(0, x.shape[axis], shape).astype(dtype)
    expected = np.take(x, indices, axis)
    found = call(run_text, f"gather axis({axis})", [x, np.asarray(indices)], [np.zeros_like(expected)])
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("bad", [4, -1, 2**40])
def test_gather_checks_indices(run_text: Run, bad: int) -> None:
    x = np.zeros((4, 2), np.float32)
    with pytest.raises(CoreIrError, match=f"IREE-IR-012.*index {bad} is outside dim 0 of size 4"):
        call(run_text, "gather axis(0)", [x, np.array([0, bad])], [np.zeros((2, 2), np.float32)])


def test_gather_from_nothing(run_text: Run) -> None:
    x = np.zeros((0, 2), np.float32)
    found = call(run_text, "gather axis(0)", [x, np.zeros(0, np.int64)], [np.zeros((0, 2), np.float32)])
    assert found.shape == (0, 2)


@pytest.mark.parametrize("exclusive", [0, 1])
@pytest.mark.parametrize("reverse", [0, 1])
@pytest.mark.parametrize("axis", [0, 1])
def test_scan_add_is_onnx_cumsum(run_text: Run, exclusive: int, reverse: int, axis: int) -> None:
    onnx = pytest.importorskip("onnx")
    reference = pytest.importorskip("onnx.reference")
    x = np.random.default_rng(0).normal(size=(4, 5))
    node = onnx.helper.make_node("CumSum", ["x", "a"], ["y"], exclusive=exclusive, reverse=reverse)
    graph = onnx.helper.make_graph(
        [node], "g",
        [onnx.helper.make_tensor_value_info("x", 11, [4, 5]), onnx.helper.make_tensor_value_info("a", 7, [])],
        [onnx.helper.make_tensor_value_info("y", 11, [4, 5])],
    )  # fmt: skip
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 14)])
    expected = reference.ReferenceEvaluator(model).run(None, {"x": x, "a": np.array(axis)})[0]
    flags = ("exclusive " if exclusive else "") + ("reverse" if reverse else "")
    found = call(run_text, f"scan kind <add> dimension({axis}) {flags}", [x], [np.zeros_like(x)])
    np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize(("kind", "ufunc"), [("mul", np.multiply), ("max", np.maximum), ("min", np.minimum)])
@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_other_scans(run_text: Run, kind: str, ufunc: Any, dtype: Any) -> None:
    x = (np.random.default_rng(0).normal(size=(3, 6)) * 5).astype(dtype)
    found = call(run_text, f"scan kind <{kind}> dimension(1)", [x], [np.zeros_like(x)])
    np.testing.assert_allclose(found, ufunc.accumulate(x, axis=1), rtol=1e-6)
    exclusive = call(run_text, f"scan kind <{kind}> dimension(1) exclusive", [x], [np.zeros_like(x)])
    np.testing.assert_allclose(exclusive[:, 1:], found[:, :-1], rtol=1e-6)
    info: Any = np.iinfo(dtype) if dtype is np.int32 else None
    first = {"mul": 1, "max": info.min if info else -np.inf, "min": info.max if info else np.inf}[kind]
    np.testing.assert_array_equal(exclusive[:, 0], first)


def test_scan_converts_to_the_output(run_text: Run) -> None:
    x = np.array([100, 100, 100], np.int8)
    wide = call(run_text, "scan kind <add> dimension(0)", [x], [np.zeros(3, np.int32)])
    np.testing.assert_array_equal(wide, [100, 200, 300])
    wrapped = call(run_text, "scan kind <add> dimension(0)", [x], [np.zeros(3, np.int8)])
    np.testing.assert_array_equal(wrapped, [100, -56, 44])
    floats = call(
        run_text, "scan kind <add> dimension(0)", [np.array([True, False, True])], [np.zeros(3, np.float32)]
    )
    np.testing.assert_array_equal(floats, [1, 1, 2])


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("smallest", [False, True])
def test_topk_is_the_head_of_a_sort(run_text: Run, axis: int, smallest: bool) -> None:
    x = np.random.default_rng(0).permutation(60).reshape(6, 10).astype(np.float32)
    k = 4
    shape = (4, 10) if axis == 0 else (6, 4)
    flag = "smallest" if smallest else ""
    values, positions = call(
        run_text,
        f"topk dimension({axis}) {flag}",
        [x],
        [np.zeros(shape, np.float32), np.zeros(shape, np.int64)],
    )
    expected = np.argsort(x if smallest else -x, axis).take(range(k), axis)
    np.testing.assert_array_equal(values, np.take_along_axis(x, expected, axis))
    np.testing.assert_array_equal(positions, expected)


def test_topk_order_of_equal_and_nan(run_text: Run) -> None:
    x = np.array([2, 1, 2, np.nan, 1, np.inf], np.float32)
    outs = [np.zeros(6, np.float32), np.zeros(6, np.int32)]
    values, positions = call(run_text, "topk dimension(0)", [x], outs)
    np.testing.assert_array_equal(positions, [3, 5, 0, 2, 1, 4])
    np.testing.assert_array_equal(values, x[[3, 5, 0, 2, 1, 4]])
    _, positions = call(run_text, "topk dimension(0) smallest", [x], outs)
    np.testing.assert_array_equal(positions, [1, 4, 0, 2, 5, 3])
    with pytest.raises(CoreIrError, match="takes 7 of 6"):
        call(run_text, "topk dimension(0)", [x], [np.zeros(7, np.float32), np.zeros(7, np.int32)])


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.int8, np.float16])
def test_sort_is_stable(run_text: Run, descending: bool, dtype: Any) -> None:
    x = np.random.default_rng(0).integers(-3, 4, (5, 40)).astype(dtype)
    flag = "descending" if descending else ""
    values, positions = call(
        run_text, f"sort dimension(1) {flag}", [x], [np.zeros_like(x), np.zeros(x.shape, np.int64)]
    )
    wide = x.astype(np.float64)
    np.testing.assert_array_equal(positions, np.argsort(-wide if descending else wide, axis=1, kind="stable"))
    np.testing.assert_array_equal(values, np.take_along_axis(x, positions, 1))
    alone = call(run_text, f"sort dimension(1) {flag}", [x], [np.zeros_like(x)])
    np.testing.assert_array_equal(alone, values)


ASSIGN = "{\n^bb0(%u: f32, %c: f32):\n linalg.yield %u : f32\n}"
ADD = "{\n^bb0(%u: f32, %c: f32):\n %s = arith.addf %u, %c : f32\n linalg.yield %s : f32\n}"


@pytest.mark.parametrize(("body", "reduction"), [(ASSIGN, "none"), (ADD, "add")])
def test_scatter_is_onnx_scatternd(run_text: Run, body: str, reduction: str) -> None:
    onnx = pytest.importorskip("onnx")
    reference = pytest.importorskip("onnx.reference")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4, 5, 6)).astype(np.float32)
    indices = np.array([[[0, 1], [3, 4]], [[0, 1], [2, 2]]])
    updates = rng.normal(size=(2, 2, 6)).astype(np.float32)
    node = onnx.helper.make_node("ScatterND", ["x", "i", "u"], ["y"], reduction=reduction)
    info = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [node], "g", [info("x", 1, [4, 5, 6]), info("i", 7, [2, 2, 2]), info("u", 1, [2, 2, 6])],
        [info("y", 1, [4, 5, 6])],
    )  # fmt: skip
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)])
    expected = reference.ReferenceEvaluator(model).run(None, {"x": x, "i": indices, "u": updates})[0]
    found = call(
        run_text,
        f"scatter dimension_map = [0, 1] {body}",
        [updates, indices],
        [x],
    )
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_scatter_to_inner_dims_and_bounds(run_text: Run) -> None:
    x = np.zeros((2, 3), np.float32)
    updates = np.array([[1, 2], [3, 4]], np.float32)
    indices = np.array([[2], [0]], np.int32)
    found = call(run_text, f"scatter dimension_map = [1] {ASSIGN}", [updates, indices], [x])
    np.testing.assert_array_equal(found, [[3, 0, 1], [4, 0, 2]])
    assert not x.any()
    with pytest.raises(CoreIrError, match="index 3 is outside dim 0 of size 3"):
        call(
            run_text, f"scatter dimension_map = [1] {ASSIGN}", [updates, np.array([[2], [3]], np.int32)], [x]
        )


@pytest.mark.parametrize("permutation", [None, (1, 0, 2), (2, 1, 0)])
@pytest.mark.parametrize("shape", [(5, 7, 4), (6, 8, 4), (1, 1, 1)])
def test_pack_then_unpack(run_text: Run, permutation: tuple[int, ...] | None, shape: tuple[int, ...]) -> None:
    """Element by element: where pack says each comes from, and back."""
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    dims, tiles = (2, 0), (4, 3)
    order = (0, 1, 2) if permutation is None else permutation
    outer = [-(-n // dict(zip(dims, tiles, strict=True)).get(i, 1)) for i, n in enumerate(shape)]
    packed = np.full([*(outer[i] for i in order), *tiles], -5, np.float32)
    for index in np.ndindex(*packed.shape):
        plain = [0, 0, 0]
        for where, dim in zip(index[:3], order, strict=True):
            plain[dim] = where
        for offset, dim, tile in zip(index[3:], dims, tiles, strict=True):
            plain[dim] = plain[dim] * tile + offset
        if all(p < n for p, n in zip(plain, shape, strict=True)):
            packed[index] = x[tuple(plain)]
    layout = f"outer_dims_perm = {list(order)} " if permutation else ""
    layout += "inner_dims_pos = [2, 0] inner_tiles = [4, 3]"
    static = [tensor(["?"] * 3, "f32"), "f32", tensor([*["?"] * 3, 4, 3], "f32")]
    text = f"""func.func @f(%x: {static[0]}, %p: f32, %o: {static[2]}, %y: {static[0]}) -> ({static[2]}, {static[0]}) {{
      %0 = linalg_ext.pack {layout} ins(%x, %p : {static[0]}, f32) outs(%o : {static[2]}) -> {static[2]}
      %1 = linalg_ext.unpack {layout} ins(%0 : {static[2]}) outs(%y : {static[0]}) -> {static[0]}
      return %0, %1 : {static[2]}, {static[0]}
    }}"""
    found, back = run_text(text, x, -5.0, np.zeros_like(packed), np.zeros_like(x))
    np.testing.assert_array_equal(found, packed)
    np.testing.assert_array_equal(back, x)


def test_pack_needs_padding_where_tiles_do_not_divide(run_text: Run) -> None:
    text = """func.func @f(%x: tensor<?xf32>, %o: tensor<?x4xf32>) -> tensor<?x4xf32> {
      %0 = linalg_ext.pack inner_dims_pos = [0] inner_tiles = [4] ins(%x : tensor<?xf32>) outs(%o : tensor<?x4xf32>) -> tensor<?x4xf32>
      return %0 : tensor<?x4xf32>
    }"""
    x = np.arange(8, dtype=np.float32)
    np.testing.assert_array_equal(run_text(text, x, np.zeros((2, 4), np.float32))[0], x.reshape(2, 4))
    with pytest.raises(CoreIrError, match="no padding"):
        run_text(text, x[:7], np.zeros((2, 4), np.float32))


@pytest.mark.parametrize(("strides", "dilations"), [((1, 1), (1, 1)), ((2, 1), (1, 2)), ((3, 2), (2, 2))])
def test_im2col_is_unfold(run_text: Run, strides: tuple[int, int], dilations: tuple[int, int]) -> None:
    x = np.random.default_rng(0).normal(size=(2, 3, 8, 9)).astype(np.float32)
    reach = [(k - 1) * d + 1 for k, d in zip((3, 2), dilations, strict=True)]
    windows = np.lib.stride_tricks.sliding_window_view(x, reach, (2, 3))
    windows = windows[:, :, :: strides[0], :: strides[1], :: dilations[0], :: dilations[1]]
    expected = windows.transpose(0, 1, 4, 5, 2, 3).reshape(2, 3 * 3 * 2, -1)
    op = f"im2col kernel = [3, 2] strides = {list(strides)} dilations = {list(dilations)}"
    np.testing.assert_array_equal(call(run_text, op, [x], [np.zeros_like(expected)]), expected)


@pytest.mark.parametrize(("mask", "causal"), [(None, False), (None, True), ("bool", False), ("float", False)])
def test_attention_in_float64(run_text: Run, mask: str | None, causal: bool) -> None:
    rng = np.random.default_rng(0)
    q, k, v = (rng.normal(size=s).astype(np.float32) for s in ((2, 3, 4, 8), (2, 3, 5, 8), (2, 3, 5, 6)))
    given: Any = None
    if mask == "bool":
        given = rng.random((2, 3, 4, 5)) < 0.7
        given[..., 0] = True
    elif mask == "float":
        given = rng.normal(size=(2, 3, 4, 5)).astype(np.float32)
    scale = np.float32(0.3)
    scores = np.einsum("bhqd,bhkd->bhqk", q.astype(np.float64), k.astype(np.float64)) * float(scale)
    if causal:
        scores = np.where(np.tri(4, 5, dtype=bool), scores, -np.inf)
    if mask == "bool":
        scores = np.where(given, scores, -np.inf)
    elif mask == "float":
        scores = scores + given
    expected = special.softmax(scores, -1) @ v.astype(np.float64)
    inputs = [q, k, v, scale] + ([] if given is None else [given])
    found = call(
        run_text, "attention" + (" causal" if causal else ""), inputs, [np.zeros(expected.shape, np.float32)]
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_attention_reads_heads_in_place(run_text: Run) -> None:
    """Heads side by side in the rows of one product; a row that is masked wholly gives 0."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(5, 3, 2, 4)).astype(np.float32)
    mask = rng.normal(size=(5, 5)).astype(np.float32)
    mask[3] = -np.inf
    loops = "affine_map<(h, m, n, k, p) ->"
    maps = ["(m, 0, h, k)", "(n, 1, h, k)", "(n, 2, h, p)", "()", "(m, n)", "(m, h, p)"]
    attributes = "{indexing_maps = [" + ", ".join(f"{loops} {m}>" for m in maps) + "]}"
    q, k, v = (x[:, i].astype(np.float64) for i in range(3))
    scores = np.einsum("mhk,nhk->hmn", q, k) * 0.3 + mask
    with np.errstate(invalid="ignore"):
        weights = np.nan_to_num(special.softmax(scores, -1), nan=0.0)
    types = ["tensor<5x3x2x4xf32>"] * 3 + ["f32", "tensor<5x5xf32>"]
    text = f"""func.func @f(%x: {types[0]}, %s: f32, %m: {types[4]}, %o: tensor<5x2x4xf32>) -> tensor<5x2x4xf32> {{
      %r = linalg_ext.attention empty_rows_zero {attributes} ins(%x, %x, %x, %s, %m : {", ".join(types)})
        outs(%o : tensor<5x2x4xf32>) -> tensor<5x2x4xf32>
      return %r : tensor<5x2x4xf32>
    }}"""
    (found,) = run_text(text, x, np.float32(0.3), mask, np.zeros((5, 2, 4), np.float32))
    np.testing.assert_allclose(found, np.einsum("hmn,nhp->mhp", weights, v), rtol=1e-5, atol=1e-6)


def test_memrefs_are_written(run_text: Run) -> None:
    text = """func.func @f(%x: memref<2x3xf32>, %v: memref<2x2xf32>, %i: memref<2x2xi32>) {
      linalg_ext.topk dimension(1) ins(%x : memref<2x3xf32>) outs(%v, %i : memref<2x2xf32>, memref<2x2xi32>)
      linalg_ext.softmax dimension(1) ins(%x : memref<2x3xf32>) outs(%x : memref<2x3xf32>)
      return
    }"""
    x = np.array([[1, 3, 2], [6, 5, 4]], np.float32)
    values, positions = np.zeros((2, 2), np.float32), np.zeros((2, 2), np.int32)
    assert run_text(text, x, values, positions) == ()
    np.testing.assert_array_equal(values, [[3, 2], [6, 5]])
    np.testing.assert_array_equal(positions, [[1, 2], [0, 1]])
    np.testing.assert_allclose(x.sum(1), 1, rtol=1e-6)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("lengths", [None, (4, 0, 2)])
def test_recurrence_is_a_loop_over_steps(run_text: Run, reverse: bool, lengths: Any) -> None:
    """``h = tanh(x + w h)`` row by row."""
    rng = np.random.default_rng(0)
    x, w, h = rng.normal(size=(4, 3, 5)), rng.normal(size=(5, 5)), rng.normal(size=(3, 5))
    counts = [] if lengths is None else [np.array(lengths, np.int32)]
    types = ["tensor<4x3x5xf64>", "tensor<5x5xf64>", *["tensor<3xi32>"] * len(counts), "tensor<3x5xf64>"]
    names = [f"%a{i}" for i in range(len(types))]
    results = "(tensor<4x3x5xf64>, tensor<3x5xf64>)"
    flags = "parameters = 0 : i64" + ", lengths" * bool(counts) + ", reverse" * reverse
    y, last = run_text(
        f"""func.func @f({", ".join(f"{n}: {t}" for n, t in zip(names, types, strict=True))},
            %y: tensor<4x3x5xf64>) -> {results} {{
      %r:2 = linalg_ext.recurrence {{{flags}}} ins({", ".join(names)} : {", ".join(types)})
          outs(%y, {names[-1]} : tensor<4x3x5xf64>, tensor<3x5xf64>) {{
      ^bb0(%gate: f64, %sum: f64, %state: f64):
        %t = arith.addf %gate, %sum : f64
        %n = math.tanh %t : f64
        linalg.yield %n : f64
      }} -> {results}
      return %r#0, %r#1 : tensor<4x3x5xf64>, tensor<3x5xf64>
    }}""",
        x, w, *counts, h, np.ones((4, 3, 5)),
    )  # fmt: skip
    for row in range(3):
        count = 4 if lengths is None else lengths[row]
        state = h[row]
        for step in range(count):
            at = count - 1 - step if reverse else step
            state = np.tanh(x[at, row] + w @ state)
            np.testing.assert_allclose(y[at, row], state, rtol=1e-12)
        np.testing.assert_array_equal(y[count:, row], 0)
        np.testing.assert_allclose(last[row], state, rtol=1e-12)
