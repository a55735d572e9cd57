"""Discrete Fourier transforms of known length -> products with matrices of cosines and sines: DFT, STFT."""

from __future__ import annotations

import numpy as np

from iree_base.element_types import ElementType
from iree_core_ir.ir.affine import AffineDim, AffineMap
from iree_input_onnx.dims import Dim, floordiv
from iree_input_onnx.elements import accumulator, is_float
from iree_input_onnx.emit import PARALLEL, Emitter
from iree_input_onnx.errors import Unsupported
from iree_input_onnx.indexing import normalize_axis
from iree_input_onnx.node import Node
from iree_input_onnx.ops.cast import convert
from iree_input_onnx.ops.matmul import matmul
from iree_input_onnx.table import onnx_op
from iree_input_onnx.values import Tensor


def _length(t: Tensor | None, e: Emitter, default: Dim) -> int:
    """A length that must be known."""
    length = default if t is None else e.dims(t)[0]
    if not isinstance(length, int):
        raise Unsupported("a length only known at run time")
    return length


def _table(e: Emitter, function: np.ufunc, n: int, bins: int, element: ElementType) -> Tensor:
    """``function(2 pi i k / n)``, exact in the angle: [n, bins]."""
    turns = np.outer(np.arange(n), np.arange(bins)) % n
    return e.constant(function(turns * (2 * np.pi / n)).astype(element.dtype), element)


def _sum(e: Emitter, a: Tensor, b: Tensor | None, sign: int) -> Tensor:
    if b is None:
        return a
    body = (lambda p, q: p + q) if sign > 0 else (lambda p, q: p - q)
    return e.elementwise([a, b], body, a.element)


def transform(e: Emitter, x: Tensor, n: int, inverse: bool, onesided: bool) -> Tensor:
    """Along axis -2 of ``[..., n, 1 or 2]`` (the last axis: real and imaginary part) -> [..., bins, 2]."""
    bins = n // 2 + 1 if onesided else n
    parts = [
        e.squeeze(e.slice(x, [0] * (x.rank - 1) + [i], [*x.shape[:-1], 1]), [x.rank - 1])
        for i in range(2 if x.shape[-1] == 2 else 1)
    ]
    real, imaginary = parts[0], parts[1] if len(parts) > 1 else None
    cosines, sines = (_table(e, f, n, bins, x.element) for f in (np.cos, np.sin))
    sign = -1 if inverse else 1
    real_out = _sum(
        e, matmul(e, real, cosines), None if imaginary is None else matmul(e, imaginary, sines), sign
    )
    turned = matmul(e, real, sines)
    if imaginary is not None:
        straight = matmul(e, imaginary, cosines)
        imaginary_out = _sum(e, straight, turned, -sign)
    elif inverse:
        imaginary_out = turned
    else:
        imaginary_out = e.elementwise([turned], lambda v: -v, x.element)
    joined = e.concat([e.unsqueeze(t, [t.rank]) for t in (real_out, imaginary_out)], x.rank - 1)
    return e.elementwise([joined], lambda v: v / float(n), x.element) if inverse else joined


@onnx_op("DFT", since=17, notes="of known length; not one-sided inverse")
def dft(e: Emitter, node: Node) -> Tensor:
    x, length = node.input(0), node.optional(1)
    inverse, onesided = bool(node.int("inverse", 0)), bool(node.int("onesided", 0))
    if node.since < 20:
        axis = node.int("axis", 1)
    else:
        given = node.optional(2)
        axis = -2 if given is None else _length(given, e, -2)
    axis = normalize_axis(axis, x.rank)
    if not is_float(x.element) or x.shape[-1] not in (1, 2) or axis == x.rank - 1:
        raise Unsupported(f"axis {axis} of {x.element.name}{list(x.shape)}")
    if inverse and onesided:
        raise Unsupported("an inverse of a one-sided transform")
    n = _length(length, e, x.shape[axis])
    wide = accumulator(x.element)
    order = [i for i in range(x.rank - 1) if i != axis] + [axis, x.rank - 1]
    moved = e.transpose(convert(e, x, wide), order)
    size = _length(None, e, moved.shape[-2])
    if size > n:
        moved = e.slice(moved, [0] * x.rank, [*moved.shape[:-2], n, moved.shape[-1]])
    elif size < n:
        moved = e.pad(moved, [0] * x.rank, [0] * (x.rank - 2) + [n - size, 0], 0)
    made = transform(e, moved, n, inverse, onesided)
    return convert(e, e.transpose(made, [order.index(i) for i in range(x.rank)]), x.element)


@onnx_op("STFT", since=17, notes="frames of known length")
def stft(e: Emitter, node: Node) -> Tensor:
    x, step_input, window, length = node.input(0), node.input(1), node.optional(2), node.optional(3)
    x = e.unsqueeze(x, [2]) if x.rank == 2 else x
    if not is_float(x.element) or x.rank != 3 or x.shape[2] not in (1, 2):
        raise Unsupported(f"a signal {x.element.name}{list(x.shape)}")
    step = _length(step_input, e, 1)
    if window is None and length is None:
        raise node.error("neither a window nor a frame length")
    n = _length(length, e, window.shape[0] if window is not None else 0)
    wide = accumulator(x.element)
    source = convert(e, x, wide)
    count = floordiv(x.shape[1] - n, step) + 1
    shape: list[Dim] = [x.shape[0], count, n, x.shape[2]]
    # Frames overlap: each element is read where it lies.
    read = AffineMap(4, 0, [AffineDim(0), AffineDim(1) * step + AffineDim(2), AffineDim(3)])
    inputs, maps = [source], [read]
    if window is not None:
        inputs.append(convert(e, window, wide))
        maps.append(AffineMap.select(4, [2]))
    frames = e.generic(
        inputs,
        [*maps, AffineMap.identity(4)],
        [PARALLEL] * 4,
        [(e.empty(shape, wide), shape, wide)],
        lambda b, v, *rest: v * rest[0] if len(rest) > 1 else v,
    )[0]
    return convert(e, transform(e, frames, n, False, bool(node.int("onesided", 1))), x.element)
