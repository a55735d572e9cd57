"""MLIR's declarative assembly format: the string -> a list of elements."""

from __future__ import annotations

import re

from iree_base.records import record

_TOKEN = re.compile(r"\s*(?:(`[^`]*`)|(\$[A-Za-z_]\w*)|([A-Za-z][\w\-]*)|([()<>,?:^|]))")


@record(frozen=True)
class Literal:
    """`` `text` ``; an empty or blank text only steers spacing, a newline breaks the line."""

    text: str


@record(frozen=True)
class Variable:
    """``$name``; ``qualified`` prints a dialect attribute with its ``#dialect.`` prefix."""

    name: str
    qualified: bool = False


@record(frozen=True)
class TypeOf:
    """``type($name)``, ``type(operands)``, ``type(results)``."""

    name: str


@record(frozen=True)
class FunctionalType:
    """``functional-type(inputs, results)``."""

    inputs: str
    results: str


@record(frozen=True)
class Directive:
    """``attr-dict``, ``attr-dict-with-keyword``, ``operands``, ``regions``, ``successors``."""

    name: str


@record(frozen=True)
class Custom:
    """``custom<Name>(parameters)``."""

    name: str
    parameters: tuple[Element, ...]


@record(frozen=True)
class Group:
    """``( then ^ )? : ( otherwise )?``; ``anchor`` is the element whose presence decides."""

    then: tuple[Element, ...]
    anchor: Element
    otherwise: tuple[Element, ...] = ()


Element = Literal | Variable | TypeOf | FunctionalType | Directive | Custom | Group

_DIRECTIVES = ("attr-dict-with-keyword", "attr-dict", "prop-dict", "operands", "regions", "successors")


class FormatError(ValueError):
    """A format string that does not parse or does not fit its op class."""


class FormatSyntax:
    """Parses one format string."""

    def __init__(self, text: str) -> None:
        self.tokens: list[str] = []
        position = 0
        text = text.strip()
        while position < len(text):
            match = _TOKEN.match(text, position)
            if match is None:
                raise FormatError(f"unexpected '{text[position:][:20]}'")
            self.tokens.append(next(group for group in match.groups() if group is not None))
            position = match.end()
        self.position = 0
        self.anchor: Element | None = None

    def parse(self) -> tuple[Element, ...]:
        elements = self._elements()
        if self.position < len(self.tokens):
            raise FormatError(f"unexpected '{self.tokens[self.position]}'")
        return elements

    def _peek(self) -> str:
        return self.tokens[self.position] if self.position < len(self.tokens) else ""

    def _next(self) -> str:
        token = self._peek()
        self.position += 1
        return token

    def _expect(self, text: str) -> None:
        token = self._next()
        if token != text:
            raise FormatError(f"expected '{text}', got '{token or 'the end'}'")

    def _elements(self) -> tuple[Element, ...]:
        elements: list[Element] = []
        while self._peek() not in ("", ")"):
            element = self._group() if self._peek() == "(" else self._element()
            elements.append(element)
            if self._peek() == "^":
                self._next()
                if self.anchor is not None:
                    raise FormatError("a group has one anchor")
                self.anchor = element
        return tuple(elements)

    def _group(self) -> Group:
        saved, self.anchor = self.anchor, None
        self._expect("(")
        then = self._elements()
        self._expect(")")
        anchor, self.anchor = self.anchor, saved
        otherwise: tuple[Element, ...] = ()
        if self._peek() == ":":
            self._next()
            self._expect("(")
            otherwise = self._elements()
            self._expect(")")
        self._expect("?")
        if anchor is None:
            raise FormatError("an optional group needs an anchor ('^')")
        return Group(then, anchor, otherwise)

    def _element(self) -> Element:
        token = self._next()
        if token.startswith("`"):
            return Literal(token[1:-1])
        if token.startswith("$"):
            return Variable(token[1:])
        if token == "qualified":
            self._expect("(")
            inner = self._element()
            self._expect(")")
            return Variable(inner.name, True) if isinstance(inner, Variable) else inner
        if token == "ref":
            self._expect("(")
            inner = self._element()
            self._expect(")")
            return inner
        if token == "type":
            self._expect("(")
            name = self._next()
            self._expect(")")
            return TypeOf(name.removeprefix("$"))
        if token == "functional-type":
            self._expect("(")
            inputs = self._next()
            self._expect(",")
            results = self._next()
            self._expect(")")
            return FunctionalType(inputs.removeprefix("$"), results.removeprefix("$"))
        if token == "custom":
            self._expect("<")
            name = self._next()
            self._expect(">")
            self._expect("(")
            parameters: list[Element] = []
            while self._peek() != ")":
                parameters.append(self._element())
                if self._peek() == ",":
                    self._next()
            self._expect(")")
            return Custom(name, tuple(parameters))
        if token in _DIRECTIVES:
            return Directive(token)
        raise FormatError(f"unexpected '{token}'")
