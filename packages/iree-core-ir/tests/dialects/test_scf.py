"""scf: MLIR's text for every op, implicit terminators, and values that must fit across regions."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from iree_core_ir.dialects import arith, scf
from iree_core_ir.errors import ParseError, VerifyError
from iree_core_ir.ir.builder import Builder
from iree_core_ir.ir.operation import Block
from iree_core_ir.ir.types import TensorType, f32, i1, index
from iree_core_ir.text.parser import parse_module
from iree_core_ir.verifier import verify

TEXT = """module {
  func.func @f(%a: f32, %i: i32, %n: index, %c: i1, %t: tensor<4xf32>) -> f32 {
    %0 = scf.for %k = %n to %n step %n iter_args(%x = %a) -> (f32) {
      %sum = arith.addf %x, %x : f32
      scf.yield %sum : f32
    } {note}
    scf.for %k = %n to %n step %n {
    }
    scf.for unsigned %k = %i to %i step %i : i32 {
      scf.if %c {
      } else {
        %one = arith.constant 1 : i32
      }
    }
    %1:2 = scf.while (%p = %a, %q = %n) : (f32, index) -> (index, f32) {
      scf.condition(%c) %q, %p : index, f32
    } do {
    ^bb0(%u: index, %v: f32):
      scf.yield %v, %u : f32, index
    } attributes {note}
    scf.while : () -> () {
      scf.condition(%c)
    } do {
      scf.yield
    }
    %2 = scf.if %c -> (f32) {
      scf.yield %a : f32
    } else {
      scf.yield %0 : f32
    }
    %3 = scf.execute_region -> f32 {
      cf.br ^bb1
    ^bb1:
      scf.yield %a : f32
    }
    scf.execute_region no_inline {
      scf.yield
    }
    %4 = scf.index_switch %n -> f32
    case 2 {
      scf.yield %a : f32
    }
    case -3 {
      scf.yield %a : f32
    }
    default {
      scf.yield %0 : f32
    }
    scf.forall (%x, %y) in (4, %n) {
    }
    %5 = scf.forall (%x) = (%n) to (4) step (2) shared_outs(%o = %t) -> (tensor<4xf32>) {
      scf.forall.in_parallel {
        tensor.parallel_insert_slice %o into %o[0] [4] [1] : tensor<4xf32> into tensor<4xf32>
      }
    } {mapping = []}
    %6:2 = scf.parallel (%x, %y) = (%n, %n) to (%n, %n) step (%n, %n) init (%a, %a) -> (f32, f32) {
      scf.reduce(%a, %a : f32, f32) {
      ^bb0(%l: f32, %r: f32):
        %sum = arith.addf %l, %r : f32
        scf.reduce.return %sum : f32
      }, {
      ^bb0(%l: f32, %r: f32):
        scf.reduce.return %r : f32
      }
    }
    scf.parallel (%x) = (%n) to (%n) step (%n) {
      scf.reduce
    }
    %7 = scf.parallel (%x) = (%n) to (%n) step (%n) init (%a) -> f32 {
      scf.reduce(%a : f32) {
      ^bb0(%l: f32, %r: f32):
        scf.reduce.return %l : f32
      }
    }
    return %2 : f32
  }
}
"""


def test_text_is_printed_as_it_was_read(round_trip: Callable[[str], str]) -> None:
    assert round_trip(TEXT) == TEXT


def test_every_op_has_a_text_here(ops_of: Callable[[str], set[str]]) -> None:
    assert set(scf.DIALECT.ops) <= ops_of(TEXT)


def test_xdsl_reads_loops_and_conditionals() -> None:
    pytest.importorskip("xdsl")
    from xdsl.context import Context
    from xdsl.dialects import arith as xdsl_arith
    from xdsl.dialects import scf as xdsl_scf
    from xdsl.dialects.builtin import Builtin
    from xdsl.dialects.func import Func
    from xdsl.parser import Parser

    context = Context()
    for dialect in (Builtin, Func, xdsl_arith.Arith, xdsl_scf.Scf):
        context.load_dialect(dialect)
    text = """func.func @f(%a: f32, %n: index, %c: i1) {
      %0 = scf.for %k = %n to %n step %n iter_args(%x = %a) -> (f32) {
        %1 = arith.addf %x, %x : f32
        scf.yield %1 : f32
      }
      %2 = scf.if %c -> (f32) {
        scf.yield %a : f32
      } else {
        scf.yield %0 : f32
      }
      %3:2 = scf.while (%p = %a, %q = %n) : (f32, index) -> (index, f32) {
        scf.condition(%c) %q, %p : index, f32
      } do {
      ^bb0(%u: index, %v: f32):
        scf.yield %v, %u : f32, index
      }
      func.return
    }"""
    printed = str(parse_module(text).body.block.first).replace("    return", "    func.return")
    Parser(context, printed).parse_module().verify()


def test_implicit_terminators_are_there() -> None:
    module = parse_module(
        "func.func @f(%n: index) { scf.for %i = %n to %n step %n { }\n scf.forall (%i) in (%n) { }\n return }"
    )
    verify(module)
    loop, forall = [op for op in module.walk() if op.name in ("scf.for", "scf.forall")]
    assert isinstance(loop.regions[0].block.terminator, scf.Yield)
    assert isinstance(forall, scf.ForAll)
    assert not forall.in_parallel.block.ops


def test_builders() -> None:
    n, a, c, t = Block([index, f32, i1, TensorType((4,), f32)]).args
    loop = scf.For.make(n, n, n, [a])
    with Builder.at_end(loop.block).into(loop.block) as builder:
        builder.create(scf.Yield, [builder.create(arith.AddF, loop.iter_args[0], a).result])
    loop.verify_op()
    assert loop.induction_variable.type is index
    choice = scf.If.make(c, [f32])
    for region in choice.regions:
        region.block.append(scf.Yield.make([a]))
    choice.verify_op()
    assert scf.If.make(c).else_block is None
    forall = scf.ForAll.make([0], [n], [1], [t])
    forall.verify_op()
    assert (forall.lower, forall.upper, forall.is_normalized) == ((0,), (n,), True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("%r = scf.for %i = %n to %n step %n iter_args(%x = %a) -> (f32) { scf.yield %n : index }", "yields"),
        ("%r = scf.for %i = %n to %n step %n iter_args(%x = %a) -> (f32) { scf.yield }", "yields"),
        ("%r = scf.if %c -> (f32) { scf.yield %a : f32 }", "no else region"),
        ("%r = scf.if %c -> (f32) { scf.yield %a : f32 } else { scf.yield %n : index }", "yields"),
        (
            "scf.while (%x = %a) : (f32) -> () { scf.condition(%c) } do { scf.yield }",
            "yields",
        ),
        (
            "%r = scf.while : () -> (f32) { scf.condition(%c) } do { ^bb0(%x: f32): scf.yield }",
            "has results",
        ),
        ("scf.index_switch %n case 1 { } case 1 { } default { }", "case twice"),
        (
            "%r = scf.parallel (%i) = (%n) to (%n) step (%n) init (%a) -> f32 { scf.reduce }",
            "reduces",
        ),
    ],
)
def test_invalid_ops(text: str, message: str) -> None:
    module = parse_module(f"func.func @f(%a: f32, %n: index, %c: i1) {{\n {text}\n return\n}}")
    with pytest.raises(VerifyError, match=message):
        verify(module)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("scf.for %i = %n to %n step %n iter_args(%x = %a) -> (f32, f32) { }", "1 iter_args but 2 types"),
        ("scf.parallel (%i, %j) = (%n) to (%n) step (%n) { }", "expected 2 bounds"),
        ("scf.for %i = %n to %n { }", "expected 'step'"),
    ],
)
def test_bad_text(text: str, message: str) -> None:
    with pytest.raises(ParseError, match=message):
        parse_module(f"func.func @f(%a: f32, %n: index) {{\n {text}\n return\n}}")
