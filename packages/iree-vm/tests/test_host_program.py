"""What ``HostProgram`` writes: shared globals once, two exports a function, mistakes coded."""

from __future__ import annotations

import pytest
from vm_models import add_function, tensor

from iree_vm import VmError
from iree_vm.artifact import Dim, FunctionSpec
from iree_vm.bytecode.disassembler import disassemble
from iree_vm.host_program import HostProgram

SPEC = FunctionSpec("main", (tensor("a", "n", "n"), tensor("b", "n", 4)), (tensor("y", "n"),))


def program() -> HostProgram:
    made = HostProgram("m", dims={"n": Dim(1, 9)})
    add_function(made, SPEC, lambda f: f.dim("n"))
    return made


def test_each_function_has_a_synchronous_and_an_asynchronous_export() -> None:
    finished = program().finish()
    signatures = {e.name: str(finished.functions[e.function].signature) for e in finished.exports}
    assert signatures == {
        "main": "(ref, ref, ref) -> (ref)",
        "main$async": "(ref, ref, ref, ref, ref) -> (ref)",
    }


def test_globals_are_made_once_and_never_change_afterwards() -> None:
    made = HostProgram("m")
    assert made.device() == made.device()
    assert made.executable(0) == made.executable(0)
    assert made.constant(1) == made.constant(1)
    state = made.state("cache", 64)
    made.init.call("hal.device.get", made.init.const_i64(0))
    globals_ = {g.name: g.mutable for g in made.finish().globals}
    assert globals_ == {made.device(): False, made.executable(0): False, made.constant(1): False, state: True}


def test_inputs_are_checked_in_the_program_itself() -> None:
    text = disassemble(program().finish())
    assert text.count("@hal.buffer_view.assert(%") == 2
    assert text.count("@hal.dim.assert(%") == 1
    assert "dimension 'n' has two sizes in one input" in text
    assert text.count("\nrodata @text.") == 4


def test_equal_programs_are_equal_bytes() -> None:
    assert program().serialize() == program().serialize()


def test_unknown_dimensions_are_coded() -> None:
    f = HostProgram("m").function(SPEC)
    with pytest.raises(VmError, match=r"IREE-VM-016.*'k'"):
        f.dim("k")
