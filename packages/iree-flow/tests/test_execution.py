"""Programs compiled for the targets of the tests run on a device of the tests, as on any: through the artefact,
the VM and command buffers. What a target asks for (layouts, alignment, features) holds when they run.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from fixture_device import FixtureDevice
from flow_programs import PROGRAMS, constants, program
from hypothesis import HealthCheck, given, settings
from random_programs import RandomProgram, programs

import iree_vm
from iree_core_ir.interpreter import Interpreter
from iree_core_ir.text.parser import parse_module
from iree_flow import compiler
from iree_flow.options import CompileOptions
from iree_flow.session import Session

BOTH = ("fixture", "lattice")
DEVICES = {"fixture": ((), 1), "lattice": (("lattice:grid",), 256)}


def compiled(module: Any, store: Any, target: Any = BOTH) -> Any:
    session = Session(CompileOptions.from_arguments(target, {}))
    session.constants = store
    session.load_targets()
    return compiler.run(module, session, 0)


def results(module: iree_vm.Module, inputs: Any) -> tuple[Any, ...]:
    found = module.main(*inputs)
    return found if isinstance(found, tuple) else (found,)


def check(found: Any, expected: Any) -> None:
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize("target", BOTH)
@pytest.mark.parametrize("name", sorted(PROGRAMS))
def test_programs(name: str, target: str) -> None:
    module, store, inputs = program(name)
    expected = Interpreter(module, store).call("main", *inputs)
    device = FixtureDevice(*DEVICES[target])
    loaded = iree_vm.load(compiled(module, store), device=device)
    # Without its feature the device of one target runs the other's variant, with it the richer one.
    assert loaded.variant is not None
    assert loaded.variant.name == target
    check(results(loaded, inputs), expected)
    segments = [loaded.artifact.manifest.constants[i].bytes for i in loaded.variant.constants]
    assert device.uploaded == sum(segments)


SLICES = """
func.func @main(%x: tensor<?x3xf32> {iree.name = "x", iree.dims = ["n", ""]}, %i: tensor<1xi64> {iree.name = "i"})
    -> (tensor<2x3xf32> {iree.name = "a"}, tensor<1x3xf32> {iree.name = "b"}, tensor<3xf32> {iree.name = "c"}) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %k = arith.constant dense_resource<w> : tensor<8x4xf32>
  %n = tensor.dim %x, %c0 : tensor<?x3xf32>
  %j = tensor.extract %i[%c0] : tensor<1xi64>
  %at = arith.index_cast %j : i64 to index
  %y = math.tanh %x : tensor<?x3xf32>
  %s = tensor.extract_slice %y[1, 0] [2, 3] [1, 1] : tensor<?x3xf32> to tensor<2x3xf32>
  %a = math.exp %s : tensor<2x3xf32>
  %t = tensor.extract_slice %x[%at, 0] [1, 3] [1, 1] : tensor<?x3xf32> to tensor<1x3xf32>
  %b = math.absf %t : tensor<1x3xf32>
  %u = tensor.extract_slice %k[3, 0] [1, 3] [1, 1] : tensor<8x4xf32> to tensor<3xf32>
  %c = math.absf %u : tensor<3xf32>
  return %a, %b, %c : tensor<2x3xf32>, tensor<1x3xf32>, tensor<3xf32>
}
"""


@pytest.mark.parametrize("target", BOTH)
def test_slices_of_inputs_temporaries_and_constants(target: str) -> None:
    """Where a device binds nothing in the middle of a buffer, slices that may begin there are copied."""
    store = constants()
    device = FixtureDevice(*DEVICES[target])
    loaded = iree_vm.load(compiled(parse_module(SLICES, constants=store), store), device=device)
    w = store.array("w")
    for n, at in ((4, 0), (5, 3), (90, 64)):
        x = np.random.default_rng(n).standard_normal((n, 3)).astype(np.float32)
        expected = (np.exp(np.tanh(x[1:3])), np.abs(x[at : at + 1]), np.abs(w[3, :3]))
        check(results(loaded, (x, np.array([at]))), expected)


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(drawn=programs())
def test_random_programs(drawn: RandomProgram) -> None:
    expected = Interpreter(drawn.module, drawn.constants).call("main", *drawn.inputs)
    artifact = compiled(drawn.module, drawn.constants)
    for target in BOTH:
        device = FixtureDevice(*DEVICES[target])
        check(results(iree_vm.load(artifact, device=device), drawn.inputs), expected)


def test_a_device_without_the_feature_takes_the_plainer_variant() -> None:
    module, store, _ = program("matmul")
    choice = iree_vm.load(compiled(module, store), device=FixtureDevice()).choice
    assert [(row.name, row.taken) for row in choice.rows] == [("fixture", True), ("lattice", False)]
    assert "lacks lattice:grid" in str(choice)
