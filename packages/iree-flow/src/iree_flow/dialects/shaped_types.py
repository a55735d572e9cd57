"""Types followed by their dynamic dims, ``tensor<?x4xf32>{%d0}``, and lists of index operands as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from iree_core_ir.ir.attributes import Type
from iree_core_ir.ir.operation import Value
from iree_core_ir.ir.types import DYNAMIC, TensorType, index


def shaped_types(printer: Any, types: Sequence[Type], dims: Sequence[Value]) -> str:
    """``tensor<?x4xf32>{%d0}, index``: each dynamic tensor type followed by its dims."""
    parts = []
    rest = list(dims)
    for type in types:
        text = printer.text(type)
        n = sum(d == DYNAMIC for d in type.shape) if isinstance(type, TensorType) else 0
        if n:
            text += "{" + ", ".join(printer.name(v) for v in rest[:n]) + "}"
            rest = rest[n:]
        parts.append(text)
    return ", ".join(parts)


def parse_shaped_types(parser: Any, parenthesized: bool) -> tuple[list[Type], list[Value]]:
    types: list[Type] = []
    dims: list[Value] = []

    def one() -> None:
        types.append(parser.type())
        dims.extend(index_list(parser, "{", "}"))

    if parenthesized and parser.at("("):
        parser.comma_list(one)
    else:
        one()
    return types, dims


def index_operand(parser: Any) -> Value:
    """One operand of type index."""
    value: Value = parser.resolve(parser.operand_name(), index)
    return value


def index_list(parser: Any, open: str, close: str) -> list[Value]:
    """An optional bracketed list of index operands."""
    return parser.comma_list(lambda: index_operand(parser), open, close) if parser.at(open) else []
