"""x86vector: text and what the verifier refuses."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from iree_core_ir.dialects.x86vector import DIALECT
from iree_core_ir.errors import VerifyError
from iree_core_ir.text.parser import parse_module
from iree_core_ir.verifier import verify

TEXT = """module {
  func.func @f(%w: vector<16xi32>, %a: vector<64xi8>) {
    %0 = x86vector.dot_u8s8 %w, %a, %a : vector<64xi8> -> vector<16xi32>
    return
  }
}
"""


def test_text_is_printed_as_it_was_read(round_trip: Callable[[str], str]) -> None:
    assert round_trip(TEXT) == TEXT


def test_every_op_has_a_text_here(ops_of: Callable[[str], set[str]]) -> None:
    assert set(DIALECT.ops) <= ops_of(TEXT)


def test_vectors_that_do_not_fit_are_refused() -> None:
    with pytest.raises(VerifyError, match="cannot be added"):
        verify(parse_module(TEXT.replace("64xi8", "32xi8")))
