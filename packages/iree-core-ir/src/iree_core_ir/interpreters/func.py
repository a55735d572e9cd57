"""Meanings of func: calls; ``return`` hands its operands to the caller."""

from __future__ import annotations

from typing import Any

from iree_core_ir.dialects import func
from iree_core_ir.interpreter import Frame, implements


@implements(func.CallOp)
def call(frame: Frame, op: func.CallOp, *arguments: Any) -> Any:
    return frame.interpreter.invoke(frame.lookup(op, op.callee), arguments)


@implements(func.ConstantOp)
def constant(frame: Frame, op: func.ConstantOp) -> Any:
    return frame.lookup(op, op.value)


@implements(func.CallIndirectOp)
def call_indirect(frame: Frame, op: func.CallIndirectOp, callee: Any, *arguments: Any) -> Any:
    return frame.interpreter.invoke(callee, arguments)
