"""canonicalize folds, applies the dialects' patterns and cleans up, to a fixed point."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from iree_core_ir.pass_manager import PassContext, PassManager
from iree_core_ir.passes.canonicalize import Canonicalize, canonicalize, sweep
from iree_core_ir.text.parser import parse_module

Transform = Callable[[str, str, str], None]


def test_constants_fold_through_the_interpreter(transform: Transform) -> None:
    transform(
        "canonicalize_fold",
        "canonicalize",
        """
        func.func @f() -> (index, f32, i1, i8) {
          %a = arith.constant 6 : index
          %b = arith.constant 7 : index
          %ab = arith.muli %a, %b : index
          %x = arith.constant 0.1 : f32
          %y = arith.addf %x, %x : f32
          %c = arith.cmpi slt, %a, %ab : index
          %i = arith.constant 100 : i8
          %wrap = arith.addi %i, %i : i8
          return %ab, %y, %c, %wrap : index, f32, i1, i8
        }""",
    )


def test_dead_and_unreachable_code_goes(transform: Transform) -> None:
    transform(
        "canonicalize_dead",
        "canonicalize",
        """
        func.func @f(%x: f32) -> f32 {
          %dead = arith.addf %x, %x : f32
          return %x : f32
        ^nowhere:
          return %dead : f32
        }""",
    )


CHAIN = """
func.func @main(%a: i32, %b: i32, %c: i1, %t: tensor<4xf32>) -> (i32, tensor<4xf32>) {
  %one = arith.constant 1 : i32
  %x = arith.addi %a, %b : i32
  %y = arith.muli %x, %one : i32
  %z = arith.addi %y, %x : i32
  %w = scf.if %c -> (i32) {
    %p = arith.subi %z, %a : i32
    scf.yield %p : i32
  } else {
    %q = arith.muli %z, %b : i32
    scf.yield %q : i32
  }
  %v = arith.xori %w, %z : i32
  %e = tensor.empty() : tensor<4xf32>
  %g = linalg.generic {indexing_maps = [affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>], iterator_types = ["parallel"]} ins(%t : tensor<4xf32>) outs(%e : tensor<4xf32>) {
  ^bb0(%i: f32, %o: f32):
    %n = arith.negf %i : f32
    %m = arith.addf %n, %i : f32
    linalg.yield %m : f32
  } -> tensor<4xf32>
  return %v, %g : i32, tensor<4xf32>
}
"""


@pytest.mark.parametrize("number", range(12))
@pytest.mark.parametrize("operand", range(2))
def test_what_is_remembered_changes_nothing(number: int, operand: int) -> None:
    """Whatever op of a canonical module changes, looking only around it ends where looking everywhere does."""
    module = parse_module(CHAIN)
    changed, seen = sweep(module, None)
    assert changed
    ops = [op for op in module.walk() if len(op.operands) > operand]
    op = ops[number % len(ops)]
    zeros = {o.results[0].type: o for o in parse_module(ZEROS).walk() if o.results}
    constant = zeros[op.operands[operand].type].clone()
    assert op.parent is not None
    op.parent.insert_before(constant, op)
    operands = list(op.operands)
    operands[operand] = constant.results[0]
    op.set_operands(operands)
    full = parse_module(str(module))
    again, seen = sweep(module, seen)
    assert again == canonicalize(full)
    assert str(module) == str(full)
    assert sweep(module, seen)[0] is False


ZEROS = """
func.func @zeros() {
  %a = arith.constant 0 : i32
  %b = arith.constant false
  %c = arith.constant 0.0 : f32
  %d = arith.constant dense<0.0> : tensor<4xf32>
  return
}
"""


def test_a_pass_remembers_by_module_and_a_context_of_its_own_forgets() -> None:
    first, second = parse_module(CHAIN), parse_module(CHAIN)
    context = PassContext()
    for module in (first, second, first):
        PassManager([Canonicalize()]).run(module, context)
    assert str(first) == str(second)
    assert list(context.memory["canonicalize"]) == [first, second]
    assert PassContext().memory == {}
