"""What the printers of single ops need of the function they are printed into."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from iree_core_ir.ir.operation import Value


class TextWriter(Protocol):
    """A function under construction, as LLVM text."""

    architecture: str
    """What it is for, as in ``CpuDescription``; empty: any machine."""

    def assign(self, expression: str) -> str:
        """A new name for the value of ``expression``."""
        ...

    def write(self, line: str) -> None:
        """A line without a value."""
        ...

    def operand(self, value: Value) -> str:
        """The name or literal of a value."""
        ...

    def typed(self, value: Value) -> str:
        """Type and name."""
        ...

    def address(self, memory: Value, at: Value) -> str:
        """A pointer to ``memory[at]``."""
        ...

    def declare(self, name: str, result: str, arguments: Sequence[str]) -> str:
        """Declare an intrinsic; returns its name with ``@``."""
        ...

    def tile(self, value: Value) -> str:
        """The number of a tile's register."""
        ...

    def intrinsic(self, name: str, result: str, arguments: Sequence[tuple[str, str]]) -> str:
        """A call of an intrinsic with (type, operand) arguments."""
        ...
