"""How many lanes the vectors of a dispatch have: the native width over the widest common element."""

from __future__ import annotations

from typing import Any

from iree_codegen.dispatch import Dispatch
from iree_core_ir.ir.types import TensorType


def lane_count(dispatch: Dispatch, vector_bits: int) -> int:
    """Lanes of the native width for 32-bit elements; half as many when most of the data is 64-bit.

    Narrow types use the same lanes (a part of a register), so that conversions keep the lane count.
    """
    if vector_bits < 64:
        return 1
    widths = [_width(binding.value.type) for binding in dispatch.bindings]
    for op in dispatch.ops:
        widths += [_width(r.type) for r in op.results if isinstance(r.type, TensorType)]
    wide = sum(w > 32 for w in widths)
    return vector_bits // (64 if 2 * wide > len(widths) else 32)


def _width(type: Any) -> int:
    element = type.element_type
    return getattr(element, "width", 64)
