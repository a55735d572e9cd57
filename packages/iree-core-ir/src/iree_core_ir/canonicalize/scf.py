"""Canonical forms of ``scf``: what is known at compile time is decided, carried values are needed ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from iree_core_ir.dialects import arith, scf
from iree_core_ir.dialects.arith_attributes import constant_attribute
from iree_core_ir.dialects.mixed import staticize
from iree_core_ir.ir.attributes import ArrayAttr
from iree_core_ir.ir.effects import is_pure
from iree_core_ir.ir.known_values import known_integer
from iree_core_ir.ir.operation import Block, Op, Region, Value
from iree_core_ir.ir.types import ShapedType, i1
from iree_core_ir.rewriter import Rewriter, pattern


def inline(op: Op, block: Block, arguments: Sequence[Value], rewriter: Rewriter) -> None:
    """Replace ``op`` by the ops of ``block``, whose terminator's operands become the results."""
    terminator = block.terminator
    rewriter.inline_block(block, op, arguments)
    values = terminator.operands
    rewriter.erase(terminator)
    rewriter.replace(op, values)


def _only(region: Region) -> Block | None:
    return region.blocks[0] if len(region.blocks) == 1 else None


# -- if -------------------------------------------------------------------------------------------


@pattern(scf.If, benefit=3)
def if_with_known_condition(op: scf.If, rewriter: Rewriter) -> bool:
    known = known_integer(op.condition)
    if known is None:
        return False
    block = _only(op.then_region if known else op.else_region)
    if block is None:
        rewriter.erase(op)  # no else and no results
    else:
        inline(op, block, (), rewriter)
    return True


@pattern(scf.If)
def if_without_purpose(op: scf.If, rewriter: Rewriter) -> bool:
    """An else that does nothing goes; so does an if without results whose then does nothing either."""
    if op.results:
        return False
    otherwise = op.else_block
    if otherwise is not None and len(otherwise.ops) == 1:
        region = op.else_region
        rewriter.erase(otherwise.terminator)
        region.blocks = []
        rewriter.modified(op)
        return True
    if otherwise is None and len(op.then_block.ops) == 1:
        rewriter.erase(op)
        return True
    return False


@pattern(scf.If)
def if_to_select(op: scf.If, rewriter: Rewriter) -> bool:
    """A result that both branches take from outside becomes a select (or the value itself)."""
    otherwise = op.else_block
    if otherwise is None or not op.results:
        return False
    then_yield, else_yield = op.then_block.terminator, otherwise.terminator
    outside = [
        not (_inside(op, a) or _inside(op, b))
        for a, b in zip(then_yield.operands, else_yield.operands, strict=True)
    ]
    # Only when no branch is left, and for scalars: a tensor would be computed element by element.
    empty = len(op.then_block.ops) == 1 and len(otherwise.ops) == 1
    chosen = [
        out and (a is b or (empty and not isinstance(a.type, ShapedType)))
        for out, a, b in zip(outside, then_yield.operands, else_yield.operands, strict=True)
    ]
    if not any(chosen):
        return False
    values: list[Value | None] = []
    for choose, a, b in zip(chosen, then_yield.operands, else_yield.operands, strict=True):
        if not choose:
            values.append(None)
        else:
            values.append(a if a is b else rewriter.create(arith.Select, op.condition, a, b).result)
    _replace_results(op, values, rewriter)
    return True


def _inside(op: Op, value: Value) -> bool:
    block = value.parent_block
    owner = block.parent.parent if block is not None and block.parent is not None else None
    return owner is not None and op.is_ancestor_of(owner)


def _replace_results(op: scf.If, values: Sequence[Value | None], rewriter: Rewriter) -> None:
    """Replace the results that have a value; the op goes on with the others."""
    kept = [i for i, value in enumerate(values) if value is None]
    for region in op.regions:
        terminator = region.block.terminator
        rewriter.set_operands(terminator, [terminator.operands[i] for i in kept])
    new = rewriter.insert(
        scf.If((op.condition,), [op.results[i].type for i in kept], dict(op.attributes), _taken(op))
    )
    fresh = iter(new.results)
    rewriter.replace(op, [next(fresh) if value is None else value for value in values])


