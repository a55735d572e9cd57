"""Register allocation keeps meaning and shares ordinals."""

from __future__ import annotations

import random

import pytest

from iree_vm import Context
from iree_vm.bytecode.allocate import allocate, live_out
from iree_vm.bytecode.assembler import assemble
from iree_vm.bytecode.builder import ModuleBuilder
from iree_vm.bytecode.verifier import verify


def chain(length: int) -> ModuleBuilder:
    module = ModuleBuilder("m", known={})
    f = module.function("run", "(i64) -> (i64)")
    x = f.arguments[0]
    for _ in range(length):
        x = f.op("add.i64", x, f.const_i64(1))
    f.return_(x)
    module.export("run")
    return module


def test_dead_values_give_their_ordinal_back() -> None:
    program = chain(1000).finish()
    used = {
        r for i in program.functions[0].blocks[0].instructions for r in i.operands if isinstance(r, tuple)
    }
    assert max(r.ordinal for r in used if len(r) == 2) <= 1
    assert Context([program]).call("m.run", 5) == 1005


@pytest.mark.parametrize("seed", range(15))
def test_random_code_means_the_same(seed: int) -> None:
    """Straight code and diamonds over many live values, against the same arithmetic in Python."""
    rng = random.Random(seed)
    module = ModuleBuilder("m", known={})
    f = module.function("run", "(i64, i64, i64) -> (i64)")
    values = list(f.arguments)
    inputs = [rng.randrange(-50, 50) for _ in range(3)]
    model = list(inputs)
    for _ in range(40):
        a, b = rng.randrange(len(values)), rng.randrange(len(values))
        if rng.random() < 0.7:
            name, meaning = rng.choice([("add", int.__add__), ("sub", int.__sub__), ("xor", int.__xor__)])
            values.append(f.op(f"{name}.i64", values[a], values[b]))
            model.append(meaning(model[a], model[b]))
        else:
            left, right, join = f.block(), f.block(), f.block("i64", "i64")
            f.cond_br(f.op("cmp.lt.i64.s", values[a], values[b]), left, [], right, [])
            f.switch_to(left)
            f.br(join, values[a], values[b])
            f.switch_to(right)
            other = f.op("add.i64", values[b], values[a])
            f.br(join, other, values[a])
            f.switch_to(join)
            values += join.parameters
            model += [model[a], model[b]] if model[a] < model[b] else [model[a] + model[b], model[a]]
    total = values[0]
    for value in values[1:]:
        total = f.op("xor.i64", total, value)
    f.return_(total)
    module.export("run")
    wanted = 0
    for number in model:
        wanted ^= number
    assert Context([module.finish()]).call("m.run", *inputs) == wanted


def test_values_live_around_a_loop() -> None:
    program = assemble(
        """module @m
        func @f(%i0) {
          %i1 = const.i32 5
          br ^head
        ^head:
          %i2 = add.i32 %i0, %i1
          cond_br %i2, ^head, ^out
        ^out:
          return
        }"""
    )
    out = live_out(program.functions[0])
    assert [sorted(map(str, live)) for live in out] == [["%i0", "%i1"], ["%i0", "%i1"], []]
    allocate(program.functions[0])
    verify(program)
