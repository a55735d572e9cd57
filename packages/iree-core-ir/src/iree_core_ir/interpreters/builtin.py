"""Meanings of builtin: a cast between views of one value is the value."""

from __future__ import annotations

from typing import Any

from iree_core_ir.dialects import builtin
from iree_core_ir.interpreter import Frame, implements


@implements(builtin.UnrealizedConversionCast)
def unrealized_conversion_cast(frame: Frame, op: builtin.UnrealizedConversionCast, *values: Any) -> Any:
    return values
