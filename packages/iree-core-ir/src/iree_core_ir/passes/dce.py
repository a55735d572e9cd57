"""dce: remove ops whose results nobody uses and that do nothing else, and unreachable blocks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from iree_base.records import record
from iree_core_ir.ir.dominance import reachable_postorder
from iree_core_ir.ir.effects import is_dead
from iree_core_ir.ir.operation import Op
from iree_core_ir.pass_manager import Pass, PassContext


@record
class Dce(Pass):
    """Remove dead ops and unreachable blocks."""

    name: ClassVar[str] = "dce"

    def run(self, module: Any, context: PassContext) -> None:
        erase_unreachable_blocks(list(module.walk()))
        erase_dead_ops(module)


def erase_dead_ops(root: Op) -> bool:
    """Erase dead ops inside ``root``, users before what they use; tells whether there were any."""
    changed = False
    for region in root.regions:
        for block in reversed(region.blocks):
            for op in reversed(block):
                if is_dead(op):
                    op.erase()
                    changed = True
                elif op.regions:
                    changed |= erase_dead_ops(op)
    if changed and any(len(region.blocks) > 1 for region in root.regions):
        erase_dead_ops(root)  # blocks are listed in no particular order: a definition may come later
    return changed


def erase_unreachable_blocks(ops: Iterable[Op]) -> bool:
    """Erase blocks of the ops that control never reaches; tells whether there were any."""
    changed = False
    for op in ops:
        for region in op.regions:
            if len(region.blocks) < 2:
                continue
            reachable = set(reachable_postorder(region))
            dead = [block for block in region.blocks if block not in reachable]
            if not dead:
                continue
            changed = True
            for block in dead:
                for inner in block:
                    inner.drop_all_references()
            for block in dead:
                for inner in block.ops:
                    inner.erase()
            region.blocks = [block for block in region.blocks if block in reachable]
    return changed
