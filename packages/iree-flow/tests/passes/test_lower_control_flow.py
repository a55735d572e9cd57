"""lower-control-flow: scf becomes blocks that mean the same; sizes come with tensors over branches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from control_programs import CONTROL
from pass_runs import call, names, run, same

from iree_core_ir.text.printer import print_op
from iree_flow.passes.lower_control_flow import LowerControlFlow


@pytest.mark.parametrize("name", sorted(CONTROL))
@pytest.mark.parametrize("clean", [False, True])
def test_means_the_same(name: str, clean: bool) -> None:
    text, calls = CONTROL[name]
    module = run(text, LowerControlFlow(), clean=clean)
    assert not any(op.startswith("scf.") for op in names(module))
    for inputs in calls:
        same(text, module, *inputs)


def blocks(module: Any) -> list[Any]:
    found: list[Any] = module.regions[0].block.first.regions[0].blocks
    return found


def test_sizes_come_with_tensors_and_those_that_do_not_change_go_again() -> None:
    text, _ = CONTROL["for"]
    plain = blocks(run(text, LowerControlFlow(), clean=False))
    assert [str(a.type) for a in plain[1].args] == ["index", *["tensor<?x3xf32>"] * 2, "index", "index"]
    assert print_op(run(text, LowerControlFlow())).count("flow.tensor.tie_shape") == 2


def test_results_that_are_returned_as_they_are_are_returned_at_once() -> None:
    text, _ = CONTROL["either-input"]
    module = run(text, LowerControlFlow())
    assert names(module).count("func.return") == 2
    assert "cf.br" not in names(module)


def test_loops_of_unsigned_counters() -> None:
    text = """func.func @main(%n: i8) -> i32 {
      %c0 = arith.constant 0 : i8
      %c9 = arith.constant 9 : i8
      %z = arith.constant 0 : i32
      %one = arith.constant 1 : i32
      %r = scf.for unsigned %i = %c0 to %n step %c9 iter_args(%a = %z) -> (i32) : i8 {
        %b = arith.addi %a, %one : i32
        scf.yield %b : i32
      }
      return %r : i32
    }"""
    module = run(text, LowerControlFlow())
    assert int(call(module, np.int8(-56))[0]) == 23  # 200 as an unsigned number
