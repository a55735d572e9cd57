"""Attention on matrix tiles: kernel IR in the interpreter, and its machine code where AMX is done in Python,
against the interpreter on the same dispatch function in f32."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from iree_base.element_types import element_type
from iree_codegen.legalize.kernel import legalize
from iree_codegen.rounded_arguments import rounded_arguments
from iree_codegen.select_strategy import generate
from iree_codegen.strategies import attention
from iree_codegen.strategies.tile_attention import NAME
from iree_codegen.testing import run_reference
from iree_core_ir.target import ExecutableObject
from iree_target_llvm.llvm_object import compile_text
from iree_target_llvm.module_printer import module_text
from iree_target_llvm.target import function_attributes
from iree_target_llvm.testing import run_native

from ..conftest import assert_close, function
from ..tile_machine import tile_machine
from .test_attention import Case, inputs_of, narrowed, text_of
from .test_tile_matmul import PRECISIONS, machine, results, runs_here

TOLERANCE = {"medium": 1.5e-2, "high": 3e-5}
"""Of the greatest result: an operand has 8 bits, or 16."""


MANY_SCORES = 3000
"""More are left to the machine code, where it runs: the interpreter goes from op to op."""


def check(case: Case, precision: str, arrays: list[Any] | None = None, native: bool = True) -> Any:
    func, description = function(text_of(case)), machine(precision)
    inputs = dict(enumerate(inputs_of(case) if arrays is None else arrays))
    (expected,) = run_reference(func, inputs)
    if native and runs_here() and case.h * case.m * case.n > MANY_SCORES:
        found = [("native", machine_code(func, description, inputs))]
    else:
        found = results(func, description, inputs, native and runs_here(), NAME)
    for _, got in found:
        assert_close(got, expected, TOLERANCE[precision])
    return found[-1][1]


def machine_code(func: Any, description: Any, inputs: dict[int, Any]) -> Any:
    """What the kernel's machine code computes."""
    kernel = generate(func, description)
    assert kernel.strategy == NAME
    legalize(kernel.module, description)
    text = module_text(kernel.module, function_attributes(description))
    data = compile_text(text, description, optimize=False, name=kernel.name)
    with tile_machine():
        return run_native(func, ExecutableObject(data, (kernel.export,)), inputs)[0]


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(
    ("m", "n", "k", "p"),
    [
        (4, 16, 32, 32),
        (16, 32, 64, 64),
        (17, 33, 40, 40),
        (33, 29, 80, 80),
        (37, 70, 24, 9),
        (70, 65, 32, 48),
    ],
)
def test_sizes(m: int, n: int, k: int, p: int, precision: str) -> None:
    check(Case(h=1, m=m, n=n, k=k, p=p), precision)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(
    "axes",
    [("mhk", "nhk", "nhp", "mhp"), ("hkm", "hkn", "hpn", "hpm"), ("hmk", "nk", "np", "hmp"),
     ("kmh", "hnk", "nhp", "mph")],
)  # fmt: skip
def test_operands_lie_anyhow(axes: tuple[str, str, str, str], precision: str) -> None:
    query, keys, values, output = axes
    case = Case(m=21, n=39, k=40, p=20, query=query, keys=keys, values=values, output=output)
    check(case, precision)


@pytest.mark.parametrize("boolean", [False, True])
@pytest.mark.parametrize("mask", ["hmn", "nm", "n", "m"])
def test_masks(mask: str, boolean: bool) -> None:
    check(Case(m=21, n=39, mask=mask, boolean=boolean), "high")


@pytest.mark.parametrize(("m", "n", "mask"), [(40, 400, None), (9, 641, None), (20, 330, "mn")])
def test_more_keys_than_a_slab_holds(m: int, n: int, mask: str | None) -> None:
    check(Case(h=1, m=m, n=n, k=32, mask=mask), "high")


@pytest.mark.parametrize(
    ("m", "n", "dynamic"),
    [(15, 40, ""), (70, 40, ""), (70, 70, "mnh"), (40, 400, ""), (330, 330, ""), (40, 400, "mnh")],
)
def test_causal(m: int, n: int, dynamic: str) -> None:
    check(Case(h=1, m=m, n=n, causal=True, dynamic=dynamic), "high")


@pytest.mark.parametrize(
    ("m", "n", "dynamic", "mask"),
    [
        (0, 9, "mnh", None), (1, 0, "mnh", None), (1, 9, "mnh", "mn"), (45, 400, "mnh", None),
        (45, 9, "mnh", "mn"), (0, 45, "m", "mn"), (45, 45, "m", None), (300, 20, "m", None),
        (45, 0, "n", "mn"), (45, 333, "n", "mn"),
    ],
)  # fmt: skip
def test_dims_known_when_called(dynamic: str, m: int, n: int, mask: str | None) -> None:
    case = Case(m=m, n=n, mask=mask, query="mhk", keys="nhk", values="nhp", output="mhp", dynamic=dynamic)
    check(case, "high")


def test_rows_are_shared_out_where_heads_are_few() -> None:
    case = Case(h=1, m=70, n=40, k=32, p=32)
    kernel = generate(function(text_of(case)), machine("medium"))
    assert kernel.export.workgroup_count[0] == ["const", 2]
    case = Case(h=1, m=530, n=33, k=32, p=32)
    check(case, "medium")


