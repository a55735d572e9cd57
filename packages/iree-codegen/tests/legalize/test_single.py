"""Functions of f32 for devices without f64: no f64 is left, and errors stay within a few units in the last place."""

from __future__ import annotations

from typing import Any

import mpmath
import numpy as np
import pytest
from scipy import special

from iree_codegen.invocation_description import InvocationDescription
from iree_codegen.legalize.kernel import legalize
from iree_core_ir.interpreter import Interpreter
from iree_core_ir.ir.types import element_of, f64, i64
from iree_core_ir.text.parser import parse_module

Array = np.ndarray[Any, Any]
N = 4096

REFERENCE: dict[str, tuple[Any, float, tuple[float, float]]] = {
    # op: (in double, largest error in ulp, where random arguments lie)
    "sin": (np.sin, 2.5, (-1e5, 1e5)),
    "cos": (np.cos, 2.5, (-1e5, 1e5)),
    "tan": (np.tan, 5.0, (-1e5, 1e5)),
    "asin": (np.arcsin, 4.0, (-1.0, 1.0)),
    "acos": (np.arccos, 4.0, (-1.0, 1.0)),
    "atan": (np.arctan, 2.5, (-50.0, 50.0)),
    "sinh": (np.sinh, 5.0, (-80.0, 80.0)),
    "cosh": (np.cosh, 5.0, (-80.0, 80.0)),
    "asinh": (np.arcsinh, 5.0, (-1e6, 1e6)),
    "acosh": (np.arccosh, 5.0, (1.0, 1e6)),
    "atanh": (np.arctanh, 5.0, (-1.0, 1.0)),
    "log1p": (np.log1p, 3.0, (-1.0, 1e6)),
    "log2": (np.log2, 2.5, (0.0, 1e6)),
    "log10": (np.log10, 3.0, (0.0, 1e6)),
    "cbrt": (np.cbrt, 2.5, (-1e6, 1e6)),
    "erfc": (special.erfc, 12.0, (-6.0, 9.0)),
}


def run(line: str, *arrays: Array, fma: bool = False) -> Array:
    """``line`` makes %r of %a and %b, f32 vectors; legalized for a device without f64, then interpreted."""
    vector = f"vector<{len(arrays[0])}xf32>"
    arguments = ", ".join(f"%{name}: {vector}" for name, _ in zip("ab", arrays, strict=False))
    module = parse_module(
        f"func.func @f({arguments}) -> {vector} {{\n  %r = {line} : {vector}\n  return %r : {vector}\n}}"
    )
    legalize(module, InvocationDescription("test", fma=fma))
    for op in module.walk():
        for value in (*op.operands, *op.results):
            assert element_of(value.type) not in (f64, i64), op
    with np.errstate(all="ignore"):
        found: Any = Interpreter(module).call("f", *arrays)
    return np.asarray(found[0] if isinstance(found, (tuple, list)) else found)


