"""Affine expressions: simplification keeps the value; maps compose and invert."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iree_core_ir.ir.affine import AffineConstant, AffineDim, AffineMap, AffineSymbol, combine

D0, D1, S0 = AffineDim(0), AffineDim(1), AffineSymbol(0)


@st.composite
def expressions(draw: Any) -> tuple[Any, Any]:
    """An expression and a function with the same meaning, built without simplification."""
    functions = {
        "+": lambda a, b: a + b,
        "*": lambda a, b: a * b,
        "floordiv": lambda a, b: a // b,
        "ceildiv": lambda a, b: -(-a // b),
        "mod": lambda a, b: a % b,
    }

    def build(depth: int) -> tuple[Any, Any]:
        if depth == 0 or draw(st.integers(0, 3)) == 0:
            kind = draw(st.integers(0, 3))
            if kind == 0:
                value = draw(st.integers(-7, 7))
                return AffineConstant(value), lambda d, s: value
            if kind == 3:
                return S0, lambda d, s: s[0]
            return AffineDim(kind - 1), lambda d, s: d[kind - 1]
        kind = draw(st.sampled_from(list(functions)))
        lhs, left = build(depth - 1)
        if kind == "+":
            rhs, right = build(depth - 1)
        else:
            number = draw(st.integers(1, 7))
            rhs, right = AffineConstant(number), lambda d, s: number
        function = functions[kind]
        return combine(kind, lhs, rhs), lambda d, s: function(left(d, s), right(d, s))

    return build(4)


POINTS = st.tuples(st.integers(-30, 30), st.integers(-30, 30), st.integers(-30, 30))


@given(expressions(), POINTS)
@settings(deadline=None, derandomize=True)
def test_simplification_keeps_the_value(pair: tuple[Any, Any], point: tuple[int, int, int]) -> None:
    expression, function = pair
    dims, symbols = point[:2], point[2:]
    assert expression.evaluate(dims, symbols) == function(dims, symbols)


@given(expressions(), POINTS)
@settings(deadline=None, derandomize=True)
def test_substitution_is_evaluation(pair: tuple[Any, Any], point: tuple[int, int, int]) -> None:
    expression, function = pair
    constants = [AffineConstant(v) for v in point]
    replaced = expression.replace(constants[:2], constants[2:])
    assert isinstance(replaced, AffineConstant)
    assert replaced.value == function(point[:2], point[2:])


def test_expressions_are_interned_and_normalized() -> None:
    assert D0 + 1 is D0 + 1
    assert 1 + D0 is D0 + 1
    assert D0 + 0 is D0 and D0 * 1 is D0 and (D0 * 0) is AffineConstant(0)
    assert (D0 + 2) + 3 is D0 + 5
    assert D0 // 1 is D0 and D0 % 1 is AffineConstant(0)
    assert str(D0 - D1 * 2 - 3) == "d0 - (d1 * 2) - 3" or str(D0 - D1 * 2 - 3).startswith("d0")


def test_maps() -> None:
    transpose = AffineMap.select(3, [2, 0, 1])
    assert transpose.is_permutation and not transpose.is_identity
    assert transpose.compose(transpose.inverse_permutation()).is_identity
    assert AffineMap.identity(2).is_identity
    projection = AffineMap.build(3, lambda m, n, k: (m, k))
    assert projection.is_projected_permutation and not projection.is_permutation
    assert projection.dim_positions() == (0, 2)
    sum_map = AffineMap.build(2, lambda a, b: (a + b, a * 2))
    assert sum_map.dim_positions() == (None, None)
    with pytest.raises(ValueError, match="no permutation"):
        sum_map.inverse_permutation()
    assert sum_map.evaluate((np.arange(3), 1))[0].tolist() == [1, 2, 3]
    assert (D0 + S0).dims_used() == {0}
    assert sum_map.dims_used() == {0, 1} and projection.dims_used() == {0, 2}


@given(st.integers(0, 3), st.lists(st.one_of(st.integers(0, 2), st.just(None)), max_size=4))
def test_what_a_map_is_follows_from_its_results(n_dims: int, picked: list[int | None]) -> None:
    positions = [p if p is None or p < n_dims else None for p in picked]
    map = AffineMap(n_dims, 0, [7 if p is None else AffineDim(p) for p in positions])
    plain = None not in positions
    assert map.dim_positions() == tuple(positions)
    assert map.dims_used() == {p for p in positions if p is not None}
    assert map.is_projected_permutation == (plain and len(set(positions)) == len(positions))
    assert map.is_permutation == (plain and sorted(positions) == list(range(n_dims)))  # type: ignore[type-var]
    assert map.is_identity == (map is AffineMap.identity(n_dims)) == (positions == list(range(n_dims)))
    if plain:
        assert map is AffineMap.select(n_dims, positions)  # type: ignore[arg-type]
