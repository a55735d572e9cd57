"""Numpy meanings of ``vector`` ops on values; those that touch memory are in ``vector_memory``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from iree_core_ir.dialects import vector
from iree_core_ir.interpreter import Frame, implements
from iree_core_ir.interpreters import floats, integers
from iree_core_ir.interpreters import vector_memory as vector_memory  # registers the memory ops
from iree_core_ir.interpreters.floats import float_format
from iree_core_ir.interpreters.integers import integer_format
from iree_core_ir.interpreters.memory import check_indices
from iree_core_ir.interpreters.reductions import reduce
from iree_core_ir.interpreters.structured_views import loop_sizes, read_view
from iree_core_ir.interpreters.tensor import dtype_of, mixed_values
from iree_core_ir.ir.attributes import Type
from iree_core_ir.ir.types import FloatType, IndexType, VectorType, element_of

Array = np.ndarray[Any, Any]

KINDS = {
    "add": "add",
    "mul": "mul",
    "minui": "minu",
    "minsi": "mins",
    "maxui": "maxu",
    "maxsi": "maxs",
    "and": "and",
    "or": "or",
    "xor": "xor",
    "minnumf": "minnum",
    "maxnumf": "maxnum",
    "minimumf": "minimum",
    "maximumf": "maximum",
}
"""Combining kind -> name of the arithmetic kernel."""


def combine(kind: str, a: Any, b: Any, type: Type) -> Array:
    """``a kind b`` elementwise, in element ``type``."""
    if isinstance(type, FloatType):
        f = float_format(type)
        return np.asarray(f.narrow(floats.BINARY[KINDS[kind]](f.widen(a), f.widen(b))))
    g = integer_format(type)
    return np.asarray(g.wrap(integers.BINARY[KINDS[kind]](g, a, b)))


def out(value: Any, type: Any) -> Any:
    """A result of ``type``: an array for a vector, else a scalar (an int for index)."""
    if isinstance(type, VectorType):
        return np.asarray(value, dtype_of(type)).reshape(type.shape)
    if isinstance(value, np.ndarray):
        value = value[()]
    return int(value) if isinstance(type, IndexType) else value


@implements(vector.Broadcast, vector.Splat)
def broadcast(frame: Frame, op: Any, value: Any) -> Array:
    type = op.results[0].type
    return np.broadcast_to(np.asarray(value, dtype_of(type)), type.shape)


@implements(vector.Shuffle)
def shuffle(frame: Frame, op: vector.Shuffle, a: Array, b: Array) -> Array:
    lanes = np.concatenate([np.atleast_1d(a), np.atleast_1d(b)])
    # A lane of -1 is unspecified: 0 will do.
    mask = [max(i, 0) for i in op.mask.values]
    return lanes[mask]


def _position(op: Any, dynamic: Sequence[int], shape: Sequence[int]) -> tuple[int, ...]:
    position = tuple(mixed_values(op.static_position, dynamic))
    check_indices(position, shape[: len(position)])
    return position


@implements(vector.Extract)
def extract(frame: Frame, op: vector.Extract, source: Array, *dynamic: int) -> Any:
    return out(source[_position(op, dynamic, source.shape)], op.result.type)


@implements(vector.Insert)
def insert(frame: Frame, op: vector.Insert, value: Any, dest: Array, *dynamic: int) -> Array:
    copy = dest.copy()
    copy[_position(op, dynamic, dest.shape)] = value
    return copy


@implements(vector.ExtractElement)
def extractelement(frame: Frame, op: vector.ExtractElement, source: Array, *position: Any) -> Any:
    at = tuple(int(p) for p in position)
    check_indices(at, source.shape)
    return out(source[at], op.result.type)


@implements(vector.InsertElement)
def insertelement(frame: Frame, op: vector.InsertElement, value: Any, dest: Array, *position: Any) -> Array:
    at = tuple(int(p) for p in position)
    check_indices(at, dest.shape)
    copy = dest.copy()
    copy[at] = value
    return copy


@implements(vector.Fma)
def fma(frame: Frame, op: vector.Fma, a: Array, b: Array, c: Array) -> Array:
    return np.asarray(floats.fma(float_format(op.result.type.element_type), a, b, c))


@implements(vector.Bitcast)
def bitcast(frame: Frame, op: vector.Bitcast, source: Array) -> Array:
    type = op.result.type
    if op.source.type.rank == 0:
        return source.reshape(1).view(dtype_of(type)).reshape(())
    return np.ascontiguousarray(source).view(dtype_of(type)).reshape(type.shape)


@implements(vector.ShapeCast)
def shape_cast(frame: Frame, op: vector.ShapeCast, source: Array) -> Array:
    return source.reshape(op.result.type.shape)


@implements(vector.Transpose)
def transpose(frame: Frame, op: vector.Transpose, source: Array) -> Array:
    return source.transpose(op.permutation.values)


@implements(vector.FromElements)
def from_elements(frame: Frame, op: vector.FromElements, *elements: Any) -> Array:
    type = op.dest.type
    return np.array(elements, dtype_of(type)).reshape(type.shape)


@implements(vector.ToElements)
def to_elements(frame: Frame, op: vector.ToElements, source: Array) -> tuple[Any, ...]:
    element = op.source.type.element_type
    return tuple(out(value, element) for value in source.reshape(-1))


def _integers(attribute: Any) -> list[int]:
    return [a.value for a in attribute]


@implements(vector.ExtractStridedSlice)
def extract_strided_slice(frame: Frame, op: vector.ExtractStridedSlice, source: Array) -> Array:
    offsets, sizes = _integers(op.offsets), _integers(op.sizes)
    return source[tuple(slice(o, o + n) for o, n in zip(offsets, sizes, strict=True))]


@implements(vector.InsertStridedSlice)
def insert_strided_slice(frame: Frame, op: vector.InsertStridedSlice, value: Array, dest: Array) -> Array:
    offsets = _integers(op.offsets)
    sizes = [1] * (dest.ndim - value.ndim) + list(value.shape)
    copy = dest.copy()
    where = tuple(slice(o, o + n) for o, n in zip(offsets, sizes, strict=True))
    copy[where] = value.reshape(sizes)
    return copy


@implements(vector.Interleave)
def interleave(frame: Frame, op: vector.Interleave, a: Array, b: Array) -> Array:
    return np.stack([a, b], axis=-1).reshape(op.result.type.shape)


@implements(vector.Deinterleave)
def deinterleave(frame: Frame, op: vector.Deinterleave, source: Array) -> tuple[Array, Array]:
    return source[..., ::2], source[..., 1::2]


@implements(vector.ConstantMask)
def constant_mask(frame: Frame, op: vector.ConstantMask) -> Array:
    return mask_of(op.sizes, op.result.type)


@implements(vector.CreateMask)
def create_mask(frame: Frame, op: vector.CreateMask, *sizes: int) -> Array:
    return mask_of(sizes, op.result.type)


def mask_of(sizes: Sequence[int], type: VectorType) -> Array:
    """True where each index is below its size."""
    if type.rank == 0:
        return np.asarray(sizes[0] > 0)
    mask = np.zeros(type.shape, np.bool_)
    mask[tuple(slice(0, max(0, min(s, n))) for s, n in zip(sizes, type.shape, strict=True))] = True
    return mask


@implements(vector.Step)
def step(frame: Frame, op: vector.Step) -> Array:
    return np.arange(op.result.type.shape[0], dtype=np.int64)


# -- combining -------------------------------------------------------------------------------------


@implements(vector.Reduction)
def reduction(frame: Frame, op: vector.Reduction, source: Array, *acc: Any) -> Any:
    """Lane after lane, from the accumulator when there is one."""
    type = op.dest.type
    lanes = list(source.reshape(-1))
    total = np.asarray(acc[0] if acc else lanes.pop(0))
    for lane in lanes:
        total = combine(op.kind.value, total, lane, type)
    return out(total, type)


@implements(vector.MultiReduction)
def multi_reduction(frame: Frame, op: vector.MultiReduction, source: Array, acc: Any) -> Any:
    type = element_of(op.dest.type)
    axes = tuple(op.reduction_dims.values)
    initial = np.asarray(acc, source.dtype)
    total = (
        reduce(KINDS[op.kind.value], source, axes, initial, type)
        if axes
        else combine(op.kind.value, initial, source, type)
    )
    return out(total, op.dest.type)


@implements(vector.OuterProduct)
def outerproduct(frame: Frame, op: vector.OuterProduct, a: Array, b: Any, *acc: Array) -> Array:
    type = op.result.type
    element = type.element_type
    left = a[:, None] if isinstance(b, np.ndarray) and b.ndim else a
    kind = "add" if op.kind is None else op.kind.value
    if acc and kind == "add" and isinstance(element, FloatType):
        # The product and the sum are one operation, rounded once.
        x, y = np.broadcast_arrays(left, b)
        return np.asarray(floats.fma(float_format(element), x, y, acc[0]))
    product = combine("mul", left, b, element)
    return combine(kind, acc[0], product, element) if acc else product


@implements(vector.Contract)
def contract(frame: Frame, op: vector.Contract, a: Array, b: Array, acc: Any) -> Any:
    maps = op.indexing_maps
    n = len(op.iterator_types)
    element = element_of(op.result.type)
    initial = np.asarray(acc)
    operands = (a, b) if initial.ndim == 0 else (a, b, initial)
    sizes = loop_sizes(maps[: len(operands)], operands, n)
    dtype = initial.dtype
    x, y = (
        np.broadcast_to(read_view(v, m, sizes), sizes).astype(dtype)
        for v, m in zip((a, b), maps, strict=False)
    )
    product = combine("mul", x, y, element)
    reduced = [i for i, kind in enumerate(op.iterator_types) if kind == "reduction"]
    kept = [i for i in range(n) if i not in reduced]
    order = [p for p in maps[2].dim_positions() if p is not None]
    start = initial.transpose([order.index(d) for d in kept]) if kept else initial
    kind = "add" if op.kind is None else op.kind.value
    if reduced:
        total = reduce(KINDS[kind], product, tuple(reduced), start, element)
    else:
        total = combine(kind, start, product, element)
    return out(total.transpose([kept.index(d) for d in order]) if kept else total, op.result.type)


@implements(vector.Scan)
def scan(frame: Frame, op: vector.Scan, source: Array, initial: Array) -> tuple[Array, Array]:
    axis, element = op.reduction_dim.value, source.dtype
    type = op.source.type.element_type
    moved = np.moveaxis(source, axis, 0)
    result = np.empty(moved.shape, element)
    inclusive = bool(op.inclusive.value)
    current = moved[0] if inclusive else initial
    for i in range(len(moved)):
        if i:
            current = combine(op.kind.value, current, moved[i if inclusive else i - 1], type)
        result[i] = current
    return np.moveaxis(result, 0, axis), np.asarray(current)
