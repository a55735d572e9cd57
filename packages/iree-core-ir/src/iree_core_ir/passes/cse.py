"""cse: one op where several compute the same values.

Pure ops with equal name, operands, attributes and result types merge into the first that dominates
the others; bodies are compared structurally.
"""

from __future__ import annotations

from typing import Any, ClassVar

from iree_base.records import record
from iree_core_ir.ir.dominance import dominator_tree
from iree_core_ir.ir.effects import is_dead, is_pure
from iree_core_ir.ir.location import Location, fuse
from iree_core_ir.ir.operation import Block, Op, Region
from iree_core_ir.ir.traits import ISOLATED
from iree_core_ir.pass_manager import Pass, PassContext


@record
class Cse(Pass):
    """Merge equal pure ops."""

    name: ClassVar[str] = "cse"
    settles: ClassVar[bool] = True

    def run(self, module: Any, context: PassContext) -> bool:
        return merge_equal_ops(module)


def merge_equal_ops(root: Op) -> bool:
    """Merge equal ops inside ``root``; tells whether there were any."""
    merger = _Merger()
    merger.regions(root)
    for op, others in merger.merged.items():
        op.location = fuse((op.location, *others))
    return merger.changed


_SEVERAL: Any = object()
"""In place of an op: several have this rough key, and are found by their structural ones."""

_Undo = tuple[dict[Any, Any], Any, Any]


class _Merger:
    """Finds an op by a rough key, cheap to make: its class and operands. Ops that share one are told apart by
    structural keys, so most bodies and effects are never looked at.
    """

    def __init__(self) -> None:
        self.rough: dict[Any, Any] = {}
        self.exact: dict[Any, Op] = {}
        self.undo: list[_Undo] = []
        """(table, key, what it held before), to leave a block again."""
        self.merged: dict[Op, list[Location]] = {}
        """Ops that stand for others -> where those came from."""
        self.changed = False

    def regions(self, op: Op) -> None:
        for region in op.regions:
            if region.blocks:
                self._region(op, region)

    def _region(self, op: Op, region: Region) -> None:
        saved = self.rough, self.exact
        if ISOLATED in op.__class__.traits:
            self.rough, self.exact = {}, {}
        outside = len(self.undo)
        if len(region.blocks) == 1:
            self._block(region.block)
            self._leave(outside)
        else:
            tree = dominator_tree(region)
            stack: list[tuple[Block, int | None]] = [(region.block, None)]
            while stack:
                block, before = stack.pop()
                if before is not None:
                    self._leave(before)
                    continue
                stack.append((block, len(self.undo)))
                self._block(block)
                stack.extend((child, None) for child in tree[block])
        self.rough, self.exact = saved

    def _enter(self, table: dict[Any, Any], key: Any, op: Any) -> None:
        self.undo.append((table, key, table.get(key)))
        table[key] = op

    def _leave(self, before: int) -> None:
        """Forget what was entered since ``undo`` had ``before`` entries."""
        while len(self.undo) > before:
            table, key, held = self.undo.pop()
            if held is None:
                del table[key]
            else:
                table[key] = held

    def _block(self, block: Block) -> None:
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
            if op.results:
                self._merge(op)
            op = following

    def _merge(self, op: Op) -> None:
        if op.operands:
            key = op.__class__, op.operands
            other = self.rough.get(key)
            if other is None:
                self._enter(self.rough, key, op)
                return
            if other is not _SEVERAL:
                self._enter(self.rough, key, _SEVERAL)
                if is_pure(other):
                    self._enter(self.exact, structural_key(other), other)
        if not is_pure(op):
            return
        key = structural_key(op)
        first = self.exact.get(key)
        if first is None:
            self._enter(self.exact, key, op)
            return
        self.merged.setdefault(first, []).append(op.location)
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
