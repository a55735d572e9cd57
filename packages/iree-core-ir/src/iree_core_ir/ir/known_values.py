"""What a value is known to be: the attribute, the number or the integer of the constant that makes it."""

from __future__ import annotations

from typing import Any

import numpy as np

from iree_base.element_types import element_type
from iree_core_ir.ir.attributes import Attribute, DenseElementsAttr, FloatAttr, IntegerAttr
from iree_core_ir.ir.operation import Op, Value
from iree_core_ir.ir.traits import CONSTANT_LIKE
from iree_core_ir.ir.types import FloatType, IndexType, IntegerType


def known_attribute(value: Value) -> Attribute | None:
    """The constant that ``value`` is known to be, or None."""
    owner: Any = value.owner
    # Of the class: what an op's operands change of its traits has nothing to do with constants.
    if isinstance(owner, Op) and CONSTANT_LIKE in owner.__class__.traits:
        found: Attribute | None = owner.attributes.get("value")
        return found
    return None


def known_number(value: Value) -> int | float | None:
    """The number that ``value`` is, or has in every element; None where it is not known, or complex."""
    attribute: Any = known_attribute(value)
    if isinstance(attribute, (IntegerAttr, FloatAttr)):
        return attribute.value
    if not isinstance(attribute, DenseElementsAttr) or not attribute.splat:
        return None
    element = attribute.type.element_type
    number = np.frombuffer(attribute.data, element_type(str(element)).dtype)[0]
    if isinstance(element, FloatType):
        return float(number)
    return int(number) if isinstance(element, (IntegerType, IndexType)) else None


def known_integer(value: Value) -> int | None:
    """The integer (or index) that ``value`` is, or has in every element; None for anything else."""
    number = known_number(value)
    return number if isinstance(number, int) else None


__all__ = ["known_attribute", "known_integer", "known_number"]
