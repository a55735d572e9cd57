"""Replacing ops: ``linalg.generic`` on other operands and loops, with the body it had; what is left over."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from iree_core_ir.dialects import linalg
from iree_core_ir.ir.affine import AffineMap
from iree_core_ir.ir.builder import Builder
from iree_core_ir.ir.effects import is_dead
from iree_core_ir.ir.operation import Op, Region, Value


def take_body(op: linalg.Generic) -> Region:
    """The body of an op that is replaced, for the one that replaces it: nothing in it is made anew, so what
    passes remember of it stays true. ``op`` is left without.
    """
    region = Region()
    region.take_blocks(op.region)
    return region


def on_operands(
    builder: Builder,
    op: linalg.Generic,
    inputs: Sequence[Value],
    outputs: Sequence[Value],
    maps: Sequence[AffineMap],
    iterators: Sequence[str],
) -> linalg.Generic:
    """What ``op`` computes, on operands of the same element types; the caller replaces and erases ``op``,
    whose body goes over.
    """
    return builder.create(linalg.Generic, inputs, outputs, maps, iterators, take_body(op))


def erase_unused(ops: Sequence[Op]) -> None:
    """Erase those of ``ops`` whose results nobody uses; they do nothing else. Users come behind what they
    use.
    """
    for op in reversed(ops):
        if op.parent is not None and not any(result.uses for result in op.results):
            op.erase()


def erase_unused_makers(values: Iterable[Value]) -> None:
    """Erase the ops that make ``values`` if nothing else came of them, and what only they used."""
    pending = list(values)
    while pending:
        op = pending.pop().defining_op
        if op is not None and op.parent is not None and is_dead(op):
            pending += op.operands
            op.erase()


__all__ = ["erase_unused", "erase_unused_makers", "on_operands", "take_body"]
