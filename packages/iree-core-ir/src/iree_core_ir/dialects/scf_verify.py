"""What holds of ``scf`` ops beyond their signatures: values that cross region boundaries fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from iree_core_ir.errors import VerifyError
from iree_core_ir.ir.attributes import Type
from iree_core_ir.ir.operation import Block, Op, Region, Value
from iree_core_ir.ir.types import index


def _types(values: Sequence[Value]) -> list[Type]:
    return [value.type for value in values]


def _text(types: Sequence[Type]) -> str:
    return f"({', '.join(map(str, types))})"


def _expect_types(op: Op, what: str, given: Sequence[Type], wanted: Sequence[Type]) -> None:
    if list(given) != list(wanted):
        raise VerifyError(op, f"{what} {_text(given)}, expected {_text(wanted)}")


def _expect_terminator(op: Op, block: Block, name: str) -> Op:
    last = block.last
    if last is None or last.name != name:
        raise VerifyError(op, f"needs a region that ends in '{name}'")
    return last


def _expect_yield(op: Op, region: Region, wanted: Sequence[Type]) -> None:
    _expect_terminator(op, region.block, "scf.yield")
    _expect_types(op, "yields", _types(region.block.terminator.operands), wanted)


def verify_for(op: Any) -> None:
    types = _types(op.inits)
    if not op.lower.type is op.upper.type is op.step.type:
        raise VerifyError(op, "requires one type for lower bound, upper bound and step")
    _expect_types(op, "has results", _types(op.results), types)
    _expect_types(op, "has a body with arguments", _types(op.block.args), [op.lower.type, *types])
    _expect_yield(op, op.body, types)


def verify_if(op: Any) -> None:
    types = _types(op.results)
    if types and not op.else_region.blocks:
        raise VerifyError(op, "has results but no else region")
    for region in op.regions:
        if len(region.blocks) > 1:
            raise VerifyError(op, "has a region of several blocks")
        if region.blocks:
            _expect_types(op, "has a region with arguments", _types(region.block.args), [])
            _expect_yield(op, region, types)


def verify_while(op: Any) -> None:
    _expect_types(op, "has a before region with arguments", _types(op.before_block.args), _types(op.inits))
    condition: Any = _expect_terminator(op, op.before_block, "scf.condition")
    forwarded = _types(condition.arguments)
    _expect_types(op, "has results", _types(op.results), forwarded)
    _expect_types(op, "has an after region with arguments", _types(op.after_block.args), forwarded)
    _expect_yield(op, op.after, _types(op.inits))


def verify_index_switch(op: Any) -> None:
    if len(op.cases) != len(op.case_regions):
        raise VerifyError(op, f"has {len(op.cases)} cases and {len(op.case_regions)} case regions")
    if len(set(op.cases.values)) != len(op.cases):
        raise VerifyError(op, "has a case twice")
    for region in op.regions:
        _expect_yield(op, region, _types(op.results))


def verify_parallel(op: Any) -> None:
    rank = len(op.lower)
    if not rank == len(op.upper) == len(op.step):
        raise VerifyError(op, "needs as many lower bounds as upper bounds and steps")
    _expect_types(op, "has a body with arguments", _types(op.block.args), [index] * rank)
    _expect_types(op, "has results", _types(op.results), _types(op.inits))
    reduce = _expect_terminator(op, op.block, "scf.reduce")
    _expect_types(op, "reduces", _types(reduce.operands), _types(op.inits))


def verify_reduce(op: Any) -> None:
    if len(op.combiners) != len(op.values):
        raise VerifyError(op, f"has {len(op.values)} values and {len(op.combiners)} regions")
    for value, region in zip(op.values, op.combiners, strict=True):
        _expect_types(op, "has a region with arguments", _types(region.block.args), [value.type] * 2)
        last = _expect_terminator(op, region.block, "scf.reduce.return")
        _expect_types(op, "combines to", _types(last.operands), [value.type])


def verify_forall(op: Any) -> None:
    rank = op.rank
    if not rank == len(op.static_lower) == len(op.static_step):
        raise VerifyError(op, "needs as many lower bounds as upper bounds and steps")
    for bounds, dynamic in (
        (op.static_lower, op.dynamic_lower),
        (op.static_upper, op.dynamic_upper),
        (op.static_step, op.dynamic_step),
    ):
        if sum(b == -(1 << 63) for b in bounds) != len(dynamic):
            raise VerifyError(op, "needs one operand per dynamic bound")
    types = _types(op.outputs)
    _expect_types(op, "has results", _types(op.results), types)
    _expect_types(op, "has a body with arguments", _types(op.block.args), [index] * rank + types)
    _expect_terminator(op, op.block, "scf.forall.in_parallel")
