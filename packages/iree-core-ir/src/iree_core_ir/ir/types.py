"""Builtin types. ``DYNAMIC`` marks a dimension known only at run time; it prints as ``?``."""

from __future__ import annotations

from typing import Any

from iree_core_ir.ir.attributes import Attribute, Type

DYNAMIC = -1


class IntegerType(Type):
    """``i32`` (signless), ``si32``, ``ui32``."""

    __slots__ = _fields = ("width", "signedness")
    width: int
    signedness: str

    def __new__(cls, width: int, signedness: str = "") -> IntegerType:
        return super().__new__(cls, width, signedness)


class FloatType(Type):
    """``f16 bf16 f32 f64 f8E4M3FN f8E5M2 ...`` by name."""

    __slots__ = _fields = ("name",)
    name: str

    @property
    def width(self) -> int:
        return FLOAT_WIDTHS[self.name]

    def check(self) -> None:
        if self.name not in FLOAT_WIDTHS:
            raise ValueError(f"unknown float type '{self.name}'")


FLOAT_WIDTHS = {
    "f16": 16,
    "bf16": 16,
    "f32": 32,
    "tf32": 19,
    "f64": 64,
    "f80": 80,
    "f128": 128,
    "f8E4M3FN": 8,
    "f8E5M2": 8,
    "f8E4M3FNUZ": 8,
    "f8E5M2FNUZ": 8,
    "f8E4M3B11FNUZ": 8,
    "f8E4M3": 8,
    "f8E3M4": 8,
    "f8E8M0FNU": 8,
    "f4E2M1FN": 4,
    "f6E2M3FN": 6,
    "f6E3M2FN": 6,
}


class IndexType(Type):
    __slots__ = ()


class NoneType(Type):
    __slots__ = ()


class ComplexType(Type):
    __slots__ = _fields = ("element_type",)
    element_type: Type


class FunctionType(Type):
    """``(inputs) -> results``."""

    __slots__ = _fields = ("inputs", "results")
    inputs: tuple[Type, ...]
    results: tuple[Type, ...]

    def __new__(cls, inputs: Any = (), results: Any = ()) -> FunctionType:
        return super().__new__(cls, tuple(inputs), tuple(results))


class TupleType(Type):
    __slots__ = _fields = ("types",)
    types: tuple[Type, ...]


class ShapedType(Type):
    """Types with a ``shape`` (ints, DYNAMIC for ``?``) and an ``element_type``."""

    __slots__ = ("is_static", "n_dynamic", "rank")
    shape: tuple[int, ...]
    element_type: Type
    # What follows from the shape, worked out once a type.
    rank: int
    is_static: bool
    n_dynamic: int

    @property
    def n_elements(self) -> int:
        """Element count of a static shape."""
        count = 1
        for dim in self.shape:
            if dim < 0:
                raise ValueError(f"{self} has dynamic dimensions")
            count *= dim
        return count

    def with_shape(self, shape: Any) -> Any:
        """The same type with another shape (encoding or layout kept)."""
        raise NotImplementedError(type(self).__name__)

    def check(self) -> None:
        n_dynamic = 0
        for dim in self.shape:
            if dim < 0:
                if dim != DYNAMIC:
                    raise ValueError(f"negative dimension {dim}")
                n_dynamic += 1
        set_slot = object.__setattr__
        set_slot(self, "rank", len(self.shape))
        set_slot(self, "n_dynamic", n_dynamic)
        set_slot(self, "is_static", not n_dynamic)


class TensorType(ShapedType):
    """``tensor<4x?xf32>``, optionally with an encoding attribute."""

    __slots__ = _fields = ("shape", "element_type", "encoding")
    encoding: Attribute | None

    def __new__(cls, shape: Any, element_type: Type, encoding: Attribute | None = None) -> TensorType:
        return super().__new__(cls, tuple(shape), element_type, encoding)

    def with_shape(self, shape: Any) -> TensorType:
        return TensorType(shape, self.element_type, self.encoding)


class UnrankedTensorType(Type):
    __slots__ = _fields = ("element_type",)
    element_type: Type


class StridedLayoutAttr(Attribute):
    """``strided<[s0, s1], offset: o>``; DYNAMIC prints as ``?``."""

    __slots__ = _fields = ("strides", "offset")
    strides: tuple[int, ...]
    offset: int

    def __new__(cls, strides: Any, offset: int = 0) -> StridedLayoutAttr:
        return super().__new__(cls, tuple(strides), offset)


class MemRefType(ShapedType):
    """``memref<4x?xf32, layout, memory_space>``."""

    __slots__ = _fields = ("shape", "element_type", "layout", "memory_space")
    layout: Attribute | None
    memory_space: Attribute | None

    def __new__(
        cls,
        shape: Any,
        element_type: Type,
        layout: Attribute | None = None,
        memory_space: Attribute | None = None,
    ) -> MemRefType:
        return super().__new__(cls, tuple(shape), element_type, layout, memory_space)

    def with_shape(self, shape: Any) -> MemRefType:
        return MemRefType(shape, self.element_type, self.layout, self.memory_space)


class UnrankedMemRefType(Type):
    """``memref<*xf32>``."""

    __slots__ = _fields = ("element_type", "memory_space")
    element_type: Type
    memory_space: Attribute | None

    def __new__(cls, element_type: Type, memory_space: Attribute | None = None) -> UnrankedMemRefType:
        return super().__new__(cls, element_type, memory_space)


class VectorType(ShapedType):
    """``vector<16xf32>``; scalable dims are not supported."""

    __slots__ = _fields = ("shape", "element_type")

    def __new__(cls, shape: Any, element_type: Type) -> VectorType:
        return super().__new__(cls, tuple(shape), element_type)

    def with_shape(self, shape: Any) -> VectorType:
        return VectorType(shape, self.element_type)


class OpaqueType(Type):
    """A type of a dialect not loaded here, kept as its text (``!dialect.name<...>``)."""

    __slots__ = _fields = ("text",)
    text: str


i1, i4, i8, i16, i32, i64 = (IntegerType(width) for width in (1, 4, 8, 16, 32, 64))
ui8, ui16, ui32, ui64 = (IntegerType(width, "u") for width in (8, 16, 32, 64))
f16, bf16, f32, f64 = (FloatType(name) for name in ("f16", "bf16", "f32", "f64"))
index = IndexType()
none = NoneType()


def element_of(type: Type) -> Type:
    """The element type of a shaped type; any other type itself."""
    return type.element_type if isinstance(type, ShapedType) else type


def is_float(type: Type) -> bool:
    """A float or a shaped type of floats."""
    return isinstance(element_of(type), FloatType)


def is_integer(type: Type) -> bool:
    """An integer or a shaped type of integers (``index`` excluded)."""
    return isinstance(element_of(type), IntegerType)


def is_integer_or_index(type: Type) -> bool:
    """An integer, ``index``, or a shaped type of them."""
    return isinstance(element_of(type), (IntegerType, IndexType))
