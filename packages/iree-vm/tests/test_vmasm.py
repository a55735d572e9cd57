"""The text programs in ``vmasm/``: exports ``test_*`` must return, ``fail_*`` end in a coded error."""

from __future__ import annotations

from pathlib import Path

import pytest

from iree_vm import Context, VmError
from iree_vm.bytecode import encoding
from iree_vm.bytecode.assembler import assemble
from iree_vm.bytecode.disassembler import disassemble
from iree_vm.bytecode.program import Program

FILES = sorted((Path(__file__).parent / "vmasm").glob("*.vmasm"))
PROGRAMS = {path.stem: assemble(path.read_text(), path.name) for path in FILES}
CASES = [(name, export.name) for name, program in PROGRAMS.items() for export in program.exports]


@pytest.mark.parametrize(("program", "function"), CASES)
def test_function(program: str, function: str) -> None:
    context = Context([PROGRAMS[program]])
    if function.startswith("fail_"):
        with pytest.raises(VmError):
            context.call(f"{program}.{function}")
    else:
        context.call(f"{program}.{function}")


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_forms_agree(program: Program) -> None:
    data = encoding.encode(program)  # bytes, since NaN differs from itself
    assert encoding.encode(assemble(disassemble(program))) == data
    assert encoding.encode(encoding.decode(data)) == data
