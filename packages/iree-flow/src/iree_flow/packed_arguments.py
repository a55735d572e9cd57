"""How a dispatch function says that the memory of a constant is laid out some other way."""

from __future__ import annotations

import json
from typing import Any

from iree_core_ir.dialects.func import FuncOp
from iree_core_ir.ir.attributes import ArrayAttr, DictAttr, StringAttr
from iree_core_ir.target import ConstantLayout

PACKED = "iree.packed"
"""Argument attribute: kind and parameters of the transform, as JSON."""


def layout_text(layout: ConstantLayout) -> str:
    """Kind and parameters, the same text for equal layouts."""
    return json.dumps({"kind": layout.kind, "parameters": dict(layout.parameters)}, sort_keys=True)


def mark_packed(function: FuncOp, layout: ConstantLayout) -> None:
    """Argument ``layout.argument`` keeps its logical type; its memory is as ``layout`` says."""
    attributes: Any = function.attributes["arg_attrs"]
    items = list(attributes.items)
    facts = items[layout.argument].to_dict()
    facts[PACKED] = StringAttr(layout_text(layout))
    items[layout.argument] = DictAttr(facts)
    function.attributes["arg_attrs"] = ArrayAttr(items)


__all__ = ["PACKED", "layout_text", "mark_packed"]
