"""Symbolic indices: splitting is exact, reshapes of reshapes cancel."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from iree_codegen import indexing
from iree_codegen.indexing import Affine, Var
from iree_core_ir.ir.affine import AffineDim


def value(form: Affine, values: dict[Var, int]) -> int:
    """The form's value for values of its variables."""
    total = form.constant
    assert isinstance(total, int)
    for var, coefficient in form.terms:
        assert isinstance(coefficient, int)
        if var.definition is None:
            own = values[var]
        else:
            kind, inner, divisor = var.definition
            assert isinstance(divisor, int)
            own = value(inner, values) // divisor if kind == "floordiv" else value(inner, values) % divisor
        total += coefficient * own
    return total


@pytest.mark.parametrize("seed", range(40))
def test_quotients_and_remainders_keep_the_value(seed: int) -> None:
    rng = np.random.default_rng(seed)
    variables = [Var(f"v{i}", int(rng.integers(1, 12))) for i in range(3)]
    form: Any = indexing.constant(int(rng.integers(0, 5)))
    for var in variables:
        form = form + indexing.of(var).scaled(int(rng.integers(0, 30)))
    divisor = int(rng.integers(1, 20))
    quotient, remainder = indexing.floordiv(form, divisor), indexing.mod(form, divisor)
    back = quotient.scaled(divisor) + remainder
    for _ in range(10):
        at = {v: int(rng.integers(0, v.extent)) for v in variables}  # type: ignore[arg-type]
        number = value(form, at)
        assert value(quotient, at) == number // divisor
        assert value(remainder, at) == number % divisor
        assert value(back, at) == number


def test_a_variable_is_substituted_by_a_form() -> None:
    i, j, base, place = Var("i", 12), Var("j", 5), Var("base"), Var("place", 4)
    form = indexing.of(i).scaled(5) + indexing.of(j) + 7
    replaced = form.substituted({i: indexing.of(base) + indexing.of(place)})
    assert value(replaced, {base: 8, place: 3, j: 2}) == value(form, {i: 11, j: 2})
    assert form.substituted({}) == form
    assert form.substituted({i: indexing.ZERO, j: indexing.ZERO}) == indexing.constant(7)


def test_reshapes_cancel() -> None:
    i, j, k = Var("i", 4), Var("j", 6), Var("k", 5)
    forms = [indexing.of(v) for v in (i, j, k)]
    flat = indexing.linearize(forms, (4, 6, 5))
    assert indexing.delinearize(flat, (24, 5)) == [forms[0].scaled(6) + forms[1], forms[2]]
    assert indexing.delinearize(flat, (4, 6, 5)) == forms


def test_merged_loops_address_memory_without_division() -> None:
    whole = Var("whole", 120)
    parts = indexing.delinearize(indexing.of(whole), (4, 6, 5))
    assert indexing.linearize(parts, (4, 6, 5)) == indexing.of(whole)
    padded = indexing.linearize(parts, (4, 7, 5))
    assert padded != indexing.of(whole)


def test_dynamic_extents_cancel_too() -> None:
    from iree_codegen import dims

    n = dims.arg(0)
    i, j = Var("i", None), Var("j", n)
    flat = indexing.linearize([indexing.of(i), indexing.of(j)], (8, n))
    assert indexing.delinearize(flat, (8, n)) == [indexing.of(i), indexing.of(j)]


def test_affine_expressions() -> None:
    i, j = Var("i", 10), Var("j", 3)
    expr = AffineDim(0) * 2 + AffineDim(1)
    form = indexing.apply(expr, [indexing.of(i), indexing.of(j)])
    assert form.coefficient(i) == 2 and form.coefficient(j) == 1
    assert form.upper() == 2 * 9 + 2
    assert form.is_below(21) and not form.is_below(20)
