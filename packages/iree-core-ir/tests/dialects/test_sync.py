"""Words that workgroups share: text and what the verifier refuses."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from iree_core_ir.dialects.sync import DIALECT
from iree_core_ir.errors import VerifyError
from iree_core_ir.text.parser import parse_module
from iree_core_ir.verifier import verify

TEXT = """module {
  func.func @f(%m: memref<?xi64>, %i: index) -> (i64, i1) {
    %0 = sync.load %m[%i] : memref<?xi64>
    sync.pause
    %1 = sync.exchange %m[%i], %0 to %0 : memref<?xi64>
    sync.store %0, %m[%i] : memref<?xi64>
    return %0, %1 : i64, i1
  }
}
"""


def test_text_is_printed_as_it_was_read(round_trip: Callable[[str], str]) -> None:
    assert round_trip(TEXT) == TEXT


def test_every_op_has_a_text_here(ops_of: Callable[[str], set[str]]) -> None:
    assert set(DIALECT.ops) <= ops_of(TEXT)


@pytest.mark.parametrize("type", ["memref<?xi32>", "memref<?x?xi64>", "memref<?xf64>"])
def test_words_are_flat_i64(type: str) -> None:
    module = parse_module(
        f"func.func @f(%m: {type}, %i: index) {{ %0 = sync.load %m[%i] : {type}\n return }}"
    )
    with pytest.raises(VerifyError, match="words are i64"):
        verify(module)
