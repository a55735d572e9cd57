"""8-bit floats: every code widens exactly, and numbers round as ml_dtypes rounds them, bit by bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from iree_base.element_types import element_type
from iree_target_llvm.testing import run_native

from .conftest import compile_with, function

TYPES = ["f8E4M3FN", "f8E5M2", "f8E4M3FNUZ", "f8E5M2FNUZ"]
STRATEGIES = ["plain-loops", "vector-loops"]


def conversion(op: str, source: str, target: str, count: int) -> str:
    a, b = f"tensor<{count}x{source}>", f"tensor<{count}x{target}>"
    return f"""
func.func @convert(%a: {a}, %out: {b}) -> {b} {{
  %r = linalg.generic {{indexing_maps = [affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>], iterator_types = ["parallel"]}}
      ins(%a : {a}) outs(%out : {b}) {{
  ^bb0(%x: {source}, %o: {target}):
    %s = {op} %x : {source} to {target}
    linalg.yield %s : {target}
  }} -> {b}
  return %r : {b}
}}"""


def converted(description: Any, strategy: str, op: str, source: str, target: str, values: Any) -> Any:
    func = function(conversion(op, source, target, len(values)))
    compiled = compile_with(func, description, strategy)
    assert compiled is not None
    return run_native(func, compiled, {0: values})[0]


def all_codes(type: str) -> Any:
    return np.arange(256, dtype=np.uint8).view(element_type(type).dtype)


def same_bits(got: Any, expected: Any) -> None:
    """Equal bit by bit, but for which NaN it is."""
    nan = np.isnan(expected.astype(np.float64))
    np.testing.assert_array_equal(np.isnan(got.astype(np.float64)), nan)
    np.testing.assert_array_equal(got[~nan].view(np.uint8), expected[~nan].view(np.uint8))


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("wide", ["f16", "f32", "f64"])
@pytest.mark.parametrize("type", TYPES)
def test_widens_exactly(description: Any, type: str, wide: str, strategy: str) -> None:
    codes = all_codes(type)
    got = converted(description, strategy, "arith.extf", type, wide, codes)
    same_bits(got, codes.astype(np.float64).astype(element_type(wide).dtype))


def interesting(type: str, wide: str) -> Any:
    """Every number of ``type``, the middles between them, their neighbours in ``wide``, and random bits."""
    numbers = all_codes(type).astype(np.float64)
    finite = np.unique(numbers[np.isfinite(numbers)])
    beyond = finite[-1] * np.array([1 + 2.0**-5, 1.0625, 1.125, 1.25, 2.0, 1e4])
    middles = (finite[1:] + finite[:-1]) / 2
    exact = np.concatenate([finite, middles, beyond, -beyond, [np.inf, -np.inf, np.nan, -0.0]])
    dtype = element_type(wide).dtype
    with np.errstate(over="ignore"):
        exact = exact.astype(dtype)
        around = [np.nextafter(exact, dtype.type(side)) for side in (np.inf, -np.inf)]
    random = np.random.default_rng(0).integers(0, 256, 4096 * dtype.itemsize, np.uint8).view(dtype)
    spread = np.random.default_rng(1).standard_normal(4001) * np.exp2(np.linspace(-20, 18, 4001))
    with np.errstate(over="ignore"):
        return np.concatenate([exact, *around, random, spread.astype(dtype)])


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("wide", ["f16", "f32", "f64"])
@pytest.mark.parametrize("type", TYPES)
def test_narrows_to_nearest(description: Any, type: str, wide: str, strategy: str) -> None:
    values = interesting(type, wide)
    got = converted(description, strategy, "arith.truncf", wide, type, values)
    with np.errstate(all="ignore"):
        if wide == "f64":
            from iree_core_ir.interpreters.floats import to_f32_odd

            values = to_f32_odd(values)
        same_bits(got, values.astype(np.float32).astype(element_type(type).dtype))


@pytest.mark.parametrize("type", TYPES)
def test_arithmetic_rounds_after_every_op(check: Any, type: str) -> None:
    t = f"tensor<37x{type}>"
    identity = "affine_map<(d0) -> (d0)>"
    text = f"""
func.func @f(%a: {t}, %b: {t}, %out: {t}) -> {t} {{
  %c = arith.constant 1.5 : {type}
  %r = linalg.generic {{indexing_maps = [{identity}, {identity}, {identity}], iterator_types = ["parallel"]}}
      ins(%a, %b : {t}, {t}) outs(%out : {t}) {{
  ^bb0(%x: {type}, %y: {type}, %o: {type}):
    %p = arith.mulf %x, %y : {type}
    %q = arith.addf %p, %c : {type}
    %n = arith.negf %q : {type}
    %l = arith.cmpf olt, %x, %y : {type}
    %s = arith.select %l, %n, %q : {type}
    %m = arith.maximumf %s, %c : {type}
    linalg.yield %m : {type}
  }} -> {t}
  return %r : {t}
}}"""
    rng = np.random.default_rng(0)
    dtype = element_type(type).dtype
    check(text, {i: rng.standard_normal(37).astype(dtype) for i in range(2)}, tolerance=0.0)
