"""Reads and writes at computed positions: Gather*, Scatter*, OneHot, TopK, ReverseSequence.

Gathers become ``linalg_ext.gather``, scatters ``linalg_ext.scatter``; both check positions when they run.
Positions may be negative in ONNX and are counted from the front first. Where several coordinates address an
element they are turned into one flat position; a coordinate out of its own range makes it -1, so that it is
reported although the flat position might exist.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from iree_core_ir.dialects import linalg_ext
from iree_core_ir.ir.affine import AffineDim, AffineMap
from iree_core_ir.ir.builder import Builder
from iree_core_ir.ir.operation import Value
from iree_input_onnx.dims import Dim, product
from iree_input_onnx.elements import I64, is_integer
from iree_input_onnx.emit import PARALLEL, Emitter, body_index, extract
from iree_input_onnx.errors import Unsupported
from iree_input_onnx.indexing import normalize_axis
from iree_input_onnx.node import Node
from iree_input_onnx.ops.cast import convert
from iree_input_onnx.ops.elementwise import same_element
from iree_input_onnx.scalars import Scalar
from iree_input_onnx.table import onnx_op
from iree_input_onnx.values import MAX_HOST_ELEMENTS, Tensor


def from_front(e: Emitter, indices: Tensor, size: Dim) -> Tensor:
    """Negative indices plus ``size``; others unchanged."""
    array = e.array(indices) if indices.n_elements is not None else None
    if array is not None and isinstance(size, int):
        if array.size and (int(array.max()) >= size or int(array.min()) < -size):
            raise ValueError(f"an index is out of range for a dimension of {size}")
        if not array.size or int(array.min()) >= 0:
            return indices
        return e.constant(np.where(array < 0, array + size, array), indices.element, indices.name)
    value = None if isinstance(size, int) else e.index(size)

    def body(i: Scalar) -> Scalar:
        full = i.like(size) if value is None else Scalar.from_index(i.builder, value, i.element)
        return (i < 0).select(i + full, i)

    return e.elementwise([indices], body, indices.element)


def take(e: Emitter, x: Tensor, indices: Tensor, axis: int) -> Tensor:
    """``x`` with dim ``axis`` replaced by the dims of ``indices`` (counted from the front)."""
    shape = [*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]]
    if 0 in shape:
        return e.splat(0, shape, x.element)
    op = linalg_ext.Gather.make(e.value(x), e.value(indices), e.empty(shape, x.element), axis)
    return e.named(op, shape, x.element)


@onnx_op("Gather")
def gather(e: Emitter, node: Node) -> Tensor:
    x, indices = node.input(0), node.input(1)
    axis = normalize_axis(node.int("axis"), x.rank)
    shape = [*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]]
    known = e.array(indices) if indices.n_elements is not None else None
    size = x.shape[axis]
    if known is not None and known.size == 1 and isinstance(size, int):
        position = int(known.reshape(-1)[0])
        position = normalize_axis(position, size)
        offsets: list[Dim] = [0] * x.rank
        box: list[Dim] = list(x.shape)
        offsets[axis], box[axis] = position, 1
        return e.reshape(e.slice(x, offsets, box), shape)
    small = x.static_shape is not None and (x.n_elements or 0) <= MAX_HOST_ELEMENTS
    if known is not None and small and x.value is None and (x.scalars is not None or x.is_constant):
        grid = np.empty(x.static_shape or (), object)
        grid.reshape(-1)[:] = e.scalars(x)
        taken = np.take(grid, from_front_array(known, grid.shape[axis]), axis)
        if taken.size <= MAX_HOST_ELEMENTS:
            return Tensor.host(list(taken.reshape(-1)), taken.shape, x.element)
    return take(e, x, from_front(e, indices, size), axis)


def from_front_array(indices: Any, size: int) -> Any:
    if indices.size and (int(indices.max()) >= size or int(indices.min()) < -size):
        raise ValueError(f"an index is out of range for a dimension of {size}")
    return np.where(indices < 0, indices + size, indices)


def _coordinate(builder: Builder, raw: Scalar, size: Value) -> tuple[Scalar, Scalar]:
    """An index counted from the front as i64, and whether it is in range."""
    extent = Scalar.from_index(builder, size)
    wide = raw.to(I64)
    at = (wide < 0).select(wide + extent, wide)
    return at, (at >= 0) & (at < extent)


@onnx_op("GatherElements")
def gather_elements(e: Emitter, node: Node) -> Tensor:
    x, indices = node.input(0), node.input(1)
    axis = normalize_axis(node.int("axis"), x.rank)
    if indices.rank != x.rank:
        raise node.error(f"ranks {x.rank} and {indices.rank} differ")
    flat = _flat_positions(e, indices, x.shape, axis)
    return take(e, e.reshape(x, [product(x.shape)]), flat, 0)


def _flat_positions(e: Emitter, indices: Tensor, shape: Sequence[Dim], axis: int) -> Tensor:
    """Flat positions in a tensor of ``shape`` of [.., indices[..], ..]; -1 where out of range."""
    rank = len(shape)
    sizes = [e.index(d) for d in shape]

    def body(builder: Builder, raw: Scalar, out: Scalar) -> Scalar:
        at, inside = _coordinate(builder, raw, sizes[axis])
        flat = None
        for i in range(rank):
            here = at if i == axis else Scalar.from_index(builder, body_index(builder, i))
            flat = here if flat is None else flat * Scalar.from_index(builder, sizes[i]) + here
        assert flat is not None
        return inside.select(flat, flat.like(-1))

    maps = [AffineMap.identity(rank)] * 2
    destination = (e.empty(indices.shape, I64), indices.shape, I64)
    return e.generic([indices], maps, [PARALLEL] * rank, [destination], body)[0]


@onnx_op("GatherND", notes="the length of an index must be static")
def gather_nd(e: Emitter, node: Node) -> Tensor:
    x, indices = node.input(0), node.input(1)
    batch = node.int("batch_dims", 0)
    depth = indices.shape[-1]
    if not isinstance(depth, int):
        raise Unsupported("an index length only known at run time")
    if not 0 <= batch < min(x.rank, indices.rank) or batch + depth > x.rank or depth < 1:
        raise node.error(f"index length {depth} for rank {x.rank} and {batch} batch dimensions")
    rows = indices.shape[:-1]
    rest = x.shape[batch + depth :]
    flat = _flat_rows(e, indices, x.shape[: batch + depth], batch, depth)
    source = e.reshape(x, [product(x.shape[: batch + depth]), *rest])
    return e.reshape(take(e, source, flat, 0), [*rows, *rest])


def _flat_rows(e: Emitter, indices: Tensor, shape: Sequence[Dim], batch: int, depth: int) -> Tensor:
    """Per row of ``indices`` the flat position of its tuple in ``shape``, behind its batch coordinates."""
    sizes = [e.index(d) for d in shape]
    value = e.value(indices)
    rows = indices.shape[:-1]
    at_depth = [e.index(i) for i in range(depth)]

    def body(builder: Builder, out: Scalar) -> Scalar:
        here = [body_index(builder, i) for i in range(len(rows))]
        flat, inside = None, None
        for i, size in enumerate(sizes):
            if i < batch:
                at = Scalar.from_index(builder, here[i])
            else:
                raw = extract(builder, indices, value, [*here, at_depth[i - batch]])
                at, ok = _coordinate(builder, raw, size)
                inside = ok if inside is None else inside & ok
            flat = at if flat is None else flat * Scalar.from_index(builder, size) + at
        assert flat is not None and inside is not None
        return inside.select(flat, flat.like(-1))

    destination = (e.empty(rows, I64), rows, I64)
    return e.generic([], [AffineMap.identity(len(rows))], [PARALLEL] * len(rows), [destination], body)[0]


_COMBINE: dict[str, Callable[[Scalar, Scalar], Scalar]] = {
    "none": lambda new, old: new,
    "add": lambda new, old: old + new,
    "mul": lambda new, old: old * new,
    "max": lambda new, old: old.maximum(new),
    "min": lambda new, old: old.minimum(new),
}


def _scatter(e: Emitter, node: Node, x: Tensor, flat: Tensor, updates: Tensor) -> Tensor:
    """``updates`` [n, *rest] combined into ``x`` [m, *rest] at the positions ``flat`` [n]."""
    combine = _COMBINE.get(node.string("reduction", "none"))
    if combine is None:
        raise node.error("unknown reduction")
    element = same_element(node, [x, updates])

    def body(builder: Builder, new: Value, old: Value) -> Value:
        return combine(Scalar(builder, new, element), Scalar(builder, old, element)).value

    indices = e.unsqueeze(flat, [1])
    op = linalg_ext.Scatter.make(e.value(updates), e.value(indices), e.value(x), [0], body)
    return e.named(op, x.shape, element)


@onnx_op("ScatterElements", "Scatter", since=9)
def scatter_elements(e: Emitter, node: Node) -> Tensor:
    x, indices, updates = node.variadic
    axis = normalize_axis(node.int("axis"), x.rank)
    flat = _flat_positions(e, indices, x.shape, axis)
    count, total = product(indices.shape), product(x.shape)
    moved = _scatter(e, node, e.reshape(x, [total]), e.reshape(flat, [count]), e.reshape(updates, [count]))
    return e.reshape(moved, x.shape)


@onnx_op("ScatterND", notes="the length of an index must be static")
def scatter_nd(e: Emitter, node: Node) -> Tensor:
    x, indices, updates = node.variadic
    depth = indices.shape[-1]
    if not isinstance(depth, int):
        raise Unsupported("an index length only known at run time")
    if not 1 <= depth <= x.rank:
        raise node.error(f"index length {depth} for rank {x.rank}")
    rest = x.shape[depth:]
    flat = _flat_rows(e, indices, x.shape[:depth], 0, depth)
    count = product(indices.shape[:-1])
    source = e.reshape(x, [product(x.shape[:depth]), *rest])
    moved = _scatter(e, node, source, e.reshape(flat, [count]), e.reshape(updates, [count, *rest]))
    return e.reshape(moved, x.shape)


@onnx_op("OneHot", since=9)
def one_hot(e: Emitter, node: Node) -> Tensor:
    indices, depth, values = node.variadic
    axis = node.int("axis")
    axis = normalize_axis(axis, indices.rank + 1)
    if is_integer(depth.element):
        count = e.dims(depth)[0]
    else:
        count = e.dims(convert(e, e.reshape(depth, ()), I64))[0]
    shape = [*indices.shape[:axis], count, *indices.shape[axis:]]
    rank = len(shape)
    size, both = e.index(count), e.value(values)
    zero, one = e.index(0), e.index(1)
    indices = indices if is_integer(indices.element) else convert(e, indices, I64)

    def body(builder: Builder, raw: Scalar, out: Scalar) -> Scalar:
        at, inside = _coordinate(builder, raw, size)
        here = Scalar.from_index(builder, body_index(builder, axis))
        off = extract(builder, values, both, [zero])
        on = extract(builder, values, both, [one])
        return (inside & at.equals(here)).select(on, off)

    source = AffineMap(rank, 0, [AffineDim(i) for i in range(rank) if i != axis])
    maps = [source, AffineMap.identity(rank)]
    destination = (e.empty(shape, values.element), shape, values.element)
    return e.generic([indices], maps, [PARALLEL] * rank, [destination], body)[0]


@onnx_op("TopK")
def top_k(e: Emitter, node: Node) -> list[Tensor]:
    x = node.input(0)
    axis = normalize_axis(node.int("axis"), x.rank)
    k: Dim = node.int("k") if node.since < 10 else e.dims(node.input(1))[0]
    if x.element.kind == "u":
        raise Unsupported(f"element type {x.element.name}")
    shape = [k if i == axis else d for i, d in enumerate(x.shape)]
    op = linalg_ext.TopK.make(
        e.value(x),
        e.empty(shape, x.element),
        e.empty(shape, I64),
        axis,
        smallest=not node.int("largest", 1),
    )
    e.builder.insert(op)
    values, positions = op.results
    return [e.tensor(values, shape, x.element), e.tensor(positions, shape, I64)]


@onnx_op("ReverseSequence")
def reverse_sequence(e: Emitter, node: Node) -> Tensor:
    x, lengths = node.input(0), node.input(1)
    time, batch = node.int("time_axis"), node.int("batch_axis")
    if {time, batch} != {0, 1} or x.rank < 2:
        raise node.error(f"axes {time} and {batch} of rank {x.rank}")
    value = e.value(x)

    def body(builder: Builder, length: Scalar, out: Scalar) -> Scalar:
        indices = [body_index(builder, i) for i in range(x.rank)]
        here = Scalar.from_index(builder, indices[time])
        count = length.to(I64)
        indices[time] = (here < count).select(count - 1 - here, here).to_index()
        return extract(builder, x, value, indices)

    maps = [AffineMap.select(x.rank, [batch]), AffineMap.identity(x.rank)]
    destination = (e.empty(x.shape, x.element), x.shape, x.element)
    return e.generic([lengths], maps, [PARALLEL] * x.rank, [destination], body)[0]


@onnx_op("TensorScatter", since=24)
def tensor_scatter(e: Emitter, node: Node) -> Tensor:
    """A cache with the newest entries of each sequence in their place."""
    past, update, starts = node.input(0), node.input(1), node.optional(2)
    element = same_element(node, [past, update])
    axis = normalize_axis(node.int("axis", -2), past.rank)
    circular = node.string("mode", "linear") == "circular"
    if update.rank != past.rank or axis == 0:
        raise node.error(f"axis {axis} of ranks {past.rank} and {update.rank}")
    value, length, room = e.value(update), e.index(update.shape[axis]), e.index(past.shape[axis])
    first = starts if starts is not None else e.splat(0, [past.shape[0]], I64)

    def body(builder: Builder, old: Scalar, start: Scalar, out: Scalar) -> Scalar:
        here = [body_index(builder, i) for i in range(past.rank)]
        back = Scalar.from_index(builder, here[axis]) - start.to(I64)
        if circular:
            size = Scalar.from_index(builder, room)
            back = (back % size + size) % size
        count = Scalar.from_index(builder, length)
        inside = (back >= 0) & (back < count)
        here[axis] = back.maximum(0).minimum((count - 1).maximum(0)).to_index()
        return inside.select(extract(builder, update, value, here), old)

    identity = AffineMap.identity(past.rank)
    maps = [identity, AffineMap.select(past.rank, [0]), identity]
    destination = (e.empty(past.shape, element), past.shape, element)
    return e.generic([past, first], maps, [PARALLEL] * past.rank, [destination], body)[0]
