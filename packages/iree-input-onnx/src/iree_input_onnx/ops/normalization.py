"""Normalizations -> reductions for the statistics and one elementwise op for the result.

Statistics are computed in f32 (or f64); constant parameters of an inference batch norm are folded into one
scale and one shift per channel, which later phases can fold into a convolution's weights.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from iree_base.element_types import ElementType
from iree_core_ir.dialects import math
from iree_core_ir.ir.affine import AffineMap
from iree_input_onnx.dims import product
from iree_input_onnx.elements import F32, accumulator, from_code, is_float
from iree_input_onnx.emit import PARALLEL, REDUCTION, Emitter
from iree_input_onnx.errors import Unsupported
from iree_input_onnx.indexing import normalize_axis
from iree_input_onnx.node import Node
from iree_input_onnx.ops.cast import convert
from iree_input_onnx.ops.pooling import power, root
from iree_input_onnx.ops.reduction import divide_by, mean
from iree_input_onnx.scalars import Scalar
from iree_input_onnx.table import onnx_op
from iree_input_onnx.values import Tensor

MAX_FOLDED_CHANNELS = 1 << 16


def per_channel(e: Emitter, t: Tensor, rank: int) -> Tensor:
    """[C] as [C, 1, ...], to broadcast along axis 1 of a tensor of ``rank``."""
    return e.reshape(t, [t.shape[0], *[1] * (rank - 2)])


def variance(e: Emitter, centred: Tensor, axes: Sequence[int]) -> Tensor:
    """The mean square over ``axes``, dims kept."""
    total = e.reduce(centred, axes, centred.element, 0, lambda a, v: a + v * v, keep=True)
    return divide_by(e, total, product(centred.shape[a] for a in axes))


@onnx_op("BatchNormalization", since=7, notes="inference: training_mode 0 and one output")
def batch_normalization(e: Emitter, node: Node) -> Tensor:
    x, scale, bias, means, variances = node.variadic[:5]
    if node.get("training_mode", 0) or (node.n_outputs > 1):
        raise Unsupported("training mode")
    epsilon: float = node.float("epsilon")
    wide = accumulator(x.element)
    parameters = [scale, bias, means, variances]
    arrays = [e.array(t) for t in parameters]
    small = all(t.rank == 1 and (t.n_elements or 0) <= MAX_FOLDED_CHANNELS for t in parameters)
    if small and all(a is not None for a in arrays):
        with np.errstate(all="ignore"):
            s, b, m, v = (np.asarray(a, np.float64) for a in arrays)
            factor = s / np.sqrt(v + epsilon)
            shift = (b - m * factor).astype(wide.dtype)
        factors = e.constant(factor.astype(wide.dtype), wide, f"{node.label}.scale")
        shifts = e.constant(shift, wide, f"{node.label}.shift")
        return e.elementwise(
            [x, per_channel(e, factors, x.rank), per_channel(e, shifts, x.rank)],
            lambda v, f, s: (v.to(wide) * f + s).to(x.element),
            x.element,
        )

    def body(x: Scalar, s: Scalar, b: Scalar, m: Scalar, var: Scalar) -> Scalar:
        spread = (var.to(wide) + epsilon).sqrt()
        return ((x.to(wide) - m.to(wide)) / spread * s.to(wide) + b.to(wide)).to(x.element)

    return e.elementwise([x, *(per_channel(e, t, x.rank) for t in parameters)], body, x.element)


def normalize(
    e: Emitter,
    x: Tensor,
    axes: Sequence[int],
    epsilon: float,
    stash: ElementType,
) -> tuple[Tensor, Tensor, Tensor]:
    """(x - mean) / sqrt(variance + epsilon) over ``axes``, the mean and the inverse deviation."""
    wide = convert(e, x, stash)
    means = mean(e, wide, axes, keep=True)
    centred = e.elementwise([wide, means], lambda v, m: v - m, stash)
    spread = variance(e, centred, axes)
    inverse = e.elementwise([spread], lambda v: 1 / (v + epsilon).sqrt(), stash)
    return e.elementwise([centred, inverse], lambda v, i: v * i, stash), means, inverse


@onnx_op("LayerNormalization")
def layer_normalization(e: Emitter, node: Node) -> list[Tensor]:
    x, scale, bias = node.input(0), node.input(1), node.optional(2)
    axis = normalize_axis(node.int("axis"), x.rank)
    stash = _stash(node, x)
    normal, means, inverse = normalize(e, x, list(range(axis, x.rank)), node.float("epsilon"), stash)
    result = _scaled(e, normal, scale, bias, x.element)
    return [result, means, inverse]


def _stash(node: Node, x: Tensor) -> ElementType:
    """The type of the statistics: what stash_type says, but never narrower than f32 nor than f64 inputs."""
    if not is_float(x.element):
        raise Unsupported(f"element type {x.element.name}")
    stash = accumulator(from_code(node.int("stash_type", 1), node.label))
    return x.element if x.element.bits > stash.bits else stash


def _scaled(
    e: Emitter, normal: Tensor, scale: Tensor | None, bias: Tensor | None, element: ElementType
) -> Tensor:
    """``normal * scale + bias`` as ``element``."""
    stash = normal.element

    def body(v: Scalar, *given: Scalar) -> Scalar:
        rest = [g.to(stash) for g in given]
        if scale is not None:
            v = v * rest.pop(0)
        return (v + rest[0] if bias is not None else v).to(element)

    inputs = [normal, *(t for t in (scale, bias) if t is not None)]
    return e.elementwise(inputs, body, element)


@onnx_op("RMSNormalization")
def rms_normalization(e: Emitter, node: Node) -> Tensor:
    x, scale = node.input(0), node.input(1)
    axis = normalize_axis(node.int("axis"), x.rank)
    stash = _stash(node, x)
    epsilon = node.float("epsilon")
    wide = convert(e, x, stash)
    square = variance(e, wide, list(range(axis, x.rank)))
    normal = e.elementwise([wide, square], lambda v, s: v / (s + epsilon).sqrt(), stash)
    # The standard rounds to the input's type before it scales.
    normal = convert(e, normal, x.element)
    return e.elementwise([normal, convert(e, scale, x.element)], lambda v, s: v * s, x.element)


@onnx_op("InstanceNormalization", since=6)
def instance_normalization(e: Emitter, node: Node) -> Tensor:
    x, scale, bias = node.variadic
    axes = list(range(2, x.rank))
    normal, _, _ = normalize(e, x, axes, node.float("epsilon"), accumulator(x.element))
    return _scaled(e, normal, per_channel(e, scale, x.rank), per_channel(e, bias, x.rank), x.element)


@onnx_op("GroupNormalization")
def group_normalization(e: Emitter, node: Node) -> Tensor:
    x, scale, bias = node.variadic
    groups = node.int("num_groups")
    n, c = x.shape[:2]
    if groups < 1 or (isinstance(c, int) and c % groups):
        raise node.error(f"{c} channels in {groups} groups")
    split = e.reshape(x, [n, groups, c // groups, *x.shape[2:]])
    stash = accumulator(x.element) if node.since < 21 else _stash(node, x)
    normal, _, _ = normalize(e, split, list(range(2, split.rank)), node.float("epsilon"), stash)
    if node.since < 21:  # one scale a group
        spread = [e.reshape(t, [groups, *[1] * (split.rank - 2)]) for t in (scale, bias)]
        return e.reshape(_scaled(e, normal, spread[0], spread[1], x.element), x.shape)
    normal = e.reshape(normal, x.shape)
    return _scaled(e, normal, per_channel(e, scale, x.rank), per_channel(e, bias, x.rank), x.element)


@onnx_op("LpNormalization")
def lp_normalization(e: Emitter, node: Node) -> Tensor:
    x = node.input(0)
    if not is_float(x.element):
        raise Unsupported(f"element type {x.element.name}")
    axis, p = normalize_axis(node.int("axis"), x.rank), node.int("p")
    wide = accumulator(x.element)
    total = e.reduce(x, [axis], wide, 0, lambda a, v: a + power(v.to(wide), p), keep=True)

    def body(v: Scalar, s: Scalar) -> Scalar:
        norm = root(s, p)
        # A row of zeros stays zero.
        return norm.equals(0).select(norm.like(0), v.to(wide) / norm).to(x.element)

    return e.elementwise([x, total], body, x.element)


@onnx_op("LRN")
def lrn(e: Emitter, node: Node) -> Tensor:
    """x / (bias + alpha / size * sum of squares over neighbouring channels) ^ beta."""
    x = node.input(0)
    size: int = node.int("size")
    alpha: float = node.float("alpha")
    beta: float = node.float("beta")
    bias: float = node.float("bias")
    wide = accumulator(x.element)
    before, after = (size - 1) // 2, size - 1 - (size - 1) // 2
    pads = [before if i == 1 else 0 for i in range(x.rank)], [after if i == 1 else 0 for i in range(x.rank)]
    padded = e.pad(convert(e, x, wide), pads[0], pads[1], 0)
    loops = x.rank + 1
    dims = AffineMap.identity(loops).results
    source = AffineMap(loops, 0, [*dims[:1], dims[1] + dims[-1], *dims[2:-1]])
    window = Tensor(F32, [size], value=e.empty([size], F32))
    maps = [source, AffineMap.select(loops, [x.rank]), AffineMap.select(loops, range(x.rank))]
    destination = (e.filled(x.shape, wide, 0), x.shape, wide)
    squares = e.generic(
        [padded, window],
        maps,
        [PARALLEL] * x.rank + [REDUCTION],
        [destination],
        lambda b, v, _, out: out + v * v,
    )[0]

    def body(v: Scalar, s: Scalar) -> Scalar:
        return (v.to(wide) / (s * (alpha / size) + bias).apply(math.PowF, beta)).to(x.element)

    return e.elementwise([x, squares], body, x.element)


__all__ = ["normalize", "per_channel", "variance"]
