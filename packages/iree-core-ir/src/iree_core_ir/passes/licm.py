"""licm: move pure ops that do not vary out of loops."""

from __future__ import annotations

from typing import Any, ClassVar

from iree_base.records import record
from iree_core_ir.ir.effects import is_pure
from iree_core_ir.ir.operation import Op
from iree_core_ir.ir.traits import LOOP, TERMINATOR
from iree_core_ir.pass_manager import Pass, PassContext


@record
class Licm(Pass):
    """Hoist loop-invariant code. Nothing of ours traps, so speculating is safe."""

    name: ClassVar[str] = "licm"

    def run(self, module: Any, context: PassContext) -> bool:
        return hoist_invariant_code(module)


def hoist_invariant_code(root: Op) -> bool:
    """Hoist out of all loops inside ``root``, inner loops first; tells whether anything moved."""
    loops = [op for op in root.walk() if LOOP in op.traits]
    changed = False
    for loop in reversed(loops):
        changed |= hoist_from(loop)
    return changed


def hoist_from(loop: Op) -> bool:
    """Move invariant pure ops of the loop's own blocks in front of it."""
    inside: set[Any] = set()
    for op in loop.walk():
        if op is not loop:
            inside.add(op)
        for region in op.regions:
            inside.update(region.blocks)
    changed = False
    for region in loop.regions:
        for block in region.blocks:
            for op in block:
                if TERMINATOR in op.traits or not is_pure(op) or _depends(op, inside):
                    continue
                op.move_before(loop)
                inside.difference_update(op.walk())
                changed = True
    return changed


def _depends(op: Op, inside: set[Any]) -> bool:
    """True when ``op``, or an op in it, uses a value defined in the loop (but outside ``op``)."""
    if not op.regions:
        return any(v.owner in inside for v in op.operands)
    own: set[Any] = set()
    for inner in op.walk():
        own.add(inner)
        for region in inner.regions:
            own.update(region.blocks)
    return any(v.owner in inside and v.owner not in own for inner in op.walk() for v in inner.operands)
