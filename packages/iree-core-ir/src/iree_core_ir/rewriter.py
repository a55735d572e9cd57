"""Pattern rewriting: patterns indexed by their root op, applied greedily from a worklist.

The worklist holds every op once; a change puts only the ops it concerns back. Folding and the
removal of dead ops are part of the loop, so patterns see folded IR.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, ClassVar, TypeVar

from iree_core_ir.errors import CoreIrError
from iree_core_ir.folding import fold_op, materialize
from iree_core_ir.ir.attributes import Attribute
from iree_core_ir.ir.builder import Builder
from iree_core_ir.ir.effects import is_dead
from iree_core_ir.ir.location import UNKNOWN
from iree_core_ir.ir.operation import Block, Op, Region, Value

OpT = TypeVar("OpT", bound=Op)

LIMIT_FACTOR = 64
"""Rewrites allowed per op of the input before the patterns are declared divergent."""


class Pattern:
    """One rewrite. ``root`` is an op class (subclasses included), several, or None for any op.

    ``match_and_rewrite`` changes the IR through ``rewriter`` and returns True, or leaves it as it was
    and returns False. Among patterns of one op, higher ``benefit`` goes first, then registration order.
    """

    root: ClassVar[type[Op] | tuple[type[Op], ...] | None] = None
    benefit: int = 1

    def match_and_rewrite(self, op: Any, rewriter: Rewriter) -> bool:
        raise NotImplementedError

    def __repr__(self) -> str:
        return getattr(self, "name", type(self).__name__)


class _FunctionPattern(Pattern):
    def __init__(self, function: Callable[[Any, Rewriter], bool], root: Any, benefit: int) -> None:
        self.match_and_rewrite = function  # type: ignore[assignment,method-assign]
        self.root = root  # type: ignore[misc]
        self.benefit = benefit
        self.name = function.__name__
        self.__doc__ = function.__doc__


def pattern(*roots: type[Op], benefit: int = 1) -> Callable[[Callable[[Any, Rewriter], bool]], Pattern]:
    """Make a pattern of a function ``(op, rewriter) -> bool``."""

    def wrap(function: Callable[[Any, Rewriter], bool]) -> Pattern:
        return _FunctionPattern(function, roots or None, benefit)

    return wrap


class Listener:
    """Sees every change a ``Rewriter`` makes. All methods do nothing by default."""

    def inserted(self, op: Op) -> None:
        """``op`` was inserted."""

    def modified(self, op: Op) -> None:
        """Operands, attributes, types or regions of ``op`` changed in place."""

    def replaced(self, op: Op, values: Sequence[Value]) -> None:
        """``op``'s results are about to be replaced by ``values``."""

    def erased(self, op: Op) -> None:
        """``op`` (and all inside) is about to be erased."""


