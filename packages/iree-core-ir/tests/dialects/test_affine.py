"""affine: MLIR's text and operand counts."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from iree_core_ir.dialects import affine
from iree_core_ir.errors import ParseError, VerifyError
from iree_core_ir.text.parser import parse_module
from iree_core_ir.verifier import verify

TEXT = """#map = affine_map<(d0)[s0] -> (d0 * 4 + s0)>
#map1 = affine_map<(d0) -> (d0, 4)>
#map2 = affine_map<() -> (0, 4)>
module {
  func.func @f(%n: index) {
    %0 = affine.apply #map(%n)[%n]
    %1 = affine.min #map1(%n) {note}
    %2 = affine.max #map2()
    %3:3 = affine.delinearize_index %n into (%n, 4, 5) : index, index, index
    %4:2 = affine.delinearize_index %n into (4) : index, index
    %5 = affine.linearize_index [%n, %n] by (2, %n) : index
    %6 = affine.linearize_index disjoint [%n, %n] by (%n) : index
    return
  }
}
"""


def test_text_is_printed_as_it_was_read(round_trip: Callable[[str], str]) -> None:
    assert round_trip(TEXT) == TEXT


def test_every_op_has_a_text_here(ops_of: Callable[[str], set[str]]) -> None:
    assert set(affine.DIALECT.ops) <= ops_of(TEXT)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("affine.apply affine_map<(d0) -> (d0)>()", "takes 1 dims and 0 symbols"),
        ("affine.apply affine_map<(d0)[s0] -> (d0 + s0)>(%n, %n)", "takes 1 dims and 1 symbols"),
        ("affine.min 5(%n)", "expected an affine map"),
    ],
)
def test_bad_text(line: str, message: str) -> None:
    with pytest.raises(ParseError, match=message):
        parse_module(f"func.func @f(%n: index) {{ %r = {line}\n return }}")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("affine.apply affine_map<(d0) -> (d0, d0)>(%n)", "one result"),
        ("affine.min affine_map<(d0) -> ()>(%n)", "no results"),
    ],
)
def test_invalid_ops(line: str, message: str) -> None:
    with pytest.raises(VerifyError, match=message):
        verify(parse_module(f"func.func @f(%n: index) {{ %r = {line}\n return }}"))
