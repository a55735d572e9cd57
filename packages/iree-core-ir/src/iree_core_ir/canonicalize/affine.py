"""Canonical forms of ``affine``: producers composed in, operands unique, expressions simplified."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from iree_core_ir.canonicalize.affine_simplify import simplify, simplify_map
from iree_core_ir.dialects import affine, arith
from iree_core_ir.ir.affine import (
    AffineBinary,
    AffineConstant,
    AffineDim,
    AffineExpr,
    AffineMap,
    AffineSymbol,
)
from iree_core_ir.ir.attributes import AffineMapAttr
from iree_core_ir.ir.known_values import known_integer
from iree_core_ir.ir.operation import Value
from iree_core_ir.rewriter import Rewriter, pattern

MAX_EXPRESSION = 64
"""Nodes of an expression beyond which producers are not composed in any more."""


def canonical_map(map: AffineMap, operands: Sequence[Value]) -> tuple[AffineMap, list[Value]]:
    """An equal map with constants and ``affine.apply`` producers substituted, over unique, used operands."""
    dims: list[Value] = []
    symbols: list[Value] = []

    def position(values: list[Value], value: Value) -> int:
        for i, seen in enumerate(values):
            if seen is value:
                return i
        values.append(value)
        return len(values) - 1

    def operand(value: Value, is_symbol: bool, budget: int) -> AffineExpr:
        known = known_integer(value)
        if known is not None:
            return AffineConstant(known)
        producer = value.defining_op
        if isinstance(producer, affine.Apply) and budget > 0:
            inner = producer.affine_map
            if _size(inner.results[0]) <= budget:
                return substituted(inner, producer.operands, budget - _size(inner.results[0])).results[0]
        if is_symbol:
            return AffineSymbol(position(symbols, value))
        return AffineDim(position(dims, value))

    def substituted(inner: AffineMap, values: Sequence[Value], budget: int) -> AffineMap:
        new_dims = [operand(v, False, budget) for v in values[: inner.n_dims]]
        new_symbols = [operand(v, True, budget) for v in values[inner.n_dims :]]
        return AffineMap(0, 0, [result.replace(new_dims, new_symbols) for result in inner.results])

    results = substituted(map, operands, MAX_EXPRESSION).results
    results = simplify_map(AffineMap(len(dims), len(symbols), results)).results
    used_dims, used_symbols = _used(results)
    dim_values = [dims[i] for i in sorted(used_dims)]
    symbol_values = [symbols[i] for i in sorted(used_symbols)]
    new_dims: list[AffineExpr] = [AffineConstant(0)] * len(dims)
    new_symbols: list[AffineExpr] = [AffineConstant(0)] * len(symbols)
    for new, old in enumerate(sorted(used_dims)):
        new_dims[old] = AffineDim(new)
    for new, old in enumerate(sorted(used_symbols)):
        new_symbols[old] = AffineSymbol(new)
    final = [simplify(result.replace(new_dims, new_symbols)) for result in results]
    return AffineMap(len(dim_values), len(symbol_values), final), [*dim_values, *symbol_values]


def _size(expr: AffineExpr) -> int:
    return 1 + _size(expr.lhs) + _size(expr.rhs) if isinstance(expr, AffineBinary) else 1


def _used(results: Sequence[AffineExpr]) -> tuple[set[int], set[int]]:
    """Positions of the dims and symbols that occur."""
    dims: set[int] = set()
    symbols: set[int] = set()
    stack = list(results)
    while stack:
        expr = stack.pop()
        if isinstance(expr, AffineBinary):
            stack += (expr.lhs, expr.rhs)
        elif isinstance(expr, AffineDim):
            dims.add(expr.position)
        elif isinstance(expr, AffineSymbol):
            symbols.add(expr.position)
    return dims, symbols


@pattern(affine.Apply, affine.Min, affine.Max)
def compose_and_simplify(op: Any, rewriter: Rewriter) -> bool:
    map, operands = canonical_map(op.affine_map, op.operands)
    if map is op.affine_map and len(operands) == len(op.operands):
        return False
    rewriter.set_attribute(op, "map", AffineMapAttr(map))
    rewriter.set_operands(op, operands)
    return True


@pattern(affine.Min, affine.Max)
def fewer_results(op: Any, rewriter: Rewriter) -> bool:
    """Equal results once, constants joined; of results that differ by a constant the decisive one."""
    choose = min if isinstance(op, affine.Min) else max
    best: dict[AffineExpr, int] = {}
    for result in op.affine_map.results:
        base, offset = _offset(result)
        best[base] = choose(best[base], offset) if base in best else offset
    results = [base + offset for base, offset in best.items()]
    map = op.affine_map
    if len(results) == len(map.results):
        return False
    new = AffineMap(map.n_dims, map.n_symbols, results)
    rewriter.set_attribute(op, "map", AffineMapAttr(new))
    return True


def _offset(expr: AffineExpr) -> tuple[AffineExpr, int]:
    """``expr`` as base + constant; a constant has base 0."""
    if isinstance(expr, AffineConstant):
        return AffineConstant(0), expr.value
    if isinstance(expr, AffineBinary) and expr.kind == "+" and isinstance(expr.rhs, AffineConstant):
        return expr.lhs, expr.rhs.value
    return expr, 0


@pattern(affine.Min, affine.Max)
def single_result(op: Any, rewriter: Rewriter) -> bool:
    """Of one value: ``affine.apply``."""
    if len(op.affine_map.results) != 1:
        return False
    rewriter.replace_with(op, affine.Apply, op.affine_map, op.operands)
    return True


@pattern(affine.DelinearizeIndex)
def delinearize_trivially(op: affine.DelinearizeIndex, rewriter: Rewriter) -> bool:
    """One coordinate is the index itself; the coordinates of a linearized index over the same basis."""
    if len(op.results) == 1 and not op.has_outer_bound:
        rewriter.replace(op, op.linear_index)
        return True
    inner = op.linear_index.defining_op
    if (
        isinstance(inner, affine.LinearizeIndex)
        and inner.disjoint is not None
        and inner.basis == op.basis
        and len(inner.multi_index) == len(op.results)
    ):
        rewriter.replace(op, list(inner.multi_index))
        return True
    return False


@pattern(affine.LinearizeIndex)
def linearize_trivially(op: affine.LinearizeIndex, rewriter: Rewriter) -> bool:
    """One coordinate is the index; all coordinates of a delinearized index over the same basis are it."""
    if len(op.multi_index) == 1:
        rewriter.replace(op, op.multi_index[0])
        return True
    if not op.multi_index:
        rewriter.replace(op, rewriter.insert(arith.Constant.index(0)))
        return True
    inner = op.multi_index[0].defining_op
    if (
        isinstance(inner, affine.DelinearizeIndex)
        and op.multi_index == inner.results
        and _inner_basis(op) == _inner_basis(inner)
    ):
        rewriter.replace(op, inner.linear_index)
        return True
    return False


def _inner_basis(op: affine.DelinearizeIndex | affine.LinearizeIndex) -> tuple[Any, ...]:
    """The basis without the outer bound."""
    count = len(op.results if isinstance(op, affine.DelinearizeIndex) else op.multi_index)
    return op.basis[1:] if len(op.basis) == count else op.basis


PATTERNS = [
    compose_and_simplify,
    fewer_results,
    single_result,
    delinearize_trivially,
    linearize_trivially,
]
