"""Attributes and types -> MLIR text."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from iree_core_ir.ir import attributes as at
from iree_core_ir.ir import types as ty
from iree_core_ir.ir.affine import AffineExpr, AffineMap
from iree_core_ir.ir.attributes import Attribute, Type
from iree_core_ir.ir.location import Location

_BARE_NAME = re.compile(r"[A-Za-z_][\w$.]*\Z", re.ASCII)
_ESCAPED = re.compile(r"[^ !#-\[\]-~]")
_PRETTY_BODY = re.compile(r"[A-Za-z_][\w.]*(?:<.*>)?\Z", re.DOTALL)
_F32 = struct.Struct("<f")
HEX_ELEMENTS = 100
"""``dense`` with more elements prints as one hexadecimal string, as MLIR does."""


def quoted(text: str) -> str:
    """``text`` as an MLIR string literal."""
    if _ESCAPED.search(text) is None:
        return f'"{text}"'
    parts: list[str] = []
    for byte in text.encode("utf-8", "surrogateescape"):
        if byte == 0x5C:
            parts.append("\\\\")
        elif 0x20 <= byte < 0x7F and byte != 0x22:
            parts.append(chr(byte))
        else:
            parts.append(f"\\{byte:02X}")
    return '"' + "".join(parts) + '"'


def symbol_text(name: str) -> str:
    """``@name``, quoted when need be."""
    return f"@{name}" if _BARE_NAME.match(name) else f"@{quoted(name)}"


def name_text(name: str) -> str:
    """An attribute name or resource key, quoted when need be."""
    return name if _BARE_NAME.match(name) else quoted(name)


def float_text(value: float, type: Any) -> str:
    """A literal that reads back as the same bits of ``type``."""
    if not math.isfinite(value):
        from iree_core_ir.text.attribute_parser import float_bits

        return f"0x{float_bits(value, type):0{max(2, type.width // 4)}X}"
    text = f"{value:e}"
    if type.name == "f32":
        if _F32.unpack(_F32.pack(float(text)))[0] == value:
            return text
        precision = 8
    else:
        if at.rounded(float(text), type) == value:
            return text
        precision = 7
    while True:
        text = f"{value:.{precision}e}"
        if precision >= 17 or at.rounded(float(text), type) == value:
            return text
        precision += 1


class AttributePrinter:
    """Texts of attributes and types, cached; affine maps become aliases when ``aliases`` is a dict.

    ``aliases`` maps an alias name (``#map``) to its definition, in order of first use.
    """

    def __init__(self, aliases: dict[str, str] | None = None) -> None:
        self.aliases = aliases
        self._alias_counts: dict[str, int] = {}
        self._cache: dict[Attribute, str] = {}

    def text(self, attribute: Attribute) -> str:
        found = self._cache.get(attribute)
        if found is None:
            found = self._cache[attribute] = self._text(attribute)
        return found

    def _text(self, attribute: Attribute) -> str:
        for cls in type(attribute).__mro__:
            function = _TEXTS.get(cls)
            if function is not None:
                return function(self, attribute)
        prefix = "!" if isinstance(attribute, Type) else "#"
        dialect, _, name = attribute.mnemonic.partition(".")
        hook: Callable[[Any], str] | None = getattr(attribute, "print_parameters", None)
        parameters = hook(self) if hook is not None else ""
        body = f"{name} {parameters}" if parameters[:1].isalnum() else name + parameters
        if _PRETTY_BODY.match(body):
            return f"{prefix}{dialect}.{body}"
        return f"{prefix}{dialect}<{body}>"

    # -- helpers that dialects use too -------------------------------------------------------

    def texts(self, attributes: Iterable[Attribute]) -> str:
        return ", ".join([self.text(a) for a in attributes])

    def element(self, attribute: Attribute) -> str:
        """An element of an array: i64 and f64 numbers go without their type."""
        if isinstance(attribute, at.IntegerAttr) and attribute.type is ty.i64:
            return str(attribute.value)
        if isinstance(attribute, at.FloatAttr) and attribute.type is ty.f64:
            return float_text(attribute.value, attribute.type)
        return self.text(attribute)

    def symbol(self, name: str) -> str:
        return symbol_text(name)

    def quoted(self, text: str) -> str:
        return quoted(text)

    def type_list(self, types: Iterable[Type]) -> str:
        """One type bare, none or several in parentheses."""
        types = tuple(types)
        if len(types) == 1 and not isinstance(types[0], ty.FunctionType):
            return self.text(types[0])
        return f"({self.texts(types)})"

    def function_type(self, inputs: Iterable[Type], results: Iterable[Type]) -> str:
        return f"({self.texts(inputs)}) -> {self.type_list(results)}"

    def dict_items(self, items: Iterable[tuple[str, Attribute]]) -> str:
        return ", ".join(
            [
                name_text(key) if value is at.UNIT else f"{name_text(key)} = {self.text(value)}"
                for key, value in sorted(items)
            ]
        )

    def array_items(self, attribute: at.DenseArrayAttr) -> str:
        """``1, 2`` of a dense array."""
        element: Any = attribute.element_type
        if element is ty.i1:
            return ", ".join(["true" if v else "false" for v in attribute.values])
        if isinstance(element, ty.FloatType):
            return ", ".join([float_text(v, element) for v in attribute.values])
        return ", ".join([str(v) for v in attribute.values])

    # -- builtin attributes ----------------------------------------------------------------------

    def _integer(self, a: at.IntegerAttr) -> str:
        if a.type is ty.i1:
            return "true" if a.value else "false"
        return f"{a.value} : {self.text(a.type)}"

    def _float(self, a: at.FloatAttr) -> str:
        return f"{float_text(a.value, a.type)} : {self.text(a.type)}"

    def _symbol_ref(self, a: at.SymbolRefAttr) -> str:
        return "::".join([symbol_text(name) for name in a.path])

    def _dense_array(self, a: at.DenseArrayAttr) -> str:
        if not a.values:
            return f"array<{self.text(a.element_type)}>"
        return f"array<{self.text(a.element_type)}: {self.array_items(a)}>"

    def _affine_map(self, a: at.AffineMapAttr) -> str:
        return self._aliased("map", f"affine_map<{a.value}>")

    def _integer_set(self, a: at.IntegerSetAttr) -> str:
        return self._aliased("set", f"affine_set<{a.text}>")

    def _aliased(self, stem: str, definition: str) -> str:
        if self.aliases is None:
            return definition
        count = self._alias_counts.get(stem, 0)
        self._alias_counts[stem] = count + 1
        name = f"#{stem}{count or ''}"
        self.aliases[name] = definition
        return name

    def _resource(self, a: at.DenseResourceAttr) -> str:
        return f"dense_resource<{name_text(a.key)}> : {self.text(a.type)}"

    def _dense(self, a: at.DenseElementsAttr) -> str:
        element = a.type.element_type
        suffix = f" : {self.text(a.type)}"
        if a.splat:
            return (
                f"dense<{_element_text(a.to_array().reshape(-1)[:1][0], element)}>{suffix}"
                if (a.type.n_elements)
                else f"dense<{_element_text(_splat_value(a), element)}>{suffix}"
            )
        array = a.to_array()
        if array.size > HEX_ELEMENTS and element is not ty.i1:
            return f'dense<"0x{a.data.hex().upper()}">{suffix}'
        return f"dense<{_nested(array, element) if array.size else ''}>{suffix}"

    # -- builtin types ------------------------------------------------------------------------------

    def _tensor(self, t: ty.TensorType) -> str:
        encoding = "" if t.encoding is None else f", {self.text(t.encoding)}"
        return f"tensor<{_shape(t.shape)}{self.text(t.element_type)}{encoding}>"

    def _memref(self, t: ty.MemRefType) -> str:
        extra = "".join(f", {self.element(a)}" for a in (t.layout, t.memory_space) if a is not None)
        return f"memref<{_shape(t.shape)}{self.text(t.element_type)}{extra}>"

    def _unranked_memref(self, t: ty.UnrankedMemRefType) -> str:
        space = "" if t.memory_space is None else f", {self.element(t.memory_space)}"
        return f"memref<*x{self.text(t.element_type)}{space}>"

    def _strided(self, a: ty.StridedLayoutAttr) -> str:
        strides = ", ".join(_dynamic(s) for s in a.strides)
        offset = f", offset: {_dynamic(a.offset)}" if a.offset != 0 else ""
        return f"strided<[{strides}]{offset}>"


def _dynamic(value: int) -> str:
    return "?" if value == ty.DYNAMIC else str(value)


def _shape(shape: tuple[int, ...]) -> str:
    return "".join(["?x" if dim < 0 else f"{dim}x" for dim in shape])


def _splat_value(a: at.DenseElementsAttr) -> Any:
    from iree_base.element_types import element_type

    return np.frombuffer(a.data, element_type(str(a.type.element_type)).dtype)[0]


def _element_text(value: Any, element: Any) -> str:
    if isinstance(element, ty.ComplexType):
        part = element.element_type
        return f"({_element_text(value.real, part)}, {_element_text(value.imag, part)})"
    if element is ty.i1:
        return "true" if value else "false"
    return float_text(float(value), element) if isinstance(element, ty.FloatType) else str(int(value))


def _nested(array: np.ndarray[Any, Any], element: Any) -> str:
    if array.ndim == 0:
        return _element_text(array[()], element)
    if array.ndim == 1:
        return "[" + ", ".join([_element_text(value, element) for value in array]) + "]"
    return "[" + ", ".join([_nested(part, element) for part in array]) + "]"


_TEXTS: dict[type[Any], Callable[[AttributePrinter, Any], str]] = {
    at.UnitAttr: lambda p, a: "unit",
    at.IntegerAttr: AttributePrinter._integer,
    at.FloatAttr: AttributePrinter._float,
    at.StringAttr: lambda p, a: quoted(a.value),
    at.SymbolRefAttr: AttributePrinter._symbol_ref,
    at.TypeAttr: lambda p, a: p.text(a.value),
    at.ArrayAttr: lambda p, a: f"[{', '.join(map(p.element, a.items))}]",
    at.DictAttr: lambda p, a: f"{{{p.dict_items(a.items)}}}",
    at.DenseArrayAttr: AttributePrinter._dense_array,
    at.DenseElementsAttr: AttributePrinter._dense,
    at.DenseResourceAttr: AttributePrinter._resource,
    at.AffineMapAttr: AttributePrinter._affine_map,
    at.IntegerSetAttr: AttributePrinter._integer_set,
    at.OpaqueAttr: lambda p, a: a.text,
    ty.IntegerType: lambda p, t: f"{t.signedness + 'i' if t.signedness else 'i'}{t.width}",
    ty.FloatType: lambda p, t: t.name,
    ty.IndexType: lambda p, t: "index",
    ty.NoneType: lambda p, t: "none",
    ty.ComplexType: lambda p, t: f"complex<{p.text(t.element_type)}>",
    ty.FunctionType: lambda p, t: p.function_type(t.inputs, t.results),
    ty.TupleType: lambda p, t: f"tuple<{p.texts(t.types)}>",
    ty.TensorType: AttributePrinter._tensor,
    ty.UnrankedTensorType: lambda p, t: f"tensor<*x{p.text(t.element_type)}>",
    ty.MemRefType: AttributePrinter._memref,
    ty.UnrankedMemRefType: AttributePrinter._unranked_memref,
    ty.StridedLayoutAttr: AttributePrinter._strided,
    ty.VectorType: lambda p, t: f"vector<{_shape(t.shape)}{p.text(t.element_type)}>",
    ty.OpaqueType: lambda p, t: t.text,
    Location: lambda p, a: f"loc({a})",
    AffineExpr: lambda p, a: str(a),
    AffineMap: lambda p, a: str(a),
}
