"""Numpy meanings of ``index``: those of ``arith`` at 64 bits."""

from __future__ import annotations

from typing import Any

import numpy as np

from iree_core_ir.dialects import index
from iree_core_ir.interpreter import Frame, implements
from iree_core_ir.interpreters import indices, integers
from iree_core_ir.interpreters.arith import integer_binary, signed_cast, unsigned_cast
from iree_core_ir.interpreters.integers import integer_format
from iree_core_ir.interpreters.values import finish

for _cls in (
    index.Add, index.Sub, index.Mul, index.DivS, index.DivU, index.CeilDivS, index.CeilDivU,
    index.FloorDivS, index.RemS, index.RemU, index.MaxS, index.MaxU, index.MinS, index.MinU, index.Shl,
    index.ShrS, index.ShrU, index.And, index.Or, index.XOr,
):  # fmt: skip
    integer_binary(_cls, _cls.name.partition(".")[2])

implements(index.CastS)(signed_cast)
implements(index.CastU)(unsigned_cast)


@implements(index.Constant, index.BoolConstant)
def constant(frame: Frame, op: index.Constant | index.BoolConstant) -> Any:
    return frame.constant(op.value)


@implements(index.Cmp)
def cmp(frame: Frame, op: index.Cmp, a: Any, b: Any) -> Any:
    if a.__class__ is int and b.__class__ is int:
        return np.bool_(indices.COMPARE[op.predicate_name](a, b))
    f = integer_format(op.operands[0].type)
    return finish(integers.COMPARE[op.predicate_name](f, a, b), a, b)


@implements(index.SizeOf)
def sizeof(frame: Frame, op: index.SizeOf) -> int:
    return 64
