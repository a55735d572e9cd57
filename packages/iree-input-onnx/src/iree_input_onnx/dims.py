"""Dimensions: Python ints where static, else canonical integer polynomials that become SSA index values.

``Dim = int | Expr``. An ``Expr`` is a sum of products of *atoms*; an atom is a dimension of an argument, a
scalar read back from a tensor, or a quotient, minimum ... of two dims. Atoms are interned in their
``DimSpace``: two shapes computed along different ways of a model compare equal when their formulas agree.
Nothing enters the IR until ``value`` is asked for, and each polynomial is then computed once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Union

from iree_core_ir.dialects import arith
from iree_core_ir.ir.builder import Builder
from iree_core_ir.ir.operation import Value

Dim = Union[int, "Expr"]
Monomial = tuple["Atom", ...]


class Atom:
    """An opaque factor; ``kind`` is ``symbol`` or the op that computes it from ``operands``."""

    __slots__ = ("kind", "make", "name", "non_negative", "number", "operands", "value")

    def __init__(
        self, number: int, kind: str, name: str, operands: tuple[Dim, ...], non_negative: bool
    ) -> None:
        self.number = number
        self.kind = kind
        self.name = name
        self.operands = operands
        self.non_negative = non_negative
        self.value: Value | None = None
        self.make: Callable[[Builder], Value] | None = None

    def forget(self) -> None:
        """The value is computed again where it is needed next."""
        self.value = None

    def __repr__(self) -> str:
        return self.name if self.kind == "symbol" else f"{self.kind}{self.operands}"


class Expr:
    """A polynomial with integer coefficients that is no constant. Immutable, compared by terms."""

    __slots__ = ("_hash", "space", "terms")

    def __init__(self, space: DimSpace, terms: tuple[tuple[Monomial, int], ...]) -> None:
        self.space = space
        self.terms = terms
        self._hash = hash(terms)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Expr) and self.terms == other.terms

    def __hash__(self) -> int:
        return self._hash

    def __add__(self, other: Dim) -> Dim:
        terms = dict(self.terms)
        for monomial, factor in _terms(other):
            terms[monomial] = terms.get(monomial, 0) + factor
        return self.space.expr(terms)

    __radd__ = __add__

    def __mul__(self, other: Dim) -> Dim:
        terms: dict[Monomial, int] = {}
        for a, x in self.terms:
            for b, y in _terms(other):
                monomial = tuple(sorted(a + b, key=_number))
                terms[monomial] = terms.get(monomial, 0) + x * y
        return self.space.expr(terms)

    __rmul__ = __mul__

    def __neg__(self) -> Dim:
        return self * -1

    def __sub__(self, other: Dim) -> Dim:
        return self + -other

    def __rsub__(self, other: int) -> Dim:
        return -self + other

    def __floordiv__(self, other: Dim) -> Dim:
        return self.space.floordiv(self, other)

    def __rfloordiv__(self, other: int) -> Dim:
        return self.space.floordiv(other, self)

    def __mod__(self, other: Dim) -> Dim:
        return self - floordiv(self, other) * other

    @property
    def symbol(self) -> Atom | None:
        """The atom, when the expression is just one."""
        if len(self.terms) == 1:
            monomial, factor = self.terms[0]
            if factor == 1 and len(monomial) == 1:
                return monomial[0]
        return None

    def __repr__(self) -> str:
        return " + ".join("*".join([str(factor), *map(repr, monomial)]) for monomial, factor in self.terms)


def _number(atom: Atom) -> int:
    return atom.number


def _terms(dim: Dim) -> Iterable[tuple[Monomial, int]]:
    return (((), dim),) if isinstance(dim, int) else dim.terms


def floordiv(a: Dim, b: Dim) -> Dim:
    """``a // b`` rounded down; ``b`` must not be 0."""
    return a // b


def ceildiv(a: Dim, b: int) -> Dim:
    """``a / b`` rounded up, ``b`` positive."""
    return (a + (b - 1)) // b


def product(dims: Iterable[Dim]) -> Dim:
    total: Dim = 1
    for dim in dims:
        total = total * dim
    return total


def minimum(a: Dim, b: Dim) -> Dim:
    return _choose("min", a, b)


def maximum(a: Dim, b: Dim) -> Dim:
    return _choose("max", a, b)


