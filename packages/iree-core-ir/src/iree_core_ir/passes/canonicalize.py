"""canonicalize: fold, simplify by the dialects' patterns, drop dead ops, until nothing changes.

A pipeline canonicalizes many times, and most ops are by then as the last time left them. So it remembers what
each op looked like, in the context's ``memory``, and looks only at what has changed since and at what stands
around that; without a memory it looks at everything. ``test_what_is_remembered_changes_nothing`` holds both
against each other.
"""

from __future__ import annotations

import functools
from typing import Any, ClassVar

from iree_base.records import record
from iree_core_ir.canonicalize import canonicalization_patterns
from iree_core_ir.ir.operation import Op
from iree_core_ir.pass_manager import Pass, PassContext
from iree_core_ir.passes.dce import erase_unreachable_blocks
from iree_core_ir.rewriter import PatternSet, apply_patterns

Look = tuple[Any, ...]
"""What an op is by itself, and how much its results are used: compared by identity, so a change shows."""

_LEVELS = 2
"""How far around a changed op others are looked at again: patterns look through an op or two."""


@record(frozen=True)
class Seen:
    """A module as it was: every op's look, and the dialects whose patterns had been applied."""

    looks: dict[Op, Look]
    dialects: frozenset[str]


@record
class Canonicalize(Pass):
    """Bring ops into their canonical form. ``max_iterations`` bounds the sweeps over the module."""

    name: ClassVar[str] = "canonicalize"
    settles: ClassVar[bool] = True
    max_iterations: int = 10

    def run(self, module: Any, context: PassContext) -> bool:
        memory = context.memory.setdefault(self.name, {})
        changed, memory[module] = sweep(module, memory.get(module), self.max_iterations)
        return changed


def canonicalize(root: Op, max_iterations: int = 10) -> bool:
    """Canonicalize everything inside ``root``; tells whether anything changed."""
    return sweep(root, None, max_iterations)[0]


def sweep(root: Op, seen: Seen | None, max_iterations: int = 10) -> tuple[bool, Seen]:
    """Canonicalize what differs from ``seen`` (None: everything) until nothing changes any more.

    Tells whether anything changed, and how everything looked before the last sweep, which is how it is now
    if that changed nothing.
    """
    changed = False
    ops = list(root.walk())
    for _ in range(max_iterations):
        looks, edge = _compare(ops, seen.looks if seen is not None else {})
        dialects = frozenset([name.partition(".")[0] for name in {op.name for op in ops}])
        start = None
        if seen is not None and dialects <= seen.dialects:
            start = _around(ops, edge)
        again = False
        if start is None or start:
            patterns = _pattern_set(tuple(canonicalization_patterns(dialects)))
            again = apply_patterns(root, patterns, start=start)
        if again:
            ops = list(root.walk())
        if erase_unreachable_blocks(ops):
            again = True
            ops = list(root.walk())
        seen = Seen(looks, dialects)
        if not again:
            break
        changed = True
    assert seen is not None
    return changed, seen


@functools.lru_cache(maxsize=16)
def _pattern_set(patterns: tuple[Any, ...]) -> PatternSet:
    return PatternSet(patterns)


def _compare(ops: list[Op], before: dict[Op, Look]) -> tuple[dict[Op, Look], list[Op]]:
    """How the ops look, and which of them do not look as ``before``."""
    looks: dict[Op, Look] = {}
    edge: list[Op] = []
    known = before.get
    look: Look
    for op in ops:
        attributes = op.attributes.copy() if op.attributes else None
        results = op.results
        if len(results) == 1 and not op.regions:
            value = results[0]
            look = op.operands, attributes, op.parent, op.prev, op.successors, value.type, len(value.uses)
        else:
            look = (
                op.operands,
                attributes,
                op.parent,
                op.prev,
                op.successors,
                [(r.type, len(r.uses)) for r in results],
                [[(a.type, len(a.uses)) for a in b.args] for g in op.regions for b in g.blocks],
            )
        looks[op] = look
        if known(op) != look:
            edge.append(op)
    return looks, edge


def _around(ops: list[Op], edge: list[Op]) -> list[Op]:
    """The ops of ``edge``, and those around them, in the order they stand in."""
    if not edge:
        return []
    found = set(edge)
    for _ in range(_LEVELS):
        further: list[Op] = []
        for op in edge:
            for value in op.operands:
                owner = value.owner
                further.append(owner if isinstance(owner, Op) else owner.parent.parent)
            for value in op.results:
                further.extend(value.uses)
            further.append(op.parent_op)  # type: ignore[arg-type]
        edge = []
        for op in further:
            if op is not None and op not in found:
                found.add(op)
                edge.append(op)
    return [op for op in ops if op in found]
