"""index: MLIR's text for every op."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from iree_core_ir.dialects import index
from iree_core_ir.dialects.arith_attributes import CMPI_PREDICATES
from iree_core_ir.errors import ParseError
from iree_core_ir.text.parser import parse_module

BINARY = """add sub mul divs divu ceildivs ceildivu floordivs rems remu maxs maxu mins minu shl
shrs shru and or xor"""


def module_text() -> str:
    lines = [f"index.{name} %a, %a" for name in BINARY.split()]
    lines += [f"index.cmp {name}(%a, %a)" for name in CMPI_PREDICATES]
    lines += [
        "index.constant 42",
        "index.constant -1",
        "index.bool.constant true",
        "index.sizeof",
        "index.casts %a : index to i32",
        "index.castu %i : i64 to index",
    ]
    body = [f"    %{n} = {line}" for n, line in enumerate(lines)]
    return "module {\n  func.func @f(%a: index, %i: i64) {\n" + "\n".join(body) + "\n    return\n  }\n}\n"


def test_text_is_printed_as_it_was_read(round_trip: Callable[[str], str]) -> None:
    assert round_trip(module_text()) == module_text()


def test_every_op_has_a_text_here(ops_of: Callable[[str], set[str]]) -> None:
    assert set(index.DIALECT.ops) <= ops_of(module_text())


def test_the_predicate_attribute_in_generic_form() -> None:
    assert str(index.IndexCmpPredicateAttr("slt")) == "#index<cmp_predicate slt>"
    text = '%r = "index.cmp"(%a, %a) <{pred = #index<cmp_predicate ult>}> : (index, index) -> i1'
    module = parse_module(f"func.func @f(%a: index) {{ {text}\n return }}")
    assert "index.cmp ult(%a, %a)" in str(module)


def test_unknown_predicates_are_named() -> None:
    with pytest.raises(ParseError, match="'lt' is not one of eq, ne"):
        parse_module("func.func @f(%a: index) { %r = index.cmp lt(%a, %a)\n return }")
