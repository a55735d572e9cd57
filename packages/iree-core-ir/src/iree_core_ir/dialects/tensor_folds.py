"""Fold rules of ``tensor``: sizes that are known, ops that change nothing, constants."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from iree_core_ir.dialects.folds import Constants, Folded, number, rule
from iree_core_ir.dialects.known_dims import trace_dim
from iree_core_ir.dialects.mixed import Mixed
from iree_core_ir.ir.attributes import (
    MAX_INLINE_ELEMENTS,
    Attribute,
    DenseElementsAttr,
    FloatAttr,
    IntegerAttr,
)
from iree_core_ir.ir.operation import Value
from iree_core_ir.ir.types import DYNAMIC, TensorType, index


@rule("tensor.dim", "memref.dim")
def dim(op: Any, constants: Constants) -> Folded:
    """A static size, or the value some op built the size from; else the dim of where it comes from."""
    axis = number(constants[1])
    shape = getattr(op.source.type, "shape", None)
    if not isinstance(axis, int) or shape is None or not 0 <= axis < len(shape):
        return None
    found = trace_dim(op.source, axis)
    if isinstance(found, int):
        return [IntegerAttr(found, index)]
    if isinstance(found, Value):
        return [found]
    origin, origin_axis = found
    if origin is not op.source and origin_axis == axis and _same_kind(origin, op.source):
        op.set_operand(0, origin)
        return []
    return None


def _same_kind(a: Value, b: Value) -> bool:
    """Both tensors or both memrefs."""
    return isinstance(a.type, TensorType) == isinstance(b.type, TensorType)


@rule("tensor.rank", "memref.rank")
def rank(op: Any, constants: Constants) -> Folded:
    shape = getattr(op.operands[0].type, "shape", None)
    return None if shape is None else [IntegerAttr(len(shape), index)]


@rule("tensor.cast", "tensor.bitcast", "memref.cast", "memref.memory_space_cast")
def cast(op: Any, constants: Constants) -> Folded:
    """A cast to the same type, or back to the type it came from."""
    type = op.results[0].type
    if op.source.type is type:
        return [op.source]
    inner = op.source.defining_op
    if inner is not None and inner.name == op.name and inner.operands[0].type is type:
        return [inner.operands[0]]
    constant = constants[0]
    if op.name == "tensor.cast" and isinstance(constant, DenseElementsAttr) and isinstance(type, TensorType):
        if type.is_static:
            return [DenseElementsAttr(type, constant.data, constant.splat)]
    return None


@rule("tensor.extract")
def extract(op: Any, constants: Constants) -> Folded:
    """An element of ``from_elements``, ``splat`` or ``fill`` (constants are read by the folding service)."""
    source = op.tensor.defining_op
    if source is None:
        return None
    if source.name == "tensor.splat":
        return [source.input]
    if source.name == "linalg.fill" and source.inputs[0].type is op.results[0].type:
        return [source.inputs[0]]
    positions = [number(c) for c in constants[1:]]
    if source.name == "tensor.from_elements" and None not in positions:
        shape = source.results[0].type.shape
        if all(0 <= int(p) < n for p, n in zip(positions, shape, strict=True) if p is not None):
            at = int(np.ravel_multi_index([int(p or 0) for p in positions], shape)) if shape else 0
            return [source.operands[at]]
    return None


@rule("tensor.from_elements")
def from_elements(op: Any, constants: Constants) -> Folded:
    """All elements constant: a dense constant."""
    type = op.results[0].type
    values = [c.value for c in constants if isinstance(c, (IntegerAttr, FloatAttr))]
    if len(values) != len(constants) or len(values) > MAX_INLINE_ELEMENTS:
        return None
    return [_dense(values, type)]


def _dense(values: Sequence[Any], type: TensorType) -> Attribute:
    from iree_base.element_types import element_type

    dtype = element_type(str(type.element_type).removeprefix("s")).dtype
    return DenseElementsAttr.from_array(np.array(values).astype(dtype).reshape(type.shape), type)


@rule("tensor.splat")
def splat(op: Any, constants: Constants) -> Folded:
    type = op.results[0].type
    if isinstance(constants[0], (IntegerAttr, FloatAttr)) and type.is_static:
        return [DenseElementsAttr.from_splat(constants[0].value, type)]
    return None


@rule("tensor.collapse_shape", "tensor.expand_shape")
def reshape(op: Any, constants: Constants) -> Folded:
    """Groups of one, a reshape back, or a constant."""
    type, source = op.results[0].type, op.src
    if source.type is type and type.rank == len(op.groups):
        return [source]
    inner = source.defining_op
    if inner is not None and inner.name in ("tensor.collapse_shape", "tensor.expand_shape"):
        if inner.name != op.name and inner.src.type is type and (inner.groups == op.groups or type.is_static):
            # Dynamic sizes regroup equally only if at most one dim of a group is unknown.
            if type.is_static or all(sum(type.shape[i] == DYNAMIC for i in g) <= 1 for g in _wide(op, inner)):
                return [inner.src]
    return _reshaped(constants[0], type)


def _wide(op: Any, inner: Any) -> Any:
    """The groups in terms of the shape that comes out again; none where it is the collapsed one."""
    return op.groups if op.name == "tensor.expand_shape" else ()


def _reshaped(constant: Attribute | None, type: Any) -> Folded:
    if isinstance(constant, DenseElementsAttr) and isinstance(type, TensorType) and type.is_static:
        return [DenseElementsAttr(type, constant.data, constant.splat)]
    return None


@rule("tensor.reshape")
def reshape_to(op: Any, constants: Constants) -> Folded:
    """A reshape to the same static type, or of a constant."""
    type = op.results[0].type
    if op.source.type is type and isinstance(type, TensorType) and (type.is_static or type.rank == 1):
        return [op.source]
    return _reshaped(constants[0], type)


def _covers(value: Value, offsets: Sequence[Mixed], sizes: Sequence[Mixed], strides: Sequence[Mixed]) -> bool:
    """The slice is all of ``value``."""
    if any(o != 0 for o in offsets) or any(s != 1 for s in strides):
        return False
    for axis, size in enumerate(sizes):
        found = trace_dim(value, axis)
        if isinstance(found, tuple):
            dim_op: Any = size.defining_op if isinstance(size, Value) else None
            if dim_op is None or dim_op.name not in ("tensor.dim", "memref.dim"):
                return False
            at = dim_op.constant_index
            if at is None or trace_dim(dim_op.source, at) != found:
                return False
        elif found is not size and found != size:
            return False
    return True


@rule("tensor.extract_slice")
def extract_slice(op: Any, constants: Constants) -> Folded:
    """All of the source, what was just inserted there, or part of a splat."""
    type = op.results[0].type
    if op.source.type is type and _covers(op.source, op.mixed_offsets, op.mixed_sizes, op.mixed_strides):
        return [op.source]
    inner = op.source.defining_op
    if inner is not None and inner.name == "tensor.insert_slice" and inner.source.type is type:
        if _same_box(op, inner):
            return [inner.source]
    constant = constants[0]
    if isinstance(constant, DenseElementsAttr) and constant.splat and type.is_static:
        return [DenseElementsAttr(type, constant.data, True)]
    return None


def _same_box(a: Any, b: Any) -> bool:
    """Offsets, sizes and strides are the same numbers and values."""
    return bool(
        a.mixed_offsets == b.mixed_offsets
        and a.mixed_sizes == b.mixed_sizes
        and a.mixed_strides == b.mixed_strides
    )


@rule("tensor.insert_slice")
def insert_slice(op: Any, constants: Constants) -> Folded:
    """Replaces all of dest, nothing of it, or puts back what was taken out."""
    type = op.results[0].type
    if op.source.type is type and _covers(op.dest, op.mixed_offsets, op.mixed_sizes, op.mixed_strides):
        return [op.source]
    if 0 in op.mixed_sizes:
        return [op.dest]
    inner = op.source.defining_op
    if inner is not None and inner.name == "tensor.extract_slice" and inner.source is op.dest:
        if _same_box(op, inner):
            return [op.dest]
    return None


@rule("tensor.pad")
def pad(op: Any, constants: Constants) -> Folded:
    """Pads nothing."""
    amounts = (*op.mixed_low, *op.mixed_high)
    if op.nofold is None and all(a == 0 for a in amounts) and op.source.type is op.results[0].type:
        return [op.source]
    return None


@rule("tensor.concat")
def concat(op: Any, constants: Constants) -> Folded:
    """One input."""
    if len(op.operands) == 1 and op.operands[0].type is op.results[0].type:
        return [op.operands[0]]
    return None


@rule("bufferization.to_tensor", "bufferization.to_buffer")
def round_trip(op: Any, constants: Constants) -> Folded:
    """A tensor put into a buffer and read back, or the other way round."""
    inner = op.operands[0].defining_op
    opposite = {"bufferization.to_tensor": "bufferization.to_buffer"}.get(op.name, "bufferization.to_tensor")
    if inner is not None and inner.name == opposite and inner.operands[0].type is op.results[0].type:
        return [inner.operands[0]]
    return None


@rule("memref.transpose", "vector.transpose")
def transpose(op: Any, constants: Constants) -> Folded:
    """The identity permutation."""
    order = op.permutation
    identity = order.value.is_identity if op.name == "memref.transpose" else list(order) == sorted(order)
    return [op.operands[0]] if identity and op.operands[0].type is op.results[0].type else None


@rule("memref.subview")
def subview(op: Any, constants: Constants) -> Folded:
    """All of the source."""
    if op.source.type is op.results[0].type:
        if _covers(op.source, op.mixed_offsets, op.mixed_sizes, op.mixed_strides):
            return [op.source]
    return None


@rule("memref.collapse_shape", "memref.expand_shape")
def memref_reshape(op: Any, constants: Constants) -> Folded:
    """Groups of one, or a static reshape back."""
    type, source = op.results[0].type, op.src
    if source.type is type and type.rank == len(op.groups):
        return [source]
    inner = source.defining_op
    if inner is not None and inner.name in ("memref.collapse_shape", "memref.expand_shape"):
        if inner.name != op.name and inner.src.type is type and type.is_static:
            return [inner.src]
    return None
