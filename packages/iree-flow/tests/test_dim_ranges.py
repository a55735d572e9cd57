"""Ranges: an upper bound of every input, and interval arithmetic that holds for every value inside."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from iree_core_ir.dialects.func import FuncOp
from iree_core_ir.interpreter import Interpreter
from iree_core_ir.text.parser import parse_module
from iree_flow.dim_ranges import MAX_BYTES, RangeAnalysis, largest_dim, named_maxima

BINARY = ("addi", "subi", "muli", "minsi", "maxsi", "minui", "maxui")
BY_CONSTANT = ("divsi", "divui", "floordivsi", "ceildivsi", "remsi", "remui")


def test_the_largest_dim_keeps_the_input_below_the_limit() -> None:
    for shape, element, width in (((-1, 2048), "i32", 4), (("n", 3, "m"), "f64", 8), (("n",), "i1", 1)):
        largest = largest_dim(shape, element)
        static = 1
        for size in shape:
            static *= size if isinstance(size, int) and size >= 0 else 1
        assert largest * static * width < MAX_BYTES <= (largest + 1) * static * width


def test_a_name_takes_the_smallest_limit_of_its_inputs() -> None:
    found = named_maxima([(("n", 4), "f32"), (("n", 1024), "f32"), (("m",), "i8")])
    assert found == {"n": largest_dim(("n", 1024), "f32"), "m": MAX_BYTES - 1}


@given(
    steps=st.lists(st.tuples(st.sampled_from(BINARY + BY_CONSTANT), st.integers(0, 9), st.integers(0, 9))),
    sizes=st.tuples(st.integers(0, 40), st.integers(0, 40)),
)
def test_every_value_lies_in_its_range(steps: list[tuple[str, int, int]], sizes: tuple[int, int]) -> None:
    lines = []
    values = ["%a", "%b", "%c3", "%c7"]
    for i, (name, x, y) in enumerate(steps):
        right = ("%c3", "%c7")[y % 2] if name in BY_CONSTANT else values[y % len(values)]
        lines.append(f"  %v{i} = arith.{name} {values[x % len(values)]}, {right} : index")
        values.append(f"%v{i}")
    body = "\n".join(lines)
    text = f"""
func.func @main(%x: tensor<?x?xf32>) -> ({", ".join(["index"] * len(values))}) {{
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c3 = arith.constant 3 : index
  %c7 = arith.constant 7 : index
  %a = tensor.dim %x, %c0 : tensor<?x?xf32>
  %b = tensor.dim %x, %c1 : tensor<?x?xf32>
{body}
  return {", ".join(values)} : {", ".join(["index"] * len(values))}
}}"""
    import numpy as np

    module = parse_module(text)
    got = Interpreter(module).call("main", np.zeros(sizes, np.float32))
    function: Any = next(op for op in module.regions[0].block if isinstance(op, FuncOp))
    analysis = RangeAnalysis(function)
    for value, number in zip(function.regions[0].block.terminator.operands, got, strict=True):
        found = analysis.of(value)
        assert found is None or found.low <= number <= found.high
