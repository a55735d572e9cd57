"""Vector math in units in the last place, against extended precision, over the whole range of arguments."""

from __future__ import annotations

import functools
from typing import Any

import mpmath
import numpy as np
import pytest

from iree_base.element_types import element_type
from iree_target_llvm.testing import run_native

from .conftest import compile_with, function
from .test_elementwise import unary

BOUNDS: dict[str, tuple[float, float]] = {
    # op: (f32, f64) largest error in ulp; what is computed in double and rounded has half an ulp.
    "exp": (1.0, 1.0),
    "exp2": (1.0, 1.0),
    "expm1": (1.5, 1.5),
    "log": (1.0, 1.0),
    "log2": (0.51, 1.0),
    "log10": (0.51, 1.0),
    "log1p": (0.51, 1.0),
    "sqrt": (0.51, 0.51),
    "rsqrt": (1.6, 1.6),
    "cbrt": (0.51, 1.0),
    "sin": (0.51, 2.0),
    "cos": (0.51, 2.0),
    "tan": (0.51, 3.5),
    "asin": (0.51, 2.0),
    "acos": (0.51, 2.0),
    "atan": (0.51, 1.0),
    "sinh": (0.51, 2.5),
    "cosh": (0.51, 2.5),
    "tanh": (1.5, 2.5),
    "asinh": (0.51, 2.0),
    "acosh": (0.51, 2.0),
    "atanh": (0.51, 2.0),
    "erf": (1.2, 1.5),
    "erfc": (0.51, 4.0),
}
MPMATH = {"exp2": lambda x: mpmath.mpf(2) ** x, "log2": lambda x: mpmath.log(x, 2)} | {
    "log10": lambda x: mpmath.log(x, 10),
    "rsqrt": lambda x: 1 / mpmath.sqrt(x),
    "cbrt": lambda x: mpmath.cbrt(abs(x)) * mpmath.sign(x),
}
N = 3000


