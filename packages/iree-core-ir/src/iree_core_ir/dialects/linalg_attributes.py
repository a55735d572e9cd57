"""Attributes of ``linalg``: iterator types and the function names that some named ops take."""

from __future__ import annotations

from typing import Any, ClassVar

from iree_core_ir.ir.attributes import Attribute


class _EnumAttr(Attribute):
    """``#linalg.mnemonic<value>`` with a fixed set of values."""

    __slots__ = _fields = ("value",)
    value: str
    VALUES: ClassVar[tuple[str, ...]] = ()

    def check(self) -> None:
        if self.value not in self.VALUES:
            raise ValueError(f"unknown {self.mnemonic} '{self.value}'; one of {', '.join(self.VALUES)}")

    @classmethod
    def parse_parameters(cls, parser: Any) -> Attribute:
        parser.expect("<")
        value = parser.keyword()
        parser.expect(">")
        return cls(value)

    def print_parameters(self, printer: Any) -> None:
        printer.write(f"<{self.value}>")


class IteratorTypeAttr(_EnumAttr):
    """How the iterations of a loop may be ordered."""

    __slots__ = ()
    mnemonic = "linalg.iterator_type"
    VALUES = ("parallel", "reduction", "window")


class TypeFnAttr(_EnumAttr):
    """How a named op converts integers: as signed or as unsigned."""

    __slots__ = ()
    mnemonic = "linalg.type_fn"
    VALUES = ("cast_signed", "cast_unsigned")


class UnaryFnAttr(_EnumAttr):
    __slots__ = ()
    mnemonic = "linalg.unary_fn"
    VALUES = (
        "exp", "log", "abs", "ceil", "floor", "negf", "reciprocal", "round", "sqrt", "rsqrt", "square",
        "tanh", "erf",
    )  # fmt: skip


class BinaryFnAttr(_EnumAttr):
    __slots__ = ()
    mnemonic = "linalg.binary_fn"
    VALUES = (
        "add", "sub", "mul", "div", "div_unsigned", "max_signed", "min_signed", "max_unsigned",
        "min_unsigned", "powf",
    )  # fmt: skip
