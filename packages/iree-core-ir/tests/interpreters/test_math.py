"""math against mpmath at 60 digits, scipy in f64 and exact rationals; special values by IEEE 754 and C."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import scipy.special
from hypothesis import given
from hypothesis import strategies as st

from iree_core_ir.dialects import math as dialect
from iree_core_ir.interpreters.floats import FloatFormat, float_format, fma, fma_f64, to_f32_odd
from iree_core_ir.ir.types import f32

Evaluate = Callable[..., Any]
NAN, INF = math.nan, math.inf
DTYPES: dict[str, Any] = {
    "f16": np.float16, "bf16": ml_dtypes.bfloat16, "f32": np.float32, "f64": np.float64, "i1": np.bool_,
    "i8": np.int8, "i16": np.int16, "i32": np.int32, "i64": np.int64,
}  # fmt: skip

FUNCTIONS: dict[str, tuple[Any, float, float]] = {
    "exp": (np.exp, -80, 80),
    "exp2": (np.exp2, -120, 120),
    "expm1": (scipy.special.expm1, -5, 50),
    "log": (np.log, 1e-30, 1e30),
    "log1p": (scipy.special.log1p, -0.99, 1e5),
    "log2": (np.log2, 1e-30, 1e30),
    "log10": (np.log10, 1e-30, 1e30),
    "sqrt": (np.sqrt, 0, 1e30),
    "rsqrt": (lambda x: 1 / np.sqrt(x), 1e-30, 1e30),
    "cbrt": (scipy.special.cbrt, -1e30, 1e30),
    "sin": (np.sin, -100, 100),
    "cos": (np.cos, -100, 100),
    "tan": (np.tan, -1.5, 1.5),
    "asin": (np.arcsin, -1, 1),
    "acos": (np.arccos, -1, 1),
    "atan": (np.arctan, -1e6, 1e6),
    "sinh": (np.sinh, -50, 50),
    "cosh": (np.cosh, -50, 50),
    "tanh": (np.tanh, -20, 20),
    "asinh": (np.arcsinh, -1e6, 1e6),
    "acosh": (np.arccosh, 1, 1e6),
    "atanh": (np.arctanh, -0.999, 0.999),
    "erf": (scipy.special.erf, -6, 6),
    "erfc": (scipy.special.erfc, -6, 9),
}
"""Name -> (f64 reference, range of arguments)."""


def inputs(low: float, high: float, dtype: Any, count: int = 400) -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(7)
    spread = rng.uniform(low, high, count)
    small = np.clip(rng.normal(0, 1, count), low, high)
    with np.errstate(over="ignore"):
        x = np.concatenate([spread, small]).astype(dtype)
    wide = x.astype(np.float64)
    return x[(wide >= low) & (wide <= high) & np.isfinite(wide)]


def neighbours(reference: np.ndarray[Any, Any], dtype: Any) -> tuple[Any, Any]:
    """The two values of ``dtype`` between which each reference lies (or which are it)."""
    with np.errstate(all="ignore"):
        nearest = reference.astype(dtype)
        bits = np.dtype(f"i{np.dtype(dtype).itemsize}")
        order = nearest.view(bits)
        step = np.where(reference >= nearest.astype(np.float64), 1, -1) * np.where(order < 0, -1, 1)
        other = (order + step.astype(bits)).astype(bits).view(dtype)
    return nearest.astype(np.float64), other.astype(np.float64)


@pytest.mark.parametrize("type", ["f16", "bf16", "f32"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_are_faithful(evaluate: Evaluate, name: str, type: str) -> None:
    """Each result is one of the two neighbours of the f64 reference, and nearly always the nearer."""
    reference, low, high = FUNCTIONS[name]
    x = inputs(low, high, DTYPES[type])
    found = evaluate(f"math.{name} %a : tensor<?x{type}>", [f"tensor<?x{type}>"], f"tensor<?x{type}>", x)
    assert found.dtype == DTYPES[type]
    with np.errstate(all="ignore"):
        expected = reference(x.astype(np.float64))
    nearest, other = neighbours(expected, DTYPES[type])
    wide = found.astype(np.float64)
    assert ((wide == nearest) | (wide == other)).all()
    assert (wide == nearest).mean() > 0.995


@pytest.mark.parametrize("name", FUNCTIONS)
def test_f64_functions_against_mpmath(evaluate: Evaluate, name: str) -> None:
    mpmath = pytest.importorskip("mpmath")
    names = {"log2": lambda x: mpmath.log(x, 2), "exp2": lambda x: mpmath.power(2, x)}
    names |= {"rsqrt": lambda x: 1 / mpmath.sqrt(x), "cbrt": lambda x: mpmath.sign(x) * mpmath.cbrt(abs(x))}
    function = names.get(name) or getattr(mpmath, name)
    _, low, high = FUNCTIONS[name]
    x = inputs(low, high, np.float64, 20)
    found = evaluate(f"math.{name} %a : tensor<?xf64>", ["tensor<?xf64>"], "tensor<?xf64>", x)
    with mpmath.workdps(60):
        for value, result in zip(x, found, strict=True):
            exact = function(mpmath.mpf(float(value)))
            assert abs(mpmath.mpf(float(result)) - exact) <= 4 * np.spacing(abs(float(exact)))


SPECIAL = [
    ("exp", [-INF, INF, NAN, 0.0, 1e4], [0.0, INF, NAN, 1.0, INF]),
    ("exp2", [-INF, INF, NAN, -0.0, 3.0], [0.0, INF, NAN, 1.0, 8.0]),
    ("expm1", [-INF, INF, NAN, -0.0], [-1.0, INF, NAN, -0.0]),
    ("log", [0.0, -0.0, -1.0, INF, NAN, 1.0], [-INF, -INF, NAN, INF, NAN, 0.0]),
    ("log1p", [-1.0, -2.0, -0.0, INF], [-INF, NAN, -0.0, INF]),
    ("log2", [8.0, 0.0, -1.0], [3.0, -INF, NAN]),
    ("log10", [1000.0, 0.0], [3.0, -INF]),
    ("sqrt", [-0.0, -1.0, INF, 4.0], [-0.0, NAN, INF, 2.0]),
    ("rsqrt", [0.0, -0.0, INF, -1.0, 4.0], [INF, -INF, 0.0, NAN, 0.5]),
    ("cbrt", [-8.0, -0.0, -INF], [-2.0, -0.0, -INF]),
    ("sin", [-0.0, INF, NAN], [-0.0, NAN, NAN]),
    ("cos", [0.0, -INF], [1.0, NAN]),
    ("tan", [-0.0, INF], [-0.0, NAN]),
    ("asin", [-0.0, 2.0], [-0.0, NAN]),
    ("acos", [1.0, 2.0], [0.0, NAN]),
    ("atan", [-0.0, INF], [-0.0, math.pi / 2]),
    ("sinh", [-0.0, -INF], [-0.0, -INF]),
    ("cosh", [0.0, -INF], [1.0, INF]),
    ("tanh", [-0.0, INF, -INF, NAN], [-0.0, 1.0, -1.0, NAN]),
    ("asinh", [-0.0, -INF], [-0.0, -INF]),
    ("acosh", [1.0, 0.5, INF], [0.0, NAN, INF]),
    ("atanh", [-0.0, 1.0, 2.0], [-0.0, INF, NAN]),
    ("erf", [-0.0, INF, -INF, NAN], [-0.0, 1.0, -1.0, NAN]),
    ("erfc", [0.0, INF, -INF, NAN], [1.0, 0.0, 2.0, NAN]),
    ("absf", [-0.0, -INF, NAN, -2.5], [0.0, INF, NAN, 2.5]),
    ("floor", [-0.5, 2.5, -0.0, INF, NAN], [-1.0, 2.0, -0.0, INF, NAN]),
    ("ceil", [-0.5, 2.5, 0.1, -INF], [-0.0, 3.0, 1.0, -INF]),
    ("trunc", [-0.5, 2.7, -2.7, INF], [-0.0, 2.0, -2.0, INF]),
    (
        "round",
        [0.5, 1.5, 2.5, -0.5, -2.5, 0.49999997, -0.2, 8388609.0, INF, NAN],
        [1.0, 2.0, 3.0, -1.0, -3.0, 0.0, -0.0, 8388609.0, INF, NAN],
    ),
    ("roundeven", [0.5, 1.5, 2.5, -0.5, -2.5, INF], [0.0, 2.0, 2.0, -0.0, -2.0, INF]),
]


def same(found: Any, expected: Any) -> bool:
    a, b = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    return bool((np.isnan(a) & np.isnan(b) | (a == b) & (np.signbit(a) == np.signbit(b))).all())


@pytest.mark.parametrize(("name", "values", "expected"), SPECIAL)
def test_special_values(evaluate: Evaluate, name: str, values: list[float], expected: list[float]) -> None:
    for value, wanted in zip(values, expected, strict=True):
        found = evaluate(f"math.{name} %a : f32", ["f32"], "f32", np.float32(value))
        assert isinstance(found, np.float32)
        assert same(found, np.float32(wanted)), (value, found)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (NAN, 0.0, 1.0), (1.0, NAN, 1.0), (-2.0, 3.0, -8.0), (-2.0, 0.5, NAN), (0.0, -1.0, INF),
        (-0.0, -1.0, -INF), (-0.0, 3.0, -0.0), (-0.0, 2.0, 0.0), (-1.0, INF, 1.0), (0.5, INF, 0.0),
        (2.0, -INF, 0.0), (-INF, 3.0, -INF), (-INF, -3.0, -0.0), (10.0, 40.0, INF), (2.0, 10.0, 1024.0),
    ],
)  # fmt: skip
def test_powf_special_values(evaluate: Evaluate, a: float, b: float, expected: float) -> None:
    found = evaluate("math.powf %a, %b : f32", ["f32"] * 2, "f32", np.float32(a), np.float32(b))
    assert same(found, expected)


@given(
    y=st.sampled_from([0.0, -0.0, 1.0, -1.0, INF, -INF, NAN, 2.5]),
    x=st.sampled_from([0.0, -0.0, 1.0, -1.0, INF, -INF, NAN, 0.75]),
)
def test_atan2_copysign(evaluate: Evaluate, y: float, x: float) -> None:
    found = evaluate("math.atan2 %a, %b : f64", ["f64"] * 2, "f64", np.float64(y), np.float64(x))
    assert same(found, math.atan2(y, x))
    found = evaluate("math.copysign %a, %b : f32", ["f32"] * 2, "f32", np.float32(y), np.float32(x))
    assert same(found, math.copysign(y, x))


@given(n=st.integers(-(1 << 63), (1 << 63) - 1), x=st.sampled_from([1.0, -1.0, 2.0, -2.0, 0.0, -0.0, 0.5]))
def test_fpowi_takes_the_sign_from_the_parity(evaluate: Evaluate, n: int, x: float) -> None:
    found = evaluate("math.fpowi %a, %b : f32, i64", ["f32", "i64"], "f32", np.float32(x), np.int64(n))
    if n:
        assert np.signbit(found) == (bool(n % 2) and math.copysign(1, x) < 0)
    if abs(x) == 1 or n == 0:
        assert abs(found) == 1
    if abs(n) < 100 and x:
        assert found == np.float32(float(Fraction(x) ** n))


@pytest.mark.parametrize("type", ["i8", "i16", "i32", "i64"])
def test_integer_functions(evaluate: Evaluate, type: str) -> None:
    n = np.dtype(DTYPES[type]).itemsize * 8
    rng = np.random.default_rng(n)
    edges = np.array([0, 1, 2, -1, -2, (1 << (n - 1)) - 1, -(1 << (n - 1)), -(1 << (n - 1)) + 1], np.int64)
    x = np.concatenate([edges.astype(DTYPES[type]), rng.integers(-128, 127, 50).astype(DTYPES[type])])
    t = f"tensor<?x{type}>"
    for name in ("absi", "ctpop", "ctlz", "cttz"):
        found = evaluate(f"math.{name} %a : {t}", [t], t, x)
        for value, result in zip(x.tolist(), found.tolist(), strict=True):
            bits = value % (1 << n)
            text = f"{bits:0{n}b}"
            expected = {
                "absi": abs(value) if abs(value) < 1 << (n - 1) else value,
                "ctpop": text.count("1"),
                "ctlz": n - len(text.lstrip("0")),
                "cttz": n - len(text.rstrip("0")) if bits else n,
            }[name]
            assert result == expected, (name, value)


@pytest.mark.parametrize("type", ["i8", "i32", "i64"])
def test_ipowi(evaluate: Evaluate, type: str) -> None:
    n = np.dtype(DTYPES[type]).itemsize * 8
    dtype = DTYPES[type]
    for a, b in itertools.product([0, 1, -1, 2, -2, 3, -7, 100, -128], [0, 1, 2, 3, 7, 63, 100, -1, -2, -5]):
        found = int(evaluate(f"math.ipowi %a, %b : {type}", [type] * 2, type, dtype(a), dtype(b)))
        if b >= 0:
            expected = pow(a, b)
        else:
            expected = a if a in (1, -1) and b % 2 else 1 if a in (1, -1) else 0
        assert (found - expected) % (1 << n) == 0, (a, b)


# -- fma: one rounding ------------------------------------------------------------------------------------


def rounded(value: Fraction, precision: int, low: int, high: int) -> float:
    if value == 0:
        return 0.0
    exponent = value.numerator.bit_length() - value.denominator.bit_length()
    while Fraction(2) ** exponent > abs(value):
        exponent -= 1
    unit = Fraction(2) ** (max(exponent, low) - precision + 1)
    result = round(value / unit) * unit
    if abs(result) >= Fraction(2) ** (high + 1):
        return INF if value > 0 else -INF
    return float(result)


FORMATS = {"f16": (11, -14, 15), "bf16": (8, -126, 127), "f32": (24, -126, 127), "f64": (53, -1022, 1023)}


@pytest.mark.parametrize("type", FORMATS)
def test_fma_rounds_once(evaluate: Evaluate, type: str) -> None:
    dtype = np.dtype(DTYPES[type])
    bits = np.dtype(f"u{dtype.itemsize}")
    rng = np.random.default_rng(11)
    a, b, c = (rng.integers(0, 1 << (8 * dtype.itemsize), 800, dtype=bits).view(dtype) for _ in range(3))
    # Sums that nearly cancel and products that nearly reach the middle between neighbours.
    near = rng.normal(0, 1, (2, 400)).astype(dtype)
    with np.errstate(all="ignore"):
        cancel = (-(near[0].astype(np.float64) * near[1].astype(np.float64))).astype(dtype)
        tiny = (near[0].astype(np.float64) * 2.0 ** -(FORMATS[type][0] + 3)).astype(dtype)
    a = np.concatenate([a, near[0], near[0]])
    b = np.concatenate([b, near[1], near[1]])
    c = np.concatenate([c, cancel, tiny])
    t = f"tensor<?x{type}>"
    found = evaluate(f"math.fma %a, %b, %c : {t}", [t] * 3, t, a, b, c)
    checked = 0
    for x, y, z, r in zip(a, b, c, found, strict=True):
        with np.errstate(all="ignore"):
            p, q, s = float(x), float(y), float(z)
        if math.isfinite(p) and math.isfinite(q) and math.isfinite(s):
            exact = Fraction(p) * Fraction(q) + Fraction(s)
            assert float(r) == rounded(exact, *FORMATS[type]), (p, q, s)
            checked += 1
        else:
            with np.errstate(all="ignore"):
                assert same(r, np.float64(p) * np.float64(q) + np.float64(s))
    assert checked > 1000


def test_fma_f32_of_one_element_is_that_of_many() -> None:
    """A single element mostly takes the short way, among many some element takes all the long way."""
    single = float_format(f32)
    rng = np.random.default_rng(12)
    a, b, c = (rng.integers(0, 1 << 32, 3000, dtype=np.uint32).view(np.float32) for _ in range(3))
    with np.errstate(all="ignore"):
        near = (-(a.astype(np.float64) * b) * (1 + 2.0 ** -rng.integers(20, 50, 3000))).astype(np.float32)
        c = np.where(rng.integers(0, 2, 3000) == 1, c, near)
        together = fma(single, a, b, c)
        apart = np.array([fma(single, *item) for item in zip(a, b, c, strict=True)])
    np.testing.assert_array_equal(apart, together)


def test_fma_f64_at_the_ends_of_the_range() -> None:
    cases = [
        (1e200, 1e200, -INF), (1e308, 10.0, -1e308), (5e-324, 0.5, 0.0), (5e-324, 0.5, 5e-324),
        (1e-200, 1e-200, 0.0), (1e-160, 1e-160, 1e-320), (1.7e308, 1.0, 1.7e308), (-1e300, 1e300, 1e300),
        (0.0, 1e308, -0.0), (3.0, 5e-324, -1.0),
    ]  # fmt: skip
    for a, b, c in cases:
        with np.errstate(all="ignore"):
            found = float(fma_f64(*(np.float64(v) for v in (a, b, c))))
        if math.isfinite(c):
            assert found == rounded(Fraction(a) * Fraction(b) + Fraction(c), *FORMATS["f64"]), (a, b, c)
        else:
            assert found == c


@given(value=st.floats(allow_nan=False, width=64))
def test_rounding_to_odd(value: float) -> None:
    """The result is exact, or one of the two neighbours: the one whose last bit is set."""
    with np.errstate(all="ignore"):
        odd = to_f32_odd(np.float64(value))
    exact = float(odd) == value
    if not exact and abs(value) < 3.4e38:
        assert int(np.asarray(odd).view(np.uint32)) & 1
        with np.errstate(all="ignore"):
            assert abs(float(odd) - value) <= abs(float(np.spacing(np.float32(abs(odd)))))
    assert FloatFormat(f32).narrow(np.float32(1.5)) == 1.5


# -- the rest ------------------------------------------------------------------------------------------------


def test_classification(evaluate: Evaluate) -> None:
    x = np.array([NAN, INF, -INF, 0.0, -0.0, 1e-40, -2.0], np.float32)
    expected = {
        "isnan": [1, 0, 0, 0, 0, 0, 0],
        "isinf": [0, 1, 1, 0, 0, 0, 0],
        "isfinite": [0, 0, 0, 1, 1, 1, 1],
        "isnormal": [0, 0, 0, 0, 0, 0, 1],
    }
    for name, wanted in expected.items():
        found = evaluate(f"math.{name} %a : tensor<7xf32>", ["tensor<7xf32>"], "tensor<7xi1>", x)
        assert found.dtype == np.bool_
        assert found.astype(int).tolist() == wanted


@pytest.mark.parametrize(("type", "smallest"), [("f16", 2.0**-14), ("bf16", 2.0**-126), ("f64", 2.0**-1022)])
def test_isnormal_knows_the_smallest_normal_number(evaluate: Evaluate, type: str, smallest: float) -> None:
    dtype = DTYPES[type]
    assert evaluate(f"math.isnormal %a : {type}", [type], "i1", dtype(smallest))
    assert not evaluate(f"math.isnormal %a : {type}", [type], "i1", dtype(smallest / 2))


@pytest.mark.parametrize(
    ("value", "low", "high", "expected"),
    [
        (5.0, 0.0, 1.0, 1.0),
        (-5.0, 0.0, 1.0, 0.0),
        (NAN, 0.0, 1.0, NAN),
        (0.5, NAN, 1.0, NAN),
        (0.5, 0.0, 1.0, 0.5),
    ],
)
def test_clampf(evaluate: Evaluate, value: float, low: float, high: float, expected: float) -> None:
    found = evaluate(
        "math.clampf %a to [%b, %c] : f32", ["f32"] * 3, "f32", *(np.float32(v) for v in (value, low, high))
    )
    assert same(found, expected)


def test_sincos(evaluate: Evaluate) -> None:
    x = np.linspace(-7, 7, 50).astype(np.float32)
    t = "tensor<50xf32>"
    sine, cosine = evaluate(f"math.sincos %a : {t}", [t], [t, t], x)
    assert np.array_equal(sine, np.sin(x.astype(np.float64)).astype(np.float32))
    assert np.array_equal(cosine, np.cos(x.astype(np.float64)).astype(np.float32))


def test_every_op_has_a_meaning() -> None:
    from iree_core_ir.interpreter import find_meaning

    assert [op.name for op in dialect.DIALECT.ops.values() if find_meaning(op) is None] == []
