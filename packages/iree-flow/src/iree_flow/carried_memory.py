"""Tensors that go from block to block: whose memory a block may write over, because it has it for itself.

A block *owns* the memory of a tensor that it takes over a branch when, on every way there, that memory was
made for it or owned before, is passed once, and is not used any more otherwise. Then a loop updates what it
carries in place. Values that share memory (reshapes, slices) count as one, by their root.
"""

from __future__ import annotations

from collections.abc import Sequence

from iree_core_ir.dialects import arith, tensor
from iree_core_ir.ir.operation import Block, BlockArgument, Region, Value
from iree_core_ir.ir.types import TensorType
from iree_flow.blocks import Edge, incoming_edges
from iree_flow.stream_storage import ALIASES, WORK, is_part, root_of


class Liveness:
    """Per block the roots that are still used behind it."""

    def __init__(self, region: Region) -> None:
        self.live_in: dict[Block, set[Value]] = {}
        self.live_out: dict[Block, set[Value]] = {block: set() for block in region.blocks}
        uses = {block: _used(block) for block in region.blocks}
        made = {block: _made(block) for block in region.blocks}
        changed = True
        while changed:
            changed = False
            for block in reversed(region.blocks):
                out: set[Value] = set()
                for successor in block.terminator.successors:
                    out |= self.live_in.get(successor, set())
                needed = uses[block] | (out - made[block])
                if needed != self.live_in.get(block) or out != self.live_out[block]:
                    self.live_in[block], self.live_out[block] = needed, out
                    changed = True


def _used(block: Block) -> set[Value]:
    """Roots from other blocks that a block uses."""
    found = {
        root_of(value)
        for op in block
        if not isinstance(op, ALIASES)
        for value in op.operands
        if isinstance(value.type, TensorType)
    }
    return {root for root in found if root.parent_block is not block}


def _made(block: Block) -> set[Value]:
    return {*block.args, *(result for op in block for result in op.results)}


def owned_arguments(region: Region, carried: Sequence[BlockArgument], liveness: Liveness) -> set[Value]:
    """The tensors among ``carried`` whose memory their block owns."""
    incoming = incoming_edges(region)
    owned: set[Value] = set(carried)
    changed = True
    while changed:
        changed = False
        for arg in carried:
            if arg in owned and not all(
                _hands_over(edge, arg.index, owned, liveness) for edge in incoming.get(arg.owner, ())
            ):
                owned.discard(arg)
                changed = True
    return owned


def _hands_over(edge: Edge, position: int, owned: set[Value], liveness: Liveness) -> bool:
    """Whether the memory of an argument belongs to nobody else behind ``edge``."""
    arguments = edge.arguments
    value = arguments[position]
    root = root_of(value)
    op = root.defining_op
    if is_part(value) or isinstance(op, arith.Constant):
        return True  # copied on the way
    if op is None:
        made = root in owned
    else:
        made = isinstance(op, (*WORK, tensor.Empty))
    times = sum(isinstance(v.type, TensorType) and root_of(v) is root for v in arguments)
    return made and times == 1 and root not in liveness.live_in.get(edge.target, set())


__all__ = ["Liveness", "owned_arguments"]
