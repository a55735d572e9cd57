"""Recurrent layers, compiled and run here, against the interpreter on the same dispatch function."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from iree_codegen.select_strategy import generate
from iree_codegen.strategies.recurrence import NAME
from iree_target_llvm.target import compile_function
from iree_target_llvm.testing import run_native, run_reference

from ..conftest import assert_close, function, laid_out

CELLS = {
    # Gates of x, of every stage, parameters, states, and the bodies.
    "plain": (1, (1,), 0, 1, ["%s = arith.addf %x0, %a0 : T\n%r = math.tanh %s : T\nlinalg.yield %r : T"]),
    "two states": (
        2, (2,), 1, 2,
        [("%s = arith.addf %x0, %a0 : T\n%f = math.tanh %s : T\n%t = arith.addf %x1, %a1 : T\n"
         "%u = arith.mulf %p0, %h1 : T\n%v = arith.addf %u, %t : T\n%c = arith.mulf %f, %v : T\n"
         "%h = math.tanh %c : T\nlinalg.yield %h, %c : T, T")],
    ),
    "two stages": (
        3, (2, 1), 0, 1,
        ["%s = arith.addf %x0, %a0 : T\n%r = math.tanh %s : T\n%v = arith.mulf %r, %h0 : T\nlinalg.yield %v : T",
         ("%s = arith.addf %x1, %a1 : T\n%z = math.tanh %s : T\n%t = arith.addf %x2, %b0 : T\n"
         "%n = math.tanh %t : T\n%u = arith.mulf %z, %h0 : T\n%r = arith.addf %n, %u : T\nlinalg.yield %r : T")],
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    cell: str = "plain"
    steps: int = 4
    batch: int = 1
    size: int = 16
    lengths: bool = False
    reverse: bool = False
    constant: bool = True
    element: str = "f32"
    dynamic: bool = False
    """Steps and rows are known when called."""


def text_of(case: Case) -> str:
    gates, stages, parameters, states, bodies = CELLS[case.cell]
    n = case.size
    t, b = ("?", "?") if case.dynamic else (case.steps, case.batch)

    def of(*shape: Any) -> str:
        return f"tensor<{'x'.join(map(str, shape))}x{case.element}>"

    inputs = [("x", of(t, b, gates * n), "tb")]
    inputs += [(f"w{i}", of(g * n, n), "") for i, g in enumerate(stages)]
    inputs += [("p", of(parameters, n), "")] * bool(parameters)
    inputs += [("lengths", f"tensor<{b}xi32>", "b")] * case.lengths
    inputs += [(f"s{i}", of(b, n), "bn") for i in range(states)]
    outputs = [("y", of(t, b, n), "tb"), *[(f"o{i}", of(b, n), "bn") for i in range(states)]]
    first = len(inputs)

    def argument(name: str, type: str, dims: str) -> str:
        own = ["iree.constant"] if name[0] == "w" and case.constant else []
        if case.dynamic and dims:
            numbers = {"tb": f"{first}, {first + 1}, -1", "bn": f"{first + 1}, -1", "b": f"{first + 1}"}
            own.append(f"iree.dims = array<i64: {numbers[dims]}>")
        return f"%{name}: {type}" + (f" {{{', '.join(own)}}}" if own else "")

    arguments = [argument(*i) for i in inputs]
    arguments += ["%steps: index", "%rows: index"] if case.dynamic else []
    arguments += [argument(*o) for o in outputs]
    flags = [f"parameters = {parameters} : i64"]
    flags += ["lengths"] * case.lengths + ["reverse"] * case.reverse
    regions = []
    for stage, body in enumerate(bodies):
        names = [f"x{i}" for i in range(gates)]
        names += [f"{'ab'[s]}{i}" for s in range(stage + 1) for i in range(stages[s])]
        names += [f"p{i}" for i in range(parameters)] + [f"h{i}" for i in range(states)]
        regions.append("{\n^bb0(" + ", ".join(f"%{m}: T" for m in names) + "):\n" + body + "\n}")
    types = ", ".join(o[1] for o in outputs)
    text = (
        f"func.func @layer({', '.join(arguments)}) -> ({types}) {{\n"
        f"%r:{len(outputs)} = linalg_ext.recurrence {{{', '.join(flags)}}}"
        f" ins({', '.join('%' + i[0] for i in inputs)} : {', '.join(i[1] for i in inputs)})"
        f" outs({', '.join('%' + o[0] for o in outputs)} : {types}) {' '.join(regions)} -> ({types})\n"
        f"return {', '.join(f'%r#{i}' for i in range(len(outputs)))} : {types}\n}}"
    )
    return text.replace(": T", f": {case.element}").replace(", T", f", {case.element}")


def inputs_of(case: Case) -> dict[int, Any]:
    gates, stages, parameters, states, _ = CELLS[case.cell]
    rng = np.random.default_rng(0)
    dtype = {"f32": np.float32, "f64": np.float64}[case.element]

    def random(*shape: int) -> Any:
        return (rng.standard_normal(shape) * 0.3).astype(dtype)

    n = case.size
    arrays = [random(case.steps, case.batch, gates * n), *[random(g * n, n) for g in stages]]
    arrays += [random(parameters, n)] * bool(parameters)
    arrays += [rng.integers(0, case.steps + 1, case.batch).astype(np.int32)] * case.lengths
    arrays += [random(case.batch, n) for _ in range(states)]
    scalars = [case.steps, case.batch] if case.dynamic else []
    return dict(enumerate([*arrays, *scalars]))


def check(case: Case, description: Any) -> None:
    func, inputs = function(text_of(case)), inputs_of(case)
    expected = run_reference(func, inputs)
    native = laid_out(func, description, inputs)
    assert generate(func, description).strategy == NAME
    got = run_native(func, compile_function(func, description), native)
    for a, b in zip(got, expected, strict=True):
        assert_close(a, b, 3e-6 if case.element == "f32" else 1e-12)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("size", [1, 5, 16, 23, 64])
@pytest.mark.parametrize("constant", [False, True])
def test_sizes(description: Any, cell: str, size: int, constant: bool) -> None:
    check(Case(cell, size=size, constant=constant), description)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("batch", [1, 2, 3, 4, 6, 7])
def test_rows(best: Any, cell: str, batch: int) -> None:
    check(Case(cell, batch=batch, size=40), best)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("lengths", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("steps", [1, 4, 5])
def test_directions_and_lengths(
    best: Any, cell: str, lengths: bool, reverse: bool, dynamic: bool, steps: int
) -> None:
    check(Case(cell, steps, 3, 20, lengths=lengths, reverse=reverse, dynamic=dynamic), best)


@pytest.mark.parametrize("cell", CELLS)
def test_double_precision(description: Any, cell: str) -> None:
    check(Case(cell, batch=2, size=11, element="f64"), description)