def _taken(op: Op) -> list[Region]:
    """The op's blocks in new regions."""
    regions = []
    for region in op.regions:
        new = Region()
        new.take_blocks(region)
        regions.append(new)
    return regions


@pattern(scf.If)
def if_unused_results(op: scf.If, rewriter: Rewriter) -> bool:
    """Results nobody uses are not yielded."""
    if not op.results or all(value.uses for value in op.results):
        return False
    kept = [i for i, value in enumerate(op.results) if value.uses]
    for region in op.regions:
        terminator = region.block.terminator
        rewriter.set_operands(terminator, [terminator.operands[i] for i in kept])
    new = rewriter.insert(
        scf.If((op.condition,), [op.results[i].type for i in kept], dict(op.attributes), _taken(op))
    )
    for i, value in zip(kept, new.results, strict=True):
        rewriter.replace_value(op.results[i], value)
    rewriter.erase(op)
    return True


@pattern(scf.If)
def condition_inside_branches(op: scf.If, rewriter: Rewriter) -> bool:
    """Inside the branches the condition is known."""
    changed = False
    for region, value in ((op.then_region, 1), (op.else_region, 0)):
        for user in op.condition.users:
            if user is op or not region.blocks or not _in_region(user, region):
                continue
            block = region.block
            with rewriter.at(block, block.first):
                constant = rewriter.create(arith.Constant, constant_attribute(value, i1)).result
            operands = [constant if v is op.condition else v for v in user.operands]
            rewriter.set_operands(user, operands)
            changed = True
    return changed


def _in_region(op: Op, region: Region) -> bool:
    block = op.parent
    while block is not None:
        if block.parent is region:
            return True
        owner = block.parent.parent if block.parent is not None else None
        block = owner.parent if owner is not None else None
    return False


# -- for -----------------------------------------------------------------------------------------


