"""Tokens of MLIR text, one at a time.

The current token is ``tok`` (its text) of ``kind``; strings keep their quotes, so comparing ``tok``
with punctuation or a keyword never confuses the two. Bulk text (shapes, hex payloads) is matched by
regular expressions of the callers, which move ``pos`` and call ``next``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, NoReturn, TypeVar

from iree_core_ir.errors import ParseError
from iree_core_ir.text.source import Source

T = TypeVar("T")

VALUE, BLOCK, SYMBOL, HASH, BANG, NUMBER, WORD, STRING, PUNCTUATION, END = (
    "value",
    "block",
    "symbol",
    "hash",
    "bang",
    "number",
    "word",
    "string",
    "punctuation",
    "end",
)

_TOKEN = re.compile(
    r"""(?:[ \t\r\n]++|//[^\n]*+)*+(?:
 (?P<value>%(?:[A-Za-z_$.\-][\w$.\-]*|\d+)(?:\#\d+)?)
|(?P<word>[A-Za-z_][\w$.]*)
|(?P<punctuation>->|::|>=|==|<=|\.\.\.|\{-\#|\#-\}|[(){}\[\]<>,:=?*+\-/|])
|(?P<number>0x[0-9A-Fa-f]+|\d+(?:\.\d*(?:[eE][+\-]?\d+)?)?)
|(?P<string>"[^"\\\n]*+(?:\\.[^"\\\n]*+)*+")
|(?P<symbol>@(?:[A-Za-z_][\w$.]*|"[^"\\\n]*+(?:\\.[^"\\\n]*+)*+"))
|(?P<hash>\#(?:[A-Za-z_][\w$.\-]*|\d+))
|(?P<bang>![A-Za-z_][\w$.\-]*)
|(?P<block>\^[\w$.\-]+)
|(?P<end>\Z))""",
    re.VERBOSE | re.ASCII,
)
_match = _TOKEN.match

_ESCAPE = re.compile(r'\\(?:(["\\nt])|([0-9A-Fa-f]{2}))')
_ESCAPES = {'"': b'"', "\\": b"\\", "n": b"\n", "t": b"\t"}
_FLOAT = re.compile(r"[.eE]")


def unquoted(token: str) -> str:
    """The value of a string token. Raises ValueError for an unknown escape."""
    body = token[1:-1]
    if "\\" not in body:
        return body
    parts: list[bytes] = []
    position = 0
    while True:
        found = body.find("\\", position)
        if found < 0:
            parts.append(body[position:].encode("utf-8", "surrogateescape"))
            break
        parts.append(body[position:found].encode("utf-8", "surrogateescape"))
        escape = _ESCAPE.match(body, found)
        if escape is None:
            raise ValueError(f"unknown escape '{body[found : found + 2]}'")
        parts.append(_ESCAPES[escape[1]] if escape[1] else bytes.fromhex(escape[2]))
        position = escape.end()
    return b"".join(parts).decode("utf-8", "surrogateescape")


class Lexer:
    """The token stream with the usual helpers; ``start`` and ``pos`` are offsets of the token."""

    def __init__(self, text: str, name: str = "<mlir>") -> None:
        self.source = Source(text, name)
        self.text = text
        self.pos = 0
        self.start = 0
        self.previous = 0
        self.kind = END
        self.tok = ""
        self.next()

    def next(self) -> None:
        """Move to the next token."""
        self.previous = self.start
        match = _match(self.text, self.pos)
        if match is None:
            self._bad_token()
        kind: Any = match.lastgroup
        self.kind = kind
        self.tok = match[kind]
        self.start = match.start(kind)
        self.pos = match.end()

    def _bad_token(self) -> NoReturn:
        blank = re.compile(r"(?:[ \t\r\n]++|//[^\n]*+)*+").match(self.text, self.pos)
        assert blank is not None
        self.start = blank.end()
        character = self.text[self.start]
        if character == '"':
            self.fail("unterminated string")
        self.fail(f"unexpected character {character!r}")

    # -- errors ----------------------------------------------------------------------------

    def fail(self, message: str, offset: int | None = None) -> NoReturn:
        """Raise ParseError at ``offset`` (default: the current token)."""
        offset = self.start if offset is None else offset
        line, column = self.source.line_column(offset)
        raise ParseError(message, self.source.name, line, column, self.source.line_at(offset))

    def fail_at_previous(self, message: str) -> NoReturn:
        """As ``fail``, at the token before the current one."""
        self.fail(message, self.previous)

    def shown(self) -> str:
        """The current token as errors quote it."""
        return "end of file" if self.kind == END else f"'{self.tok[:40]}'"

    # -- tokens ----------------------------------------------------------------------------

    def at(self, text: str) -> bool:
        return self.tok == text

    def accept(self, text: str) -> bool:
        """Skip the token if it is ``text``; tells whether it was."""
        if self.tok == text:
            self.next()
            return True
        return False

    def expect(self, text: str) -> None:
        if self.tok != text:
            self.fail(f"expected '{text}', got {self.shown()}")
        self.next()

    def take(self, kind: str) -> str:
        """The text of a token of ``kind``."""
        if self.kind != kind:
            self.fail(f"expected {kind}, got {self.shown()}")
        token = self.tok
        self.next()
        return token

    def keyword(self) -> str:
        return self.take(WORD)

    def accept_keyword(self, words: Iterable[str]) -> str | None:
        """The keyword if it is one of ``words``, else None."""
        token = self.tok
        if token in words:
            self.next()
            return token
        return None

    def integer(self) -> int:
        """A decimal or hexadecimal integer, possibly negative."""
        negative = self.accept("-")
        if self.kind != NUMBER or (_FLOAT.search(self.tok) and self.tok[:2] != "0x"):
            self.fail(f"expected an integer, got {self.shown()}")
        value = int(self.tok, 0) if self.tok[:2] == "0x" else int(self.tok)
        self.next()
        return -value if negative else value

    def number(self) -> int | float:
        """An integer or a float literal; an int tells that no point was written."""
        negative = self.accept("-")
        token = self.take(NUMBER)
        value: int | float
        if token[:2] == "0x":
            value = int(token, 16)
        else:
            value = float(token) if _FLOAT.search(token) else int(token)
        return -value if negative else value

    def string(self) -> str:
        token = self.take(STRING)
        try:
            return unquoted(token)
        except ValueError as error:
            self.fail_at_previous(str(error))

    def symbol_name(self) -> str:
        """``@name`` or ``@"any text"``."""
        token = self.take(SYMBOL)
        return unquoted(token[1:]) if token[1] == '"' else token[1:]

    def comma_list(self, parse: Callable[[], T], open: str = "(", close: str = ")") -> list[T]:
        """``open item, item close``, possibly empty; with ``open=""`` one or more bare items."""
        if not open:
            items = [parse()]
            while self.tok == ",":
                self.next()
                items.append(parse())
            return items
        self.expect(open)
        if self.tok == close:
            self.next()
            return []
        items = [parse()]
        while self.tok == ",":
            self.next()
            items.append(parse())
        if self.tok != close:
            self.fail(f"expected ',' or '{close}', got {self.shown()}")
        self.next()
        return items

    _BRACKETS = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"|->|>=|[<>()\[\]{}]')

    def balanced(self) -> str:
        """The text from the current opening bracket to its partner, both included."""
        closing = {"<": ">", "(": ")", "[": "]", "{": "}"}
        stack: list[str] = []
        for match in self._BRACKETS.finditer(self.text, self.start):
            token = match[0]
            if token in closing:
                stack.append(closing[token])
            elif token in (">", ")", "]", "}"):
                if not stack or stack.pop() != token:
                    self.fail(f"unbalanced '{token}'", match.start())
                if not stack:
                    text = self.text[self.start : match.end()]
                    self.pos = match.end()
                    self.next()
                    return text
        return self.fail("unbalanced bracket")
