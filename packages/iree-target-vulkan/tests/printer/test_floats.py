"""Float ops on a device against the interpreter, with NaN, infinities, signed zeros and the extreme numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from vulkan_kernels import Run, check_elementwise, elementwise

Array = np.ndarray[Any, Any]
NATIVE = {"f32": np.float32, "f64": np.float64}
NARROW = {
    "f16": np.float16, "bf16": ml_dtypes.bfloat16, "f8E4M3FN": ml_dtypes.float8_e4m3fn,
    "f8E5M2": ml_dtypes.float8_e5m2, "f8E4M3FNUZ": ml_dtypes.float8_e4m3fnuz,
    "f8E5M2FNUZ": ml_dtypes.float8_e5m2fnuz,
}  # fmt: skip
BINARY = ("addf", "subf", "mulf", "maximumf", "minimumf", "maxnumf", "minnumf")
UNARY = ("math.absf", "math.ceil", "math.floor", "math.trunc", "math.roundeven", "arith.negf")
PREDICATES = (
    "false", "oeq", "ogt", "oge", "olt", "ole", "one", "ord", "ueq", "ugt", "uge", "ult", "ule", "une", "uno", "true",
)  # fmt: skip


def operands(dtype: Any, seed: int) -> tuple[Array, Array]:
    """All pairs of special values, then random ones. Denormals stay out: devices may flush them."""
    info: Any = ml_dtypes.finfo(dtype)
    numbers = [0.0, -0.0, 0.5, -0.5, 1.0, -1.0, 1.5, 2.5, -2.5, 3.999, np.inf, -np.inf, np.nan]
    numbers += [float(info.max), -float(info.max), float(info.tiny), -float(info.tiny)]
    edges = np.array(numbers).astype(dtype)
    a, b = (x.reshape(-1) for x in np.meshgrid(edges, edges))
    rng = np.random.default_rng(seed)
    more = -len(a) % 32 + 96
    left, right = (rng.normal(size=(2, more)) * 10.0 ** rng.integers(-2, 3, (2, more))).astype(dtype)
    return np.concatenate([a, left]), np.concatenate([b, right])


def same_numbers(ulps: int = 0, *, zeros: bool = True) -> Callable[[Array, Array], None]:
    """Equal up to ``ulps`` units in the last place; any NaN equals any; denormals may be flushed;
    ``zeros``: the signs of zeros count."""

    def compare(got: Array, expected: Array) -> None:
        info: Any = ml_dtypes.finfo(expected.dtype)
        a, b = got.astype(np.float64), expected.astype(np.float64)
        np.testing.assert_array_equal(np.isnan(a), np.isnan(b))
        tiny = np.abs(b) < float(info.tiny)
        a, b = (
            np.where(tiny, 0.0 * np.sign(x), x) if not zeros else np.where(tiny & (b != 0), 0.0, x)
            for x in (a, b)
        )
        finite = np.isfinite(b)
        np.testing.assert_array_equal(a[~finite & ~np.isnan(b)], b[~finite & ~np.isnan(b)])
        step = np.abs(b[finite]) * float(info.eps) * ulps
        wrong = np.abs(a[finite] - b[finite]) > step
        assert not wrong.any(), (a[finite][wrong][:5], b[finite][wrong][:5])
        if zeros:
            exact = finite & (b == 0) & ~tiny
            np.testing.assert_array_equal(np.signbit(a[exact]), np.signbit(b[exact]))

    return compare


@pytest.mark.parametrize("lanes", [1, 3, 4])
@pytest.mark.parametrize("type", NATIVE)
def test_binary(run: Run, type: str, lanes: int) -> None:
    a, b = operands(NATIVE[type], 1)
    a, b = (x[: len(x) // 96 * 96] for x in (a, b))
    lines = [f"arith.{name} %a, %b : {{a}}" for name in BINARY] + ["math.copysign %a, %b : {a}"]
    check_elementwise(
        run, lines, [a, b], [type, type], (type, NATIVE[type]), lanes=lanes, same=same_numbers()
    )


@pytest.mark.parametrize("lanes", [1, 4])
@pytest.mark.parametrize("type", NATIVE)
def test_rounded_within_what_vulkan_promises(run: Run, type: str, lanes: int) -> None:
    """Quotients within 2.5 units, roots through the reciprocal root within 3.5."""
    a, b = operands(NATIVE[type], 2)
    lines = ["arith.divf %a, %b : {a}"]
    check_elementwise(
        run, lines, [a, b], [type, type], (type, NATIVE[type]), lanes=lanes, same=same_numbers(3)
    )
    check_elementwise(
        run, ["math.sqrt %a : {a}"], [a], [type], (type, NATIVE[type]), lanes=lanes, same=same_numbers(4)
    )


@pytest.mark.parametrize("lanes", [1, 4])
@pytest.mark.parametrize("type", NATIVE)
def test_unary(run: Run, type: str, lanes: int) -> None:
    a, _ = operands(NATIVE[type], 3)
    lines = [f"{name} %a : {{a}}" for name in UNARY]
    check_elementwise(run, lines, [a], [type], (type, NATIVE[type]), lanes=lanes, same=same_numbers())


@pytest.mark.parametrize("lanes", [1, 4])
@pytest.mark.parametrize("type", NATIVE)
def test_compare(run: Run, type: str, lanes: int) -> None:
    a, b = operands(NATIVE[type], 4)
    lines = [f"arith.cmpf {predicate}, %a, %b : {{a}}" for predicate in PREDICATES]
    check_elementwise(run, lines, [a, b], [type, type], ("i1", np.bool_), lanes=lanes)


@pytest.mark.parametrize("lanes", [1, 4])
@pytest.mark.parametrize("type", NATIVE)
def test_classify(run: Run, type: str, lanes: int) -> None:
    a, _ = operands(NATIVE[type], 5)
    lines = [f"math.{name} %a : {{a}}" for name in ("isnan", "isinf", "isfinite", "isnormal")]
    check_elementwise(run, lines, [a], [type], ("i1", np.bool_), lanes=lanes)


@pytest.mark.parametrize("lanes", [1, 4])
@pytest.mark.parametrize("type", NARROW)
def test_narrow(run: Run, type: str, lanes: int) -> None:
    """Computed in f32, rounded once: exactly the interpreter's numbers."""
    a, b = operands(NARROW[type], 6)
    lines = [f"arith.{name} %a, %b : {{a}}" for name in BINARY] + ["arith.divf %a, %b : {a}"]
    check_elementwise(
        run, lines, [a, b], [type, type], (type, NARROW[type]), lanes=lanes, same=same_numbers(zeros=False)
    )
    lines = ["arith.select %c, %a, %b : {c}, {a}"]
    c = np.random.default_rng(7).random(len(a)) < 0.5
    check_elementwise(run, lines, [a, b, c], [type, type, "i1"], (type, NARROW[type]), lanes=lanes)


