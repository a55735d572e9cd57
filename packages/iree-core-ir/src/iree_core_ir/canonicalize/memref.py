"""Canonical forms of ``memref``: static sizes, views composed, casts looked through, unused memory gone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from iree_core_ir.canonicalize.shapes import more_static
from iree_core_ir.dialects import arith, memref
from iree_core_ir.dialects.known_dims import trace_dim
from iree_core_ir.dialects.mixed import Mixed, staticize
from iree_core_ir.dialects.strided import strides_and_offset
from iree_core_ir.ir.operation import Op, Value
from iree_core_ir.ir.types import DYNAMIC, MemRefType
from iree_core_ir.rewriter import Rewriter, pattern


def _cast_back(rewriter: Rewriter, value: Value, type: Any) -> Value:
    return value if value.type is type else rewriter.create(memref.Cast, value, type).dest


def _changed(before: Sequence[Mixed], after: Sequence[Mixed]) -> bool:
    return any(a is not b for a, b in zip(before, after, strict=True))


@pattern(memref.Alloc, memref.Alloca)
def static_alloc(op: Any, rewriter: Rewriter) -> bool:
    """Constant sizes go into the type."""
    sizes = staticize(op.mixed_sizes)
    if not _changed(op.mixed_sizes, sizes) or any(isinstance(s, int) and s < 0 for s in sizes):
        return False
    if op.symbol_operands:
        return False
    type = op.memref.type
    new_type = type.with_shape([DYNAMIC if isinstance(s, Value) else s for s in sizes])
    alignment = None if op.alignment is None else op.alignment.value
    new = rewriter.create(op.__class__, new_type, [s for s in sizes if isinstance(s, Value)], alignment)
    rewriter.replace(op, _cast_back(rewriter, new.results[0], type))
    return True


@pattern(memref.Alloc, memref.Alloca)
def unused_alloc(op: Op, rewriter: Rewriter) -> bool:
    """Memory that is only written whole by stores into it, or freed, is not needed."""
    value = op.results[0]
    users = value.users
    if not users:
        return False
    for user in users:
        if isinstance(user, memref.Dealloc):
            continue
        if isinstance(user, memref.Store) and user.value is not value:
            continue
        return False
    for user in users:
        rewriter.erase(user)
    rewriter.erase(op)
    return True


@pattern(memref.SubView)
def static_subview(op: memref.SubView, rewriter: Rewriter) -> bool:
    offsets, sizes, strides = (staticize(m) for m in (op.mixed_offsets, op.mixed_sizes, op.mixed_strides))
    if not (
        _changed(op.mixed_offsets, offsets)
        or _changed(op.mixed_sizes, sizes)
        or _changed(op.mixed_strides, strides)
    ):
        return False
    if any(isinstance(s, int) and s < 0 for s in (*offsets, *sizes)):
        return False
    type = op.result.type
    dropped = op.dropped_dims(type.shape)
    if dropped is None:
        return False
    shape = [DYNAMIC if isinstance(s, Value) else s for i, s in enumerate(sizes) if i not in dropped]
    new = rewriter.create(memref.SubView, op.source, offsets, sizes, strides, shape).result
    rewriter.replace(op, _cast_back(rewriter, new, type))
    return True


@pattern(memref.SubView)
def subview_of_subview(op: memref.SubView, rewriter: Rewriter) -> bool:
    """Two static views are one."""
    inner = op.source.defining_op
    if not isinstance(inner, memref.SubView):
        return False
    parts = (*op.mixed_offsets, *op.mixed_strides, *inner.mixed_offsets, *inner.mixed_strides)
    dropped = inner.dropped_dims(inner.result.type.shape)
    if dropped is None or any(isinstance(m, Value) for m in parts):
        return False
    offsets: list[Mixed] = []
    sizes: list[Mixed] = []
    strides: list[Mixed] = []
    kept = iter(zip(op.mixed_offsets, op.mixed_sizes, op.mixed_strides, strict=True))
    for i, (start, step) in enumerate(zip(inner.mixed_offsets, inner.mixed_strides, strict=True)):
        offset, size, stride = (0, 1, 1) if i in dropped else next(kept)
        assert isinstance(start, int) and isinstance(step, int)
        assert isinstance(offset, int) and isinstance(stride, int)
        offsets.append(start + offset * step)
        sizes.append(size)
        strides.append(step * stride)
    type = op.result.type
    new = rewriter.create(memref.SubView, inner.source, offsets, sizes, strides, type.shape).result
    rewriter.replace(op, _cast_back(rewriter, new, type))
    return True


@pattern(memref.Load, memref.Store, memref.Dim, memref.Dealloc, memref.Copy, memref.Prefetch)
def access_through_cast(op: Op, rewriter: Rewriter) -> bool:
    """What a cast hid does not matter to an access."""
    operands = list(op.operands)
    changed = False
    for i, value in enumerate(operands):
        producer = value.defining_op
        if isinstance(producer, memref.Cast) and isinstance(producer.source.type, MemRefType):
            operands[i] = producer.source
            changed = True
    if changed:
        rewriter.set_operands(op, operands)
    return changed


@pattern(memref.SubView)
def subview_through_cast(op: memref.SubView, rewriter: Rewriter) -> bool:
    producer = op.source.defining_op
    if not isinstance(producer, memref.Cast) or not more_static(producer.source.type, producer.dest.type):
        return False
    type = op.result.type
    new = rewriter.create(
        memref.SubView, producer.source, op.mixed_offsets, op.mixed_sizes, op.mixed_strides, type.shape
    ).result
    rewriter.replace(op, _cast_back(rewriter, new, type))
    return True


@pattern(memref.Cast)
def cast_of_cast(op: memref.Cast, rewriter: Rewriter) -> bool:
    inner = op.source.defining_op
    if not isinstance(inner, memref.Cast):
        return False
    if memref.cast_error(inner.source.type, op.dest.type) is not None:
        return False
    rewriter.replace_with(op, memref.Cast, inner.source, op.dest.type)
    return True


@pattern(memref.Dim)
def dim_of_origin(op: memref.Dim, rewriter: Rewriter) -> bool:
    """The dim of the buffer that the size comes from."""
    axis = op.constant_index
    type = op.source.type
    if axis is None or not isinstance(type, MemRefType) or not 0 <= axis < type.rank:
        return False
    found = trace_dim(op.source, axis)
    if not isinstance(found, tuple) or found[0] is op.source or not isinstance(found[0].type, MemRefType):
        return False
    position = rewriter.insert(arith.Constant.index(found[1])).result
    rewriter.replace_with(op, memref.Dim, found[0], position)
    return True


@pattern(memref.Copy)
def copy_to_itself(op: memref.Copy, rewriter: Rewriter) -> bool:
    if op.source is not op.target:
        return False
    rewriter.erase(op)
    return True


@pattern(memref.ExtractStridedMetadata)
def static_metadata(op: memref.ExtractStridedMetadata, rewriter: Rewriter) -> bool:
    """Offset, sizes and strides that the type states."""
    type = op.source.type
    try:
        strides, offset = strides_and_offset(type)
    except ValueError:
        return False
    known = [offset, *type.shape, *strides]
    changed = False
    for value, number in zip(op.results[1:], known, strict=True):
        if number != DYNAMIC and value.uses:
            rewriter.replace_value(value, rewriter.insert(arith.Constant.index(number)).result)
            changed = True
    return changed


@pattern(memref.ReinterpretCast)
def reinterpret_as_is(op: memref.ReinterpretCast, rewriter: Rewriter) -> bool:
    """The view that the source already is."""
    type = op.source.type
    if not isinstance(type, MemRefType) or op.result.type is not type or not type.is_static:
        return False
    strides, offset = strides_and_offset(type)
    given = (*op.mixed_offsets, *op.mixed_sizes, *op.mixed_strides)
    if given != (offset, *type.shape, *strides):
        return False
    rewriter.replace(op, op.source)
    return True


@pattern(memref.CollapseShape)
def collapse_of_collapse(op: memref.CollapseShape, rewriter: Rewriter) -> bool:
    inner = op.src.defining_op
    if not isinstance(inner, memref.CollapseShape):
        return False
    groups = [[i for middle in group for i in inner.groups[middle]] for group in op.groups]
    new = rewriter.create(memref.CollapseShape, inner.src, groups).result
    rewriter.replace(op, _cast_back(rewriter, new, op.result.type))
    return True


@pattern(memref.ExpandShape)
def expand_of_expand(op: memref.ExpandShape, rewriter: Rewriter) -> bool:
    inner = op.src.defining_op
    if not isinstance(inner, memref.ExpandShape):
        return False
    groups = [[i for middle in group for i in op.groups[middle]] for group in inner.groups]
    new = rewriter.create(memref.ExpandShape, inner.src, groups, op.mixed_output_shape).result
    rewriter.replace(op, _cast_back(rewriter, new, op.result.type))
    return True


PATTERNS = [
    static_alloc,
    unused_alloc,
    static_subview,
    subview_of_subview,
    access_through_cast,
    subview_through_cast,
    cast_of_cast,
    dim_of_origin,
    copy_to_itself,
    static_metadata,
    reinterpret_as_is,
    collapse_of_collapse,
    expand_of_expand,
]
