"""Extents as integers or expressions over the dispatch's scalar arguments.

A ``Dim`` is an ``int`` where it is known at compile time, else an :class:`Expr`. Expressions are
simplified when built, so equal extents compare equal in the cases that matter (same argument, same
product), and they travel as nested lists: workgroup counts are evaluated by the runtime's parameter
program, and inside a kernel they become index arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from iree_base.records import record


@record(frozen=True, slots=True)
class Expr:
    """``kind`` is ``arg`` (argument number), or ``add sub mul floordiv ceildiv mod min max`` of two dims."""

    kind: str
    a: Any
    b: Any = None

    def __str__(self) -> str:
        return f"arg{self.a}" if self.kind == "arg" else f"{self.kind}({self.a}, {self.b})"


Dim = int | Expr


def arg(index: int) -> Expr:
    """The value of function argument ``index``."""
    return Expr("arg", index)


def add(a: Dim, b: Dim) -> Dim:
    if isinstance(a, int):
        if isinstance(b, int):
            return a + b
        a, b = b, a
    if b == 0:
        return a
    if isinstance(b, int) and a.kind == "add" and isinstance(a.b, int):
        return add(a.a, a.b + b)
    return Expr("add", a, b)


def sub(a: Dim, b: Dim) -> Dim:
    if isinstance(b, int):
        return add(a, -b)
    if a == b:
        return 0
    return Expr("sub", a, b)


def _order(dim: Dim) -> str:
    return str(dim)


def factors(dim: Dim) -> tuple[int, tuple[Expr, ...]]:
    """``dim`` as an integer times expressions that are no products."""
    if isinstance(dim, int):
        return dim, ()
    if dim.kind != "mul":
        return 1, (dim,)
    n, left = factors(dim.a)
    m, right = factors(dim.b)
    return n * m, (*left, *right)


def product(number: int, parts: Sequence[Expr]) -> Dim:
    """The canonical product: expressions in a fixed order, the integer last."""
    if number == 0 or not parts:
        return number
    ordered = sorted(parts, key=_order)
    result: Expr = ordered[0]
    for part in ordered[1:]:
        result = Expr("mul", result, part)
    return result if number == 1 else Expr("mul", result, number)


def mul(a: Dim, b: Dim) -> Dim:
    n, left = factors(a)
    m, right = factors(b)
    return product(n * m, (*left, *right))


def divide_exactly(a: Dim, b: Dim) -> Dim | None:
    """``a / b`` when ``b`` visibly divides ``a``; None otherwise."""
    n, left = factors(a)
    m, right = factors(b)
    if m == 0 or n % m:
        return None
    rest = list(left)
    for part in right:
        if part not in rest:
            return None
        rest.remove(part)
    return product(n // m, rest)


def is_multiple(a: Dim, b: Dim) -> bool:
    """True when ``b`` provably divides ``a``."""
    return a == 0 or divide_exactly(a, b) is not None


def floordiv(a: Dim, b: Dim) -> Dim:
    if isinstance(a, int) and isinstance(b, int) and b > 0:
        return a // b
    exact = divide_exactly(a, b)
    return Expr("floordiv", a, b) if exact is None else exact


def ceildiv(a: Dim, b: Dim) -> Dim:
    if isinstance(a, int) and isinstance(b, int) and b > 0:
        return -(-a // b)
    exact = divide_exactly(a, b)
    return Expr("ceildiv", a, b) if exact is None else exact


def mod(a: Dim, b: Dim) -> Dim:
    if isinstance(a, int) and isinstance(b, int) and b > 0:
        return a % b
    return 0 if divide_exactly(a, b) is not None else Expr("mod", a, b)


def minimum(a: Dim, b: Dim) -> Dim:
    if isinstance(a, int) and isinstance(b, int):
        return min(a, b)
    return a if a == b else Expr("min", a, b)


def maximum(a: Dim, b: Dim) -> Dim:
    if isinstance(a, int) and isinstance(b, int):
        return max(a, b)
    return a if a == b else Expr("max", a, b)


def total(dims: Sequence[Dim]) -> Dim:
    """The product of ``dims``."""
    result: Dim = 1
    for dim in dims:
        result = mul(result, dim)
    return result


def strides(dims: Sequence[Dim]) -> tuple[Dim, ...]:
    """Row-major strides in elements."""
    result: list[Dim] = []
    step: Dim = 1
    for dim in reversed(dims):
        result.append(step)
        step = mul(step, dim)
    return tuple(reversed(result))


COMBINE: dict[str, Callable[[Dim, Dim], Dim]] = {
    "add": add,
    "sub": sub,
    "mul": mul,
    "floordiv": floordiv,
    "ceildiv": ceildiv,
    "mod": mod,
    "min": minimum,
    "max": maximum,
}


def to_list(dim: Dim) -> list[Any]:
    """The serialised form: ``["const", 4]``, ``["arg", 2]``, ``["mul", a, b]``."""
    if isinstance(dim, int):
        return ["const", dim]
    if dim.kind == "arg":
        return ["arg", dim.a]
    return [dim.kind, to_list(dim.a), to_list(dim.b)]


def from_list(form: Sequence[Any]) -> Dim:
    """The inverse of :func:`to_list`."""
    if form[0] == "const":
        return int(form[1])
    if form[0] == "arg":
        return arg(int(form[1]))
    return COMBINE[form[0]](from_list(form[1]), from_list(form[2]))


def evaluate(dim: Dim, arguments: Mapping[int, int]) -> int:
    """The value for given scalar arguments."""
    if isinstance(dim, int):
        return dim
    if dim.kind == "arg":
        return arguments[dim.a]
    value = COMBINE[dim.kind](evaluate(dim.a, arguments), evaluate(dim.b, arguments))
    assert isinstance(value, int)
    return value


def nominal(dim: Dim) -> int:
    """A size to compare dims by; one known when called counts as large."""
    return dim if isinstance(dim, int) else 1 << 30


def upper_bound(dim: Dim) -> int | None:
    """The largest value a dim can take, where that is visible."""
    if isinstance(dim, int):
        return dim
    if dim.kind == "min":
        bounds = [b for b in (upper_bound(dim.a), upper_bound(dim.b)) if b is not None]
        return min(bounds, default=None)
    if dim.kind == "mod" and isinstance(dim.b, int):
        return dim.b - 1
    return None
