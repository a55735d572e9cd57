"""The greedy driver: order, fixed point, folding, dead ops, listeners, divergence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from iree_core_ir.dialects import arith
from iree_core_ir.dialects.func import CallOp, FuncOp, ReturnOp
from iree_core_ir.errors import CoreIrError
from iree_core_ir.ir.builder import Builder
from iree_core_ir.ir.location import NameLoc
from iree_core_ir.ir.operation import Op, Value
from iree_core_ir.ir.types import f32
from iree_core_ir.rewriter import Listener, Pattern, PatternSet, Rewriter, apply_patterns, pattern
from iree_core_ir.text.parser import parse_module
from iree_core_ir.text.printer import print_op
from iree_core_ir.verifier import verify


class MulToAdd(Pattern):
    """x * x becomes x + x: enough to see that something happened."""

    root = arith.MulF

    def match_and_rewrite(self, op: arith.MulF, rewriter: Rewriter) -> bool:
        if op.lhs is not op.rhs:
            return False
        rewriter.replace_with(op, arith.AddF, op.lhs, op.rhs)
        return True


def chain(n: int, kind: Any = arith.MulF) -> FuncOp:
    function: FuncOp = FuncOp.make("f", [f32], [f32])
    builder = Builder.at_end(function.body.block, NameLoc("chain"))
    value: Value = function.arguments[0]
    for _ in range(n):
        value = builder.create(kind, value, value).result
    builder.create(ReturnOp, value)
    return function


def names(function: FuncOp) -> list[str]:
    return [op.name for op in function.body.block]


def test_rewrites_reach_a_fixed_point() -> None:
    function = chain(5)
    assert apply_patterns(function, [MulToAdd])
    verify(function)
    assert names(function) == ["arith.addf"] * 5 + ["func.return"]
    assert not apply_patterns(function, [MulToAdd])


def test_new_ops_inherit_the_location() -> None:
    function = chain(1)
    apply_patterns(function, [MulToAdd()])
    assert function.body.block.first is not None
    assert function.body.block.first.location is NameLoc("chain")


def test_benefit_then_order_decides() -> None:
    calls: list[str] = []

    def recording(name: str, benefit: int) -> Pattern:
        @pattern(arith.MulF, benefit=benefit)
        def match(op: Any, rewriter: Rewriter) -> bool:
            calls.append(name)
            return False

        return match

    apply_patterns(chain(1), [recording("b", 1), recording("c", 1), recording("a", 5)])
    assert calls == ["a", "b", "c"]


def test_roots_may_be_base_classes_or_anything() -> None:
    seen: list[str] = []

    @pattern(arith.AddF.__mro__[1])
    def by_base(op: Op, rewriter: Rewriter) -> bool:
        seen.append(f"base {op.name}")
        return False

    @pattern()
    def by_any(op: Op, rewriter: Rewriter) -> bool:
        seen.append(f"any {op.name}")
        return False

    apply_patterns(chain(1), [by_base, by_any], fold=False)
    assert seen == ["base arith.mulf", "any arith.mulf", "any func.return"]
    patterns = PatternSet([by_base, by_any])
    assert patterns.of(CallOp) == (by_any,)


def test_dead_ops_go_without_patterns() -> None:
    function = chain(4)
    function.body.block.last.set_operands([function.arguments[0]])  # type: ignore[union-attr]
    assert apply_patterns(function, [])
    assert names(function) == ["func.return"]
    function = chain(4)
    function.body.block.last.set_operands([function.arguments[0]])  # type: ignore[union-attr]
    assert not apply_patterns(function, [], remove_dead=False)


def test_folding_feeds_patterns_and_can_be_switched_off() -> None:
    text = """
        func.func @f() -> index {
          %a = arith.constant 2 : index
          %b = arith.muli %a, %a : index
          %c = arith.addi %b, %a : index
          return %c : index
        }"""
    module = parse_module(text)
    apply_patterns(module, [])
    assert "arith.constant 6 : index" in print_op(module)
    module = parse_module(text)
    assert not apply_patterns(module, [], fold=False)


def test_hints_move_to_the_replacement() -> None:
    function = chain(1)
    function.body.block.first.results[0].hint = "named"  # type: ignore[union-attr]
    apply_patterns(function, [MulToAdd])
    assert "%named = arith.addf" in print_op(function)


def test_users_are_revisited() -> None:
    """A pattern that matches only after its operand changed."""

    @pattern(arith.MulF)
    def first_only(op: arith.MulF, rewriter: Rewriter) -> bool:
        owner = op.lhs.defining_op
        if owner is not None and not isinstance(owner, arith.AddF):
            return False
        rewriter.replace_with(op, arith.AddF, op.lhs, op.rhs)
        return True

    function = chain(6)
    apply_patterns(function, [first_only])
    assert "arith.mulf" not in names(function)


def test_listeners_see_every_change() -> None:
    events: list[tuple[str, str]] = []

    class Log(Listener):
        def inserted(self, op: Op) -> None:
            events.append(("inserted", op.name))

        def replaced(self, op: Op, values: Sequence[Value]) -> None:
            events.append(("replaced", op.name))

        def erased(self, op: Op) -> None:
            events.append(("erased", op.name))

        def modified(self, op: Op) -> None:
            events.append(("modified", op.name))

    apply_patterns(chain(1), [MulToAdd], listeners=[Log()])
    assert events == [("inserted", "arith.addf"), ("replaced", "arith.mulf"), ("erased", "arith.mulf")]


def test_in_place_changes_and_insertion_points() -> None:
    @pattern(arith.MulF)
    def swap(op: arith.MulF, rewriter: Rewriter) -> bool:
        if "seen" in op.attributes:
            return False
        from iree_core_ir.ir.attributes import UNIT

        rewriter.set_attribute(op, "seen", UNIT)
        with rewriter.after(op):
            copy = rewriter.create(arith.AddF, op.result, op.result)
        rewriter.replace_value(op.result, copy.result)
        rewriter.set_operands(copy, (op.result, op.result))
        builder = rewriter.builder()
        inserted = builder.create(arith.AddF, op.lhs, op.lhs)
        rewriter.set_operands(op, (inserted.result, op.rhs))
        return True

    function = chain(2)
    assert apply_patterns(function, [swap])
    verify(function)
    assert names(function) == ["arith.addf", "arith.mulf", "arith.addf"] * 2 + ["func.return"]


def test_inline_block() -> None:
    module = parse_module(
        """
        func.func @f(%c: i1, %x: f32) -> f32 {
          %r = scf.execute_region -> f32 {
            %v = arith.addf %x, %x : f32
            scf.yield %v : f32
          }
          return %r : f32
        }"""
    )

    @pattern()
    def flatten(op: Op, rewriter: Rewriter) -> bool:
        if op.name != "scf.execute_region":
            return False
        block = op.regions[0].block
        terminator = block.terminator
        rewriter.inline_block(block, op, [])
        rewriter.replace(op, terminator.operands)
        rewriter.erase(terminator)
        return True

    assert apply_patterns(module, [flatten])
    verify(module)
    assert "scf" not in print_op(module)


def test_divergence_is_an_error_that_names_the_pattern() -> None:
    class Forever(Pattern):
        root = arith.MulF

        def match_and_rewrite(self, op: arith.MulF, rewriter: Rewriter) -> bool:
            rewriter.replace_with(op, arith.MulF, op.lhs, op.rhs)
            return True

    with pytest.raises(CoreIrError, match=r"IREE-IR-011.*last applied: Forever on 'arith.mulf'"):
        apply_patterns(chain(2), [Forever])


def test_replacing_with_the_wrong_number_of_values_is_refused() -> None:
    function = chain(1)
    rewriter = Rewriter()
    with pytest.raises(ValueError, match="has 1 results, 2 replace them"):
        rewriter.replace(function.body.block.first, function.arguments * 2)  # type: ignore[arg-type]
