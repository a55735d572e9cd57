"""Translated control flow and calls against what the same program means."""

from __future__ import annotations

import random
import sys

import pytest

from iree_base import debug
from iree_vm import Context, VmError
from iree_vm.bytecode.assembler import assemble
from iree_vm.bytecode.builder import ModuleBuilder
from iree_vm.bytecode.translate import Arguments, Translation
from iree_vm.native import NativeModule


def context(text: str, *modules: NativeModule) -> Context:
    return Context([*modules, assemble(f"module @m\n{text}")])


def source(text: str) -> str:
    unit = Translation(assemble(f"module @m\n{text}"), [])
    unit.functions()
    return "\n".join(unit.lines)


LOOP = """
func @gcd(%l0, %l1) -> (i64) {
  br ^head(%l0, %l1)
^head(%l2, %l3):
  %i0 = cmp.nz.i64 %l3
  cond_br %i0, ^body, ^done
^body:
  %l4 = rem.i64.s %l2, %l3
  br ^head(%l3, %l4)
^done:
  return %l2
}
export @gcd
"""


def test_loops() -> None:
    m = context(LOOP)
    assert m.call("m.gcd", 1071, 462) == 21
    assert m.call("m.gcd", 5, 0) == 5


def test_a_loop_is_one_while_without_a_dispatch_of_its_single_entry_blocks() -> None:
    text = source(LOOP)
    assert text.count("while True") == 1
    assert "_b ==" not in text


def test_straight_code_has_no_loop_and_no_constants() -> None:
    text = source("func @f(%l0) -> (i64) {\n %l1 = const.i64 7\n %l2 = add.i64 %l0, %l1\n return %l2\n}")
    assert "while" not in text
    assert "l1" not in text


def test_parallel_moves() -> None:
    text = """
    func @swap(%i0, %i1, %i2) -> (i32, i32) {
      br ^head(%i0, %i1, %i2)
    ^head(%i3, %i4, %i5):
      %i6 = const.i32 -1
      %i7 = add.i32 %i5, %i6
      cond_br %i5, ^head(%i4, %i3, %i7), ^out
    ^out:
      return %i3, %i4
    }
    export @swap"""
    assert context(text).call("m.swap", 1, 2, 3) == (2, 1)
    assert context(text).call("m.swap", 1, 2, 4) == (1, 2)


def test_br_table() -> None:
    text = """
    func @pick(%i0) -> (i32) {
      %i1 = const.i32 10
      %i2 = const.i32 20
      br_table %i0, ^out(%i0), [^out(%i1), ^out(%i2), ^last]
    ^last:
      fail "third"
    ^out(%i3):
      return %i3
    }
    export @pick"""
    m = context(text)
    assert [m.call("m.pick", i) for i in (0, 1, 3, -1)] == [10, 20, 3, -1]
    with pytest.raises(VmError, match=r"IREE-VM-008.*third.*@m\.pick"):
        m.call("m.pick", 2)


def simulate(edges: list[tuple[int, int, int]], steps: int) -> int:
    """The meaning of the program that ``state_machine`` builds."""
    state, total = 0, 0
    while steps:
        add, true, false = edges[state]
        total = total * 3 + add & 0xFFFF
        steps -= 1
        state = true if total & 1 else false
    return total


def state_machine(edges: list[tuple[int, int, int]]) -> Context:
    module = ModuleBuilder("m", known={})
    f = module.function("run", "(i32) -> (i32)")
    blocks = [f.block("i32", "i32") for _ in edges]
    out = f.block("i32")
    zero = f.const_i32(0)
    f.cond_br(f.arguments[0], blocks[0], [zero, f.arguments[0]], out, [zero])
    for block, (add, true, false) in zip(blocks, edges, strict=True):
        f.switch_to(block)
        total, steps = block.parameters
        f.function.blocks[block.index] = block.block
        scaled = f.op("mul.i32", total, f.const_i32(3))
        total = f.op("and.i32", f.op("add.i32", scaled, f.const_i32(add)), f.const_i32(0xFFFF))
        steps = f.op("sub.i32", steps, f.const_i32(1))
        more = f.block()
        f.cond_br(steps, more, [], out, [total])
        f.switch_to(more)
        f.cond_br(
            f.op("and.i32", total, f.const_i32(1)),
            blocks[true],
            [total, steps],
            blocks[false],
            [total, steps],
        )
    f.switch_to(out)
    f.return_(*out.parameters)
    module.export("run")
    return Context([module.finish()])


@pytest.mark.parametrize("seed", range(10))
def test_random_control_flow(seed: int) -> None:
    rng = random.Random(seed)
    count = rng.choice([2, 3, 8, 30])
    edges = [(rng.randrange(9), (i + 1) % count, rng.randrange(count)) for i in range(count)]
    m = state_machine(edges)
    for steps in (0, 1, 7, 200):
        assert m.call("m.run", steps) == simulate(edges, steps)


