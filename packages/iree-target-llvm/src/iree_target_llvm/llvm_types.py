"""IR types and constants as LLVM text.

f16 and bf16 are carried as i16, 8-bit floats as i8 (kernels compute in f32; see
``iree_codegen.legalize``), so that no conversion routine of a C runtime is ever called. i1 is one byte in
memory.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from iree_codegen.errors import UNSUPPORTED_TYPE, CodegenError
from iree_core_ir.ir.attributes import DenseElementsAttr, FloatAttr, IntegerAttr, Type
from iree_core_ir.ir.types import FloatType, IndexType, IntegerType, MemRefType, VectorType

FLOATS = {"f32": "float", "f64": "double", "f16": "i16", "bf16": "i16"}
FLOATS |= dict.fromkeys(("f8E4M3FN", "f8E5M2", "f8E4M3FNUZ", "f8E5M2FNUZ"), "i8")
SUFFIX = {"float": "f32", "double": "f64", "half": "f16"}


def llvm_type(type: Type) -> str:
    """The type of a value in a register. Raises CodegenError for one kernels cannot hold."""
    if isinstance(type, FloatType):
        found = FLOATS.get(type.name)
        if found is not None:
            return found
    if isinstance(type, IntegerType):
        return f"i{type.width}"
    if isinstance(type, IndexType):
        return "i64"
    if isinstance(type, MemRefType):
        return "ptr"
    if isinstance(type, VectorType):
        return f"<{type.shape[0]} x {llvm_type(type.element_type)}>"
    raise CodegenError(UNSUPPORTED_TYPE, str(type))


def memory_type(type: Type) -> str:
    """The type of an element in memory."""
    text = llvm_type(type)
    return "i8" if text == "i1" else text


def element_size(type: Type) -> int:
    """Bytes of an element in memory."""
    text = memory_type(type)
    if text == "float":
        return 4
    if text == "double":
        return 8
    if text == "ptr":
        return 8
    return max(1, int(text[1:]) // 8)


def intrinsic_suffix(type: Type) -> str:
    """``f32``, ``v16f32``: how intrinsic names spell the type."""
    if isinstance(type, VectorType):
        return f"v{type.shape[0]}{intrinsic_suffix(type.element_type)}"
    text = llvm_type(type)
    return SUFFIX.get(text, text)


def float_literal(value: float) -> str:
    """A float or double as hexadecimal text, exact."""
    return f"0x{struct.unpack('<Q', struct.pack('<d', value))[0]:016X}"


def scalar_literal(value: Any, type: Type) -> str:
    """A number of ``type`` as an operand."""
    if isinstance(type, FloatType):
        if type.width < 32:
            return str(narrow_bits(float(value), type.name))
        number = float(np.float32(value)) if type.name == "f32" else float(value)
        return float_literal(number)
    if isinstance(type, IntegerType) and type.width == 1:
        return "true" if value else "false"
    return str(int(value))


def narrow_bits(value: float, name: str) -> int:
    """The bits of a number of a narrow float type."""
    if name == "f16":
        return int(np.array(value, np.float16).view(np.uint16))
    from iree_base.element_types import element_type

    row = element_type(name)
    return int(np.array(value).astype(row.dtype).view(np.uint16 if row.bytes == 2 else np.uint8))


def constant_text(attribute: Any) -> str:
    """A constant attribute as an operand (without its type)."""
    if isinstance(attribute, (IntegerAttr, FloatAttr)):
        return scalar_literal(attribute.value, attribute.type)
    assert isinstance(attribute, DenseElementsAttr), attribute
    element = attribute.type.element_type
    text = llvm_type(element)
    values = attribute.to_array().reshape(-1)
    if attribute.splat:
        if not np.any(values[:1]) and not np.signbit(np.asarray(values[:1], np.float64)).any():
            return "zeroinitializer"
        return f"splat ({text} {scalar_literal(values[0].item(), element)})"
    return "<" + ", ".join(f"{text} {scalar_literal(v.item(), element)}" for v in values) + ">"
