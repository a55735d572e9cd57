"""Effects that depend on the operands: pure on tensors, reading or writing memory on memrefs."""

from __future__ import annotations

from typing import Any

from iree_core_ir.ir.effects import is_pure
from iree_core_ir.ir.operation import Op
from iree_core_ir.ir.traits import PURE, READS
from iree_core_ir.ir.types import MemRefType


class EffectsByOperands:
    """``traits`` of such an op class: the declared set, with PURE for READS when nothing touches memory.

    That is when no operand is a memref and the body, if there is one, is pure.

    Read on the class, it is the declared set.
    """

    def __init__(self, declared: frozenset[str]) -> None:
        self.declared = declared
        self.pure = (declared - {READS}) | {PURE}

    def __get__(self, op: Op | None, owner: type[Op]) -> frozenset[str]:
        if op is None:
            return self.declared
        for value in op.operands:
            if isinstance(value.type, MemRefType):
                return self.declared
        for region in op.regions:
            for block in region.blocks:
                if not all(inner is block.last or is_pure(inner) for inner in block):
                    return self.declared
        return self.pure


class TensorOrMemRefOp(Op):
    """Base of ops that work on tensors as values and on memrefs as memory."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.traits = EffectsByOperands(cls.traits)  # type: ignore[assignment]
