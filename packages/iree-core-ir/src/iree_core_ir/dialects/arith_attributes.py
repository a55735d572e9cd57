"""Attributes of ``arith``: fast-math and overflow flags, comparison predicates, constants from numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from iree_base.element_types import element_type
from iree_core_ir.ir.attributes import Attribute, DenseElementsAttr, FloatAttr, IntegerAttr, Type
from iree_core_ir.ir.enums import BitEnumAttr
from iree_core_ir.ir.operation import Value
from iree_core_ir.ir.types import FloatType, IndexType, IntegerType, ShapedType

CMPI_PREDICATES = ("eq", "ne", "slt", "sle", "sgt", "sge", "ult", "ule", "ugt", "uge")
CMPF_PREDICATES = (
    "false", "oeq", "ogt", "oge", "olt", "ole", "one", "ord",
    "ueq", "ugt", "uge", "ult", "ule", "une", "uno", "true",
)  # fmt: skip


class FastMathAttr(BitEnumAttr):
    """``#arith.fastmath<contract>``: value-changing float rewrites that are allowed."""

    __slots__ = ()
    mnemonic = "arith.fastmath"
    cases = ("reassoc", "nnan", "ninf", "nsz", "arcp", "contract", "afn")
    groups = {"fast": cases}


class OverflowAttr(BitEnumAttr):
    """``#arith.overflow<nsw, nuw>``: overflow that does not happen (wrapping otherwise)."""

    __slots__ = ()
    mnemonic = "arith.overflow"
    cases = ("nsw", "nuw")

    def print_parameters(self, printer: Any) -> str:
        return f"<{', '.join(self.values) or 'none'}>"


NO_FASTMATH = FastMathAttr()
NO_OVERFLOW = OverflowAttr()


def fastmath_attributes(fastmath: FastMathAttr | None) -> dict[str, Attribute]:
    """The attributes of an op with these flags: none for no flags."""
    return {} if fastmath is None or fastmath is NO_FASTMATH else {"fastmath": fastmath}


def wrap_integer(value: int, type: Type) -> int:
    """``value`` modulo 2^n in the range attributes use: signed, 0/1 for i1, unsigned for ``ui``."""
    if isinstance(type, IndexType):
        width, signed = 64, True
    elif isinstance(type, IntegerType):
        width, signed = type.width, type.signedness != "u" and type.width > 1
    else:
        raise ValueError(f"{type} is no integer type")
    value &= (1 << width) - 1
    return value - (1 << width) if signed and value >> (width - 1) else value


def constant_attribute(value: Any, type: Type) -> Attribute:
    """The attribute of a number as ``type``: wrapped or rounded to it, a splat for a shaped type.

    Raises ValueError for a type without numbers.
    """
    if isinstance(type, ShapedType):
        return DenseElementsAttr.from_splat(_scalar(value, type.element_type), type)
    number = _scalar(value, type)
    return FloatAttr(float(number), type) if isinstance(type, FloatType) else IntegerAttr(int(number), type)


def is_number_constant(value: Value) -> bool:
    """True for the result of a constant no element of which is NaN."""
    op = value.defining_op
    if op is None or op.name != "arith.constant":
        return False
    attribute: Any = op.attributes["value"]
    if isinstance(attribute, DenseElementsAttr):
        array = attribute.to_array()
        return bool((array == array).all())
    return bool(attribute.value == attribute.value)


def _scalar(value: Any, type: Type) -> Any:
    if isinstance(type, FloatType):
        with np.errstate(over="ignore"):
            return np.asarray(value, np.float64).astype(element_type(type.name).dtype)
    return wrap_integer(int(value), type)
