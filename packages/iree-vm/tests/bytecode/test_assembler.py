"""Text and back; syntax errors say where."""

from __future__ import annotations

import pytest
from programs import random_program

from iree_vm import Context, VmError
from iree_vm.bytecode.assembler import assemble
from iree_vm.bytecode.disassembler import disassemble
from iree_vm.bytecode.verifier import verify

EXAMPLE = """
module @demo version 1
import optional @other.function(ref, [i64]..., [i32, f32]...) -> (i32) version 2  // a comment
global @count : i64 mutable = 3
global @scale : f32 = 0.1
rodata @greeting align 64 = "te\\"xt" hex "00ff" i32 [1, -2] f64 [0.5]
func @loop(%i0, %r0) -> (i32) {
  %f0 = global.load.f32 @scale
  br ^head(%i0)
^done:
  %l0 = const.i64 -9223372036854775808
  %i9 = call.variadic @other.function(%r0, [%l0, %l0], [%i0, %f0])
  global.store.i64 %l0, @count
  cond_fail %i9, "no good"
  return %i3
^head(%i1):
  %i2 = const.i32 -1
  %i3 = add.i32 %i1, %i2
  cond_br %i3, ^head(%i3), ^done
}
export @loop
export @again = @loop
"""


def test_example_means_what_it_says() -> None:
    program = assemble(EXAMPLE)
    verify(program)
    assert (program.name, program.version) == ("demo", 1)
    assert (
        bytes(program.rodata[0].data) == b'te"xt\x00\xff\x01\0\0\0\xfe\xff\xff\xff' + bytes(6) + b"\xe0\x3f"
    )
    assert program.functions[0].blocks[1].instructions[1].operands[2] == (2, 1)
    with pytest.raises(VmError, match=r"IREE-VM-005.*other\.function"):
        Context([program]).call("demo.loop", 3, None)


def test_text_round_trip_of_the_example() -> None:
    program = assemble(EXAMPLE)
    text = disassemble(program)
    assert assemble(text) == program
    assert disassemble(assemble(text)) == text


@pytest.mark.parametrize("seed", range(20))
def test_assemble_inverts_disassemble(seed: int) -> None:
    program = random_program(seed)
    assert assemble(disassemble(program)) == program


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("func", 1, "expected 'module'"),
        ("module @m\nfrob", 2, "unexpected 'frob'"),
        ("module @m\nfunc @f() {\n  nop\n}", 3, "unknown op 'nop'"),
        ("module @m\nfunc @f() {\n  %i0 = add.i32 %i0\n}", 4, "expected ','"),
        ("module @m\nfunc @f() {\n  add.i32 %i0, %i0\n}", 3, "has 1 result"),
        ("module @m\nfunc @f() {\n  br ^x\n}", 3, "no block ^x"),
        ("module @m\nfunc @f() {\n^a:\n return\n^a:\n return\n}", 5, "defined twice"),
        ("module @m\nfunc @f() {\n  call @g()\n}", 3, "no function or import @g"),
        ("module @m\nglobal @g : i32\nglobal @g : i32", 3, "defined twice"),
        ("module @m\nglobal @g : i31", 2, "unknown type"),
        ("module @m\nglobal @g : i32 = 4294967296", 2, "does not fit"),
        ("module @m\nglobal @g : i32 = 1.5", 2, "is no i32"),
        ("module @m\nglobal @g : ref = 1", 2, "starts as null"),
        ("module @m\nrodata @r = hex \"0\"", 2, "invalid hex"),
        ("module @m\nexport @f", 2, "no function @f"),
        ("module @m\nimport @a.b(i32", 2, "unclosed"),
        ("module @m\nimport @a.b(i33)", 2, "unknown type"),
        ("module @m\nfunc @f() {\n  fail \"\\q\"\n}", 3, "invalid string"),
        ("module @m\nfunc @f() {\n  %i70000 = const.i32 0\n}", 3, "ordinals end"),
        ("module @m\nimport @a.b([i32]...)\nfunc @f(%i0) {\n  call.variadic @a.b(%i0)\n}", 4, "brackets"),
        ("module @m\n$", 2, "unexpected '$'"),
    ],
)  # fmt: skip
def test_syntax_errors_name_the_line(text: str, line: int, message: str) -> None:
    with pytest.raises(VmError) as caught:
        assemble(text, "file.vmasm")
    assert caught.value.code == "IREE-VM-004"
    assert caught.value.source == f"file.vmasm:{line}"
    assert message in str(caught.value)
