"""cf: control flow between blocks against the same programs in Python."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iree_core_ir.errors import CoreIrError

GCD = """func.func @f(%a: index, %b: index) -> index {
  %zero = arith.constant 0 : index
  cf.br ^head(%a, %b : index, index)
^head(%x: index, %y: index):
  %done = arith.cmpi eq, %y, %zero : index
  cf.cond_br %done, ^end(%x : index), ^step
^step:
  %r = arith.remui %x, %y : index
  cf.br ^head(%y, %r : index, index)
^end(%result: index):
  return %result : index
}"""


@given(a=st.integers(0, 1 << 40), b=st.integers(0, 1 << 40))
def test_euclid(run_text: Callable[..., Any], a: int, b: int) -> None:
    assert run_text(GCD, a, b) == (math.gcd(a, b),)


SWITCH = """func.func @f(%flag: i8, %a: i32, %b: i32) -> i32 {
  cf.switch %flag : i8, [
    default: ^out(%a : i32),
    1: ^out(%b : i32),
    -1: ^sum(%a, %b : i32, i32)
  ]
^sum(%x: i32, %y: i32):
  %s = arith.addi %x, %y : i32
  cf.br ^out(%s : i32)
^out(%r: i32):
  return %r : i32
}"""


@pytest.mark.parametrize(("flag", "expected"), [(0, 10), (1, 20), (-1, 30), (2, 10)])
def test_switch(run_text: Callable[..., Any], flag: int, expected: int) -> None:
    assert run_text(SWITCH, np.int8(flag), np.int32(10), np.int32(20)) == (expected,)


def test_assert_names_the_place(run_text: Callable[..., Any]) -> None:
    text = 'func.func @f(%c: i1) {\n cf.assert %c, "sizes differ" loc("my node")\n return\n}'
    assert run_text(text, np.bool_(True)) == ()
    with pytest.raises(CoreIrError, match=r"sizes differ.*my node") as caught:
        run_text(text, np.bool_(False))
    assert caught.value.number == 12
