"""Loops write over what they carry only where nobody else has it: programs drawn at random, and what is copied."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from control_programs import CONTROL
from fixture_device import FixtureDevice

import iree_vm
from iree_core_ir.constants import ConstantStore
from iree_core_ir.dialects.func import FuncOp
from iree_core_ir.interpreter import Interpreter
from iree_core_ir.text.parser import parse_module
from iree_flow import compiler
from iree_flow.dialects import stream
from iree_flow.options import CompileOptions
from iree_flow.session import Session

T = "tensor<6xf32>"


class Program:
    """A loop over some tensors, of which some are updated, swapped, shared or used again behind it."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.count = 0
        self.lines: list[str] = []
        starts = ["%x", "%first", "%second", "%k"]
        self.emit("%first", f"math.absf %x : {T}")
        self.emit("%second", f"math.tanh %x : {T}")
        inits = [self.random.choice(starts) for _ in range(self.random.randint(1, 4))]
        carried = [f"%p{i}" for i in range(len(inits))]
        results = [f"%r{i}" for i in range(len(inits))]
        types = ", ".join([T] * len(inits))
        pairs = ", ".join(f"{a} = {b}" for a, b in zip(carried, inits, strict=True))
        self.lines.append(
            f"{', '.join(results)} = scf.for %i = %c0 to %n step %c1 iter_args({pairs}) -> ({types}) : i64 {{"
        )
        self.lines.append("%at = arith.index_cast %i : i64 to index")
        yielded = self.body(carried, [*carried, "%first"] if self.random.random() < 0.3 else carried)
        self.lines.append(f"scf.yield {', '.join(yielded)} : {types}")
        self.lines.append("}")
        last = self.sum([*results, self.random.choice(starts)])
        self.results = [*results, last]

    def emit(self, name: str, text: str) -> str:
        self.lines.append(f"{name} = {text}")
        return name

    def fresh(self, text: str) -> str:
        self.count += 1
        return self.emit(f"%v{self.count}", text)

    def sum(self, values: list[str]) -> str:
        total = values[0]
        for value in values[1:]:
            total = self.fresh(f"arith.addf {total}, {value} : {T}")
        return total

    def body(self, carried: list[str], known: list[str]) -> list[str]:
        values = list(known)
        for _ in range(self.random.randint(1, 5)):
            kind = self.random.choice(["insert", "insert", "add", "tied"])
            a, b = self.random.choice(values), self.random.choice(values)
            if kind == "insert":
                part = self.fresh(
                    f"tensor.extract_slice {b}[{self.random.randint(0, 5)}] [1] [1] : {T} to tensor<1xf32>"
                )
                new = self.fresh(f"tensor.insert_slice {part} into {a}[%at] [1] [1] : tensor<1xf32> into {T}")
            elif kind == "add":
                new = self.fresh(f"arith.addf {a}, {b} : {T}")
            else:
                new = self.fresh(f"linalg.add ins({b}, {b} : {T}, {T}) outs({a} : {T}) -> {T}")
            values.append(new)
        return [self.random.choice(values) for _ in carried]

    @property
    def text(self) -> str:
        types = ", ".join(f'{T} {{iree.name = "y{i}"}}' for i in range(len(self.results)))
        plain = ", ".join([T] * len(self.results))
        body = "\n".join(self.lines)
        return f"""func.func @main(%x: {T} {{iree.name = "x"}}, %times: tensor<i64> {{iree.name = "times"}}) -> ({types}) {{
          %c0 = arith.constant 0 : i64
          %c1 = arith.constant 1 : i64
          %n = tensor.extract %times[] : tensor<i64>
          %k = arith.constant dense<[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]> : {T}
          {body}
          return {", ".join(self.results)} : {plain}
        }}"""


def compiled(text: str, **arguments: Any) -> Any:
    session = Session(CompileOptions.from_arguments(("fixture",), arguments))
    session.load_targets()
    return compiler.run(parse_module(text, constants=session.constants), session, 0)


@pytest.mark.parametrize("seed", range(30))
def test_random_loops(seed: int) -> None:
    text = Program(seed).text
    x = np.random.default_rng(seed).standard_normal(6).astype(np.float32)
    module = iree_vm.load(compiled(text), device=FixtureDevice())
    for times in (0, 1, 2, 5):
        store = ConstantStore()
        before = x.copy()
        wanted: Any = Interpreter(parse_module(text, constants=store), store).call("main", x, np.array(times))
        found = module.main(x, np.array(times))
        for a, b in zip(found, wanted, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(x, before)


def copies_in_loops(text: str) -> int:
    """Copies in blocks that come back to themselves."""
    module: Any = compiled(text, compile_to="stream").module
    function = next(op for op in module.regions[0].block if isinstance(op, FuncOp))
    blocks = function.regions[0].blocks
    inside = [b for b in blocks if any(blocks.index(s) < blocks.index(b) for s in b.terminator.successors)]
    assert inside
    return sum(isinstance(op, stream.CmdCopy) for b in inside for region in b for op in region.walk())


def test_what_a_loop_collects_is_written_in_place() -> None:
    """Whole rows into room made before, and into a tensor that the loop has for itself."""
    assert copies_in_loops(CONTROL["for"][0]) == 0


def test_what_somebody_else_has_is_copied() -> None:
    """Two variables start from one tensor; of the third a part is read behind its update."""
    assert copies_in_loops(CONTROL["updated"][0]) == 3
