"""Pooling -> named linalg pooling on an explicitly padded input, or a reduction for global pooling.

Max pads with the smallest number; average divides by the number of elements that count. Three-dimensional
windows, which have no named op in this layout, become a ``linalg.generic``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from iree_base.element_types import ElementType
from iree_core_ir.dialects import linalg, math
from iree_core_ir.ir.affine import AffineDim, AffineMap
from iree_core_ir.ir.builder import Builder
from iree_input_onnx.dims import Dim, product
from iree_input_onnx.elements import F32, I64, accumulator, is_float
from iree_input_onnx.emit import PARALLEL, REDUCTION, Emitter, body_index
from iree_input_onnx.errors import Unsupported
from iree_input_onnx.node import Node
from iree_input_onnx.ops.cast import convert
from iree_input_onnx.ops.reduction import lowest, mean
from iree_input_onnx.scalars import Scalar
from iree_input_onnx.table import onnx_op
from iree_input_onnx.values import Tensor
from iree_input_onnx.windows import Windows, windows

_SUM: dict[int, Any] = {1: linalg.PoolingNcwSum, 2: linalg.PoolingNchwSum}
_MAX: dict[int, Any] = {1: linalg.PoolingNcwMax, 2: linalg.PoolingNchwMax}


def _kernel(node: Node) -> list[int]:
    return list(node.ints("kernel_shape", []))


def _pad_space(e: Emitter, x: Tensor, window: Windows, number: Any) -> Tensor:
    return e.pad(x, [0, 0, *window.low], [0, 0, *window.high], number)


def window_maps(window: Windows) -> list[AffineMap]:
    """Maps of input, window and output over the loops n c *output *kernel."""
    rank = window.rank
    loops = 2 + 2 * rank
    space = [
        AffineDim(2 + i) * window.strides[i] + AffineDim(2 + rank + i) * window.dilations[i]
        for i in range(rank)
    ]
    return [
        AffineMap(loops, 0, [AffineDim(0), AffineDim(1), *space]),
        AffineMap.select(loops, range(2 + rank, loops)),
        AffineMap.select(loops, range(2 + rank)),
    ]


def pool(
    e: Emitter, padded: Tensor, window: Windows, element: ElementType, number: Any, largest: bool
) -> Tensor:
    """Sum or maximum over the windows of a padded input, from ``number`` on."""
    shape = [*padded.shape[:2], *window.output]
    shape_only = Tensor(element, window.kernel, value=e.empty(window.kernel, element))
    destination = e.filled(shape, element, number)
    named = (_MAX if largest else _SUM).get(window.rank)
    if named is not None and element.kind != "u":
        inputs = [e.value(padded), e.value(shape_only)]
        return e.named(named.make(inputs, [destination], window.strides, window.dilations), shape, element)

    def body(builder: Builder, x: Scalar, _: Scalar, out: Scalar) -> Scalar:
        return out.maximum(x.to(element)) if largest else out + x.to(element)

    iterators = [PARALLEL] * (2 + window.rank) + [REDUCTION] * window.rank
    return e.generic(
        [padded, shape_only], window_maps(window), iterators, [(destination, shape, element)], body
    )[0]


@onnx_op("MaxPool", notes="Indices for static spatial sizes")
def max_pool(e: Emitter, node: Node) -> list[Tensor]:
    x = node.input(0)
    window = windows(node, x.shape[2:], _kernel(node), bool(node.int("ceil_mode", 0)))
    smallest = lowest(x.element)
    padded = _pad_space(e, x, window, smallest)
    if node.wants(1):
        return _max_pool_indices(e, node, x, padded, window, smallest)
    return [pool(e, padded, window, x.element, smallest, True)]


def _max_pool_indices(
    e: Emitter, node: Node, x: Tensor, padded: Tensor, window: Windows, smallest: Any
) -> list[Tensor]:
    """Values and the flat position (over all of ``x``) of each, the first of equal ones."""
    rank = window.rank
    sizes = x.shape
    low = [e.index(d) for d in window.low]
    extents = [e.index(d) for d in sizes]
    column = bool(node.int("storage_order", 0))
    shape = [*x.shape[:2], *window.output]
    shape_only = Tensor(x.element, window.kernel, value=e.empty(window.kernel, x.element))
    outputs = [
        (e.filled(shape, x.element, smallest), shape, x.element),
        (e.filled(shape, I64, -1), shape, I64),
    ]

    def body(builder: Builder, value: Scalar, _: Scalar, best: Scalar, at: Scalar) -> list[Scalar]:
        def loop(axis: int) -> Scalar:
            return Scalar.from_index(builder, body_index(builder, axis))

        flat = loop(0) * Scalar.from_index(builder, extents[1]) + loop(1)
        places, inside = [], None
        for i in range(rank):
            place = loop(2 + i) * window.strides[i] + loop(2 + rank + i) * window.dilations[i]
            place = place - Scalar.from_index(builder, low[i])
            ok = (place >= 0) & (place < Scalar.from_index(builder, extents[2 + i]))
            inside = ok if inside is None else inside & ok
            places.append((place, Scalar.from_index(builder, extents[2 + i])))
        for _place, size in places:
            flat = flat * size
        offset = flat.like(0)
        for place, size in reversed(places) if column else places:
            offset = offset * size + place
        flat = flat + offset
        assert inside is not None
        better = inside & ((value > best) | (at < 0))
        return [better.select(value, best), better.select(flat, at)]

    iterators = [PARALLEL] * (2 + rank) + [REDUCTION] * rank
    maps = window_maps(window)
    return e.generic([padded, shape_only], [*maps, maps[2]], iterators, outputs, body)


def _counts(e: Emitter, window: Windows, space: Sequence[Dim], include: bool, pads: Sequence[Any]) -> Tensor:
    """How many elements of each window count, as f32 [*output]; padding counts when ``include``."""
    rank = window.rank
    edges = []
    for axis in range(rank):
        low, size = window.low[axis], space[axis]
        # Padding that ceil_mode added beyond the explicit one never counts.
        edges.append((0, low + size + pads[axis]) if include else (low, low + size))
    static = all(isinstance(d, int) for pair in edges for d in pair) and all(
        isinstance(d, int) for d in window.output
    )
    if static:
        per_axis = []
        for axis, (first, last) in enumerate(edges):
            at = np.arange(int(window.output[axis]))[:, None] * window.strides[axis]  # type: ignore[arg-type]
            at = at + np.arange(window.kernel[axis])[None, :] * window.dilations[axis]
            assert isinstance(first, int) and isinstance(last, int)
            per_axis.append(((at >= first) & (at < last)).sum(1))
        counts = per_axis[0].astype(np.float32)
        for other in per_axis[1:]:
            counts = counts[..., None] * other
        return e.constant(counts.astype(np.float32), F32)
    firsts = [e.index(first) for first, _ in edges]
    lasts = [e.index(last) for _, last in edges]
    shape_only = Tensor(F32, window.kernel, value=e.empty(window.kernel, F32))

    def body(builder: Builder, _: Scalar, out: Scalar) -> Scalar:
        inside = None
        for i in range(rank):
            at = Scalar.from_index(builder, body_index(builder, i)) * window.strides[i]
            at = at + Scalar.from_index(builder, body_index(builder, rank + i)) * window.dilations[i]
            ok = (at >= Scalar.from_index(builder, firsts[i])) & (at < Scalar.from_index(builder, lasts[i]))
            inside = ok if inside is None else inside & ok
        assert inside is not None
        return out + inside.to(F32)

    maps = [AffineMap.select(2 * rank, range(rank, 2 * rank)), AffineMap.select(2 * rank, range(rank))]
    destination = (e.filled(window.output, F32, 0), window.output, F32)
    iterators = [PARALLEL] * rank + [REDUCTION] * rank
    return e.generic([shape_only], maps, iterators, [destination], body)[0]


@onnx_op("AveragePool")
def average_pool(e: Emitter, node: Node) -> Tensor:
    x = node.input(0)
    kernel = _kernel(node)
    plain = windows(node, x.shape[2:], kernel)
    window = windows(node, x.shape[2:], kernel, bool(node.int("ceil_mode", 0)))
    include = bool(node.int("count_include_pad", 0))
    wide = accumulator(x.element)
    total = pool(e, convert(e, _pad_space(e, x, window, 0), wide), window, wide, 0, False)
    clipped = window.high != plain.high
    if not clipped and (include or not window.is_padded):
        count = float(product(kernel))  # type: ignore[arg-type]
        result = e.elementwise([total], lambda v: v / count, wide)
    else:
        counts = _counts(e, window, x.shape[2:], include, plain.high)
        result = e.elementwise([total, counts], lambda v, n: v / n.to(wide), wide)
    return convert(e, result, x.element)


@onnx_op("LpPool", since=2)
def lp_pool(e: Emitter, node: Node) -> Tensor:
    x = node.input(0)
    p = node.int("p", 2)
    window = windows(node, x.shape[2:], _kernel(node), bool(node.int("ceil_mode", 0)))
    wide = accumulator(x.element)
    raised = e.elementwise([convert(e, x, wide)], lambda v: power(v, p), wide)
    total = pool(e, _pad_space(e, raised, window, 0), window, wide, 0, False)
    return convert(e, e.elementwise([total], lambda v: root(v, p), wide), x.element)


def power(x: Scalar, p: float) -> Scalar:
    """|x|^p."""
    if p == 1:
        return x.abs()
    return x * x if p == 2 else x.abs().apply(math.PowF, float(p))


def root(x: Scalar, p: float) -> Scalar:
    """x^(1/p) of a non-negative number."""
    if p == 1:
        return x
    return x.sqrt() if p == 2 else x.apply(math.PowF, 1.0 / p)


def _space_axes(x: Tensor) -> list[int]:
    if x.rank < 2:
        raise Unsupported(f"rank {x.rank}")
    return list(range(2, x.rank))


@onnx_op("GlobalAveragePool")
def global_average_pool(e: Emitter, node: Node) -> Tensor:
    x = node.input(0)
    return mean(e, x, _space_axes(x), keep=True)


@onnx_op("GlobalMaxPool")
def global_max_pool(e: Emitter, node: Node) -> Tensor:
    x = node.input(0)
    return e.reduce(x, _space_axes(x), x.element, lowest(x.element), lambda a, v: a.maximum(v), keep=True)


@onnx_op("GlobalLpPool", since=2)
def global_lp_pool(e: Emitter, node: Node) -> Tensor:
    x = node.input(0)
    if not is_float(x.element):
        raise Unsupported(f"element type {x.element.name}")
    p = node.int("p", 2)
    wide = accumulator(x.element)
    total = e.reduce(x, _space_axes(x), wide, 0, lambda a, v: a + power(v.to(wide), p), keep=True)
    return convert(e, e.elementwise([total], lambda v: root(v, p), wide), x.element)
