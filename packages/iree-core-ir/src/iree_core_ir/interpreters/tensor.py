"""Numpy meanings of ``tensor``. No array is written after it was made; results may share memory."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np

from iree_base.element_types import element_type
from iree_core_ir.dialects import tensor
from iree_core_ir.dialects.mixed import DYNAMIC_INDEX
from iree_core_ir.dialects.slices import SliceOp
from iree_core_ir.errors import CoreIrError
from iree_core_ir.interpreter import Frame, implements
from iree_core_ir.interpreters.memory import check_indices, slice_view, unspecified
from iree_core_ir.ir.attributes import DenseArrayAttr
from iree_core_ir.ir.types import DYNAMIC, IndexType, TensorType

Array = np.ndarray[Any, Any]


def dtype_of(type: Any) -> np.dtype[Any]:
    """The numpy dtype of a shaped type's elements."""
    return _dtype(type.element_type)


@functools.cache
def _dtype(element: Any) -> np.dtype[Any]:
    return element_type(str(element).removeprefix("s")).dtype


def mixed_values(static: DenseArrayAttr, dynamic: Sequence[Any] | Iterator[Any]) -> list[int]:
    """The integers of a mixed list: its static attribute, marks filled from ``dynamic`` in order."""
    values = iter(dynamic)
    return [int(next(values)) if s == DYNAMIC_INDEX else s for s in static.values]


def shape_value(type: Any, sizes: Sequence[int]) -> list[int]:
    """The run-time shape of ``type`` whose dynamic dims are ``sizes``. Raises CoreIrError 12 if negative."""
    values = iter(sizes)
    shape = [int(next(values)) if d == DYNAMIC else d for d in type.shape]
    if any(d < 0 for d in shape):
        raise CoreIrError(12, f"negative size in {shape} for {type}")
    return shape


@implements(tensor.Empty)
def empty(frame: Frame, op: tensor.Empty, *sizes: int) -> Array:
    return unspecified(shape_value(op.result.type, sizes), dtype_of(op.result.type))


@implements(tensor.Dim)
def dim(frame: Frame, op: tensor.Dim, source: Array, axis: int) -> int:
    if not 0 <= axis < source.ndim:
        raise CoreIrError(12, f"dim {axis} of a tensor of rank {source.ndim}")
    return int(source.shape[axis])


@implements(tensor.Rank)
def rank(frame: Frame, op: tensor.Rank, source: Array) -> int:
    return source.ndim


@implements(tensor.Cast)
def cast(frame: Frame, op: tensor.Cast, source: Array) -> Array:
    check_type(source, op.dest.type)
    return source


def check_type(array: Array, type: Any) -> None:
    """The array has the static part of the type's shape. Raises CoreIrError 12."""
    if isinstance(type, TensorType):
        if len(type.shape) != array.ndim or any(
            d not in (DYNAMIC, n) for d, n in zip(type.shape, array.shape, strict=True)
        ):
            raise CoreIrError(12, f"a tensor of shape {list(array.shape)} is not {type}")


@implements(tensor.Bitcast)
def bitcast(frame: Frame, op: tensor.Bitcast, source: Array) -> Array:
    return np.ascontiguousarray(source).reshape(source.shape).view(dtype_of(op.dest.type))


@implements(tensor.Extract)
def extract(frame: Frame, op: tensor.Extract, source: Array, *indices: Any) -> Any:
    """One element; with arrays of indices (a body run on whole arrays) as many."""
    check_indices(indices, source.shape)
    value = source[tuple(indices)]
    if isinstance(op.tensor.type.element_type, IndexType) and not isinstance(value, np.ndarray):
        return int(value)
    return value


@implements(tensor.Insert)
def insert(frame: Frame, op: tensor.Insert, value: Any, dest: Array, *indices: int) -> Array:
    check_indices(indices, dest.shape)
    copy = dest.copy()
    copy[tuple(indices)] = value
    return copy


@implements(tensor.FromElements)
def from_elements(frame: Frame, op: tensor.FromElements, *elements: Any) -> Array:
    type = op.result.type
    return np.array(elements, dtype_of(type)).reshape(type.shape)


@implements(tensor.Splat)
def splat(frame: Frame, op: tensor.Splat, value: Any, *sizes: int) -> Array:
    type = op.aggregate.type
    return np.broadcast_to(np.asarray(value, dtype_of(type)), shape_value(type, sizes))


@implements(tensor.Generate)
def generate(frame: Frame, op: tensor.Generate, *sizes: int) -> Array:
    type = op.result.type
    result = np.empty(shape_value(type, sizes), dtype_of(type))
    for point in product(*map(range, result.shape)):
        result[point] = frame.run_region(op.body, point)[0]
    return result


@implements(tensor.ExtractSlice)
def extract_slice(frame: Frame, op: tensor.ExtractSlice, source: Array, *dynamic: int) -> Array:
    view = box(op, source, dynamic)
    return view.reshape([d for i, d in enumerate(view.shape) if i not in dropped(op, op.result.type.shape)])