def test_products_are_not_contracted(run: Run) -> None:
    """a * b - a * b rounded is exactly zero; a fused operation would show the rounding error."""
    rng = np.random.default_rng(8)
    a, b = rng.normal(size=(2, 256)).astype(np.float32)
    line = "arith.mulf %a, %b : {a}\n  %q = arith.negf %r0 : {a}\n  %p = arith.mulf %a, %b : {a}\n  %z = arith.addf %p, %q : {a}"
    kernel = elementwise([line], ["f32", "f32"], "f32", 256)
    kernel.body = kernel.body.replace("memref.store %r0", "memref.store %z")
    assert (run(kernel, [a, b, np.ones(256, np.float32)])[-1] == 0).all()


MATH = {
    "exp": (-100.0, 100.0), "exp2": (-140.0, 140.0), "expm1": (-20.0, 20.0), "log": (1e-6, 1e6), "log1p": (-0.9, 1e3),
    "log2": (1e-6, 1e6), "log10": (1e-6, 1e6), "sin": (-1e3, 1e3), "cos": (-1e3, 1e3), "tan": (-1.5, 1.5),
    "tanh": (-12.0, 12.0), "erf": (-5.0, 5.0), "erfc": (-5.0, 5.0), "rsqrt": (1e-6, 1e6), "cbrt": (-1e3, 1e3),
    "asin": (-1.0, 1.0), "acos": (-1.0, 1.0), "atan": (-50.0, 50.0), "sinh": (-20.0, 20.0), "cosh": (-20.0, 20.0),
    "asinh": (-1e3, 1e3), "acosh": (1.0, 1e3), "atanh": (-0.99, 0.99), "round": (-1e3, 1e3),
}  # fmt: skip


IN_DOUBLE = ("exp", "log", "sin", "tanh", "erf", "round")
"""Those of them also tried in f64; most of the others go through f64 anyway."""


@pytest.mark.parametrize("name", MATH)
def test_functions(run: Run, name: str) -> None:
    """Legalized functions keep their accuracy whatever the driver does: a few units in the last place."""
    low, high = MATH[name]
    rng = np.random.default_rng(9)
    for type, dtype in NATIVE.items():
        if type == "f64" and name not in IN_DOUBLE:
            continue
        a = rng.uniform(low, high, 256).astype(dtype)
        check_elementwise(
            run,
            [f"math.{name} %a : {{a}}"],
            [a],
            [type],
            (type, dtype),
            lanes=4,
            same=same_numbers(16, zeros=False),
        )


def test_functions_without_f64(device: Any, validate: Callable[[bytes], None]) -> None:
    """The least a device may have is enough for every function of f32."""
    from iree_target_vulkan.description import describe
    from iree_target_vulkan.executable_format import SpirvExecutable
    from iree_target_vulkan.testing import run_export

    n = 64
    a = np.random.default_rng(11).uniform(0.1, 0.95, n).astype(np.float32)
    lines = [f"math.{name} %a : {{a}}" for name in MATH if name != "acosh"]
    lines += ["math.powf %a, %a : {a}", "math.atan2 %a, %a : {a}"]
    kernel = elementwise(lines, ["f32"], "f32", n, lanes=4)
    compiled = kernel.compile(describe({"vulkan-profile": "vulkan-1.1"}))
    validate(SpirvExecutable.deserialize(compiled.data).words)
    assert not compiled.features
    expected = [a, np.zeros(n * len(lines), np.float32)]
    kernel.interpret(expected)
    got = [a, np.zeros_like(expected[1])]
    run_export(device, compiled.data, compiled.exports[0], got, [], kernel.counts)
    np.testing.assert_allclose(got[1], expected[1], rtol=3e-6)


def test_powers(run: Run) -> None:
    rng = np.random.default_rng(10)
    a, b = rng.uniform(0.01, 30, 256).astype(np.float32), rng.uniform(-8, 8, 256).astype(np.float32)
    lines = ["math.powf %a, %b : {a}", "math.atan2 %a, %b : {a}", "arith.remf %a, %b : {a}"]
    check_elementwise(
        run, lines, [a, b], ["f32", "f32"], ("f32", np.float32), same=same_numbers(8, zeros=False)
    )
