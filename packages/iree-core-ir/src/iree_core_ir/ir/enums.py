"""Attributes that are one word out of a fixed list: ``#vector.kind<add>``."""

from __future__ import annotations

from typing import Any, ClassVar, TypeVar

from iree_core_ir.ir.attributes import Attribute

E = TypeVar("E", bound="EnumAttr")


class EnumAttr(Attribute):
    """Subclasses set ``mnemonic`` and ``cases``; ``bracketed`` tells ``<add>`` from a bare ``add``."""

    __slots__ = _fields = ("value",)
    value: str
    cases: ClassVar[tuple[str, ...]] = ()
    bracketed: ClassVar[bool] = True

    def check(self) -> None:
        if self.value not in self.cases:
            raise ValueError(f"'{self.value}' is not one of {', '.join(self.cases)}")

    @property
    def number(self) -> int:
        """Position in ``cases``: the value MLIR stores where it keeps the enum as an integer."""
        return self.cases.index(self.value)

    @classmethod
    def parse_parameters(cls: type[E], parser: Any) -> E:
        if cls.bracketed:
            parser.expect("<")
        word = parser.keyword()
        if word not in cls.cases:
            parser.fail_at_previous(f"'{word}' is not one of {', '.join(cls.cases)}")
        if cls.bracketed:
            parser.expect(">")
        return cls(word)

    def print_parameters(self, printer: Any) -> str:
        return f"<{self.value}>" if self.bracketed else self.value


class BitEnumAttr(Attribute):
    """A set of words, ``#arith.fastmath<contract,nnan>``; the empty set is ``none``.

    ``values`` is kept in the order of ``cases``.
    """

    __slots__ = _fields = ("values",)
    values: tuple[str, ...]
    cases: ClassVar[tuple[str, ...]] = ()
    groups: ClassVar[dict[str, tuple[str, ...]]] = {}
    """Words that stand for several cases, such as ``fast``."""
    separator: ClassVar[str] = ","

    def __new__(cls: type[BitEnumAttr], *values: Any) -> Any:
        words = values[0] if len(values) == 1 and isinstance(values[0], tuple) else values
        wanted: set[str] = set()
        for word in words:
            wanted.update(cls.groups.get(word, (word,)))
        for word in wanted:
            if word not in cls.cases:
                raise ValueError(f"'{word}' is not one of {', '.join((*cls.groups, *cls.cases))}")
        return super().__new__(cls, tuple(case for case in cls.cases if case in wanted))

    @classmethod
    def parse_parameters(cls, parser: Any) -> Any:
        parser.expect("<")
        words = [parser.keyword()]
        while parser.accept(cls.separator):
            words.append(parser.keyword())
        known = (*cls.cases, *cls.groups, "none")
        for word in words:
            if word not in known:
                parser.fail_at_previous(f"'{word}' is not one of {', '.join(known)}")
        parser.expect(">")
        return cls(tuple(word for word in words if word != "none"))

    def print_parameters(self, printer: Any) -> str:
        for word, cases in self.groups.items():
            if self.values == tuple(c for c in self.cases if c in cases):
                return f"<{word}>"
        return f"<{self.separator.join(self.values) or 'none'}>"
