"""Lists that mix static integers with SSA values, as slices, pads and reshapes carry them.

MLIR keeps such a list as a ``static_*`` array attribute in which ``DYNAMIC_INDEX`` marks the places that
the op's index operands fill, in order. Negative integers are legal entries (strides, pads), so the mark
is the smallest i64 and not ``types.DYNAMIC``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from iree_core_ir.dialects.rule_op import RuleOp
from iree_core_ir.ir.attributes import DenseArrayAttr
from iree_core_ir.ir.known_values import known_integer
from iree_core_ir.ir.operation import Op, Value
from iree_core_ir.ir.types import DYNAMIC, i64

DYNAMIC_INDEX = -(1 << 63)

Mixed = int | Value
"""A static integer, or an index value known at run time."""


def static_part(mixed: Iterable[Mixed]) -> DenseArrayAttr:
    """The ``static_*`` attribute of ``mixed``."""
    return DenseArrayAttr(i64, [DYNAMIC_INDEX if isinstance(m, Value) else int(m) for m in mixed])


def dynamic_part(mixed: Iterable[Mixed]) -> list[Value]:
    """The operands of ``mixed``, in order."""
    return [m for m in mixed if isinstance(m, Value)]


def join(static: Sequence[int], dynamic: Sequence[Value]) -> tuple[Mixed, ...]:
    """The mixed list of a static attribute and the operands that fill its marks."""
    if not dynamic and DYNAMIC_INDEX not in static:
        return tuple(static)
    values = iter(dynamic)
    return tuple(next(values) if s == DYNAMIC_INDEX else s for s in static)


def shape_of(mixed: Iterable[Mixed]) -> tuple[int, ...]:
    """A type's shape for mixed sizes: DYNAMIC where the size is a value."""
    return tuple([DYNAMIC if isinstance(m, Value) else int(m) for m in mixed])


def staticize(mixed: Iterable[Mixed]) -> tuple[Mixed, ...]:
    """``mixed`` with values defined by constants replaced by their integers."""
    result: list[Mixed] = []
    for m in mixed:
        known = known_integer(m) if isinstance(m, Value) else None
        result.append(m if known is None else known)
    return tuple(result)


class MixedIndexOp(RuleOp):
    """Base of ops whose assembly format uses ``custom<DynamicIndexList>``: ``[%a, 4, %b]``."""

    @staticmethod
    def parse_DynamicIndexList(p: Any) -> tuple[list[str], DenseArrayAttr]:
        names: list[str] = []
        static: list[int] = []

        def entry() -> None:
            if p.kind == "value":
                names.append(p.operand_name())
                static.append(DYNAMIC_INDEX)
            else:
                static.append(p.integer())

        p.comma_list(entry, "[", "]")
        return names, DenseArrayAttr(i64, static)

    @staticmethod
    def print_DynamicIndexList(printer: Any, op: Op, values: Sequence[Value], static: DenseArrayAttr) -> None:
        entries = [
            printer.name(entry) if isinstance(entry, Value) else str(entry)
            for entry in join(static.values, values)
        ]
        printer.write(f"[{', '.join(entries)}]")
