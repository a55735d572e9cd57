"""``vm`` IR runs as bytecode with the same meaning."""

from __future__ import annotations

import pytest

pytest.importorskip("iree_core_ir")

from iree_core_ir.text.parser import parse_module
from iree_vm import Context, NativeModule, VmError
from iree_vm.bytecode import encoding
from iree_vm.compiler import dialect as vm
from iree_vm.compiler.encode import program, serialize


def encode(text: str) -> bytes:
    return serialize(next(op for op in parse_module(text).walk() if isinstance(op, vm.Module)))


GCD = """vm.module @m {
  vm.func private @gcd(%a: i64, %b: i64) -> i64 {
    vm.br ^bb1(%a, %b : i64, i64)
  ^bb1(%x: i64, %y: i64):
    %more = vm.cmp.nz.i64 %y : i64
    vm.cond_br %more, ^bb2, ^bb3
  ^bb3:
    vm.return %x : i64
  ^bb2:
    %r = vm.rem.i64.s %x, %y : i64
    vm.br ^bb1(%y, %r : i64, i64)
  }
  vm.export @gcd
}
"""


def test_loops_run() -> None:
    context = Context([encode(GCD)])
    assert context.call("m.gcd", 1071, 462) == 21


def test_equal_modules_give_equal_bytes() -> None:
    assert encode(GCD) == encode(GCD)


def test_blocks_may_stand_in_any_order() -> None:
    """bb1 uses a value of bb2, which stands after it and dominates it."""
    text = """vm.module @m {
      vm.func private @f(%a: i32) -> i32 {
        vm.br ^bb2
      ^bb1:
        %c = vm.mul.i32 %b, %b : i32
        vm.return %c : i32
      ^bb2:
        %b = vm.add.i32 %a, %a : i32
        vm.br ^bb1
      }
      vm.export @f
    }"""
    assert Context([encode(text)]).call("m.f", 3) == 36


def test_imports_with_segments_globals_and_rodata() -> None:
    native = NativeModule("n")

    @native.export("f", "(i32, [i64, f32]...) -> (f64)")
    def function(first: int, pairs: tuple[tuple[int, float], ...]) -> float:
        return first + sum(i * x for i, x in pairs)

    text = """vm.module @m attributes {version = 3 : i32} {
      vm.import private @n.f(%a : i32, %pairs : tuple<i64, f32> ...) -> f64
      vm.global.i32 private mutable @calls = 10 : i32
      vm.rodata private @data dense<[5, 6]> : tensor<2xi16>
      vm.func private @run(%i: i64, %x: f32) -> (f64, i32, i32) {
        %calls = vm.global.load.i32 @calls : i32
        %one = vm.const.i32 1
        %next = vm.add.i32 %calls, %one : i32
        vm.global.store.i32 %next, @calls : i32
        %sum = vm.call.variadic @n.f(%next, [(%i, %x), (%i, %x)]) : (i32, tuple<i64, f32> ...) -> f64
        %data = vm.const.ref.rodata @data : !vm.buffer
        %at = vm.const.i64 1
        %six = vm.buffer.load.i16.s %data[%at] : !vm.buffer -> i32
        %there = vm.import.resolved @n.f : i32
        %both = vm.add.i32 %six, %there : i32
        vm.return %sum, %next, %both : f64, i32, i32
      }
      vm.export @run as("main")
    }"""
    context = Context([native, encode(text)])
    assert context.call("m.main", 3, 0.5) == (14.0, 11, 7)
    assert context.call("m.main", 3, 0.5) == (15.0, 12, 7)
    assert encoding.decode(encode(text)).version == 3


def test_what_has_no_bytecode_is_coded() -> None:
    text = "vm.module @m { func.func private @f() }"
    with pytest.raises(VmError, match=r"IREE-VM-016.*'func.func' in a vm.module"):
        encode(text)
    text = "vm.module @m { vm.func private @f() { %a = arith.constant 1 : i32 vm.return } }"
    with pytest.raises(VmError, match=r"IREE-VM-016.*'arith.constant' has no bytecode"):
        encode(text)
    text = "vm.module @m { vm.rodata private @r 5 : i32 }"
    with pytest.raises(VmError, match=r"IREE-VM-016.*rodata @r"):
        encode(text)


def test_program_verifies_its_result() -> None:
    module = parse_module("vm.module @m { vm.func private @f() -> i32 { vm.return } }")
    with pytest.raises(VmError, match=r"IREE-VM-003"):
        program(next(op for op in module.walk() if isinstance(op, vm.Module)))
