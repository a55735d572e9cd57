"""1 + erf(x), 1 + tanh(x), 1 + exp(x) in one piece: errors as small as those of the functions apart, exact ends."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import special

from iree_target_llvm.testing import run_native

from .conftest import compile_with, function

BODIES = {
    "erf": "%t = math.erf %x : f32",
    "erf of a quotient": "%c = arith.constant 1.41421354 : f32\n %q = arith.divf %x, %c : f32\n"
    " %t = math.erf %q : f32",
    "tanh": "%t = math.tanh %x : f32",
}


def text(body: str, n: int) -> str:
    return f"""
#id = affine_map<(d0) -> (d0)>
func.func @f(%a: tensor<{n}xf32>, %out: tensor<{n}xf32>) -> tensor<{n}xf32> {{
  %one = arith.constant 1.0 : f32
  %r = linalg.generic {{indexing_maps = [#id, #id], iterator_types = ["parallel"]}}
      ins(%a : tensor<{n}xf32>) outs(%out : tensor<{n}xf32>) {{
  ^bb0(%x: f32, %o: f32):
    {body}
    %s = arith.addf %t, %one : f32
    linalg.yield %s : f32
  }} -> tensor<{n}xf32>
  return %r : tensor<{n}xf32>
}}"""


def evaluate(name: str, x: Any, description: Any) -> Any:
    func = function(text(BODIES[name], len(x)))
    compiled = compile_with(func, description)
    assert compiled is not None
    return run_native(func, compiled, {0: x})[0]


@pytest.mark.parametrize("name", BODIES)
def test_errors(description: Any, name: str) -> None:
    rng = np.random.default_rng(3)
    parts = [np.linspace(-6, 6, 40001), rng.uniform(-1e-3, 1e-3, 999), rng.uniform(-100, 100, 999)]
    x = np.concatenate(parts).astype(np.float32)
    wide = x.astype(np.float64)
    exact = {
        "erf": lambda: special.erfc(-wide),
        "erf of a quotient": lambda: special.erfc(-wide / np.float64(np.float32(1.41421354))),
        "tanh": lambda: 2 * special.expit(2 * wide),
    }[name]()
    found = evaluate(name, x, description)
    assert np.abs(found - exact).max() < 1.5e-7
    assert found.min() >= 0 and found.max() <= 2


@pytest.mark.parametrize("name", BODIES)
def test_special_values(description: Any, name: str) -> None:
    x = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e30, -1e30, 1e-40], np.float32)
    found = evaluate(name, x, description)
    expected = np.array([1, 1, 2, 0, np.nan, 2, 0, 1], np.float32)
    np.testing.assert_array_equal(found, expected)


def test_one_plus_exp(description: Any) -> None:
    """Two units in the last place over the whole range, then infinite."""
    rng = np.random.default_rng(3)
    parts = [np.linspace(-90, 88.72283, 40001), rng.uniform(-1e-3, 1e-3, 999), rng.uniform(-3, 3, 999)]
    special_values = [0.0, -0.0, np.inf, -np.inf, np.nan, 88.72284, 89.0, 1e30, -1e30, 1e-40]
    x = np.concatenate([*parts, special_values]).astype(np.float32)
    func = function(text("%t = math.exp %x : f32", len(x)))
    compiled = compile_with(func, description)
    assert compiled is not None
    found = run_native(func, compiled, {0: x})[0]
    with np.errstate(over="ignore"):
        exact = 1 + np.exp(x.astype(np.float64))
        expected = exact.astype(np.float32)
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(found[~finite], expected[~finite])
    assert (np.abs(found[finite] - exact[finite]) <= 2 * np.spacing(expected[finite])).all()


GELU = """
#id = affine_map<(d0) -> (d0)>
func.func @f(%a: tensor<{n}xf32>, %out: tensor<{n}xbf16>) -> tensor<{n}xbf16> {{
  %one = arith.constant 1.0 : f32
  %half = arith.constant 0.5 : f32
  %root = arith.constant 1.41421354 : f32
  %r = linalg.generic {{indexing_maps = [#id, #id], iterator_types = ["parallel"]}}
      ins(%a : tensor<{n}xf32>) outs(%out : tensor<{n}xbf16>) {{
  ^bb0(%x: f32, %o: bf16):
    %q = arith.divf %x, %root : f32
    %t = math.erf %q : f32
    %s = arith.addf %t, %one : f32
    %u = arith.mulf %s, %half : f32
    %v = arith.mulf %x, %u : f32
    %w = arith.truncf %v : f32 to bf16
    linalg.yield %w : bf16
  }} -> tensor<{n}xbf16>
  return %r : tensor<{n}xbf16>
}}"""


def test_what_is_rounded_to_bf16_is_as_good_as_that(description: Any) -> None:
    """Half a unit in the last place of bf16, and 3e-5 of the argument where the function is near 0."""
    rng = np.random.default_rng(3)
    x = np.concatenate([np.linspace(-9, 9, 40001), rng.uniform(-1e-3, 1e-3, 999), [0.0, np.inf, 1e30, -1e30]])
    x = x.astype(np.float32)
    func = function(GELU.format(n=len(x)))
    compiled = compile_with(func, description)
    assert compiled is not None
    found = run_native(func, compiled, {0: x})[0].astype(np.float64)
    finite = np.isfinite(x)
    assert found[~finite] == np.inf
    wide = x[finite].astype(np.float64)
    exact = wide * special.erfc(-wide / np.sqrt(2)) / 2
    assert (np.abs(found[finite] - exact) <= 2.0**-8 * np.abs(exact) + 3e-5 * np.abs(wide)).all()
    assert (found[x < -4.25] == 0).all()
