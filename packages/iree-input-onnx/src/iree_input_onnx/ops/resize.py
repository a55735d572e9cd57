"""Resize and Upsample -> one ``linalg.generic`` that reads the source pixels each result needs.

Along every resized axis a result reads one (nearest), two (linear) or four (cubic) source pixels with weights
that depend on its index; with static sizes these indices and weights are constant tables, computed here in
float64 as the standard defines them. An axis after the other: the result is separable.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from iree_base.records import record
from iree_core_ir.dialects import math
from iree_core_ir.ir.affine import AffineMap
from iree_core_ir.ir.builder import Builder
from iree_input_onnx.dims import Dim
from iree_input_onnx.elements import F32, F64, I64, accumulator
from iree_input_onnx.emit import PARALLEL, Emitter, body_index, extract
from iree_input_onnx.errors import Unsupported
from iree_input_onnx.indexing import normalize_axis
from iree_input_onnx.node import Node
from iree_input_onnx.ops.cast import convert
from iree_input_onnx.scalars import Scalar
from iree_input_onnx.table import onnx_op
from iree_input_onnx.values import Array, Tensor


@record
class Axis:
    """One resized axis: source and result size, scale, and the range of the source that is meant."""

    axis: int
    size: int
    output: int
    scale: float
    start: float = 0.0
    end: float = 1.0


def source_positions(axis: Axis, mode: str, number: Any = np.float64) -> Array:
    """The (fractional) source position of every result index, as the standard's formulas.

    Where positions are rounded to one pixel the precision decides ties; onnxruntime computes in f32.
    """
    x = np.arange(axis.output).astype(number)
    axis = replace(axis, scale=number(axis.scale), start=number(axis.start), end=number(axis.end))
    if mode == "half_pixel":
        return (x + 0.5) / axis.scale - 0.5
    if mode == "half_pixel_symmetric":
        adjustment = axis.output / (axis.scale * axis.size)
        center = axis.size / 2
        return center * (1 - adjustment) + (x + 0.5) / axis.scale - 0.5
    if mode == "pytorch_half_pixel":
        return (x + 0.5) / axis.scale - 0.5 if axis.output > 1 else np.zeros(axis.output)
    if mode == "align_corners":
        return np.zeros(axis.output) if axis.output == 1 else x * (axis.size - 1) / (axis.output - 1)
    if mode == "asymmetric":
        return x / axis.scale
    if mode == "tf_half_pixel_for_nn":
        return (x + 0.5) / axis.scale
    if mode == "tf_crop_and_resize":
        if axis.output > 1:
            step = (axis.end - axis.start) * (axis.size - 1) / (axis.output - 1)
            return axis.start * (axis.size - 1) + x * step
        return np.full(axis.output, 0.5 * (axis.start + axis.end) * (axis.size - 1))
    raise ValueError(f"unknown coordinate_transformation_mode '{mode}'")


TIE = 1e-6
"""Positions this near the middle between two pixels are there, as in onnxruntime: f32 may miss 3.5."""


def _ties(x: Array) -> Array:
    """Positions of which those near the middle between two pixels are there."""
    middle = np.floor(x) + 0.5
    return np.where(np.abs(x - middle) < TIE, middle, x)


_NEAREST: dict[str, Callable[[Array], Array]] = {
    "round_prefer_floor": lambda x: np.ceil(_ties(x) - 0.5),
    "round_prefer_ceil": lambda x: np.floor(_ties(x) + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


def taps(axis: Axis, node: Node, mode: str, coordinates: str) -> tuple[Array, Array]:
    """Source indices [output, taps] and their weights, clamped to the source at its borders."""
    position = source_positions(axis, coordinates, np.float32 if mode == "nearest" else np.float64)
    antialias = bool(node.get("antialias", 0)) and axis.scale < 1
    exclude = bool(node.get("exclude_outside", 0))
    if mode == "nearest":
        rounded: Array = _NEAREST[node.string("nearest_mode", "floor")](position)
        index = np.clip(rounded, 0, axis.size - 1).astype(np.int64)[:, None]
        return index, np.ones(index.shape)
    stretch = axis.scale if antialias else 1.0
    support = {"linear": 1, "cubic": 2}[mode]
    first = np.floor(position - support / stretch).astype(np.int64) + 1
    count = int(np.ceil(2 * support / stretch)) + (1 if antialias else 0)
    index = first[:, None] + np.arange(count)[None, :]
    distance = np.abs(index - position[:, None]) * stretch
    if mode == "linear":
        weights = np.maximum(1 - distance, 0)
    else:
        a = float(node.get("cubic_coeff_a", -0.75))
        near = ((a + 2) * distance - (a + 3)) * distance * distance + 1
        far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
        weights = np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))
    if exclude:
        weights = np.where((index < 0) | (index >= axis.size), 0.0, weights)
    if exclude or antialias:
        weights = weights / weights.sum(1, keepdims=True)
    return np.clip(index, 0, axis.size - 1), weights


def _resize_axis(e: Emitter, x: Tensor, axis: Axis, index: Array, weights: Array) -> Tensor:
    """One axis resampled with constant tables."""
    shape: list[Dim] = list(x.shape)
    shape[axis.axis] = axis.output
    value = e.value(x)
    n_taps = index.shape[1]
    destination = (e.empty(shape, x.element), shape, x.element)
    ratio = _repeats(index, axis) if n_taps == 1 else None
    if ratio is not None:
        # Each source pixel `ratio` times in a row: a broadcast that needs no table.
        spread = [*x.shape[: axis.axis + 1], 1, *x.shape[axis.axis + 1 :]]
        full = [*x.shape[: axis.axis + 1], ratio, *x.shape[axis.axis + 1 :]]
        return e.reshape(e.broadcast_to(e.reshape(x, spread), full), shape)
    columns = [e.constant(np.ascontiguousarray(index[:, i]), I64) for i in range(n_taps)]
    factors = [e.constant(weights[:, i].astype(x.element.dtype), x.element) for i in range(n_taps)]
    inputs = columns if n_taps == 1 else [t for pair in zip(columns, factors, strict=True) for t in pair]

    def body(builder: Builder, *scalars: Scalar) -> Scalar:
        here = [body_index(builder, i) for i in range(x.rank)]

        def read(at: Scalar) -> Scalar:
            indices = list(here)
            indices[axis.axis] = at.to_index()
            return extract(builder, x, value, indices)

        if n_taps == 1:
            return read(scalars[0])
        total = None
        for i in range(n_taps):
            term = read(scalars[2 * i]) * scalars[2 * i + 1]
            total = term if total is None else total + term
        assert total is not None
        return total

    maps = [AffineMap.select(x.rank, [axis.axis])] * len(inputs) + [AffineMap.identity(x.rank)]
    return e.generic(inputs, maps, [PARALLEL] * x.rank, [destination], body)[0]


def _repeats(index: Array, axis: Axis) -> int | None:
    """k when every source index comes k times in a row, in order."""
    if axis.output % axis.size:
        return None
    ratio = axis.output // axis.size
    return ratio if np.array_equal(index[:, 0], np.arange(axis.output) // ratio) else None


def _scales_and_sizes(
    e: Emitter, node: Node, x: Tensor
) -> tuple[list[int], list[float | None], list[Dim | None]]:
    """Resized axes, and per axis its scale or its size."""
    if node.op_type == "Upsample" or node.since < 11:
        if node.op_type == "Upsample" and node.since < 9:
            scales = node.get("scales")
        else:
            scales = _floats(e, node.input(1))
        return list(range(x.rank)), list(scales), [None] * x.rank
    given = node.ints("axes")
    axes = list(range(x.rank)) if given is None else [normalize_axis(a, x.rank) for a in given]
    scales_input, sizes_input = node.optional(2), node.optional(3)
    if sizes_input is not None and sizes_input.n_elements != 0:
        return axes, [None] * len(axes), list(e.dims(sizes_input))
    if scales_input is None or scales_input.n_elements == 0:
        raise node.error("neither scales nor sizes are given")
    return axes, list(_floats(e, scales_input)), [None] * len(axes)


def _floats(e: Emitter, t: Tensor) -> list[float]:
    array = e.array(t)
    if array is None:
        raise Unsupported("scales only known at run time")
    return [float(v) for v in array.reshape(-1)]


@onnx_op("Resize", "Upsample", since=7, notes="dynamic sizes: nearest and linear with constant scales")
def resize(e: Emitter, node: Node) -> Tensor:
    x = node.input(0)
    mode = {"bilinear": "linear", "trilinear": "linear"}.get(node.string("mode"), node.string("mode"))
    coordinates = node.string("coordinate_transformation_mode", "asymmetric")
    axes, scales, sizes = _scales_and_sizes(e, node, x)
    if len(scales) != len(axes) or len(sizes) != len(axes):
        raise node.error(f"{len(scales)} scales for {len(axes)} axes")
    region: list[float] | None = None
    if coordinates == "tf_crop_and_resize":
        region = _floats(e, node.input(1))
    wide = x if mode == "nearest" else convert(e, x, accumulator(x.element) if x.element.kind == "f" else F32)
    dynamic = any(not isinstance(x.shape[a], int) for a in axes) or any(isinstance(s, Tensor) for s in sizes)
    if dynamic or any(s is not None and not isinstance(s, int) for s in sizes):
        if node.get("keep_aspect_ratio_policy", "stretch") != "stretch" or region is not None:
            raise Unsupported("a policy or region for sizes only known at run time")
        return convert(e, _dynamic(e, node, wide, axes, scales, sizes, mode, coordinates), x.element)
    plan = _plan(node, x, axes, scales, sizes, region)
    result = wide
    inside = None
    for axis in plan:
        unchanged = axis.output == axis.size and axis.scale == 1 and region is None
        if unchanged:
            continue
        index, weights = taps(axis, node, mode, coordinates)
        result = _resize_axis(e, result, axis, index, weights)
        if region is not None:
            position = source_positions(axis, coordinates)
            shape = [1] * x.rank
            shape[axis.axis] = axis.output
            ok = ((position >= 0) & (position <= axis.size - 1)).reshape(shape)
            inside = ok if inside is None else inside & ok
    if inside is not None and not inside.all():
        from iree_input_onnx.elements import I1

        value = node.float("extrapolation_value")
        full = [int(d) for d in result.shape]  # type: ignore[arg-type]
        mask = e.constant(np.broadcast_to(inside, full), I1)
        result = e.elementwise([mask, result], lambda c, v: c.select(v, value), result.element)
    if x.element.kind in "iu" and mode != "nearest":
        result = e.elementwise([result], lambda v: v.apply(math.RoundEven), result.element)
    return convert(e, result, x.element)


def _plan(
    node: Node,
    x: Tensor,
    axes: Sequence[int],
    scales: Sequence[float | None],
    sizes: Sequence[Dim | None],
    region: Sequence[float] | None,
) -> list[Axis]:
    source = [int(x.shape[a]) for a in axes]  # type: ignore[arg-type]
    policy = node.get("keep_aspect_ratio_policy", "stretch")
    wanted: list[int] = []
    used: list[float] = []
    if sizes[0] is not None:
        given = [int(s) for s in sizes]  # type: ignore[arg-type]
        used = [g / s for g, s in zip(given, source, strict=True)]
        wanted = given
        if policy in ("not_larger", "not_smaller"):
            scale = min(used) if policy == "not_larger" else max(used)
            used = [scale] * len(used)
            wanted = [int(np.floor(scale * s + 0.5)) for s in source]
    else:
        for i, (scale_given, size) in enumerate(zip(scales, source, strict=True)):
            extent = 1.0 if region is None else region[i + len(axes)] - region[i]
            used.append(float(scale_given))  # type: ignore[arg-type]
            # Scales are f32, and so is the product: 10 times 0.7, which is a little less in f32, are 7.
            product = np.float32(size) * np.float32(extent) * np.float32(scale_given)
            wanted.append(int(np.floor(product)))
    plan = []
    for i, axis in enumerate(axes):
        if used[i] <= 0 or wanted[i] < 0:
            raise node.error(f"scale {used[i]}")
        made = Axis(axis, source[i], wanted[i], used[i])
        if region is not None:
            made.start, made.end = region[i], region[i + len(axes)]
        plan.append(made)
    return plan


def _dynamic(
    e: Emitter,
    node: Node,
    x: Tensor,
    axes: Sequence[int],
    scales: Sequence[float | None],
    sizes: Sequence[Dim | None],
    mode: str,
    coordinates: str,
) -> Tensor:
    """Sizes known at run time: positions are computed inside the loops."""
    if (
        mode == "cubic"
        or node.get("antialias", 0)
        or coordinates not in ("asymmetric", "half_pixel", "pytorch_half_pixel", "align_corners")
    ):
        raise Unsupported(f"mode '{mode}', {coordinates} with sizes only known at run time")
    for axis, scale, size in zip(axes, scales, sizes, strict=True):
        if scale == 1 or (size is not None and size == x.shape[axis]):
            continue
        if size is None:
            assert scale is not None
            whole = int(scale)
            if scale != whole:
                raise Unsupported("fractional scales of sizes only known at run time")
            size = x.shape[axis] * whole
        x = _dynamic_axis(e, node, x, axis, scale, size, mode, coordinates)
    return x


def _dynamic_axis(
    e: Emitter,
    node: Node,
    x: Tensor,
    axis: int,
    scale: float | None,
    size: Dim,
    mode: str,
    coordinates: str,
) -> Tensor:
    whole = scale is not None and mode == "nearest" and scale == int(scale)
    if whole and coordinates == "asymmetric" and node.string("nearest_mode", "floor") == "floor":
        assert scale is not None
        spread = [*x.shape[: axis + 1], 1, *x.shape[axis + 1 :]]
        full = [*x.shape[: axis + 1], int(scale), *x.shape[axis + 1 :]]
        shape = [*x.shape[:axis], size, *x.shape[axis + 1 :]]
        return e.reshape(e.broadcast_to(e.reshape(x, spread), full), shape)
    shape = [*x.shape[:axis], size, *x.shape[axis + 1 :]]
    value, source, target = e.value(x), e.index(x.shape[axis]), e.index(size)

    def body(builder: Builder, out: Scalar) -> Scalar:
        here = [body_index(builder, i) for i in range(x.rank)]
        number = F32 if mode == "nearest" else F64
        at, n, m = (Scalar.from_index(builder, index).to(number) for index in (here[axis], source, target))
        factor = at.like(scale) if scale is not None else m / n
        if coordinates == "align_corners":
            position = (m > 1).select(at * (n - 1) / (m - 1), at.like(0))
        elif coordinates == "asymmetric":
            position = at / factor
        else:
            position = (at + 0.5) / factor - 0.5
            if coordinates == "pytorch_half_pixel":
                position = (m > 1).select(position, at.like(0))

        def read(where: Scalar) -> Scalar:
            indices = list(here)
            indices[axis] = where.clamp(0, n - 1).to(I64).to_index()
            return extract(builder, x, value, indices)

        if mode == "nearest":
            how = node.string("nearest_mode", "floor")
            if how.startswith("round"):
                middle = position.apply(math.Floor) + 0.5
                position = ((position - middle).abs() < TIE).select(middle, position)
            rounded = {
                "floor": lambda: position.apply(math.Floor),
                "ceil": lambda: position.apply(math.Ceil),
                "round_prefer_floor": lambda: (position - 0.5).apply(math.Ceil),
                "round_prefer_ceil": lambda: (position + 0.5).apply(math.Floor),
            }[how]()
            return read(rounded)
        base = position.apply(math.Floor)
        part = (position - base).to(x.element)
        return read(base) * (1 - part) + read(base + 1) * part

    destination = (e.empty(shape, x.element), shape, x.element)
    return e.generic([], [AffineMap.identity(x.rank)], [PARALLEL] * x.rank, [destination], body)[0]
