"""Which ops a CPU kernel can hold: everything dense that the plain loops accept."""

from __future__ import annotations

import functools
from typing import Any

from iree_core_ir.ir.types import ComplexType, FloatType, IndexType, IntegerType, TensorType
from iree_core_ir.target import Support

DIALECTS = frozenset({"linalg", "linalg_ext", "tensor", "arith", "math", "scf", "affine", "index"})
FLOATS = frozenset({"f16", "bf16", "f32", "f64", "f8E4M3FN", "f8E5M2", "f8E4M3FNUZ", "f8E5M2FNUZ"})


def query_support(op: Any) -> Support:
    """Yes, or no with the reason."""
    dialect = op.name.partition(".")[0]
    if dialect not in DIALECTS:
        return Support.no(f"{op.name}: no kernels for dialect {dialect}")
    types = dict.fromkeys([v.type for v in (*op.operands, *op.results)])
    if op.regions:
        # A body may read tensors that are no operands.
        types |= dict.fromkeys(
            [v.type for inner in op.walk() for v in inner.operands if isinstance(v.type, TensorType)]
        )
    for type in types:
        reason = type_reason(type.element_type if isinstance(type, TensorType) else type)
        if reason is not None:
            return Support.no(f"{op.name}: {reason}")
    return Support.yes()


@functools.lru_cache(maxsize=256)
def type_reason(type: Any) -> str | None:
    """Why kernels cannot hold an element of ``type``; None when they can."""
    if isinstance(type, FloatType):
        return None if type.name in FLOATS else f"element type {type}"
    if isinstance(type, IntegerType):
        return None if type.width in (1, 8, 16, 32, 64) else f"element type {type}"
    if isinstance(type, ComplexType):
        return f"element type {type}"
    return None if isinstance(type, IndexType) else f"type {type}"
