"""Attributes in text."""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, Any

import numpy as np

from iree_base.element_types import ELEMENT_TYPES
from iree_core_ir.ir import attributes as at
from iree_core_ir.ir import types as ty
from iree_core_ir.ir.attributes import Attribute, Type
from iree_core_ir.text.lexer import HASH, NUMBER, PUNCTUATION, STRING, SYMBOL, WORD
from iree_core_ir.text.type_parser import TypeParser, scalar_type

if TYPE_CHECKING:
    from iree_core_ir.constants import ConstantStore
    from iree_core_ir.ir.location import Location

_HEX_PAYLOAD = re.compile(r'\s*"0x([0-9A-Fa-f]*)"')


class AttributeParser(TypeParser):
    """Adds ``attribute`` and attribute dictionaries.

    Large constants go to ``constants`` when a store is given, else they stay inline.
    """

    def __init__(self, text: str, name: str = "<mlir>", constants: ConstantStore | None = None) -> None:
        self.constants = constants
        self.attribute_aliases: dict[str, Attribute] = {}
        super().__init__(text, name)

    if TYPE_CHECKING:

        def location_attribute(self, late: bool = False) -> Location: ...

    def attribute(self, type: Type | None = None) -> Any:
        """Any attribute. ``type`` is the type of a number written without one."""
        kind = self.kind
        token = self.tok
        if kind == NUMBER or token == "-":
            return self._number(type)
        if kind == STRING:
            value = at.StringAttr(self.string())
            if self.accept(":"):  # a typed string: the type carries no information here
                self.type()
            return value
        if kind == SYMBOL:
            return self.symbol_reference()
        if kind == WORD:
            parse = self._KEYWORD_ATTRIBUTES.get(token)
            if parse is not None:
                return parse(self, type)
        elif kind == HASH:
            return self._hash()
        elif kind == PUNCTUATION:
            if token == "[":
                return at.ArrayAttr(self.comma_list(self.attribute, "[", "]"))
            if token == "{":
                return at.DictAttr(self.attribute_dict())
        found = self.optional_type()
        if found is None:
            self.fail(f"expected an attribute, got {self.shown()}")
        return at.TypeAttr(found)

    def attribute_dict(self) -> dict[str, Attribute]:
        """``{a = 1, b}``, or nothing: an empty dict."""
        result: dict[str, Attribute] = {}
        if self.tok != "{":
            return result
        self.next()
        if self.accept("}"):
            return result
        while True:
            if self.kind == STRING:
                name = self.string()
            elif self.kind == WORD:
                name = self.tok
                self.next()
            else:
                self.fail(f"expected an attribute name, got {self.shown()}")
            if name in result:
                self.fail_at_previous(f"attribute '{name}' occurs twice")
            result[name] = self.attribute() if self.accept("=") else at.UNIT
            if not self.accept(","):
                break
        self.expect("}")
        return result

    def attribute_dict_with_keyword(self) -> dict[str, Attribute]:
        """``attributes {...}``, or nothing."""
        if not self.accept("attributes"):
            return {}
        if self.tok != "{":
            self.fail(f"expected '{{', got {self.shown()}")
        return self.attribute_dict()

    def symbol_reference(self) -> at.SymbolRefAttr:
        path = [self.symbol_name()]
        while self.tok == "::":
            self.next()
            path.append(self.symbol_name())
        return at.SymbolRefAttr(tuple(path))

    # -- numbers -----------------------------------------------------------------------------

    def _number(self, type: Type | None) -> Attribute:
        start = self.start
        negative = self.accept("-")
        token = self.take(NUMBER)
        if type is None:
            if self.tok == ":":
                self.next()
                type = self.type()
            else:
                type = ty.f64 if "." in token else ty.i64
        return self.number_attribute(token, negative, type, start)

    def number_attribute(self, token: str, negative: bool, type: Any, start: int) -> Attribute:
        """The attribute for a number literal of ``type``; checks its range."""
        element = ty.element_of(type)
        if isinstance(element, ty.FloatType):
            if token[:2] == "0x":
                if negative:
                    self.fail("a hexadecimal float has no sign of its own", start)
                value = float_from_bits(int(token, 16), element)
            else:
                value = float(token)
                value = -value if negative else value
            if isinstance(type, ty.ShapedType):
                return at.DenseElementsAttr.from_splat(value, type)
            return at.FloatAttr(value, type)
        if not isinstance(element, (ty.IntegerType, ty.IndexType)):
            self.fail(f"a number cannot have type {type}", start)
        if token[:2] != "0x" and "." in token:
            self.fail(f"'{token}' is no {type}", start)
        number = int(token, 16) if token[:2] == "0x" else int(token)
        number = -number if negative else number
        if isinstance(element, ty.IntegerType):
            number = self._in_range(number, element, start, token[:2] == "0x")
        if isinstance(type, ty.ShapedType):
            return at.DenseElementsAttr.from_splat(number, type)
        return at.IntegerAttr(number, type)

    def _in_range(self, number: int, type: ty.IntegerType, start: int, is_hex: bool) -> int:
        """Signless integers accept both readings and are kept signed (i1: 0 or 1)."""
        width = type.width
        low = 0 if type.signedness == "u" else -(1 << (width - 1))
        high = (1 << (width - 1)) if type.signedness == "s" and not is_hex else 1 << width
        if not low <= number < high:
            self.fail(f"{number} does not fit {type}", start)
        if type.signedness == "u" or width == 1:
            return number & ((1 << width) - 1)
        return number - (1 << width) if number >= 1 << (width - 1) else number

    # -- keywords ------------------------------------------------------------------------------

    def _true(self, type: Type | None) -> Attribute:
        return self._bool(1, type)

    def _false(self, type: Type | None) -> Attribute:
        return self._bool(0, type)

    def _bool(self, value: int, type: Type | None) -> Attribute:
        self.next()
        if type is not None and isinstance(type, ty.ShapedType):
            return at.DenseElementsAttr.from_splat(value, type)
        return at.IntegerAttr(value, ty.i1)

    def _unit(self, type: Type | None) -> Attribute:
        self.next()
        return at.UNIT

    def _affine_map(self, type: Type | None) -> Attribute:
        self.next()
        self.expect("<")
        value = self.affine_map()
        self.expect(">")
        return at.AffineMapAttr(value)

    def _affine_set(self, type: Type | None) -> Attribute:
        self.next()
        text = self.balanced()[1:-1]
        return at.IntegerSetAttr(" ".join(text.split()))

    def _strided(self, type: Type | None) -> Attribute:
        self.next()
        self.expect("<")
        strides = self.comma_list(self._dynamic_integer, "[", "]")
        offset = 0
        if self.accept(","):
            self.expect("offset")
            self.expect(":")
            offset = self._dynamic_integer()
        self.expect(">")
        return ty.StridedLayoutAttr(strides, offset)

    def _dynamic_integer(self) -> int:
        return ty.DYNAMIC if self.accept("?") else self.integer()

    def _location(self, type: Type | None) -> Attribute:
        return self.location_attribute()

    def _array(self, type: Type | None) -> Attribute:
        self.next()
        self.expect("<")
        element = self.type()
        if self.accept(">"):
            return at.DenseArrayAttr(element, ())
        self.expect(":")
        values = [] if self.at(">") else self.comma_list(lambda: self._array_element(element), "")
        self.expect(">")
        return at.DenseArrayAttr(element, values)

    def _array_element(self, element: Type) -> Any:
        if element is ty.i1 and self.tok in ("true", "false"):
            return self.keyword() == "true"
        start = self.start
        negative = self.accept("-")
        value: Any = self.number_attribute(self.take(NUMBER), negative, element, start)
        return bool(value.value) if element is ty.i1 else value.value

    # -- elements ------------------------------------------------------------------------------

    def _dense_resource(self, type: Type | None) -> Attribute:
        self.next()
        self.expect("<")
        key = self.string() if self.kind == STRING else self.keyword()
        self.expect(">")
        return at.DenseResourceAttr(key, self._elements_type(type))

    def _elements_type(self, type: Type | None) -> Any:
        if type is None:
            self.expect(":")
            type = self.type()
        elif self.accept(":"):
            type = self.type()
        if not isinstance(type, (ty.TensorType, ty.VectorType)) or not type.is_static:
            self.fail_at_previous(f"elements need a static tensor or vector type, not {type}")
        return type

    def _dense(self, type: Type | None) -> Attribute:
        start = self.start
        self.next()
        if self.tok != "<":
            self.fail(f"expected '<', got {self.shown()}")
        payload = _HEX_PAYLOAD.match(self.text, self.pos)
        literal: Any = None
        if payload is not None:
            self.pos = payload.end()
            self.next()
        else:
            self.next()
            literal = [] if self.at(">") else self._literal()
        self.expect(">")
        type = self._elements_type(type)
        if payload is not None:
            return self._from_bytes(bytes.fromhex(payload[1]), type, start)
        return self._from_literal(literal, type, start)

    def _literal(self) -> Any:
        """Nested lists of leaves; a leaf is (token, negative, offset) or a pair of them (complex)."""
        if self.tok == "[":
            return self.comma_list(self._literal, "[", "]")
        if self.tok == "(":
            return tuple(self.comma_list(self._leaf))
        return self._leaf()

    def _leaf(self) -> _Leaf:
        start = self.start
        negative = self.accept("-")
        token = self.tok
        if self.kind != NUMBER and (negative or token not in ("true", "false")):
            self.fail(f"expected a number, got {self.shown()}")
        self.next()
        return _Leaf(token, negative, start)

    def _from_literal(self, literal: Any, type: Any, start: int) -> Attribute:
        leaves: list[Any] = []
        splat = not isinstance(literal, list)
        if splat:
            leaves.append(literal)
        elif literal or type.n_elements:
            self._flatten(literal, type.shape, leaves, start)
        dtype = self._dtype(type, start)
        values = [self._leaf_value(leaf, type.element_type) for leaf in leaves]
        flat = np.array(values, dtype=dtype) if values else np.zeros(0, dtype)
        if splat:
            return at.DenseElementsAttr(type, flat.tobytes(), True)
        return self._elements(flat, type)

    def _flatten(self, literal: Any, shape: tuple[int, ...], leaves: list[Any], start: int) -> None:
        if not shape:
            if isinstance(literal, list):
                self.fail("the elements are nested deeper than the type", start)
            leaves.append(literal)
            return
        if not isinstance(literal, list) or len(literal) != shape[0]:
            count = len(literal) if isinstance(literal, list) else "a single"
            self.fail(f"expected {shape[0]} elements, got {count}", start)
        for item in literal:
            self._flatten(item, shape[1:], leaves, start)

    def _leaf_value(self, leaf: Any, element: Any) -> Any:
        if isinstance(element, ty.ComplexType):
            if not isinstance(leaf, tuple) or len(leaf) != 2:
                self.fail("a complex element is written (re, im)")
            re_, im = (self._leaf_value(part, element.element_type) for part in leaf)
            return complex(re_, im)
        if not isinstance(leaf, _Leaf):
            self.fail("only complex elements are pairs")
        if leaf.token in ("true", "false"):
            return leaf.token == "true"
        value: Any = self.number_attribute(leaf.token, leaf.negative, element, leaf.start)
        return value.value

    def _dtype(self, type: Any, start: int) -> np.dtype[Any]:
        row = ELEMENT_TYPES.get(str(type.element_type).removeprefix("s"))
        if row is None:
            self.fail(f"elements of type {type.element_type} are not supported", start)
        return row.dtype

    def _from_bytes(self, raw: bytes, type: Any, start: int) -> Attribute:
        """Hex payload: little-endian elements (i1 packed into bits), one element or all of them."""
        dtype = self._dtype(type, start)
        count = type.n_elements
        if type.element_type is ty.i1:
            if raw in (b"\x00", b"\xff") and count != 1:
                return at.DenseElementsAttr(type, bytes([raw[0] & 1]), True)
            if len(raw) != (count + 7) // 8:
                self.fail(f"{len(raw)} bytes do not hold {count} elements of i1", start)
            bits = np.unpackbits(np.frombuffer(raw, np.uint8), bitorder="little")[:count]
            return self._elements(bits.astype(np.bool_), type)
        if len(raw) == dtype.itemsize:
            return at.DenseElementsAttr(type, raw, True)
        if len(raw) != dtype.itemsize * count:
            self.fail(f"{len(raw)} bytes do not hold {count} elements of {type.element_type}", start)
        return self._elements(np.frombuffer(raw, dtype), type)

    def _elements(self, flat: np.ndarray[Any, Any], type: Any) -> Attribute:
        raw = flat.tobytes()
        size = flat.dtype.itemsize
        if flat.size and raw == raw[:size] * flat.size:
            return at.DenseElementsAttr(type, raw[:size], True)
        if self.constants is not None and flat.size > at.MAX_INLINE_ELEMENTS:
            key = self.constants.add_array(flat.reshape(type.shape), str(type.element_type))
            return at.DenseResourceAttr(key, type)
        return at.DenseElementsAttr(type, raw, False)

    # -- dialect attributes and aliases -----------------------------------------------------------

    def _hash(self) -> Attribute:
        start = self.start
        token = self.take(HASH)
        alias = self.attribute_aliases.get(token[1:])
        if alias is not None:
            return alias
        found = self.dialect_symbol(token, start, Attribute)
        if found is not None:
            return found  # type: ignore[no-any-return]
        if not self.allow_unregistered or ("." not in token and not self.at("<")):
            self.fail(f"unknown attribute '{token}'", start)
        return at.OpaqueAttr(self.opaque_text(token, start))

    _KEYWORD_ATTRIBUTES = {
        "true": _true,
        "false": _false,
        "unit": _unit,
        "dense": _dense,
        "dense_resource": _dense_resource,
        "array": _array,
        "affine_map": _affine_map,
        "affine_set": _affine_set,
        "strided": _strided,
        "loc": _location,
    }


