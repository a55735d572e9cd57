"""The ``vm`` dialect: every op of the table prints, parses and encodes; IREE's assembly is accepted."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("iree_core_ir")

from iree_core_ir.errors import VerifyError
from iree_core_ir.ir.attributes import FloatAttr, IntegerAttr, StringAttr, SymbolRefAttr
from iree_core_ir.ir.operation import Block, Op, Region
from iree_core_ir.text.parser import parse_module, parse_type
from iree_core_ir.verifier import verify
from iree_vm.bytecode import ops as table
from iree_vm.compiler import dialect as vm
from iree_vm.compiler.encode import program
from iree_vm.compiler.table_ops import BY_HAND, OPS
from iree_vm.compiler.types import ANY_REF, BUFFER, SCALARS, ListType, RefType

EXAMPLE = """vm.module @demo attributes {version = 2 : i32} {
  vm.global.i64 private mutable @count = 3 : i64
  vm.global.ref private @list : !vm.list<?>
  vm.rodata private @data {alignment = 64 : i64} dense<[1, 2]> : tensor<2xi32>
  vm.rodata private @text "hello"
  vm.import private @hal.fence.join(%fences : !vm.ref<?> ...) -> !vm.ref<?>
  vm.import private optional @n.f(%a : i32, %b : tuple<i64, f32> ...) -> (i32, f32)
  vm.func private @__init() {
    %c = vm.const.i32 4
    %l = vm.list.alloc %c : (i32) -> !vm.list<?>
    vm.global.store.ref %l, @list : !vm.list<?>
    vm.return
  }
  vm.func private @f(%a: i32, %l: i64, %x: f32) -> i32 {
    %b = vm.add.i32 %a, %a : i32
    %i = vm.const.i64 1
    %r = vm.const.ref.rodata @data : !vm.buffer
    %e = vm.buffer.load.i32 %r[%i] : !vm.buffer -> i32
    %u, %v = vm.call.variadic @n.f(%a, [(%l, %x), (%l, %x)]) : (i32, tuple<i64, f32> ...) -> (i32, f32)
    vm.cond_fail %u, "message"
    vm.cond_br %b, ^bb1(%b : i32), ^bb2
  ^bb1(%p: i32):
    vm.br ^bb2
  ^bb2:
    %q = vm.call @f(%a, %l, %x) : (i32, i64, f32) -> i32
    vm.br_table %a {
      default: ^bb3(%q : i32),
      0: ^bb3(%e : i32),
      1: ^bb4
    }
  ^bb3(%o: i32):
    vm.return %o : i32
  ^bb4:
    vm.fail "no"
  }
  vm.export @f
  vm.export @f as("main$async")
}
"""


def module(text: str) -> Any:
    parsed = parse_module(text)
    verify(parsed)
    return parsed


def the_vm_module(parsed: Op) -> vm.Module:
    return next(op for op in parsed.walk() if isinstance(op, vm.Module))


def test_text_round_trip() -> None:
    first = str(module(EXAMPLE))
    assert str(module(first)) == first
    for line in EXAMPLE.splitlines():
        assert line.strip() in first


def test_every_row_has_a_class_or_is_written_by_hand() -> None:
    assert set(OPS) | BY_HAND == set(table.OPS)
    assert {"vm." + name for name in OPS} <= set(vm.DIALECT.ops)


def attributes_of(row: table.Op) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for entry in row.operands:
        if entry.kind in ("#i32", "#i64"):
            out[entry.name] = IntegerAttr(-7, SCALARS[entry.kind[1:]])
        elif entry.kind in ("#f32", "#f64"):
            out[entry.name] = FloatAttr(0.25, SCALARS[entry.kind[1:]])
        elif entry.kind == "#text":
            out[entry.name] = StringAttr("a message")
        elif entry.kind == "rodata":
            out[entry.name] = SymbolRefAttr("data")
        elif entry.kind == "callee":
            out[entry.name] = SymbolRefAttr("n.f")
        elif entry.kind.startswith("global."):
            out[entry.name] = SymbolRefAttr(entry.kind.replace(".", "_"))
    return out


@pytest.mark.parametrize("name", OPS)
def test_every_op_prints_parses_and_encodes(name: str) -> None:
    row = table.OPS[name]
    kinds = [o.kind for o in row.operands if not o.written and o.kind in (*SCALARS, "ref")]
    types = [SCALARS.get(kind, BUFFER) for kind in kinds]
    block = Block(types)
    op = OPS[name](block.args, [SCALARS.get(o.kind, BUFFER) for o in row.results], attributes_of(row))
    block.append(op)
    if not row.terminator:
        block.append(vm.Return.make())
    function = vm.Func.make("f", types, [])
    function.regions[0].blocks.clear()
    function.regions[0].parent = None
    function = vm.Func((), (), function.attributes, (Region([block]),))
    body = Block()
    for kind, cls in vm.GLOBALS.items():
        body.append(cls.make(f"global_{kind}", SCALARS.get(kind, BUFFER), mutable=True))
    text = vm.Rodata((), (), {"sym_name": StringAttr("data"), "value": StringAttr("text")})
    body.append(text)
    body.append(vm.Import.make("n.f", [], [], optional=True))
    body.append(function)
    made = vm.Module((), (), {"sym_name": StringAttr("m")}, (Region([body]),))
    verify(made)
    printed = str(made)
    assert str(the_vm_module(module(printed))) == printed
    instructions = program(made).functions[0].blocks[0].instructions
    assert instructions[0].op is row


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("vm.func private @f(%a: i16) { vm.return }", "i16 has no register"),
        ("vm.func private @f()", "needs a body"),
        ("vm.export @g", "does not name a vm.func"),
        ("vm.global.i32 private @g = 1 : i64", "type i64 is not i32"),
        ("vm.global.ref private @g : i64", "type i64 is not ref"),
        ("vm.func private @f() { vm.call @g() : () -> () vm.return }", "does not name a function"),
        (
            "vm.import private @n.f(i32) vm.func private @f() { vm.call @n.f() : () -> () vm.return }",
            "other types",
        ),
        ("vm.func private @f() { vm.call.variadic @f() : () vm.return }", "does not name an import"),
        (
            "vm.import @n.f(i32) vm.func private @f() { vm.call.variadic @n.f([]) : (i32 ...) vm.return }",
            "brackets differ",
        ),
    ],
)
def test_invalid_modules_are_refused(text: str, message: str) -> None:
    with pytest.raises(VerifyError, match=message):
        module(f"vm.module @m {{ {text} }}")


def test_types() -> None:
    assert parse_type("!vm.ref<?>") is ANY_REF
    assert parse_type("!vm.list<!vm.ref<!vm.buffer>>") is ListType(RefType(BUFFER))
    assert str(parse_type("!vm.list<i32>")) == "!vm.list<i32>"
