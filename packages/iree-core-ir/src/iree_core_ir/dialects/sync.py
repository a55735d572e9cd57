"""``sync``: words of memory by which workgroups that run at the same time tell each other how far they are.

A word is an i64 in flat memory that is touched by these ops alone. What a thread wrote before ``sync.store``
or a successful ``sync.exchange`` is seen by who reads that value, or a later one, with ``sync.load`` or
``sync.exchange``.
"""

from __future__ import annotations

from typing import Any, Self

from iree_core_ir.errors import VerifyError
from iree_core_ir.ir.declaration import operand, result
from iree_core_ir.ir.dialect import Dialect
from iree_core_ir.ir.operation import Op, Value
from iree_core_ir.ir.types import MemRefType, i1, i64, index


class _WordOp(Op):
    memory = operand(MemRefType)
    at = operand(index)

    def verify_op(self) -> None:
        type: Any = self.memory.type
        if type.rank != 1 or type.element_type is not i64:
            raise VerifyError(self, f"words are i64 in flat memory, got {type}")


class Load(_WordOp, name="sync.load"):
    """The word as it is now."""

    value = result(i64)
    assembly_format = "$memory `[` $at `]` attr-dict `:` type($memory)"

    @classmethod
    def make(cls, memory: Value, at: Value) -> Self:
        return cls((memory, at), (i64,))


class Store(_WordOp, name="sync.store"):
    """The word becomes ``new``."""

    new = operand(i64)
    assembly_format = "$new `,` $memory `[` $at `]` attr-dict `:` type($memory)"

    @classmethod
    def make(cls, memory: Value, at: Value, new: Value) -> Self:
        return cls((memory, at, new))


class Exchange(_WordOp, name="sync.exchange"):
    """The word becomes ``new`` if it is ``old``: true for the one thread that did it."""

    old = operand(i64)
    new = operand(i64)
    done = result(i1)
    assembly_format = "$memory `[` $at `]` `,` $old `to` $new attr-dict `:` type($memory)"

    @classmethod
    def make(cls, memory: Value, at: Value, old: Value, new: Value) -> Self:
        return cls((memory, at, old, new), (i1,))


class Pause(Op, name="sync.pause"):
    """Some time passes: the core is told that this thread waits."""

    assembly_format = "attr-dict"

    @classmethod
    def make(cls) -> Self:
        return cls()


DIALECT = Dialect("sync", ops=[Load, Store, Exchange, Pause])
