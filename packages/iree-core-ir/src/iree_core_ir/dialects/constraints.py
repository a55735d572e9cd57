"""Type constraints that several dialects declare their operands with.

"Like" means the scalar itself, or a vector or tensor of it (never a memref): what an elementwise op takes.
"""

from __future__ import annotations

from collections.abc import Callable

from iree_core_ir.ir.attributes import Type
from iree_core_ir.ir.declaration import TypeConstraint
from iree_core_ir.ir.types import (
    ComplexType,
    FloatType,
    IndexType,
    IntegerType,
    ShapedType,
    TensorType,
    VectorType,
    i1,
)


def like(name: str, accepts: Callable[[Type], bool]) -> TypeConstraint:
    """``accepts`` on the type or, for a vector or tensor, on its element type."""

    def check(type: Type) -> bool:
        return accepts(type.element_type if isinstance(type, (TensorType, VectorType)) else type)

    return TypeConstraint(f"{name} or vector or tensor of it", check)


def _signless(type: Type) -> bool:
    return isinstance(type, IntegerType) and not type.signedness


FLOAT_LIKE = like("float", lambda t: isinstance(t, FloatType))
INTEGER_LIKE = like("signless integer", _signless)
INTEGER_OR_INDEX_LIKE = like("signless integer or index", lambda t: _signless(t) or isinstance(t, IndexType))
BOOL_LIKE = like("i1", lambda t: t is i1)
INDEX_LIKE = like("index", lambda t: isinstance(t, IndexType))
COMPLEX_LIKE = like("complex", lambda t: isinstance(t, ComplexType))
BITCASTABLE = like("signless integer or float", lambda t: _signless(t) or isinstance(t, FloatType))
SIGNLESS = TypeConstraint("signless integer", _signless)
FLOAT = TypeConstraint("float", lambda t: isinstance(t, FloatType))
INTEGER_OR_INDEX = TypeConstraint(
    "signless integer or index", lambda t: _signless(t) or isinstance(t, IndexType)
)


def with_element(type: Type, element: Type) -> Type:
    """``type`` with its element type (itself, when no shape) replaced by ``element``."""
    if isinstance(type, TensorType):
        return TensorType(type.shape, element, type.encoding)
    if isinstance(type, VectorType):
        return VectorType(type.shape, element)
    if isinstance(type, ShapedType):
        raise ValueError(f"{type} is no elementwise type")
    return element


def bool_like(type: Type) -> Type:
    """i1 in the shape of ``type``: what a comparison of two such values gives."""
    return with_element(type, i1)
