"""Which parts of a graph are worth storing in channel blocks: connected nodes, and the rule that judges them.

A region is a set of nodes joined by the images they hand each other. Inside it nothing is copied; an image
that enters is packed once, one that leaves is unpacked once.
"""

from __future__ import annotations

from collections.abc import Sequence

from iree_base.records import field, record
from iree_core_ir.ir.operation import Op, Value
from iree_flow.blocked_bytes import ByteProducts
from iree_flow.blocked_node import Node
from iree_flow.blocked_ops import Dense
from iree_flow.blocked_resizes import Enlarged
from iree_flow.channel_blocks import CHANNEL

ASSUMED = 56
"""What a dim that is not known is taken for: an image in the middle of a network."""
PRODUCT_GAIN = 1.5e-12
"""Seconds that a product of a convolution gets cheaper (ResNet-50: 2.2e-12 with all it contains, one Sapphire
Rapids core, 100e9 products a second at best)."""
IMAGE_GAIN = 1e-10
"""Seconds that an element made by a convolution gets cheaper: vectors are whole, nothing is shuffled. What
MobileNetV2 gains at least; of EfficientNet-B0 and OCR nets it is three times as much."""
ENLARGED_GAIN = 1e-9
"""The same for an element of a transposed convolution: on planes a product with short rows and a copy."""
WASTE = 2.5e-12
"""Seconds that a product costs whose lanes are all empty, a quarter of one at full speed: they come along in
vectors that are needed anyway, or are left out."""
BORDER = 8e-10
"""Seconds that an element packed or unpacked costs: read and written once by a transpose."""


@record
class Region:
    """Nodes in program order, and the images that cross the border."""

    nodes: list[Node] = field(default_factory=list)
    entering: dict[Value, None] = field(default_factory=dict)
    leaving: dict[Value, None] = field(default_factory=dict)

    @property
    def has_dense(self) -> bool:
        return any(isinstance(node, (Dense, ByteProducts)) for node in self.nodes)

    def pays(self, lanes: int) -> bool:
        """The one rule: what convolutions gain, unused lanes counted, is more than the borders cost.

        Kernels on blocks are made for known heights and widths.
        """
        if any(node.only_in_blocks for node in self.nodes):
            return True
        if any(size < 0 for node in self.nodes if node.result for size in node.result.type.shape[2:]):
            return False
        gain = sum(_gain(node, lanes) for node in self.nodes)
        border = sum(_elements(value) for value in (*self.entering, *self.leaving))
        return self.has_dense and gain > border * BORDER


def _elements(value: Value) -> int:
    count = 1
    for size in value.type.shape:
        count *= size if size >= 0 else ASSUMED
    # An unknown batch is one image.
    return count // ASSUMED if value.type.shape[0] < 0 else count


def _gain(node: Node, lanes: int) -> float:
    useful, wasted = node.products(lanes)
    if not useful:
        return 0.0
    image = node.result or node.op.results[0]
    elements = _elements(image)
    pixels = elements // int(image.type.shape[CHANNEL])
    gain = ENLARGED_GAIN if isinstance(node, Enlarged) else IMAGE_GAIN
    return elements * gain + pixels * (useful * PRODUCT_GAIN - wasted * WASTE)


def regions(nodes: Sequence[Node]) -> list[Region]:
    """The regions of ``nodes``, which are in program order."""
    makers = {node.result: node for node in nodes if node.result is not None}
    owners = {op: node for node in nodes for op in node.ops}
    parents = {id(node): id(node) for node in nodes}

    def root(key: int) -> int:
        while parents[key] != key:
            parents[key] = parents[parents[key]]
            key = parents[key]
        return key

    # An image that several read is joined to its maker or, where it enters, to its first reader.
    homes: dict[Value, Node] = dict(makers)
    for node in nodes:
        for image in node.images:
            parents[root(id(node))] = root(id(homes.setdefault(image, node)))
    found: dict[int, Region] = {}
    for node in nodes:
        region = found.setdefault(root(id(node)), Region())
        region.nodes.append(node)
        region.entering.update(dict.fromkeys(image for image in node.images if image not in makers))
        if node.result is not None and not all(_in_blocks(u, node.result, owners) for u in node.result.users):
            region.leaving[node.result] = None
    return list(found.values())


def _in_blocks(user: Op, image: Value, owners: dict[Op, Node]) -> bool:
    """``user`` belongs to a node that reads ``image`` in blocks."""
    op: Op | None = user
    while op is not None and op not in owners:
        op = op.parent_op
    return op is not None and image in owners[op].images


__all__ = ["Region", "regions"]