def arguments(type: str) -> Any:
    """Random bit patterns (all exponents), moderate values, and the special ones."""
    rng = np.random.default_rng(7)
    dtype = element_type(type).dtype
    integer = np.dtype(f"u{dtype.itemsize}")
    bits = rng.integers(0, np.iinfo(integer).max, N // 2, dtype=integer, endpoint=True).view(dtype)
    moderate = [rng.uniform(-s, s, N // 8) for s in (1.0, 10.0, 100.0, 800.0)]
    info = np.finfo(dtype)
    special = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, info.tiny, info.max, -info.max, 0.5, 2.0]
    with np.errstate(all="ignore"):
        return np.concatenate([bits, *moderate, special]).astype(dtype)


@functools.cache
def exact(name: str, type: str) -> tuple[Any, Any]:
    """(correctly rounded results, results in extended precision relative to them, in ulp)."""
    dtype = element_type(type).dtype
    x = arguments(type)
    with mpmath.workprec(160):
        rounded, offset = [], []
        for value in x:
            result = special_value(name, float(value))
            if result is None:
                result = MPMATH.get(name, getattr(mpmath, name, None))(mpmath.mpf(float(value)))
                if isinstance(result, mpmath.mpc):
                    result = mpmath.nan
            with np.errstate(all="ignore"):
                near = dtype.type(float(result)) if not mpmath.isnan(result) else dtype.type(np.nan)
                unit = float(np.spacing(np.abs(near))) if np.isfinite(near) else 1.0
            rounded.append(near)
            offset.append(float((result - float(near)) / unit) if np.isfinite(near) and unit else 0.0)
    return np.array(rounded, dtype), np.array(offset)


def special_value(name: str, x: float) -> Any:
    """Results that mpmath does not give: NaN and infinite arguments, ends of domains, values beyond range."""
    nan, inf = mpmath.nan, mpmath.inf
    if x != x:
        return nan
    odd_limits = {"atan": mpmath.pi / 2, "tanh": mpmath.mpf(1), "erf": mpmath.mpf(1), "sinh": inf, "asinh": inf,
                  "cbrt": inf}  # fmt: skip
    if x in (np.inf, -np.inf):
        if name in odd_limits:
            return odd_limits[name] * (1 if x > 0 else -1)
        up = {"exp": inf, "exp2": inf, "expm1": inf, "log": inf, "log2": inf, "log10": inf, "log1p": inf,
              "sqrt": inf, "rsqrt": mpmath.mpf(0), "cosh": inf, "acosh": inf, "erfc": mpmath.mpf(0)}  # fmt: skip
        down = {"exp": mpmath.mpf(0), "exp2": mpmath.mpf(0), "expm1": mpmath.mpf(-1), "cosh": inf,
                "erfc": mpmath.mpf(2)}  # fmt: skip
        return (up if x > 0 else down).get(name, nan)
    if name in ("log", "log2", "log10", "sqrt", "rsqrt") and x < 0:
        return nan
    if name in ("log", "log2", "log10") and x == 0:
        return -inf
    if name == "rsqrt" and x == 0:
        return inf if np.signbit(x) == 0 else -inf
    if name == "log1p" and x <= -1:
        return -inf if x == -1 else nan
    if name in ("asin", "acos", "atanh") and abs(x) > 1:
        return nan
    if name == "atanh" and abs(x) == 1:
        return inf * x
    if name == "acosh" and x < 1:
        return nan
    if name in ("exp", "exp2", "expm1", "cosh", "sinh") and abs(x) > 2000:
        return special_value(name, np.inf if x > 0 else -np.inf)
    if name in ("erf", "erfc", "tanh") and abs(x) > 100:
        return special_value(name, np.inf if x > 0 else -np.inf)
    return None


@pytest.mark.parametrize("type", ["f32", "f64"])
@pytest.mark.parametrize("name", sorted(BOUNDS))
def test_accuracy(description: Any, name: str, type: str) -> None:
    x = arguments(type)
    func = function(unary(f"%r = math.{name} %x : {type}", type, type, str(len(x))))
    compiled = compile_with(func, description, "vector-loops")
    assert compiled is not None
    got = run_native(func, compiled, {0: x})[0]
    rounded, offset = exact(name, type)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(rounded))
    # Denormals are flushed or lose bits: the runtime flushes them anyway.
    normal = np.isfinite(rounded) & (np.abs(rounded) >= np.finfo(x.dtype).tiny) & np.isfinite(got)
    inputs_normal = np.abs(x) >= np.finfo(x.dtype).tiny
    steps = (got[normal].astype(np.longdouble) - rounded[normal]) / np.spacing(np.abs(rounded[normal]))
    error = np.abs(steps.astype(np.float64) - offset[normal])
    worst = int(np.argmax(error)) if error.size else 0
    bound = BOUNDS[name][type == "f64"]
    assert not error.size or error[worst] <= bound, (x[normal][worst], got[normal][worst], error[worst])
    # Overflow only where the exact result is within an ulp of it.
    infinite = np.isinf(rounded) & inputs_normal
    largest = np.finfo(x.dtype).max
    assert ((got[infinite] == rounded[infinite]) | (np.abs(got[infinite]) >= largest * (1 - 1e-6))).all()
    zero = rounded == 0
    assert (np.abs(got[zero]) <= np.finfo(x.dtype).tiny).all()


def pairs(type: str) -> tuple[Any, Any]:
    rng = np.random.default_rng(3)
    dtype = element_type(type).dtype
    edge = np.array([0, -0.0, 1, -1, np.inf, -np.inf, np.nan, 2, -2, 3, -3, 0.5, -0.5, 2.5, 1e30, 5e15, -7])
    x, y = (g.ravel() for g in np.meshgrid(edge, edge))
    x = np.concatenate(
        [x, rng.uniform(0, 10, 1000), np.exp(rng.uniform(-60, 60, 1000)), rng.uniform(-5, 5, 500)]
    )
    y = np.concatenate([y, rng.uniform(-20, 20, 1000), rng.uniform(-1, 1, 1000), rng.integers(-9, 9, 500)])
    return x.astype(dtype), y.astype(dtype)


@pytest.mark.parametrize("type", ["f32", "f64"])
@pytest.mark.parametrize("name", ["math.powf", "math.atan2", "arith.remf"])
def test_functions_of_two_arguments(description: Any, name: str, type: str) -> None:
    x, y = pairs(type)
    n = len(x)
    text = f"""
#id = affine_map<(d0) -> (d0)>
func.func @f(%a: tensor<{n}x{type}>, %b: tensor<{n}x{type}>, %out: tensor<{n}x{type}>) -> tensor<{n}x{type}> {{
  %0 = linalg.generic {{indexing_maps = [#id, #id, #id], iterator_types = ["parallel"]}}
      ins(%a, %b : tensor<{n}x{type}>, tensor<{n}x{type}>) outs(%out : tensor<{n}x{type}>) {{
  ^bb0(%x: {type}, %y: {type}, %o: {type}):
    %r = {name} %x, %y : {type}
    linalg.yield %r : {type}
  }} -> tensor<{n}x{type}>
  return %0 : tensor<{n}x{type}>
}}"""
    func = function(text)
    compiled = compile_with(func, description, "vector-loops")
    assert compiled is not None
    got = run_native(func, compiled, {0: x, 1: y})[0]
    wide: Any = np.longdouble
    reference = {"math.powf": np.power, "math.atan2": np.arctan2, "arith.remf": np.fmod}[name]
    with np.errstate(all="ignore"):
        if name == "arith.remf":
            expected = reference(x, y).astype(wide)
        else:
            expected = reference(x.astype(wide), y.astype(wide))
        rounded = expected.astype(x.dtype)
        np.testing.assert_array_equal(np.isnan(got), np.isnan(rounded))
        normal = np.isfinite(rounded) & (np.abs(rounded) >= np.finfo(x.dtype).tiny)
        unit = np.spacing(np.abs(rounded[normal])).astype(wide)
        error = np.abs(got[normal].astype(wide) - expected[normal]) / unit
    assert float(error.max()) <= (0 if name == "arith.remf" else 0.51 if type == "f32" else 2.0)
    infinite = np.isinf(rounded)
    np.testing.assert_array_equal(got[infinite], rounded[infinite])
