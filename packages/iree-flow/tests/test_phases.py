"""Every phase down to stream keeps the meaning; every phase file continues to the same artefact."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flow_programs import PROGRAMS, program

from iree_core_ir.interpreter import Interpreter
from iree_core_ir.text.parser import parse_module
from iree_core_ir.text.printer import print_op
from iree_core_ir.verifier import verify
from iree_flow import compiler
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
@pytest.mark.parametrize("name", sorted(PROGRAMS))
def test_every_phase_keeps_the_meaning(name: str, fusion: bool) -> None:
    module, constants, inputs = program(name)
    expected = Interpreter(module, constants).call("main", *inputs)
    made = session(constants, fusion=fusion)
    for phase in INTERPRETED:
        PHASES[phase](module, made)
        verify(module)
        text = print_op(module)
        assert print_op(parse_module(text, constants=constants)) == text, phase
        got = Interpreter(module, constants).call("main", *inputs)
        for a, b in zip(got, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-6, atol=1e-6, err_msg=phase)


@pytest.mark.parametrize("name", sorted(PROGRAMS))
def test_phase_files_continue_to_the_same_bytes(name: str, tmp_path: Path) -> None:
    def artifact(source: Any, **options: Any) -> bytes:
        module, constants, _ = program(name)
        made = session(constants, **options)
        if source is not None:
            from iree_flow.phase_file import read_phase

            module = read_phase(source, made)
            first = PHASE_NAMES.index(options["compile_from"]) + 1
        else:
            first = 0
        out = tmp_path / "out.vmfb"
        compiler.run(module, made, first).save(out)
        return out.read_bytes()

    direct = artifact(None)
    for phase in PHASE_NAMES:
        module, constants, _ = program(name)
        stopped = compiler.run(module, session(constants, compile_to=phase), 0)
        path = tmp_path / f"{phase}.mlir"
        stopped.save(path)
        assert artifact(path, compile_from=phase) == direct, phase
