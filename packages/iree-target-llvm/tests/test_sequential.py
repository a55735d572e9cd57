"""Ops that walk along a dim: scans, sorts, top-k, scatters."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from iree_base.element_types import element_type
from iree_codegen.errors import CodegenError
from iree_target_llvm.testing import KernelFailure, run_native, run_reference

from .conftest import assert_close, compile_with, function


def shaped(shape: tuple[int, ...], type: str) -> str:
    return f"tensor<{''.join(f'{s}x' for s in shape)}{type}>"


def data(shape: tuple[int, ...], type: str) -> Any:
    rng = np.random.default_rng(0)
    dtype = element_type(type).dtype
    if dtype.kind == "b":
        return rng.integers(0, 2, shape).astype(bool)
    if dtype.kind in "iu":
        return rng.integers(-6, 6, shape).astype(dtype)
    values = np.round(rng.standard_normal(shape) * 4) / 2
    values.reshape(-1)[::11] = np.nan
    values.reshape(-1)[5::13] = np.inf
    return values.astype(dtype)


def run(text: str, best: Any, inputs: dict[int, Any]) -> tuple[list[Any], list[Any]]:
    """Native and interpreted results."""
    func = function(text)
    compiled = compile_with(func, best, "plain-loops")
    assert compiled is not None
    return run_native(func, compiled, inputs), run_reference(func, inputs)


@pytest.fixture
def check(best: Any) -> Any:
    """Compares with the interpreter on this machine alone: scalar code is the same on every level."""

    def compare(text: str, inputs: dict[int, Any], tolerance: float = 1e-5) -> None:
        with np.errstate(all="ignore"):
            for got, expected in zip(*run(text, best, inputs), strict=True):
                assert_close(got, expected, tolerance)

    return compare


@pytest.mark.parametrize("kind", ["add", "mul", "max", "min"])
@pytest.mark.parametrize("flags", ["", "exclusive", "reverse", "exclusive reverse"])
@pytest.mark.parametrize("type", ["f32", "f16", "bf16", "f8E5M2", "i64", "i8", "i1"])
def test_scan(check: Any, kind: str, flags: str, type: str) -> None:
    a = shaped((4, 9, 3), type)
    text = f"""
func.func @scan(%a: {a}, %out: {a}) -> {a} {{
  %r = linalg_ext.scan kind <{kind}> dimension(1) {flags} ins(%a : {a}) outs(%out : {a}) -> {a}
  return %r : {a}
}}"""
    values = data((4, 9, 3), type)
    if "f" in type and kind in ("add", "mul"):
        values = np.where(np.isfinite(values.astype(np.float32)), values, 0.5).astype(values.dtype)
    check(text, {0: values}, tolerance=1e-6)


@pytest.mark.parametrize("type", ["f32", "f16", "bf16", "f8E4M3FN", "f64", "i32", "i1", "i8", "i64"])
@pytest.mark.parametrize("descending", ["", "descending"])
@pytest.mark.parametrize(
    ("shape", "axis"), [((3, 37), 1), ((16, 4), 0), ((1, 1), 0), ((5,), 0), ((3, 0), 1), ((0, 3), 1)]
)
def test_sort(check: Any, type: str, descending: str, shape: tuple[int, ...], axis: int) -> None:
    a, p = shaped(shape, type), shaped(shape, "i64")
    text = f"""
func.func @sort(%a: {a}, %v: {a}, %p: {p}) -> ({a}, {p}) {{
  %0:2 = linalg_ext.sort dimension({axis}) {descending} ins(%a : {a}) outs(%v, %p : {a}, {p}) -> {a}, {p}
  return %0#0, %0#1 : {a}, {p}
}}"""
    check(text, {0: data(shape, type)})


@pytest.mark.parametrize("k", [1, 5, 20])
@pytest.mark.parametrize("smallest", ["", "smallest"])
def test_topk(check: Any, k: int, smallest: str) -> None:
    a, v, p = shaped((3, 20), "f32"), shaped((3, k), "f32"), shaped((3, k), "i32")
    text = f"""
func.func @topk(%a: {a}, %v: {v}, %p: {p}) -> ({v}, {p}) {{
  %0:2 = linalg_ext.topk dimension(1) {smallest} ins(%a : {a}) outs(%v, %p : {v}, {p}) -> {v}, {p}
  return %0#0, %0#1 : {v}, {p}
}}"""
    check(text, {0: data((3, 20), "f32")})


def test_positions_alone(check: Any) -> None:
    text = """
func.func @arg(%a: tensor<3x20xf32>, %p: tensor<3x2xi64>) -> tensor<3x2xi64> {
  %v = tensor.empty() : tensor<3x2xf32>
  %0:2 = linalg_ext.topk dimension(1) ins(%a : tensor<3x20xf32>) outs(%v, %p : tensor<3x2xf32>, tensor<3x2xi64>)
      -> tensor<3x2xf32>, tensor<3x2xi64>
  return %0#1 : tensor<3x2xi64>
}"""
    check(text, {0: data((3, 20), "f32")})


def test_chain_around_a_sort(check: Any) -> None:
    text = """