class Rewriter:
    """Changes the IR and tells its listeners. New ops go before ``op``, the op being rewritten."""

    def __init__(self, listeners: Iterable[Listener] = ()) -> None:
        self.listeners = list(listeners)
        self.op: Op | None = None
        self._point: tuple[Block, Op | None] | None = None

    # -- inserting ------------------------------------------------------------------------------

    @contextlib.contextmanager
    def at(self, block: Block, before: Op | None = None) -> Iterator[Rewriter]:
        """Insert before ``before``, or at the end of ``block``, for the duration."""
        saved, self._point = self._point, (block, before)
        try:
            yield self
        finally:
            self._point = saved

    def before(self, op: Op) -> contextlib.AbstractContextManager[Rewriter]:
        assert op.parent is not None
        return self.at(op.parent, op)

    def after(self, op: Op) -> contextlib.AbstractContextManager[Rewriter]:
        assert op.parent is not None
        return self.at(op.parent, op.next)

    def insert(self, op: OpT) -> OpT:
        """Insert; an op without location gets that of the op being rewritten."""
        if op._location is UNKNOWN and self.op is not None:
            op._location = self.op._location
        if self._point is not None:
            block, before = self._point
            if before is None:
                block.append(op)
            else:
                block.insert_before(op, before)
        else:
            assert self.op is not None and self.op.parent is not None
            self.op.parent.insert_before(op, self.op)
        for listener in self.listeners:
            listener.inserted(op)
        return op

    def create(self, cls: type[OpT], *args: Any, **kwargs: Any) -> OpT:
        """``insert(cls.make(...))``."""
        return self.insert(cls.make(*args, **kwargs))  # type: ignore[attr-defined,no-any-return]

    def builder(self) -> Builder:
        """A ``Builder`` at the insertion point; report its ops with ``inserted``."""
        return _RewriterBuilder(self)

    # -- changing ---------------------------------------------------------------------------------

    def replace(self, op: Op, values: Op | Value | Sequence[Value]) -> None:
        """Replace all results of ``op`` (by those of an op, one value, or values) and erase it."""
        if isinstance(values, Op):
            values = values.results
        elif isinstance(values, Value):
            values = (values,)
        if len(values) != len(op.results):
            raise ValueError(f"'{op.name}' has {len(op.results)} results, {len(values)} replace them")
        for listener in self.listeners:
            listener.replaced(op, values)
        for old, new in zip(op.results, values, strict=True):
            if new.hint is None and not (isinstance(new.owner, Op) and new.owner is op):
                new.hint = old.hint
            old.replace_all_uses_with(new)
        self.erase(op)

    def replace_with(self, op: Op, cls: type[OpT], *args: Any, **kwargs: Any) -> OpT:
        """``replace(op, create(cls, ...))``; returns the new op."""
        new = self.create(cls, *args, **kwargs)
        self.replace(op, new)
        return new

    def replace_value(self, old: Value, new: Value) -> None:
        """Replace all uses of one value."""
        for user in old.users:
            self.modified(user)
        old.replace_all_uses_with(new)

    def erase(self, op: Op) -> None:
        for listener in self.listeners:
            listener.erased(op)
        op.erase()

    def modified(self, op: Op) -> None:
        """Tell that ``op`` was (or is about to be) changed in place."""
        for listener in self.listeners:
            listener.modified(op)

    def set_operands(self, op: Op, operands: Iterable[Value]) -> None:
        self.modified(op)
        op.set_operands(operands)
        self.modified(op)

    def set_attribute(self, op: Op, key: str, value: Attribute | None) -> None:
        """Set or (None) remove an attribute."""
        if value is None:
            op.attributes.pop(key, None)
        else:
            op.attributes[key] = value
        self.modified(op)

    def inline_block(self, block: Block, before: Op, arguments: Sequence[Value]) -> None:
        """Move the ops of ``block`` before ``before``; its arguments become ``arguments``.

        The terminator moves too: the caller replaces it.
        """
        for old, new in zip(block.args, arguments, strict=True):
            self.replace_value(old, new)
        target = before.parent
        assert target is not None
        for op in block.ops:
            target.insert_before(op.detach(), before)
            self.modified(op)

    def move_region(self, region: Region, target: Region) -> None:
        """Move all blocks of ``region`` to the end of ``target``."""
        target.take_blocks(region)


class _RewriterBuilder(Builder):
    """A builder whose insertions the rewriter's listeners see."""

    __slots__ = ("rewriter",)

    def __init__(self, rewriter: Rewriter) -> None:
        op = rewriter.op
        if rewriter._point is not None:
            block, before = rewriter._point
        else:
            assert op is not None and op.parent is not None
            block, before = op.parent, op
        super().__init__(block, before, op.location if op is not None else UNKNOWN)
        self.rewriter = rewriter

    def insert(self, op: OpT) -> OpT:
        super().insert(op)
        for listener in self.rewriter.listeners:
            listener.inserted(op)
        return op


