"""Affine expressions and maps, interned; simplified on construction.

An expression is a dimension, a symbol, a constant, or ``+ * floordiv ceildiv mod`` of two. Sums are
kept left-leaning with the constant last, as MLIR prints them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from iree_core_ir.ir.attributes import Attribute


class AffineExpr(Attribute):
    """Base; supports ``+ - * // %`` with ints and expressions, and ``ceildiv``."""

    __slots__ = ()

    def __add__(self, other: AffineExpr | int) -> AffineExpr:
        return _add(self, _wrap(other))

    __radd__ = __add__

    def __mul__(self, other: AffineExpr | int) -> AffineExpr:
        return _mul(self, _wrap(other))

    __rmul__ = __mul__

    def __neg__(self) -> AffineExpr:
        return _mul(self, AffineConstant(-1))

    def __sub__(self, other: AffineExpr | int) -> AffineExpr:
        return self + (-_wrap(other))

    def __rsub__(self, other: int) -> AffineExpr:
        return _wrap(other) + (-self)

    def __floordiv__(self, other: AffineExpr | int) -> AffineExpr:
        return _div("floordiv", self, _wrap(other))

    def ceildiv(self, other: AffineExpr | int) -> AffineExpr:
        return _div("ceildiv", self, _wrap(other))

    def __mod__(self, other: AffineExpr | int) -> AffineExpr:
        return _div("mod", self, _wrap(other))

    def evaluate(self, dims: Sequence[Any], symbols: Sequence[Any] = ()) -> Any:
        """Value for concrete dims and symbols; elementwise on numpy integer arrays."""
        raise NotImplementedError(type(self).__name__)

    def replace(self, dims: Sequence[AffineExpr], symbols: Sequence[AffineExpr] | None = None) -> AffineExpr:
        """Substitute dimensions (and symbols, unchanged when None)."""
        raise NotImplementedError(type(self).__name__)

    def dims_used(self) -> frozenset[int]:
        """Positions of the dimensions that occur."""
        raise NotImplementedError(type(self).__name__)


class AffineDim(AffineExpr):
    __slots__ = _fields = ("position",)
    position: int

    def evaluate(self, dims: Sequence[Any], symbols: Sequence[Any] = ()) -> Any:
        return dims[self.position]

    def replace(self, dims: Sequence[AffineExpr], symbols: Sequence[AffineExpr] | None = None) -> AffineExpr:
        return dims[self.position]

    def dims_used(self) -> frozenset[int]:
        return frozenset((self.position,))

    def __str__(self) -> str:
        return f"d{self.position}"


class AffineSymbol(AffineExpr):
    __slots__ = _fields = ("position",)
    position: int

    def evaluate(self, dims: Sequence[Any], symbols: Sequence[Any] = ()) -> Any:
        return symbols[self.position]

    def replace(self, dims: Sequence[AffineExpr], symbols: Sequence[AffineExpr] | None = None) -> AffineExpr:
        return self if symbols is None else symbols[self.position]

    def dims_used(self) -> frozenset[int]:
        return frozenset()

    def __str__(self) -> str:
        return f"s{self.position}"


class AffineConstant(AffineExpr):
    __slots__ = _fields = ("value",)
    value: int

    def evaluate(self, dims: Sequence[Any], symbols: Sequence[Any] = ()) -> Any:
        return self.value

    def replace(self, dims: Sequence[AffineExpr], symbols: Sequence[AffineExpr] | None = None) -> AffineExpr:
        return self

    def dims_used(self) -> frozenset[int]:
        return frozenset()

    def __str__(self) -> str:
        return str(self.value)


