"""Attributes: immutable, interned, compared by identity.

Two attributes with equal fields are one object, so equality and hashing cost a pointer compare. The
interning tables live as long as the process; bulk data never enters them (weights stay in the
ConstantStore and appear here as ``dense_resource<key>``).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, TypeVar

import numpy as np

from iree_base.element_types import ELEMENT_TYPES, element_type

A = TypeVar("A", bound="Attribute")

MAX_INLINE_ELEMENTS = 64
"""``dense`` may hold this many elements inline; a larger constant belongs in the ConstantStore."""


class Attribute:
    """Base of attributes and types. Subclasses name their fields in ``_fields``."""

    __slots__ = ("__weakref__",)
    _fields: ClassVar[tuple[str, ...]] = ()
    _interned: ClassVar[dict[Any, Any]] = {}
    mnemonic: ClassVar[str] = ""
    """``dialect.name`` for dialect attributes and types, empty for builtin ones."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._interned = {}

    def __new__(cls: type[A], *args: Any) -> A:
        found = cls._interned.get(args)
        if found is not None:
            return found  # type: ignore[no-any-return]
        return cls._create(args, args)

    @classmethod
    def _create(cls: type[A], key: Any, args: tuple[Any, ...]) -> A:
        self = object.__new__(cls)
        for field, value in zip(cls._fields, args, strict=True):
            object.__setattr__(self, field, value)
        self.check()
        cls._interned[key] = self
        return self

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable")

    def check(self) -> None:
        """Raise ValueError when the fields do not form a valid attribute."""

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), tuple(getattr(self, field) for field in self._fields)

    def __copy__(self: A) -> A:
        return self

    def __deepcopy__(self: A, memo: Any) -> A:
        return self

    def __repr__(self) -> str:
        return f"<{self}>"

    def __str__(self) -> str:
        from iree_core_ir.text.printer import attribute_text

        return attribute_text(self)


class Type(Attribute):
    """Base of types."""

    __slots__ = ()


class UnitAttr(Attribute):
    """``unit``: presence is the information."""

    __slots__ = ()


class IntegerAttr(Attribute):
    """``value : type``; the type is an integer or ``index``. i1 prints as ``true``/``false``."""

    __slots__ = _fields = ("value", "type")
    value: int
    type: Type

    def __new__(cls, value: int, type: Type | None = None) -> IntegerAttr:
        from iree_core_ir.ir.types import i64

        type = i64 if type is None else type
        key = (int(value), type)
        found = cls._interned.get(key)
        if found is not None:
            return found  # type: ignore[no-any-return]
        return cls._create(key, key)


def rounded(value: float, type: Any) -> float:
    """``value`` as the float type ``type`` holds it (overflow becomes infinity)."""
    if type.name == "f32":
        try:
            return float(_F32.unpack(_F32.pack(value))[0])
        except OverflowError:
            return math.copysign(math.inf, value)
    if type.name in ELEMENT_TYPES:
        dtype = ELEMENT_TYPES[type.name].dtype
        with np.errstate(over="ignore"):
            return float(np.asarray(value).astype(dtype)) if dtype.kind in "fV" else value
    return value


_F32 = struct.Struct("<f")


class FloatAttr(Attribute):
    """``value : type``, rounded to the type on construction.

    Interned by bit pattern, so -0.0 and NaN payloads stay distinct.
    """

    __slots__ = _fields = ("value", "type")
    value: float
    type: Type

    def __new__(cls, value: float, type: Type | None = None) -> FloatAttr:
        from iree_core_ir.ir.types import f64

        type = f64 if type is None else type
        value = float(value)
        if type is not f64:
            value = rounded(value, type)
        key = (struct.pack("<d", value), type)
        found = cls._interned.get(key)
        if found is not None:
            return found  # type: ignore[no-any-return]
        return cls._create(key, (value, type))


class StringAttr(Attribute):
    __slots__ = _fields = ("value",)
    value: str


class SymbolRefAttr(Attribute):
    """``@root::@leaf``: ``path`` holds the names, root first."""

    __slots__ = _fields = ("path",)
    path: tuple[str, ...]

    def __new__(cls, *path: Any) -> SymbolRefAttr:
        names: tuple[str, ...] = path[0] if len(path) == 1 and isinstance(path[0], tuple) else path
        found = cls._interned.get(names)
        if found is not None:
            return found  # type: ignore[no-any-return]
        return cls._create(names, (names,))

    @property
    def root(self) -> str:
        return self.path[0]

    @property
    def leaf(self) -> str:
        return self.path[-1]


