"""inline replaces calls by bodies; recursion and declarations stay."""

from __future__ import annotations

from collections.abc import Callable

from iree_core_ir.passes.inline import inline_calls
from iree_core_ir.text.parser import parse_module

Transform = Callable[[str, str, str], None]


def test_callees_before_callers(transform: Transform) -> None:
    transform(
        "inline",
        "inline,symbol-dce",
        """
        func.func @main(%x: f32) -> f32 {
          %0:2 = call @twice(%x) : (f32) -> (f32, f32)
          %1 = call @declared(%0#0) : (f32) -> f32
          %2 = call @forever(%1) : (f32) -> f32
          return %2 : f32
        }
        func.func private @twice(%x: f32) -> (f32, f32) {
          %0 = call @add(%x, %x) : (f32, f32) -> f32
          return %0, %x : f32, f32
        }
        func.func private @add(%x: f32, %y: f32) -> f32 {
          %0 = arith.addf %x, %y : f32
          return %0 : f32
        }
        func.func private @declared(f32) -> f32
        func.func private @forever(%x: f32) -> f32 {
          %0 = call @forever(%x) : (f32) -> f32
          return %0 : f32
        }""",
    )


def test_several_blocks(transform: Transform) -> None:
    transform(
        "inline_blocks",
        "inline,symbol-dce",
        """
        func.func @main(%c: i1, %x: f32) -> f32 {
          %0 = call @pick(%c, %x) : (i1, f32) -> f32
          %1 = arith.addf %0, %0 : f32
          %2 = scf.if %c -> (f32) {
            %3 = func.call @pick(%c, %1) : (i1, f32) -> f32
            scf.yield %3 : f32
          } else {
            scf.yield %1 : f32
          }
          return %2 : f32
        }
        func.func private @pick(%c: i1, %x: f32) -> f32 {
          cf.cond_br %c, ^a, ^b(%x : f32)
        ^a:
          %0 = arith.addf %x, %x : f32
          cf.br ^b(%0 : f32)
        ^b(%v: f32):
          return %v : f32
        }""",
    )


def test_size_limit(transform: Transform) -> None:
    transform(
        "inline_limit",
        "inline{max-ops=2}",
        """
        func.func @main(%x: f32) -> f32 {
          %0 = call @small(%x) : (f32) -> f32
          %1 = call @large(%0) : (f32) -> f32
          return %1 : f32
        }
        func.func private @small(%x: f32) -> f32 {
          %0 = arith.addf %x, %x : f32
          return %0 : f32
        }
        func.func private @large(%x: f32) -> f32 {
          %0 = arith.addf %x, %x : f32
          %1 = arith.addf %0, %x : f32
          return %1 : f32
        }""",
    )


def test_inlined_ops_tell_callee_and_caller() -> None:
    module = parse_module(
        """
        func.func @main(%x: f32) -> f32 {
          %0 = call @f(%x) : (f32) -> f32 loc("caller")
          return %0 : f32
        }
        func.func private @f(%x: f32) -> f32 {
          %0 = arith.addf %x, %x : f32 loc("callee")
          return %0 : f32
        }"""
    )
    inline_calls(module)
    op = next(op for op in module.walk() if op.name == "arith.addf")
    assert op.location.user_text() == "callee called at caller"
