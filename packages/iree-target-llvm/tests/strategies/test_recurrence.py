"""Recurrent layers, compiled and run here, against the interpreter on the same dispatch function."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from iree_codegen.select_strategy import generate
from iree_codegen.strategies.recurrence import NAME
from iree_target_llvm.description import describe
from iree_target_llvm.target import compile_function
from iree_target_llvm.testing import NativeKernel, run_native, run_reference

from ..conftest import assert_close, function, laid_out, usable_levels

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
    # Many large weights make errors grow from step to step.
    scale = dtype(min(1, 64 / n))
    arrays = [random(case.steps, case.batch, gates * n), *[random(g * n, n) * scale for g in stages]]
    arrays += [random(parameters, n)] * bool(parameters)
    arrays += [rng.integers(0, case.steps + 1, case.batch).astype(np.int32)] * case.lengths
    arrays += [random(case.batch, n) for _ in range(states)]
    scalars = [case.steps, case.batch] if case.dynamic else []
    return dict(enumerate([*arrays, *scalars]))


def check(case: Case, description: Any, shared: bool = False, edit: Any = None) -> None:
    """``shared``: workgroups share a step, and any of them alone, or all in any order, do the same."""
    func, inputs = function(text_of(case)), inputs_of(case)
    if edit is not None:
        edit(inputs)
    expected = run_reference(func, inputs)
    native = laid_out(func, description, inputs)
    kernel = generate(func, description)
    assert kernel.strategy == NAME
    assert (kernel.export.workspace is not None) == shared
    compiled = compile_function(func, description)
    got = run_native(func, compiled, native)
    for a, b in zip(got, expected, strict=True):
        assert_close(a, b, 3e-6 if case.element == "f32" else 1e-12)
    if shared:
        scalars = [inputs[n] for n in sorted(inputs) if isinstance(inputs[n], int)]
        x, y, z = NativeKernel.load(compiled).workgroups(scalars)
        ids = [(i, j, 0) for j in range(y) for i in range(x)]
        assert x > 1 and z == 1
        last = [i for i in ids if i[0] == x - 1]
        for only in (last, ids[::-1]):
            for a, b in zip(run_native(func, compiled, native, only), got, strict=True):
                np.testing.assert_array_equal(a, b)


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


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("size", [225, 256, 321])
@pytest.mark.parametrize("batch", [1, 2, 7])
def test_shared_steps(best: Any, cell: str, size: int, batch: int) -> None:
    check(Case(cell, size=size, batch=batch), best, shared=True)


@pytest.mark.parametrize("level", [0, -1])
@pytest.mark.parametrize("cell", CELLS)
def test_shared_steps_of_any_vectors(cell: str, level: int) -> None:
    check(Case(cell, size=250), describe({"cpu": usable_levels()[level]}), shared=True)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("lengths", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("steps", [1, 5])
def test_shared_directions_and_lengths(
    best: Any, cell: str, lengths: bool, reverse: bool, dynamic: bool, steps: int
) -> None:
    case = Case(cell, steps, 3, 260, lengths=lengths, reverse=reverse, dynamic=dynamic)
    check(case, best, shared=True)


@pytest.mark.parametrize("cell", CELLS)
def test_what_is_not_finite_goes_where_it_would(best: Any, cell: str) -> None:
    def edit(inputs: dict[int, Any]) -> None:
        inputs[0][1, 0, 3] = np.nan
        inputs[0][2, 1, 7] = np.inf

    check(Case(cell, batch=2, size=256), best, shared=True, edit=edit)


def test_short_steps_and_weights_of_a_call_are_not_shared(best: Any) -> None:
    check(Case("two states", size=48), best)
    check(Case("two states", size=256, constant=False), best)


@pytest.mark.parametrize("architecture", ["x86_64", "aarch64", "riscv64"])
def test_machines_that_share_steps(architecture: str) -> None:
    description = describe({"triple": f"{architecture}-unknown-linux-gnu", "cpu": "generic"})
    func = function(text_of(Case("two states", size=256)))
    assert compile_function(func, description).exports[0].workspace is not None