def arguments(low: float, high: float, seed: int) -> Array:
    """Random ones in the range, small ones, any exponents within it, and the special ones."""
    rng = np.random.default_rng(seed)
    with np.errstate(all="ignore"):
        uniform = rng.uniform(low, high, N // 2)
        bits = rng.integers(0, 1 << 32, N // 4, dtype=np.uint32).view(np.float32).astype(np.float64)
        small = rng.uniform(max(low, -2.0), min(high, 2.0), N // 4 - 16)
        special = [
            0.0,
            -0.0,
            1.0,
            -1.0,
            0.5,
            -0.5,
            np.inf,
            -np.inf,
            np.nan,
            2.0,
            -2.0,
            1e-6,
            -1e-6,
            low,
            high,
            1.5,
        ]
        every = np.concatenate([uniform, np.clip(bits, low, high), small, special]).astype(np.float32)
    every[np.abs(every) < 2.0**-126] = 0.0
    return every


def ulps(got: Array, expected: Array) -> Array:
    """Error in units of the last place of f32; specials must be equal; results that are denormal are not asked."""
    with np.errstate(all="ignore"):
        rounded = expected.astype(np.float32)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(rounded))
    infinite = np.isinf(rounded)
    near_limit = np.abs(expected) > 3.4e38
    np.testing.assert_array_equal(got[infinite & ~near_limit], rounded[infinite & ~near_limit])
    usable = np.isfinite(rounded) & np.isfinite(got) & (np.abs(expected) > 2.0**-125)
    zero = rounded == 0
    np.testing.assert_array_equal(got[zero] == 0, True)
    a, b = got[usable].astype(np.float64), expected[usable]
    return np.abs(a - b) / np.spacing(np.abs(b).astype(np.float32)).astype(np.float64)


@pytest.mark.parametrize("fma", [False, True])
@pytest.mark.parametrize("name", REFERENCE)
def test_unary(name: str, fma: bool) -> None:
    function, bound, (low, high) = REFERENCE[name]
    x = arguments(low, high, 1)
    got = run(f"math.{name} %a", x, fma=fma)
    with np.errstate(all="ignore"):
        expected = function(x.astype(np.float64))
    assert ulps(got, expected).max() <= bound


@pytest.mark.parametrize("name", ["sin", "cos", "tan"])
def test_large_angles(name: str) -> None:
    """Every exponent: the reduction has all bits of 2/pi it needs."""
    mpmath.mp.prec = 300
    rng = np.random.default_rng(2)
    x = (rng.uniform(1, 2, 512) * 2.0 ** rng.integers(10, 127, 512)).astype(np.float32)
    x[:4] = [3.4e38, 16367173 * 2.0**72, -1e30, 8192.0]
    expected = np.array([float(getattr(mpmath, name)(mpmath.mpf(float(v)))) for v in x])
    assert ulps(run(f"math.{name} %a", x), expected).max() <= 6.0


@pytest.mark.parametrize("fma", [False, True])
def test_powers(fma: bool) -> None:
    rng = np.random.default_rng(3)
    x = np.concatenate(
        [rng.uniform(0, 4, N // 2), 10.0 ** rng.uniform(-30, 30, N // 4), rng.uniform(0.99, 1.01, N // 4)]
    )
    y = np.concatenate(
        [rng.uniform(-20, 20, N // 2), rng.uniform(-1.2, 1.2, N // 4), rng.uniform(-8000, 8000, N // 4)]
    )
    x, y = x.astype(np.float32), y.astype(np.float32)
    with np.errstate(all="ignore"):
        expected = x.astype(np.float64) ** y.astype(np.float64)
    assert ulps(run("math.powf %a, %b", x, y, fma=fma), expected).max() <= 4.0


def test_special_powers() -> None:
    values = np.array(
        [0.0, -0.0, 1.0, -1.0, 2.0, -2.0, 3.0, -3.0, 0.5, -0.5, 16777215.0, 1e30, np.inf, -np.inf, np.nan]
    )
    x, y = (v.reshape(-1).astype(np.float32) for v in np.meshgrid(values, values))
    with np.errstate(all="ignore"):
        expected = (x.astype(np.float64) ** y.astype(np.float64)).astype(np.float32)
    got = run("math.powf %a, %b", x, y)
    # Numbers that overflow f32 or fall below it, and roundings, aside: exact values and signs.
    exact = ~np.isfinite(expected) | (np.abs(expected) <= 1) & (np.abs(expected) >= 0.125) | (expected == 0)
    np.testing.assert_array_equal(got[exact], expected[exact])
    exact &= ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(got[exact]), np.signbit(expected[exact]))


def test_atan2() -> None:
    values = np.array([0.0, -0.0, 1.0, -1.0, 2.5, -1e-3, 1e20, -1e20, np.inf, -np.inf, np.nan])
    rng = np.random.default_rng(4)
    y, x = (v.reshape(-1) for v in np.meshgrid(values, values))
    y, x = (np.concatenate([v, rng.normal(size=N)]).astype(np.float32) for v in (y, x))
    expected = np.arctan2(y.astype(np.float64), x.astype(np.float64))
    got = run("math.atan2 %a, %b", y, x)
    assert ulps(got, expected).max() <= 4.0
    np.testing.assert_array_equal(np.signbit(got[expected == 0]), np.signbit(expected[expected == 0]))
