"""The Python way to write bytecode: mistakes are coded, imports of hal declare themselves."""

from __future__ import annotations

import pytest

from iree_vm import Context, VmError
from iree_vm.bytecode import encoding
from iree_vm.bytecode.builder import ModuleBuilder
from iree_vm.bytecode.disassembler import disassemble
from iree_vm.native import NativeModule


def test_the_docstring_example() -> None:
    module = ModuleBuilder("demo")
    module.global_("count", "i64", mutable=True)
    f = module.function("twice", "(i64) -> (i64)")
    (x,) = f.arguments
    f.store("count", x)
    f.return_(f.op("add.i64", x, f.load("count")))
    module.export("twice")
    assert Context([module.serialize()]).call("demo.twice", 21) == 42


def test_calls_of_hal_declare_their_import_once() -> None:
    module = ModuleBuilder("demo")
    f = module.function("f", "()")
    device = f.call("hal.device.get", f.const_i64(0))
    fence = f.call("hal.fence.create", device)
    f.call("hal.fence.join", [fence, fence])
    f.call("hal.fence.join", [])
    f.return_()
    program = module.finish()
    assert [i.name for i in program.imports] == ["hal.device.get", "hal.fence.create", "hal.fence.join"]
    assert "call.variadic @hal.fence.join([%r0, %r0])" in disassemble(program)


def test_variadic_tuples_reach_a_native_function() -> None:
    native = NativeModule("n")
    got = []
    native.export("f", "(i32, [i64, f64]...) -> (i32, f64)")(
        lambda a, pairs: got.append((a, pairs)) or (a, 2.5)
    )
    module = ModuleBuilder("m", known={})
    module.import_("n.f", "(i32, [i64, f64]...) -> (i32, f64)")
    f = module.function("f", "(i32, i64, f64) -> (i32, f64)")
    i, l, d = f.arguments
    f.return_(*f.call("n.f", i, [(l, d), (l, d)]))
    module.export("f")
    assert Context([native, module.finish()]).call("m.f", 1, 2, 3.0) == (1, 2.5)
    assert got == [(1, ((2, 3.0), (2, 3.0)))]


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (lambda m, f: f.op("frobnicate"), "no op"),
        (lambda m, f: f.op("add.i32", f.const_i32(1)), r"takes \['a', 'b'\]"),
        (lambda m, f: f.load("nothing"), "no global @nothing"),
        (lambda m, f: f.rodata("nothing"), "no rodata @nothing"),
        (lambda m, f: f.call("nothing"), "IREE-VM-007"),
        (lambda m, f: f.call("hal.device.get"), "called with 0 arguments"),
        (lambda m, f: m.global_("g", "i33"), "type 'i33'"),
        (lambda m, f: (m.rodata("r", b""), m.rodata("r", b"")), "there already"),
        (lambda m, f: (m.import_("a.b", "()"), m.import_("a.b", "(i32)")), "declared twice"),
        (lambda m, f: m.export("nothing"), "no function @nothing"),
        (lambda m, f: (f.return_(f.const_i32(1)), m.finish()), "IREE-VM-003"),
    ],
)  # fmt: skip
def test_mistakes_are_coded(mistake: object, message: str) -> None:
    module = ModuleBuilder("m")
    with pytest.raises(VmError, match=message):
        mistake(module, module.function("f", "()"))  # type: ignore[operator]


def test_equal_builds_give_equal_bytes() -> None:
    def build() -> bytes:
        module = ModuleBuilder("m", known={})
        f = module.function("f", "(i32) -> (f32)")
        f.return_(f.op("cast.si32.f32", f.arguments[0]))
        return module.serialize()

    assert build() == build()
    assert encoding.decode(build()).functions[0].name == "f"
