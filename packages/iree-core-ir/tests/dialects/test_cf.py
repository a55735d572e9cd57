"""cf: MLIR's text and what branches must pass."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from iree_core_ir.dialects import cf
from iree_core_ir.errors import VerifyError
from iree_core_ir.ir.operation import Block
from iree_core_ir.ir.types import i32
from iree_core_ir.text.parser import parse_module
from iree_core_ir.verifier import verify

TEXT = """module {
  func.func @f(%c: i1, %a: f32, %i: i32) -> f32 {
    cf.assert %c, "a \\22message\\22"
    cf.cond_br %c, ^bb1(%a : f32), ^bb2
  ^bb1(%x: f32):
    cf.switch %i : i32, [
      default: ^bb2,
      42: ^bb3(%x, %x : f32, f32),
      -1: ^bb2
    ]
  ^bb2:
    cf.cond_br %c weights([1, 2]), ^bb4, ^bb3(%a, %a : f32, f32)
  ^bb3(%y: f32, %z: f32):
    cf.br ^bb5(%y : f32)
  ^bb4:
    cf.switch %i : i32, [
      default: ^bb2] {note}
  ^bb5(%r: f32):
    return %r : f32
  }
}
"""


def test_text_is_printed_as_it_was_read(round_trip: Callable[[str], str]) -> None:
    assert round_trip(TEXT) == TEXT


def test_every_op_has_a_text_here(ops_of: Callable[[str], set[str]]) -> None:
    assert set(cf.DIALECT.ops) <= ops_of(TEXT)


def test_switch_of_many_cases_stays_inline() -> None:
    flag = Block([i32]).args[0]
    target = Block()
    op = cf.Switch.make(flag, target, [], [(i, target, []) for i in range(200)])
    assert [value for value, _, _ in op.cases] == list(range(200))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("cf.br ^bb1", "passes nothing to a block that takes f32"),
        ("cf.br ^bb1(%i : i32)", "passes i32 to a block that takes f32"),
        ("cf.cond_br %c, ^bb1(%a : f32), ^bb1(%a, %a : f32, f32)", "passes f32, f32"),
        ("cf.switch %i : i32, [ default: ^bb1(%a : f32), 1: ^bb1 ]", "passes nothing"),
        ("cf.br ^bb0(%c, %a, %i : i1, f32, i32)", "entry block"),
    ],
)
def test_invalid_branches(line: str, message: str) -> None:
    text = f"func.func @f(%c: i1, %a: f32, %i: i32) {{\n {line}\n ^bb1(%x: f32):\n return\n}}"
    if "^bb0" in line:  # only the generic form names the entry block
        text = _generic_function(line)
    with pytest.raises(VerifyError, match=message):
        verify(parse_module(text))


def _generic_function(line: str) -> str:
    """A function whose entry block is named, so that a branch can go there."""
    return f""""func.func"() <{{sym_name = "f", function_type = (i1, f32, i32) -> ()}}> ({{
    ^bb0(%c: i1, %a: f32, %i: i32):
      {line}
    }}) : () -> ()"""
