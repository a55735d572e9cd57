"""Every op's meaning against numpy, and the invariants of the table."""

from __future__ import annotations

import math
import string
from collections.abc import Callable
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iree_vm import values
from iree_vm.bytecode import numerics
from iree_vm.bytecode.builder import ModuleBuilder
from iree_vm.bytecode.ops import BY_OPCODE, OPS, Op
from iree_vm.bytecode.types import BANK
from iree_vm.module import BytecodeModule

SCALARS = {"i32": np.int32, "i64": np.int64, "f32": np.float32, "f64": np.float64}
UNSIGNED = {"i32": np.uint32, "i64": np.uint64}


def pure(op: Op) -> bool:
    """Takes and gives scalar registers only."""
    return (
        len(op.results) == 1
        and all(o.kind in SCALARS for o in op.operands)
        and len(op.operands) > 1
        and not op.terminator
    )


PURE = {name: op for name, op in OPS.items() if pure(op)}


@pytest.fixture(scope="module")
def machine() -> BytecodeModule:
    """One function per pure op, registers in, register out."""
    module = ModuleBuilder("ops", known={})
    for name, op in PURE.items():
        arguments = [o.kind for o in op.operands if not o.written]
        f = module.function(name, f"({', '.join(arguments)}) -> ({op.results[0].kind})")
        f.return_(f.op(name, *f.arguments))
        module.export(name)
    return BytecodeModule(module.finish(), {})


def u(type_name: str) -> Callable[[Any], Any]:
    return lambda x: x.view(UNSIGNED[type_name])


def truncate(a: Any, b: Any) -> Any:
    """numpy's // floors; the op rounds toward zero."""
    return _wrap(type(a), _trunc_div(int(a), int(b))) if b else b


def _trunc_div(a: int, b: int) -> int:
    q = abs(a) // abs(b)
    return q if (a < 0) == (b < 0) else -q


def _wrap(kind: Any, value: int) -> Any:
    bits = np.dtype(kind).itemsize * 8
    return np.array(value & ((1 << bits) - 1), f"u{bits // 8}").view(kind)[()]