def _choose(kind: str, a: Dim, b: Dim) -> Dim:
    if isinstance(a, int) and isinstance(b, int):
        return min(a, b) if kind == "min" else max(a, b)
    if a == b:
        return a
    difference = a - b
    if lower_bound(difference) is not None and lower_bound(difference) >= 0:  # type: ignore[operator]
        return b if kind == "min" else a
    opposite = lower_bound(b - a)
    if opposite is not None and opposite >= 0:
        return a if kind == "min" else b
    space = a.space if isinstance(a, Expr) else b.space  # type: ignore[union-attr]
    bounds = (is_non_negative(a), is_non_negative(b))
    return space.atom(kind, (a, b), all(bounds) if kind == "min" else any(bounds))


def lower_bound(dim: Dim) -> int | None:
    """A number the dim is never below, or None when none is known."""
    if isinstance(dim, int):
        return dim
    total = 0
    for monomial, factor in dim.terms:
        if monomial and (factor < 0 or not all(atom.non_negative for atom in monomial)):
            return None
        if not monomial:
            total += factor
    return total


def is_non_negative(dim: Dim) -> bool:
    bound = lower_bound(dim)
    return bound is not None and bound >= 0


def differ(a: Dim, b: Dim) -> bool:
    """True when ``a`` and ``b`` are certainly not equal."""
    if isinstance(a, int) and isinstance(b, int):
        return a != b
    above, below = lower_bound(a - b), lower_bound(b - a)
    return (above is not None and above > 0) or (below is not None and below > 0)


def divide_exact(a: Dim, b: Dim) -> Dim | None:
    """The quotient when ``b`` divides ``a`` whatever the symbols are, else None."""
    if isinstance(a, int) and isinstance(b, int):
        return None if b == 0 or a % b else a // b
    if a == b:
        return 1
    if a == 0:
        return 0
    divisor = tuple(_terms(b))
    if len(divisor) != 1 or b == 0:
        return None
    atoms, number = divisor[0]
    space = a.space if isinstance(a, Expr) else b.space  # type: ignore[union-attr]
    quotient: dict[Monomial, int] = {}
    for monomial, factor in _terms(a):
        rest = list(monomial)
        for atom in atoms:
            if atom not in rest:
                return None
            rest.remove(atom)
        if factor % number:
            return None
        quotient[tuple(rest)] = factor // number
    return space.expr(quotient)


def known_at(dim: Dim, mark: int) -> bool:
    """True when no symbol of ``dim`` was made behind ``mark`` (see ``DimSpace.mark``)."""
    if isinstance(dim, int):
        return True
    return all(
        atom.number <= mark if atom.kind == "symbol" else all(known_at(d, mark) for d in atom.operands)
        for monomial, _ in dim.terms
        for atom in monomial
    )


_OPS: Mapping[str, Callable[[Value, Value], Any]] = {
    "floordiv": arith.FloorDivSI.make,
    "truncdiv": arith.DivSI.make,
    "rem": arith.RemSI.make,
    "min": arith.MinSI.make,
    "max": arith.MaxSI.make,
}


