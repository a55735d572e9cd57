"""Use lists, block links, cloning, symbols: invariants that every transformation relies on."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iree_core_ir.dialects import arith
from iree_core_ir.dialects.builtin import ModuleOp
from iree_core_ir.dialects.func import FuncOp, ReturnOp
from iree_core_ir.ir.builder import Builder
from iree_core_ir.ir.location import UNKNOWN, NameLoc
from iree_core_ir.ir.operation import Block, Op, SymbolTable, Value, lookup_symbol, symbol_name
from iree_core_ir.ir.types import f32, i32


def check_links(block: Block) -> None:
    """The doubly linked list and all use counts agree with the operands."""
    ops = list(block)
    assert list(reversed(block)) == ops[::-1]
    assert block.first is (ops[0] if ops else None) and block.last is (ops[-1] if ops else None)
    uses: dict[Value, dict[Op, int]] = {}
    for op in ops:
        assert op.parent is block
        for value in op.operands:
            counts = uses.setdefault(value, {})
            counts[op] = counts.get(op, 0) + 1
    for value in [*block.args, *(r for op in ops for r in op.results)]:
        assert value.uses == uses.get(value, {})


@given(st.data())
@settings(deadline=None, max_examples=80, derandomize=True)
def test_links_and_uses_survive_any_sequence_of_changes(data: Any) -> None:
    block = Block([f32, f32])
    for _ in range(data.draw(st.integers(1, 25))):
        ops = list(block)
        values: list[Value] = [*block.args, *(r for op in ops for r in op.results)]
        action = data.draw(st.integers(0, 6))
        pick = lambda: data.draw(st.sampled_from(values))  # noqa: E731, B023
        if action <= 1 or not ops:
            new = arith.AddF.make(pick(), pick())
            if ops and data.draw(st.booleans()):
                block.insert_before(new, data.draw(st.sampled_from(ops)))
            else:
                block.append(new)
            continue
        op = data.draw(st.sampled_from(ops))
        if action == 2:
            op.set_operand(data.draw(st.integers(0, 1)), pick())
        elif action == 3:
            pick().replace_all_uses_with(pick())
        elif action == 4:
            other = data.draw(st.sampled_from(ops))
            if other is not op:
                (op.move_before if data.draw(st.booleans()) else op.move_after)(other)
        elif action == 5:
            op.set_operands((pick(), pick()))
        elif not op.result.uses:
            op.erase()
        check_links(block)


def test_erasing_a_used_op_is_refused() -> None:
    block = Block([f32])
    first = block.append(arith.AddF.make(block.args[0], block.args[0]))
    block.append(arith.AddF.make(first.result, first.result))
    with pytest.raises(ValueError, match=r"cannot erase 'arith.addf': result 0 is used by 'arith.addf'"):
        first.erase()


def test_uses_count_multiplicity() -> None:
    block = Block([f32])
    x = block.args[0]
    op = block.append(arith.AddF.make(x, x))
    assert x.uses == {op: 2} and not x.has_one_use
    op.set_operand(0, op.result)
    assert x.uses == {op: 1} and x.has_one_use
    assert x.users == [op]


def test_walk_allows_erasing_the_op_just_seen() -> None:
    function = FuncOp.make("f", [f32], [])
    builder = Builder.at_end(function.body.block)
    for _ in range(3):
        builder.create(arith.AddF, function.arguments[0], function.arguments[0])
    builder.create(ReturnOp)
    for op in function.walk():
        if isinstance(op, arith.AddF):
            op.erase()
    assert [op.name for op in function.body.block] == ["func.return"]


def test_split_block() -> None:
    block = Block([f32])
    ops = [block.append(arith.AddF.make(block.args[0], block.args[0])) for _ in range(4)]
    after = block.split_before(ops[2])
    assert list(block) == ops[:2] and list(after) == ops[2:]
    for part in (block, after):
        assert all(op.parent is part for op in part)


def test_op_classes_have_no_dict() -> None:
    block = Block([f32])
    op = arith.AddF.make(block.args[0], block.args[0])
    assert not hasattr(op, "__dict__")
    with pytest.raises(AttributeError):
        op.unknown = 1  # type: ignore[attr-defined]


def test_builder_locations_and_points() -> None:
    block = Block([f32])
    x = block.args[0]
    builder = Builder.at_end(block, NameLoc("n"))
    first = builder.create(arith.AddF, x, x)
    with builder.at(NameLoc("m")):
        second = Builder(block, first, builder.location).create(arith.MulF, x, x)
    assert list(block) == [second, first]
    assert first.location is NameLoc("n") and second.location is NameLoc("m")
    assert arith.AddF.make(x, x).location is UNKNOWN
    inner = Block()
    with builder.into(inner):
        third = builder.create(arith.AddF, x, x)
    assert third.parent is inner and builder.block is block


def test_symbol_table() -> None:
    module = ModuleOp.make()
    table = SymbolTable(module)
    names = [table.insert(FuncOp.make("f", [], [], declaration=True)) for _ in range(3)]
    assert names == ["f", "f_0", "f_1"]
    assert table.lookup("f_1") is module.body.block.last
    nested = ModuleOp.make("inner")
    table.insert(nested)
    inner = FuncOp.make("g", [i32], [], declaration=True)
    SymbolTable(nested).insert(inner)
    from iree_core_ir.ir.attributes import SymbolRefAttr

    assert table.lookup(SymbolRefAttr("inner", "g")) is inner
    assert lookup_symbol(module, SymbolRefAttr("inner", "nope")) is None
    assert symbol_name(inner) == "g"
    table.erase(nested)
    assert table.lookup("inner") is None


def test_function_attributes_can_be_set() -> None:
    from iree_core_ir.ir.attributes import StringAttr

    function = FuncOp.make("f", [i32, f32], [f32])
    function.set_arg_attr(1, "a.b", StringAttr("x"))
    function.set_result_attr(0, "a.c", StringAttr("y"))
    assert function.arg_attr(1, "a.b") is StringAttr("x") and function.arg_attr(0, "a.b") is None
    assert function.result_attr(0, "a.c") is StringAttr("y")
    function.set_arg_attr(1, "a.b", None)
    assert function.arg_attrs is None
