"""cse: one op where several compute the same values.

Pure ops with equal name, operands, attributes and result types merge into the first that dominates
the others; bodies are compared structurally.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from iree_core_ir.ir.dominance import dominator_tree
from iree_core_ir.ir.effects import is_dead, is_pure
from iree_core_ir.ir.location import fuse
from iree_core_ir.ir.operation import Block, Op, Region
from iree_core_ir.ir.traits import ISOLATED
from iree_core_ir.pass_manager import Pass, PassContext


@dataclass
class Cse(Pass):
    """Merge equal pure ops."""

    name: ClassVar[str] = "cse"

    def run(self, module: Any, context: PassContext) -> None:
        merge_equal_ops(module)


def merge_equal_ops(root: Op) -> bool:
    """Merge equal ops inside ``root``; tells whether there were any."""
    return _Merger().regions(root)


class _Merger:
    def __init__(self) -> None:
        self.known: dict[Any, Op] = {}
        self.changed = False

    def regions(self, op: Op) -> bool:
        for region in op.regions:
            if region.blocks:
                self._region(op, region)
        return self.changed

    def _region(self, op: Op, region: Region) -> None:
        saved = self.known
        if ISOLATED in op.traits:
            self.known = {}
        if len(region.blocks) == 1:
            added: list[Any] = []
            self._block(region.block, added)
            self._forget(added)
        else:
            tree = dominator_tree(region)
            stack: list[tuple[Block, list[Any] | None]] = [(region.block, None)]
            while stack:
                block, done = stack.pop()
                if done is not None:
                    self._forget(done)
                    continue
                added = []
                self._block(block, added)
                stack.append((block, added))
                stack.extend((child, None) for child in tree[block])
        self.known = saved

    def _forget(self, added: list[Any]) -> None:
        for key in added:
            del self.known[key]

    def _block(self, block: Block, added: list[Any]) -> None:
        op = block.first
        while op is not None:
            following = op.next
            if op.regions:
                if is_dead(op):
                    op.erase()
                    self.changed = True
                    op = following
                    continue
                self.regions(op)
            if op.results and is_pure(op):
                self._merge(op, added)
            op = following

    def _merge(self, op: Op, added: list[Any]) -> None:
        key = structural_key(op)
        first = self.known.get(key)
        if first is None:
            self.known[key] = op
            added.append(key)
            return
        first.location = fuse((first.location, op.location))
        op.replace_by(first.results)
        self.changed = True


def structural_key(op: Op, inner: dict[Any, int] | None = None) -> Any:
    """A hashable that is equal for ops that compute the same; values from outside by identity."""
    attributes = op.attributes
    items = frozenset(attributes.items()) if attributes else ()
    results = op.results
    types = results[0].type if len(results) == 1 else tuple([r.type for r in results])
    if inner is None:
        operands: Any = op.operands
        if not op.regions:
            return op.__class__, op.name, operands, items, types
        inner = {}
    else:
        operands = tuple([inner.get(v, v) for v in op.operands])
        for result in results:
            inner[result] = len(inner)
        if not op.regions:
            successors = tuple([inner.get(s, s) for s in op.successors])
            return op.__class__, op.name, operands, items, types, successors
    return op.__class__, op.name, operands, items, types, tuple([_region_key(r, inner) for r in op.regions])


def _region_key(region: Region, inner: dict[Any, int]) -> Any:
    for block in region.blocks:
        inner[block] = len(inner)
        for argument in block.args:
            inner[argument] = len(inner)
    return tuple(
        [
            (tuple([a.type for a in block.args]), tuple([structural_key(op, inner) for op in block]))
            for block in region.blocks
        ]
    )
