"""``place``: every target is asked about every dense op; refusals come together, with their sources."""

from __future__ import annotations

from typing import Any

import pytest
from fixture_target import FixtureTarget
from pass_runs import run

from iree_core_ir.target import Support
from iree_flow.errors import FlowError
from iree_flow.passes.place import Place
from iree_flow.report import CompileReport

TEXT = """
func.func @main(%x: tensor<4x4xf32>) -> (tensor<4x4xf32>, index) {
  %zero = arith.constant 0.0 : f32
  %c1 = arith.constant 1 : index
  %i = arith.addi %c1, %c1 : index
  %e = tensor.empty() : tensor<4x4xf32>
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<4x4xf32>) -> tensor<4x4xf32> loc("/zero")
  %a = linalg.matmul ins(%x, %x : tensor<4x4xf32>, tensor<4x4xf32>) outs(%f : tensor<4x4xf32>) -> tensor<4x4xf32> loc("/a")
  %b = linalg.matmul ins(%a, %x : tensor<4x4xf32>, tensor<4x4xf32>) outs(%f : tensor<4x4xf32>) -> tensor<4x4xf32> loc("/b")
  %r = tensor.collapse_shape %b [[0, 1]] : tensor<4x4xf32> into tensor<16xf32>
  %s = tensor.expand_shape %r [[0, 1]] output_shape [4, 4] : tensor<16xf32> into tensor<4x4xf32>
  return %s, %i : tensor<4x4xf32>, index
}
"""


class Reluctant(FixtureTarget):
    name = "reluctant"

    def query_support(self, op: Any, description: Any) -> Support:
        return Support.partly("slowly", "and only today") if op.name == "linalg.matmul" else Support.yes()


def place(*targets: Any) -> CompileReport:
    report = CompileReport()
    run(TEXT, Place(), report=report, targets=[(target, target.describe({})) for target in targets])
    return report


def test_dense_ops_only_and_each_target_in_turn() -> None:
    report = place(FixtureTarget(), Reluctant())
    rows = [(row.target, row.name, row.sources) for row in report.placement]
    ops = [("linalg.fill", ["/zero"]), ("linalg.matmul", ["/a"]), ("linalg.matmul", ["/b"])]
    assert rows == [(target, *op) for target in ("fixture", "reluctant") for op in ops]
    assert {row.why for row in report.placement} == {"supported", "slowly; and only today"}


def test_all_refusals_of_all_targets_at_once() -> None:
    picky = FixtureTarget("picky", refuses="linalg.matmul")
    with pytest.raises(FlowError) as error:
        place(FixtureTarget(), picky, FixtureTarget("other", refuses="linalg.fill"))
    text = str(error.value)
    assert error.value.number == 7
    assert text.count("not today") == 3
    assert all(place in text for place in ("/a", "/b", "/zero"))
    assert "refuse 3 op" in text
    assert "'linalg.matmul' by picky" in text
    assert "'linalg.fill' by other" in text


def test_without_a_report() -> None:
    target = FixtureTarget()
    run(TEXT, Place(), targets=[(target, target.describe({}))])
