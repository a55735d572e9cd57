"""ONNX data types <-> element types of the IR.

The IR computes on signless integers, so ``ui8`` and ``i8`` are both ``i8`` in a tensor type; whether a tensor
is unsigned is known from its ``ElementType`` and decides which op is emitted (``divui`` or ``divsi``).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from iree_base.element_types import ElementType, element_type, from_dtype
from iree_core_ir.ir.attributes import Type
from iree_core_ir.ir.types import (
    ComplexType,
    FloatType,
    IntegerType,
    f32,
    f64,
)
from iree_input_onnx.errors import UNSUPPORTED_TYPE, OnnxError

_ROWS: tuple[tuple[int, str, str], ...] = (
    (1, "float", "f32"),
    (2, "uint8", "ui8"),
    (3, "int8", "i8"),
    (4, "uint16", "ui16"),
    (5, "int16", "i16"),
    (6, "int32", "i32"),
    (7, "int64", "i64"),
    (8, "string", ""),
    (9, "bool", "i1"),
    (10, "float16", "f16"),
    (11, "double", "f64"),
    (12, "uint32", "ui32"),
    (13, "uint64", "ui64"),
    (14, "complex64", "complex<f32>"),
    (15, "complex128", "complex<f64>"),
    (16, "bfloat16", "bf16"),
    (17, "float8e4m3fn", "f8E4M3FN"),
    (18, "float8e4m3fnuz", "f8E4M3FNUZ"),
    (19, "float8e5m2", "f8E5M2"),
    (20, "float8e5m2fnuz", "f8E5M2FNUZ"),
    (21, "uint4", "ui4"),
    (22, "int4", "i4"),
    (23, "float4e2m1", ""),
    (24, "float8e8m0", ""),
    (25, "uint2", ""),
    (26, "int2", ""),
)
"""(``TensorProto.DataType``, its name, the element type or nothing)."""
_ONNX_NAMES = {code: name for code, name, _ in _ROWS}
_NAMES = {code: name for code, _, name in _ROWS if name}
_CODES = {name: code for code, name in _NAMES.items()}

F16, BF16, F32, F64 = (element_type(n) for n in ("f16", "bf16", "f32", "f64"))
I1, I8, I16, I32, I64 = (element_type(n) for n in ("i1", "i8", "i16", "i32", "i64"))
UI8, UI16, UI32, UI64 = (element_type(n) for n in ("ui8", "ui16", "ui32", "ui64"))


def code_name(code: int) -> str:
    """How ONNX calls a data type code."""
    return _ONNX_NAMES.get(code, f"data type {code}")


def from_code(code: int, where: str) -> ElementType:
    """The element type of ``TensorProto.DataType`` ``code``; ``where`` names the user in the error.

    Raises OnnxError 7 for strings and types without an IR counterpart.
    """
    name = _NAMES.get(code)
    if name is None:
        raise OnnxError(UNSUPPORTED_TYPE, code_name(code), source=where)
    return element_type(name)


def to_code(element: ElementType) -> int:
    """``TensorProto.DataType`` of an element type."""
    return _CODES[element.name]


def onnx_name(element: ElementType) -> str:
    """The element type as ONNX calls it, for messages."""
    return code_name(to_code(element))


def ir_type(element: ElementType) -> Type:
    """The signless scalar type that stands for ``element`` in the IR."""
    if element.kind == "f":
        return FloatType(element.name)
    if element.kind == "c":
        return ComplexType(f32 if element.bits == 64 else f64)
    return IntegerType(1 if element.kind == "b" else element.bits)


def storage_name(element: ElementType) -> str:
    """The name of ``ir_type(element)``: how the ConstantStore keeps such data."""
    return element.name.removeprefix("u")


def is_float(element: ElementType) -> bool:
    return element.kind == "f"


def is_integer(element: ElementType) -> bool:
    """Signed or unsigned, booleans excluded."""
    return element.kind in "iu"


def accumulator(element: ElementType) -> ElementType:
    """The type in which many values of ``element`` are summed: f32 for narrower floats."""
    return F32 if element.kind == "f" and element.bits < 32 else element


def of_array(array: np.ndarray[Any, Any]) -> ElementType:
    """The element type of a numpy array."""
    return from_dtype(array.dtype)
