"""Each rule, broken once; the error names the rule's subject."""

from __future__ import annotations

import pytest
from programs import random_program

from iree_vm import VmError
from iree_vm.bytecode.assembler import assemble
from iree_vm.bytecode.ops import OPS
from iree_vm.bytecode.program import (
    Block,
    Export,
    Function,
    Global,
    Import,
    Instruction,
    Program,
    Rodata,
    Successor,
)
from iree_vm.bytecode.types import Register, Signature, Variadic
from iree_vm.bytecode.verifier import verify

BROKEN = {
    "may be read before": "func @f() -> (i32) {\n return %i0\n}",
    "%i1 may be read": """func @f(%i0) -> (i32) {
        cond_br %i0, ^a, ^b
      ^a:
        %i1 = const.i32 1
        br ^b
      ^b:
        return %i1
      }""",
    "a terminator belongs": "func @f() {\n return\n return\n}",
    "terminator belongs": "func @f() {\n %i0 = const.i32 1\n}",
    "without a terminator": "func @f() {\n}",
    "nothing branches to": "func @f() {\n return\n^a:\n return\n}",
    "arguments of ^1 differ": "func @f(%i0) {\n br ^a\n^a(%i1):\n return\n}",
    "operand b is %l0": "func @f(%i0, %l0) {\n %i1 = add.i32 %i0, %l0\n return\n}",
    "return (%i0)": "func @f(%i0) {\n return %i0\n}",
    "call of @g(i32) -> ()": "func @g(%i0) {\n return\n}\nfunc @f() {\n call @g()\n return\n}",
    "gives (%l0)": """import @n.g() -> (i32)
      func @f() {
        %l0 = call @n.g()
        return
      }""",
    "written twice": "import @n.g() -> (i32, i32)\nfunc @f() {\n %i0, %i0 = call @n.g()\n return\n}",
    "parameter is there twice": "func @f(%i0, %i0) {\n return\n}",
    "global @g is i64": "global @g : i64\nfunc @f() {\n %i0 = global.load.i32 @g\n return\n}",
    "immutable outside": "global @g : i32\nfunc @f(%i0) {\n global.store.i32 %i0, @g\n return\n}",
    "@__init has arguments": "func @__init(%i0) {\n return\n}",
    "@__init is not called": "func @__init() {\n return\n}\nfunc @f() {\n call @__init()\n return\n}",
    "of the module itself": "import @m.g()",
    "not module.function": "import @g()",
    "call of @n.g([i32]...)": "import @n.g([i32]...)\nfunc @f(%i0) {\n call @n.g(%i0)\n return\n}",
    "import.resolved of a function": "func @f() {\n %i0 = import.resolved @f\n return\n}",
    "call.variadic of @f": "func @f() {\n call.variadic @f()\n return\n}",
}  # fmt: skip


@pytest.mark.parametrize("message", BROKEN)
def test_a_broken_rule_is_named(message: str) -> None:
    with pytest.raises(VmError) as caught:
        verify(assemble(f"module @m\n{BROKEN[message]}\n"))
    assert caught.value.code == "IREE-VM-003"
    assert message in str(caught.value)


def function(*instructions: Instruction, name: str = "f") -> Function:
    return Function(name, Signature((), ()), [Block((), [*instructions, Instruction(OPS["return"], ((),))])])


def instruction(name: str, *operands: object) -> Instruction:
    return Instruction(OPS[name], operands)


I0 = Register(0, 0)
WANTS_I32 = Signature(("i32",), ())
VARIADIC = Signature((Variadic(("i32",)),), ())


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (Program("m", exports=[Export("f", 3)]), "export @f of function 3"),
        (Program("bad name"), "invalid module name"),
        (Program("m", globals=[Global("g", "i32", initial=1 << 40)]), "initialized with"),
        (Program("m", rodata=[Rodata("a", b""), Rodata("a", b"")]), "rodata @a is there twice"),
        (Program("m", imports=[Import("n.", Signature((), ()))]), "not module.function"),
        (Program("m", functions=[Function("f", Signature((), ()))]), "without blocks"),
        (Program("m", functions=[Function("f", WANTS_I32, function().blocks)]), "differ from the signature"),
        (Program("m", functions=[Function("f", VARIADIC, function().blocks)]), "variadic"),
        (Program("m", functions=[function(instruction("const.i32", I0, 1 << 31))]), "does not fit"),
        (Program("m", functions=[function(instruction("const.ref.rodata", Register(4, 0), 0))]), "rodata 0"),
        (Program("m", functions=[function(Instruction(OPS["call"], ((), 1 << 31, ())))]), "import 0"),
        (Program("m", functions=[function(Instruction(OPS["call"], ((), 5, ())))]), "function 5"),
        (Program("m", functions=[function(Instruction(OPS["call"], ((),)))]), "operands, the table says"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_tables_are_checked(program: Program, message: str) -> None:
    with pytest.raises(VmError, match=r"IREE-VM-003") as caught:
        verify(program)
    assert message in str(caught.value)


def test_branch_targets_are_checked() -> None:
    program = assemble("module @m\nfunc @f() {\n br ^a\n^a:\n return\n}")
    block = program.functions[0].blocks[0]
    for target, message in ((7, "target ^7"), (0, "the entry block")):
        block.instructions[-1] = Instruction(OPS["br"], (Successor(target),))
        with pytest.raises(VmError) as caught:
            verify(program)
        assert message in str(caught.value)


def test_a_loop_defines_what_its_entry_and_latch_define() -> None:
    verify(
        assemble(
            """module @m
            func @f(%i0) -> (i32) {
              br ^head(%i0)
            ^head(%i1):
              %i2 = add.i32 %i1, %i0
              cond_br %i2, ^head(%i2), ^out
            ^out:
              return %i2
            }"""
        )
    )


@pytest.mark.parametrize("seed", range(5))
def test_valid_programs_pass(seed: int) -> None:
    verify(random_program(seed))
