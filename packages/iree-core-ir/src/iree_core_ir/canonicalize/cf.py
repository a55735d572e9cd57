"""Canonical forms of ``cf``: known branches taken, empty blocks skipped, chains of blocks joined.

Blocks that become unreachable are removed by the canonicalize pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from iree_core_ir.dialects import arith, cf
from iree_core_ir.dialects.arith_attributes import constant_attribute
from iree_core_ir.ir.known_values import known_integer
from iree_core_ir.ir.operation import Block, Op, Value
from iree_core_ir.ir.types import FloatType, IndexType, IntegerType, i1
from iree_core_ir.rewriter import Rewriter, pattern


@pattern(cf.Assert)
def assert_true(op: cf.Assert, rewriter: Rewriter) -> bool:
    if known_integer(op.argument) != 1:
        return False
    rewriter.erase(op)
    return True


def _predecessors(block: Block) -> list[Op]:
    """Terminators of the region that name ``block``, each as often as it does."""
    assert block.parent is not None
    found: list[Op] = []
    for other in block.parent.blocks:
        if other.last is not None:
            found += [other.last] * other.last.successors.count(block)
    return found


@pattern(cf.Branch, cf.CondBranch)
def drop_arguments(op: Op, rewriter: Rewriter) -> bool:
    """An argument that nothing but its own branch uses, or that is the same value on every way, is none."""
    for target in dict.fromkeys(op.successors):
        region = target.parent
        if not target.args or region is None or target is region.blocks[0]:
            continue
        incoming = [
            (other, i) for other in dict.fromkeys(_predecessors(target)) for i in range(len(other.successors))
        ]
        incoming = [(other, i) for other, i in incoming if other.successors[i] is target]
        passed = [(cf.branch_arguments(other) or [[]] * (i + 1))[i] for other, i in incoming]
        if any(len(values) != len(target.args) for values in passed):
            continue
        for position, argument in enumerate(target.args):
            given = dict.fromkeys(values[position] for values in passed if values[position] is not argument)
            if argument.uses and len(given) == 1:
                rewriter.replace_value(argument, next(iter(given)))
                # The branches that passed the argument on pass what it stands for.
                return True
            if not _only_passed_to_itself(argument, target, position):
                continue
            for other in dict.fromkeys(other for other, _ in incoming):
                kept = [
                    values[:position] + values[position + 1 :] if other.successors[i] is target else values
                    for i, values in enumerate(cf.branch_arguments(other) or [])
                ]
                with rewriter.before(other):
                    _replace_terminator(other, cf.rebuilt_branch(other, other.successors, kept), rewriter)
            target.erase_arg(position)
            return True
    return False


def _only_passed_to_itself(argument: Value, target: Block, position: int) -> bool:
    for user in argument.uses:
        arguments = cf.branch_arguments(user)
        if arguments is None or argument in user.operands[: len(user.operands) - sum(map(len, arguments))]:
            return False
        for successor, values in zip(user.successors, arguments, strict=True):
            for i, value in enumerate(values):
                if value is argument and (successor is not target or i != position):
                    return False
    return True


def _replace_terminator(op: Op, new: Op, rewriter: Rewriter) -> None:
    rewriter.insert(new)
    rewriter.erase(op)


@pattern(cf.Branch)
def join_with_only_successor(op: cf.Branch, rewriter: Rewriter) -> bool:
    """A block reached only from here continues here."""
    target = op.target
    region = target.parent
    if region is None or target is op.parent or target is region.blocks[0] or len(_predecessors(target)) != 1:
        return False
    arguments = op.arguments
    if any(argument.parent_block is target for argument in arguments):
        return False  # an unreachable cycle
    rewriter.inline_block(target, op, arguments)
    rewriter.erase(op)
    region.blocks.remove(target)
    target.parent = None
    return True


def _passed_through(target: Block, arguments: Sequence[Value]) -> tuple[Block, list[Value]] | None:
    """Where a block that holds nothing but a branch leads, with which arguments."""
    last = target.last
    if not isinstance(last, cf.Branch) or target.first is not last or last.target is target:
        return None
    # Its arguments must not be used further on, where it would no longer dominate.
    if any(user is not last for argument in target.args for user in argument.uses):
        return None
    mapping: dict[Value, Value] = dict(zip(target.args, arguments, strict=True))
    return last.target, [mapping.get(value, value) for value in last.arguments]


@pattern(cf.Branch)
def branch_through(op: cf.Branch, rewriter: Rewriter) -> bool:
    passed = _passed_through(op.target, op.arguments)
    if passed is None:
        return False
    _replace_terminator(op, cf.Branch.make(*passed), rewriter)
    return True


@pattern(cf.CondBranch)
def cond_branch_through(op: cf.CondBranch, rewriter: Rewriter) -> bool:
    true = _passed_through(op.true_target, op.true_arguments)
    false = _passed_through(op.false_target, op.false_arguments)
    if true is None and false is None:
        return False
    then = true or (op.true_target, list(op.true_arguments))
    otherwise = false or (op.false_target, list(op.false_arguments))
    new = cf.rebuilt_branch(op, [then[0], otherwise[0]], [then[1], otherwise[1]])
    _replace_terminator(op, new, rewriter)
    return True


@pattern(cf.CondBranch)
def cond_branch_known(op: cf.CondBranch, rewriter: Rewriter) -> bool:
    """A constant condition, or the same place either way."""
    known = known_integer(op.condition)
    if known is None:
        if op.true_target is not op.false_target:
            return False
        if op.true_arguments != op.false_arguments:
            return _select_arguments(op, rewriter)
        known = 1
    target, arguments = (
        (op.true_target, op.true_arguments) if known else (op.false_target, op.false_arguments)
    )
    _replace_terminator(op, cf.Branch.make(target, arguments), rewriter)
    return True


def _select_arguments(op: cf.CondBranch, rewriter: Rewriter) -> bool:
    """One target with different arguments: select them and branch. Scalars only: the memory of one of two
    tensors is what the branch chooses, without touching an element.
    """
    differing = [a for a, b in zip(op.true_arguments, op.false_arguments, strict=True) if a is not b]
    if not all(isinstance(a.type, (IndexType, IntegerType, FloatType)) for a in differing):
        return False
    arguments = [
        a if a is b else rewriter.create(arith.Select, op.condition, a, b).result
        for a, b in zip(op.true_arguments, op.false_arguments, strict=True)
    ]
    _replace_terminator(op, cf.Branch.make(op.true_target, arguments), rewriter)
    return True


@pattern(cf.CondBranch)
def condition_known_behind(op: cf.CondBranch, rewriter: Rewriter) -> bool:
    """In a block reached only through one side the condition is known."""
    changed = False
    for target, value in ((op.true_target, 1), (op.false_target, 0)):
        if op.true_target is op.false_target or len(_predecessors(target)) != 1:
            continue
        users: list[Any] = [user for user in op.condition.users if user.parent is target]
        if not users:
            continue
        with rewriter.at(target, target.first):
            constant = rewriter.create(arith.Constant, constant_attribute(value, i1)).result
        for user in users:
            rewriter.set_operands(user, [constant if v is op.condition else v for v in user.operands])
        changed = True
    return changed


@pattern(cf.Switch)
def switch_known(op: cf.Switch, rewriter: Rewriter) -> bool:
    """A constant flag, or no cases."""
    known = known_integer(op.flag)
    cases = op.cases
    if known is None and cases:
        return False
    target, arguments = op.default_target, op.default_arguments
    for value, block, values in cases:
        if value == known:
            target, arguments = block, values
            break
    _replace_terminator(op, cf.Branch.make(target, arguments), rewriter)
    return True


@pattern(cf.Switch)
def switch_drop_default_cases(op: cf.Switch, rewriter: Rewriter) -> bool:
    """A case that goes where the default goes is no case."""
    cases = op.cases
    kept = [c for c in cases if c[1] is not op.default_target or c[2] != op.default_arguments]
    if len(kept) == len(cases):
        return False
    new = cf.Switch.make(op.flag, op.default_target, op.default_arguments, kept)
    _replace_terminator(op, new, rewriter)
    return True


PATTERNS = [
    assert_true,
    cond_branch_known,
    switch_known,
    switch_drop_default_cases,
    join_with_only_successor,
    branch_through,
    cond_branch_through,
    drop_arguments,
    condition_known_behind,
]
