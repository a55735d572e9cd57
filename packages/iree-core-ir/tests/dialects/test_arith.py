"""arith: MLIR's text for every op, type inference, verification, xDSL as a second reader."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from iree_core_ir.dialects import arith
from iree_core_ir.dialects.arith_attributes import (
    CMPF_PREDICATES,
    CMPI_PREDICATES,
    FastMathAttr,
    OverflowAttr,
    constant_attribute,
    wrap_integer,
)
from iree_core_ir.errors import ParseError, VerifyError
from iree_core_ir.ir.attributes import DenseElementsAttr, FloatAttr, IntegerAttr
from iree_core_ir.ir.operation import Block
from iree_core_ir.ir.types import IntegerType, TensorType, VectorType, bf16, f16, f32, i1, i8, i32, i64, index
from iree_core_ir.text.parser import parse_module
from iree_core_ir.text.printer import print_op
from iree_core_ir.verifier import verify

INTEGER = "addi subi muli divsi divui ceildivsi ceildivui floordivsi remsi remui andi ori xori shli shrsi"
INTEGER += " shrui maxsi maxui minsi minui"
FLOAT = "addf subf mulf divf remf maximumf minimumf maxnumf minnumf"
SIGNATURE = "%i: i32, %j: index, %f: f32, %h: f16, %c: i1"
SIGNATURE += ", %vi: vector<4xi32>, %tf: tensor<?x4xf32>, %vc: vector<4xi1>"


def lines() -> list[str]:
    """One op per line, as MLIR prints it (the results are called %0, %1 ...)."""
    body = [
        "arith.constant 42 : i32",
        "arith.constant -1 : i64",
        "arith.constant true",
        "arith.constant 1.500000e+00 : f32",
        "arith.constant 0x7FC00000 : f32",
        "arith.constant 7 : index",
        "arith.constant dense<[1, 2, 3]> : tensor<3xi8>",
        "arith.constant dense<0.000000e+00> : vector<8xf16>",
    ]
    for name in INTEGER.split():
        body += [f"arith.{name} %i, %i : i32", f"arith.{name} %vi, %vi : vector<4xi32>"]
        body.append(f"arith.{name} %j, %j : index")
    for name in FLOAT.split():
        body += [f"arith.{name} %f, %f : f32", f"arith.{name} %tf, %tf : tensor<?x4xf32>"]
        body.append(f"arith.{name} %h, %h fastmath<contract> : f16")
    body += [
        "arith.addi %i, %i overflow<nsw> : i32",
        "arith.muli %i, %i overflow<nsw, nuw> : i32",
        "arith.divui %i, %i exact : i32",
        "arith.shrsi %i, %i exact : i32",
        "arith.addf %f, %f fastmath<fast> : f32",
        "arith.addf %f, %f fastmath<reassoc,nsz> : f32",
        "arith.negf %f : f32",
        "arith.negf %f fastmath<nnan> : f32",
        "arith.select %c, %f, %f : f32",
        "arith.select %c, %tf, %tf : tensor<?x4xf32>",
        "arith.select %vc, %vi, %vi : vector<4xi1>, vector<4xi32>",
        "arith.extf %h : f16 to f32",
        "arith.truncf %f : f32 to f16",
        "arith.truncf %tf : tensor<?x4xf32> to tensor<?x4xbf16>",
        "arith.extsi %i : i32 to i64",
        "arith.extui %c : i1 to i32",
        "arith.extui %i nneg : i32 to i64",
        "arith.trunci %i : i32 to i8",
        "arith.trunci %i overflow<nuw> : i32 to i8",
        "arith.sitofp %i : i32 to f32",
        "arith.uitofp %i : i32 to f32",
        "arith.uitofp %i nneg : i32 to f32",
        "arith.fptosi %f : f32 to i32",
        "arith.fptoui %f : f32 to i8",
        "arith.index_cast %i : i32 to index",
        "arith.index_castui %j : index to i32",
        "arith.bitcast %f : f32 to i32",
    ]
    body += [f"arith.cmpi {p}, %i, %i : i32" for p in CMPI_PREDICATES]
    body += [f"arith.cmpf {p}, %f, %f : f32" for p in CMPF_PREDICATES]
    body.append("arith.cmpf olt, %tf, %tf fastmath<nnan> : tensor<?x4xf32>")
    return body


PAIRS = [
    "arith.addui_extended %i, %i : i32, i1",
    "arith.addui_extended %vi, %vi : vector<4xi32>, vector<4xi1>",
    "arith.mulsi_extended %i, %i : i32",
    "arith.mului_extended %j, %j : index",
]


def module_text() -> str:
    body = [f"    %{i} = {line}" for i, line in enumerate(lines())]
    body += [f"    %{len(lines()) + i}:2 = {line}" for i, line in enumerate(PAIRS)]
    inner = "\n".join(body)
    return f"module {{\n  func.func @f({SIGNATURE}) {{\n{inner}\n    return\n  }}\n}}\n"


def test_text_is_printed_as_it_was_read(round_trip: Callable[[str], str]) -> None:
    assert round_trip(module_text()) == module_text()


def test_every_op_has_a_text_here(ops_of: Callable[[str], set[str]]) -> None:
    assert set(arith.DIALECT.ops) <= ops_of(module_text())


def test_xdsl_reads_what_we_print() -> None:
    pytest.importorskip("xdsl")
    from xdsl.context import Context
    from xdsl.dialects import arith as xdsl_arith
    from xdsl.dialects.builtin import Builtin
    from xdsl.dialects.func import Func
    from xdsl.parser import Parser

    context = Context()
    for dialect in (Builtin, Func, xdsl_arith.Arith):
        context.load_dialect(dialect)
    known = {op.name for op in xdsl_arith.Arith.operations}
    # xDSL 0.74 has no overflow on trunci, no exact and nneg flags, and keeps fastmath to binary ops.
    unknown = ("select %vc", "exact", "nneg", "trunci %i overflow", "negf %f fast", "overflow<nsw, nuw>")
    unknown += ("cmpf olt, %tf, %tf fast",)
    body = [
        f"    %{i} = {line}"
        for i, line in enumerate(lines())
        if line.split()[0] in known and not any(u in line for u in unknown)
    ]
    text = f"func.func @f({SIGNATURE}) {{\n" + "\n".join(body) + "\n    func.return\n}"
    module = Parser(context, text).parse_module()
    module.verify()
    assert sum(1 for _ in module.walk()) == len(body) + 3


def test_xdsl_reads_our_generic_form() -> None:
    pytest.importorskip("xdsl")
    from xdsl.context import Context
    from xdsl.dialects.builtin import Builtin
    from xdsl.parser import Parser

    context = Context(allow_unregistered=True)
    context.load_dialect(Builtin)
    module = parse_module(module_text())
    read = Parser(context, print_op(module, generic=True)).parse_module()
    assert sum(1 for _ in read.walk()) == sum(1 for _ in module.walk())


def test_attributes_of_flags_are_sets() -> None:
    assert FastMathAttr("nnan", "contract") is FastMathAttr("contract", "nnan")
    assert FastMathAttr("fast") is FastMathAttr(*FastMathAttr.cases)
    assert str(FastMathAttr()) == "#arith.fastmath<none>"
    assert str(OverflowAttr("nuw", "nsw")) == "#arith.overflow<nsw, nuw>"
    with pytest.raises(ValueError, match="reassoc"):
        FastMathAttr("quick")


def test_result_types_of_comparisons_follow_the_shape() -> None:
    for type, expected in (
        (f32, i1),
        (VectorType((4,), f32), VectorType((4,), i1)),
        (TensorType((-1, 2), f32), TensorType((-1, 2), i1)),
    ):
        a, b = Block([type, type]).args
        assert arith.CmpF.make("olt", a, b).result.type is expected


@pytest.mark.parametrize(
    ("value", "type", "expected"),
    [
        (255, i8, -1), (-129, i8, 127), (1, i1, 1), (-1, i1, 1), (2, i1, 0), (1 << 63, i64, -(1 << 63)),
        (1 << 63, index, -(1 << 63)), (200, IntegerType(8, "u"), 200), (-1, IntegerType(8, "u"), 255),
    ],
)  # fmt: skip
def test_wrap_integer(value: int, type: IntegerType, expected: int) -> None:
    assert wrap_integer(value, type) == expected


def test_constants_of_numbers() -> None:
    assert constant_attribute(300, i8) is IntegerAttr(44, i8)
    assert constant_attribute(True, i1) is IntegerAttr(1, i1)
    assert constant_attribute(0.1, f32) is FloatAttr(0.10000000149011612, f32)
    assert constant_attribute(1e30, f16) is FloatAttr(float("inf"), f16)
    splat = constant_attribute(2, TensorType((1000, 1000), bf16))
    assert isinstance(splat, DenseElementsAttr)
    assert splat.splat
    assert len(splat.data) == 2


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("arith.addf %f, %h : f32", "has type f16, used here as f32"),
        ("arith.cmpi less, %i, %i : i32", "'less' is not one of eq, ne"),
        ("arith.addf %f, %f fastmath<quick> : f32", "'quick' is not one of"),
        ("arith.constant 300 : i8", "300 does not fit i8"),
    ],
)
def test_bad_text(line: str, message: str) -> None:
    with pytest.raises(ParseError, match=message):
        parse_module(f"func.func @f({SIGNATURE}) {{ %r = {line}\n return }}")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('"arith.addi"(%i, %j) : (i32, index) -> i32', "one type"),
        ('"arith.addi"(%f, %f) : (f32, f32) -> f32', "expected signless integer or index"),
        ('"arith.addf"(%f, %f) : (f32, f32) -> f16', "one type"),
        ('"arith.extsi"(%i) : (i32) -> i8', "wider"),
        ('"arith.trunci"(%i) : (i32) -> i64', "narrower"),
        ('"arith.extf"(%f) : (f32) -> f16', "wider"),
        ('"arith.bitcast"(%f) : (f32) -> i64', "as wide"),
        ('"arith.index_cast"(%i) : (i32) -> i64', "between index and an integer"),
        ('"arith.select"(%c, %f, %h) : (i1, f32, f16) -> f32', "one type"),
        ('"arith.cmpi"(%i, %i) <{predicate = 77 : i64}> : (i32, i32) -> i1', "predicate 77"),
        ('"arith.constant"() <{value = 1 : i32}> : () -> i64', "no constant of type i64"),
        ('"arith.sitofp"(%vi) : (vector<4xi32>) -> f32', "shape|scalar"),
        ('"arith.extf"(%h) : (f16) -> vector<4xf32>', "shape"),
    ],
)
def test_invalid_ops(line: str, message: str) -> None:
    module = parse_module(f"func.func @f({SIGNATURE}) {{ %r = {line}\n return }}")
    with pytest.raises(VerifyError, match=message):
        verify(module)


def test_make_infers_result_types() -> None:
    a, b = Block([i32, i32]).args
    assert arith.AddI.make(a, b).result.type is i32
    low, high = arith.MulSIExtended.make(a, b).results
    assert low.type is high.type is i32
    assert [r.type for r in arith.AddUIExtended.make(a, b).results] == [i32, i1]
    assert arith.Constant.index(3).result.type is index


def test_no_flags_are_not_printed(round_trip: Callable[[str], str]) -> None:
    line = "%0 = arith.addf %f, %f fastmath<none> : f32\n %1 = arith.addi %i, %i overflow<none> : i32"
    printed = round_trip(f"func.func @f({SIGNATURE}) {{ {line}\n return }}")
    assert "none" not in printed
    a, b = Block([f32, f32]).args
    assert arith.AddF.make(a, b).fastmath is FastMathAttr()
    assert arith.AddF.make(a, b, FastMathAttr()).attributes == {}
