"""Names of dynamic dims at a function's boundary: same name, same value, checked once at entry."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from iree_core_ir.dialects.func import FuncOp
from iree_core_ir.ir.attributes import ArrayAttr, DictAttr
from iree_core_ir.ir.operation import Value

NAME, DIMS = "iree.name", "iree.dims"


def _attributes(op: FuncOp, key: str, count: int) -> list[DictAttr]:
    attribute = op.attributes.get(key)
    items = list(attribute.items) if isinstance(attribute, ArrayAttr) else []
    return [item if isinstance(item, DictAttr) else DictAttr() for item in items] + [DictAttr()] * (
        count - len(items)
    )


def _strings(attribute: Any) -> list[str]:
    return [] if attribute is None else [item.value for item in attribute.items]


def argument_names(op: FuncOp) -> list[str]:
    """The names of the function's inputs (``arg0`` ... when the source gives none)."""
    attributes = _attributes(op, "arg_attrs", len(op.function_type.value.inputs))  # type: ignore[attr-defined]
    return [getattr(a.get(NAME), "value", f"arg{i}") for i, a in enumerate(attributes)]


def result_names(op: FuncOp) -> list[str]:
    """The names of the function's outputs (``result0`` ... when the source gives none)."""
    attributes = _attributes(op, "res_attrs", len(op.function_type.value.results))  # type: ignore[attr-defined]
    return [getattr(a.get(NAME), "value", f"result{i}") for i, a in enumerate(attributes)]


def argument_dim_names(op: FuncOp) -> dict[Value, Sequence[str]]:
    """Per tensor argument of a function with a body: the dim names, one per axis ("" = none)."""
    block = op.regions[0].block
    attributes = _attributes(op, "arg_attrs", len(block.args))
    return {arg: _strings(a.get(DIMS)) for arg, a in zip(block.args, attributes, strict=True)}


def result_dim_names(op: FuncOp) -> list[list[str]]:
    """Per result: its dim names."""
    attributes = _attributes(op, "res_attrs", len(op.function_type.value.results))  # type: ignore[attr-defined]
    return [_strings(a.get(DIMS)) for a in attributes]
