"""ONNX data types <-> element types of the IR.

The IR computes on signless integers, so ``ui8`` and ``i8`` are both ``i8`` in a tensor type; whether a tensor
is unsigned is known from its ``ElementType`` and decides which op is emitted (``divui`` or ``divsi``).
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from onnx import TensorProto

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

_NAMES: dict[int, str] = {
    TensorProto.FLOAT: "f32",
    TensorProto.UINT8: "ui8",
    TensorProto.INT8: "i8",
    TensorProto.UINT16: "ui16",
    TensorProto.INT16: "i16",
    TensorProto.INT32: "i32",
    TensorProto.INT64: "i64",
    TensorProto.BOOL: "i1",
    TensorProto.FLOAT16: "f16",
    TensorProto.DOUBLE: "f64",
    TensorProto.UINT32: "ui32",
    TensorProto.UINT64: "ui64",
    TensorProto.COMPLEX64: "complex<f32>",
    TensorProto.COMPLEX128: "complex<f64>",
    TensorProto.BFLOAT16: "bf16",
    TensorProto.FLOAT8E4M3FN: "f8E4M3FN",
    TensorProto.FLOAT8E4M3FNUZ: "f8E4M3FNUZ",
    TensorProto.FLOAT8E5M2: "f8E5M2",
    TensorProto.FLOAT8E5M2FNUZ: "f8E5M2FNUZ",
    TensorProto.UINT4: "ui4",
    TensorProto.INT4: "i4",
}
_CODES = {name: code for code, name in _NAMES.items()}

F16, BF16, F32, F64 = (element_type(n) for n in ("f16", "bf16", "f32", "f64"))
I1, I8, I16, I32, I64 = (element_type(n) for n in ("i1", "i8", "i16", "i32", "i64"))
UI8, UI16, UI32, UI64 = (element_type(n) for n in ("ui8", "ui16", "ui32", "ui64"))


def code_name(code: int) -> str:
    """How ONNX calls a data type code."""
    try:
        return str(TensorProto.DataType.Name(code)).lower()
    except ValueError:
        return f"data type {code}"


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


@functools.cache
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
