"""Boxes of tensors: Slice, Split, Concat, Pad, Tile, Trilu."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from iree_core_ir.dialects import arith
from iree_core_ir.ir.affine import AffineDim, AffineExpr, AffineMap
from iree_core_ir.ir.builder import Builder
from iree_core_ir.ir.operation import Value
from iree_input_onnx.dims import Dim, ceildiv, is_non_negative, lower_bound, maximum, minimum
from iree_input_onnx.elements import I64
from iree_input_onnx.emit import PARALLEL, Emitter, body_index, extract
from iree_input_onnx.errors import Unsupported
from iree_input_onnx.indexing import normalize_axes, normalize_axis
from iree_input_onnx.node import Node
from iree_input_onnx.ops.elementwise import same_element
from iree_input_onnx.scalars import Scalar
from iree_input_onnx.table import onnx_op
from iree_input_onnx.values import Tensor

_ENDLESS = (1 << 31) - 1
"""Bounds from here on mean the end of the dimension, as exporters write them."""


def clamp_bound(bound: Dim, size: Dim, low: Dim, high: Dim) -> Dim:
    """A slice bound counted from the front, clamped to ``[low, high]``."""
    if isinstance(bound, int):
        if abs(bound) >= _ENDLESS:
            return low if bound < 0 else high
        if bound < 0:
            bound = bound + size
    elif not is_non_negative(bound):
        negated = lower_bound(-bound)
        negative = 1 if negated is not None and negated > 0 else minimum(maximum(-bound, 0), 1)
        bound = bound + size * negative
    return minimum(maximum(bound, low), high)


def flip(e: Emitter, t: Tensor, axes: Sequence[int]) -> Tensor:
    """``t`` read backwards along ``axes``."""
    array = e.array(t)
    if array is not None and t.scalars is None:
        return e.constant(np.flip(array, tuple(axes)), t.element)
    results: list[AffineExpr] = [AffineDim(i) for i in range(t.rank)]
    if all(isinstance(t.shape[a], int) for a in axes):
        for axis in axes:
            size = t.shape[axis]
            assert isinstance(size, int)
            results[axis] = AffineDim(axis) * -1 + (size - 1)
        maps = [AffineMap(t.rank, 0, results), AffineMap.identity(t.rank)]
        destination = (e.empty(t.shape, t.element), t.shape, t.element)
        return e.generic([t], maps, [PARALLEL] * t.rank, [destination], lambda b, x, out: x)[0]
    value = e.value(t)
    last = {axis: e.index(t.shape[axis] - 1) for axis in axes}

    def body(builder: Builder, out: Scalar) -> Scalar:
        indices: list[Value] = [body_index(builder, i) for i in range(t.rank)]
        for axis in axes:
            indices[axis] = builder.create(arith.SubI, last[axis], indices[axis]).result
        return extract(builder, t, value, indices)

    destination = (e.empty(t.shape, t.element), t.shape, t.element)
    return e.generic([], [AffineMap.identity(t.rank)], [PARALLEL] * t.rank, [destination], body)[0]


@onnx_op("Slice", notes="steps and the number of axes must be static")
def slice_(e: Emitter, node: Node) -> Tensor:
    x = node.input(0)
    if node.since < 10:
        starts: list[Dim] = list(node.ints("starts", []))
        ends: list[Dim] = list(node.ints("ends", []))
        axes = node.ints("axes", list(range(len(starts))))
        steps: list[Dim] = [1] * len(starts)
    else:
        starts, ends = e.dims(node.input(1)), e.dims(node.input(2))
        axes_input, steps_input = node.optional(3), node.optional(4)
        axes = [_static(d) for d in e.dims(axes_input)] if axes_input else list(range(len(starts)))
        steps = e.dims(steps_input) if steps_input else [1] * len(starts)
    axes = normalize_axes(axes, x.rank)
    offsets: list[Dim] = [0] * x.rank
    sizes = list(x.shape)
    strides = [1] * x.rank
    flipped = []
    for axis, first, last, step_dim in zip(axes, starts, ends, steps, strict=True):
        size, step = x.shape[axis], _static(step_dim)
        if step == 0:
            raise node.error("a step is 0")
        if step > 0:
            first = clamp_bound(first, size, 0, size)
            last = clamp_bound(last, size, 0, size)
            offsets[axis], sizes[axis] = first, maximum(ceildiv(last - first, step), 0)
            strides[axis] = step
            continue
        # Backwards: the same elements forwards, then flipped.
        first = clamp_bound(first, size, 0, size - 1)
        last = clamp_bound(last, size, -1, size - 1)
        count = maximum(ceildiv(first - last, -step), 0)
        offsets[axis] = first + (count - 1) * step if count != 0 else 0
        sizes[axis], strides[axis] = count, -step
        flipped.append(axis)
    box = e.slice(x, offsets, sizes, strides)
    return flip(e, box, flipped) if flipped else box


def _static(dim: Dim) -> int:
    if not isinstance(dim, int):
        raise Unsupported("axes or steps only known at run time")
    return dim


@onnx_op("Split", since=2)
def split(e: Emitter, node: Node) -> list[Tensor]:
    x = node.input(0)
    axis = normalize_axis(node.int("axis", 0), x.rank)
    n_outputs = len(node.proto.output)
    sizes: list[Dim]
    given = node.ints("split") if node.since < 13 else node.optional(1)
    if given is None:
        count = node.int("num_outputs", n_outputs) if node.since >= 18 else n_outputs
        if count != n_outputs:
            raise node.error(f"num_outputs is {count} for {n_outputs} outputs")
        part = ceildiv(x.shape[axis], count)
        sizes = [part] * (count - 1)
        sizes.append(x.shape[axis] - part * (count - 1))
    else:
        sizes = e.dims(given) if isinstance(given, Tensor) else list(given)
    total = sum(sizes)
    if len(sizes) != n_outputs or (
        isinstance(total, int) and isinstance(x.shape[axis], int) and total != x.shape[axis]
    ):
        raise node.error(f"sizes {sizes} for {n_outputs} outputs of a dimension of {x.shape[axis]}")
    results = []
    offset: Dim = 0
    for size in sizes:
        offsets: list[Dim] = [0] * x.rank
        box = list(x.shape)
        offsets[axis], box[axis] = offset, size
        results.append(e.slice(x, offsets, box))
        offset = offset + size
    return results


@onnx_op("Concat", since=4)
def concat(e: Emitter, node: Node) -> Tensor:
    inputs = node.variadic
    same_element(node, inputs)
    rank = inputs[0].rank
    if any(t.rank != rank for t in inputs):
        raise node.error("inputs differ in rank")
    return e.concat(inputs, normalize_axis(node.int("axis"), rank))


def pad_amounts(e: Emitter, node: Node, rank: int) -> tuple[list[Dim], list[Dim]]:
    """Padding before and after every axis."""
    if node.since < 11:
        pads: list[Dim] = list(node.ints("pads", []))
        axes = list(range(rank))
    else:
        pads = e.dims(node.input(1))
        given = node.optional(3)
        axes = (
            list(range(rank)) if given is None else normalize_axes([_static(d) for d in e.dims(given)], rank)
        )
    if len(pads) != 2 * len(axes):
        raise node.error(f"{len(pads)} pads for {len(axes)} axes")
    low: list[Dim] = [0] * rank
    high: list[Dim] = [0] * rank
    for i, axis in enumerate(axes):
        low[axis], high[axis] = pads[i], pads[len(axes) + i]
    return low, high


@onnx_op("Pad", since=2)
def pad(e: Emitter, node: Node) -> Tensor:
    x = node.input(0)
    low, high = pad_amounts(e, node, x.rank)
    mode = node.string("mode", "constant")
    if mode == "constant":
        if node.since < 11:
            return e.pad(x, low, high, node.float("value", 0.0))
        given = node.optional(2)
        if given is None:
            return e.pad(x, low, high, 0)
        if given.number is not None:
            return e.pad(x, low, high, given.number)
        return e.pad(x, low, high, e.scalar(e.scalars(given)[0], x.element))
    if mode not in ("reflect", "edge", "wrap"):
        raise node.error(f"unknown mode '{mode}'")
    return _pad_by_index(e, x, low, high, mode)


def _pad_by_index(e: Emitter, x: Tensor, low: Sequence[Dim], high: Sequence[Dim], mode: str) -> Tensor:
    """Padding with elements of the tensor itself: each result reads the element its index stands for."""
    shape = [a + d + b for a, d, b in zip(low, x.shape, high, strict=True)]
    value = e.value(x)
    before = [e.index(d) for d in low]
    sizes = [e.index(d) for d in x.shape]

    def body(builder: Builder, out: Scalar) -> Scalar:
        indices = []
        for axis in range(x.rank):
            here = Scalar.from_index(builder, body_index(builder, axis))
            at = here - Scalar.from_index(builder, before[axis])
            size = Scalar.from_index(builder, sizes[axis])
            if mode == "edge":
                at = at.clamp(0, size - 1)
            elif mode == "wrap":
                rest = at % size
                at = (rest < 0).select(rest + size, rest)
            else:  # reflect: a zigzag of period 2 * (size - 1)
                period = ((size - 1) * 2).maximum(1)
                rest = at % period
                rest = (rest < 0).select(rest + period, rest)
                at = (rest < size).select(rest, period - rest)
            indices.append(at.to_index())
        return extract(builder, x, value, indices)

    destination = (e.empty(shape, x.element), shape, x.element)
    return e.generic([], [AffineMap.identity(x.rank)], [PARALLEL] * x.rank, [destination], body)[0]


@onnx_op("Tile", since=6)
def tile(e: Emitter, node: Node) -> Tensor:
    x = node.input(0)
    repeats = e.dims(node.input(1))
    if len(repeats) != x.rank:
        raise node.error(f"{len(repeats)} repeats for rank {x.rank}")
    # Broadcast a unit dim in front of every axis, then merge the pairs.
    spread: list[Dim] = []
    source: list[Dim] = []
    for times, size in zip(repeats, x.shape, strict=True):
        if times != 1:
            source.append(1)
            spread.append(times)
        source.append(size)
        spread.append(size)
    shape = [times * size for times, size in zip(repeats, x.shape, strict=True)]
    return e.reshape(e.broadcast_to(e.reshape(x, source), spread), shape)


@onnx_op("Trilu")
def trilu(e: Emitter, node: Node) -> Tensor:
    x = node.input(0)
    if x.rank < 2:
        raise node.error(f"rank {x.rank}, expected at least 2")
    given = node.optional(1)
    offset: Dim = 0 if given is None else e.dims(given)[0]
    upper = bool(node.int("upper", 1))
    k = e.index(offset)

    def body(builder: Builder, v: Scalar, out: Scalar) -> Scalar:
        row, column = (Scalar.from_index(builder, body_index(builder, x.rank + a), I64) for a in (-2, -1))
        diagonal = row + Scalar.from_index(builder, k)
        keep = column >= diagonal if upper else column <= diagonal
        return keep.select(v, v.like(0))

    maps = [AffineMap.identity(x.rank)] * 2
    destination = (e.empty(x.shape, x.element), x.shape, x.element)
    return e.generic([x], maps, [PARALLEL] * x.rank, [destination], body)[0]
