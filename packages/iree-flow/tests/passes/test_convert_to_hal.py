"""``convert-to-hal``: regions become recordings whose parameter programs compute what the host computed."""

from __future__ import annotations

from typing import Any

import pytest
from flow_programs import PROGRAMS, program

from iree_core_ir.dialects import arith
from iree_core_ir.dialects.func import FuncOp
from iree_core_ir.ir.types import TensorType
from iree_core_ir.text.parser import parse_module
from iree_core_ir.verifier import verify
from iree_flow.arena import aligned
from iree_flow.options import CompileOptions
from iree_flow.pipeline import PHASES
from iree_flow.session import Session
from iree_hal.compiler import dialect as hal
from iree_hal.compiler.recordings import record
from iree_hal.recording import ARENA_BYTES, Copy, Dispatch, Recording


def converted(name: str, target: str = "fixture") -> Any:
    module, constants, _ = program(name)
    session = Session(CompileOptions.from_arguments(target, {}))
    session.constants = constants
    session.load_targets()
    for phase in PHASES.values():
        phase(module, session.view(target))
    verify(module)
    return module


def recordings(module: Any) -> dict[str, Recording]:
    """By name; executables numbered in order of first use."""
    made = {}
    for op in module.body.block:
        if isinstance(op, hal.CommandBuffer):
            numbers: dict[str, int] = {}
            made[op.sym_name.value] = record(
                op,
                lambda entry, n=numbers: (n.setdefault(entry.root, len(n)), 0),  # type: ignore[misc]
            )
    return made


@pytest.mark.parametrize("name", sorted(PROGRAMS))
def test_functions_work_on_views_and_nothing_of_stream_is_left(name: str) -> None:
    module = converted(name)
    functions = [op for op in module.body.block if isinstance(op, FuncOp)]
    for function in functions:
        types = [arg.type for arg in function.regions[0].block.args]
        assert not any(isinstance(type, TensorType) for type in types)
        signature: Any = function.attributes["hal.signature"]
        assert any(isinstance(type, TensorType) for type in signature.value.results)
        views = sum(isinstance(op, hal.BufferViewAssert) for op in function.walk())
        assert views == len(types)
    left = {op.name for op in module.walk() if op.dialect in ("stream", "flow", "linalg")}
    assert left <= {"stream.constant.segment"}


@pytest.mark.parametrize("rows", [0, 1, 5, 1000])
def test_one_recording_serves_every_size(rows: int) -> None:
    """The program's sizes against what the columns and a temporary of 8 of 4 bytes, aligned, come to."""
    (recording,) = recordings(converted("matmul")).values()
    assert recording.n_inputs == 1
    values = recording.evaluate([rows])
    arena = values[recording.outputs[ARENA_BYTES]]
    assert arena == aligned(32 * rows)
    for command in recording.commands:
        if isinstance(command, Dispatch):
            for reference in command.bindings:
                offset, length = values[reference.offset], values[reference.length]
                assert offset >= 0
                assert length in (32 * rows, 16 * rows, 128, 16)
                if reference.slot == 0:
                    assert offset + length <= arena


def test_returned_inputs_are_copied_by_a_command() -> None:
    copies = [
        c for r in recordings(converted("pass-through")).values() for c in r.commands if isinstance(c, Copy)
    ]
    assert len(copies) == 3


def test_every_binding_of_the_call_has_its_slot() -> None:
    for name in PROGRAMS:
        module = converted(name)
        made = recordings(module)
        for op in module.walk():
            if isinstance(op, hal.QueueExecute):
                recording = made[op.command_buffer.root]
                assert len(op.bindings) == recording.n_bindings - 1
                assert len(op.params) == recording.n_inputs
                data = recording.serialize()
                assert Recording.deserialize(data).commands == recording.commands


def test_float_scalars_travel_as_bits() -> None:
    text = """
func.func @main(%x: tensor<4xf32>, %k: f32) -> tensor<4xf32> {
  %e = tensor.empty() : tensor<4xf32>
  %r = linalg.generic {indexing_maps = [affine_map<(i) -> (i)>, affine_map<(i) -> ()>, affine_map<(i) -> (i)>],
      iterator_types = ["parallel"]} ins(%x, %k : tensor<4xf32>, f32) outs(%e : tensor<4xf32>) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %s = arith.mulf %a, %b : f32
    linalg.yield %s : f32
  } -> tensor<4xf32>
  return %r : tensor<4xf32>
}"""
    module = parse_module(text)
    session = Session(CompileOptions.from_arguments("fixture", {}))
    session.load_targets()
    for phase in PHASES.values():
        phase(module, session.view("fixture"))
    casts = [op for op in module.walk() if isinstance(op, arith.Bitcast)]
    assert [str(op.results[0].type) for op in casts] == ["i32"]
    (recording,) = recordings(module).values()
    assert recording.n_inputs == 1
