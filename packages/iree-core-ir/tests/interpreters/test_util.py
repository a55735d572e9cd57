"""util and ml_program: globals with initializers, checked dims, hints that hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iree_core_ir.errors import CoreIrError
from iree_core_ir.interpreter import Interpreter
from iree_core_ir.text.parser import parse_module

Evaluate = Callable[..., Any]

COUNTER = """
util.global private mutable @n = 3 : i32
util.global private @twice : i32
util.global private @weights = dense<[1.0, 2.0]> : tensor<2xf32>
util.initializer {
  %n = util.global.load @n : i32
  %m = arith.addi %n, %n : i32
  util.global.store %m, @twice : i32
  util.return
}
func.func @f(%d: i32) -> (i32, i32, tensor<2xf32>) {
  %n = util.global.load @n : i32
  %m = arith.addi %n, %d : i32
  util.global.store %m, @n : i32
  %t = util.global.load immutable @twice : i32
  %w = util.global.load @weights : tensor<2xf32>
  return %m, %t, %w : i32, i32, tensor<2xf32>
}
func.func @g(%d: i32) {
  util.global.store %d, @twice : i32
  return
}"""


def test_globals_live_as_long_as_the_interpreter() -> None:
    module = parse_module(COUNTER)
    interpreter = Interpreter(module)
    assert interpreter.call("f", np.int32(1))[:2] == (4, 6)
    assert interpreter.call("f", np.int32(1))[:2] == (5, 6)
    assert interpreter.call("f", np.int32(0))[2].tolist() == [1, 2]
    assert Interpreter(module).call("f", np.int32(1))[0] == 4


def test_immutable_globals_are_written_by_initializers_only() -> None:
    with pytest.raises(CoreIrError, match="@twice is immutable"):
        Interpreter(parse_module(COUNTER)).call("g", np.int32(1))


def test_ml_program_globals() -> None:
    text = """
    ml_program.global private mutable @g(dense<4> : tensor<2xi32>) : tensor<2xi32>
    func.func @f(%x: tensor<2xi32>) -> (tensor<2xi32>, tensor<2xi32>) {
      %a = ml_program.global_load @g : tensor<2xi32>
      ml_program.global_store @g = %x : tensor<2xi32>
      %b = ml_program.global_load @g : tensor<2xi32>
      return %a, %b : tensor<2xi32>, tensor<2xi32>
    }"""
    old, new = Interpreter(parse_module(text)).call("f", np.array([7, 8], np.int32))
    assert (old.tolist(), new.tolist()) == ([4, 4], [7, 8])


@given(a=st.integers(0, 50), b=st.integers(0, 50))
def test_broadcast_dim_is_numpys_rule(evaluate: Evaluate, a: int, b: int) -> None:
    try:
        expected = np.broadcast_shapes((a,), (b,))[0]
    except ValueError:
        with pytest.raises(CoreIrError, match=f"dimensions {a} and {b} do not broadcast"):
            evaluate("util.broadcast_dim %a, %b", ["index"] * 2, "index", a, b)
    else:
        assert evaluate("util.broadcast_dim %a, %b", ["index"] * 2, "index", a, b) == expected


@given(value=st.integers(0, 1 << 30), power=st.integers(0, 12))
def test_align(evaluate: Evaluate, value: int, power: int) -> None:
    found = evaluate("util.align %a, %b : index", ["index"] * 2, "index", value, 1 << power)
    assert found % (1 << power) == 0
    assert 0 <= found - value < 1 << power
    narrow = evaluate("util.align %a, %b : i32", ["i32"] * 2, "i32", np.int32(value), np.int32(1 << power))
    assert narrow == found


def test_assumptions_are_checked(evaluate: Evaluate) -> None:
    text = "util.assume.int %a[<umin = 4, udiv = 4>, <umax = 1>] : index"
    for value in (0, 1, 4, 64):
        assert evaluate(text, ["index"], "index", value) == value
    for value in (2, 6, -3):
        with pytest.raises(CoreIrError, match="not as assumed"):
            evaluate(text, ["index"], "index", value)


def test_assumptions_of_one_call_site_hold_together(evaluate: Evaluate) -> None:
    text = "util.assume.int %a[<umax = 1>, <umin = 10>], %b[<umin = 10>, <umax = 1>], %c<udiv = 2>"
    text += " : index, index, index"
    for values in ((0, 10, 2), (10, 0, 4)):
        assert evaluate(text, ["index"] * 3, ["index"] * 3, *values) == values
    for values in ((0, 0, 2), (10, 10, 2), (0, 10, 3)):
        with pytest.raises(CoreIrError, match="not as assumed"):
            evaluate(text, ["index"] * 3, ["index"] * 3, *values)


def test_barrier_sizeof_unreachable(evaluate: Evaluate, run_text: Callable[..., Any]) -> None:
    assert evaluate("util.optimization_barrier %a : f32", ["f32"], "f32", np.float32(2)) == 2
    assert evaluate("util.sizeof bf16", [], "index") == 2
    assert evaluate("util.unfoldable_constant 7 : i32", [], "i32") == 7
    assert evaluate("ub.poison : tensor<2xf32>", [], "tensor<2xf32>").tolist() == [0, 0]
    for op in ('util.unreachable "never"', "ub.unreachable"):
        with pytest.raises(CoreIrError, match=r"never|unreachable"):
            run_text(f"func.func @f() {{ {op} }}")