@pytest.mark.parametrize("zero", ["", "empty_rows_zero", "nan_rows_zero"])
@pytest.mark.parametrize(("n", "boolean"), [(40, False), (40, True), (330, False)])
def test_rows_that_are_masked_wholly(n: int, zero: str, boolean: bool) -> None:
    """They are NaN, or 0 where asked for, and others are not touched; keys masked first or last count 0."""
    case = Case(n=n, mask="mn", boolean=boolean, zero=zero)
    arrays = inputs_of(case)
    mask = np.ones((20, n), np.bool_)
    mask[3] = mask[5, : n - 2] = mask[6, 2:] = mask[19] = False
    arrays[3] = mask if boolean else np.where(mask, np.float32(0), np.float32(-np.inf))
    got = check(case, "high", arrays)
    assert (got[:, [3, 19]] == 0).all() if zero else np.isnan(got[:, [3, 19]]).all()
    assert np.isfinite(np.delete(got, [3, 19], 1)).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38, -3e38])
@pytest.mark.parametrize(("n", "zero"), [(40, ""), (40, "empty_rows_zero"), (40, "nan_rows_zero"), (330, "")])
def test_scores_out_of_range(value: float, n: int, zero: str) -> None:
    """NaN and +inf spoil their row alone (or make it 0), the finite ends of the range none."""
    case = Case(n=n, mask="mn", zero=zero)
    arrays = inputs_of(case)
    arrays[3][4, 7] = arrays[3][9, n - 1] = arrays[3][9, 0] = value
    arrays[3][11] = -3.4028235e38
    got = check(case, "high", arrays)
    spoiled = np.isnan(value) or value == np.inf
    assert np.isnan(got[:, [4, 9]]).all() == (spoiled and zero != "nan_rows_zero")
    assert (got[:, [4, 9]] == 0).all() == (spoiled and zero == "nan_rows_zero")


@pytest.mark.parametrize("precision", PRECISIONS)
def test_numbers_that_are_not_finite_stay_in_their_rows_and_columns(precision: str) -> None:
    case = Case(h=1, m=20, n=40, k=40, p=40)
    arrays = inputs_of(case)
    arrays[0][0, 3, 5], arrays[2][0, 7, 11] = np.nan, np.nan
    got = check(case, precision, arrays)[0]
    assert np.isnan(got[3]).all() and np.isnan(got[:, 11]).all()
    assert np.isfinite(np.delete(np.delete(got, 3, 0), 11, 1)).all()


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("n", [300, 330])
def test_error_against_float64(precision: str, n: int) -> None:
    """``high`` is within a few times of f32, ``medium`` within the rounding of operands."""
    case = Case(h=1, m=64, n=n, k=64, p=64)
    arrays = inputs_of(case)
    arrays[3] = np.float32(0.125)
    q, k, v = (a.astype(np.float64) for a in arrays[:3])
    scores = np.einsum("hmk,hnk->hmn", q, k) * float(arrays[3])
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    exact = np.einsum("hmn,hnp->hmp", weights / weights.sum(-1, keepdims=True), v)
    got = check(case, precision, arrays)
    error = np.abs(got - exact).max() / np.abs(exact).max()
    assert error <= (2.0**-7 if precision == "medium" else 2e-5)


@pytest.mark.parametrize(
    "case",
    [Case(m=3, n=64, k=64, p=64), Case(m=64, n=5, k=16, p=16), Case(m=64, n=64, k=2, p=2)],
    ids=["few queries", "few keys", "small heads"],
)
def test_what_tiles_do_not_pay_for_stays_in_vectors(case: Case) -> None:
    assert generate(function(text_of(case)), machine("medium")).strategy == attention.NAME


@pytest.mark.parametrize(
    ("precision", "features"),
    [("highest", "+amx-tile,+amx-bf16,+avx512bf16"), ("medium", "+avx512bf16"), ("high", "+amx-tile")],
)
def test_what_has_no_tiles_or_wants_f32_stays_in_vectors(precision: str, features: str) -> None:
    func = function(text_of(Case(m=64, n=64, k=64, p=64)))
    assert generate(func, machine(precision, features)).strategy == attention.NAME


@pytest.mark.parametrize("axes", [("mhk", "nhk", "nhp", "mhp"), ("hkm", "hkn", "hpn", "hpm")])
@pytest.mark.parametrize(("k", "names"), [(64, "qkvo"), (40, "qkv"), (40, "kvo")])
def test_operands_that_are_rounded_already(axes: tuple[str, str, str, str], k: int, names: str) -> None:
    """They are taken as they are: the results are those of the numbers before rounding, to the last bit."""
    query, keys, values, output = axes
    case = Case(m=21, n=39, k=k, p=k, query=query, keys=keys, values=values, output=output)
    bf16 = element_type("bf16").dtype
    rounded = [a.astype(bf16) for a in inputs_of(case)[:3]]
    scale = inputs_of(case)[3]
    wide = {i: a.astype(np.float32) for i, a in enumerate(rounded)} | {3: scale}
    narrow = {i: a if "qkv"[i] in names else wide[i] for i, a in enumerate(rounded)} | {3: scale}
    plain = function(text_of(case))
    func = function(narrowed(case, names))
    description = machine("medium")
    assert set(rounded_arguments(plain, description)) == {0, 1, 2}
    expected = results(plain, description, wide, runs_here(), NAME)
    for (form, got), (_, want) in zip(
        results(func, description, narrow, runs_here(), NAME), expected, strict=True
    ):
        np.testing.assert_array_equal(got, want.astype(got.dtype), form)
    assert not rounded_arguments(plain, machine("high"))
