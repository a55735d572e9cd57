"""Dominator trees of regions with several blocks (Cooper, Harvey, Kennedy, 2001)."""

from __future__ import annotations

from iree_core_ir.ir.operation import Block, Region


def successors(block: Block) -> tuple[Block, ...]:
    return block.last.successors if block.last is not None else ()


def reachable_postorder(region: Region) -> list[Block]:
    """The blocks reachable from the entry, each after its successors (back edges aside)."""
    entry = region.block
    order: list[Block] = []
    seen = {entry}
    stack = [(entry, iter(successors(entry)))]
    while stack:
        block, following = stack[-1]
        for successor in following:
            if successor not in seen:
                seen.add(successor)
                stack.append((successor, iter(successors(successor))))
                break
        else:
            order.append(block)
            stack.pop()
    return order


def immediate_dominators(region: Region) -> dict[Block, Block]:
    """Reachable block -> its immediate dominator; the entry block maps to itself."""
    entry = region.block
    order = reachable_postorder(region)
    number = {block: i for i, block in enumerate(order)}
    predecessors: dict[Block, list[Block]] = {block: [] for block in order}
    for block in order:
        for successor in successors(block):
            predecessors[successor].append(block)
    idom: dict[Block, Block] = {entry: entry}
    changed = True
    while changed:
        changed = False
        for block in reversed(order):
            if block is entry:
                continue
            known = [p for p in predecessors[block] if p in idom]
            new = known[0]
            for other in known[1:]:
                while other is not new:
                    while number[other] < number[new]:
                        other = idom[other]
                    while number[new] < number[other]:
                        new = idom[new]
            if idom.get(block) is not new:
                idom[block] = new
                changed = True
    return idom


def dominator_tree(region: Region) -> dict[Block, list[Block]]:
    """Reachable block -> the blocks it immediately dominates."""
    idom = immediate_dominators(region)
    children: dict[Block, list[Block]] = {block: [] for block in idom}
    for block, parent in idom.items():
        if block is not parent:
            children[parent].append(block)
    return children
