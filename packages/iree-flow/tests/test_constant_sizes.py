"""A dim that a type leaves open may turn out to be a number: dispatches get it like any other size."""

from __future__ import annotations

from typing import Any

import numpy as np
from control_programs import FOR
from fixture_device import FixtureDevice

import iree_vm
from iree_core_ir.constants import ConstantStore
from iree_core_ir.interpreter import Interpreter
from iree_core_ir.text.parser import parse_module
from iree_flow import compiler
from iree_flow.options import CompileOptions
from iree_flow.session import Session


def test_a_loop_of_known_length_over_a_tensor_of_open_size() -> None:
    text = FOR.replace("%n = arith.index_cast %t : i64 to index", "%n = arith.constant 4 : index")
    session = Session(CompileOptions.from_arguments(("fixture",), {}))
    session.load_targets()
    artifact: Any = compiler.run(parse_module(text, constants=session.constants), session, 0)
    x = np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3)
    store = ConstantStore()
    wanted: Any = Interpreter(parse_module(text, constants=store), store).call("main", x, np.array(9))
    found: Any = iree_vm.load(artifact, device=FixtureDevice()).main(x, np.array(9))
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-6)
