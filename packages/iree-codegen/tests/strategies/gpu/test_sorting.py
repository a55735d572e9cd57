"""Rows sorted by a workgroup against the interpreter: order of equal elements, NaN, element types, long rows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from iree_base.element_types import element_type
from iree_codegen.strategies.gpu.sorting import sorting

from .dispatches import DEVICES, SMALL, check

TINY = replace(SMALL, shared_memory_bytes=256)
"""32 entries of 8 bytes."""


def shaped(shape: tuple[int, ...], type: str) -> str:
    return f"tensor<{''.join(f'{n}x' for n in shape)}{type}>"


def sort(shape: tuple[int, ...], axis: int, type: str = "f32", flag: str = "") -> str:
    a, p = shaped(shape, type), shaped(shape, "i64")
    return f"""
func.func @sort(%a: {a}, %v: {a}, %p: {p}) -> ({a}, {p}) {{
  %0:2 = linalg_ext.sort dimension({axis}) {flag} ins(%a : {a}) outs(%v, %p : {a}, {p}) -> {a}, {p}
  return %0#0, %0#1 : {a}, {p}
}}"""


def top(n: int, k: int, flag: str = "", positions: str = "i64") -> str:
    a, v, p = shaped((2, n), "f32"), shaped((2, k), "f32"), shaped((2, k), positions)
    return f"""
func.func @top(%a: {a}, %v: {v}, %p: {p}) -> ({v}, {p}) {{
  %0:2 = linalg_ext.topk dimension(1) {flag} ins(%a : {a}) outs(%v, %p : {v}, {p}) -> {v}, {p}
  return %0#0, %0#1 : {v}, {p}
}}"""


def values(shape: tuple[int, ...], type: str = "f32") -> Any:
    """Many equal elements, NaN and infinities among floats."""
    rng = np.random.default_rng(2)
    dtype = element_type(type).dtype
    if dtype.kind == "b":
        return rng.integers(0, 2, shape).astype(bool)
    if dtype.kind in "iu":
        return rng.integers(-6, 6, shape).astype(dtype)
    found = np.round(rng.standard_normal(shape) * 4) / 2
    found.reshape(-1)[::11], found.reshape(-1)[5::13], found.reshape(-1)[3::17] = np.nan, np.inf, -0.0
    return found.astype(dtype)


@pytest.mark.parametrize("type", ["f32", "f16", "bf16", "f64", "i32", "i8", "i64", "i1"])
@pytest.mark.parametrize("flag", ["", "descending"])
def test_types(type: str, flag: str) -> None:
    check(sort((37,), 0, type, flag), {0: values((37,), type)}, sorting, SMALL, tolerance=0)


@pytest.mark.parametrize(("shape", "axis"), [((33, 3), 0), ((32,), 0), ((2, 40, 2), 1)], ids=str)
def test_axes(shape: tuple[int, ...], axis: int) -> None:
    check(sort(shape, axis), {0: values(shape)}, sorting, SMALL, tolerance=0)


@pytest.mark.parametrize("flag", ["", "smallest"])
@pytest.mark.parametrize("n", [33, 70, 100])
def test_tops_of_long_rows(n: int, flag: str) -> None:
    kernel = check(top(n, 5, flag), {0: values((2, n))}, sorting, TINY, tolerance=0, invocations=32)
    assert kernel is not None and "32 entries" in kernel.why


def test_what_does_not_fit_is_left_to_others() -> None:
    check(sort((2, 40), 1), {}, sorting, TINY, declined=True)
    check(top(70, 20), {}, sorting, TINY, declined=True)
    check(top(200, 5, positions="i8"), {}, sorting, SMALL, declined=True)
    check(sort((2, 9), 1), {}, sorting, SMALL, declined=True)
    check(sort((2, 40), 1), {}, sorting, DEVICES["cpu"], declined=True)
