"""math: MLIR's text for every op."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from iree_core_ir.dialects import math
from iree_core_ir.errors import VerifyError
from iree_core_ir.text.parser import parse_module
from iree_core_ir.verifier import verify

UNARY = """absf exp exp2 expm1 log log1p log2 log10 sqrt rsqrt cbrt sin cos tan asin acos atan sinh cosh tanh
asinh acosh atanh erf erfc floor ceil round roundeven trunc isnan isinf isfinite isnormal"""
SIGNATURE = "%f: f32, %i: i32, %v: vector<4xf16>, %t: tensor<?xf64>, %k: i64"


def module_text() -> str:
    lines = []
    for name in UNARY.split():
        lines += [f"math.{name} %f : f32", f"math.{name} %v fastmath<afn> : vector<4xf16>"]
    for name in ("atan2", "powf", "copysign"):
        lines += [f"math.{name} %f, %f : f32", f"math.{name} %t, %t fastmath<fast> : tensor<?xf64>"]
    lines += [f"math.{name} %i : i32" for name in ("absi", "ctlz", "cttz", "ctpop")]
    lines += [
        "math.fpowi %f, %k : f32, i64",
        "math.ipowi %i, %i : i32",
        "math.fma %f, %f, %f : f32",
        "math.clampf %f to [%f, %f] : f32",
        "math.clampf %f to [%f, %f] fastmath<nnan> : f32",
    ]
    body = [f"    %{i} = {line}" for i, line in enumerate(lines)]
    body.append(f"    %{len(lines)}:2 = math.sincos %f : f32")
    return f"module {{\n  func.func @f({SIGNATURE}) {{\n" + "\n".join(body) + "\n    return\n  }\n}\n"


def test_text_is_printed_as_it_was_read(round_trip: Callable[[str], str]) -> None:
    assert round_trip(module_text()) == module_text()


def test_every_op_has_a_text_here(ops_of: Callable[[str], set[str]]) -> None:
    assert set(math.DIALECT.ops) <= ops_of(module_text())


def test_xdsl_reads_what_we_print() -> None:
    pytest.importorskip("xdsl")
    from xdsl.context import Context
    from xdsl.dialects import math as xdsl_math
    from xdsl.dialects.builtin import Builtin
    from xdsl.dialects.func import Func
    from xdsl.parser import Parser

    context = Context()
    for dialect in (Builtin, Func, xdsl_math.Math):
        context.load_dialect(dialect)
    known = {op.name for op in xdsl_math.Math.operations}
    # xDSL 0.74 gives fpowi one type.
    lines = [
        line
        for line in module_text().splitlines()
        if "math." in line and line.split("= ")[1].split()[0] in known - {"math.fpowi"}
    ]
    text = f"func.func @f({SIGNATURE}) {{\n" + "\n".join(lines) + "\n    func.return\n}"
    Parser(context, text).parse_module().verify()


@pytest.mark.parametrize(
    "line",
    [
        '"math.exp"(%i) : (i32) -> i32',
        '"math.exp"(%f) : (f32) -> f64',
        '"math.ctlz"(%f) : (f32) -> f32',
        '"math.isnan"(%f) : (f32) -> f32',
        '"math.fma"(%f, %f, %t) : (f32, f32, tensor<?xf64>) -> f32',
    ],
)
def test_invalid_ops(line: str) -> None:
    with pytest.raises(VerifyError):
        verify(parse_module(f"func.func @f({SIGNATURE}) {{ %r = {line}\n return }}"))
