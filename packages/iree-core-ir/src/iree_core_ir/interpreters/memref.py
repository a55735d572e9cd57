"""Numpy meanings of ``memref``: a buffer is a numpy view, written in place.

A view's base is the array that owns its memory; a type with a static offset counts it from there.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from iree_core_ir.dialects import memref
from iree_core_ir.dialects.gpu import AddressSpaceAttr
from iree_core_ir.dialects.strided import strides_and_offset
from iree_core_ir.errors import CoreIrError
from iree_core_ir.interpreter import Frame, implements
from iree_core_ir.interpreters.gpu import workgroup_storage
from iree_core_ir.interpreters.memory import (
    check_indices,
    element_offset,
    fresh,
    rebased,
)
from iree_core_ir.interpreters.tensor import (
    box,
    dropped,
    dtype_of,
    expanded,
    mixed_values,
    shape_value,
    slice_numbers,
)
from iree_core_ir.ir.attributes import UnitAttr
from iree_core_ir.ir.types import DYNAMIC, IndexType, MemRefType

Array = np.ndarray[Any, Any]


@implements(memref.Alloc, memref.Alloca)
def alloc(frame: Frame, op: memref.Alloc, *sizes: int) -> Array:
    type = op.memref.type

    def create() -> Array:
        return fresh(shape_value(type, sizes[: len(op.dynamic_sizes)]), dtype_of(type))

    if isinstance(type.memory_space, AddressSpaceAttr) and type.memory_space.value == "workgroup":
        return workgroup_storage(op, create)  # type: ignore[no-any-return]
    return create()


@implements(memref.Dealloc, memref.Prefetch)
def no_effect(frame: Frame, op: Any, *operands: Any) -> None:
    return None


@implements(memref.Load)
def load(frame: Frame, op: memref.Load, source: Array, *indices: int) -> Any:
    check_indices(indices, source.shape)
    value = source[indices]
    return int(value) if isinstance(op.memref.type.element_type, IndexType) else value


@implements(memref.Store)
def store(frame: Frame, op: memref.Store, value: Any, target: Array, *indices: int) -> None:
    check_indices(indices, target.shape)
    target[indices] = value


@implements(memref.Copy)
def copy(frame: Frame, op: memref.Copy, source: Array, target: Array) -> None:
    if source.shape != target.shape:
        raise CoreIrError(12, f"copies shape {list(source.shape)} to {list(target.shape)}")
    target[...] = source.copy() if np.may_share_memory(source, target) else source


@implements(memref.Dim)
def dim(frame: Frame, op: memref.Dim, source: Array, axis: int) -> int:
    if not 0 <= axis < source.ndim:
        raise CoreIrError(12, f"dim {axis} of a memref of rank {source.ndim}")
    return int(source.shape[axis])


@implements(memref.Rank)
def rank(frame: Frame, op: memref.Rank, source: Array) -> int:
    return source.ndim


@implements(memref.Cast, memref.MemorySpaceCast)
def cast(frame: Frame, op: memref.Cast, source: Array) -> Array:
    type = op.dest.type
    if isinstance(type, MemRefType):
        if len(type.shape) != source.ndim or any(
            d not in (DYNAMIC, n) for d, n in zip(type.shape, source.shape, strict=True)
        ):
            raise CoreIrError(12, f"a memref of shape {list(source.shape)} is not {type}")
    return source


@implements(memref.SubView)
def subview(frame: Frame, op: memref.SubView, source: Array, *dynamic: int) -> Array:
    view = box(op, source, dynamic)
    missing = dropped(op, op.result.type.shape)
    # Indexing keeps sharing memory where a reshape might copy.
    return view[(*(0 if i in missing else slice(None) for i in range(view.ndim)), ...)]


def _origin(source: Array, type: Any) -> int:
    """Where the memref's base buffer starts in the owning memory, in elements."""
    if isinstance(type, MemRefType):
        offset = strides_and_offset(type)[1]
        if offset != DYNAMIC:
            return element_offset(source) - offset
    return 0


