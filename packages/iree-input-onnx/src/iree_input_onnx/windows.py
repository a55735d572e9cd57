"""Window attributes shared by convolutions and pooling: kernel, strides, dilations, padding."""

from __future__ import annotations

from collections.abc import Sequence

from iree_base.records import record
from iree_input_onnx.dims import Dim, ceildiv, floordiv, maximum, minimum
from iree_input_onnx.node import Node


@record
class Windows:
    """Per spatial axis: kernel size, stride, dilation, padding before and after, output size."""

    kernel: list[int]
    strides: list[int]
    dilations: list[int]
    low: list[Dim]
    high: list[Dim]
    output: list[Dim]

    @property
    def rank(self) -> int:
        return len(self.kernel)

    @property
    def is_padded(self) -> bool:
        return any(d != 0 for d in (*self.low, *self.high))

    @property
    def extents(self) -> list[int]:
        """Input elements that one window spans."""
        return [(k - 1) * d + 1 for k, d in zip(self.kernel, self.dilations, strict=True)]


def positive(node: Node, name: str, rank: int) -> list[int]:
    """An attribute of ``rank`` positive integers, 1 by default."""
    values = node.ints(name, [1] * rank)
    if len(values) != rank or any(v < 1 for v in values):
        raise node.error(f"attribute '{name}' must hold {rank} positive integers")
    return list(values)


def windows(node: Node, space: Sequence[Dim], kernel: Sequence[int], ceil_mode: bool = False) -> Windows:
    """The windows of a node over the spatial dims ``space``.

    With ``ceil_mode`` a last window may start inside the padded input and reach beyond; ``high`` grows so
    that it fits (windows that would start in the padding after the input are left out, as the standard says).
    """
    rank = len(space)
    if len(kernel) != rank or any(k < 1 for k in kernel):
        raise node.error(f"kernel {list(kernel)} for {rank} spatial dimensions")
    strides, dilations = positive(node, "strides", rank), positive(node, "dilations", rank)
    made = Windows(list(kernel), strides, dilations, [], [], [])
    auto = node.string("auto_pad", "NOTSET")
    pads = node.ints("pads", [0] * (2 * rank))
    if len(pads) != 2 * rank:
        raise node.error(f"{len(pads)} pads for {rank} spatial dimensions")
    for axis in range(rank):
        size, extent, stride = space[axis], made.extents[axis], strides[axis]
        if auto in ("SAME_UPPER", "SAME_LOWER"):
            count = ceildiv(size, stride)
            total = maximum((count - 1) * stride + extent - size, 0)
            less = floordiv(total, 2)
            low, high = (less, total - less) if auto == "SAME_UPPER" else (total - less, less)
        elif auto in ("NOTSET", "VALID"):
            low, high = (0, 0) if auto == "VALID" else (pads[axis], pads[axis + rank])
            room = size + low + high - extent
            count = floordiv(room, stride) + 1
            if ceil_mode and stride > 1:
                # The last window counts when it starts before the end of the input.
                count = minimum(ceildiv(room, stride), floordiv(size + low - 1, stride)) + 1
                high = maximum((count - 1) * stride + extent - size - low, high)
        else:
            raise node.error(f"unknown auto_pad '{auto}'")
        if isinstance(count, int) and count < 0:
            raise node.error(f"a window of {extent} does not fit into {size}")
        made.low.append(low)
        made.high.append(high)
        made.output.append(count)
    return made