_EVALUATE: dict[str, Callable[[Any, Any], Any]] = {
    "+": lambda a, b: a + b,
    "*": lambda a, b: a * b,
    "floordiv": lambda a, b: a // b,
    "ceildiv": lambda a, b: -(-a // b),
    "mod": lambda a, b: a % b,
}


class AffineBinary(AffineExpr):
    """``lhs kind rhs`` with kind one of ``+ * floordiv ceildiv mod``. Build through the operators."""

    __slots__ = _fields = ("kind", "lhs", "rhs")
    kind: str
    lhs: AffineExpr
    rhs: AffineExpr

    def evaluate(self, dims: Sequence[Any], symbols: Sequence[Any] = ()) -> Any:
        return _EVALUATE[self.kind](self.lhs.evaluate(dims, symbols), self.rhs.evaluate(dims, symbols))

    def replace(self, dims: Sequence[AffineExpr], symbols: Sequence[AffineExpr] | None = None) -> AffineExpr:
        return combine(self.kind, self.lhs.replace(dims, symbols), self.rhs.replace(dims, symbols))

    def dims_used(self) -> frozenset[int]:
        return self.lhs.dims_used() | self.rhs.dims_used()

    def __str__(self) -> str:
        if self.kind == "+":
            rhs = self.rhs
            if isinstance(rhs, AffineConstant) and rhs.value < 0:
                return f"{self.lhs} - {-rhs.value}"
            if isinstance(rhs, AffineBinary) and rhs.kind == "*" and rhs.rhs is AffineConstant(-1):
                return f"{self.lhs} - {_operand(rhs.lhs)}"
            return f"{self.lhs} + {_operand(rhs) if _is_sum(rhs) else rhs}"
        return f"{_operand(self.lhs)} {self.kind} {_operand(self.rhs)}"


def _is_sum(expr: AffineExpr) -> bool:
    return isinstance(expr, AffineBinary) and expr.kind == "+"


def _operand(expr: AffineExpr) -> str:
    return f"({expr})" if isinstance(expr, AffineBinary) else str(expr)


def _wrap(value: AffineExpr | int) -> AffineExpr:
    return value if isinstance(value, AffineExpr) else AffineConstant(int(value))


def _add(a: AffineExpr, b: AffineExpr) -> AffineExpr:
    if isinstance(a, AffineConstant):
        if isinstance(b, AffineConstant):
            return AffineConstant(a.value + b.value)
        a, b = b, a
    if isinstance(b, AffineConstant):
        if b.value == 0:
            return a
        if isinstance(a, AffineBinary) and a.kind == "+" and isinstance(a.rhs, AffineConstant):
            return _add(a.lhs, AffineConstant(a.rhs.value + b.value))
    elif isinstance(a, AffineBinary) and a.kind == "+" and isinstance(a.rhs, AffineConstant):
        return _add(_add(a.lhs, b), a.rhs)
    return AffineBinary("+", a, b)


def _mul(a: AffineExpr, b: AffineExpr) -> AffineExpr:
    if isinstance(a, AffineConstant):
        if isinstance(b, AffineConstant):
            return AffineConstant(a.value * b.value)
        a, b = b, a
    if isinstance(b, AffineConstant):
        if b.value == 1:
            return a
        if b.value == 0:
            return b
        if isinstance(a, AffineBinary) and a.kind == "*" and isinstance(a.rhs, AffineConstant):
            return _mul(a.lhs, AffineConstant(a.rhs.value * b.value))
    return AffineBinary("*", a, b)


def _div(kind: str, a: AffineExpr, b: AffineExpr) -> AffineExpr:
    if isinstance(b, AffineConstant):
        if b.value > 0 and isinstance(a, AffineConstant):
            return AffineConstant(_EVALUATE[kind](a.value, b.value))
        if b.value == 1:
            return AffineConstant(0) if kind == "mod" else a
    return AffineBinary(kind, a, b)


def combine(kind: str, a: AffineExpr, b: AffineExpr) -> AffineExpr:
    """``a kind b`` simplified."""
    if kind == "+":
        return _add(a, b)
    if kind == "*":
        return _mul(a, b)
    return _div(kind, a, b)


class AffineMap(Attribute):
    """``(d0, ...)[s0, ...] -> (results)``."""

    _fields = ("n_dims", "n_symbols", "results")
    __slots__ = (
        *_fields,
        "_positions",
        "_used",
        "is_identity",
        "is_permutation",
        "is_projected_permutation",
    )
    n_dims: int
    n_symbols: int
    results: tuple[AffineExpr, ...]
    # What follows from the fields, worked out once a map.
    is_identity: bool
    is_permutation: bool
    is_projected_permutation: bool
    """Every result is a dimension and none occurs twice."""
    _positions: tuple[int | None, ...]
    _used: frozenset[int]

    def __new__(cls, n_dims: int, n_symbols: int = 0, results: Any = ()) -> AffineMap:
        return super().__new__(cls, n_dims, n_symbols, tuple([_wrap(r) for r in results]))

    def check(self) -> None:
        positions = tuple([r.position if isinstance(r, AffineDim) else None for r in self.results])
        projected = None not in positions and len(set(positions)) == len(positions)
        set_slot = object.__setattr__
        set_slot(self, "_positions", positions)
        set_slot(self, "_used", frozenset([d for r in self.results for d in r.dims_used()]))
        set_slot(self, "is_projected_permutation", projected)
        set_slot(self, "is_permutation", projected and len(positions) == self.n_dims)
        set_slot(self, "is_identity", not self.n_symbols and positions == tuple(range(self.n_dims)))

    @staticmethod
    def identity(rank: int) -> AffineMap:
        return _select(rank, tuple(range(rank)))

    @staticmethod
    def select(n_dims: int, positions: Sequence[int]) -> AffineMap:
        """The map that picks dimensions ``positions``."""
        return _select(n_dims, tuple(positions))

    @classmethod
    def build(cls, n_dims: int, function: Callable[..., Sequence[AffineExpr | int]]) -> AffineMap:
        """``AffineMap.build(3, lambda m, n, k: (m, k))``."""
        return cls(n_dims, 0, function(*[AffineDim(i) for i in range(n_dims)]))

    def dim_positions(self) -> tuple[int | None, ...]:
        """Per result: its dimension's position, or None when it is no plain dimension."""
        return self._positions

    def dims_used(self) -> frozenset[int]:
        """Positions of the dimensions that occur in any result."""
        return self._used

    def evaluate(self, dims: Sequence[Any], symbols: Sequence[Any] = ()) -> tuple[Any, ...]:
        return tuple(r.evaluate(dims, symbols) for r in self.results)

    # Maps are interned, and few are composed or inverted again and again.
    @functools.lru_cache(maxsize=1 << 12)  # noqa: B019 (interned maps stay anyway)
    def compose(self, inner: AffineMap) -> AffineMap:
        """``self o inner``: this map's dims are ``inner``'s results (symbols: inner's only)."""
        return AffineMap(inner.n_dims, inner.n_symbols, [r.replace(inner.results) for r in self.results])

    @functools.lru_cache(maxsize=1 << 10)  # noqa: B019
    def inverse_permutation(self) -> AffineMap:
        """The inverse of a permutation."""
        positions = self.dim_positions()
        inverse: list[AffineExpr] = [AffineConstant(0)] * self.n_dims
        for i, p in enumerate(positions):
            if p is None:
                raise ValueError(f"{self} is no permutation")
            inverse[p] = AffineDim(i)
        return AffineMap(self.n_dims, 0, inverse)

    def __str__(self) -> str:
        dims = ", ".join(f"d{i}" for i in range(self.n_dims))
        symbols = "[" + ", ".join(f"s{i}" for i in range(self.n_symbols)) + "]" if self.n_symbols else ""
        return f"({dims}){symbols} -> ({', '.join(map(str, self.results))})"


@functools.lru_cache(maxsize=1 << 10)
def _select(n_dims: int, positions: tuple[int, ...]) -> AffineMap:
    return AffineMap(n_dims, 0, [AffineDim(p) for p in positions])
