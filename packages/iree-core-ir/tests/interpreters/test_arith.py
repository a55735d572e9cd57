"""arith against Python's unbounded ints and exact rationals, at every width, for every special value."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iree_core_ir.dialects.arith_attributes import CMPF_PREDICATES

Evaluate = Callable[..., Any]

WIDTHS = {"i1": 1, "i4": 4, "i8": 8, "i16": 16, "i32": 32, "i64": 64, "index": 64}
DTYPES: dict[str, Any] = {
    "i1": np.bool_, "i4": ml_dtypes.int4, "i8": np.int8, "i16": np.int16, "i32": np.int32, "i64": np.int64,
    "index": np.int64, "f16": np.float16, "bf16": ml_dtypes.bfloat16, "f32": np.float32, "f64": np.float64,
    "f8E4M3FN": ml_dtypes.float8_e4m3fn, "f8E5M2": ml_dtypes.float8_e5m2,
}  # fmt: skip


def unsigned(x: int, n: int) -> int:
    return x % (1 << n)


def signed(x: int, n: int) -> int:
    x %= 1 << n
    return x - (1 << n) if x >> (n - 1) else x


def truncated(a: int, b: int) -> int:
    return math.trunc(Fraction(a, b))


ORACLE: dict[str, Callable[[int, int, int], int]] = {
    "addi": lambda a, b, n: a + b,
    "subi": lambda a, b, n: a - b,
    "muli": lambda a, b, n: a * b,
    "divsi": lambda a, b, n: truncated(a, b) if b else 0,
    "divui": lambda a, b, n: unsigned(a, n) // unsigned(b, n) if b else 0,
    "floordivsi": lambda a, b, n: math.floor(Fraction(a, b)) if b else 0,
    "ceildivsi": lambda a, b, n: math.ceil(Fraction(a, b)) if b else 0,
    "ceildivui": lambda a, b, n: math.ceil(Fraction(unsigned(a, n), unsigned(b, n))) if b else 0,
    "remsi": lambda a, b, n: a - b * truncated(a, b) if b else 0,
    "remui": lambda a, b, n: unsigned(a, n) % unsigned(b, n) if b else 0,
    "andi": lambda a, b, n: a & b,
    "ori": lambda a, b, n: a | b,
    "xori": lambda a, b, n: a ^ b,
    "shli": lambda a, b, n: a << unsigned(b, n) if unsigned(b, n) < n else 0,
    "shrui": lambda a, b, n: unsigned(a, n) >> unsigned(b, n) if unsigned(b, n) < n else 0,
    "shrsi": lambda a, b, n: a >> min(unsigned(b, n), n),
    "maxsi": lambda a, b, n: max(a, b),
    "minsi": lambda a, b, n: min(a, b),
    "maxui": lambda a, b, n: max(unsigned(a, n), unsigned(b, n)),
    "minui": lambda a, b, n: min(unsigned(a, n), unsigned(b, n)),
}
"""On signed readings; results are taken modulo 2^n. MIN / -1 wraps to MIN, x / 0 and x % 0 are 0."""

COMPARE: dict[str, Callable[[int, int, int], bool]] = {
    "eq": lambda a, b, n: a == b,
    "ne": lambda a, b, n: a != b,
    "slt": lambda a, b, n: a < b,
    "sle": lambda a, b, n: a <= b,
    "sgt": lambda a, b, n: a > b,
    "sge": lambda a, b, n: a >= b,
    "ult": lambda a, b, n: unsigned(a, n) < unsigned(b, n),
    "ule": lambda a, b, n: unsigned(a, n) <= unsigned(b, n),
    "ugt": lambda a, b, n: unsigned(a, n) > unsigned(b, n),
    "uge": lambda a, b, n: unsigned(a, n) >= unsigned(b, n),
}


def samples(n: int) -> list[int]:
    """All values of small types; the ends, powers of two and their neighbours, and some others."""
    if n <= 4:
        return [signed(x, n) for x in range(1 << n)]
    values = {
        signed(s * (1 << k) + d, n)
        for k in (0, 1, 3, n // 2, n - 2, n - 1, n)
        for d in (-1, 0, 1)
        for s in (1, -1)
    }
    rng = np.random.default_rng(n)
    values |= {signed(int(x), n) for x in rng.integers(-(1 << 62), 1 << 62, 12)}
    return sorted(values | {5, 7, n, n - 1, n + 1})


def pairs(n: int) -> tuple[list[int], list[int]]:
    both = list(itertools.product(samples(n), repeat=2))
    return [a for a, _ in both], [b for _, b in both]


def integers(values: list[int], type: str) -> np.ndarray[Any, Any]:
    n = WIDTHS[type]
    if n == 1:
        return np.array([bool(v & 1) for v in values])
    return np.array([signed(v, n) for v in values], np.int64).astype(DTYPES[type])


def back(value: Any, n: int) -> int:
    return signed(int(value), n)


@pytest.mark.parametrize("type", WIDTHS)
@pytest.mark.parametrize("op", ORACLE)
def test_integer_binary(evaluate: Evaluate, op: str, type: str) -> None:
    n = WIDTHS[type]
    a, b = pairs(n)
    tensor = f"tensor<?x{type}>"
    found = evaluate(
        f"arith.{op} %a, %b : {tensor}", [tensor] * 2, tensor, integers(a, type), integers(b, type)
    )
    assert found.dtype == DTYPES[type]
    expected = [signed(ORACLE[op](x, y, n), n) for x, y in zip(a, b, strict=True)]
    wrong = [
        (x, y, back(f, n), e) for x, y, f, e in zip(a, b, found, expected, strict=True) if back(f, n) != e
    ]
    assert not wrong[:3]


@pytest.mark.parametrize("type", WIDTHS)
@pytest.mark.parametrize("op", ORACLE)
def test_integer_scalars_agree_with_arrays(evaluate: Evaluate, op: str, type: str) -> None:
    n = WIDTHS[type]
    a, b = pairs(n)
    step = max(1, len(a) // 40)
    for x, y in list(zip(a, b, strict=True))[::step]:
        arguments = [v if type == "index" else integers([v], type)[0] for v in (x, y)]
        found = evaluate(f"arith.{op} %a, %b : {type}", [type] * 2, type, *arguments)
        assert isinstance(found, int if type == "index" else DTYPES[type])
        assert back(found, n) == signed(ORACLE[op](x, y, n), n), (x, y)


@pytest.mark.parametrize("type", WIDTHS)
@pytest.mark.parametrize("predicate", COMPARE)
def test_cmpi(evaluate: Evaluate, predicate: str, type: str) -> None:
    n = WIDTHS[type]
    a, b = pairs(n)
    tensor = f"tensor<?x{type}>"
    assembly = f"arith.cmpi {predicate}, %a, %b : {tensor}"
    found = evaluate(assembly, [tensor] * 2, "tensor<?xi1>", integers(a, type), integers(b, type))
    assert found.dtype == np.bool_
    assert found.tolist() == [COMPARE[predicate](x, y, n) for x, y in zip(a, b, strict=True)]


@pytest.mark.parametrize("type", ["i8", "i16", "i32", "i64"])
def test_extended_products_and_sums(evaluate: Evaluate, type: str) -> None:
    n = WIDTHS[type]
    a, b = pairs(n)
    t = f"tensor<?x{type}>"
    x, y = integers(a, type), integers(b, type)
    low, high = evaluate(f"arith.mulsi_extended %a, %b : {t}", [t, t], [t, t], x, y)
    for i, (p, q) in enumerate(zip(a, b, strict=True)):
        assert (int(high[i]) << n) + unsigned(int(low[i]), n) == p * q
    low, high = evaluate(f"arith.mului_extended %a, %b : {t}", [t, t], [t, t], x, y)
    for i, (p, q) in enumerate(zip(a, b, strict=True)):
        product = unsigned(p, n) * unsigned(q, n)
        assert (unsigned(int(high[i]), n) << n) + unsigned(int(low[i]), n) == product
    b1 = "tensor<?xi1>"
    total, carry = evaluate(f"arith.addui_extended %a, %b : {t}, {b1}", [t, t], [t, b1], x, y)
    for i, (p, q) in enumerate(zip(a, b, strict=True)):
        assert (int(carry[i]) << n) + unsigned(int(total[i]), n) == unsigned(p, n) + unsigned(q, n)


@given(a=st.integers(-(1 << 63), (1 << 63) - 1), b=st.integers(-(1 << 63), (1 << 63) - 1))
def test_index_scalars_and_i64_arrays_agree(evaluate: Evaluate, a: int, b: int) -> None:
    for op, oracle in ORACLE.items():
        expected = signed(oracle(a, b, 64), 64)
        assert evaluate(f"arith.{op} %a, %b : index", ["index"] * 2, "index", a, b) == expected
        wide = evaluate(f"arith.{op} %a, %b : i64", ["i64"] * 2, "i64", np.int64(a), np.int64(b))
        assert int(wide) == expected


# -- integer casts -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "target"), list(itertools.combinations(["i1", "i4", "i8", "i16", "i32", "i64"], 2))
)
def test_extensions_and_truncations(evaluate: Evaluate, source: str, target: str) -> None:
    n, m = WIDTHS[source], WIDTHS[target]
    values = samples(n)
    s, t = f"tensor<?x{source}>", f"tensor<?x{target}>"
    wide = evaluate(f"arith.extsi %a : {s} to {t}", [s], t, integers(values, source))
    assert [int(w) for w in wide] == values
    wide = evaluate(f"arith.extui %a : {s} to {t}", [s], t, integers(values, source))
    assert [int(w) for w in wide] == [unsigned(v, n) for v in values]
    many = samples(m)
    narrow = evaluate(f"arith.trunci %a : {t} to {s}", [t], s, integers(many, target))
    assert narrow.dtype == DTYPES[source]
    assert [back(v, n) for v in narrow] == [signed(v, n) for v in many]


@pytest.mark.parametrize("type", ["i1", "i8", "i32", "i64"])
def test_index_casts(evaluate: Evaluate, type: str) -> None:
    n = WIDTHS[type]
    for v in samples(n):
        number = integers([v], type)[0]
        assert evaluate(f"arith.index_cast %a : {type} to index", [type], "index", number) == v
        widened = evaluate(f"arith.index_castui %a : {type} to index", [type], "index", number)
        assert widened == signed(unsigned(v, n), 64)
    for v in samples(64):
        narrow = evaluate(f"arith.index_cast %a : index to {type}", ["index"], type, v)
        assert isinstance(narrow, DTYPES[type])
        assert back(narrow, n) == signed(v, n)


# -- floats -----------------------------------------------------------------------------------------

FORMATS = {"f16": (11, -14, 15), "bf16": (8, -126, 127), "f32": (24, -126, 127), "f64": (53, -1022, 1023)}
"""Type -> precision in bits, smallest and largest exponent of a normal number."""


def rounded(value: Fraction, type: str) -> float:
    """``value`` rounded to nearest even in ``type``: independent of numpy."""
    precision, low, high = FORMATS[type]
    if value == 0:
        return 0.0
    exponent = value.numerator.bit_length() - value.denominator.bit_length()
    while Fraction(2) ** exponent > abs(value):
        exponent -= 1
    while Fraction(2) ** (exponent + 1) <= abs(value):
        exponent += 1
    unit = Fraction(2) ** (max(exponent, low) - precision + 1)
    steps = round(value / unit)  # Python rounds halves to even
    result = steps * unit
    if abs(result) >= Fraction(2) ** (high + 1):
        return math.inf if value > 0 else -math.inf
    return float(result) if result else (0.0 if value > 0 else -0.0)


def floats_of(type: str) -> np.ndarray[Any, Any]:
    """Signed zeros, infinities, NaN, denormals, the ends, and random bit patterns."""
    dtype = np.dtype(DTYPES[type])
    bits = np.dtype(f"u{dtype.itemsize}")
    size = dtype.itemsize * 8
    mantissa = FORMATS[type][0] - 1
    exponent = ((1 << (size - 1)) - 1) >> mantissa << mantissa  # all exponent bits: infinity
    special = [
        0,
        1,
        2,
        (1 << mantissa) - 1,
        1 << mantissa,
        exponent - 1,
        exponent,
        exponent | (1 << (mantissa - 1)),
    ]
    special += [s | 1 << (size - 1) for s in special]
    one = np.array([1.0, -1.0, 0.5, 1.5, 3.0, 65504.0]).astype(dtype).view(bits)
    random = np.random.default_rng(size + mantissa).integers(0, 1 << size, 24, dtype=bits)
    return np.concatenate([np.array(special, bits), one, random]).view(dtype)


def wide(values: Any) -> np.ndarray[Any, Any]:
    """In f64; signalling NaNs raise a flag on the way."""
    with np.errstate(all="ignore"):
        return np.asarray(values).astype(np.float64)


def same(found: Any, expected: Any) -> np.ndarray[Any, Any]:
    """Equal with the sign of zero, or both NaN."""
    a, b = wide(found), wide(expected)
    return (np.isnan(a) & np.isnan(b)) | ((a == b) & (np.signbit(a) == np.signbit(b)))


EXACT: dict[str, Callable[[Fraction, Fraction], Fraction]] = {
    "addf": lambda a, b: a + b,
    "subf": lambda a, b: a - b,
    "mulf": lambda a, b: a * b,
    "divf": lambda a, b: a / b,
}
NUMPY: dict[str, Any] = {"addf": np.add, "subf": np.subtract, "mulf": np.multiply, "divf": np.divide}


@pytest.mark.parametrize("type", FORMATS)
@pytest.mark.parametrize("op", EXACT)
def test_float_arithmetic_rounds_once(evaluate: Evaluate, op: str, type: str) -> None:
    values = floats_of(type)
    a, b = (
        np.ascontiguousarray(x).reshape(-1) for x in np.broadcast_arrays(values[:, None], values[None, :])
    )
    t = f"tensor<?x{type}>"
    found = evaluate(f"arith.{op} %a, %b : {t}", [t, t], t, a, b)
    assert found.dtype == DTYPES[type]
    with np.errstate(all="ignore"):
        reference = NUMPY[op](wide(a), wide(b))
    expected = []
    for x, y, r in zip(wide(a), wide(b), reference, strict=True):
        finite = np.isfinite(x) and np.isfinite(y) and not (op == "divf" and y == 0)
        exact = EXACT[op](Fraction(x), Fraction(y)) if finite else None
        # An exact zero's sign and everything about infinities and NaN: IEEE's rules, from f64.
        expected.append(rounded(exact, type) if exact else float(r))
    good = same(wide(found), expected)
    wrong = [(a[i], b[i], found[i], expected[i]) for i in np.flatnonzero(~good)[:3]]
    assert not wrong


@pytest.mark.parametrize("type", ["f8E4M3FN", "f8E5M2"])
def test_f8_sums_are_the_nearest_f8(evaluate: Evaluate, type: str) -> None:
    values = np.arange(256, dtype=np.uint8).view(DTYPES[type])
    a, b = (
        np.ascontiguousarray(x).reshape(-1) for x in np.broadcast_arrays(values[:, None], values[None, :])
    )
    t = f"tensor<?x{type}>"
    found = evaluate(f"arith.addf %a, %b : {t}", [t, t], t, a, b).astype(np.float64)
    with np.errstate(all="ignore"):
        exact = wide(a) + wide(b)
    grid = np.unique(wide(values)[np.isfinite(wide(values))])
    inside = np.isfinite(exact) & (np.abs(exact) <= grid.max())
    position = np.clip(np.searchsorted(grid, exact[inside]), 1, len(grid) - 1)
    nearest = np.minimum(np.abs(exact[inside] - grid[position]), np.abs(exact[inside] - grid[position - 1]))
    assert (np.abs(found[inside] - exact[inside]) == nearest).all()
    assert np.isnan(found[np.isnan(exact)]).all()


@pytest.mark.parametrize("type", FORMATS)
def test_remf_is_fmod(evaluate: Evaluate, type: str) -> None:
    values = floats_of(type)
    for x, y in itertools.product(values[::2], values[1::2]):
        found = evaluate(f"arith.remf %a, %b : {type}", [type] * 2, type, x, y)
        a, b = float(x), float(y)
        undefined = math.isnan(a) or math.isnan(b) or math.isinf(a) or b == 0
        assert same(found, math.nan if undefined else math.fmod(a, b))


def _maximum(a: float, b: float, prefer_number: bool, sign: int) -> float:
    """The larger (sign 1) or smaller (sign -1), with -0.0 < 0.0."""
    if math.isnan(a) or math.isnan(b):
        if not prefer_number:
            return math.nan
        return b if math.isnan(a) else a
    key = lambda v: (sign * v, sign * math.copysign(1.0, v))  # noqa: E731
    return max(a, b, key=key)


@pytest.mark.parametrize("type", FORMATS)
@pytest.mark.parametrize(
    ("op", "prefer_number", "sign"),
    [("maximumf", False, 1), ("minimumf", False, -1), ("maxnumf", True, 1), ("minnumf", True, -1)],
)
def test_float_extrema(evaluate: Evaluate, op: str, prefer_number: bool, sign: int, type: str) -> None:
    values = floats_of(type)
    for x, y in itertools.product(values[:22], repeat=2):
        found = evaluate(f"arith.{op} %a, %b : {type}", [type] * 2, type, x, y)
        assert same(found, _maximum(float(x), float(y), prefer_number, sign)), (x, y)


@pytest.mark.parametrize("type", FORMATS)
def test_negf_flips_the_sign_bit(evaluate: Evaluate, type: str) -> None:
    values = floats_of(type)
    found = evaluate(f"arith.negf %a : tensor<?x{type}>", [f"tensor<?x{type}>"], f"tensor<?x{type}>", values)
    a, b = wide(values), wide(found)
    assert (np.isnan(a) == np.isnan(b)).all()
    assert (np.signbit(a) != np.signbit(b)).all()
    assert (np.abs(a) == np.abs(b))[~np.isnan(a)].all()


@pytest.mark.parametrize("type", ["f16", "bf16", "f32", "f64"])
@pytest.mark.parametrize("predicate", CMPF_PREDICATES)
def test_cmpf(evaluate: Evaluate, predicate: str, type: str) -> None:
    values = floats_of(type)[:22]
    relation: dict[str, Callable[[float, float], bool]] = {
        "eq": lambda a, b: a == b, "ne": lambda a, b: a != b, "lt": lambda a, b: a < b,
        "le": lambda a, b: a <= b, "gt": lambda a, b: a > b, "ge": lambda a, b: a >= b,
    }  # fmt: skip
    for x, y in itertools.product(values, repeat=2):
        found = evaluate(f"arith.cmpf {predicate}, %a, %b : {type}", [type] * 2, "i1", x, y)
        a, b = float(x), float(y)
        nan = math.isnan(a) or math.isnan(b)
        if predicate in ("true", "false"):
            expected = predicate == "true"
        elif predicate in ("ord", "uno"):
            expected = nan == (predicate == "uno")
        else:
            expected = predicate[0] == "u" if nan else relation[predicate[1:]](a, b)
        assert found.dtype == np.bool_
        assert bool(found) == expected


# -- conversions --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "target"), [("f16", "f32"), ("bf16", "f32"), ("f32", "f64"), ("bf16", "f64")]
)
def test_extf_is_exact(evaluate: Evaluate, source: str, target: str) -> None:
    values = floats_of(source)
    found = evaluate(
        f"arith.extf %a : tensor<?x{source}> to tensor<?x{target}>",
        [f"tensor<?x{source}>"],
        f"tensor<?x{target}>",
        values,
    )
    assert found.dtype == DTYPES[target]
    assert same(found, wide(values)).all()


@pytest.mark.parametrize(
    ("source", "target"),
    [("f64", "f32"), ("f64", "f16"), ("f64", "bf16"), ("f32", "f16"), ("f32", "bf16")],
)
def test_truncf_rounds_once(evaluate: Evaluate, source: str, target: str) -> None:
    dtype = DTYPES[source]
    precision = FORMATS[target][0]
    values = [float(v) for v in floats_of(source)] + [float(v) for v in floats_of(target)]
    # Just beside the middle of two neighbours, where rounding through f32 first goes wrong.
    for base in (1.0, 1.0 + 2.0 ** (1 - precision), 2.0**-20):
        half = base * (1 + 2.0**-precision)
        values += [
            half,
            float(np.nextafter(dtype(half), dtype(9))),
            float(np.nextafter(dtype(half), dtype(0))),
        ]
    # The middle between two denormals, and the largest number's upper half step.
    values += [
        1.5 * 2.0 ** (FORMATS[target][1] - precision + 1),
        (2 - 2.0**-precision) * 2.0 ** FORMATS[target][2],
    ]
    with np.errstate(all="ignore"):
        array = np.array(values).astype(dtype)
    s, t = f"tensor<?x{source}>", f"tensor<?x{target}>"
    found = evaluate(f"arith.truncf %a : {s} to {t}", [s], t, array)
    for v, f in zip(wide(array), wide(found), strict=True):
        expected = rounded(Fraction(v), target) if np.isfinite(v) and v else v
        assert same(f, expected), (v, f, expected)


@pytest.mark.parametrize("source", ["i1", "i8", "i32", "i64"])
@pytest.mark.parametrize("target", FORMATS)
def test_integers_to_floats_round_once(evaluate: Evaluate, source: str, target: str) -> None:
    n = WIDTHS[source]
    values = samples(n)
    if n == 64:  # middles between neighbours, one beside
        values = values + [
            signed(s * ((1 << 62) + (1 << (62 - p)) + d), 64)
            for p in (8, 11, 24, 53)
            for d in (-1, 0, 1)
            for s in (1, -1)
        ]
    s, t = f"tensor<?x{source}>", f"tensor<?x{target}>"
    found = evaluate(f"arith.sitofp %a : {s} to {t}", [s], t, integers(values, source))
    assert found.dtype == DTYPES[target]
    assert wide(found).tolist() == [rounded(Fraction(v), target) for v in values]
    found = evaluate(f"arith.uitofp %a : {s} to {t}", [s], t, integers(values, source))
    assert wide(found).tolist() == [rounded(Fraction(unsigned(v, n)), target) for v in values]


@pytest.mark.parametrize("source", FORMATS)
@pytest.mark.parametrize("target", ["i1", "i4", "i8", "i32", "i64"])
def test_floats_to_integers_saturate(evaluate: Evaluate, source: str, target: str) -> None:
    n = WIDTHS[target]
    edges = [s * (2.0**k + d) for k in (n - 1, n) for d in (-1, -0.5, 0, 0.5, 1) for s in (1, -1)]
    edges += [0.99, -0.99, 1.5, -1.5]
    with np.errstate(over="ignore"):
        values = np.concatenate([floats_of(source), np.array(edges).astype(DTYPES[source])])
    s, t = f"tensor<?x{source}>", f"tensor<?x{target}>"
    for op, low, high in (("fptosi", -(1 << (n - 1)), (1 << (n - 1)) - 1), ("fptoui", 0, (1 << n) - 1)):
        found = evaluate(f"arith.{op} %a : {s} to {t}", [s], t, values)
        for v, f in zip(wide(values), found, strict=True):
            if math.isnan(v):
                expected = 0
            else:
                expected = high if v >= high else low if v <= low else math.trunc(v)
            assert back(f, n) == signed(expected, n), (op, v)


@given(bits=st.integers(0, (1 << 32) - 1))
def test_bitcast_keeps_bits(evaluate: Evaluate, bits: int) -> None:
    integer = np.uint32(bits).view(np.int32)
    value = evaluate("arith.bitcast %a : i32 to f32", ["i32"], "f32", integer)
    assert value.view(np.uint32) == bits
    assert evaluate("arith.bitcast %a : f32 to i32", ["f32"], "i32", value).view(np.uint32) == bits


def test_bitcast_of_arrays(evaluate: Evaluate) -> None:
    a = np.array([1.0, -0.0, np.nan], ml_dtypes.bfloat16)
    found = evaluate(
        "arith.bitcast %a : tensor<3xbf16> to tensor<3xi16>", ["tensor<3xbf16>"], "tensor<3xi16>", a
    )
    assert found.tolist() == [0x3F80, -0x8000, 0x7FC0]


# -- select, constants, shapes ----------------------------------------------------------------------------


def test_select(evaluate: Evaluate) -> None:
    a, b = np.arange(4, dtype=np.float32), -np.ones(4, np.float32)
    t = "tensor<4xf32>"
    whole = evaluate(f"arith.select %a, %b, %c : {t}", ["i1", t, t], t, np.bool_(True), a, b)
    assert whole.tolist() == [0, 1, 2, 3]
    each = evaluate(
        f"arith.select %a, %b, %c : tensor<4xi1>, {t}",
        ["tensor<4xi1>", t, t],
        t,
        np.array([1, 0, 0, 1], bool),
        a,
        b,
    )
    assert each.tolist() == [0, -1, -1, 3]
    assert each.dtype == np.float32
    assert (
        evaluate("arith.select %a, %b, %c : index", ["i1", "index", "index"], "index", np.bool_(False), 1, 2)
        == 2
    )


@pytest.mark.parametrize(
    ("assembly", "type", "value", "kind"),
    [
        ("arith.constant 5 : index", "index", 5, int),
        ("arith.constant -1 : i8", "i8", -1, np.int8),
        ("arith.constant true", "i1", True, np.bool_),
        ("arith.constant 0.1 : f32", "f32", np.float32(0.1), np.float32),
        ("arith.constant 1.0 : bf16", "bf16", 1.0, ml_dtypes.bfloat16),
    ],
)
def test_scalar_constants(evaluate: Evaluate, assembly: str, type: str, value: Any, kind: Any) -> None:
    found = evaluate(assembly, [], type)
    assert isinstance(found, kind)
    assert found == value


def test_splat_constants_take_no_memory(evaluate: Evaluate) -> None:
    found = evaluate("arith.constant dense<2.0> : tensor<4096x4096xf32>", [], "tensor<4096x4096xf32>")
    assert found.shape == (4096, 4096)
    assert found.strides == (0, 0)
    assert found[7, 9] == 2.0


def test_rank_zero_stays_an_array(evaluate: Evaluate) -> None:
    t = "tensor<f32>"
    found = evaluate(f"arith.addf %a, %b : {t}", [t, t], t, np.array(1, np.float32), np.array(2, np.float32))
    assert isinstance(found, np.ndarray)
    assert found.shape == ()
    assert found.dtype == np.float32


@settings(max_examples=30)
@given(shape=st.lists(st.integers(0, 3), min_size=0, max_size=3))
def test_shapes_are_kept(evaluate: Evaluate, shape: list[int]) -> None:
    t = "tensor<" + "?x" * len(shape) + "i8>"
    a = np.ones(shape, np.int8)
    assert evaluate(f"arith.divsi %a, %a : {t}", [t], t, a).shape == tuple(shape)
