"""scf: loops and conditionals against Python's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iree_core_ir.errors import CoreIrError

Run = Callable[..., Any]

FOR = """func.func @f(%lb: index, %ub: index, %step: index, %x: i64) -> (i64, index) {
  %zero = arith.constant 0 : index
  %r:2 = scf.for %i = %lb to %ub step %step iter_args(%acc = %x, %last = %zero) -> (i64, index) {
    %k = arith.index_cast %i : index to i64
    %p = arith.muli %acc, %k : i64
    %s = arith.addi %p, %k : i64
    scf.yield %s, %i : i64, index
  }
  return %r#0, %r#1 : i64, index
}"""


@given(lb=st.integers(-20, 20), ub=st.integers(-20, 20), step=st.integers(1, 7), x=st.integers(-99, 99))
def test_for(run_text: Run, lb: int, ub: int, step: int, x: int) -> None:
    accumulated, last = x, 0
    for i in range(lb, ub, step):
        accumulated, last = accumulated * i + i, i
    wrapped = (accumulated + (1 << 63)) % (1 << 64) - (1 << 63)
    assert run_text(FOR, lb, ub, step, np.int64(x)) == (wrapped, last)


@pytest.mark.parametrize("step", [0, -1])
def test_for_needs_a_positive_step(run_text: Run, step: int) -> None:
    with pytest.raises(CoreIrError, match=f"step of scf.for is {step}"):
        run_text(FOR, 0, 5, step, np.int64(0))


@pytest.mark.parametrize(("keyword", "trips"), [("", 0), ("unsigned ", 246)])
def test_for_over_narrow_integers(run_text: Run, keyword: str, trips: int) -> None:
    """10 to -1 as i8: nothing when signed, 245 more when unsigned (255)."""
    text = f"""func.func @f(%lb: i8, %ub: i8, %s: i8) -> (index, i8) {{
      %z = arith.constant 0 : index
      %one = arith.constant 1 : index
      %k = arith.constant 0 : i8
      %r:2 = scf.for {keyword}%i = %lb to %ub step %s iter_args(%n = %z, %l = %k) -> (index, i8) : i8 {{
        %m = arith.addi %n, %one : index
        scf.yield %m, %i : index, i8
      }}
      return %r#0, %r#1 : index, i8
    }}"""
    count, last = run_text(text, np.int8(9), np.int8(-1), np.int8(1))
    assert count == trips
    assert isinstance(last, np.int8)
    assert last == (-2 if trips else 0)


COLLATZ = """func.func @f(%n: i64) -> index {
  %zero = arith.constant 0 : index
  %one = arith.constant 1 : index
  %i1 = arith.constant 1 : i64
  %i2 = arith.constant 2 : i64
  %i3 = arith.constant 3 : i64
  %i0 = arith.constant 0 : i64
  %r:2 = scf.while (%x = %n, %steps = %zero) : (i64, index) -> (i64, index) {
    %go = arith.cmpi ne, %x, %i1 : i64
    scf.condition(%go) %x, %steps : i64, index
  } do {
  ^bb0(%x: i64, %steps: index):
    %rest = arith.remsi %x, %i2 : i64
    %even = arith.cmpi eq, %rest, %i0 : i64
    %next = scf.if %even -> (i64) {
      %half = arith.divsi %x, %i2 : i64
      scf.yield %half : i64
    } else {
      %p = arith.muli %x, %i3 : i64
      %q = arith.addi %p, %i1 : i64
      scf.yield %q : i64
    }
    %count = arith.addi %steps, %one : index
    scf.yield %next, %count : i64, index
  }
  return %r#1 : index
}"""


@given(n=st.integers(1, 2000))
def test_while_and_if(run_text: Run, n: int) -> None:
    steps, x = 0, n
    while x != 1:
        x = x // 2 if x % 2 == 0 else 3 * x + 1
        steps += 1
    assert run_text(COLLATZ, np.int64(n)) == (steps,)


def test_if_without_else_does_nothing_when_false(run_text: Run) -> None:
    text = """func.func @f(%c: i1) {
      scf.if %c {
        %false = arith.constant false
        cf.assert %false, "taken"
      }
      return
    }"""
    assert run_text(text, np.bool_(False)) == ()
    with pytest.raises(CoreIrError, match="taken"):
        run_text(text, np.bool_(True))


SWITCH = """func.func @f(%n: index) -> i32 {
  %r = scf.index_switch %n -> i32
  case 2 {
    %a = arith.constant 20 : i32
    scf.yield %a : i32
  }
  case 5 {
    %a = arith.constant 50 : i32
    scf.yield %a : i32
  }
  default {
    %a = arith.constant -1 : i32
    scf.yield %a : i32
  }
  return %r : i32
}"""


@pytest.mark.parametrize(("n", "expected"), [(2, 20), (5, 50), (0, -1), (-2, -1)])
def test_index_switch(run_text: Run, n: int, expected: int) -> None:
    assert run_text(SWITCH, n) == (expected,)


def test_execute_region_runs_its_blocks(run_text: Run) -> None:
    text = """func.func @f(%c: i1, %a: f32, %b: f32) -> f32 {
      %r = scf.execute_region -> f32 {
        cf.cond_br %c, ^bb1, ^bb2(%b : f32)
      ^bb1:
        %s = arith.addf %a, %b : f32
        cf.br ^bb2(%s : f32)
      ^bb2(%x: f32):
        scf.yield %x : f32
      }
      return %r : f32
    }"""
    assert run_text(text, np.bool_(True), np.float32(1), np.float32(2)) == (3,)
    assert run_text(text, np.bool_(False), np.float32(1), np.float32(2)) == (2,)


PARALLEL = """func.func @f(%n: index, %m: index) -> (index, index) {
  %zero = arith.constant 0 : index
  %one = arith.constant 1 : index
  %two = arith.constant 2 : index
  %r:2 = scf.parallel (%i, %j) = (%zero, %one) to (%n, %m) step (%one, %two)
      init (%zero, %one) -> (index, index) {
    %p = arith.muli %i, %j : index
    %q = arith.addi %i, %j : index
    scf.reduce(%p, %q : index, index) {
    ^bb0(%a: index, %b: index):
      %s = arith.addi %a, %b : index
      scf.reduce.return %s : index
    }, {
    ^bb0(%a: index, %b: index):
      %s = arith.maxsi %a, %b : index
      scf.reduce.return %s : index
    }
  }
  return %r#0, %r#1 : index, index
}"""


@given(n=st.integers(0, 6), m=st.integers(0, 9))
def test_parallel_reduces(run_text: Run, n: int, m: int) -> None:
    box = [(i, j) for i in range(n) for j in range(1, m, 2)]
    assert run_text(PARALLEL, n, m) == (sum(i * j for i, j in box), max([1, *(i + j for i, j in box)]))


FORALL = """func.func @f(%x: tensor<8xf32>, %n: index) -> tensor<8xf32> {
  %c2 = arith.constant 2 : index
  %r = scf.forall (%i) in (%n) shared_outs(%o = %x) -> (tensor<8xf32>) {
    %at = arith.muli %i, %c2 : index
    %v = arith.constant dense<1.0> : tensor<2xf32>
    scf.forall.in_parallel {
      tensor.parallel_insert_slice %v into %o[%at] [2] [1] : tensor<2xf32> into tensor<8xf32>
    }
  }
  return %r : tensor<8xf32>
}"""


def test_forall_inserts_into_copies(run_text: Run) -> None:
    x = np.zeros(8, np.float32)
    (found,) = run_text(FORALL, x, 3)
    assert found.tolist() == [1, 1, 1, 1, 1, 1, 0, 0]
    assert not x.any()
    (found,) = run_text(FORALL, x, 0)
    assert not found.any()
