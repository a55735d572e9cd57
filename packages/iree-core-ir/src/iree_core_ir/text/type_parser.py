"""Types in text. Shaped types with plain elements are matched by one regular expression and cached."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from iree_core_ir.ir import types as ty
from iree_core_ir.ir.attributes import Attribute, Type
from iree_core_ir.ir.dialect import find_dialect
from iree_core_ir.text.affine_parser import AffineParser
from iree_core_ir.text.lexer import BANG, WORD

_SHAPED = re.compile(
    r"(tensor|memref|vector)<((?:(?:[0-9]+|\?)x)*)(f32|f64|f16|bf16|index|[su]?i[0-9]+|f8E[0-9A-Z]+\w*)>"
)
_DIMENSIONS = re.compile(r"(?:[ \t\r\n]|//[^\n]*+\n)*+((?:(?:[0-9]+|\?)[ \t\r\n]*x[ \t\r\n]*)*)")
_INTEGER = re.compile(r"([su]?)i([1-9][0-9]*)\Z")


def scalar_type(word: str) -> Type | None:
    """``i32 si8 index f32 none ...`` by name."""
    if word == "f32":
        return ty.f32
    if word == "index":
        return ty.index
    match = _INTEGER.match(word)
    if match is not None:
        return ty.IntegerType(int(match[2]), match[1])
    if word in ty.FLOAT_WIDTHS:
        return ty.FloatType(word)
    return ty.none if word == "none" else None


AttributeClass = type[Attribute]


class TypeParser(AffineParser):
    """Adds ``type`` and lists of types."""

    allow_unregistered = False

    def __init__(self, text: str, name: str = "<mlir>") -> None:
        self._type_cache: dict[str, Any] = {}
        self.type_aliases: dict[str, Type] = {}
        super().__init__(text, name)

    if TYPE_CHECKING:

        def attribute(self, type: Type | None = None) -> Attribute: ...

    def type(self) -> Any:
        """Any type. (``Any``: callers know which class the grammar asks for.)"""
        token = self.tok
        if self.kind == WORD:
            found = self._type_cache.get(token)
            if found is not None:
                self.next()
                return found
            match = _SHAPED.match(self.text, self.start)
            if match is not None:
                text = match[0]
                found = self._type_cache.get(text)
                if found is None:
                    found = self._plain_shaped(match)
                    self._type_cache[text] = found
                self.pos = match.end()
                self.next()
                return found
            found = scalar_type(token)
            if found is not None:
                self._type_cache[token] = found
                self.next()
                return found
            parse = self._KEYWORDS.get(token)
            if parse is not None:
                self.next()
                start = self.previous
                try:
                    return parse(self)
                except ValueError as error:
                    self.fail(str(error), start)
        elif token == "(":
            return self.function_type()
        elif self.kind == BANG:
            return self._dialect_type()
        return self.fail(f"expected a type, got {self.shown()}")

    def optional_type_ahead(self) -> bool:
        """True when the current token starts a type."""
        if self.kind == WORD:
            return self.tok in self._KEYWORDS or scalar_type(self.tok) is not None
        return self.kind == BANG or self.tok == "("

    def optional_type(self) -> Any:
        """A type, or None when the token starts none."""
        return self.type() if self.optional_type_ahead() else None

    def type_list(self) -> list[Any]:
        """``()``, ``(a, b)`` or one bare type."""
        if self.tok == "(":
            return self.comma_list(self.type)
        return [self.type()]

    def function_type(self) -> ty.FunctionType:
        inputs = self.comma_list(self.type)
        self.expect("->")
        return ty.FunctionType(inputs, self.type_list())

    def dimension_list(self) -> tuple[int, ...]:
        """``4x?x8`` without a trailing ``x``; the current token is the first dimension."""
        match = re.compile(r"(?:[0-9]+|\?)(?:x(?:[0-9]+|\?))*").match(self.text, self.start)
        if match is None:
            self.fail(f"expected dimensions, got {self.shown()}")
        self.pos = match.end()
        self.next()
        return _dimensions(match[0].split("x"))

    # -- shaped types ------------------------------------------------------------------------

    def _plain_shaped(self, match: re.Match[str]) -> Any:
        element = scalar_type(match[3])
        if element is None:
            self.fail(f"unknown type '{match[3]}'", match.start(3))
        return _SHAPED_CLASSES[match[1]](_dimensions(match[2].split("x")[:-1]), element)

    def shape_prefix(self) -> tuple[int, ...]:
        """``<4x?x`` up to the element type. The current token is ``<``."""
        if self.tok != "<":
            self.fail(f"expected '<', got {self.shown()}")
        match = _DIMENSIONS.match(self.text, self.pos)
        assert match is not None
        self.pos = match.end()
        self.next()
        return _dimensions([part.strip() for part in match[1].split("x")][:-1])

    def _unranked(self) -> bool:
        """Skips ``*x`` (the element type was lexed together with the ``x``)."""
        if self.tok != "*":
            return False
        match = re.compile(r"\s*x\s*").match(self.text, self.pos)
        if match is None:
            self.fail("expected 'x' after '*'", self.pos)
        self.pos = match.end()
        self.next()
        return True

    def _tensor(self) -> Type:
        shape = self.shape_prefix()
        if not shape and self._unranked():
            element = self.type()
            self.expect(">")
            return ty.UnrankedTensorType(element)
        element = self.type()
        encoding = self.attribute() if self.accept(",") else None
        self.expect(">")
        return ty.TensorType(shape, element, encoding)

    def _memref(self) -> Type:
        shape = self.shape_prefix()
        unranked = not shape and self._unranked()
        element = self.type()
        extras: list[Attribute] = []
        while self.accept(","):
            extras.append(self.attribute())
        self.expect(">")
        if unranked:
            return ty.UnrankedMemRefType(element, extras[0] if extras else None)
        layout: Attribute | None = None
        if extras and _is_layout(extras[0]):
            layout = extras.pop(0)
        if len(extras) > 1:
            self.fail_at_previous("a memref has one layout and one memory space")
        return ty.MemRefType(shape, element, layout, extras[0] if extras else None)

    def _vector(self) -> Type:
        if self.tok == "<" and self.text.startswith("[", self.pos):
            self.fail("scalable vectors are not supported", self.pos)
        shape = self.shape_prefix()
        element = self.type()
        self.expect(">")
        return ty.VectorType(shape, element)

    def _complex(self) -> Type:
        self.expect("<")
        element = self.type()
        self.expect(">")
        return ty.ComplexType(element)

    def _tuple(self) -> Type:
        return ty.TupleType(tuple(self.comma_list(self.type, "<", ">")))

    _KEYWORDS = {
        "tensor": _tensor,
        "memref": _memref,
        "vector": _vector,
        "complex": _complex,
        "tuple": _tuple,
    }

    # -- dialect types -------------------------------------------------------------------------

    def _dialect_type(self) -> Any:
        start = self.start
        token = self.take(BANG)
        alias = self.type_aliases.get(token[1:])
        if alias is not None:
            return alias
        found = self.dialect_symbol(token, start, Type)
        if found is not None:
            return found
        if not self.allow_unregistered:
            self.fail(f"unknown type '{token}'", start)
        return ty.OpaqueType(self.opaque_text(token, start))

    def opaque_text(self, token: str, start: int) -> str:
        """``#dialect.name<...>`` as written, brackets (directly following) included."""
        if self.at("<") and self.text[self.start - 1] not in " \t\r\n":
            return token + self.balanced()
        return token

    def dialect_symbol(self, token: str, start: int, base: AttributeClass) -> Any:
        """The attribute or type ``#d.name...`` / ``!d<name ...>`` of a known dialect, else None.

        The current token follows the name. Raises ParseError when the dialect is known and lacks it.
        """
        name = token[1:]
        dialect = find_dialect(name.partition(".")[0])
        if dialect is None:
            return None
        wrapped = "." not in name and self.at("<")
        if wrapped:
            self.next()
            name = f"{name}.{self.keyword()}"
        cls = dialect.attributes.get(name)
        if cls is None or not issubclass(cls, base):
            if self.allow_unregistered:
                if wrapped:
                    self.pos = start + len(token)
                    self.next()
                return None
            self.fail(f"dialect '{dialect.name}' has no '{token[0]}{name}'", start)
        parse = getattr(cls, "parse_parameters", None)
        try:
            found = cls() if parse is None else parse(self)
        except ValueError as error:
            self.fail(str(error), start)
        if wrapped:
            self.expect(">")
        return found


_SHAPED_CLASSES: dict[str, Any] = {
    "tensor": ty.TensorType,
    "memref": ty.MemRefType,
    "vector": ty.VectorType,
}


def _dimensions(parts: list[str]) -> tuple[int, ...]:
    return tuple([ty.DYNAMIC if part == "?" else int(part) for part in parts])


def _is_layout(attribute: Attribute) -> bool:
    from iree_core_ir.ir.attributes import AffineMapAttr

    return isinstance(attribute, (AffineMapAttr, ty.StridedLayoutAttr)) or hasattr(attribute, "memory_layout")
