"""Reads at positions between elements: GridSample, of any rank.

Each point of the grid is one element of a ``linalg.generic`` that reads its neighbours and weighs them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from iree_core_ir.dialects import math
from iree_core_ir.ir.affine import AffineMap
from iree_core_ir.ir.builder import Builder
from iree_core_ir.ir.operation import Value
from iree_input_onnx.dims import differ
from iree_input_onnx.elements import I64, accumulator, is_float
from iree_input_onnx.emit import PARALLEL, Emitter, body_index, extract
from iree_input_onnx.errors import Unsupported
from iree_input_onnx.node import Node
from iree_input_onnx.ops.cast import convert
from iree_input_onnx.scalars import Scalar
from iree_input_onnx.table import onnx_op
from iree_input_onnx.values import Tensor

_MODES = {"bilinear": "linear", "bicubic": "cubic"}
_CUBIC = -0.75


def _reflected(x: Scalar, low: Scalar, high: Scalar) -> Scalar:
    """``x`` mirrored at the border until it is inside."""
    span = high - low
    below = x < low
    beyond = below.select(low - x, x - high)
    times = (beyond / span).apply(math.Floor)
    rest = beyond - times * span
    even = (times % 2).equals(0)
    from_low, from_high = low + rest, high - rest
    near = below.select(from_low, from_high)
    far = below.select(from_high, from_low)
    return ((x < low) | (x > high)).select(even.select(near, far), x)


def _weights(mode: str, t: Scalar) -> list[tuple[int, Scalar | None]]:
    """Neighbours (distance from the one below) and their weights; None: one."""
    if mode == "nearest":
        return [(0, None)]
    if mode == "linear":
        return [(0, 1 - t), (1, t)]
    a = _CUBIC

    def inner(x: Scalar) -> Scalar:
        return (x * (a + 2) - (a + 3)) * x * x + 1

    def outer(x: Scalar) -> Scalar:
        return ((x * a - 5 * a) * x + 8 * a) * x - 4 * a

    return [(-1, outer(t + 1)), (0, inner(t)), (1, inner(1 - t)), (2, outer(2 - t))]


class _Axis:
    """One spatial axis at one point: where to read, and how much each neighbour counts."""

    def __init__(self, coordinate: Scalar, size: Value, mode: str, padding: str, aligned: bool) -> None:
        builder = coordinate.builder
        self.count = Scalar.from_index(builder, size)
        self.extent = self.count.to(coordinate.element)
        self.padding = padding
        if aligned:
            x = (coordinate + 1) * 0.5 * (self.extent - 1)
            self.low, self.high = x.like(0.0), self.extent - 1
        else:
            x = ((coordinate + 1) * self.extent - 1) * 0.5
            self.low, self.high = x.like(-0.5), self.extent - 0.5
        if mode == "nearest":
            x = x.apply(math.RoundEven)
        if padding == "border" and mode != "cubic":
            # As torch and onnxruntime have it: cubic weights go on beyond the border, on its value.
            outside = (x < self.low) | (x > self.high)
            x = outside.select(x.maximum(0.0).minimum(self.extent - 1), x)
        elif padding == "reflection":
            x = _reflected(x, self.low, self.high)
        below = x.apply(math.Floor)
        self.below = below.to(I64)
        self.taps = _weights(mode, x - below)

    def place(self, distance: int) -> tuple[Value, Scalar | None]:
        """An index that may be read, and whether there is an element (None: surely)."""
        at = self.below + distance
        inside: Scalar | None = None
        if self.padding == "zeros":
            inside = (at >= 0) & (at < self.count)
        elif self.padding == "reflection":
            at = _reflected(at.to(self.low.element), self.low, self.high).to(I64)
        return at.maximum(0).minimum(self.count - 1).to_index(), inside


@onnx_op("GridSample")
def grid_sample(e: Emitter, node: Node) -> Tensor:
    x, grid = node.input(0), node.input(1)
    rank = x.rank - 2
    if rank < 1 or grid.rank != x.rank or differ(grid.shape[-1], rank):
        raise node.error(f"a grid {list(grid.shape)} for an image {list(x.shape)}")
    if not is_float(x.element) or not is_float(grid.element):
        raise Unsupported(f"element type {x.element.name}")
    mode = node.string("mode", "linear")
    mode = _MODES.get(mode, mode)
    padding, aligned = node.string("padding_mode", "zeros"), bool(node.int("align_corners", 0))
    if mode not in ("nearest", "linear", "cubic") or padding not in ("zeros", "border", "reflection"):
        raise node.error(f"mode '{mode}', padding '{padding}'")
    wide = accumulator(grid.element)
    source = convert(e, x, wide)
    grid = convert(e, grid, wide)
    n, points = grid.shape[0], list(grid.shape[1:-1])
    box = [*grid.shape[:-1], 1]
    # The last coordinate of a point belongs to the first axis.
    coordinates = [
        e.squeeze(e.slice(grid, [0] * (rank + 1) + [rank - 1 - axis], box), [rank + 1])
        for axis in range(rank)
    ]
    value = e.value(source)
    sizes = [e.index(d) for d in x.shape[2:]]

    def body(builder: Builder, *scalars: Scalar) -> Scalar:
        here = [body_index(builder, 0), body_index(builder, 1)]
        axes = [
            _Axis(scalar, size, mode, padding, aligned)
            for scalar, size in zip(scalars[:rank], sizes, strict=True)
        ]
        return _weighed(axes, here, None, lambda indices: extract(builder, source, value, indices))

    shape = [n, x.shape[1], *points]
    loops = rank + 2
    maps = [AffineMap.select(loops, [0, *range(2, loops)])] * rank + [AffineMap.identity(loops)]
    made = e.generic(coordinates, maps, [PARALLEL] * loops, [(e.empty(shape, wide), shape, wide)], body)[0]
    return convert(e, made, x.element)


def _weighed(
    axes: Sequence[_Axis],
    indices: list[Value],
    inside: Scalar | None,
    read: Callable[[list[Value]], Scalar],
) -> Scalar:
    """The sum over the neighbours along the axes that are left; what is not ``inside`` counts as 0."""
    if not axes:
        pixel = read(indices)
        return pixel if inside is None else inside.select(pixel, 0)
    total: Scalar | None = None
    for distance, weight in axes[0].taps:
        at, ok = axes[0].place(distance)
        both = ok if inside is None else inside if ok is None else inside & ok
        term = _weighed(axes[1:], [*indices, at], both, read)
        term = term if weight is None else term * weight
        total = term if total is None else total + term
    assert total is not None
    return total
