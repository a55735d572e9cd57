"""Shapes that may be equal at run time."""

from __future__ import annotations

from collections.abc import Sequence

from iree_core_ir.ir.types import DYNAMIC


def compatible(a: int, b: int) -> bool:
    """Two dims that may be equal at run time."""
    return DYNAMIC in (a, b) or a == b


def compatible_shapes(a: Sequence[int], b: Sequence[int]) -> bool:
    """Shapes of one rank whose static dims agree."""
    return len(a) == len(b) and all(map(compatible, a, b))
