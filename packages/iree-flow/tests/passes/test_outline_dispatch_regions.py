"""``outline-dispatch-regions``: isolated functions in destination-passing style, identical ones once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from contract import check_dispatch, dispatch_functions
from flow_programs import PROGRAMS, program
from pass_runs import call, floats, run, same

from iree_core_ir.dispatch_function import argument_attributes
from iree_core_ir.interpreter import Interpreter
from iree_core_ir.pass_manager import PassContext, PassManager
from iree_core_ir.verifier import verify
from iree_flow.dialects import flow
from iree_flow.passes.convert_elementwise_to_linalg import ConvertElementwiseToLinalg
from iree_flow.passes.form_dispatch_regions import FormDispatchRegions
from iree_flow.passes.outline_dispatch_regions import OutlineDispatchRegions
from iree_flow.passes.resolve_dims import ResolveDims

PASSES = (ConvertElementwiseToLinalg, ResolveDims, FormDispatchRegions, OutlineDispatchRegions)

TWICE = """
func.func @main(%x: tensor<?x4xf32> {iree.dims = ["n", ""]}) -> (tensor<?x4xf32>, tensor<?x4xf32>, tensor<4x?xf32>) {
  %c0 = arith.constant 0 : index
  %n = tensor.dim %x, %c0 : tensor<?x4xf32>
  %a = math.tanh %x : tensor<?x4xf32> loc("/first")
  %b = math.tanh %a : tensor<?x4xf32> loc("/second")
  %e = tensor.empty(%n) : tensor<4x?xf32>
  %t = linalg.transpose ins(%b : tensor<?x4xf32>) outs(%e : tensor<4x?xf32>) permutation = [1, 0]
  return %a, %b, %t : tensor<?x4xf32>, tensor<?x4xf32>, tensor<4x?xf32>
}
"""


def outlined(text: str, **options: Any) -> Any:
    made = [p(**options) if p is FormDispatchRegions else p() for p in PASSES]
    module = run(text, *made, clean=False)
    for function in dispatch_functions(module):
        check_dispatch(function)
    return module


def dispatches(module: Any) -> list[flow.Dispatch]:
    return [op for op in module.walk() if isinstance(op, flow.Dispatch)]


@pytest.mark.parametrize("n", [0, 1, 3])
def test_identical_functions_are_outlined_once(n: int) -> None:
    module = outlined(TWICE, fusion=False)
    targets = [op.entry_point.root for op in dispatches(module)]
    assert targets == ["main_dispatch_0", "main_dispatch_0", "main_dispatch_1"]
    first = next(op for op in module.walk() if isinstance(op, flow.Executable))
    assert {"/first", "/second"} <= set(first.location.user_text().replace(",", " ").split())
    same(TWICE, module, *floats((n, 4)))


def test_names_tell_function_number_root_and_shape() -> None:
    module = outlined(TWICE, fusion=False)
    names = [function.sym_name.value for function in dispatch_functions(module)]
    assert names == ["main_dispatch_0_elementwise_Dx4", "main_dispatch_1_transpose_4xD"]


def test_the_workload_is_the_result_shape_fastest_first() -> None:
    text = """
func.func @main(%x: tensor<2x3x4x?xf32> {iree.dims = ["", "", "", "n"]}) -> tensor<2x3x4x?xf32> {
  %a = math.tanh %x : tensor<2x3x4x?xf32>
  return %a : tensor<2x3x4x?xf32>
}"""
    module = outlined(text)
    (op,) = dispatches(module)
    x, y, z = op.workload
    assert x.defining_op.name == "tensor.dim"
    values = [value.defining_op.attributes["value"].value for value in (y, z)]
    assert values == [4, 6]


def test_access_and_destinations() -> None:
    module, constants, _ = program("tied")
    PassManager([p() for p in PASSES]).run(module, PassContext(constants=constants, options={}))
    access = []
    for function in dispatch_functions(module):
        check_dispatch(function)
        found = (facts.get("iree.access") for facts in argument_attributes(function))
        access.append([a.value for a in found if a is not None])  # type: ignore[attr-defined]
    assert any("readwrite" in row for row in access)
    ties = [[op.tied(i) for i in range(len(op.results))] for op in dispatches(module)]
    assert any(tie != flow.UNTIED for row in ties for tie in row)


def test_constants_are_arguments_and_marked() -> None:
    module, constants, _ = program("matmul")
    PassManager([p() for p in PASSES]).run(module, PassContext(constants=constants, options={}))
    marked = [
        sum(facts.get("iree.constant") is not None for facts in argument_attributes(function))
        for function in dispatch_functions(module)
    ]
    assert sum(marked) == 2


@pytest.mark.parametrize("name", sorted(PROGRAMS))
def test_programs_keep_their_meaning(name: str) -> None:
    module, constants, inputs = program(name)
    expected = Interpreter(module, constants).call("main", *inputs)
    PassManager([p() for p in PASSES]).run(module, PassContext(constants=constants, options={}))
    verify(module)
    for function in dispatch_functions(module):
        check_dispatch(function)
    for a, b in zip(call(module, *inputs, constants=constants), expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-6, atol=1e-6)
