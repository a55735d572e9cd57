"""Simplification of affine expressions beyond what their construction does.

A sum is flattened into terms with integer factors, so equal terms join and opposite ones cancel;
division and modulo by a constant split off the terms that the divisor divides.
"""

from __future__ import annotations

from math import gcd

from iree_core_ir.ir.affine import (
    AffineBinary,
    AffineConstant,
    AffineDim,
    AffineExpr,
    AffineMap,
    AffineSymbol,
    combine,
)

Terms = dict[AffineExpr, int]


def simplify(expr: AffineExpr) -> AffineExpr:
    """An equal expression in canonical form. Floor semantics; equal for every integer value."""
    terms, offset = _flatten(expr)
    return _build(terms, offset)


def simplify_map(map: AffineMap) -> AffineMap:
    return AffineMap(map.n_dims, map.n_symbols, [simplify(result) for result in map.results])


def _flatten(expr: AffineExpr) -> tuple[Terms, int]:
    """``expr`` as a sum of factor * term plus a constant; terms are no sums and no products by constants."""
    if isinstance(expr, AffineConstant):
        return {}, expr.value
    if not isinstance(expr, AffineBinary):
        return {expr: 1}, 0
    if expr.kind == "+":
        terms, offset = _flatten(expr.lhs)
        more, more_offset = _flatten(expr.rhs)
        for term, factor in more.items():
            terms[term] = terms.get(term, 0) + factor
        return {t: f for t, f in terms.items() if f}, offset + more_offset
    if expr.kind == "*":
        lhs, rhs = simplify(expr.lhs), simplify(expr.rhs)
        if isinstance(lhs, AffineConstant):
            lhs, rhs = rhs, lhs
        if isinstance(rhs, AffineConstant):
            if rhs.value == 0:
                return {}, 0
            terms, offset = _flatten(lhs)
            return {t: f * rhs.value for t, f in terms.items()}, offset * rhs.value
        return {combine("*", lhs, rhs): 1}, 0
    return _divided(expr.kind, simplify(expr.lhs), simplify(expr.rhs))


