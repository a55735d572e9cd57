"""Tokens: kinds, literals, escapes, and where errors point."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iree_core_ir.errors import ParseError
from iree_core_ir.text.lexer import END, Lexer, unquoted
from iree_core_ir.text.printer import quoted


def tokens(text: str) -> list[tuple[str, str]]:
    lexer = Lexer(text)
    found = []
    while lexer.kind != END:
        found.append((lexer.kind, lexer.tok))
        lexer.next()
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("%a-b.c#1", [("value", "%a-b.c#1")]),
        ("%0:2", [("value", "%0"), ("punctuation", ":"), ("number", "2")]),
        ("arith.addf", [("word", "arith.addf")]),
        ("0x1F 1.5e-3 12.", [("number", "0x1F"), ("number", "1.5e-3"), ("number", "12.")]),
        ('@f @"a b"', [("symbol", "@f"), ("symbol", '@"a b"')]),
        ("#map1 !t ^bb0", [("hash", "#map1"), ("bang", "!t"), ("block", "^bb0")]),
        ("-> - >", [("punctuation", "->"), ("punctuation", "-"), ("punctuation", ">")]),
        ("a // comment ) \n b", [("word", "a"), ("word", "b")]),
        ("{-# #-}", [("punctuation", "{-#"), ("punctuation", "#-}")]),
    ],
)
def test_tokens(text: str, expected: list[tuple[str, str]]) -> None:
    assert tokens(text) == expected


@given(st.text())
def test_quoting_is_undone_by_reading(text: str) -> None:
    try:
        text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return  # a lone surrogate that no bytes stand for
    assert Lexer(quoted(text)).string() == text


def test_escapes_of_mlir() -> None:
    assert unquoted(r'"a\22b\\c\nd\09"') == 'a"b\\c\nd\t'


@pytest.mark.parametrize(
    ("text", "message", "line", "column"),
    [
        ("a\n  ~", "unexpected character '~'", 2, 3),
        ('x "abc', "unterminated string", 1, 3),
        (r'"\q"', "unknown escape", 1, 1),
    ],
)
def test_errors_point_at_the_character(text: str, message: str, line: int, column: int) -> None:
    with pytest.raises(ParseError, match=message) as caught:
        lexer = Lexer(text, "f.mlir")
        while lexer.kind != END:
            if lexer.kind == "string":
                lexer.string()
            else:
                lexer.next()
    assert (caught.value.line, caught.value.column) == (line, column)
    shown = str(caught.value).splitlines()
    assert shown[0].startswith(f"IREE-IR-001: f.mlir:{line}:{column}: ")
    assert shown[2] == " " * (column - 1) + "^"


def test_a_long_line_is_cut_around_the_caret() -> None:
    with pytest.raises(ParseError) as caught:
        Lexer("a" * 5 + " " * 100_000 + "~").next()
    assert max(len(line) for line in str(caught.value).splitlines()) < 300


def test_integers() -> None:
    assert Lexer("-12").integer() == -12
    assert Lexer("0x10").integer() == 16
    assert Lexer("1.5").number() == 1.5
    with pytest.raises(ParseError, match="expected an integer"):
        Lexer("1.5").integer()


def test_balanced_text_skips_brackets_in_strings() -> None:
    lexer = Lexer('<a "]>" [b -> c] {d}> rest')
    assert lexer.balanced() == '<a "]>" [b -> c] {d}>'
    assert lexer.tok == "rest"
    with pytest.raises(ParseError, match="unbalanced"):
        Lexer("<a ]").balanced()
