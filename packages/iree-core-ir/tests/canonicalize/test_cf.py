"""cf: known branches are taken, blocks joined; what the program computes stays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

Make = Callable[[str], Any]


def agree(result: Any) -> None:
    for c in (False, True):
        for x in (0, 1, 2, 5):
            before, after = result.run(np.bool_(c), np.int32(x))
            assert before == after


def function(body: str) -> str:
    return f"func.func @f(%c: i1, %x: i32) -> i32 {{\n %true = arith.constant true\n {body}\n}}"


@pytest.mark.parametrize(
    ("body", "ops"),
    [
        ("cf.br ^bb1(%x : i32)\n ^bb1(%y: i32):\n return %y : i32", []),
        (
            """cf.cond_br %true, ^bb1, ^bb2
            ^bb1:
              return %x : i32
            ^bb2:
              %z = arith.muli %x, %x : i32
              return %z : i32""",
            [],
        ),
        ("cf.cond_br %c, ^bb1(%x : i32), ^bb1(%x : i32)\n ^bb1(%y: i32):\n return %y : i32", []),
        (
            """%z = arith.muli %x, %x : i32
            cf.cond_br %c, ^bb1(%x : i32), ^bb1(%z : i32)
            ^bb1(%y: i32):
              return %y : i32""",
            ["arith.muli", "arith.select"],
        ),
        (
            """cf.cond_br %c, ^bb1, ^bb2
            ^bb1:
              cf.br ^bb3(%x : i32)
            ^bb2:
              %z = arith.muli %x, %x : i32
              cf.br ^bb3(%z : i32)
            ^bb3(%y: i32):
              return %y : i32""",
            ["cf.cond_br", "arith.muli", "cf.br"],
        ),
        (
            """%k = arith.constant 2 : i32
            cf.switch %k : i32, [ default: ^bb1(%x : i32), 2: ^bb2 ]
            ^bb1(%y: i32):
              return %y : i32
            ^bb2:
              %z = arith.addi %x, %k : i32
              cf.br ^bb1(%z : i32)""",
            ["arith.addi"],
        ),
        (
            """cf.switch %x : i32, [ default: ^bb1(%x : i32), 7: ^bb1(%x : i32) ]
            ^bb1(%y: i32):
              return %y : i32""",
            [],
        ),
        ('cf.assert %true, "never"\n return %x : i32', []),
    ],
)
def test_simplified(canonicalized: Make, body: str, ops: list[str]) -> None:
    result = canonicalized(function(body))
    assert result.ops == ops
    agree(result)


def test_the_condition_is_known_behind_the_branch(canonicalized: Make) -> None:
    body = """cf.cond_br %c, ^bb1, ^bb2
    ^bb1:
      %y = arith.select %c, %x, %x : i32
      %s = arith.addi %y, %x : i32
      %k = arith.select %c, %s, %x : i32
      return %k : i32
    ^bb2:
      %m = arith.muli %x, %x : i32
      %n = arith.select %c, %x, %m : i32
      return %n : i32"""
    result = canonicalized(function(body))
    assert "arith.select" not in result.ops
    agree(result)


def test_loops_stay(canonicalized: Make) -> None:
    body = """%zero = arith.constant 0 : i32
      %one = arith.constant 1 : i32
      cf.br ^head(%x, %zero : i32, i32)
    ^head(%i: i32, %sum: i32):
      %go = arith.cmpi sgt, %i, %zero : i32
      cf.cond_br %go, ^body, ^end
    ^body:
      %next = arith.subi %i, %one : i32
      %more = arith.addi %sum, %i : i32
      cf.br ^head(%next, %more : i32, i32)
    ^end:
      return %sum : i32"""
    result = canonicalized(function(body))
    agree(result)
    assert "cf.cond_br" in result.ops


def test_an_endless_loop_does_not_hang_the_compiler(canonicalized: Make) -> None:
    result = canonicalized(
        "func.func @f(%c: i1) {\n cf.cond_br %c, ^bb1, ^bb2\n ^bb1:\n cf.br ^bb1\n ^bb2:\n return\n}"
    )
    assert result.run(np.bool_(False)) == ((), ())


def test_arguments_that_say_nothing_are_dropped(canonicalized: Make) -> None:
    """One that is the same on every way, and one that only goes round; the counter stays."""
    result = canonicalized(
        function(
            """%zero = arith.constant 0 : i32
            %one = arith.constant 1 : i32
            cf.br ^bb1(%zero, %x, %one : i32, i32, i32)
            ^bb1(%i: i32, %same: i32, %unused: i32):
              %more = arith.cmpi slt, %i, %same : i32
              cf.cond_br %more, ^bb2, ^bb3
            ^bb2:
              %next = arith.addi %i, %one : i32
              cf.br ^bb1(%next, %same, %unused : i32, i32, i32)
            ^bb3:
              %s = arith.addi %same, %i : i32
              return %s : i32"""
        )
    )
    agree(result)
    body = result.after.body.block.first.regions[0]
    assert [len(block.args) for block in body.blocks] == [2, 1, 0, 0]


def test_tensors_are_chosen_by_branches(canonicalized: Make) -> None:
    """No select: it would read and write every element."""
    text = """func.func @f(%c: i1, %x: tensor<2xf32>, %y: tensor<2xf32>) -> tensor<2xf32> {
      cf.cond_br %c, ^bb1(%x : tensor<2xf32>), ^bb1(%y : tensor<2xf32>)
    ^bb1(%z: tensor<2xf32>):
      return %z : tensor<2xf32>
    }"""
    assert "arith.select" not in canonicalized(text).ops
