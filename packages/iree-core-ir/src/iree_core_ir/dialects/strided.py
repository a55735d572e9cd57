"""Strided layouts of memrefs: strides and offset of a type, and types from strides and offset."""

from __future__ import annotations

from collections.abc import Sequence

from iree_core_ir.ir.attributes import AffineMapAttr, Attribute, Type
from iree_core_ir.ir.types import DYNAMIC, MemRefType, StridedLayoutAttr


def identity_strides(shape: Sequence[int]) -> tuple[int, ...]:
    """Row-major strides in elements; DYNAMIC left of a dynamic dim."""
    strides = []
    step = 1
    for size in reversed(shape):
        strides.append(step)
        step = DYNAMIC if DYNAMIC in (size, step) else step * size
    return tuple(reversed(strides))


def strides_and_offset(type: MemRefType) -> tuple[tuple[int, ...], int]:
    """Strides and offset in elements, DYNAMIC where unknown. Raises ValueError for another layout."""
    layout = type.layout
    if layout is None or (isinstance(layout, AffineMapAttr) and layout.value.is_identity):
        return identity_strides(type.shape), 0
    if isinstance(layout, StridedLayoutAttr):
        return layout.strides, layout.offset
    raise ValueError(f"{type} has no strided layout")


def strided_type(
    shape: Sequence[int],
    element_type: Type,
    strides: Sequence[int],
    offset: int,
    memory_space: Attribute | None = None,
) -> MemRefType:
    """The memref type; without layout when strides and offset are those of row-major order."""
    layout: StridedLayoutAttr | None = StridedLayoutAttr(strides, offset)
    if offset == 0 and tuple(strides) == identity_strides(shape) and DYNAMIC not in strides:
        layout = None
    return MemRefType(shape, element_type, layout, memory_space)


def add_dims(a: int, b: int) -> int:
    """Sum, DYNAMIC when either is."""
    return DYNAMIC if DYNAMIC in (a, b) else a + b


def mul_dims(a: int, b: int) -> int:
    """Product, DYNAMIC when either is (0 times anything is 0)."""
    if 0 in (a, b):
        return 0
    return DYNAMIC if DYNAMIC in (a, b) else a * b
