"""affine: simplified expressions are equal everywhere; maps compose; trivial splits and joins vanish."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iree_core_ir.canonicalize.affine_simplify import simplify
from iree_core_ir.ir.affine import AffineBinary, AffineConstant, AffineDim, AffineExpr, AffineSymbol

Body = Callable[..., Any]
d0, d1, s0 = AffineDim(0), AffineDim(1), AffineSymbol(0)
LEAVES = st.sampled_from([d0, d1, s0]) | st.integers(-12, 12).map(AffineConstant)


def _combine(children: st.SearchStrategy[AffineExpr]) -> st.SearchStrategy[AffineExpr]:
    divisor = st.integers(1, 12).map(AffineConstant)
    return (
        st.builds(lambda a, b: AffineBinary("+", a, b), children, children)
        | st.builds(lambda a, b: AffineBinary("*", a, b), children, st.integers(-6, 6).map(AffineConstant))
        | st.builds(AffineBinary, st.sampled_from(["floordiv", "ceildiv", "mod"]), children, divisor)
    )


EXPRESSIONS = st.recursive(LEAVES, _combine, max_leaves=8)


@settings(max_examples=400)
@given(expr=EXPRESSIONS, values=st.lists(st.tuples(*[st.integers(-60, 60)] * 3), min_size=8, max_size=8))
def test_simplification_keeps_the_value(expr: AffineExpr, values: list[tuple[int, int, int]]) -> None:
    simple = simplify(expr)
    for a, b, c in values:
        assert simple.evaluate((a, b), (c,)) == expr.evaluate((a, b), (c,)), (str(expr), str(simple))
    assert simplify(simple) is simple


@pytest.mark.parametrize(
    ("expr", "expected"),
    [
        (d0 + d0, d0 * 2),
        (d0 + d1 - d0, d1),
        ((d0 * 4 + 3) // 4, d0),
        ((d0 * 4 + 3) % 4, AffineConstant(3)),
        ((d0 * 8 + d1) // 4, d0 * 2 + d1 // 4),
        ((d0 * 8 + d1) % 4, d1 % 4),
        ((d0 % 8) % 4, d0 % 4),
        ((d0 % 4) // 4, AffineConstant(0)),
        ((d0 % 4) % 8, d0 % 4),
        ((d0 // 4) // 8, d0 // 32),
        (d0 // 4 * 4 + d0 % 4, d0),
        ((d0 * 6).ceildiv(3), d0 * 2),
        ((d0 * 6) % 4, (d0 % 2) * 2),
        ((d0 + d1) * 3 - d1 * 3, d0 * 3),
        ((d0 % 4 + (d1 % 4) * 4) // 16, AffineConstant(0)),
        ((d0 + 5) // 4, (d0 + 1) // 4 + 1),
    ],
)
def test_normal_forms(expr: AffineExpr, expected: AffineExpr) -> None:
    assert simplify(expr) is expected


def test_applies_compose(canonicalized_body: Body) -> None:
    body = """%p = affine.apply affine_map<(d0) -> (d0 * 4 + 3)>(%a)
      %q = affine.apply affine_map<(d0)[s0] -> (d0 + s0)>(%p)[%b]
      %r = affine.apply affine_map<(d0, d1) -> (d0 + d1 - 3)>(%q, %a)"""
    result = canonicalized_body(["index", "index"], "index", body)
    assert result.ops == ["affine.apply"]
    assert "affine_map<(d0)[s0] -> (d0 * 5 + s0)>" in result.text
    assert result.run(7, 11) == ((46,), (46,))


def test_constants_and_identities_fold(canonicalized_body: Body) -> None:
    body = """%c = arith.constant 6 : index
      %p = affine.apply affine_map<(d0)[s0] -> (d0 * s0 + 1)>(%c)[%c]
      %q = affine.apply affine_map<(d0, d1) -> (d1)>(%p, %a)
      %r = arith.addi %p, %q : index"""
    result = canonicalized_body(["index"], "index", body)
    assert result.ops == ["arith.addi"]
    assert result.run(5) == ((42,), (42,))


@pytest.mark.parametrize(
    ("map", "ops", "text"),
    [
        ("(d0, d1) -> (d0, d0)", [], ""),
        ("(d0, d1) -> (d0, d0 + 4)", [], ""),
        ("(d0, d1) -> (8, 3, d0)", ["affine.min"], "-> (3, d0)"),
        ("(d0, d1) -> (d0, d1)", ["affine.min"], "-> (d0, d1)"),
        ("(d0, d1) -> (d0 + 1, d0 + 5)", ["affine.apply"], "-> (d0 + 1)"),
    ],
)
def test_min(canonicalized_body: Body, map: str, ops: list[str], text: str) -> None:
    result = canonicalized_body(["index", "index"], "index", f"%r = affine.min affine_map<{map}>(%a, %b)")
    assert result.ops == ops
    assert text in result.text
    for a, b in ((1, 2), (9, -4), (3, 3)):
        before, after = result.run(a, b)
        assert before == after


def test_max_of_constants(canonicalized_body: Body) -> None:
    body = "%c = arith.constant 6 : index\n %r = affine.max affine_map<(d0) -> (d0, 4)>(%c)"
    result = canonicalized_body([], "index", body)
    assert result.ops == []
    assert "arith.constant 6 : index" in result.text


def test_splits_and_joins_cancel(canonicalized_body: Body) -> None:
    body = """%s:3 = affine.delinearize_index %a into (2, %b, 5) : index, index, index
      %r = affine.linearize_index [%s#0, %s#1, %s#2] by (%b, 5) : index"""
    assert canonicalized_body(["index", "index"], "index", body).ops == []
    body = """%s = affine.linearize_index disjoint [%a, %b] by (4, 5) : index
      %t:2 = affine.delinearize_index %s into (4, 5) : index, index
      %r = arith.addi %t#0, %t#1 : index"""
    assert canonicalized_body(["index", "index"], "index", body).ops == ["arith.addi"]
    body = """%s = affine.linearize_index [%a, %b] by (4, 5) : index
      %t:2 = affine.delinearize_index %s into (4, 5) : index, index
      %r = arith.addi %t#0, %t#1 : index"""
    assert len(canonicalized_body(["index", "index"], "index", body).ops) == 3