class DimSpace:
    """The atoms of one function and the SSA values that stand for its dims."""

    def __init__(self) -> None:
        self._atoms: dict[Any, Atom] = {}
        self._count = 0
        self._values: dict[Dim, Value] = {}
        self.undo: Callable[[Callable[[], None]], None] | None = None
        """Takes what forgets a value again, while ops go into a region: values in there reach no further."""

    def expr(self, terms: Mapping[Monomial, int]) -> Dim:
        """The canonical dim of a sum of terms."""
        kept = [(monomial, factor) for monomial, factor in terms.items() if factor]
        if not kept:
            return 0
        if len(kept) == 1 and not kept[0][0]:
            return kept[0][1]
        kept.sort(key=lambda term: (-len(term[0]), [atom.number for atom in term[0]]))
        return Expr(self, tuple(kept))

    def _new(self, kind: str, name: str, operands: tuple[Dim, ...], non_negative: bool) -> Atom:
        self._count += 1
        return Atom(self._count, kind, name, operands, non_negative)

    def symbol(self, name: str, value: Value | Callable[[Builder], Value], non_negative: bool = True) -> Expr:
        """A new opaque dim: its SSA index value, or what makes it when it is first needed."""
        atom = self._new("symbol", name, (), non_negative)
        if isinstance(value, Value):
            atom.value = value
        else:
            atom.make = value
        return Expr(self, (((atom,), 1),))

    def atom(self, kind: str, operands: tuple[Dim, ...], non_negative: bool) -> Dim:
        """The dim ``kind(operands)``, the same object for the same operands."""
        key = (kind, operands)
        atom = self._atoms.get(key)
        if atom is None:
            atom = self._atoms[key] = self._new(kind, "", operands, non_negative)
        return self.expr({(atom,): 1})

    def floordiv(self, a: Dim, b: Dim) -> Dim:
        """``a // b``, rounded down."""
        if isinstance(a, int) and isinstance(b, int):
            return a // b
        exact = divide_exact(a, b)
        if exact is not None:
            return exact
        if isinstance(b, int) and b > 0 and isinstance(a, Expr):
            # (b * q + r) // b == q + r // b: keeps strided shapes comparable
            whole = {monomial: f - f % b for monomial, f in a.terms}
            quotient = self.expr({m: f // b for m, f in whole.items()})
            rest = self.expr({m: f % b for m, f in a.terms})
            if quotient != 0:
                return quotient + floordiv(rest, b)
        return self.atom("floordiv", (a, b), is_non_negative(a) and is_non_negative(b))

    def truncdiv(self, a: Dim, b: Dim) -> Dim:
        """``a / b`` rounded to zero, as ONNX divides integers."""
        if isinstance(a, int) and isinstance(b, int) and b:
            return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)
        exact = divide_exact(a, b)
        if exact is not None:
            return exact
        if is_non_negative(a) and is_non_negative(b):
            return self.floordiv(a, b)
        return self.atom("truncdiv", (a, b), False)

    # -- to the IR ---------------------------------------------------------------------------

    def value(self, dim: Dim, builder: Builder) -> Value:
        """The SSA index value of ``dim``; computed at the builder's point the first time.

        The builder must stand in the function's entry block, so that later uses are dominated, or in a region
        behind which ``undo`` forgets what was computed there.
        """
        found = self._values.get(dim)
        if found is None:
            if isinstance(dim, int):
                found = builder.insert(arith.Constant.index(dim)).result
            else:
                found = self._sum(dim, builder)
            self._values[dim] = found
            self.forget_later(lambda: self._forget(dim))
        return found

    def forget_later(self, forget: Callable[[], None]) -> None:
        """Call ``forget`` behind the region that ops go into, if there is one."""
        if self.undo is not None:
            self.undo(forget)

    def _forget(self, dim: Dim) -> None:
        self._values.pop(dim, None)

    def _sum(self, expr: Expr, builder: Builder) -> Value:
        positive = [term for term in expr.terms if term[1] > 0]
        negative = [term for term in expr.terms if term[1] < 0]
        total: Value | None = None
        for monomial, factor in positive:
            part = self._product(monomial, factor, builder)
            total = part if total is None else builder.create(arith.AddI, total, part).result
        for monomial, factor in negative:
            part = self._product(monomial, -factor, builder)
            total = self.value(0, builder) if total is None else total
            total = builder.create(arith.SubI, total, part).result
        assert total is not None
        return total

    def _product(self, monomial: Monomial, factor: int, builder: Builder) -> Value:
        total = None if factor == 1 and monomial else self.value(factor, builder)
        for atom in monomial:
            part = self._atom_value(atom, builder)
            total = part if total is None else builder.create(arith.MulI, part, total).result
        assert total is not None
        return total

    def _atom_value(self, atom: Atom, builder: Builder) -> Value:
        if atom.value is None:
            if atom.make is not None:
                atom.value = atom.make(builder)
            else:
                operands = [self.value(operand, builder) for operand in atom.operands]
                atom.value = builder.insert(_OPS[atom.kind](operands[0], operands[1])).result
            self.forget_later(atom.forget)
        return atom.value

    @property
    def mark(self) -> int:
        """Stands for now: symbols made later are not ``known_at`` it."""
        return self._count


__all__ = [
    "Atom",
    "Dim",
    "DimSpace",
    "Expr",
    "ceildiv",
    "differ",
    "divide_exact",
    "floordiv",
    "is_non_negative",
    "known_at",
    "lower_bound",
    "maximum",
    "minimum",
    "product",
]
