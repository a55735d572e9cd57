"""Loops, branches and checks, nested in each other, against the interpreter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from vulkan_kernels import KernelText, Run

from iree_hal.errors import HalError


def check(run: Run, body: str, inputs: np.ndarray[Any, Any], n: int = 64, index_bits: int = 32) -> None:
    """``body`` makes %y (i32) of %x (i32) and %i."""
    text = f"""
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c3 = arith.constant 3 : index
  %c8 = arith.constant 8 : index
  %z = arith.constant 0 : i32
  %one = arith.constant 1 : i32
  %t = gpu.thread_id x
  %m = arith.muli %wx, %c8 : index
  %i = arith.addi %m, %t : index
  %x = memref.load %b0[%i] : memref<?xi32>
  {body}
  memref.store %y, %b1[%i] : memref<?xi32>
"""
    kernel = KernelText(
        text, [("i32", "read"), ("i32", "write")], counts=(n // 8, 1, 1), index_bits=index_bits
    )
    expected = [inputs, np.zeros_like(inputs)]
    kernel.interpret(expected)
    np.testing.assert_array_equal(run(kernel, [inputs, np.zeros_like(inputs)])[-1], expected[-1])


NUMBERS = np.random.default_rng(1).integers(-20, 50, 64).astype(np.int32)

LOOP = """
  %n = arith.index_cast %x : i32 to index
  %y, %w = scf.for %j = {lower} to %n step {step} iter_args(%a = %z, %b = %one) -> (i32, i32) {{
    %k = arith.index_cast %j : index to i32
    %c = arith.addi %a, %k : i32
    %d = arith.addi %b, %c : i32
    scf.yield %d, %a : i32, i32
  }} {attributes}"""


@pytest.mark.parametrize("index_bits", [32, 64])
@pytest.mark.parametrize("lower", ["%c0", "%c3", "%i"])
@pytest.mark.parametrize("step", ["%c1", "%c3"])
@pytest.mark.parametrize("attributes", ["", "{iree.dont_unroll}"])
def test_for(run: Run, index_bits: int, lower: str, step: str, attributes: str) -> None:
    """Bounds from memory, also empty ones; carried values swap places."""
    check(run, LOOP.format(lower=lower, step=step, attributes=attributes), NUMBERS, index_bits=index_bits)


def test_nested(run: Run) -> None:
    body = """
  %n = arith.index_cast %x : i32 to index
  %y = scf.for %j = %c0 to %n step %c1 iter_args(%a = %z) -> (i32) {
    %odd = arith.andi %a, %one : i32
    %q = arith.cmpi eq, %odd, %one : i32
    %b = scf.if %q -> (i32) {
      %d = scf.for %k = %c0 to %j step %c3 iter_args(%e = %a) -> (i32) {
        %k32 = arith.index_cast %k : index to i32
        %f = arith.addi %e, %k32 : i32
        scf.yield %f : i32
      }
      scf.yield %d : i32
    } else {
      %g = arith.addi %a, %one : i32
      %h = arith.cmpi sgt, %g, %x : i32
      %p = scf.if %h -> (i32) {
        scf.yield %g : i32
      } else {
        %r = arith.addi %g, %x : i32
        scf.yield %r : i32
      }
      scf.yield %p : i32
    }
    scf.yield %b : i32
  }"""
    check(run, body, NUMBERS)


def test_branch_without_results(run: Run) -> None:
    body = """
  %q = arith.cmpi sgt, %x, %z : i32
  memref.store %x, %b1[%i] : memref<?xi32>
  scf.if %q {
    %n = arith.subi %z, %x : i32
    memref.store %n, %b1[%i] : memref<?xi32>
  }
  %y = memref.load %b1[%i] : memref<?xi32>"""
    check(run, body, NUMBERS)


def test_while(run: Run) -> None:
    """Steps of the Collatz sequence: the condition comes first, and passes on other values than it gets."""
    body = """
  %two = arith.constant 2 : i32
  %three = arith.constant 3 : i32
  %big = arith.maxsi %x, %one : i32
  %last, %y = scf.while (%a = %big, %steps = %z) : (i32, i32) -> (i32, i32) {
    %more = arith.cmpi sgt, %a, %one : i32
    %odd = arith.andi %a, %one : i32
    %is = arith.cmpi eq, %odd, %one : i32
    %next = scf.if %is -> (i32) {
      %t3 = arith.muli %a, %three : i32
      %t1 = arith.addi %t3, %one : i32
      scf.yield %t1 : i32
    } else {
      %h = arith.divsi %a, %two : i32
      scf.yield %h : i32
    }
    scf.condition(%more) %next, %steps : i32, i32
  } do {
  ^bb0(%b: i32, %s: i32):
    %s1 = arith.addi %s, %one : i32
    scf.yield %b, %s1 : i32, i32
  }"""
    check(run, body, NUMBERS)


@pytest.mark.parametrize("bad", [None, 5, 63])
def test_checks_stop_the_kernel(run: Run, bad: int | None) -> None:
    body = """
  %c8 = arith.constant 8 : index
  %limit = arith.constant 100 : i32
  %neg = arith.constant -100 : i32
  %t = gpu.thread_id x
  %m = arith.muli %wx, %c8 : index
  %i = arith.addi %m, %t : index
  %x = memref.load %b0[%i] : memref<?xi32>
  %first = arith.cmpi sgt, %x, %neg : i32
  cf.assert %first, "low"
  %second = arith.cmpi slt, %x, %limit : i32
  cf.assert %second, "high" {iree.error_kind = 1 : i32}
  memref.store %x, %b1[%i] : memref<?xi32>
"""
    kernel = KernelText(body, [("i32", "read"), ("i32", "write")], counts=(8, 1, 1))
    a = NUMBERS.copy()
    if bad is None:
        np.testing.assert_array_equal(run(kernel, [a, np.zeros_like(a)])[-1], a)
        return
    a[bad] = 1000
    with pytest.raises(HalError) as caught:
        run(kernel, [a, np.zeros_like(a)])
    assert (caught.value.kind, caught.value.assert_index) == (1, 1)  # type: ignore[attr-defined]
