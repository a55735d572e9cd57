"""The IR around an op, for error messages."""

from __future__ import annotations

from iree_core_ir.ir.operation import Op, Region, Value
from iree_core_ir.text.printer import Printer

CONTEXT = 3
"""Neighbours shown on each side."""
WIDTH = 160


class _HeadPrinter(Printer):
    """Prints ops without what is inside their regions, which may be long or broken."""

    def region(self, region: Region, entry_arguments: bool = True, terminator: bool | None = None) -> None:
        self.write("{ ... }" if region.blocks else "{}")


def context_text(op: Op) -> str:
    """A few lines of IR around ``op``, which is marked with ``>``; never raises."""
    try:
        return _context_text(op)
    except Exception as error:  # the IR is invalid: printing may fail anywhere
        return f"  (cannot print the op: {type(error).__name__}: {error})"


def _context_text(op: Op) -> str:
    before: list[Op] = []
    around = op.prev
    while around is not None and len(before) < CONTEXT:
        before.append(around)
        around = around.prev
    after: list[Op] = []
    around = op.next
    while around is not None and len(after) < CONTEXT:
        after.append(around)
        around = around.next
    lines: list[str] = []
    enclosing = op.parent_op
    if enclosing is not None:
        lines.append("  in " + _line(enclosing, _HeadPrinter()))
    if len(before) == CONTEXT and before[-1].prev is not None:
        lines.append("    ...")
    for other in (*reversed(before), op, *after):
        mark = "  > " if other is op else "    "
        lines.append(mark + _line(other, _HeadPrinter(generic=other is op)))
    if len(after) == CONTEXT and after[-1].next is not None:
        lines.append("    ...")
    return "\n".join(lines)


def value_text(value: Value, position: int) -> str:
    """``operand 0 %x``; only the position when no name can be found."""
    try:
        return f"operand {position} {Printer().name(value)}"
    except Exception:  # the IR is invalid: naming may fail anywhere
        return f"operand {position}"


def _line(op: Op, printer: Printer) -> str:
    """The op's first line; an op that cannot be printed is named."""
    try:
        printer.op(op)
        text: str = printer.result()
    except Exception:
        text = f"{op.name} ..."
    line = " ".join(text.splitlines())
    return line if len(line) <= WIDTH else line[: WIDTH - 4] + " ..."
