"""What is known of where storages begin."""

from __future__ import annotations

import pytest

from iree_core_ir.dialects.func import FuncOp
from iree_core_ir.text.parser import parse_module
from iree_flow.stream_storage import divisor_of

VALUES = """
func.func @f(%n: index, %m: index) {{
  %c12 = arith.constant 12 : index
  %c64 = arith.constant 64 : index
  %c96 = arith.constant 96 : index
  %a = arith.muli %n, %c64 : index
  %b = arith.muli %m, %c96 : index
  %v = {op} : index
  return
}}
"""


@pytest.mark.parametrize(
    ("op", "divisor"),
    [
        ("arith.addi %a, %b", 32),
        ("arith.addi %a, %c12", 4),
        ("arith.subi %b, %a", 32),
        ("arith.muli %a, %b", 64 * 96),
        ("arith.muli %c12, %n", 12),
        ("arith.addi %n, %a", 1),
        ("arith.divui %a, %c12", 1),
    ],
)
def test_divisors(op: str, divisor: int) -> None:
    module = parse_module(VALUES.format(op=op))
    function = module.body.block.first
    assert isinstance(function, FuncOp)
    value = function.regions[0].block.ops[-2].results[0]
    assert divisor_of(value) == divisor


def test_numbers() -> None:
    assert [divisor_of(n) for n in (0, 1, 48)] == [0, 1, 48]
