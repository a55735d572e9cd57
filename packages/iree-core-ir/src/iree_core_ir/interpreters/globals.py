"""Globals of a module while it is interpreted: one value per global op, kept by the interpreter."""

from __future__ import annotations

from typing import Any

import numpy as np

from iree_base.element_types import element_type
from iree_core_ir.errors import CoreIrError
from iree_core_ir.interpreter import Frame, scalar
from iree_core_ir.ir.attributes import SymbolRefAttr, Type
from iree_core_ir.ir.operation import Op
from iree_core_ir.ir.types import ShapedType, TensorType

_STATE = "globals"


def zero(type: Type, op: Op) -> Any:
    """The value of a global that nothing initializes. Raises CoreIrError 12 for dynamic shapes."""
    if isinstance(type, ShapedType):
        if not isinstance(type, TensorType) or not type.is_static:
            raise CoreIrError(
                12, f"{op.name} of type {type} is not initialized", source=op.location.user_text()
            )
        return np.zeros(type.shape, element_type(str(type.element_type)).dtype)
    return scalar(0, type)


def _values(frame: Frame) -> dict[Op, Any]:
    """The store; the first access of an interpreter runs the module's initializers, in order."""
    state = frame.interpreter.state
    values: dict[Op, Any] | None = state.get(_STATE)
    if values is None:
        values = state[_STATE] = {}
        for op in list(frame.interpreter.module.regions[0].block):
            if op.name == "util.initializer":
                Frame(frame.interpreter).run_region(op.regions[0])
    return values


def load(frame: Frame, op: Op, symbol: SymbolRefAttr) -> Any:
    """The current value of the global ``symbol`` as seen from ``op``."""
    values = _values(frame)
    variable: Any = frame.lookup(op, symbol)
    if variable not in values:
        initial = variable.attributes.get("initial_value") or variable.attributes.get("value")
        value = zero(variable.type, variable) if initial is None else frame.constant(initial)
        values[variable] = value
    return values[variable]


def store(frame: Frame, op: Op, symbol: SymbolRefAttr, value: Any) -> None:
    """Set the global. Raises CoreIrError 12 when it is immutable and no initializer is running."""
    values = _values(frame)
    variable = frame.lookup(op, symbol)
    if "is_mutable" not in variable.attributes:
        parent = op.parent_op
        while parent is not None and parent.name != "util.initializer":
            parent = parent.parent_op
        if parent is None:
            raise CoreIrError(12, f"global {symbol} is immutable", source=op.location.user_text())
    values[variable] = value
