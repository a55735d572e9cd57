"""Boxes of an image pooled to one size: RoiAlign.

Every bin of a box is the mean (or maximum) over a grid of points between elements: a ``linalg.generic`` whose
reduction goes over the points. Where the grid depends on the box, the largest one is read back.
"""

from __future__ import annotations

import numpy as np

from iree_core_ir.dialects import math
from iree_core_ir.ir.affine import AffineMap
from iree_core_ir.ir.builder import Builder
from iree_core_ir.ir.operation import Value
from iree_input_onnx.dims import Dim, maximum
from iree_input_onnx.elements import I64, accumulator, is_float
from iree_input_onnx.emit import PARALLEL, REDUCTION, Emitter, body_index, extract
from iree_input_onnx.errors import Unsupported
from iree_input_onnx.node import Node
from iree_input_onnx.ops.cast import convert
from iree_input_onnx.ops.elementwise import same_element
from iree_input_onnx.scalars import Scalar
from iree_input_onnx.table import onnx_op
from iree_input_onnx.values import Tensor


def _edges(e: Emitter, node: Node, rois: Tensor) -> list[Tensor]:
    """Start and extent per axis, height first, [boxes] each, in elements of the image."""
    scale = float(node.float("spatial_scale", 1.0))
    half = node.since >= 16 and node.string("coordinate_transformation_mode", "half_pixel") == "half_pixel"
    n = rois.shape[0]
    x1, y1, x2, y2 = (e.squeeze(e.slice(rois, [0, i], [n, 1]), [1]) for i in range(4))
    found = []
    for low, high in ((y1, y2), (x1, x2)):
        found.append(e.elementwise([low], lambda v: v * scale - (0.5 if half else 0.0), rois.element))
        size = e.elementwise([low, high], lambda a, b: b * scale - a * scale, rois.element)
        found.append(size if half else e.elementwise([size], lambda v: v.maximum(1.0), rois.element))
    return found


def _points(e: Emitter, node: Node, extent: Tensor, bins: int) -> tuple[Tensor, Dim]:
    """Points of a bin along one axis per box, and the most of any."""
    given = node.int("sampling_ratio", 0)
    if given > 0:
        return e.splat(given, extent.shape, I64), given
    own = e.elementwise([extent], lambda v: (v / float(bins)).apply(math.Ceil).to(I64).maximum(0), I64)
    most = e.reduce(own, [0], I64, 0, lambda acc, v: acc.maximum(v))
    return own, maximum(e.dims(most)[0], 1)


def _between(at: Scalar, size: Scalar) -> tuple[Scalar, list[tuple[Value, Scalar]]]:
    """Whether a point counts, and its two neighbours with their weights."""
    extent = size.to(at.element)
    inside = (at >= -1) & (at <= extent)
    at = at.maximum(0).minimum(extent - 1)
    low = at.apply(math.Floor)
    first = low.to(I64).maximum(0).minimum(size - 1)
    second = (first + 1).minimum(size - 1)
    part = at - low
    return inside, [(first.to_index(), 1 - part), (second.to_index(), part)]


@onnx_op("RoiAlign", since=10)
def roi_align(e: Emitter, node: Node) -> Tensor:
    x, rois, batch = node.input(0), node.input(1), node.input(2)
    element = same_element(node, [x, rois])
    if not is_float(element) or x.rank != 4 or rois.rank != 2:
        raise Unsupported(f"an image of rank {x.rank} and type {element.name}")
    largest = node.string("mode", "avg").lower() == "max"
    wide = accumulator(element)
    height, width = node.int("output_height", 1), node.int("output_width", 1)
    source, rois = convert(e, x, wide), convert(e, rois, wide)
    y0, tall, x0, broad = _edges(e, node, rois)
    rows, most_rows = _points(e, node, tall, height)
    columns, most_columns = _points(e, node, broad, width)
    n, c = rois.shape[0], x.shape[1]
    value, images, sizes = e.value(source), e.index(x.shape[0]), [e.index(d) for d in x.shape[2:]]
    bins = (height, width)

    def body(builder: Builder, *scalars: Scalar) -> Scalar:
        image, top, left, h, w, n_rows, n_columns, _, acc = scalars
        here = [body_index(builder, i) for i in range(6)]
        taps, counts, inside = [], [], []
        for axis, (start, extent, count) in enumerate(((top, h, n_rows), (left, w, n_columns))):
            bin_size = extent / float(bins[axis])
            place = Scalar.from_index(builder, here[2 + axis]).to(wide)
            step = Scalar.from_index(builder, here[4 + axis])
            at = start + place * bin_size + (step.to(wide) + 0.5) * bin_size / count.to(wide)
            is_inside, both = _between(at, Scalar.from_index(builder, sizes[axis]))
            taps.append(both)
            counts.append(step < count)
            inside.append(is_inside)
        counted = counts[0] & counts[1]
        used = inside[0] & inside[1] & counted
        last = Scalar.from_index(builder, images) - 1
        batch_index = image.to(I64).maximum(0).minimum(last).to_index()
        parts = [
            extract(builder, source, value, [batch_index, here[1], y, x_]) * (wy * wx)
            for y, wy in taps[0]
            for x_, wx in taps[1]
        ]
        if largest:
            best = parts[0]
            for part in parts[1:]:
                best = best.maximum(part)
            return counted.select(acc.maximum(used.select(best, 0)), acc)
        total = parts[0] + parts[1] + parts[2] + parts[3]
        points = (n_rows * n_columns).maximum(1).to(wide)
        return acc + used.select(total / points, 0)

    box = AffineMap.select(6, [0])
    inputs = [batch, y0, x0, tall, broad, rows, columns]
    grid: list[Dim] = [most_rows, most_columns]
    whole = Tensor(wide, grid, value=e.filled(grid, wide, 0))
    shape: list[Dim] = [n, c, height, width]
    start = e.filled(shape, wide, -np.inf if largest else 0.0)
    maps = [box] * len(inputs) + [AffineMap.select(6, [4, 5]), AffineMap.select(6, range(4))]
    iterators = [PARALLEL] * 4 + [REDUCTION] * 2
    made = e.generic([*inputs, whole], maps, iterators, [(start, shape, wide)], body)[0]
    return convert(e, made, element)
