"""The integer operations: defined everywhere, and what their names say."""

from __future__ import annotations

from fractions import Fraction
from math import ceil, floor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iree_hal import param_ops

int64 = st.integers(-(1 << 63), (1 << 63) - 1) | st.sampled_from([0, 1, -1, -(1 << 63), (1 << 63) - 1])


@pytest.mark.parametrize("name", sorted(param_ops.PARAM_OPS))
@given(a=int64, b=int64)
def test_results_are_int64(name: str, a: int, b: int) -> None:
    assert -(1 << 63) <= param_ops.evaluate(name, a, b) < 1 << 63


@given(a=int64, b=int64.filter(bool))
def test_division_rounds_as_named(a: int, b: int) -> None:
    quotient = Fraction(a, b)
    assert param_ops.evaluate("floordiv", a, b) == param_ops.wrap(floor(quotient))
    assert param_ops.evaluate("ceildiv", a, b) == param_ops.wrap(ceil(quotient))
    assert param_ops.evaluate("mod", a, b) == a - b * floor(quotient)


@given(a=int64)
def test_division_by_zero_is_zero(a: int) -> None:
    assert [param_ops.evaluate(name, a, 0) for name in ("floordiv", "ceildiv", "mod")] == [0, 0, 0]


def test_codes_are_unique_and_leave_room_for_constants() -> None:
    codes = [op.code for op in param_ops.PARAM_OPS.values()]
    assert len(set(codes)) == len(codes)
    assert param_ops.CONST not in codes
