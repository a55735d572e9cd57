"""What may be removed, moved or merged: questions about an op's side effects."""

from __future__ import annotations

from iree_core_ir.ir.operation import Op
from iree_core_ir.ir.traits import ALLOCATES, PURE, READS, RECURSIVE_EFFECTS, TERMINATOR


def is_pure(op: Op) -> bool:
    """True when the op (and everything inside, if its effects are those of its body) has no effect.

    A pure op may be removed when unused, moved to any place its operands reach, and merged.
    """
    traits = op.traits
    if PURE in traits:
        return True
    return RECURSIVE_EFFECTS in traits and all(
        (TERMINATOR in inner.traits and not inner.regions) or is_pure(inner)
        for region in op.regions
        for block in region.blocks
        for inner in block
    )


def is_removable_when_unused(op: Op) -> bool:
    """True when the op does nothing but compute its results (it may read memory or allocate)."""
    traits = op.traits
    if TERMINATOR in traits:
        return False
    if PURE in traits or READS in traits or ALLOCATES in traits:
        return True
    return RECURSIVE_EFFECTS in traits and all(
        (TERMINATOR in inner.traits and not inner.regions) or is_removable_when_unused(inner)
        for region in op.regions
        for block in region.blocks
        for inner in block
    )


def is_dead(op: Op) -> bool:
    """True when removing the op changes nothing."""
    for value in op.results:
        if value.uses:
            return False
    return is_removable_when_unused(op)
