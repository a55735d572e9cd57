"""``apply-constant-layouts``: what a target wishes is stored so, and says so; nothing changes its meaning."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from contract import dispatch_functions
from fixture_target import FixtureTarget, LatticeTarget
from flow_programs import program
from pass_runs import call

from iree_core_ir.dialects import arith
from iree_core_ir.dispatch_function import argument_attributes
from iree_core_ir.interpreter import Interpreter
from iree_core_ir.pass_manager import PassContext, PassManager
from iree_core_ir.passes.canonicalize import Canonicalize
from iree_core_ir.verifier import verify
from iree_flow.dialects import flow
from iree_flow.passes.apply_constant_layouts import ApplyConstantLayouts
from iree_flow.passes.form_dispatch_regions import FormDispatchRegions
from iree_flow.passes.outline_dispatch_regions import OutlineDispatchRegions
from iree_flow.passes.resolve_dims import ResolveDims


def applied(module: Any, constants: Any, target: Any) -> None:
    options = {"target": target, "description": target.describe({})}
    passes = [
        ResolveDims(),
        FormDispatchRegions(),
        OutlineDispatchRegions(),
        ApplyConstantLayouts(),
        Canonicalize(),
    ]
    PassManager(passes).run(module, PassContext(constants=constants, options=options))
    verify(module)


def packed(module: Any) -> list[Any]:
    found = []
    for function in dispatch_functions(module):
        for arg, facts in zip(function.regions[0].block.args, argument_attributes(function), strict=True):
            attribute: Any = facts.get("iree.packed")
            if attribute is not None:
                found.append((arg.type, json.loads(attribute.value)))
    return found


def test_the_argument_keeps_its_type_and_the_memory_is_turned() -> None:
    module, constants, _ = program("matmul")
    original = constants.array("w")
    applied(module, constants, LatticeTarget())
    ((type, layout),) = packed(module)
    assert str(type) == "tensor<8x4xf32>"
    assert layout == {"kind": "transpose", "parameters": {"permutation": [1, 0]}}
    stored = [
        op.attributes["value"]
        for op in module.walk()
        if isinstance(op, arith.Constant) and str(op.result.type) == "tensor<4x8xf32>"
    ]
    (value,) = {attribute.key for attribute in stored}
    np.testing.assert_array_equal(constants.array(value), original.T)


def test_a_target_without_wishes_changes_nothing() -> None:
    module, constants, _ = program("matmul")
    applied(module, constants, FixtureTarget())
    assert packed(module) == []
    assert set(constants) == set(program("matmul")[1])


@pytest.mark.parametrize("name", ["matmul", "diamond", "layer-norm"])
def test_the_interpreter_reads_the_layout(name: str) -> None:
    module, constants, inputs = program(name)
    expected = Interpreter(module, constants).call("main", *inputs)
    applied(module, constants, LatticeTarget())
    for a, b in zip(call(module, *inputs, constants=constants), expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-6, atol=1e-6)


def test_one_constant_for_all_users_of_a_layout() -> None:
    module, constants, _ = program("diamond")
    applied(module, constants, LatticeTarget())
    keys = [key for key in constants if constants[key].kind == "transform"]
    turned = {tuple(constants[key].sources) for key in keys}
    assert len(turned) == len(keys)
    assert all(isinstance(op.entry_point.root, str) for op in module.walk() if isinstance(op, flow.Dispatch))
