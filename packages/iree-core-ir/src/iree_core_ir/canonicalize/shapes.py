"""Helpers of canonicalizations that make types more static."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from iree_core_ir.dialects import tensor
from iree_core_ir.dialects.mixed import Mixed
from iree_core_ir.ir.operation import Op, Value
from iree_core_ir.ir.types import DYNAMIC, ShapedType
from iree_core_ir.rewriter import Rewriter


def static_type(type: Any, sizes: Sequence[Mixed]) -> Any:
    """``type`` with its dynamic dims replaced by the sizes that are numbers."""
    shape = [
        size if dim == DYNAMIC and isinstance(size, int) and size >= 0 else dim
        for dim, size in zip(type.shape, sizes, strict=True)
    ]
    return type.with_shape(shape) if tuple(shape) != type.shape else type


def more_static(a: Any, b: Any) -> bool:
    """Shaped type ``a`` says all that ``b`` says and more."""
    if not isinstance(a, ShapedType) or not isinstance(b, ShapedType) or a.rank != b.rank:
        return False
    return a is not b and all(x == y or y == DYNAMIC for x, y in zip(a.shape, b.shape, strict=True))


def cast_back(rewriter: Rewriter, value: Value, type: Any) -> Value:
    """``value`` as the type its users expect."""
    return value if value.type is type else rewriter.create(tensor.Cast, value, type).dest


def replace_cast(op: Op, rewriter: Rewriter, cast: type[Op]) -> bool:
    """Replace operands that only a ``cast`` made less static by its source."""
    changed = False
    operands = list(op.operands)
    for i, value in enumerate(operands):
        producer = value.defining_op
        if isinstance(producer, cast) and more_static(producer.operands[0].type, value.type):
            operands[i] = producer.operands[0]
            changed = True
    if changed:
        rewriter.set_operands(op, operands)
    return changed
