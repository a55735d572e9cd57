"""Host control flow with device work in it: every phase means what the source means, and so does the artefact."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from control_programs import CONTROL
from fixture_device import FixtureDevice

import iree_vm
from iree_core_ir.constants import ConstantStore
from iree_core_ir.dialects import scf
from iree_core_ir.dialects.func import FuncOp
from iree_core_ir.interpreter import Interpreter
from iree_core_ir.text.parser import parse_module
from iree_core_ir.text.printer import print_op
from iree_flow import compiler
from iree_flow.options import CompileOptions
from iree_flow.session import Session

TARGETS = ("fixture", "lattice")
DEVICES = {"fixture": ((), 1), "lattice": (("lattice:grid",), 256)}
INTERPRETED = ("placement", "global-optimization", "dispatch-creation", "stream")


def session(*targets: str, **arguments: Any) -> Session:
    made = Session(CompileOptions.from_arguments(targets, arguments))
    made.load_targets()
    return made


def expected(text: str, inputs: Any) -> tuple[Any, ...]:
    store = ConstantStore()
    found: Any = Interpreter(parse_module(text, constants=store), store).call("main", *inputs)
    return found if isinstance(found, tuple) else (found,)


def check(found: Any, wanted: Any) -> None:
    for a, b in zip(found if isinstance(found, tuple) else (found,), wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize("name", sorted(CONTROL))
def test_each_phase_means_the_same_and_reads_back(name: str) -> None:
    text, calls = CONTROL[name]
    for phase in INTERPRETED:
        own = session("fixture", compile_to=phase)
        module: Any = compiler.run(parse_module(text, constants=own.constants), own, 0)
        module = module.module
        functions = [op for op in module.regions[0].block if isinstance(op, FuncOp)]
        host = [op for function in functions for block in function.regions[0].blocks for op in block]
        assert not any(isinstance(op, (scf.If, scf.For, scf.While)) for op in host)
        again = parse_module(print_op(module), constants=own.constants)
        for inputs in calls:
            check(Interpreter(again, own.constants).call("main", *inputs), expected(text, inputs))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", sorted(CONTROL))
def test_compiled(name: str, target: str) -> None:
    text, calls = CONTROL[name]
    own = session(*TARGETS)
    artifact = compiler.run(parse_module(text, constants=own.constants), own, 0)
    loaded = iree_vm.load(artifact, device=FixtureDevice(*DEVICES[target]))
    for inputs in [*calls, *calls]:
        wanted = expected(text, inputs)
        check(loaded.main(*inputs), wanted)
        out = [np.full_like(a, -7) for a in wanted]
        names = [output.name for output in loaded.main.signature.outputs]
        loaded.main(*inputs, out=dict(zip(names, out, strict=True)))
        check(tuple(out), wanted)
