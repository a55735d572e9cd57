"""Random valid programs, for round trips and damage."""

from __future__ import annotations

import random

from iree_vm.bytecode.builder import FunctionBuilder, ModuleBuilder
from iree_vm.bytecode.ops import OPS, Op
from iree_vm.bytecode.program import Program
from iree_vm.bytecode.types import TYPES, Register

_SAFE = (
    "list.",
    "buffer.",
    "discard",
    "call",
    "br",
    "cond_br",
    "return",
    "fail",
    "cond_fail",
    "import",
    "global.store",
)


def _value(rng: random.Random, kind: str) -> object:
    if kind == "#text":
        return "".join(chr(rng.randrange(32, 0x2FF)) for _ in range(rng.randrange(5)))
    if kind[1] == "f":
        return rng.choice([0.0, -0.0, 1.5, float("inf"), float("-inf"), rng.uniform(-9, 9)])
    bits = int(kind[2:])
    return rng.randrange(-(1 << bits - 1), 1 << bits - 1)


class _Filler:
    """Appends random ops; keeps the registers that are defined here."""

    def __init__(self, rng: random.Random, module: ModuleBuilder, f: FunctionBuilder) -> None:
        self.rng, self.module, self.f = rng, module, f
        self.defined: dict[str, list[Register]] = {t: [] for t in TYPES}
        for register in f.arguments:
            self.defined[register.type].append(register)

    def pick(self, kind: str) -> Register:
        if not self.defined[kind]:
            name = "const.ref.zero" if kind == "ref" else f"const.{kind}"
            operands = () if kind == "ref" else (_value(self.rng, f"#{kind}"),)
            self.defined[kind].append(self.f.op(name, *operands))
        return self.rng.choice(self.defined[kind])

    def op(self, op: Op) -> None:
        operands: list[object] = []
        for operand in op.operands:
            if operand in op.results:
                continue
            if operand.kind in TYPES:
                operands.append(self.pick(operand.kind))
            elif operand.kind == "rodata":
                operands.append(self.rng.randrange(2))
            elif operand.kind.startswith("global."):
                operands.append(f"{operand.kind[7:]}_mutable")
            else:
                operands.append(_value(self.rng, operand.kind))
        result = self.f.op(op.name, *operands)
        if result is not None:
            self.defined[result.type].append(result)


def random_program(seed: int, size: int = 12) -> Program:
    """A module with globals, rodata, imports, calls and control flow; it verifies, and need not run."""
    rng = random.Random(seed)
    module = ModuleBuilder(f"random{seed}", version=rng.randrange(3), known={})
    for t in TYPES:
        module.global_(f"{t}_mutable", t, mutable=True)
        module.global_(f"{t}_fixed", t, initial=None if t == "ref" else 3)
    module.rodata("text", b"some text", 16)
    module.rodata("data", bytes(rng.randrange(256) for _ in range(rng.randrange(200))), 64)
    module.import_("native.sum", "(ref, [i64]..., [i32, f32]...) -> (i64)", version=1)
    module.import_("native.maybe", "() -> ()", optional=True)
    ops = [op for op in OPS.values() if not op.name.startswith(_SAFE)]
    stores = [op for op in OPS.values() if op.name.startswith("global.store")]
    for number in range(1 + rng.randrange(3)):
        arguments = [rng.choice(TYPES) for _ in range(rng.randrange(4))]
        results = [rng.choice(TYPES) for _ in range(rng.randrange(3))]
        f = module.function(f"f{number}", f"({', '.join(arguments)}) -> ({', '.join(results)})")
        fill = _Filler(rng, module, f)
        for _ in range(size):
            fill.op(rng.choice(ops if rng.random() < 0.9 else stores))
        if number and rng.random() < 0.8:
            callee = module.callee(f"f{number - 1}")[1]
            got = f.call(f"f{number - 1}", *(fill.pick(str(t)) for t in callee.arguments))
            for register in () if got is None else (got,) if isinstance(got, Register) else got:
                fill.defined[register.type].append(register)
        pairs = [(fill.pick("i32"), fill.pick("f32")) for _ in range(rng.randrange(2))]
        f.call("native.sum", fill.pick("ref"), [fill.pick("i64") for _ in range(rng.randrange(3))], pairs)
        left, right = f.block("i64"), f.block()
        values = [fill.pick(t) for t in results]
        if rng.random() < 0.5:
            f.cond_br(fill.pick("i32"), left, [fill.pick("i64")], right, [])
        else:
            f.br_table(fill.pick("i32"), (right, []), [(left, [fill.pick("i64")]), (right, [])])
        f.switch_to(left)
        f.br(right)
        f.switch_to(right)
        f.cond_fail(fill.f.op("cmp.nz.i32", fill.pick("i32")), "a message")
        f.return_(*values)
        module.export(f"f{number}")
    return module.finish()
