"""Structured ops on whole arrays give what one iteration after the other gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from iree_core_ir.interpreter import Interpreter
from iree_core_ir.interpreters import linalg as meanings
from iree_core_ir.text.parser import parse_module
from iree_core_ir.verifier import verify

EXPRESSIONS = [
    "{a}",
    "{a}",
    "{a}",
    "{a} * 2",
    "{a} + {b}",
    "{a} * 2 + {b}",
    "{k} - {a}",
    "0",
    "{a} floordiv 2",
]
BODIES = {
    "sum": ["%t = arith.addi %{x}, %{y} : i32", "%r = arith.addi %{o}, %t : i32"],
    "product sum": ["%t = arith.muli %{x}, %{y} : i32", "%r = arith.addi %t, %{o} : i32"],
    "difference of squares": [
        "%s = arith.muli %{x}, %{x} : i32",
        "%t = arith.subi %s, %{y} : i32",
        "%r = arith.maxsi %{o}, %t : i32",
    ],
    "bits": ["%t = arith.xori %{x}, %{y} : i32", "%r = arith.xori %{o}, %t : i32"],
    "horner": [
        "%c3 = arith.constant 3 : i32",
        "%s = arith.muli %{o}, %c3 : i32",
        "%t = arith.subi %s, %{x} : i32",
        "%r = arith.addi %t, %{y} : i32",
    ],
    "index": [
        "%i = linalg.index 0 : index",
        "%n = arith.index_cast %i : index to i32",
        "%t = arith.muli %n, %{x} : i32",
        "%r = arith.addi %{o}, %t : i32",
    ],
    "overwrite": ["%r = arith.addi %{x}, %{y} : i32"],
    "choose": [
        "%c = arith.cmpi slt, %{x}, %{o} : i32",
        "%r = arith.select %c, %{x}, %{o} : i32",
    ],
}


class Case:
    """A random generic of two inputs and one output: its text and operands."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.rng = rng
        n = int(rng.integers(1, 4))
        sizes = [int(s) for s in rng.integers(1, 5, n)]
        dims = [f"d{i}" for i in range(n)]
        body = str(rng.choice(list(BODIES)))
        # The output drops some loops; what it drops reduces.
        kept = [i for i in range(n) if rng.random() < 0.6]
        # A body that overwrites has a defined result only when each element is written in a known order.
        maps, shapes = [], []
        for _ in range(2):
            results, shape = [], []
            for _ in range(int(rng.integers(0, 3))):
                a, b = (int(i) for i in rng.integers(0, n, 2))
                template = str(rng.choice(EXPRESSIONS))
                results.append(template.format(a=dims[a], b=dims[b], k=sizes[a] - 1))
                values = [
                    eval(  # the loops' expression in Python, over the corners' whole range
                        results[-1].replace("floordiv", "//"), {}, dict(zip(dims, point, strict=True))
                    )
                    for point in np.ndindex(*sizes)
                ]
                shape.append(max(values) + 1 + int(rng.integers(0, 2)) * (results[-1] not in dims))
            maps.append(results)
            shapes.append(shape)
        # One more input gives every loop its size.
        maps.append(dims)
        shapes.append(sizes)
        order = [int(i) for i in rng.permutation(kept)] if kept else []
        maps.append([dims[i] for i in order])
        shapes.append([sizes[i] for i in order])
        kinds = ["parallel" if i in kept else "reduction" for i in range(n)]
        types = [f"tensor<{'x'.join([*map(str, s), 'i32'])}>" for s in shapes]
        head = ", ".join(f"affine_map<({', '.join(dims)}) -> ({', '.join(m)})>" for m in maps)
        iterators = ", ".join(f'"{k}"' for k in kinds)
        lines = "\n".join(
            line.replace("%{x}", "%x").replace("%{y}", "%y").replace("%{o}", "%o") for line in BODIES[body]
        )
        arguments = ", ".join(f"%a{i}: {t}" for i, t in enumerate(types))
        self.text = f"""func.func @f({arguments}) -> {types[-1]} {{
          %0 = linalg.generic {{indexing_maps = [{head}], iterator_types = [{iterators}]}}
              ins(%a0, %a1, %a2 : {", ".join(types[:-1])}) outs(%a3 : {types[-1]}) {{
          ^bb0(%x: i32, %y: i32, %z: i32, %o: i32):
            {lines}
            linalg.yield %r : i32
          }} -> {types[-1]}
          return %0 : {types[-1]}
        }}"""
        self.operands = [rng.integers(-9, 10, s).astype(np.int32) for s in shapes]


@pytest.mark.parametrize("block", range(10))
def test_random_generics(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(block * 30, block * 30 + 30):
        case = Case(seed)
        module = parse_module(case.text)
        verify(module)
        (whole,) = Interpreter(module).call("f", *case.operands)
        with monkeypatch.context() as patch:
            patch.setattr(meanings, "runs_on_arrays", lambda body: False)
            (single,) = Interpreter(module).call("f", *case.operands)
        np.testing.assert_array_equal(whole, single, err_msg=f"seed {seed}:\n{case.text}")


def test_two_outputs_of_different_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    """One output per element, one per row, of the same loop nest."""
    text = """#id = affine_map<(d0, d1) -> (d0, d1)>
    #row = affine_map<(d0, d1) -> (d0)>
    func.func @f(%x: tensor<3x4xi32>, %e: tensor<3x4xi32>, %r: tensor<3xi32>) -> (tensor<3x4xi32>, tensor<3xi32>) {
      %0:2 = linalg.generic {indexing_maps = [#id, #id, #row], iterator_types = ["parallel", "reduction"]}
          ins(%x : tensor<3x4xi32>) outs(%e, %r : tensor<3x4xi32>, tensor<3xi32>) {
      ^bb0(%i: i32, %u: i32, %s: i32):
        %1 = arith.addi %i, %s : i32
        linalg.yield %1, %1 : i32, i32
      } -> (tensor<3x4xi32>, tensor<3xi32>)
      return %0#0, %0#1 : tensor<3x4xi32>, tensor<3xi32>
    }"""
    module = parse_module(text)
    verify(module)
    x = np.arange(12, dtype=np.int32).reshape(3, 4)
    arguments: list[Any] = [x, np.zeros_like(x), np.zeros(3, np.int32)]
    prefix, total = Interpreter(module).call("f", *arguments)
    np.testing.assert_array_equal(prefix, np.cumsum(x, axis=1))
    np.testing.assert_array_equal(total, x.sum(1))
    with monkeypatch.context() as patch:
        patch.setattr(meanings, "runs_on_arrays", lambda body: False)
        again = Interpreter(module).call("f", *arguments)
    np.testing.assert_array_equal(again[0], prefix)
