"""Numpy meanings of ``cf``: where control goes next."""

from __future__ import annotations

from typing import Any

from iree_core_ir.dialects import cf
from iree_core_ir.errors import FailedAssert
from iree_core_ir.interpreter import Frame, Jump, implements, implements_terminator


@implements(cf.Assert)
def assert_(frame: Frame, op: cf.Assert, argument: Any) -> None:
    if not argument:
        error = FailedAssert(12, op.message.value, source=op.location.user_text())
        error.op = op
        raise error


@implements_terminator(cf.Branch)
def branch(frame: Frame, op: cf.Branch, *arguments: Any) -> Jump:
    return Jump(op.target, arguments)


@implements_terminator(cf.CondBranch)
def cond_branch(frame: Frame, op: cf.CondBranch, condition: Any, *arguments: Any) -> Jump:
    split = len(op.true_arguments)
    if condition:
        return Jump(op.true_target, arguments[:split])
    return Jump(op.false_target, arguments[split:])


@implements_terminator(cf.Switch)
def switch(frame: Frame, op: cf.Switch, flag: Any, *arguments: Any) -> Jump:
    values = frame.values
    for value, target, operands in op.cases:
        if int(flag) == value:
            return Jump(target, [values[operand] for operand in operands])
    return Jump(op.default_target, arguments[: len(op.default_arguments)])
