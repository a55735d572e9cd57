"""Extents as expressions: simplification keeps values, forms travel as lists."""

from __future__ import annotations

import numpy as np
import pytest

from iree_codegen import dims
from iree_codegen.dims import Dim

A, B = dims.arg(0), dims.arg(1)


def random_dim(rng: np.random.Generator, depth: int) -> Dim:
    if depth == 0:
        return [A, B, int(rng.integers(1, 9))][rng.integers(3)]
    kind = ["add", "mul", "floordiv", "ceildiv", "mod", "min", "max"][rng.integers(7)]
    left = random_dim(rng, depth - 1)
    right = random_dim(rng, depth - 1) if kind in ("add", "mul", "min", "max") else int(rng.integers(1, 9))
    return dims.COMBINE[kind](left, right)


@pytest.mark.parametrize("seed", range(50))
def test_simplification_keeps_the_value(seed: int) -> None:
    rng = np.random.default_rng(seed)
    dim = random_dim(rng, 3)
    again = dims.from_list(dims.to_list(dim))
    for a, b in rng.integers(1, 50, (5, 2)):
        values = {0: int(a), 1: int(b)}
        assert dims.evaluate(dim, values) == dims.evaluate(again, values)


def test_equal_products_are_equal() -> None:
    assert dims.mul(dims.mul(A, 4), B) == dims.mul(B, dims.mul(4, A))
    assert dims.divide_exactly(dims.mul(dims.mul(A, B), 8), dims.mul(A, 2)) == dims.mul(B, 4)
    assert dims.divide_exactly(A, 2) is None


def test_strides_and_totals() -> None:
    assert dims.strides((A, 4, 5)) == (20, 5, 1)
    assert dims.strides((2, A, 5)) == (dims.mul(A, 5), 5, 1)
    assert dims.total((2, A, 3)) == dims.mul(A, 6)


def test_sums_collect_constants() -> None:
    assert dims.add(dims.add(A, 3), -3) == A
    assert dims.sub(A, A) == 0
