"""arith: each rewrite gives the expected ops and, on special and random values, the same bits."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iree_core_ir.dialects.arith_attributes import CMPF_PREDICATES, CMPI_PREDICATES

Body = Callable[..., Any]
INTEGERS = [0, 1, -1, 2, 7, 8, -8, 127, -128, 85, -3]
FLOATS = [0.0, -0.0, 1.0, -1.0, 1.5, -2.5, 3e38, -1e-40, 1e-45, math.inf, -math.inf, math.nan]


def same_bits(a: Any, b: Any) -> bool:
    """Equal bit for bit; all NaNs count as one."""
    x, y = np.asarray(a), np.asarray(b)
    if x.dtype.kind == "f" and np.isnan(x).any():
        return bool((np.isnan(x) == np.isnan(y)).all())
    return x.dtype == y.dtype and x.tobytes() == y.tobytes()


def check(result: Any, types: list[str]) -> None:
    """Before and after agree on all combinations of special values."""
    makers: dict[str, list[Any]] = {
        "i8": [np.int8(v) for v in INTEGERS],
        "i32": [np.int32(v) for v in INTEGERS],
        "i1": [np.bool_(False), np.bool_(True)],
        "index": list(INTEGERS),
        "f32": [np.float32(v) for v in FLOATS],
        "f16": [np.float16(v) for v in FLOATS[:6]],
    }
    for arguments in itertools.product(*[makers[t] for t in types]):
        (before,), (after,) = result.run(*arguments)
        assert same_bits(before, after), arguments


C = "%c0 = arith.constant 0 : i8\n %c1 = arith.constant 1 : i8\n %m1 = arith.constant -1 : i8\n"
C += "%c5 = arith.constant 5 : i8\n %c9 = arith.constant 9 : i8\n %max = arith.constant 127 : i8\n"
C += "%min = arith.constant -128 : i8\n"

INTEGER_CASES: list[tuple[list[str], str, list[str]]] = [
    (["i8"], "%r = arith.addi %a, %c0 : i8", []),
    (["i8"], "%r = arith.addi %c0, %a : i8", []),
    (["i8", "i8"], "%s = arith.subi %a, %b : i8\n %r = arith.addi %s, %b : i8", []),
    (["i8", "i8"], "%s = arith.addi %a, %b : i8\n %r = arith.subi %s, %a : i8", []),
    (["i8"], "%r = arith.subi %a, %a : i8", []),
    (["i8"], "%r = arith.subi %a, %c5 : i8", ["arith.addi"]),
    (["i8"], "%s = arith.addi %a, %c5 : i8\n %r = arith.addi %s, %c9 : i8", ["arith.addi"]),
    (["i8"], "%s = arith.subi %c5, %a : i8\n %r = arith.subi %c9, %s : i8", ["arith.addi"]),
    (["i8"], "%s = arith.addi %a, %c5 : i8\n %r = arith.subi %c9, %s : i8", ["arith.subi"]),
    (["i8"], "%s = arith.subi %c5, %a : i8\n %r = arith.addi %s, %max : i8", ["arith.subi"]),
    (["i8"], "%r = arith.muli %a, %c1 : i8", []),
    (["i8"], "%r = arith.muli %a, %c0 : i8", []),
    (["i8"], "%s = arith.muli %a, %c5 : i8\n %r = arith.muli %c9, %s : i8", ["arith.muli"]),
    (["i8"], "%r = arith.divsi %a, %c1 : i8", []),
    (["i8"], "%r = arith.divsi %a, %c0 : i8", []),
    (["i8"], "%r = arith.divui %c0, %a : i8", []),
    (["i8"], "%r = arith.ceildivsi %a, %c1 : i8", []),
    (["i8"], "%r = arith.divsi %a, %a : i8", ["arith.divsi"]),
    (["i8"], "%r = arith.remsi %a, %a : i8", []),
    (["i8"], "%r = arith.remsi %a, %m1 : i8", []),
    (["i8"], "%r = arith.remui %a, %c1 : i8", []),
    (["i8"], "%r = arith.andi %a, %m1 : i8", []),
    (["i8"], "%r = arith.andi %a, %c0 : i8", []),
    (["i8"], "%s = arith.xori %a, %m1 : i8\n %r = arith.andi %s, %a : i8", []),
    (["i8"], "%s = arith.xori %a, %m1 : i8\n %r = arith.ori %a, %s : i8", []),
    (["i8"], "%r = arith.ori %a, %a : i8", []),
    (["i8"], "%r = arith.ori %a, %m1 : i8", []),
    (["i8", "i8"], "%s = arith.xori %a, %b : i8\n %r = arith.xori %s, %a : i8", []),
    (["i8"], "%s = arith.andi %a, %c5 : i8\n %r = arith.andi %s, %c9 : i8", ["arith.andi"]),
    (["i8"], "%r = arith.shli %a, %c0 : i8", []),
    (["i8"], "%r = arith.shli %a, %c9 : i8", []),
    (["i8"], "%r = arith.shrui %a, %m1 : i8", []),
    (["i8"], "%r = arith.shrsi %a, %c9 : i8", ["arith.shrsi"]),
    (["i8"], "%r = arith.maxsi %a, %min : i8", []),
    (["i8"], "%r = arith.maxsi %a, %max : i8", []),
    (["i8"], "%r = arith.minui %a, %m1 : i8", []),
    (["i8"], "%r = arith.minui %c0, %a : i8", []),
    (["i8"], "%s = arith.maxui %a, %c5 : i8\n %r = arith.maxui %s, %c9 : i8", ["arith.maxui"]),
    (["i8"], "%w = arith.extsi %a : i8 to i32\n %r = arith.trunci %w : i32 to i8", []),
    (["i8"], "%w = arith.index_cast %a : i8 to index\n %r = arith.index_cast %w : index to i8", []),
    (["i8"], "%w = arith.index_castui %a : i8 to index\n %r = arith.index_cast %w : index to i8", []),
]


@pytest.mark.parametrize(("types", "body", "ops"), INTEGER_CASES)
def test_integer_identities(canonicalized_body: Body, types: list[str], body: str, ops: list[str]) -> None:
    result = canonicalized_body(types, "i8", C + body)
    assert result.ops == ops
    check(result, types)


@pytest.mark.parametrize(
    ("types", "type", "body", "ops"),
    [
        (
            ["i8"],
            "i32",
            "%w = arith.extsi %a : i8 to i16\n %r = arith.extsi %w : i16 to i32",
            ["arith.extsi"],
        ),
        (
            ["i8"],
            "i32",
            "%w = arith.extui %a : i8 to i16\n %r = arith.extsi %w : i16 to i32",
            ["arith.extui"],
        ),
        (
            ["i8"],
            "i32",
            "%w = arith.extsi %a : i8 to i16\n %r = arith.extui %w : i16 to i32",
            ["arith.extsi", "arith.extui"],
        ),
        (
            ["i8"],
            "i16",
            "%w = arith.extsi %a : i8 to i32\n %r = arith.trunci %w : i32 to i16",
            ["arith.extsi"],
        ),
        (
            ["i32"],
            "i8",
            "%w = arith.extsi %a : i32 to i64\n %r = arith.trunci %w : i64 to i8",
            ["arith.trunci"],
        ),
        (
            ["i32"],
            "i8",
            "%w = arith.trunci %a : i32 to i16\n %r = arith.trunci %w : i16 to i8",
            ["arith.trunci"],
        ),
        (
            ["i8"],
            "f32",
            "%w = arith.extui %a : i8 to i32\n %r = arith.sitofp %w : i32 to f32",
            ["arith.uitofp"],
        ),
        (
            ["i8"],
            "f32",
            "%w = arith.extsi %a : i8 to i32\n %r = arith.sitofp %w : i32 to f32",
            ["arith.sitofp"],
        ),
        (
            ["i8"],
            "f32",
            "%w = arith.extsi %a : i8 to i32\n %r = arith.uitofp %w : i32 to f32",
            ["arith.extsi", "arith.uitofp"],
        ),
        (
            ["i8"],
            "index",
            "%w = arith.extsi %a : i8 to i32\n %r = arith.index_cast %w : i32 to index",
            ["arith.index_cast"],
        ),
        (
            ["index"],
            "index",
            "%w = arith.index_cast %a : index to i8\n %r = arith.index_cast %w : i8 to index",
            ["arith.index_cast", "arith.index_cast"],
        ),
        (
            ["index"],
            "index",
            "%w = arith.index_cast %a : index to i64\n %r = arith.index_castui %w : i64 to index",
            [],
        ),
        (["f16"], "f16", "%w = arith.extf %a : f16 to f32\n %r = arith.truncf %w : f32 to f16", []),
        (
            ["f32"],
            "f32",
            "%w = arith.truncf %a : f32 to f16\n %r = arith.extf %w : f16 to f32",
            ["arith.truncf", "arith.extf"],
        ),
        (["f16"], "f64", "%w = arith.extf %a : f16 to f32\n %r = arith.extf %w : f32 to f64", ["arith.extf"]),
        (["f32"], "f32", "%w = arith.bitcast %a : f32 to i32\n %r = arith.bitcast %w : i32 to f32", []),
    ],
)
def test_casts(canonicalized_body: Body, types: list[str], type: str, body: str, ops: list[str]) -> None:
    result = canonicalized_body(types, type, body)
    assert result.ops == ops
    check(result, types)


F = """%p0 = arith.constant 0.0 : f32
 %n0 = arith.constant -0.0 : f32
 %one = arith.constant 1.0 : f32
 %mone = arith.constant -1.0 : f32
 %eight = arith.constant 8.0 : f32
 %three = arith.constant 3.0 : f32
 %huge = arith.constant 0x7F000000 : f32
 %inf = arith.constant 0x7F800000 : f32
 %ninf = arith.constant 0xFF800000 : f32
 %nan = arith.constant 0x7FC00000 : f32