def box(op: SliceOp, source: Array, dynamic: Sequence[int]) -> Array:
    """The strided box of ``source`` that a slice op names, full rank. Raises CoreIrError 12."""
    return slice_view(source, *slice_numbers(op, dynamic))


def slice_numbers(op: SliceOp, dynamic: Sequence[int]) -> list[list[int]]:
    """Offsets, sizes and strides; ``dynamic`` holds the values of the op's index operands."""
    values = iter(dynamic)
    attributes: list[Any] = [op.attributes[f"static_{n}"] for n in ("offsets", "sizes", "strides")]
    return [mixed_values(attribute, values) for attribute in attributes]


def dropped(op: SliceOp, shape: Sequence[int]) -> frozenset[int]:
    """Dims of the box that the value of static ``shape`` lacks."""
    found = op.dropped_dims(shape)
    assert found is not None
    return found


@implements(tensor.InsertSlice, tensor.ParallelInsertSlice)
def insert_slice(frame: Frame, op: tensor.InsertSlice, source: Array, dest: Array, *dynamic: int) -> Array:
    copy = dest.copy()
    view = box(op, copy, dynamic)
    missing = dropped(op, op.source.type.shape)
    shape = [d for i, d in enumerate(view.shape) if i not in missing]
    if list(source.shape) != shape:
        raise CoreIrError(12, f"a tensor of shape {list(source.shape)} inserted into a slice of {shape}")
    view[...] = source.reshape(view.shape)
    return copy


@implements(tensor.CollapseShape)
def collapse_shape(frame: Frame, op: tensor.CollapseShape, source: Array) -> Array:
    shape = [int(np.prod([source.shape[i] for i in group], dtype=np.int64)) for group in op.groups]
    result = source.reshape(shape)
    check_type(result, op.result.type)
    return result


@implements(tensor.ExpandShape)
def expand_shape(frame: Frame, op: tensor.ExpandShape, source: Array, *dynamic: int) -> Array:
    wanted = mixed_values(op.static_output_shape, dynamic)
    return reshaped(source, expanded(op.groups, source.shape, wanted))


def expanded(groups: Sequence[Sequence[int]], shape: Sequence[int], wanted: Sequence[int]) -> Sequence[int]:
    """``wanted``, checked group by group against ``shape``. Raises CoreIrError 12."""
    for size, group in zip(shape, groups, strict=True):
        if int(np.prod([wanted[i] for i in group], dtype=np.int64)) != size:
            raise CoreIrError(12, f"a dim of size {size} expanded to {[wanted[i] for i in group]}")
    return wanted


def reshaped(source: Array, shape: Sequence[int]) -> Array:
    """Row-major reshape. Raises CoreIrError 12 when the element counts differ."""
    if int(np.prod(shape, dtype=np.int64)) != source.size or any(d < 0 for d in shape):
        raise CoreIrError(12, f"{list(source.shape)} reshaped to {list(shape)}")
    return source.reshape(shape)


@implements(tensor.Reshape)
def reshape(frame: Frame, op: tensor.Reshape, source: Array, shape: Array) -> Array:
    result = reshaped(source, [int(d) for d in shape])
    check_type(result, op.result.type)
    return result


@implements(tensor.Pad)
def pad(frame: Frame, op: tensor.Pad, source: Array, *dynamic: int) -> Array:
    amounts = iter(dynamic)
    low, high = mixed_values(op.static_low, amounts), mixed_values(op.static_high, amounts)
    shape = [a + d + b for a, d, b in zip(low, source.shape, high, strict=True)]
    if any(d < 0 for d in shape):
        raise CoreIrError(12, f"{list(source.shape)} padded by {low} and {high}")
    if op.constant_padding is not None:
        value = frame.run_region(op.region, (0,) * source.ndim)[0]
        result = np.full(shape, value, source.dtype)
    else:
        result = np.empty(shape, source.dtype)
        for point in product(*map(range, shape)):
            result[point] = frame.run_region(op.region, point)[0]
    # Negative padding cuts the source.
    inside = tuple(
        slice(max(a, 0), max(a, 0) + d + min(a, 0) + min(b, 0))
        for a, d, b in zip(low, source.shape, high, strict=True)
    )
    kept = tuple(slice(max(-a, 0), d - max(-b, 0)) for a, d, b in zip(low, source.shape, high, strict=True))
    if all(s.stop > s.start for s in inside):
        result[inside] = source[kept]
    return result


@implements(tensor.Concat)
def concat(frame: Frame, op: tensor.Concat, *inputs: Array) -> Array:
    axis = op.dim.value
    for value in inputs[1:]:
        if any(
            a != b for i, (a, b) in enumerate(zip(value.shape, inputs[0].shape, strict=True)) if i != axis
        ):
            raise CoreIrError(12, f"concatenates {[list(v.shape) for v in inputs]} along dim {axis}")
    return np.concatenate(inputs, axis)
