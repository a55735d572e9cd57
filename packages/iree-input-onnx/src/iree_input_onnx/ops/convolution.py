"""Conv, ConvTranspose, ConvInteger -> named linalg convolutions on an explicitly padded input.

Dense convolutions of one to three spatial dims, depthwise ones and grouped two-dimensional ones have named
ops; other groupings and ranks become a ``linalg.generic`` over the same loops. A transposed convolution whose
stride equals its kernel is a matrix product that scatters blocks; any other one is a convolution of the
input spread by the stride with the flipped kernel.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from iree_base.element_types import ElementType
from iree_core_ir.dialects import linalg, tensor
from iree_core_ir.ir.affine import AffineDim, AffineExpr, AffineMap
from iree_input_onnx.dims import Dim
from iree_input_onnx.elements import I32, accumulator
from iree_input_onnx.emit import PARALLEL, REDUCTION, Emitter
from iree_input_onnx.errors import Unsupported
from iree_input_onnx.node import Node
from iree_input_onnx.ops.cast import convert
from iree_input_onnx.ops.elementwise import same_element
from iree_input_onnx.ops.matmul import contraction
from iree_input_onnx.ops.slicing import flip
from iree_input_onnx.table import onnx_op
from iree_input_onnx.values import Tensor
from iree_input_onnx.windows import Windows, positive, windows

_DENSE: dict[int, Any] = {1: linalg.Conv1DNcwFcw, 2: linalg.Conv2DNchwFchw, 3: linalg.Conv3DNcdhwFcdhw}
_DEPTHWISE: dict[int, Any] = {
    1: linalg.DepthwiseConv1DNcwCw,
    2: linalg.DepthwiseConv2DNchwChw,
    3: linalg.DepthwiseConv3DNcdhwCdhw,
}


def _static_dims(dims: Sequence[Dim], what: str) -> list[int]:
    static = [d for d in dims if isinstance(d, int)]
    if len(static) != len(dims):
        raise Unsupported(f"{what} whose sizes are only known at run time")
    return static


def convolve(e: Emitter, x: Tensor, w: Tensor, window: Windows, groups: int) -> Tensor:
    """``x`` [N, C, *space] (already padded) with kernels ``w`` [F, C/G, *kernel] -> [N, F, *output]."""
    element, wide = x.element, accumulator(x.element)
    n, c = x.shape[:2]
    f = w.shape[0]
    rank = window.rank
    shape = [n, f, *window.output]

    def named(op: Any, a: Tensor, b: Tensor, out: Sequence[Dim]) -> Tensor:
        inputs = [e.value(a), e.value(b)]
        made = op.make(inputs, [e.filled(out, wide, 0)], window.strides, window.dilations)
        return convert(e, e.named(made, out, wide), element)

    if groups == 1 and rank in _DENSE and element.kind != "u":
        return named(_DENSE[rank], x, w, shape)
    if groups == c == f and rank in _DEPTHWISE and element.kind != "u":
        return named(_DEPTHWISE[rank], x, e.squeeze(w, [1]), shape)
    split_x = e.reshape(x, [n, groups, c // groups, *x.shape[2:]])
    split_w = e.reshape(w, [groups, f // groups, *w.shape[1:]])
    split = [n, groups, f // groups, *window.output]
    if rank == 2 and element.kind != "u":
        return e.reshape(named(linalg.Conv2DNgchwGfchw, split_x, split_w, split), shape)
    return e.reshape(_grouped(e, split_x, split_w, window, split, element), shape)


def _grouped(
    e: Emitter, x: Tensor, w: Tensor, window: Windows, shape: Sequence[Dim], element: ElementType
) -> Tensor:
    """Any rank: loops n g f *output c *kernel."""
    rank = window.rank
    loops = 4 + 2 * rank
    n, g, f, c = 0, 1, 2, 3 + rank
    space = [
        AffineDim(3 + i) * window.strides[i] + AffineDim(c + 1 + i) * window.dilations[i] for i in range(rank)
    ]
    input_results: list[AffineExpr] = [AffineDim(n), AffineDim(g), AffineDim(c), *space]
    maps = [
        AffineMap(loops, 0, input_results),
        AffineMap.select(loops, [g, f, c, *range(c + 1, loops)]),
        AffineMap.select(loops, [n, g, f, *range(3, 3 + rank)]),
    ]
    iterators = [PARALLEL] * (3 + rank) + [REDUCTION] * (1 + rank)
    return contraction(e, [x, w], maps, iterators, shape, element)


def _pad_space(e: Emitter, x: Tensor, low: Sequence[Dim], high: Sequence[Dim], number: Any = 0) -> Tensor:
    return e.pad(x, [0, 0, *low], [0, 0, *high], number)


def add_bias(e: Emitter, result: Tensor, bias: Tensor | None) -> Tensor:
    """``bias`` [F] along axis 1."""
    if bias is None:
        return result
    spread = e.reshape(bias, [bias.shape[0], *[1] * (result.rank - 2)])
    return e.elementwise([result, spread], lambda x, b: x + b, result.element)


def convolution(e: Emitter, node: Node, x: Tensor, w: Tensor) -> Tensor:
    """``x`` and ``w`` convolved as the attributes of ``node`` say."""
    groups = node.int("group")
    kernel = _static_dims(w.shape[2:], "a kernel")
    given = node.ints("kernel_shape")
    if x.rank < 3 or w.rank != x.rank:
        raise node.error(f"ranks {x.rank} and {w.rank}")
    if given is not None and given != kernel:
        raise node.error(f"kernel_shape {given} for weights of {kernel}")
    f, per_group = _static_dims(w.shape[:2], "weights")
    c = x.shape[1]
    if groups < 1 or f % groups or (isinstance(c, int) and c != per_group * groups):
        raise node.error(f"{c} channels, {groups} groups, weights {list(w.shape)}")
    window = windows(node, x.shape[2:], kernel)
    padded = _pad_space(e, x, window.low, window.high)
    return convolve(e, padded, w, window, groups)


@onnx_op("Conv")
def conv(e: Emitter, node: Node) -> Tensor:
    x, w = node.input(0), node.input(1)
    bias = node.optional(2)
    same_element(node, [t for t in (x, w, bias) if t is not None])
    return add_bias(e, convolution(e, node, x, w), bias)


@onnx_op("ConvInteger")
def conv_integer(e: Emitter, node: Node) -> Tensor:
    x, w = convert(e, node.input(0), I32), convert(e, node.input(1), I32)
    zero_x, zero_w = node.optional(2), node.optional(3)
    if zero_x is not None:
        x = e.elementwise([x, e.reshape(convert(e, zero_x, I32), ())], lambda v, z: v - z, I32)
    if zero_w is not None:
        zero = convert(e, zero_w, I32)
        shape = [*zero.shape, *[1] * (w.rank - 1)] if zero.rank == 1 and zero.n_elements != 1 else []
        w = e.elementwise([w, e.reshape(zero, shape)], lambda v, z: v - z, I32)
    return convolution(e, node, x, w)


def _transposed_windows(node: Node, space: Sequence[Dim], kernel: Sequence[int]) -> tuple[Windows, list[int]]:
    """Windows of the output that the input scatters into, and the output padding."""
    rank = len(space)
    strides, dilations = positive(node, "strides", rank), positive(node, "dilations", rank)
    extra = node.ints("output_padding", [0] * rank)
    pads = node.ints("pads", [0] * (2 * rank))
    auto = node.string("auto_pad", "NOTSET")
    wanted = node.ints("output_shape")
    made = Windows(list(kernel), strides, dilations, [], [], [])
    for axis in range(rank):
        full = (space[axis] - 1) * strides[axis] + extra[axis] + made.extents[axis]
        if wanted is not None or auto in ("SAME_UPPER", "SAME_LOWER"):
            size: Dim = space[axis] * strides[axis] if wanted is None else wanted[len(wanted) - rank + axis]
            total = full - size
            half = total // 2
            low, high = (half, total - half) if auto == "SAME_UPPER" else (total - half, half)
            if wanted is not None and auto == "NOTSET":
                low, high = total - half, half
        else:
            low, high = (0, 0) if auto == "VALID" else (pads[axis], pads[axis + rank])
            size = full - low - high
        made.low.append(low)
        made.high.append(high)
        made.output.append(size)
    return made, list(extra)


@onnx_op("ConvTranspose")
def conv_transpose(e: Emitter, node: Node) -> Tensor:
    x, w, bias = node.input(0), node.input(1), node.optional(2)
    element = same_element(node, [t for t in (x, w, bias) if t is not None])
    groups = node.int("group")
    kernel = _static_dims(w.shape[2:], "a kernel")
    c, per_group = _static_dims(w.shape[:2], "weights")
    if groups < 1 or c % groups:
        raise node.error(f"{c} channels, {groups} groups")
    window, extra = _transposed_windows(node, x.shape[2:], kernel)
    f = per_group * groups
    rank = window.rank
    # [C, F/G, *K] -> [G, C/G, F/G, *K]
    split_w = e.reshape(w, [groups, c // groups, per_group, *kernel])
    tiles = window.strides == kernel and all(d == 1 for d in window.dilations) and not any(extra)
    if tiles:
        result = _block_transpose(e, x, split_w, groups, element)
        if bias is not None:
            # Here it follows the products; behind the reshape it would be a pass of its own.
            spread_bias = e.reshape(bias, [groups, per_group, *[1] * (2 * rank)])
            result = e.elementwise([result, spread_bias], lambda v, b: v + b, element)
        full = [size * k for size, k in zip(x.shape[2:], kernel, strict=True)]
        result = e.reshape(result, [x.shape[0], f, *full])
        return (
            e.slice(result, [0, 0, *window.low], [x.shape[0], f, *window.output])
            if window.is_padded
            else result
        )
    order = [0, 2, 1, *range(3, 3 + rank)]
    kernels = e.reshape(e.transpose(split_w, order), [f, c // groups, *kernel])
    kernels = flip(e, kernels, list(range(2, 2 + rank)))
    spread = _spread(e, x, window.strides)
    low = [k - 1 - p for k, p in zip(window.extents, window.low, strict=True)]
    high = [k - 1 - p + o for k, p, o in zip(window.extents, window.high, extra, strict=True)]
    padded = _pad_space(e, spread, low, high)
    unit = Windows(kernel, [1] * rank, window.dilations, [], [], window.output)
    return add_bias(e, convolve(e, padded, kernels, unit, groups), bias)


def _block_transpose(e: Emitter, x: Tensor, w: Tensor, groups: int, element: ElementType) -> Tensor:
    """Kernel = stride: every input element fills its own block. -> [N, G, F/G, s0, k0, s1, k1, ...]."""
    n, c = x.shape[:2]
    space, kernel = x.shape[2:], w.shape[3:]
    rank = len(kernel)
    loops = 4 + 2 * rank  # n g f (s k)* c
    s, k, reduced = [3 + 2 * i for i in range(rank)], [4 + 2 * i for i in range(rank)], 3 + 2 * rank
    maps = [
        AffineMap.select(loops, [0, 1, reduced, *s]),
        AffineMap.select(loops, [1, reduced, 2, *k]),
        AffineMap.select(loops, range(reduced)),
    ]
    shape: list[Dim] = [n, groups, w.shape[2]]
    for size, step in zip(space, kernel, strict=True):
        shape += [size, step]
    split = e.reshape(x, [n, groups, c // groups, *space])
    iterators = [PARALLEL] * reduced + [REDUCTION]
    return contraction(e, [split, w], maps, iterators, shape, element)


def _spread(e: Emitter, x: Tensor, strides: Sequence[int]) -> Tensor:
    """``x`` with ``stride - 1`` zeros between its elements."""
    if all(s == 1 for s in strides):
        return x
    shape = [*x.shape[:2], *((d - 1) * s + 1 for d, s in zip(x.shape[2:], strides, strict=True))]
    zeros = e.filled(shape, x.element, 0)
    op = e.builder.create(
        tensor.InsertSlice, e.value(x), zeros, [0] * x.rank, e.mixed(x.shape), [1, 1, *strides]
    )
    return e.tensor(op.result, shape, x.element)