#id = affine_map<(d0, d1) -> (d0, d1)>
func.func @chain(%a: tensor<4x30xf32>, %out: tensor<4x30xf32>) -> tensor<4x30xf32> {
  %e = tensor.empty() : tensor<4x30xf32>
  %n = linalg.negf ins(%a : tensor<4x30xf32>) outs(%e : tensor<4x30xf32>) -> tensor<4x30xf32>
  %s = linalg_ext.sort dimension(1) ins(%n : tensor<4x30xf32>) outs(%e : tensor<4x30xf32>) -> tensor<4x30xf32>
  %r = linalg.add ins(%s, %a : tensor<4x30xf32>, tensor<4x30xf32>) outs(%out : tensor<4x30xf32>)
      -> tensor<4x30xf32>
  return %r : tensor<4x30xf32>
}"""
    check(text, {0: np.random.default_rng(0).standard_normal((4, 30)).astype(np.float32)})


def scatter(body: str, access: str) -> str:
    original = "tensor<10x6xf32>" + (' {iree.access = "readwrite"}' if access == "in place" else "")
    destination = "" if access == "in place" else ", %out: tensor<10x6xf32>"
    return f"""
func.func @scatter(%u: tensor<4x6xf32> {{iree.access = "read"}}, %i: tensor<4x1xi64> {{iree.access = "read"}},
    %a: {original}{destination}) -> tensor<10x6xf32> {{
  %r = linalg_ext.scatter dimension_map = [0] ins(%u, %i : tensor<4x6xf32>, tensor<4x1xi64>)
      outs(%a : tensor<10x6xf32>) {{
  ^bb0(%x: f32, %o: f32):
    {body}
  }} -> tensor<10x6xf32>
  return %r : tensor<10x6xf32>
}}"""


@pytest.mark.parametrize(
    "body", ["linalg.yield %x : f32", "%s = arith.addf %x, %o : f32\n linalg.yield %s : f32"]
)
@pytest.mark.parametrize("access", ["in place", "copied"])
def test_scatter(check: Any, body: str, access: str) -> None:
    rng = np.random.default_rng(0)
    inputs = {
        0: rng.standard_normal((4, 6)).astype(np.float32),
        1: np.array([[3], [9], [3], [0]]),
        2: rng.standard_normal((10, 6)).astype(np.float32),
    }
    check(scatter(body, access), inputs)


@pytest.mark.parametrize("kind", ["add", "mul", "max", "min"])
@pytest.mark.parametrize(
    ("source", "target"),
    [("i1", "i32"), ("i8", "f32"), ("i64", "i16"), ("f32", "f64"), ("f32", "f16"), ("f16", "i32")],
)
def test_scan_in_another_type(check: Any, kind: str, source: str, target: str) -> None:
    a, b = shaped((3, 7), source), shaped((3, 7), target)
    text = f"""
func.func @scan(%a: {a}, %out: {b}) -> {b} {{
  %r = linalg_ext.scan kind <{kind}> dimension(1) ins(%a : {a}) outs(%out : {b}) -> {b}
  return %r : {b}
}}"""
    values = np.random.default_rng(0).integers(0, 2 if source == "i1" else 5, (3, 7))
    check(text, {0: values.astype(element_type(source).dtype)})


def test_scan_keeps_negative_zero(best: Any) -> None:
    text = """
func.func @scan(%a: tensor<3xf32>, %out: tensor<3xf32>) -> tensor<3xf32> {
  %r = linalg_ext.scan kind <add> dimension(0) ins(%a : tensor<3xf32>) outs(%out : tensor<3xf32>) -> tensor<3xf32>
  return %r : tensor<3xf32>
}"""
    (got,), _ = run(text, best, {0: np.array([-0.0, -0.0, 0.0], np.float32)})
    assert list(np.signbit(got)) == [True, True, False]


SIGNED_ZEROS = np.array([0.0, -0.0, 2.0, np.nan, -0.0, -1.0, 0.0, -np.nan, -0.0, np.inf], np.float32)


@pytest.mark.parametrize("flag", ["", "descending"])
def test_values_alone_are_sorted_stably(best: Any, flag: str) -> None:
    text = f"""
func.func @sort(%a: tensor<2x10xf32>, %v: tensor<2x10xf32>) -> tensor<2x10xf32> {{
  %0 = linalg_ext.sort dimension(1) {flag} ins(%a : tensor<2x10xf32>) outs(%v : tensor<2x10xf32>) -> tensor<2x10xf32>
  return %0 : tensor<2x10xf32>
}}"""
    (got,), (expected,) = run(text, best, {0: np.stack([SIGNED_ZEROS, SIGNED_ZEROS[::-1]])})
    np.testing.assert_array_equal(got.view(np.uint32), expected.view(np.uint32))


@pytest.mark.parametrize("wanted", ["values", "positions", "both"])
@pytest.mark.parametrize("flag", ["", "smallest"])
@pytest.mark.parametrize("k", [0, 1, 4, 7, 10])
def test_topk_of_dims_known_at_run_time(best: Any, wanted: str, flag: str, k: int) -> None:
    dims = "iree.dims = array<i64:"
    results = {"values": ["%v"], "positions": ["%p"], "both": ["%v", "%p"]}[wanted]
    types = {"%v": "tensor<?x?xf32>", "%p": "tensor<?x?xi64>"}
    given = {"%v": "%0#0", "%p": "%0#1"}
    scalars = 1
    arguments = ", ".join(f"{r}: {types[r]} {{{dims} 1, 3>}}" for r in results)
    missing = [f"{r} = tensor.empty(%n, %k) : {types[r]}" for r in types if r not in results]
    both = "tensor<?x?xf32>, tensor<?x?xi64>"
    text = f"""
