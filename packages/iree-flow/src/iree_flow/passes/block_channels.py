"""``block-channels``: images of convolution chains are stored in blocks of channels.

Before: convolutions, pooling and elementwise ops on images ``[N][C][H][W]``. After: where it pays, the same
ops on ``[N][ceil(C / L)][H][W][L]``, as ``linalg.generic`` where the layout has no named op; weights are
constants packed to match. ``L`` is what the target asks for (``channel_block``); a target that asks for none
keeps its images. A region of such ops packs what enters it and unpacks what leaves it, once each.
"""

from __future__ import annotations

from typing import Any, ClassVar

from iree_base.records import record
from iree_core_ir.dialects.func import FuncOp
from iree_core_ir.ir.builder import Builder
from iree_core_ir.ir.operation import Block, Op, Value
from iree_core_ir.ir.traits import PURE
from iree_core_ir.pass_manager import Pass, PassContext
from iree_flow.blocked_gates import absorb_gates
from iree_flow.blocked_node import Node
from iree_flow.blocked_ops import find, mask
from iree_flow.blocked_regions import regions
from iree_flow.channel_blocks import CHANNEL, ChannelBlocks
from iree_flow.dims import DimResolver
from iree_flow.passes.fuse_elementwise import generalize_elementwise
from iree_flow.symbolic_dims import argument_dim_names


@record
class BlockChannels(Pass):
    name: ClassVar[str] = "block-channels"
    lanes: int | None = None
    """Channels in a block; None: as the target says."""
    always: bool = False
    """Block every region that holds a dense convolution, even one that does not pay."""

    def run(self, module: Op, context: PassContext) -> bool:
        lanes = self.lanes
        if lanes is None:
            ask = getattr(context.options["target"], "channel_block", None)
            lanes = ask(context.options["description"]) if ask is not None else None
        if lanes is None:
            return False
        changed = False
        for function in module.regions[0].block:
            if isinstance(function, FuncOp) and function.regions[0].blocks:
                resolver = DimResolver(function.regions[0].block, argument_dim_names(function))
                for block in function.regions[0].blocks:
                    changed |= generalize_elementwise(block)
                    blocks = ChannelBlocks(lanes, resolver, context.constants)
                    changed |= _block(block, blocks, self.always)
        return changed


def _block(block: Block, blocks: ChannelBlocks, always: bool) -> bool:
    """Block what pays; tells whether any op could be."""
    nodes: list[Node] = []
    made: set[Value] = set()
    for op in block:
        node = find(op, blocks, made.__contains__)
        if node is not None:
            nodes.append(node)
            if node.result is not None:
                made.add(node.result)
    if not nodes:
        return False
    nodes = absorb_gates(nodes)
    chosen: set[int] = set()
    for region in regions(nodes):
        if region.has_dense if always else region.pays(blocks.lanes):
            chosen.update(id(node) for node in region.nodes)
    nodes = [node for node in nodes if id(node) in chosen]
    clean = _clean(nodes, blocks.lanes)
    for node in nodes:
        builder = Builder.before_op(node.op)
        builder.location = node.op.location
        value = node.emit(blocks, builder)
        if node.result is None:
            node.op.replace_by([value])
            continue
        if node.result in clean:
            value = mask(value, node.result.type.shape[CHANNEL], blocks, builder)
        value.hint = node.result.hint
        blocks.images[node.result] = value
    for node in reversed(nodes):
        # An op that makes no image is replaced already.
        for op in node.ops[node.result is None :]:
            _retire(op, node, blocks)
    return True


def _clean(nodes: list[Node], lanes: int) -> set[Value]:
    """Images whose lanes behind the last channel have to be made zero."""
    makers = {node.result: node for node in nodes if node.result is not None}
    found: set[Value] = set()
    seen: set[Value] = set()
    stack = [image for node in nodes if node.mixes for image in node.images]
    while stack:
        image = stack.pop()
        if image in seen:
            continue
        seen.add(image)
        maker = makers.get(image)
        if maker is not None and maker.keeps_clean():
            stack.extend(maker.images)
        elif maker is not None and image.type.shape[CHANNEL] % lanes:
            found.add(image)
    return found


def _retire(op: Any, node: Node, blocks: ChannelBlocks) -> None:
    """Erase ``op``, whose readers in blocks are gone by now; others get the image unpacked."""
    result: Value = op.results[0]
    if result.uses and result is node.result:
        builder = Builder.before_op(op)
        builder.location = op.location
        op.replace_by([blocks.unpack(blocks.images[result], result, builder)])
    elif not result.uses and (op is node.op or PURE in op.traits or op.dialect == "linalg"):
        op.erase()


__all__ = ["BlockChannels"]