class TypeAttr(Attribute):
    """A type used as an attribute."""

    __slots__ = _fields = ("value",)
    value: Type


class ArrayAttr(Attribute):
    __slots__ = _fields = ("items",)
    items: tuple[Attribute, ...]

    def __new__(cls, items: Any = ()) -> ArrayAttr:
        key = tuple(items)
        found = cls._interned.get(key)
        if found is not None:
            return found  # type: ignore[no-any-return]
        return cls._create(key, (key,))

    def __iter__(self) -> Iterator[Attribute]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Attribute:
        return self.items[index]


class DictAttr(Attribute):
    """Name -> attribute, kept sorted by name as MLIR does."""

    __slots__ = _fields = ("items",)
    items: tuple[tuple[str, Attribute], ...]

    def __new__(cls, items: Any = ()) -> DictAttr:
        pairs = items.items() if isinstance(items, Mapping) else items
        key = tuple(sorted(pairs, key=lambda pair: pair[0]))
        found = cls._interned.get(key)
        if found is not None:
            return found  # type: ignore[no-any-return]
        return cls._create(key, (key,))

    def get(self, name: str) -> Attribute | None:
        for key, value in self.items:
            if key == name:
                return value
        return None

    def to_dict(self) -> dict[str, Attribute]:
        return dict(self.items)


class DenseArrayAttr(Attribute):
    """``array<i64: 1, 2>``: element type and Python numbers (bools for i1)."""

    __slots__ = _fields = ("element_type", "values")
    element_type: Type
    values: tuple[Any, ...]

    def __new__(cls, element_type: Type, values: Any = ()) -> DenseArrayAttr:
        items = tuple(values)
        floats = any(isinstance(item, float) for item in items)
        key = (element_type, tuple(struct.pack("<d", float(v)) for v in items) if floats else items)
        found = cls._interned.get(key)
        if found is not None:
            return found  # type: ignore[no-any-return]
        return cls._create(key, (element_type, items))

    def __iter__(self) -> Iterator[Any]:
        return iter(self.values)

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: int) -> Any:
        return self.values[index]


class DenseElementsAttr(Attribute):
    """``dense<...> : type`` with at most ``MAX_INLINE_ELEMENTS`` elements, or a splat of any size.

    ``data`` is the little-endian bytes of one element (splat) or of all elements, row-major.
    """

    __slots__ = _fields = ("type", "data", "splat")
    type: Any
    data: bytes
    splat: bool

    @classmethod
    def from_array(cls, array: Any, type: Any) -> DenseElementsAttr:
        """From an array of the type's shape; equal elements (by bits) become a splat."""
        dtype = element_type(str(type.element_type)).dtype
        flat = np.ascontiguousarray(array, dtype=dtype).reshape(-1)
        raw = flat.tobytes()
        size = dtype.itemsize
        if flat.size and raw == raw[:size] * flat.size:
            return cls(type, raw[:size], True)
        if flat.size > MAX_INLINE_ELEMENTS:
            raise ValueError(f"{flat.size} elements do not fit inline; use the ConstantStore")
        return cls(type, raw, False)

    @classmethod
    def from_splat(cls, value: Any, type: Any) -> DenseElementsAttr:
        dtype = element_type(str(type.element_type)).dtype
        return cls(type, np.asarray(value).astype(dtype).tobytes(), True)

    def to_array(self) -> np.ndarray[Any, Any]:
        """The elements with the type's shape; a splat is a read-only broadcast (no memory)."""
        dtype = element_type(str(self.type.element_type)).dtype
        flat = np.frombuffer(self.data, dtype)
        if self.splat:
            return np.broadcast_to(flat[0], self.type.shape)
        return flat.reshape(self.type.shape)


class DenseResourceAttr(Attribute):
    """``dense_resource<key> : type``: elements live in the compilation's ConstantStore."""

    __slots__ = _fields = ("key", "type")
    key: str
    type: Any


class AffineMapAttr(Attribute):
    """``affine_map<...>``."""

    __slots__ = _fields = ("value",)
    value: Any


class IntegerSetAttr(Attribute):
    """``affine_set<...>`` kept as text: carried, never interpreted here."""

    __slots__ = _fields = ("text",)
    text: str


class OpaqueAttr(Attribute):
    """An attribute of a dialect not loaded here, kept as its text (``#dialect.name<...>``)."""

    __slots__ = _fields = ("text",)
    text: str


UNIT = UnitAttr()
