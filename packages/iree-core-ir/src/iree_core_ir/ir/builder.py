"""Inserting ops at a point, with a current location."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, TypeVar

from iree_core_ir.ir.location import UNKNOWN, Location
from iree_core_ir.ir.operation import Block, Op

OpT = TypeVar("OpT", bound=Op)


class Builder:
    """Inserts at the end of ``block``, or before the op ``before`` in it."""

    __slots__ = ("before", "block", "location")

    def __init__(self, block: Block, before: Op | None = None, location: Location = UNKNOWN) -> None:
        self.block = block
        self.before = before
        self.location = location

    @classmethod
    def at_end(cls, block: Block, location: Location = UNKNOWN) -> Builder:
        return cls(block, None, location)

    @classmethod
    def at_start(cls, block: Block, location: Location = UNKNOWN) -> Builder:
        return cls(block, block.first, location)

    @classmethod
    def before_op(cls, op: Op) -> Builder:
        """Insert before ``op``, with its location."""
        assert op.parent is not None
        return cls(op.parent, op, op.location)

    @classmethod
    def after_op(cls, op: Op) -> Builder:
        """Insert after ``op``, with its location."""
        assert op.parent is not None
        return cls(op.parent, op.next, op.location)

    def insert(self, op: OpT) -> OpT:
        """Insert; an op without a location gets the current one."""
        if op._location is UNKNOWN:
            op._location = self.location
        if self.before is None:
            self.block.append(op)
        else:
            self.block.insert_before(op, self.before)
        return op

    def create(self, cls: type[OpT], *args: Any, **kwargs: Any) -> OpT:
        """``insert(cls.make(...))``."""
        return self.insert(cls.make(*args, **kwargs))  # type: ignore[attr-defined,no-any-return]

    @contextlib.contextmanager
    def into(self, block: Block) -> Iterator[Builder]:
        """Insert at the end of ``block`` for the duration."""
        saved = self.block, self.before
        self.block, self.before = block, None
        try:
            yield self
        finally:
            self.block, self.before = saved

    @contextlib.contextmanager
    def at(self, location: Location) -> Iterator[Builder]:
        """Use ``location`` for the duration."""
        saved, self.location = self.location, location
        try:
            yield self
        finally:
            self.location = saved
