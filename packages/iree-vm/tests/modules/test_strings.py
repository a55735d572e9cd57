"""The host module ``strings`` called from bytecode."""

from __future__ import annotations

import pytest

from iree_hal import plugins
from iree_vm import Context, VmError
from iree_vm.bytecode.assembler import assemble
from iree_vm.modules.strings import MODULE

TEXT = """module @m
import @strings.concat([ref]...) -> (ref) version 1
import @strings.format.i64(i64) -> (ref)
import @strings.format.f64(f64) -> (ref)
import @strings.print(ref)
rodata @and = " and "
func @say(%l0, %d0) {
  %r0 = call @strings.format.i64(%l0)
  %r1 = const.ref.rodata @and
  %r2 = call @strings.format.f64(%d0)
  %r3 = call.variadic @strings.concat([%r0, %r1, %r2])
  call @strings.print(%r3)
  return
}
func @wrong() {
  %r0 = const.ref.zero
  call @strings.print(%r0)
  return
}
export @say
export @wrong
"""


def test_say(capsys: pytest.CaptureFixture[str]) -> None:
    context = Context([MODULE, assemble(TEXT)])
    context.call("m.say", -3, 0.1)
    assert capsys.readouterr().out == "-3 and 0.1\n"
    with pytest.raises(VmError, match=r"IREE-VM-009"):
        context.call("m.wrong")


def test_it_is_found_through_the_plugin() -> None:
    assert plugins().get("iree_vm_modules", "strings", "VM module") is MODULE
