"""Ops that walk along a dim: scans, sorts, top-k, scatters."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from iree_base.element_types import element_type


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


@pytest.mark.parametrize("kind", ["add", "mul", "max", "min"])
@pytest.mark.parametrize("flags", ["", "exclusive", "reverse", "exclusive reverse"])
@pytest.mark.parametrize("type", ["f32", "i64", "i8"])
def test_scan(check: Any, kind: str, flags: str, type: str) -> None:
    a = shaped((4, 9, 3), type)
    text = f"""
func.func @scan(%a: {a}, %out: {a}) -> {a} {{
  %r = linalg_ext.scan kind <{kind}> dimension(1) {flags} ins(%a : {a}) outs(%out : {a}) -> {a}
  return %r : {a}
}}"""
    values = data((4, 9, 3), type)
    if type == "f32":
        values = np.where(np.isfinite(values), values, 0.5).astype(np.float32)
    check(text, {0: values}, tolerance=1e-6)


@pytest.mark.parametrize("type", ["f32", "f16", "i32", "i1", "i64"])
@pytest.mark.parametrize("descending", ["", "descending"])
@pytest.mark.parametrize(("shape", "axis"), [((3, 37), 1), ((16, 4), 0), ((1, 1), 0), ((5,), 0)])
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


def test_scatter_out_of_range_is_reported(best: Any) -> None:
    from iree_target_llvm.testing import KernelFailure, run_native

    from .conftest import compile_with, function

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
