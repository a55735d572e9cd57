"""scf: what is decided at compile time goes, results stay the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

Make = Callable[[str], Any]
HEAD = """func.func @f(%a: f32, %n: index, %c: i1) -> {result} {{
  %zero = arith.constant 0 : index
  %one = arith.constant 1 : index
  %five = arith.constant 5 : index
  %true = arith.constant true
  %false = arith.constant false
"""


def function(body: str, result: str = "f32", returned: str = "%r") -> str:
    return HEAD.format(result=result) + body + f"\n  return {returned} : {result.strip('()')}\n}}"


def agree(result: Any) -> None:
    for n in (0, 1, 2, 7):
        for c in (False, True):
            before, after = result.run(np.float32(1.5), n, np.bool_(c))
            assert before == after


LOOP = """%r = scf.for %i = {lower} to {upper} step {step} iter_args(%x = %a) -> (f32) {{
  %y = arith.addf %x, %a : f32
  scf.yield %y : f32
}}"""


@pytest.mark.parametrize(
    ("lower", "upper", "step", "ops"),
    [
        ("%zero", "%zero", "%one", []),
        ("%n", "%n", "%n", []),
        ("%five", "%zero", "%one", []),
        ("%zero", "%five", "%five", ["arith.addf"]),
        ("%zero", "%one", "%five", ["arith.addf"]),
        ("%zero", "%five", "%one", ["scf.for", "arith.addf", "scf.yield"]),
        ("%zero", "%n", "%one", ["scf.for", "arith.addf", "scf.yield"]),
    ],
)
def test_loops_of_zero_or_one_trip(
    canonicalized: Make, lower: str, upper: str, step: str, ops: list[str]
) -> None:
    result = canonicalized(function(LOOP.format(lower=lower, upper=upper, step=step)))
    assert result.ops == ops
    if step != "%n":
        agree(result)


def test_unchanging_and_unused_carried_values_go(canonicalized: Make) -> None:
    body = """%l:4 = scf.for %i = %zero to %n step %one iter_args(%x = %a, %same = %a, %dead = %a, %set = %a)
        -> (f32, f32, f32, f32) {
      %y = arith.addf %x, %same : f32
      %d = arith.mulf %dead, %dead : f32
      scf.yield %y, %same, %d, %a : f32, f32, f32, f32
    }
    %s = arith.addf %l#0, %l#1 : f32
    %r = arith.addf %s, %l#3 : f32"""
    result = canonicalized(function(body))
    loop = next(op for op in result.after.walk() if op.name == "scf.for")
    assert len(loop.results) == 1
    assert "arith.mulf" not in result.ops
    agree(result)


def test_a_dead_value_that_feeds_another_is_kept(canonicalized: Make) -> None:
    body = """%l:2 = scf.for %i = %zero to %n step %one iter_args(%x = %a, %y = %a) -> (f32, f32) {
      %s = arith.addf %y, %y : f32
      %p = arith.mulf %x, %s : f32
      scf.yield %p, %s : f32, f32
    }
    %r = arith.addf %l#0, %a : f32"""
    result = canonicalized(function(body))
    assert "arith.mulf" in result.ops
    agree(result)


@pytest.mark.parametrize(("condition", "ops"), [("%true", ["arith.addf"]), ("%false", ["arith.mulf"])])
def test_if_with_known_condition(canonicalized: Make, condition: str, ops: list[str]) -> None:
    body = f"""%r = scf.if {condition} -> (f32) {{
      %x = arith.addf %a, %a : f32
      scf.yield %x : f32
    }} else {{
      %x = arith.mulf %a, %a : f32
      scf.yield %x : f32
    }}"""
    result = canonicalized(function(body))
    assert result.ops == ops
    agree(result)


def test_if_that_only_chooses_becomes_select(canonicalized: Make) -> None:
    body = """%b = arith.addf %a, %a : f32
    %r = scf.if %c -> (f32) {
      scf.yield %a : f32
    } else {
      scf.yield %b : f32
    }"""
    result = canonicalized(function(body))
    assert result.ops == ["arith.addf", "arith.select"]
    agree(result)


def test_if_results_that_are_equal_or_unused_go(canonicalized: Make) -> None:
    body = """%x:3 = scf.if %c -> (f32, f32, f32) {
      %p = arith.addf %a, %a : f32
      scf.yield %a, %p, %p : f32, f32, f32
    } else {
      %p = arith.mulf %a, %a : f32
      scf.yield %a, %p, %p : f32, f32, f32
    }
    %r = arith.addf %x#0, %x#1 : f32"""
    result = canonicalized(function(body))
    branch = next(op for op in result.after.walk() if op.name == "scf.if")
    assert len(branch.results) == 1
    agree(result)


def test_the_condition_is_known_in_the_branches(canonicalized: Make) -> None:
    body = """%r = scf.if %c -> (f32) {
      %x = arith.select %c, %a, %a : f32
      %m = arith.addf %x, %x : f32
      %k = arith.select %c, %m, %a : f32
      scf.yield %k : f32
    } else {
      %m = arith.mulf %a, %a : f32
      %k = arith.select %c, %a, %m : f32
      scf.yield %k : f32
    }"""
    result = canonicalized(function(body))
    assert "arith.select" not in result.ops
    agree(result)


def test_empty_ifs_go(canonicalized: Make) -> None:
    body = """scf.if %c {
    } else {
    }
    scf.if %c {
      cf.assert %c, "kept"
    } else {
    }
    %r = arith.addf %a, %a : f32"""
    result = canonicalized(function(body))
    assert result.ops == ["scf.if", "scf.yield", "arith.addf"] or result.ops == ["arith.addf"]
    assert "else" not in result.text


def test_while_that_never_runs(canonicalized: Make) -> None:
    body = """%w:2 = scf.while (%x = %a) : (f32) -> (f32, f32) {
      %y = arith.addf %x, %x : f32
      scf.condition(%false) %x, %y : f32, f32
    } do {
    ^bb0(%p: f32, %q: f32):
      scf.yield %q : f32
    }
    %r = arith.mulf %w#0, %w#1 : f32"""
    result = canonicalized(function(body))
    assert result.ops == ["arith.addf", "arith.mulf"]
    agree(result)


def test_while_carries_what_it_needs(canonicalized: Make) -> None:
    body = """%w:3 = scf.while (%i = %zero, %same = %one, %unused = %a)
        : (index, index, f32) -> (index, index, f32) {
      %go = arith.cmpi slt, %i, %n : index
      scf.condition(%go) %i, %same, %a : index, index, f32
    } do {
    ^bb0(%i: index, %s: index, %z: f32):
      %j = arith.addi %i, %s : index
      scf.yield %j, %s, %z : index, index, f32
    }
    %r = arith.muli %w#0, %w#0 : index"""
    result = canonicalized(function(body, "index"))
    loop = next(op for op in result.after.walk() if op.name == "scf.while")
    assert len(loop.operands) == 1
    assert len(loop.results) == 1
    agree(result)


def test_single_blocks_and_known_cases_are_inlined(canonicalized: Make) -> None:
    body = """%x = scf.execute_region -> f32 {
      %y = arith.addf %a, %a : f32
      scf.yield %y : f32
    }
    %r = scf.index_switch %five -> f32
    case 5 {
      %z = arith.mulf %x, %x : f32
      scf.yield %z : f32
    }
    default {
      scf.yield %a : f32
    }"""
    result = canonicalized(function(body))
    assert result.ops == ["arith.addf", "arith.mulf"]
    agree(result)


def test_empty_parallel_loops(canonicalized: Make) -> None:
    body = """%r = scf.parallel (%i, %j) = (%zero, %five) to (%n, %one) step (%one, %one) init (%a) -> f32 {
      scf.reduce(%a : f32) {
      ^bb0(%x: f32, %y: f32):
        %s = arith.addf %x, %y : f32
        scf.reduce.return %s : f32
      }
    }"""
    result = canonicalized(function(body))
    assert result.ops == []
    agree(result)


def test_forall_bounds_become_static(canonicalized: Make) -> None:
    text = """func.func @f(%t: tensor<5xf32>) -> (tensor<5xf32>, tensor<5xf32>) {
      %zero = arith.constant 0 : index
      %one = arith.constant 1 : index
      %five = arith.constant 5 : index
      %v = arith.constant dense<2.0> : tensor<1xf32>
      %r = scf.forall (%i) = (%zero) to (%five) step (%one) shared_outs(%o = %t) -> (tensor<5xf32>) {
        scf.forall.in_parallel {
          tensor.parallel_insert_slice %v into %o[%i] [1] [1] : tensor<1xf32> into tensor<5xf32>
        }
      }
      %s = scf.forall (%i) in (%zero) shared_outs(%o = %t) -> (tensor<5xf32>) {
        scf.forall.in_parallel {
          tensor.parallel_insert_slice %v into %o[%i] [1] [1] : tensor<1xf32> into tensor<5xf32>
        }
      }
      return %r, %s : tensor<5xf32>, tensor<5xf32>
    }"""
    result = canonicalized(text)
    assert "scf.forall (%i) in (5)" in result.text
    assert result.ops.count("scf.forall") == 1
    before, after = result.run(np.arange(5, dtype=np.float32))
    assert all(np.array_equal(x, y) for x, y in zip(before, after, strict=True))
