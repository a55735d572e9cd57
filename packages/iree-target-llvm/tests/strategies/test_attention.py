"""Attention in one dispatch, compiled and run here, against the interpreter on the same dispatch function."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from iree_base.element_types import element_type
from iree_codegen.select_strategy import generate
from iree_codegen.strategies.attention import NAME
from iree_codegen.testing import check_kernel
from iree_target_llvm.description import describe
from iree_target_llvm.target import compile_function
from iree_target_llvm.testing import run_native, run_reference

from ..conftest import assert_close, function

ARGUMENTS = ("m", "n", "h")
"""Dims that a dynamic case is told, in order."""


@dataclass(frozen=True)
class Case:
    """Sizes of heads, queries, keys, depth and width; the axes of every operand by those letters."""

    h: int = 2
    m: int = 20
    n: int = 24
    k: int = 16
    p: int = 16
    query: str = "hmk"
    keys: str = "hnk"
    values: str = "hnp"
    output: str = "hmp"
    mask: str | None = None
    boolean: bool = False
    causal: bool = False
    zero: str = ""
    """Which rows are 0: ``empty_rows_zero`` or ``nan_rows_zero``."""
    dynamic: str = ""
    """Letters of the dims known when called."""

    def shape(self, axes: str) -> tuple[int, ...]:
        return tuple(getattr(self, a) for a in axes)


def text_of(case: Case) -> str:
    operands = [(case.query, "f32"), (case.keys, "f32"), (case.values, "f32")]
    masks = [] if case.mask is None else [(case.mask, "i1" if case.boolean else "f32")]
    scalars = [a for a in ARGUMENTS if a in case.dynamic]
    tensors = [*operands, *masks]
    first = len(tensors) + 1

    def type_of(axes: str, element: str) -> str:
        sizes = ["?" if a in case.dynamic else str(getattr(case, a)) for a in axes]
        return f"tensor<{'x'.join([*sizes, element])}>"

    def argument(name: str, axes: str, element: str) -> str:
        if not case.dynamic:
            return f"%{name}: {type_of(axes, element)}"
        numbers = [str(first + scalars.index(a)) if a in case.dynamic else "-1" for a in axes]
        return f"%{name}: {type_of(axes, element)} {{iree.dims = array<i64: {', '.join(numbers)}>}}"

    names = ["q", "k", "v", "mask"][: len(tensors)]
    arguments = [argument(n, *t) for n, t in zip(names, tensors, strict=True)]
    arguments += ["%scale: f32", *[f"%{a}: index" for a in scalars], argument("o", case.output, "f32")]
    maps = [case.query, case.keys, case.values, "", *(m[0] for m in masks), case.output]
    spelled = ", ".join(f"affine_map<(h, m, n, k, p) -> ({', '.join(m)})>" for m in maps)
    flags = "causal " * case.causal + f"{case.zero} "
    inputs = [*names[:3], "scale", *names[3:]]
    types = [type_of(*t) for t in operands] + ["f32"] + [type_of(*t) for t in masks]
    result = type_of(case.output, "f32")
    return (
        f"func.func @attention({', '.join(arguments)}) -> {result} {{\n"
        f"%r = linalg_ext.attention {flags}{{indexing_maps = [{spelled}]}}"
        f" ins({', '.join('%' + i for i in inputs)} : {', '.join(types)}) outs(%o : {result}) -> {result}\n"
        f"return %r : {result}\n}}"
    )


def _conversion(result: str, source: str, target: str, sizes: list[str], cast: str) -> str:
    """An op that converts element by element: ``extf`` from bf16 or ``truncf`` to it."""
    x, y = ("bf16", "f32") if cast == "extf" else ("f32", "bf16")
    loops = ", ".join(f"d{i}" for i in range(len(sizes)))
    same = f"affine_map<({loops}) -> ({loops})>"
    parallel = ", ".join(['"parallel"'] * len(sizes))
    before, after = (f"tensor<{'x'.join([*sizes, t])}>" for t in (x, y))
    return (
        f"{result} = linalg.generic {{indexing_maps = [{same}, {same}], iterator_types = [{parallel}]}}"
        f" ins({source} : {before}) outs({target} : {after}) {{\n^bb0(%x: {x}, %y: {y}):\n"
        f"%c = arith.{cast} %x : {x} to {y}\nlinalg.yield %c : {y}\n}} -> {after}\n"
    )


def narrowed(case: Case, names: str) -> str:
    """The case with operands ``names`` (q, k, v, o) as bf16: widened in front of the attention, rounded
    behind it."""
    head, attention, tail = text_of(case).split("\n", 2)
    axes = {"q": case.query, "k": case.keys, "v": case.values, "o": case.output}
    for name in names:
        sizes = [str(n) for n in case.shape(axes[name])]
        wide, narrow = (f"tensor<{'x'.join([*sizes, t])}>" for t in ("f32", "bf16"))
        head = (
            head.replace(f"%{name}: {wide}", f"%{name}: {narrow}") + f"\n%e{name} = tensor.empty() : {wide}"
        )
        if name != "o":
            head += "\n" + _conversion(f"%w{name}", f"%{name}", f"%e{name}", sizes, "extf")
            attention = attention.replace(f"(%{name},", f"(%w{name},").replace(f" %{name},", f" %w{name},")
            continue
        head = head.replace(f"-> {wide} {{", f"-> {narrow} {{")
        attention = attention.replace("outs(%o", "outs(%eo")
        tail = _conversion("%s", "%r", "%o", sizes, "truncf") + f"return %s : {narrow}\n}}"
    return "\n".join([head, attention, tail])


def inputs_of(case: Case) -> list[Any]:
    rng = np.random.default_rng(0)
    arrays: list[Any] = [
        rng.standard_normal(case.shape(axes)).astype(np.float32)
        for axes in (case.query, case.keys, case.values)
    ]
    if case.mask is not None:
        mask = rng.standard_normal(case.shape(case.mask)).astype(np.float32)
        arrays.append(mask > -0.5 if case.boolean else mask)
    scalars = [getattr(case, a) for a in ARGUMENTS if a in case.dynamic]
    return [*arrays, np.float32(0.25), *scalars]


def check(case: Case, description: Any, arrays: list[Any] | None = None, tolerance: float = 3e-6) -> Any:
    func = function(text_of(case))
    inputs = dict(enumerate(inputs_of(case) if arrays is None else arrays))
    assert generate(func, description).strategy == NAME
    (got,) = run_native(func, compile_function(func, description), inputs)
    (expected,) = run_reference(func, inputs)
    assert_close(got, expected, tolerance)
    return got


@pytest.mark.parametrize("m", [1, 31, 33])
@pytest.mark.parametrize("n", [1, 29])
def test_queries_and_keys(description: Any, m: int, n: int) -> None:
    check(Case(m=m, n=n), description)


@pytest.mark.parametrize("m", [3, 16, 48, 80])
@pytest.mark.parametrize("n", [1, 13, 27])
def test_more_queries_and_keys(best: Any, m: int, n: int) -> None:
    check(Case(m=m, n=n), best)


@pytest.mark.parametrize("k", [1, 33])
@pytest.mark.parametrize("p", [1, 7, 33])
def test_depth_and_width(description: Any, k: int, p: int) -> None:
    check(Case(k=k, p=p), description)


@pytest.mark.parametrize(
    "axes",
    [("mhk", "nhk", "nhp", "mhp"), ("mhk", "nhk", "nhp", "hmp"), ("hkm", "hkn", "hpn", "hpm"),
     ("kmh", "knh", "pnh", "pmh"), ("hmk", "nk", "np", "hmp"), ("hmk", "hkn", "nhp", "mph")],
)  # fmt: skip
@pytest.mark.parametrize("k", [8, 32])
def test_operands_lie_anyhow(description: Any, axes: tuple[str, str, str, str], k: int) -> None:
    query, keys, values, output = axes
    check(Case(m=21, k=k, p=k, query=query, keys=keys, values=values, output=output), description)


@pytest.mark.parametrize("mask", ["hmn", "mn", "nm", "n", "hn", "hnm", "m", "h"])
@pytest.mark.parametrize("boolean", [False, True])
def test_masks(description: Any, mask: str, boolean: bool) -> None:
    check(Case(m=21, mask=mask, boolean=boolean), description)


@pytest.mark.parametrize("n", [255, 256, 257, 300, 1030])
@pytest.mark.parametrize("mask", [None, "nm"])
def test_many_keys(best: Any, n: int, mask: str | None) -> None:
    check(Case(h=1, m=33, n=n, mask=mask), best)


@pytest.mark.parametrize("m", [1, 15, 40, 300])
@pytest.mark.parametrize("n", [1, 40, 700])
@pytest.mark.parametrize("dynamic", ["", "mnh"])
def test_causal(best: Any, m: int, n: int, dynamic: str) -> None:
    check(Case(h=1, m=m, n=n, causal=True, dynamic=dynamic), best)


@pytest.mark.parametrize(("m", "n", "dynamic"), [(m, n, "mnh") for m in (0, 1, 45) for n in (0, 9, 256, 530)]
    + [(m, 45, "m") for m in (0, 1, 16, 45)] + [(45, n, "n") for n in (0, 1, 256, 530)])  # fmt: skip
@pytest.mark.parametrize("mask", [None, "mn"])
def test_dims_known_when_called(best: Any, dynamic: str, m: int, n: int, mask: str | None) -> None:
    case = Case(m=m, n=n, mask=mask, query="mhk", keys="nhk", values="nhp", output="mhp", dynamic=dynamic)
    check(case, best)


@pytest.mark.parametrize("dynamic", ["", "n", "m"])
def test_dynamic_dims_on_every_level(description: Any, dynamic: str) -> None:
    check(Case(m=37, n=290, dynamic=dynamic, mask="n"), description)


def test_heads_share_keys(best: Any) -> None:
    text = text_of(Case(h=6)).replace("tensor<6x24x16xf32>", "tensor<2x24x16xf32>")
    text = text.replace("-> (h, n, k)", "-> (h floordiv 3, n, k)").replace(
        "-> (h, n, p)", "-> (h floordiv 3, n, p)"
    )
    func = function(text)
    q, k, v, scale = inputs_of(Case(h=6))
    inputs = dict(enumerate([q, k[:2], v[:2], scale]))
    assert generate(func, best).strategy == NAME
    assert_close(
        run_native(func, compile_function(func, best), inputs)[0], run_reference(func, inputs)[0], 3e-6
    )


@pytest.mark.parametrize("n", [24, 600])
@pytest.mark.parametrize("zero", ["", "empty_rows_zero", "nan_rows_zero"])
@pytest.mark.parametrize("boolean", [False, True])
def test_rows_that_are_masked_wholly(description: Any, n: int, zero: str, boolean: bool) -> None:
    """They are NaN, or 0 where asked for, and others are not touched; keys masked first or last count 0."""
    case = Case(n=n, mask="mn", boolean=boolean, zero=zero)
    arrays = inputs_of(case)
    mask = np.ones((20, n), np.bool_)
    mask[3] = mask[5, : n - 2] = mask[6, 2:] = mask[19] = False
    arrays[3] = mask if boolean else np.where(mask, np.float32(0), np.float32(-np.inf))
    got = check(case, description, arrays)
    assert (got[:, [3, 19]] == 0).all() if zero else np.isnan(got[:, [3, 19]]).all()
    assert np.isfinite(np.delete(got, [3, 19], 1)).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38, -3e38])
@pytest.mark.parametrize("n", [24, 600])
@pytest.mark.parametrize("zero", ["", "empty_rows_zero", "nan_rows_zero"])
def test_scores_out_of_range(best: Any, value: float, n: int, zero: str) -> None:
    """NaN and +inf spoil their row alone (or make it 0), the finite ends of the range none."""
    case = Case(n=n, mask="mn", zero=zero)
    arrays = inputs_of(case)
    arrays[3][4, 7] = arrays[3][9, n - 1] = arrays[3][9, 0] = value
    arrays[3][11] = -3.4028235e38
    got = check(case, best, arrays)
    spoiled = np.isnan(value) or value == np.inf
    assert np.isnan(got[:, [4, 9]]).all() == (spoiled and zero != "nan_rows_zero")
    assert (got[:, [4, 9]] == 0).all() == (spoiled and zero == "nan_rows_zero")


@pytest.mark.parametrize("level", ["x86-64", "x86-64-v3", "x86-64-v4"])
def test_the_kernel_in_the_interpreter(level: str) -> None:
    case = Case(h=1, m=19, n=21, k=9, p=10, mask="mn", query="mhk", output="mhp")
    func = function(text_of(case))
    description = describe({"triple": "x86_64-unknown-linux-gnu", "cpu": level})
    kernel = generate(func, description)
    assert kernel.strategy == NAME
    check_kernel(kernel, func, dict(enumerate(inputs_of(case))), description)


@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_error_against_float64(best: Any, scale: float) -> None:
    """No worse than two products and a softmax in f32."""
    case = Case(h=2, m=64, n=300, k=64, p=64)
    arrays = inputs_of(case)
    arrays[3] = np.float32(scale / 8)
    q, k, v = (a.astype(np.float64) for a in arrays[:3])
    scores = np.einsum("hmk,hnk->hmn", q, k) * float(arrays[3])
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    exact = np.einsum("hmn,hnp->hmp", weights / weights.sum(-1, keepdims=True), v)
    func = function(text_of(case))
    inputs = dict(enumerate(arrays))
    (got,) = run_native(func, compile_function(func, best), inputs)
    (plain,) = run_reference(func, inputs)
    assert np.abs(got - exact).max() <= 2 * np.abs(plain - exact).max()


@pytest.mark.parametrize("axes", ["mhp", "hpm"])
@pytest.mark.parametrize("m", [21, 32])
def test_results_may_be_rounded(best: Any, axes: str, m: int) -> None:
    case = Case(m=m, p=20, output=axes)
    func = function(narrowed(case, "o"))
    inputs = dict(enumerate(inputs_of(case)))
    assert generate(func, best).strategy == NAME
    (got,) = run_native(func, compile_function(func, best), inputs)
    (expected,) = run_reference(func, inputs)
    assert got.dtype == expected.dtype == element_type("bf16").dtype
    assert_close(got.astype(np.float32), expected.astype(np.float32), 2.0**-8)
