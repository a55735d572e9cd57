"""Symbolic indices: affine sums over loop variables, simplified by the variables' ranges.

An element of a fused chain is found by carrying the indices of the consumer through every producer:
transposes, slices, pads and reshapes change the indices and move no data. Keeping them as
``constant + sum(coefficient * variable)`` lets reshapes of reshapes cancel, tells which accesses are
contiguous along the vectorised variable, and leaves one address computation at the end.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from iree_base.records import field, record
from iree_codegen import dims as dim_ops
from iree_codegen.dims import Dim, divide_exactly
from iree_codegen.errors import UNSUPPORTED_OP, CodegenError
from iree_codegen.kernel_builder import Index, KernelBuilder, lanes_of
from iree_core_ir.ir.affine import AffineBinary, AffineConstant, AffineDim, AffineExpr, AffineSymbol
from iree_core_ir.ir.operation import Value
from iree_core_ir.ir.types import index as index_type


@record(eq=False, slots=True)
class Var:
    """A loop variable in ``[0, extent)``, a computed index (``value``), or a quotient or remainder.

    Compared by identity. ``definition`` is (``floordiv`` or ``mod``, form, divisor).
    """

    name: str
    extent: Dim | None = None
    value: Any = None
    definition: tuple[str, Affine, Dim] | None = None


@record(frozen=True, slots=True)
class Affine:
    """``constant + sum(coefficient * variable)``; variables in order of first use."""

    terms: tuple[tuple[Var, Dim], ...] = ()
    constant: Dim = 0

    @property
    def is_constant(self) -> bool:
        return not self.terms

    def coefficient(self, var: Var) -> Dim:
        for own, coefficient in self.terms:
            if own is var:
                return coefficient
        return 0

    def __add__(self, other: Affine | Dim) -> Affine:
        if not isinstance(other, Affine):
            return Affine(self.terms, dim_ops.add(self.constant, other))
        if not other.terms:
            return Affine(self.terms, dim_ops.add(self.constant, other.constant))
        merged: dict[int, tuple[Var, Dim]] = {id(v): (v, c) for v, c in self.terms}
        for var, coefficient in other.terms:
            old = merged.get(id(var))
            total = coefficient if old is None else dim_ops.add(old[1], coefficient)
            merged[id(var)] = (var, total)
        terms = tuple((v, c) for v, c in merged.values() if c != 0)
        return _recombined(terms, dim_ops.add(self.constant, other.constant))

    def scaled(self, factor: Dim) -> Affine:
        if factor == 1:
            return self
        if factor == 0:
            return Affine()
        terms = tuple((v, dim_ops.mul(c, factor)) for v, c in self.terms)
        return Affine(terms, dim_ops.mul(self.constant, factor))

    def substituted(self, replaced: Mapping[Var, Affine]) -> Affine:
        """Variables of ``replaced`` as the forms that stand there, the others as they are."""
        result = constant(self.constant)
        for var, coefficient in self.terms:
            result = result + replaced.get(var, of(var)).scaled(coefficient)
        return result

    def upper(self) -> int | None:
        """The largest value, when the ranges of all variables are static and coefficients not negative."""
        if not isinstance(self.constant, int):
            return None
        total = self.constant
        for var, coefficient in self.terms:
            if not isinstance(coefficient, int) or coefficient < 0 or var.extent is None:
                return None
            bound = dim_ops.upper_bound(var.extent)
            if bound is None:
                return None
            total += coefficient * max(bound - 1, 0)
        return total

    def is_below(self, limit: Dim) -> bool:
        """True when the form is provably in ``[0, limit)``."""
        if self.constant == 0 and len(self.terms) == 1:
            var, coefficient = self.terms[0]
            if coefficient == 1 and var.extent is not None and var.extent == limit:
                return True
        upper = self.upper()
        if upper is None or not isinstance(limit, int):
            return False
        return isinstance(self.constant, int) and self.constant >= 0 and upper < limit

    def split(self, divisor: Dim) -> tuple[Affine, Affine] | None:
        """(quotient, remainder) by ``divisor`` where no division is needed; None otherwise."""
        if divisor == 1:
            return self, Affine()
        quotient: list[tuple[Var, Dim]] = []
        rest: list[tuple[Var, Dim]] = []
        for var, coefficient in self.terms:
            exact = divide_exactly(coefficient, divisor)
            if exact is not None:
                quotient.append((var, exact))
            else:
                rest.append((var, coefficient))
        exact_constant = divide_exactly(self.constant, divisor) if self.constant != 0 else 0
        if exact_constant is not None:
            q_constant, r_constant = exact_constant, 0
        elif isinstance(self.constant, int) and isinstance(divisor, int):
            q_constant, r_constant = self.constant // divisor, self.constant % divisor
        else:
            return None
        remainder = Affine(tuple(rest), r_constant)
        if remainder == Affine() or remainder.is_below(divisor):
            return Affine(tuple(quotient), q_constant), remainder
        return None


def _recombined(terms: tuple[tuple[Var, Dim], ...], constant: Dim) -> Affine:
    """The sum; ``c * d * (f floordiv d) + c * (f mod d)`` becomes ``c * f``."""
    for quotient, scale in terms:
        if quotient.definition is None or quotient.definition[0] != "floordiv":
            continue
        _, form, divisor = quotient.definition
        for remainder, factor in terms:
            if remainder.definition == ("mod", form, divisor) and scale == dim_ops.mul(factor, divisor):
                rest = tuple(t for t in terms if t[0] is not quotient and t[0] is not remainder)
                return Affine(rest, constant) + form.scaled(factor)
    return Affine(terms, constant)


ZERO = Affine()


def of(var: Var) -> Affine:
    """The form of one variable."""
    return Affine(((var, 1),))


def constant(value: Dim) -> Affine:
    return Affine((), value)


def opaque(value: Any, extent: Dim | None = None) -> Affine:
    """The form of an index computed in the kernel (a scalar, or a vector with one index a lane)."""
    return of(Var("value", extent, value))


@functools.lru_cache(maxsize=4096)
def floordiv(form: Affine, divisor: Dim) -> Affine:
    parts = form.split(divisor)
    if parts is not None:
        return parts[0]
    upper = form.upper()
    extent = upper // divisor + 1 if upper is not None and isinstance(divisor, int) else None
    return of(Var("floordiv", extent, None, ("floordiv", form, divisor)))


@functools.lru_cache(maxsize=4096)
def mod(form: Affine, divisor: Dim) -> Affine:
    parts = form.split(divisor)
    return parts[1] if parts is not None else of(Var("mod", divisor, None, ("mod", form, divisor)))


def linearize(forms: Iterable[Affine], dims: Iterable[Dim]) -> Affine:
    """Row-major position of the indices in a box of ``dims``."""
    result = ZERO
    for form, stride in zip(forms, dim_ops.strides(tuple(dims)), strict=True):
        result = result + form.scaled(stride)
    return result


def delinearize(form: Affine, dims: tuple[Dim, ...]) -> list[Affine]:
    """The indices in a box of ``dims`` at row-major position ``form``."""
    result: list[Affine] = []
    for dim in reversed(dims[1:]):
        result.append(ZERO if dim == 1 else mod(form, dim))
        form = floordiv(form, dim)
    if dims:
        result.append(ZERO if dims[0] == 1 else form)
    return result[::-1]


def apply(
    expr: AffineExpr,
    forms: list[Affine] | tuple[Affine, ...],
    symbols: list[Affine] | tuple[Affine, ...] = (),
) -> Affine:
    """An affine expression on symbolic indices."""
    if isinstance(expr, AffineDim):
        return forms[expr.position]
    if isinstance(expr, AffineConstant):
        return constant(expr.value)
    if isinstance(expr, AffineSymbol):
        return symbols[expr.position]
    assert isinstance(expr, AffineBinary)
    a, b = apply(expr.lhs, forms, symbols), apply(expr.rhs, forms, symbols)
    if expr.kind == "+":
        return a + b
    if expr.kind == "*":
        if a.is_constant:
            a, b = b, a
        if not b.is_constant:
            raise CodegenError(UNSUPPORTED_OP, f"product of two variables in the affine expression {expr}")
        return a.scaled(b.constant)
    if not b.is_constant:
        raise CodegenError(UNSUPPORTED_OP, f"variable divisor in the affine expression {expr}")
    if expr.kind == "floordiv":
        return floordiv(a, b.constant)
    if expr.kind == "ceildiv":
        return floordiv(a + dim_ops.sub(b.constant, 1), b.constant)
    return mod(a, b.constant)


@record(slots=True)
class Bindings:
    """Where a kernel's loops stand: variable -> index of lane 0, and the variables that run along lanes.

    A lane variable's value in lane ``n`` is its index plus ``n``.
    """

    kernel: KernelBuilder
    values: dict[Var, Index] = field(default_factory=dict)
    lane_var: Var | None = None
    lanes: int = 1
    lanes_aligned: bool = False
    """Lane 0 is at a multiple of ``lanes``."""

    def child(
        self, values: Mapping[Var, Index], lane_var: Var | None = None, lanes: int = 1, aligned: bool = False
    ) -> Bindings:
        """These bindings and more; lanes as given (or kept when not)."""
        merged = {**self.values, **values}
        if lane_var is None:
            return Bindings(self.kernel, merged, self.lane_var, self.lanes, self.lanes_aligned)
        return Bindings(self.kernel, merged, lane_var, lanes, aligned)

    def numbered(self, number: Index, loops: Sequence[tuple[Var, Dim]]) -> Bindings:
        """These bindings and the places of ``loops`` (variable, extent) at ``number``; the last one is the
        fastest."""
        k = self.kernel
        values: dict[Var, Index] = {}
        for place, (var, dim) in reversed(list(enumerate(loops))):
            extent = k.dim(dim)
            values[var] = k.mod(number, extent) if place else number
            number = k.floordiv(number, extent)
        return self.child(values)

    # -- how a form varies over the lanes -----------------------------------------------------

    def varies(self, form: Affine) -> bool:
        """True when lanes may differ."""
        return self.lanes > 1 and any(self._var_varies(v) for v, _ in form.terms)

    def _var_varies(self, var: Var) -> bool:
        if var is self.lane_var:
            return True
        if var.definition is not None:
            return self.varies(var.definition[1])
        return isinstance(var.value, Value) and lanes_of(var.value) > 1

    def step(self, form: Affine) -> Dim | None:
        """What one lane adds: 0 when uniform; None when lanes are not evenly spaced."""
        if self.lanes == 1:
            return 0
        step: Dim = 0
        for var, coefficient in form.terms:
            if var is self.lane_var:
                step = dim_ops.add(step, coefficient)
            elif self._var_varies(var):
                return None
        return step

    # -- emitting --------------------------------------------------------------------------------

    def scalar(self, form: Affine) -> Index:
        """The index of lane 0 (of every lane when uniform)."""
        k = self.kernel
        terms: list[Index] = [k.dim(form.constant)]
        for var, coefficient in form.terms:
            terms.append(k.mul(self._scalar_var(var), k.dim(coefficient)))
        return k.sum(terms)

    def _scalar_var(self, var: Var) -> Index:
        if var.definition is not None:
            kind, form, divisor = var.definition
            k = self.kernel
            value = self.scalar(form)
            return k.floordiv(value, k.dim(divisor)) if kind == "floordiv" else k.mod(value, k.dim(divisor))
        if var.value is not None:
            if isinstance(var.value, Value) and lanes_of(var.value) > 1:
                return self.kernel.extract(var.value, 0)
            return var.value  # type: ignore[no-any-return]
        return self.values[var]

    def vector(self, form: Affine) -> Value:
        """The index of every lane as a vector of ``index``."""
        k, lanes = self.kernel, self.lanes
        uniform: list[Index] = [k.dim(form.constant)]
        varying: list[Value] = []
        for var, coefficient in form.terms:
            factor = k.dim(coefficient)
            if not self._var_varies(var):
                uniform.append(k.mul(self._scalar_var(var), factor))
            elif var is self.lane_var:
                uniform.append(k.mul(self.values[var], factor))
                if isinstance(factor, int):
                    varying.append(k.lane_numbers(lanes, index_type, factor))
                else:
                    numbers = k.lane_numbers(lanes, index_type)
                    varying.append(k.binary("arith.muli", numbers, factor))
            else:
                value = self._vector_var(var)
                varying.append(value if factor == 1 else k.binary("arith.muli", value, k.value(factor)))
        result = k.splat(k.value(k.sum(uniform)), lanes)
        for value in varying:
            result = k.binary("arith.addi", value, result)
        return result

    def _vector_var(self, var: Var) -> Value:
        if var.definition is None:
            return var.value  # type: ignore[no-any-return]
        kind, form, divisor = var.definition
        k = self.kernel
        name = "arith.divui" if kind == "floordiv" else "arith.remui"
        return k.binary(name, self.vector(form), k.value(k.dim(divisor)), hoist=isinstance(divisor, int))

    def index_value(self, form: Affine) -> Value:
        """The form as a value: a scalar where uniform, else a vector."""
        return self.vector(form) if self.varies(form) else self.kernel.value(self.scalar(form))