class _Worklist(Listener):
    """The ops still to be looked at, last in first out, each at most once."""

    def __init__(self, ops: Iterable[Op]) -> None:
        self.stack = list(ops)
        self.stack.reverse()
        self.waiting = set(self.stack)
        self.gone: set[Op] = set()

    def push(self, op: Op) -> None:
        if op not in self.waiting and op not in self.gone:
            self.waiting.add(op)
            self.stack.append(op)

    def push_operand_owners(self, op: Op) -> None:
        for value in op.operands:
            owner = value.owner
            if isinstance(owner, Op):
                self.push(owner)

    def pop(self) -> Op | None:
        stack, waiting = self.stack, self.waiting
        while stack:
            op = stack.pop()
            if op in waiting:
                waiting.remove(op)
                return op
        return None

    def inserted(self, op: Op) -> None:
        for inner in op.walk() if op.regions else (op,):
            self.gone.discard(inner)
            self.push(inner)

    def modified(self, op: Op) -> None:
        self.push_operand_owners(op)
        self.push(op)
        for value in op.results:
            for user in value.uses:
                self.push(user)

    def replaced(self, op: Op, values: Sequence[Value]) -> None:
        for value in op.results:
            for user in value.uses:
                self.push(user)

    def erased(self, op: Op) -> None:
        # The op around may have become simpler (an empty body, one op fewer to move).
        parent = op.parent_op
        if parent is not None and parent.parent is not None:
            self.push(parent)
        for inner in op.walk() if op.regions else (op,):
            self.push_operand_owners(inner)
            self.waiting.discard(inner)
            self.gone.add(inner)


class PatternSet:
    """Patterns ordered by benefit and found by the class of an op."""

    def __init__(self, patterns: Iterable[Pattern | type[Pattern]]) -> None:
        instances = [p() if isinstance(p, type) else p for p in patterns]
        self._patterns = sorted(instances, key=lambda p: -p.benefit)
        self._by_class: dict[type[Op], tuple[Pattern, ...]] = {}

    def of(self, cls: type[Op]) -> tuple[Pattern, ...]:
        found = self._by_class.get(cls)
        if found is None:
            found = self._by_class[cls] = tuple(
                p for p in self._patterns if p.root is None or issubclass(cls, p.root)
            )
        return found


def apply_patterns(
    root: Op,
    patterns: Iterable[Pattern | type[Pattern]] | PatternSet,
    fold: bool = True,
    *,
    remove_dead: bool = True,
    listeners: Iterable[Listener] = (),
    start: Iterable[Op] | None = None,
) -> bool:
    """Rewrite everything inside ``root`` until nothing matches; tells whether anything changed.

    ``start``: the ops to look at first (others only as changes reach them); None: all.

    Raises CoreIrError 11 when the patterns do not come to an end.
    """
    pattern_set = patterns if isinstance(patterns, PatternSet) else PatternSet(patterns)
    first = list(root.walk() if start is None else start)
    worklist = _Worklist([op for op in first if op is not root])
    rewriter = Rewriter([worklist, *listeners])
    limit = budget = LIMIT_FACTOR * len(first) + 1000
    counted = start is None
    changed = False
    last: Pattern | None = None
    while True:
        op = worklist.pop()
        if op is None:
            return changed
        rewriter.op = op
        if remove_dead and is_dead(op):
            rewriter.erase(op)
            changed = True
            continue
        if fold and _fold(op, rewriter):
            changed = True
            budget -= 1
        else:
            for candidate in pattern_set.of(op.__class__):
                if candidate.match_and_rewrite(op, rewriter):
                    changed = True
                    budget -= 1
                    last = candidate
                    break
        if budget < 0 and not counted:  # what was changed first may concern everything
            counted = True
            more = LIMIT_FACTOR * sum(1 for _ in root.walk())
            limit, budget = limit + more, budget + more
        if budget < 0:
            raise CoreIrError(
                11,
                f"in '{root.name}' after {limit} rewrites",
                cause=f"last applied: {last!r} on '{op.name}'",
            )


def _fold(op: Op, rewriter: Rewriter) -> bool:
    """Fold ``op`` and replace it; tells whether the IR changed."""
    results = fold_op(op)
    if results is None:
        return False
    if not results:
        if op.results:  # folded in place
            rewriter.modified(op)
            return True
        return False
    values: list[Value] = []
    for found, old in zip(results, op.results, strict=True):
        if isinstance(found, Value):
            if found is old:
                return False
            values.append(found)
        else:
            values.append(rewriter.insert(materialize(found, old.type, op.dialect)).results[0])
    rewriter.replace(op, values)
    return True


__all__ = [
    "Listener",
    "Pattern",
    "PatternSet",
    "Rewriter",
    "apply_patterns",
    "pattern",
]
