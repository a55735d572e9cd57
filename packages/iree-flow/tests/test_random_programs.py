"""Random programs mean the same after every phase, and every dispatch keeps the contract."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from contract import check_dispatch, dispatch_functions
from hypothesis import HealthCheck, given, settings
from random_programs import RandomProgram, programs

from iree_core_ir.interpreter import Interpreter
from iree_core_ir.verifier import verify
from iree_flow.options import CompileOptions
from iree_flow.pipeline import PHASE_NAMES, PHASES
from iree_flow.session import Session

INTERPRETED = PHASE_NAMES[: PHASE_NAMES.index("stream") + 1]


def session(constants: Any, **options: Any) -> Session:
    made = Session(CompileOptions.from_arguments("fixture", options))
    made.constants = constants
    made.load_targets()
    return made


@pytest.mark.parametrize("fusion", [True, False])
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(program=programs())
def test_every_phase_keeps_the_meaning(fusion: bool, program: RandomProgram) -> None:
    module, constants, inputs = program.module, program.constants, program.inputs
    verify(module)
    expected = Interpreter(module, constants).call("main", *inputs)
    made = session(constants, fusion=fusion)
    for phase in INTERPRETED:
        PHASES[phase](module, made)
        verify(module)
        for function in dispatch_functions(module):
            check_dispatch(function)
        got = Interpreter(module, constants).call("main", *inputs)
        for a, b in zip(got, expected, strict=True):
            assert a.shape == b.shape and a.dtype == b.dtype, phase
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=2e-6, err_msg=phase)