def shift(function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """numpy shifts by the value's own type; a negative amount counts as too large."""

    def call(a: Any, amount: Any) -> Any:
        bits = a.nbytes * 8
        return function(a, a.dtype.type(amount if 0 <= amount < bits else bits))

    return call


def nan_or(function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    return lambda a, b: np.isnan(a) or np.isnan(b) or function(a, b)


def half_away(a: Any) -> Any:
    """Decimal rounds half up exactly, whatever the binary digits."""
    if not np.isfinite(a):
        return a
    return np.copysign(float(Decimal(abs(float(a))).to_integral_value(ROUND_HALF_UP)), float(a))


def saturating(low: int, high: int) -> Callable[[Any], int]:
    def call(a: Any) -> int:
        if np.isnan(a):
            return 0
        if np.isinf(a):
            return high if a > 0 else low
        return min(max(int(a), low), high)

    return call


ORACLES: dict[str, Callable[..., Any]] = {}
for t in ("i32", "i64"):
    bits = int(t[1:])
    to_u = u(t)
    ORACLES |= {
        f"add.{t}": lambda a, b: a + b,
        f"sub.{t}": lambda a, b: a - b,
        f"mul.{t}": lambda a, b: a * b,
        f"div.{t}.s": truncate,
        f"div.{t}.u": lambda a, b, w=to_u: w(a) // w(b) if b else w(b),
        f"rem.{t}.s": lambda a, b: np.fmod(a, b) if b else b,
        f"rem.{t}.u": lambda a, b, w=to_u: w(a) % w(b) if b else w(b),
        f"fma.{t}": lambda a, b, c: a * b + c,
        f"abs.{t}": lambda a: np.abs(a),
        f"min.{t}.s": np.minimum,
        f"min.{t}.u": lambda a, b, w=to_u: np.minimum(w(a), w(b)),
        f"max.{t}.s": np.maximum,
        f"max.{t}.u": lambda a, b, w=to_u: np.maximum(w(a), w(b)),
        f"not.{t}": lambda a: ~a,
        f"and.{t}": lambda a, b: a & b,
        f"or.{t}": lambda a, b: a | b,
        f"xor.{t}": lambda a, b: a ^ b,
        f"ctlz.{t}": lambda a, n=bits, w=to_u: n - int(w(a)).bit_length(),
        f"shl.{t}": shift(lambda a, s: a << s),
        f"shr.{t}.s": shift(lambda a, s: a >> s),
        f"shr.{t}.u": shift(lambda a, s, w=to_u: w(a) >> w(s)),
        f"cmp.nz.{t}": lambda a: a != 0,
        f"select.{t}": lambda c, a, b: a if c else b,
    }
    for name, compare in {
        "eq": np.equal, "ne": np.not_equal, "lt": np.less, "lte": np.less_equal, "gt": np.greater,
        "gte": np.greater_equal,
    }.items():  # fmt: skip
        if name in ("eq", "ne"):
            ORACLES[f"cmp.{name}.{t}"] = compare
        else:
            ORACLES[f"cmp.{name}.{t}.s"] = compare
            ORACLES[f"cmp.{name}.{t}.u"] = lambda a, b, c=compare, w=to_u: c(w(a), w(b))
    for f in ("f32", "f64"):
        ORACLES |= {
            f"cast.s{t}.{f}": lambda a, k=SCALARS[f]: k(a),
            f"cast.u{t}.{f}": lambda a, k=SCALARS[f], w=to_u: k(w(a)),
            f"cast.{f}.s{t}": saturating(-(1 << bits - 1), (1 << bits - 1) - 1),
            f"cast.{f}.u{t}": lambda a, n=bits, k=SCALARS[t]: _wrap(k, saturating(0, (1 << n) - 1)(a)),
        }
    f = f"f{bits}"
    ORACLES[f"bitcast.{t}.{f}"] = lambda a, k=SCALARS[f]: a.view(k)
    ORACLES[f"bitcast.{f}.{t}"] = lambda a, k=SCALARS[t]: a.view(k)
for t in ("f32", "f64"):
    for name, compare in {
        "eq": np.equal, "ne": np.not_equal, "lt": np.less, "lte": np.less_equal, "gt": np.greater,
        "gte": np.greater_equal,
    }.items():  # fmt: skip
        ORACLES[f"cmp.{name}.{t}.u"] = nan_or(compare)
        ORACLES[f"cmp.{name}.{t}.o"] = lambda a, b, c=compare: not np.isnan(a) and not np.isnan(b) and c(a, b)
    ORACLES |= {
        f"cmp.nan.{t}": np.isnan,
        f"select.{t}": lambda c, a, b: a if c else b,
        f"add.{t}": np.add,
        f"sub.{t}": np.subtract,
        f"mul.{t}": np.multiply,
        f"div.{t}": np.divide,
        f"rem.{t}": np.fmod,
        f"abs.{t}": np.abs,
        f"neg.{t}": np.negative,
        f"min.{t}": np.minimum,
        f"max.{t}": np.maximum,
        f"copysign.{t}": np.copysign,
        f"ceil.{t}": np.ceil,
        f"floor.{t}": np.floor,
        f"trunc.{t}": np.trunc,
        f"roundeven.{t}": np.rint,
        f"round.{t}": half_away,
        f"sqrt.{t}": np.sqrt,
    }
ORACLES |= {
    "trunc.i32.i8": lambda a: a.astype(np.uint8),
    "trunc.i32.i16": lambda a: a.astype(np.uint16),
    "trunc.i64.i8": lambda a: a.astype(np.uint8),
    "trunc.i64.i16": lambda a: a.astype(np.uint16),
    "trunc.i64.i32": lambda a: a.astype(np.int32),
    "ext.i32.i64.s": lambda a: a.astype(np.int64),
    "ext.i32.i64.u": lambda a: a.astype(np.uint32).astype(np.int64),
    "ext.f32.f64": np.float64,
    "trunc.f64.f32": np.float32,
    **{
        f"ext.i{n}.{t}.{s}": lambda a, k=f"{'u' if s == 'u' else ''}int{n}": a.astype(k)
        for n in (8, 16)
        for t in ("i32", "i64")
        for s in "su"
    },
}
CLOSE: dict[str, Callable[..., Any]] = {
    name: getattr(np, {"atan": "arctan", "atan2": "arctan2", "pow": "power"}.get(name, name))
    for name in [
        "exp",
        "exp2",
        "expm1",
        "log",
        "log10",
        "log1p",
        "log2",
        "sin",
        "cos",
        "tanh",
        "atan",
        "atan2",
        "pow",
    ]
} | {"rsqrt": lambda a: 1 / np.sqrt(a), "erf": np.vectorize(math.erf)}
"""Functions compared within a few units in the last place, in float64."""

_special = st.sampled_from(
    [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1.5, 2.5, math.inf, -math.inf, math.nan, 3e38, 1e-40]
)
STRATEGIES = {
    "i32": st.one_of(st.integers(-(1 << 31), (1 << 31) - 1), st.integers(-40, 70)),
    "i64": st.one_of(st.integers(-(1 << 63), (1 << 63) - 1), st.integers(-40, 70)),
    "f32": st.one_of(_special.map(lambda x: float(np.float32(x))), st.floats(width=32)),
    "f64": st.one_of(_special, st.floats()),
}


def same(got: Any, wanted: Any) -> bool:
    wanted = wanted.item() if isinstance(wanted, np.generic) else wanted
    if isinstance(got, float):
        wanted = float(wanted)
        return (got == wanted and math.copysign(1, got) == math.copysign(1, wanted)) or (
            got != got and wanted != wanted
        )
    return bool(got == wanted)


def arguments_of(op: Op) -> list[str]:
    return [o.kind for o in op.operands if not o.written]


@pytest.mark.parametrize("name", sorted(ORACLES))
def test_against_numpy(name: str, machine: BytecodeModule) -> None:
    op = PURE[name]
    kinds = arguments_of(op)
    result = op.results[0].kind

    @settings(max_examples=60, deadline=None, database=None, derandomize=True)
    @given(st.tuples(*(STRATEGIES[k] for k in kinds)))
    def check(arguments: tuple[Any, ...]) -> None:
        with np.errstate(all="ignore"):
            wanted = ORACLES[name](*(SCALARS[k](a) for k, a in zip(kinds, arguments, strict=True)))
            if result in UNSIGNED and not isinstance(wanted, int | bool):
                wanted = np.asarray(wanted)
                if wanted.dtype == UNSIGNED[result]:
                    wanted = wanted.view(SCALARS[result])
                wanted = int(wanted)
        got = machine.call(name, *arguments)
        assert type(got) is (int if result[0] == "i" else float)
        if name.startswith(("min.f", "max.f")) and wanted == 0:
            assert got == 0  # numpy leaves the sign of equal zeros open
        else:
            assert same(got, wanted), (arguments, got, wanted)

    check()


@pytest.mark.parametrize("name", sorted(CLOSE))
@pytest.mark.parametrize("width", ["f32", "f64"])
def test_functions_are_close(name: str, width: str, machine: BytecodeModule) -> None:
    op = PURE[f"{name}.{width}"]
    kinds = arguments_of(op)

    @settings(max_examples=40, deadline=None, database=None, derandomize=True)
    @given(st.tuples(*(STRATEGIES[k] for k in kinds)))
    def check(arguments: tuple[float, ...]) -> None:
        with np.errstate(all="ignore"):
            wanted = float(SCALARS[width](CLOSE[name](*map(np.float64, arguments))))
        got = machine.call(f"{name}.{width}", *arguments)
        np.testing.assert_allclose(got, wanted, rtol=1e-6 if width == "f32" else 1e-14, atol=1e-300)

    check()


@settings(max_examples=300, deadline=None, database=None, derandomize=True)
@given(st.tuples(*[STRATEGIES["f32"]] * 3))
def test_fma32_is_rounded_once(arguments: tuple[float, float, float]) -> None:
    """No f32 is nearer to the exact value than the result."""
    got = numerics.fma32(*arguments)
    if not all(map(math.isfinite, arguments)):
        assert same(got, arguments[0] * arguments[1] + arguments[2])
        return
    a, b, c = map(Fraction, arguments)
    true = a * b + c
    if not math.isfinite(got):
        assert abs(true) > Fraction(float(np.finfo(np.float32).max))
        return
    for direction in (np.inf, -np.inf):
        with np.errstate(all="ignore"):
            neighbour = np.nextafter(np.float32(got), np.float32(direction))
        if np.isfinite(neighbour):
            assert abs(Fraction(got) - true) <= abs(Fraction(float(neighbour)) - true)


@settings(max_examples=200, deadline=None, database=None, derandomize=True)
@given(st.tuples(*[STRATEGIES["f64"]] * 3))
def test_fma64_is_the_exact_value_rounded(arguments: tuple[float, float, float]) -> None:
    a, b, c = arguments
    got = numerics.fma64(a, b, c)
    if not all(map(math.isfinite, arguments)):
        assert same(got, a * b + c)
        return
    true = Fraction(a) * Fraction(b) + Fraction(c)
    try:
        wanted = float(true)
    except OverflowError:
        wanted = math.inf if true > 0 else -math.inf
    assert got == wanted


def test_every_pure_op_has_an_oracle() -> None:
    close = {f"{name}.{width}" for name in CLOSE for width in ("f32", "f64")}
    assert set(PURE) - set(ORACLES) - close == {"fma.f32", "fma.f64"}, "fma has tests of its own"


def test_opcodes_and_names_are_unique_and_fit_16_bits() -> None:
    assert len(OPS) == len(BY_OPCODE)
    assert all(0 < op.opcode < 1 << 16 for op in OPS.values())


@pytest.mark.parametrize("op", OPS.values(), ids=OPS)
def test_rows_are_complete(op: Op) -> None:
    kinds = {*BANK, "*", "^", "^*", "rodata", "callee", "segments", "#text"}
    kinds |= {f"#{t}" for t in SCALARS} | {f"global.{t}" for t in BANK}
    assert all(o.kind in kinds for o in op.operands)
    assert op.doc.endswith(".")
    emitted = {
        "call",
        "call.variadic",
        "import.resolved",
        "br",
        "cond_br",
        "br_table",
        "return",
        "fail",
        "cond_fail",
    }
    assert bool(op.template) != (op.name in emitted)
    fields = {name for _, name, _, _ in string.Formatter().parse(op.template) if name}
    assert fields <= {o.name for o in op.operands}


@pytest.mark.parametrize("op", [o for o in OPS.values() if o.template], ids=lambda o: o.name)
def test_templates_use_known_names(op: Op) -> None:
    known = {**numerics.NAMESPACE, **values.NAMESPACE}
    text = op.template.format_map({o.name: "x" for o in op.operands})
    code = compile(text, op.name, "exec")
    assert set(code.co_names) <= {"x", "abs", "float", "bit_length", *known}