class _Leaf:
    """One number of a ``dense`` literal, typed only when the type is known."""

    __slots__ = ("negative", "start", "token")

    def __init__(self, token: str, negative: bool, start: int) -> None:
        self.token = token
        self.negative = negative
        self.start = start


def float_from_bits(bits: int, type: ty.FloatType) -> float:
    """The float whose bit pattern is ``bits``."""
    row = ELEMENT_TYPES.get(type.name)
    if row is None:
        raise ValueError(f"hexadecimal {type} is not supported")
    size = row.dtype.itemsize
    raw = (bits & ((1 << (8 * size)) - 1)).to_bytes(size, "little")
    if type.name == "f32":
        return float(struct.unpack("<f", raw)[0])
    if type.name == "f64":
        return float(struct.unpack("<d", raw)[0])
    return float(np.frombuffer(raw, row.dtype)[0])


def float_bits(value: float, type: Any) -> int:
    """The bit pattern of ``value`` as ``type`` holds it."""
    if type.name == "f32":
        return int.from_bytes(struct.pack("<f", value), "little")
    if type.name == "f64":
        return int.from_bytes(struct.pack("<d", value), "little")
    row = ELEMENT_TYPES[type.name]
    return int.from_bytes(np.asarray(value).astype(row.dtype).tobytes(), "little")


__all__ = ["AttributeParser", "float_bits", "float_from_bits", "scalar_type"]
