"""Edges between the blocks of a function: what a terminator passes to which block."""

from __future__ import annotations

from collections.abc import Sequence

from iree_base.records import record
from iree_core_ir.dialects import cf
from iree_core_ir.ir.builder import Builder
from iree_core_ir.ir.operation import Block, Op, Region, Value
from iree_flow.errors import FlowError


@record(frozen=True)
class Edge:
    """From the block that ``op`` ends to its successor ``number``."""

    block: Block
    number: int

    @property
    def op(self) -> Op:
        return self.block.terminator

    @property
    def target(self) -> Block:
        return self.op.successors[self.number]

    @property
    def arguments(self) -> list[Value]:
        """What the target's arguments get."""
        return arguments_of(self.op)[self.number]


def arguments_of(op: Op) -> list[list[Value]]:
    """Per successor of a terminator what it passes. Raises FlowError 8 for one that is no branch."""
    found = cf.branch_arguments(op)
    if found is not None:
        return found
    if op.successors:
        raise FlowError(8, f"'{op.name}' on the host", source=op.location.user_text())
    return []


def edges(block: Block) -> list[Edge]:
    """The edges that leave a block."""
    return [Edge(block, number) for number in range(len(arguments_of(block.terminator)))]


def incoming_edges(region: Region) -> dict[Block, list[Edge]]:
    """Per block the edges that lead to it; nothing for one that none does."""
    incoming: dict[Block, list[Edge]] = {}
    for block in region.blocks:
        for edge in edges(block):
            incoming.setdefault(edge.target, []).append(edge)
    return incoming


def replace_branch(op: Op, arguments: Sequence[Sequence[Value]]) -> Op:
    """The same branch with other arguments, in the place of ``op``."""
    made = Builder.before_op(op).insert(cf.rebuilt_branch(op, op.successors, arguments))
    op.erase()
    return made


def extend_edge(edge: Edge, values: Sequence[Value]) -> None:
    """Pass ``values`` behind what the edge passes already."""
    if values:
        arguments = arguments_of(edge.op)
        arguments[edge.number] += values
        replace_branch(edge.op, arguments)


def split_edges(block: Block, wanted: Sequence[Edge]) -> None:
    """Blocks of their own, behind ``block``, for edges of a branch that has several."""
    if not wanted:
        return
    assert block.parent is not None
    op = block.terminator
    arguments = arguments_of(op)
    at = block.parent.blocks.index(block) + 1
    targets = list(op.successors)
    for edge in wanted:
        middle = Block()
        middle.parent = block.parent
        block.parent.blocks.insert(at, middle)
        at += 1
        Builder.at_end(middle, op.location).create(cf.Branch, targets[edge.number], arguments[edge.number])
        arguments[edge.number] = []
        targets[edge.number] = middle
    Builder.before_op(op).insert(cf.rebuilt_branch(op, targets, arguments))
    op.erase()


__all__ = [
    "Edge",
    "arguments_of",
    "edges",
    "extend_edge",
    "incoming_edges",
    "replace_branch",
    "split_edges",
]