func.func @topk(%a: tensor<?x?xf32> {{{dims} {scalars}, 2>}}, %n: index, %m: index, %k: index, {arguments})
    -> ({", ".join(types[r] for r in results)}) {{
  {" ".join(missing)}
  %0:2 = linalg_ext.topk dimension(1) {flag} ins(%a : tensor<?x?xf32>) outs(%v, %p : {both}) -> {both}
  return {", ".join(given[r] for r in results)} : {", ".join(types[r] for r in results)}
}}"""
    rows = np.stack([SIGNED_ZEROS, SIGNED_ZEROS[::-1], np.roll(SIGNED_ZEROS, 3)])
    for got, expected in zip(*run(text, best, {0: rows, 1: 3, 2: 10, 3: k}), strict=True):
        np.testing.assert_array_equal(got.view(np.uint8), np.ascontiguousarray(expected).view(np.uint8))


def test_more_elements_than_there_are_is_reported(best: Any) -> None:
    text = """
func.func @topk(%a: tensor<4xi32>, %k: index, %v: tensor<?xi32> {iree.dims = array<i64: 1>}) -> tensor<?xi32> {
  %p = tensor.empty(%k) : tensor<?xi32>
  %0:2 = linalg_ext.topk dimension(0) ins(%a : tensor<4xi32>) outs(%v, %p : tensor<?xi32>, tensor<?xi32>)
      -> tensor<?xi32>, tensor<?xi32>
  return %0#0 : tensor<?xi32>
}"""
    func = function(text)
    compiled = compile_with(func, best)
    assert compiled is not None
    with pytest.raises(KernelFailure):
        run_native(func, compiled, {0: np.arange(4, dtype=np.int32), 1: 5})


def test_positions_must_not_wrap(best: Any) -> None:
    text = """
func.func @sort(%a: tensor<200xf32>, %v: tensor<200xf32>, %p: tensor<200xi8>) -> (tensor<200xf32>, tensor<200xi8>) {
  %0:2 = linalg_ext.sort dimension(0) ins(%a : tensor<200xf32>) outs(%v, %p : tensor<200xf32>, tensor<200xi8>)
      -> tensor<200xf32>, tensor<200xi8>
  return %0#0, %0#1 : tensor<200xf32>, tensor<200xi8>
}"""
    with pytest.raises(CodegenError, match="positions of type i8"):
        compile_with(function(text), best)


@pytest.mark.parametrize("mapped", [(0,), (1,), (2,), (0, 1), (2, 0), (0, 1, 2)])
@pytest.mark.parametrize("type", ["f32", "f16", "i64", "i1"])
def test_scatter_into_any_dims(check: Any, mapped: tuple[int, ...], type: str) -> None:
    shape = (4, 5, 150)
    rest = tuple(s for i, s in enumerate(shape) if i not in mapped)
    a, u, i = shaped(shape, type), shaped((2, 3, *rest), type), shaped((2, 3, len(mapped)), "i32")
    op = {"f": "arith.addf", "i": "arith.addi"}[type[0]]
    text = f"""
func.func @scatter(%u: {u}, %i: {i}, %a: {a}, %out: {a}) -> {a} {{
  %r = linalg_ext.scatter dimension_map = [{", ".join(map(str, mapped))}] ins(%u, %i : {u}, {i}) outs(%a : {a}) {{
  ^bb0(%x: {type}, %o: {type}):
    %s = {op} %o, %x : {type}
    linalg.yield %s : {type}
  }} -> {a}
  return %r : {a}
}}"""
    rng = np.random.default_rng(0)
    indices = np.stack([rng.integers(0, shape[d], (2, 3)) for d in mapped], -1).astype(np.int32)
    values = [
        rng.integers(0, 2 if type == "i1" else 9, s).astype(element_type(type).dtype)
        for s in ((2, 3, *rest), shape)
    ]
    check(text, {0: values[0], 1: indices, 2: values[1]})


def test_scatter_out_of_range_is_reported(best: Any) -> None:
    func = function(scatter("linalg.yield %x : f32", "copied"))
    compiled = compile_with(func, best, "plain-loops")
    assert compiled is not None
    inputs = {
        0: np.ones((4, 6), np.float32),
        1: np.array([[3], [10], [3], [0]]),
        2: np.ones((10, 6), np.float32),
    }
    with pytest.raises(KernelFailure):
        run_native(func, compiled, inputs)