def test_long_chains_nest_no_deeper_than_python_allows() -> None:
    module = ModuleBuilder("m", known={})
    f = module.function("run", "(i32) -> (i32)")
    (x,) = f.arguments
    one = f.const_i32(1)
    for _ in range(500):
        done, more = f.block(), f.block()
        f.cond_br(f.op("cmp.eq.i32", x, f.const_i32(-1)), done, [], more, [])
        f.switch_to(done)
        f.return_(x)
        f.switch_to(more)
        x = f.op("add.i32", x, one)
    f.return_(x)
    module.export("run")
    m = Context([module.finish()])
    assert m.call("m.run", 0) == 500
    assert m.call("m.run", -3) == -1


def test_recursion_has_a_coded_end() -> None:
    m = context("func @f(%i0) -> (i32) {\n %i1 = call @f(%i0)\n return %i1\n}\nexport @f")
    with pytest.raises(VmError, match=r"IREE-VM-012"):
        m.call("m.f", 1)
    assert sys.getrecursionlimit() < 1 << 20


def test_small_callees_are_expanded_and_keep_their_registers_apart() -> None:
    text = """
    func @twice(%i0) -> (i32) {
      %i1 = add.i32 %i0, %i0
      %i0 = const.i32 0
      return %i1
    }
    func @f(%i0) -> (i32) {
      %i1 = call @twice(%i0)
      %i1 = call @twice(%i1)
      %i2 = add.i32 %i1, %i0
      return %i2
    }
    export @f"""
    assert "_fn0(" not in source(text).split("def _fn1")[1]
    assert context(text).call("m.f", 5) == 25


def test_expanded_stores_reach_the_global() -> None:
    text = """
    global @n : i32 mutable
    func @bump() -> (i32) {
      %i0 = global.load.i32 @n
      %i1 = const.i32 1
      %i0 = add.i32 %i0, %i1
      global.store.i32 %i0, @n
      return %i0
    }
    func @f() -> (i32) {
      %i0 = call @bump()
      %i1 = call @bump()
      %i2 = add.i32 %i0, %i1
      return %i2
    }
    export @f"""
    m = context(text)
    assert [m.call("m.f"), m.call("m.f")] == [3, 7]


def test_an_inline_form_replaces_the_call() -> None:
    native = NativeModule("n")

    def inline(arguments: Arguments, results: list[str], bind: object, value: object) -> list[str]:
        return [f"{results[0]} = 1000", f"{results[0]} += {arguments[0]} + {arguments[1][0]}"]

    @native.export("f", "(i32, [i32]...) -> (i32)", inline=inline)
    def never(*_: object) -> int:
        raise AssertionError

    text = """import @n.f(i32, [i32]...) -> (i32)
        func @f(%i0) -> (i32) {
          %i0 = call.variadic @n.f(%i0, [%i0])
          return %i0
        }
        export @f"""
    assert context(text, native).call("m.f", 5) == 1010


def test_optional_imports() -> None:
    text = """
    import optional @n.f() -> (i32)
    func @f() -> (i32) {
      %i0 = import.resolved @n.f
      cond_br %i0, ^there, ^missing
    ^there:
      %i1 = call @n.f()
      return %i1
    ^missing:
      return %i0
    }
    func @g() -> (i32) {
      %i0 = call @n.f()
      return %i0
    }
    export @f
    export @g"""
    native = NativeModule("n")
    native.export("f", "() -> (i32)")(lambda: 42)
    assert context(text, native).call("m.f") == 42
    assert context(text).call("m.f") == 0
    with pytest.raises(VmError, match=r"IREE-VM-005"):
        context(text).call("m.g")


def test_floats_survive_as_literals() -> None:
    for text in ("inf", "-inf", "nan", "-0.0", "0.1", "1e300"):
        m = context(
            f"func @f() -> (f64) {{\n %d0 = const.f64 {text}\n %d0 = neg.f64 %d0\n return %d0\n}}\nexport @f"
        )
        assert repr(m.call("m.f")) == repr(-float(text))


def test_trace_shows_each_instruction(capfd: pytest.CaptureFixture[str]) -> None:
    with debug.debug(debug.VM_TRACE):
        m = context(LOOP)
    assert m.call("m.gcd", 4, 2) == 2
    lines = capfd.readouterr().err.splitlines()
    assert lines[0] == "@m.gcd ^0: br ^1(%l0, %l1)"
    assert sum("rem.i64.s" in line for line in lines) == 1


def test_host_buffers_and_lists_of_the_wrong_kind() -> None:
    m = context("func @f(%r0) -> (i32) {\n %i0 = list.size %r0\n return %i0\n}\nexport @f")
    for value in (None, 3.5, "text"):
        with pytest.raises(VmError, match=r"IREE-VM-009.*wanted a list"):
            m.call("m.f", value)