"""
NEG = "%na = arith.negf %a : f32\n %nb = arith.negf %b : f32\n"
FLOAT_CASES: list[tuple[list[str], str, list[str]]] = [
    (["f32"], "%r = arith.addf %a, %n0 : f32", []),
    (["f32"], "%r = arith.addf %n0, %a : f32", []),
    (["f32"], "%r = arith.addf %a, %p0 : f32", ["arith.addf"]),
    (["f32"], "%r = arith.subf %a, %p0 : f32", []),
    (["f32"], "%r = arith.subf %a, %n0 : f32", ["arith.subf"]),
    (["f32"], "%r = arith.subf %a, %a : f32", ["arith.subf"]),
    (["f32"], "%r = arith.subf %n0, %a : f32", ["arith.negf"]),
    (["f32"], "%r = arith.subf %p0, %a : f32", ["arith.subf"]),
    (["f32"], "%r = arith.mulf %a, %one : f32", []),
    (["f32"], "%r = arith.mulf %a, %p0 : f32", ["arith.mulf"]),
    (["f32"], "%r = arith.mulf %mone, %a : f32", ["arith.negf"]),
    (["f32"], "%r = arith.divf %a, %one : f32", []),
    (["f32"], "%r = arith.divf %a, %eight : f32", ["arith.mulf"]),
    (["f32"], "%r = arith.divf %a, %three : f32", ["arith.divf"]),
    (["f32"], "%r = arith.divf %a, %huge : f32", ["arith.divf"]),
    (["f32"], "%r = arith.divf %a, %a : f32", ["arith.divf"]),
    (["f32"], "%s = arith.negf %a : f32\n %r = arith.negf %s : f32", []),
    (["f32", "f32"], NEG + "%r = arith.addf %a, %nb : f32", ["arith.subf"]),
    (["f32", "f32"], NEG + "%r = arith.addf %na, %b : f32", ["arith.subf"]),
    (["f32", "f32"], NEG + "%r = arith.subf %a, %nb : f32", ["arith.addf"]),
    (["f32", "f32"], NEG + "%r = arith.mulf %na, %nb : f32", ["arith.mulf"]),
    (["f32", "f32"], NEG + "%r = arith.divf %na, %nb : f32", ["arith.divf"]),
    (["f32"], "%r = arith.maximumf %a, %ninf : f32", []),
    (["f32"], "%r = arith.maximumf %a, %inf : f32", ["arith.maximumf"]),
    (["f32"], "%r = arith.minimumf %inf, %a : f32", []),
    (["f32"], "%r = arith.maxnumf %a, %nan : f32", []),
    (["f32"], "%r = arith.maxnumf %a, %ninf : f32", ["arith.maxnumf"]),
    (["f32"], "%r = arith.minnumf %a, %a : f32", []),
]


@pytest.mark.parametrize(("types", "body", "ops"), FLOAT_CASES)
def test_float_identities(canonicalized_body: Body, types: list[str], body: str, ops: list[str]) -> None:
    result = canonicalized_body(types, "f32", F + body)
    assert result.ops == ops
    check(result, types)


@given(x=st.floats(width=32), k=st.integers(-150, 130))
@settings(max_examples=60, deadline=None)
def test_division_by_powers_of_two(canonicalized_body: Body, x: float, k: int) -> None:
    with np.errstate(all="ignore"):
        divisor = np.float32(2.0) ** np.float32(k)
    if not np.isfinite(divisor) or divisor == 0:
        return
    bits = int(np.float32(divisor).view(np.uint32))
    text = f"%c = arith.constant 0x{bits:08X} : f32\n %r = arith.divf %a, %c : f32"
    (before,), (after,) = canonicalized_body(["f32"], "f32", text).run(np.float32(x))
    assert same_bits(before, after)


@pytest.mark.parametrize("predicate", CMPI_PREDICATES)
def test_comparisons(canonicalized_body: Body, predicate: str) -> None:
    for constant in (0, 5, -128, 127, -1):
        body = f"%k = arith.constant {constant} : i8\n %r = arith.cmpi {predicate}, %k, %a : i8"
        check(canonicalized_body(["i8"], "i1", body), ["i8"])
        body = f"""%k = arith.constant {constant} : i8
          %c = arith.cmpi {predicate}, %a, %k : i8
          %true = arith.constant true
          %r = arith.xori %c, %true : i1"""
        result = canonicalized_body(["i8"], "i1", body)
        assert "arith.xori" not in result.ops
        check(result, ["i8"])
    assert canonicalized_body(["i8"], "i1", f"%r = arith.cmpi {predicate}, %a, %a : i8").ops == []
    for ext in ("extsi", "extui"):
        body = f"""%x = arith.{ext} %a : i8 to i32
          %y = arith.{ext} %b : i8 to i32
          %r = arith.cmpi {predicate}, %x, %y : i32"""
        check(canonicalized_body(["i8", "i8"], "i1", body), ["i8", "i8"])
        body = f"""%x = arith.{ext} %a : i1 to i32
          %z = arith.constant 0 : i32
          %r = arith.cmpi {predicate}, %x, %z : i32"""
        check(canonicalized_body(["i1"], "i1", body), ["i1"])
    for word in ("true", "false"):
        body = f"%k = arith.constant {word}\n %r = arith.cmpi {predicate}, %a, %k : i1"
        result = canonicalized_body(["i1"], "i1", body)
        assert "arith.cmpi" not in result.ops or predicate not in ("eq", "ne")
        check(result, ["i1"])


@pytest.mark.parametrize("predicate", CMPF_PREDICATES)
def test_float_comparisons(canonicalized_body: Body, predicate: str) -> None:
    body = F + f"%r = arith.cmpf {predicate}, %a, %nan : f32"
    result = canonicalized_body(["f32"], "i1", body)
    assert result.ops == []
    check(result, ["f32"])
    check(canonicalized_body(["f32"], "i1", f"%r = arith.cmpf {predicate}, %a, %a : f32"), ["f32"])


SELECTS: list[tuple[list[str], str, str, list[str]]] = [
    (["i1", "i8"], "i8", "%r = arith.select %a, %b, %b : i8", []),
    (["i8", "i8"], "i8", "%t = arith.constant true\n %r = arith.select %t, %a, %b : i8", []),
    (
        ["i1"],
        "i1",
        "%t = arith.constant true\n %f = arith.constant false\n %r = arith.select %a, %t, %f : i1",
        [],
    ),
    (
        ["i1"],
        "i1",
        "%t = arith.constant true\n %f = arith.constant false\n %r = arith.select %a, %f, %t : i1",
        ["arith.xori"],
    ),
    (
        ["i1", "i8", "i8"],
        "i8",
        "%t = arith.constant true\n %n = arith.xori %a, %t : i1\n %r = arith.select %n, %b, %c : i8",
        ["arith.select"],
    ),
    (["i8", "i8"], "i8", "%e = arith.cmpi eq, %a, %b : i8\n %r = arith.select %e, %a, %b : i8", []),
    (["i8", "i8"], "i8", "%e = arith.cmpi ne, %a, %b : i8\n %r = arith.select %e, %b, %a : i8", []),
    (["i1", "i8", "i8"], "i8", "%s = arith.select %a, %b, %c : i8\n %r = arith.select %a, %s, %b : i8", []),
    (
        ["f32", "f32"],
        "f32",
        "%e = arith.cmpf oeq, %a, %b : f32\n %r = arith.select %e, %a, %b : f32",
        ["arith.cmpf", "arith.select"],
    ),
]


@pytest.mark.parametrize(("types", "type", "body", "ops"), SELECTS)
def test_selects(canonicalized_body: Body, types: list[str], type: str, body: str, ops: list[str]) -> None:
    result = canonicalized_body(types, type, body)
    assert result.ops == ops
    check(result, types)


# -- constants --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "type", "expected"),
    [
        (
            "%x = arith.constant dense<2.0> : tensor<9x9xf32>\n %r = arith.mulf %x, %x : tensor<9x9xf32>",
            "tensor<9x9xf32>",
            "dense<4.000000e+00> : tensor<9x9xf32>",
        ),
        (
            "%x = arith.constant dense<[1, 2]> : tensor<2xi8>\n %r = arith.muli %x, %x : tensor<2xi8>",
            "tensor<2xi8>",
            "dense<[1, 4]> : tensor<2xi8>",
        ),
        (
            "%x = arith.constant dense<[1, 2]> : vector<2xindex>\n %r = arith.addi %x, %x : vector<2xindex>",
            "vector<2xindex>",
            "dense<[2, 4]> : vector<2xindex>",
        ),
        (
            "%x = arith.constant dense<3> : tensor<9xindex>\n %r = arith.cmpi slt, %x, %x : tensor<9xindex>",
            "tensor<9xi1>",
            "dense<false> : tensor<9xi1>",
        ),
        ("%x = arith.constant 1.0e30 : f32\n %r = arith.mulf %x, %x : f32", "f32", "0x7F800000 : f32"),
        (
            "%x = arith.constant -128 : i8\n %y = arith.constant -1 : i8\n %r = arith.divsi %x, %y : i8",
            "i8",
            "-128 : i8",
        ),
        (
            "%x = arith.constant 5 : index\n %y = arith.constant 0 : index\n %r = arith.remui %x, %y : index",
            "index",
            "0 : index",
        ),
    ],
)
def test_constants_fold(canonicalized_body: Body, body: str, type: str, expected: str) -> None:
    result = canonicalized_body([], type, body)
    assert result.ops == []
    assert f"arith.constant {expected}" in result.text


def test_large_constants_are_not_computed(canonicalized_body: Body) -> None:
    text = f"%x = arith.constant dense<[{', '.join(map(str, range(65)))}]> : tensor<65xi32>"
    result = canonicalized_body([], "tensor<65xi32>", text + "\n %r = arith.addi %x, %x : tensor<65xi32>")
    assert result.ops == ["arith.addi"]


@pytest.mark.parametrize("shape", ["?", "4x?"])
def test_dynamic_shapes_have_no_constants(canonicalized_body: Body, shape: str) -> None:
    t = f"tensor<{shape}xi32>"
    assert canonicalized_body([t], t, f"%r = arith.subi %a, %a : {t}").ops == ["arith.subi"]


BINARY = [
    "addi",
    "subi",
    "muli",
    "divsi",
    "divui",
    "remsi",
    "remui",
    "andi",
    "ori",
    "xori",
    "shli",
    "shrsi",
    "shrui",
    "maxsi",
    "maxui",
    "minsi",
    "minui",
]


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_random_expressions_keep_their_value(canonicalized_body: Body, data: st.DataObject) -> None:
    """Random straight-line i8 programs over arguments, constants, comparisons and selects."""
    lines = [
        f"%k{i} = arith.constant {v} : i8"
        for i, v in enumerate(data.draw(st.lists(st.sampled_from(INTEGERS), min_size=1, max_size=3)))
    ]
    names = ["%a", "%b"] + [f"%k{i}" for i in range(len(lines))]
    conditions: list[str] = []
    for i in range(data.draw(st.integers(1, 8))):
        pick = lambda: data.draw(st.sampled_from(names))  # noqa: E731
        kind = data.draw(st.sampled_from(["op", "op", "cmp", "select"]))
        if kind == "cmp" or (kind == "select" and not conditions):
            lines.append(
                f"%c{i} = arith.cmpi {data.draw(st.sampled_from(CMPI_PREDICATES))}, {pick()}, {pick()} : i8"
            )
            conditions.append(f"%c{i}")
        elif kind == "select":
            lines.append(
                f"%v{i} = arith.select {data.draw(st.sampled_from(conditions))}, {pick()}, {pick()} : i8"
            )
            names.append(f"%v{i}")
        else:
            lines.append(f"%v{i} = arith.{data.draw(st.sampled_from(BINARY))} {pick()}, {pick()} : i8")
            names.append(f"%v{i}")
    lines.append(f"%r = arith.xori {names[-1]}, {names[0]} : i8")
    result = canonicalized_body(["i8", "i8"], "i8", "\n".join(lines))
    for a, b in itertools.product(INTEGERS[::2], repeat=2):
        before, after = result.run(np.int8(a), np.int8(b))
        assert before == after
