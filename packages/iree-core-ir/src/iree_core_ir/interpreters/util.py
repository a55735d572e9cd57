"""Numpy meanings of ``util``."""

from __future__ import annotations

from typing import Any

import numpy as np

from iree_base.element_types import element_type
from iree_core_ir.dialects import util
from iree_core_ir.errors import CoreIrError
from iree_core_ir.interpreter import Frame, implements, implements_terminator
from iree_core_ir.interpreters import globals
from iree_core_ir.interpreters.integers import integer_format
from iree_core_ir.interpreters.values import finish_integer


@implements(util.GlobalLoad)
def global_load(frame: Frame, op: util.GlobalLoad) -> Any:
    return globals.load(frame, op, op.global_name)


@implements(util.GlobalStore)
def global_store(frame: Frame, op: util.GlobalStore, value: Any) -> None:
    globals.store(frame, op, op.global_name, value)


@implements(util.Align)
def align(frame: Frame, op: util.Align, value: Any, alignment: Any) -> Any:
    f = integer_format(op.value.type)
    one = f.unsigned.type(1)
    mask = np.asarray(f.as_unsigned(alignment) - one)
    return finish_integer(f, (f.as_unsigned(value) + mask) & ~mask, value)


@implements(util.SizeOf)
def sizeof(frame: Frame, op: util.SizeOf) -> int:
    return element_type(str(op.sized_type.value)).bytes


@implements(util.UnfoldableConstant)
def unfoldable_constant(frame: Frame, op: util.UnfoldableConstant) -> Any:
    return frame.constant(op.value)


@implements(util.OptimizationBarrier)
def optimization_barrier(frame: Frame, op: util.OptimizationBarrier, *values: Any) -> Any:
    return values


@implements(util.AssumeInt)
def assume_int(frame: Frame, op: util.AssumeInt, *values: Any) -> Any:
    """Its operands, after checking that they are as the assumptions of some call site say."""
    numbers = [
        int(np.asarray(integer_format(operand.type).as_unsigned(value)))
        for operand, value in zip(op.values, values, strict=True)
    ]
    rows = op.rows
    for site in range(max((len(row) for row in rows), default=0)):
        if all(
            row[site if len(row) > 1 else 0].holds(number)
            for row, number in zip(rows, numbers, strict=True)
            if row
        ):
            return values
    if not any(rows):
        return values
    raise CoreIrError(12, f"{op.name}: {numbers} is not as assumed", source=op.location.user_text())


@implements(util.BroadcastDim)
def broadcast_dim(frame: Frame, op: util.BroadcastDim, a: Any, b: Any) -> Any:
    if a == b or b == 1:
        return a
    if a == 1:
        return b
    raise CoreIrError(12, f"dimensions {a} and {b} do not broadcast", source=op.location.user_text())


@implements_terminator(util.Unreachable)
def unreachable(frame: Frame, op: util.Unreachable) -> Any:
    raise CoreIrError(12, op.message.value, source=op.location.user_text())
