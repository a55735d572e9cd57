"""Gates of squeeze-and-excite: an image times a gate, convolved, is the image convolved with scaled weights.

The weights are far smaller than the image, so the gate is multiplied into them when the network runs, and the
image is not read and written once more. For one image only: others have other gates.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from iree_base.records import record
from iree_core_ir.dialects import arith, linalg, tensor
from iree_core_ir.ir.affine import AffineConstant, AffineDim, AffineMap
from iree_core_ir.ir.builder import Builder
from iree_core_ir.ir.operation import Op, Value
from iree_flow.blocked_node import PARALLEL, Node
from iree_flow.blocked_ops import IMAGE, Dense, Elementwise
from iree_flow.channel_blocks import CHANNEL, ChannelBlocks


@record
class GatedDense(Dense):
    """A convolution over all channels of an image times a gate."""

    gate: Any = None
    """The product."""

    @property
    def ops(self) -> list[Op]:
        return [self.op, self.gate]

    def weights(self, blocks: ChannelBlocks, builder: Builder) -> Value:
        weights = super().weights(blocks, builder)
        position = 1 - list(self.gate.inputs).index(self.images[0])
        read = blocks.operand(self.gate.inputs[position], self.gate.indexing_maps[position], builder)
        assert read is not None
        gate, map = read
        # Loops: fb, cb, kh, kw, ci, fi. The image at hand is the only one.
        zero, loops = AffineConstant(0), [AffineDim(i) for i in range(6)]
        own = AffineMap(6, 0, [e.replace([zero, loops[1], zero, zero, loops[4]]) for e in map.results])
        identity = AffineMap.identity(6)
        target = builder.create(tensor.Empty, list(weights.type.shape), weights.type.element_type).result

        def body(inner: Builder, weight: Value, factor: Value, _out: Value) -> Value:
            product: Value = inner.create(arith.MulF, weight, factor).result
            return product

        made = builder.create(
            linalg.Generic, [weights, gate], [target], [identity, own, identity], [PARALLEL] * 6, body
        )
        result: Value = made.results[0]
        return result


def absorb_gates(nodes: Sequence[Node]) -> list[Node]:
    """Gates taken into the convolutions that alone read their product, where that is less work."""
    makers = {node.result: node for node in nodes if node.result is not None}
    found: dict[int, Node | None] = {}
    for node in nodes:
        maker = makers.get(node.images[0]) if type(node) is Dense else None
        if not isinstance(maker, Elementwise) or not _is_gate(maker) or not _is_less(node):
            continue
        if node.images[0].has_one_use:
            found[id(maker)] = None
            found[id(node)] = GatedDense(node.op, maker.images, node.result, maker.op)
    kept = (found.get(id(node), node) for node in nodes)
    return [node for node in kept if node is not None]


def _is_gate(node: Elementwise) -> bool:
    """One image times a number for each channel."""
    op = node.op
    body = list(op.body)
    if len(op.inputs) != 2 or [inner.name for inner in body][:-1] != ["arith.mulf"] or len(node.images) != 1:
        return False
    if set(body[0].operands) != set(op.body.args[:2]):
        return False
    positions = [i for i, value in enumerate(op.inputs) if value in node.images]
    if len(positions) != 1:
        return False
    other = op.indexing_maps[1 - positions[0]]
    return op.indexing_maps[positions[0]] is IMAGE and all(
        e.dims_used() <= {0, CHANNEL} for e in other.results
    )


def _is_less(node: Node) -> bool:
    """Weights of a channel are fewer than its pixels, and there is one image."""
    image: tuple[int, ...] = node.images[0].type.shape
    weights: tuple[int, ...] = node.op.inputs[1].type.shape
    if image[0] != 1 or min(image) < 0:
        return False
    return math.prod(weights) // int(weights[1]) < math.prod(image[2:])


__all__ = ["GatedDense", "absorb_gates"]