@implements(memref.ReinterpretCast)
def reinterpret_cast(frame: Frame, op: memref.ReinterpretCast, source: Array, *dynamic: int) -> Array:
    offsets, sizes, strides = slice_numbers(op, dynamic)
    return rebased(source, _origin(source, op.source.type), offsets[0], sizes, strides)


@implements(memref.ExtractStridedMetadata)
def extract_strided_metadata(frame: Frame, op: memref.ExtractStridedMetadata, source: Array) -> Any:
    origin = _origin(source, op.source.type)
    base = rebased(source, origin, 0, (), ()) if source.size else source.reshape(-1)[:0]
    strides = [s // source.itemsize for s in source.strides]
    return (base, element_offset(source) - origin, *source.shape, *strides)


@implements(memref.CollapseShape)
def collapse_shape(frame: Frame, op: memref.CollapseShape, source: Array) -> Array:
    shape = [int(np.prod([source.shape[i] for i in group], dtype=np.int64)) for group in op.groups]
    return _same_memory(source, shape)


def _same_memory(source: Array, shape: Any) -> Array:
    """``source`` reshaped without a copy. Raises CoreIrError 12 when it is not contiguous enough."""
    view = source.reshape(shape)
    if source.size and not np.may_share_memory(view, source):
        raise CoreIrError(
            12, f"a view of shape {list(source.shape)} is not contiguous: cannot be seen as {list(shape)}"
        )
    return view


@implements(memref.ExpandShape)
def expand_shape(frame: Frame, op: memref.ExpandShape, source: Array, *dynamic: int) -> Array:
    wanted = expanded(op.groups, source.shape, mixed_values(op.static_output_shape, dynamic))
    return _same_memory(source, wanted)


@implements(memref.Transpose)
def transpose(frame: Frame, op: memref.Transpose, source: Array) -> Array:
    return source.transpose([p for p in op.permutation.value.dim_positions() if p is not None])


@implements(memref.Reshape)
def reshape(frame: Frame, op: memref.Reshape, source: Array, shape: Array) -> Array:
    wanted = [int(d) for d in shape]
    if int(np.prod(wanted, dtype=np.int64)) != source.size:
        raise CoreIrError(12, f"{list(source.shape)} reshaped to {wanted}")
    return _same_memory(source, wanted)


@implements(memref.View)
def view(frame: Frame, op: memref.View, source: Array, shift: int, *sizes: int) -> Array:
    type = op.result.type
    dtype = dtype_of(type)
    shape = shape_value(type, sizes)
    nbytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    if shift < 0 or shift + nbytes > source.shape[0]:
        raise CoreIrError(12, f"bytes {shift}..{shift + nbytes} of a buffer of {source.shape[0]}")
    return source[shift : shift + nbytes].view(dtype).reshape(shape)


@implements(memref.AssumeAlignment)
def assume_alignment(frame: Frame, op: memref.AssumeAlignment, source: Array) -> Array:
    # Where numpy put the memory says nothing about the program.
    return source


@implements(memref.Global)
def declare_global(frame: Frame, op: memref.Global) -> None:
    return None


@implements(memref.GetGlobal)
def get_global(frame: Frame, op: memref.GetGlobal) -> Array:
    state: dict[str, Array] = frame.interpreter.state.setdefault("memref.global", {})
    name = op.symbol.root
    if name not in state:
        found = frame.lookup(op, op.symbol)
        if not isinstance(found, memref.Global):
            raise CoreIrError(6, f"@{name} is no memref.global")
        value = found.initial_value
        if value is None:
            raise CoreIrError(6, f"@{name} is only declared")
        type = found.memref_type
        if isinstance(value, UnitAttr):
            state[name] = fresh(type.shape, dtype_of(type))
        else:
            state[name] = np.array(frame.constant(value), dtype_of(type)).reshape(type.shape)
    return state[name]