def _divided(kind: str, lhs: AffineExpr, rhs: AffineExpr) -> tuple[Terms, int]:
    """``lhs kind rhs`` for floordiv, ceildiv and mod."""
    if not isinstance(rhs, AffineConstant) or rhs.value <= 0:
        return {combine(kind, lhs, rhs): 1}, 0
    divisor = rhs.value
    terms, offset = _flatten(lhs)
    whole = {t: f // divisor for t, f in terms.items() if f % divisor == 0}
    rest = {t: f for t, f in terms.items() if f % divisor}
    if kind == "mod":
        # (a * k + r) mod k = r mod k, and factors count modulo k (small negative ones are left).
        rest = {t: f if abs(f) < divisor else f % divisor for t, f in rest.items()}
        offset %= divisor
        if not rest:
            return {}, offset
        common = gcd(divisor, offset, *rest.values())
        if common > 1:  # (c * r) mod (c * k) = c * (r mod k)
            inner = _build({t: f // common for t, f in rest.items()}, offset // common)
            terms, offset = _residue(inner, divisor // common)
            return {t: f * common for t, f in terms.items()}, offset * common
        return _residue(_build(rest, offset), divisor)
    carried = offset // divisor if kind == "floordiv" else -(-offset // divisor)
    offset -= carried * divisor
    if rest or offset:
        common = gcd(divisor, offset, *rest.values())
        inner = _build({t: f // common for t, f in rest.items()}, offset // common)
        quotient = _quotient(kind, inner, divisor // common)
        more, extra = quotient
        for term, factor in more.items():
            whole[term] = whole.get(term, 0) + factor
        carried += extra
    return {t: f for t, f in whole.items() if f}, carried


def _residue(lhs: AffineExpr, divisor: int) -> tuple[Terms, int]:
    if divisor == 1:
        return {}, 0
    if isinstance(lhs, AffineConstant):
        return {}, lhs.value % divisor
    # (x mod m) mod k = x mod k where k divides m.
    if isinstance(lhs, AffineBinary) and lhs.kind == "mod" and isinstance(lhs.rhs, AffineConstant):
        inner = lhs.rhs.value
        if inner > 0 and inner % divisor == 0:
            return _divided("mod", lhs.lhs, AffineConstant(divisor))
        if 0 < inner <= divisor:
            return {lhs: 1}, 0
    return {combine("mod", lhs, AffineConstant(divisor)): 1}, 0


def _quotient(kind: str, lhs: AffineExpr, divisor: int) -> tuple[Terms, int]:
    if divisor == 1:
        return _flatten(lhs)
    if isinstance(lhs, AffineConstant):
        value = lhs.value
        return {}, value // divisor if kind == "floordiv" else -(-value // divisor)
    if isinstance(lhs, AffineBinary) and isinstance(lhs.rhs, AffineConstant) and lhs.rhs.value > 0:
        inner = lhs.rhs.value
        if lhs.kind == kind:  # (x div a) div b = x div (a * b), rounded alike
            return _divided(kind, lhs.lhs, AffineConstant(inner * divisor))
        if lhs.kind == "mod" and kind == "floordiv" and inner <= divisor:
            return {}, 0
    bound = _bounds(lhs)
    if bound is not None and kind == "floordiv" and bound[0] // divisor == bound[1] // divisor:
        return {}, bound[0] // divisor
    return {combine(kind, lhs, AffineConstant(divisor)): 1}, 0


def _bounds(expr: AffineExpr) -> tuple[int, int] | None:
    """Smallest and largest value of a sum of constants and residues; None when unbounded."""
    if isinstance(expr, AffineConstant):
        return expr.value, expr.value
    if not isinstance(expr, AffineBinary):
        return None
    if expr.kind == "mod" and isinstance(expr.rhs, AffineConstant) and expr.rhs.value > 0:
        return 0, expr.rhs.value - 1
    lhs, rhs = _bounds(expr.lhs), _bounds(expr.rhs)
    if lhs is None or rhs is None:
        return None
    if expr.kind == "+":
        return lhs[0] + rhs[0], lhs[1] + rhs[1]
    if expr.kind == "*":
        corners = [a * b for a in lhs for b in rhs]
        return min(corners), max(corners)
    return None


def _order(expr: AffineExpr) -> tuple[int, int, str]:
    """Dims, then symbols, then the rest: the order in which a sum lists its terms."""
    if isinstance(expr, AffineDim):
        return 0, expr.position, ""
    if isinstance(expr, AffineSymbol):
        return 1, expr.position, ""
    return 2, 0, str(expr)


def _rejoin(terms: Terms) -> tuple[Terms, int]:
    """``k * (x floordiv k) + x mod k`` is x: a quotient and its remainder come together again."""
    total = 0
    for term, factor in list(terms.items()):
        if not (isinstance(term, AffineBinary) and term.kind == "mod"):
            continue
        if not isinstance(term.rhs, AffineConstant) or term not in terms:
            continue
        quotient = combine("floordiv", term.lhs, term.rhs)
        if terms.get(quotient) == factor * term.rhs.value:
            del terms[term], terms[quotient]
            inner, offset = _flatten(term.lhs)
            total += offset * factor
            for t, f in inner.items():
                terms[t] = terms.get(t, 0) + f * factor
    return {t: f for t, f in terms.items() if f}, total


def _build(terms: Terms, offset: int) -> AffineExpr:
    total: AffineExpr | None = None
    terms, extra = _rejoin(dict(terms))
    offset += extra
    for term in sorted(terms, key=_order):
        product = combine("*", term, AffineConstant(terms[term]))
        total = product if total is None else combine("+", total, product)
    if total is None:
        return AffineConstant(offset)
    return combine("+", total, AffineConstant(offset))
