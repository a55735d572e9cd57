"""affine: maps against Python's floor division, delinearization against numpy's unravel_index."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iree_core_ir.errors import CoreIrError

Evaluate = Callable[..., Any]
SMALL = st.integers(-100, 100)


@given(a=SMALL, b=SMALL, s=SMALL)
def test_apply_min_max(evaluate: Evaluate, a: int, b: int, s: int) -> None:
    expression = "(d0 + s0) floordiv 3 * 5 - d1 mod 7 + s0 ceildiv 4"
    apply = f"affine.apply affine_map<(d0, d1)[s0] -> ({expression})>(%a, %b)[%c]"
    expected = (a + s) // 3 * 5 - b % 7 + -(-s // 4)
    assert evaluate(apply, ["index"] * 3, "index", a, b, s) == expected
    for name, choose in (("min", min), ("max", max)):
        text = f"affine.{name} affine_map<(d0, d1)[s0] -> (d0 - d1, 8, d0 + s0)>(%a, %b)[%c]"
        assert evaluate(text, ["index"] * 3, "index", a, b, s) == choose(a - b, 8, a + s)


def test_division_by_zero_is_an_error(evaluate: Evaluate) -> None:
    with pytest.raises(CoreIrError, match="divides by zero"):
        evaluate("affine.apply affine_map<()[s0] -> (8 floordiv s0)>()[%a]", ["index"], "index", 0)


@given(data=st.data(), shape=st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(1, 5)))
def test_delinearize_is_unravel_index(
    evaluate: Evaluate, data: st.DataObject, shape: tuple[int, int, int]
) -> None:
    linear = data.draw(st.integers(0, int(np.prod(shape)) - 1))
    b, c = shape[1:]
    split = f"affine.delinearize_index %a into (%b, {b}, {c}) : index, index, index"
    coordinates = evaluate(split, ["index"] * 2, ["index"] * 3, linear, shape[0])
    assert coordinates == tuple(int(i) for i in np.unravel_index(linear, shape))
    without = evaluate(
        f"affine.delinearize_index %a into ({b}, {c}) : index, index, index", ["index"], ["index"] * 3, linear
    )
    assert without == coordinates
    join = f"affine.linearize_index disjoint [%a, %b, %c] by ({b}, {c}) : index"
    assert evaluate(join, ["index"] * 3, "index", *coordinates) == linear


def test_delinearize_of_a_negative_index_floors(evaluate: Evaluate) -> None:
    assert evaluate(
        "affine.delinearize_index %a into (3, 4) : index, index", ["index"], ["index"] * 2, -1
    ) == (-1, 3)


def test_basis_must_be_positive(evaluate: Evaluate) -> None:
    with pytest.raises(CoreIrError, match="basis"):
        evaluate(
            "affine.delinearize_index %a into (%b, 4) : index, index", ["index"] * 2, ["index"] * 2, 1, 0
        )