def trip_count(op: scf.For) -> int | None:
    """How often the loop runs, when its bounds are known."""
    if op.lower is op.upper:
        return 0
    lower, upper, step = (known_integer(v) for v in (op.lower, op.upper, op.step))
    if lower is None or upper is None or step is None or step <= 0 or op.unsigned_compare is not None:
        return None
    return max(0, -((lower - upper) // step))


@pattern(scf.For, benefit=3)
def for_with_known_trips(op: scf.For, rewriter: Rewriter) -> bool:
    """No trip: the initial values. One trip: the body."""
    trips = trip_count(op)
    if trips == 0:
        rewriter.replace(op, list(op.inits))
        return True
    if trips == 1:
        inline(op, op.block, [op.lower, *op.inits], rewriter)
        return True
    return False


def _carry_again(op: scf.For, kept: Sequence[int], rewriter: Rewriter) -> scf.For:
    """The same loop with only the carried values ``kept``; the arguments of others must be unused."""
    terminator = op.block.terminator
    rewriter.set_operands(terminator, [terminator.operands[i] for i in kept])
    dropped = [i for i in range(len(op.inits)) if i not in kept]
    for i in reversed(dropped):
        op.block.erase_arg(i + 1)
    operands = [op.lower, op.upper, op.step, *(op.inits[i] for i in kept)]
    new = scf.For(operands, [op.results[i].type for i in kept], dict(op.attributes), _taken(op))
    return rewriter.insert(new)


@pattern(scf.For)
def for_carried_values(op: scf.For, rewriter: Rewriter) -> bool:
    """Carried values that never change become their initial values; unused ones go."""
    terminator = op.block.terminator
    kept: list[int] = []
    for i, (argument, result, init, next_value) in enumerate(
        zip(op.iter_args, op.results, op.inits, terminator.operands, strict=True)
    ):
        if next_value is argument or next_value is init:
            # Never changed: every use, inside and behind, is the initial value.
            rewriter.replace_value(argument, init)
            rewriter.replace_value(result, init)
        elif result.uses or not _only_feeds_itself(argument, next_value, terminator):
            kept.append(i)
    if len(kept) == len(op.inits):
        return False
    # An argument that only feeds itself is still used by the ops on the way: cut it off.
    for i in range(len(op.inits)):
        argument = op.iter_args[i]
        if i not in kept and argument.uses:
            rewriter.replace_value(argument, op.inits[i])
    new = _carry_again(op, kept, rewriter)
    for i, value in zip(kept, new.results, strict=True):
        rewriter.replace_value(op.results[i], value)
    rewriter.erase(op)
    return True


def _only_feeds_itself(argument: Value, next_value: Value, terminator: Op) -> bool:
    """Nothing but pure ops between a carried value and its next one uses it."""
    seen: set[Op] = set()
    stack = argument.users
    while stack:
        user = stack.pop()
        if user is terminator:
            position = [i for i, v in enumerate(user.operands) if v is not next_value and v is argument]
            if position:
                return False
            continue
        if user in seen:
            continue
        seen.add(user)
        if user.parent is not terminator.parent or not is_pure(user) or user.regions:
            return False
        for value in user.results:
            for other in value.users:
                if other is terminator:
                    if value is not next_value:
                        return False
                else:
                    stack.append(other)
    return sum(v is next_value for v in terminator.operands) == 1


# -- while ---------------------------------------------------------------------------------------


@pattern(scf.While)
def while_never(op: scf.While, rewriter: Rewriter) -> bool:
    """A condition that is false at once: the before block runs once."""
    condition: Any = op.before_block.terminator
    if known_integer(condition.condition) != 0:
        return False
    rewriter.inline_block(op.before_block, op, list(op.inits))
    values = list(condition.arguments)
    rewriter.erase(condition)
    rewriter.replace(op, values)
    return True


@pattern(scf.While)
def while_condition_known_inside(op: scf.While, rewriter: Rewriter) -> bool:
    """In the body the condition is true."""
    condition: Any = op.before_block.terminator
    changed = False
    for argument, value in zip(op.after_block.args, condition.arguments, strict=True):
        if value is condition.condition and argument.uses:
            with rewriter.at(op.after_block, op.after_block.first):
                true = rewriter.create(arith.Constant, constant_attribute(1, i1)).result
            rewriter.replace_value(argument, true)
            changed = True
    return changed


@pattern(scf.While)
def while_invariant_values(op: scf.While, rewriter: Rewriter) -> bool:
    """A carried value that the body yields unchanged is its initial value."""
    yields = op.after_block.terminator.operands
    condition: Any = op.before_block.terminator
    changed = False
    for i, (argument, init, next_value) in enumerate(
        zip(op.before_block.args, op.inits, yields, strict=True)
    ):
        same = next_value is init
        if not same and next_value.owner is op.after_block:
            same = condition.arguments[next_value.index] is op.before_block.args[i]
        if same and argument.uses:
            rewriter.replace_value(argument, init)
            changed = True
    return changed


@pattern(scf.While)
def while_forwarded_from_outside(op: scf.While, rewriter: Rewriter) -> bool:
    """A forwarded value from outside of the loop is used directly."""
    condition: Any = op.before_block.terminator
    changed = False
    for argument, result, value in zip(op.after_block.args, op.results, condition.arguments, strict=True):
        if not _inside(op, value):
            for forwarded in (argument, result):
                if forwarded.uses:
                    rewriter.replace_value(forwarded, value)
                    changed = True
    return changed


@pattern(scf.While)
def while_unused_arguments(op: scf.While, rewriter: Rewriter) -> bool:
    """Values the before block does not use are not carried."""
    dropped = [i for i, argument in enumerate(op.before_block.args) if not argument.uses]
    if not dropped:
        return False
    terminator = op.after_block.terminator
    kept = [i for i in range(len(op.inits)) if i not in dropped]
    rewriter.set_operands(terminator, [terminator.operands[i] for i in kept])
    for i in reversed(dropped):
        op.before_block.erase_arg(i)
    new = rewriter.insert(
        scf.While([op.inits[i] for i in kept], [v.type for v in op.results], dict(op.attributes), _taken(op))
    )
    rewriter.replace(op, new)
    return True


@pattern(scf.While)
def while_unused_results(op: scf.While, rewriter: Rewriter) -> bool:
    """Forwarded values that neither the body nor anyone behind uses are not forwarded."""
    arguments = op.after_block.args
    kept = [i for i, result in enumerate(op.results) if result.uses or arguments[i].uses]
    if len(kept) == len(op.results):
        return False
    condition: Any = op.before_block.terminator
    rewriter.set_operands(condition, [condition.condition, *(condition.arguments[i] for i in kept)])
    for i in reversed(range(len(op.results))):
        if i not in kept:
            op.after_block.erase_arg(i)
    new = rewriter.insert(
        scf.While(op.operands, [op.results[i].type for i in kept], dict(op.attributes), _taken(op))
    )
    for i, value in zip(kept, new.results, strict=True):
        rewriter.replace_value(op.results[i], value)
    rewriter.erase(op)
    return True


# -- execute_region, index_switch, parallel, forall ----------------------------------------------------


@pattern(scf.ExecuteRegion)
def execute_single_block(op: scf.ExecuteRegion, rewriter: Rewriter) -> bool:
    block = _only(op.body)
    if block is None or op.no_inline is not None or not isinstance(block.terminator, scf.Yield):
        return False
    inline(op, block, (), rewriter)
    return True


@pattern(scf.IndexSwitch)
def index_switch_with_known_value(op: scf.IndexSwitch, rewriter: Rewriter) -> bool:
    known = known_integer(op.value)
    if known is None:
        if op.case_regions:
            return False
        region = op.default_region
    else:
        chosen = [r for case, r in zip(op.cases, op.case_regions, strict=True) if case == known]
        region = chosen[0] if chosen else op.default_region
    inline(op, region.block, (), rewriter)
    return True


@pattern(scf.Parallel)
def parallel_without_iterations(op: scf.Parallel, rewriter: Rewriter) -> bool:
    """An empty box: the initial values."""
    for lower, upper in zip(op.lower, op.upper, strict=True):
        low, high = known_integer(lower), known_integer(upper)
        if lower is upper or (low is not None and high is not None and low >= high):
            rewriter.replace(op, list(op.inits))
            return True
    return False


@pattern(scf.ForAll)
def forall_static_bounds(op: scf.ForAll, rewriter: Rewriter) -> bool:
    """Bounds that are constants become static."""
    before = (op.lower, op.upper, op.step)
    lower, upper, step = after = tuple(staticize(mixed) for mixed in before)
    if before == after:
        return False
    mapping = op.mapping if isinstance(op.mapping, ArrayAttr) else None
    new = scf.ForAll.make(lower, upper, step, op.outputs, mapping)
    keys = ("operandSegmentSizes", "staticLowerBound", "staticUpperBound", "staticStep")
    new.attributes.update({k: v for k, v in op.attributes.items() if k not in keys})
    new.body.blocks = []
    new.body.take_blocks(op.body)
    rewriter.insert(new)
    rewriter.replace(op, new)
    return True


@pattern(scf.ForAll)
def forall_without_instances(op: scf.ForAll, rewriter: Rewriter) -> bool:
    """An empty box: the outputs as they were."""
    for lower, upper in zip(op.lower, op.upper, strict=True):
        if isinstance(lower, int) and isinstance(upper, int) and lower >= upper:
            rewriter.replace(op, list(op.outputs))
            return True
    return False


PATTERNS = [
    if_with_known_condition,
    if_without_purpose,
    if_to_select,
    if_unused_results,
    condition_inside_branches,
    for_with_known_trips,
    for_carried_values,
    while_never,
    while_condition_known_inside,
    while_invariant_values,
    while_forwarded_from_outside,
    while_unused_arguments,
    while_unused_results,
    execute_single_block,
    index_switch_with_known_value,
    parallel_without_iterations,
    forall_static_bounds,
    forall_without_instances,
]
