"""Coded errors of the IR: what can be wrong with text, IR, passes and constants."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iree_base.errors import IreeError

if TYPE_CHECKING:
    from iree_core_ir.ir.operation import Op


class CoreIrError(IreeError):
    """An error of iree-core-ir; ``IREE-IR-nnn``."""

    package = "IR"
    table = {
        1: "cannot parse the IR",
        2: "the IR is invalid",
        3: "unknown pass",
        4: "invalid pass option",
        5: "no numpy meaning is registered",
        6: "unknown symbol",
        7: "wrong arguments",
        8: "unknown constant",
        9: "invalid constant",
        10: "the constants file is damaged",
        11: "rewriting did not reach a fixed point",
        12: "the program failed a check",
        13: "unknown constant transform",
        14: "unsupported text",
    }


class FailedAssert(CoreIrError):
    """A condition of the program does not hold; ``op`` is the ``cf.assert`` that says so."""

    op: Op | None = None


class ParseError(CoreIrError):
    """Text that does not parse: shows file:line:column, the line and a caret."""

    def __init__(self, message: str, file: str, line: int, column: int, text: str) -> None:
        self.message = message
        self.file = file
        self.line = line
        self.column = column
        self.text = text
        super().__init__(1, message, source=f"{file}:{line}:{column}")

    def __str__(self) -> str:
        # A line may be megabytes of constant data: show the part around the caret.
        start = max(0, self.column - 100)
        shown = self.text[start : start + 160].rstrip("\r\n")
        caret = " " * (self.column - 1 - start) + "^"
        return f"{self.code}: {self.file}:{self.line}:{self.column}: {self.message}\n{shown}\n{caret}"

    def __reduce__(self) -> tuple[object, ...]:
        return ParseError, (self.message, self.file, self.line, self.column, self.text)


class VerifyError(CoreIrError):
    """Invalid IR: shows the op, where the user wrote it and the IR around it."""

    def __init__(self, op: Op | None, message: str, *, rendered: str | None = None) -> None:
        self.op = op
        self.message = message
        if rendered is None:
            assert op is not None
            rendered = _render(op, message)
        self.rendered = rendered
        self.after = ""
        """The pass that left the IR invalid, when known."""
        source = op.location.user_text() if op is not None else None
        super().__init__(2, message, source=source)

    def __str__(self) -> str:
        after = f"after {self.after}: " if self.after else ""
        return f"{self.code}: {after}{self.rendered}"

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild_verify_error, (self.message, self.rendered)


def _rebuild_verify_error(message: str, rendered: str) -> VerifyError:
    return VerifyError(None, message, rendered=rendered)


def _render(op: Op, message: str) -> str:
    from iree_core_ir.text.context import context_text

    where = op.location.user_text()
    head = f"{where}: '{op.name}' op {message}" if where != "unknown" else f"'{op.name}' op {message}"
    return f"{head}\n{context_text(op)}"


__all__ = ["CoreIrError", "ParseError", "VerifyError"]
