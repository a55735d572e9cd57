"""complex against cmath and numpy's complex128."""

from __future__ import annotations

import cmath
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from iree_core_ir.dialects import complex as dialect
from iree_core_ir.interpreter import find_meaning

Evaluate = Callable[..., Any]
C32, C64 = "complex<f32>", "complex<f64>"

UNARY: dict[str, Callable[[complex], Any]] = {
    "abs": abs, "angle": cmath.phase, "re": lambda z: z.real, "im": lambda z: z.imag, "neg": lambda z: -z,
    "conj": lambda z: z.conjugate(), "exp": cmath.exp, "expm1": lambda z: cmath.exp(z) - 1, "log": cmath.log,
    "log1p": lambda z: cmath.log(1 + z), "sqrt": cmath.sqrt, "rsqrt": lambda z: 1 / cmath.sqrt(z),
    "sign": lambda z: z / abs(z), "sin": cmath.sin, "cos": cmath.cos, "tan": cmath.tan, "tanh": cmath.tanh,
}  # fmt: skip
BINARY: dict[str, Callable[[complex, complex], Any]] = {
    "add": lambda a, b: a + b, "sub": lambda a, b: a - b, "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "pow": lambda a, b: a**b,
    "atan2": lambda y, x: -1j * cmath.log((x + 1j * y) / cmath.sqrt(x * x + y * y)),
}  # fmt: skip


def points(count: int) -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(3)
    return rng.normal(0, 2, count) + 1j * rng.normal(0, 2, count)


@pytest.mark.parametrize("name", UNARY)
def test_unary(evaluate: Evaluate, name: str) -> None:
    real = name in ("abs", "angle", "re", "im")
    z = points(40)
    found = evaluate(
        f"complex.{name} %a : tensor<?x{C64}>", [f"tensor<?x{C64}>"], f"tensor<?x{'f64' if real else C64}>", z
    )
    assert found.dtype == (np.float64 if real else np.complex128)
    assert np.allclose(found, [UNARY[name](complex(v)) for v in z], rtol=1e-13, atol=1e-13)
    narrow = z.astype(np.complex64)
    found = evaluate(f"complex.{name} %a : {C32}", [C32], "f32" if real else C32, narrow[0])
    assert isinstance(found, np.float32 if real else np.complex64)
    assert np.isclose(found, UNARY[name](complex(narrow[0])), rtol=1e-6)


@pytest.mark.parametrize("name", BINARY)
def test_binary(evaluate: Evaluate, name: str) -> None:
    a, b = points(40), points(80)[40:]
    t = f"tensor<?x{C64}>"
    found = evaluate(f"complex.{name} %a, %b : {t}", [t, t], t, a, b)
    assert np.allclose(
        found, [BINARY[name](complex(x), complex(y)) for x, y in zip(a, b, strict=True)], rtol=1e-12
    )


def test_small_arguments_keep_their_digits(evaluate: Evaluate) -> None:
    z = np.complex128(1e-12 + 2e-13j)
    for name, series in (("expm1", z + z * z / 2), ("log1p", z - z * z / 2)):
        found = evaluate(f"complex.{name} %a : {C64}", [C64], C64, z)
        assert abs(found - series) < 1e-27


def test_powers_of_zero(evaluate: Evaluate) -> None:
    zero, one = np.complex128(0), np.complex128(1)
    assert evaluate(f"complex.pow %a, %b : {C64}", [C64, C64], C64, zero, one) == 0
    assert evaluate(f"complex.pow %a, %b : {C64}", [C64, C64], C64, zero, zero) == 1
    assert evaluate(f"complex.sign %a : {C64}", [C64], C64, zero) == 0


def test_parts_and_comparison(evaluate: Evaluate) -> None:
    z = evaluate(f"complex.create %a, %b : {C32}", ["f32", "f32"], C32, np.float32(1.5), np.float32(-2))
    assert isinstance(z, np.complex64)
    assert z == 1.5 - 2j
    assert evaluate(f"complex.constant [1.0 : f64, -2.0 : f64] : {C64}", [], C64) == 1 - 2j
    assert evaluate(f"complex.eq %a, %b : {C32}", [C32, C32], "i1", z, z)
    assert not evaluate(f"complex.neq %a, %b : {C32}", [C32, C32], "i1", z, z)
    parts = np.array([1.0, 2.0], np.float32), np.array([3.0, 4.0], np.float32)
    t = f"tensor<2x{C32}>"
    assert evaluate(f"complex.create %a, %b : {t}", ["tensor<2xf32>"] * 2, t, *parts).tolist() == [
        1 + 3j,
        2 + 4j,
    ]


def test_bitcast(evaluate: Evaluate) -> None:
    z = np.complex64(1 + 2j)
    found = evaluate(f"complex.bitcast %a : {C32} to i64", [C32], "i64", z)
    assert found.tobytes() == z.tobytes()
    assert evaluate(f"complex.bitcast %a : i64 to {C32}", ["i64"], C32, found) == z


def test_every_op_has_a_meaning() -> None:
    assert [op.name for op in dialect.DIALECT.ops.values() if find_meaning(op) is None] == []
