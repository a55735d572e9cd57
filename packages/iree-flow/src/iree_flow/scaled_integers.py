"""Recognizes f32 tensors that are sums of scaled integers: ``sum of factor * (integers + shift) + number``.

That is what dequantized tensors, sums of integer products and biases become when they are scaled and added.
Factors, shifts and numbers are constants: of all elements, or one for each place along an axis. Everything is
followed in float64, through elementwise ops of one result; bounds are what clamps at the end leave.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from iree_base.records import record
from iree_core_ir.constants import ConstantStore
from iree_core_ir.dialects import arith, linalg
from iree_core_ir.ir.affine import AffineDim, AffineMap
from iree_core_ir.ir.known_values import known_number
from iree_core_ir.ir.operation import Value
from iree_core_ir.ir.types import TensorType, f32, i8, i32
from iree_flow.exact_products import LARGEST
from iree_flow.quantized import array_of

Array = np.ndarray[Any, Any]
RESHAPES = ("tensor.expand_shape", "tensor.collapse_shape")


@record(frozen=True)
class Term:
    """``factor * (source + shift)``; arrays broadcast to the result. Integers in f32 have no shift."""

    source: Value
    signed: bool
    factor: Array
    shift: Array


@record(frozen=True)
class Scaled:
    """The sum of ``terms`` and ``number``, clamped to ``low`` and ``high`` where these are finite."""

    terms: tuple[Term, ...]
    number: Array
    low: float = -math.inf
    high: float = math.inf

    @property
    def is_number(self) -> bool:
        return not self.terms

    @property
    def clamped(self) -> bool:
        return self.low > -math.inf or self.high < math.inf

    def times(self, factor: Array) -> Scaled | None:
        """None where clamps do not scale with it."""
        if self.clamped and (factor.size != 1 or factor.reshape(-1)[0] <= 0):
            return None
        one = float(factor.reshape(-1)[0]) if self.clamped else 1.0
        terms = tuple(replace(t, factor=t.factor * factor) for t in self.terms)
        return Scaled(terms, self.number * factor, self.low * one, self.high * one)

    def plus(self, other: Scaled) -> Scaled | None:
        if self.clamped or other.clamped:
            return None
        return Scaled(self.terms + other.terms, self.number + other.number)

    def clamp(self, low: float, high: float) -> Scaled:
        return replace(self, low=min(max(self.low, low), high), high=max(min(self.high, high), low))


@record(frozen=True)
class Integers:
    """Integers that are no float yet: a tensor and what is added to it; without a tensor constants."""

    source: Value | None
    signed: bool
    shift: Array
    wide: bool
    """i32: nothing overflows."""


Known = Scaled | Integers


def number(value: Any) -> Array:
    return np.asarray(value, np.float64)


class Tracer:
    """Looks at tensors of one function; remembers what it found."""

    def __init__(self, constants: ConstantStore) -> None:
        self.constants = constants
        self._found: dict[Value, Scaled | None] = {}

    def scaled(self, value: Value) -> Scaled | None:
        """``value``, an f32 tensor, as scaled integers; None where it is anything else."""
        if value not in self._found:
            self._found[value] = None
            self._found[value] = self._scaled(value)
        return self._found[value]

    def _scaled(self, value: Value) -> Scaled | None:
        op: Any = value.defining_op
        if op is None or value.type.element_type is not f32:
            return None
        if op.name in RESHAPES:
            inner = self.scaled(op.operands[0])
            shape = value.type.shape
            if inner is None or not inner.is_number or inner.clamped or min(shape, default=1) < 0:
                return None
            full = np.broadcast_to(inner.number, op.operands[0].type.shape)
            return Scaled((), full.reshape(shape))
        array = array_of(value, self.constants)
        if array is not None:
            return Scaled((), number(array))
        if LARGEST in op.attributes:
            return Scaled((Term(value, True, number(1.0), number(0.0)),), number(0.0))
        if not is_elementwise(op):
            return None
        found = self.value_in(op, op.body.terminator.operands[0])
        return found if isinstance(found, Scaled) else None

    def value_in(self, op: Any, value: Value) -> Known | None:
        """A value of the body of the elementwise ``op``."""
        position = argument_of(op, value)
        if position is not None:
            return self._argument(op, position) if position < op.n_inputs else None
        inner: Any = value.defining_op
        if inner is None or inner.parent is not op.body or isinstance(inner, arith.Constant):
            return self._constant(value)
        rule = _RULES.get(inner.name)
        operands = [self.value_in(op, v) for v in inner.operands] if rule is not None else []
        if rule is None or any(v is None for v in operands):
            return None
        return rule(*operands)

    def _constant(self, value: Value) -> Known | None:
        found = known_number(value)
        if found is None or value.type not in (f32, i8, i32):
            return None
        if value.type is f32:
            return Scaled((), number(found))
        return Integers(None, True, number(found), value.type is i32)

    def _argument(self, op: Any, position: int) -> Known | None:
        source, map = op.operands[position], op.indexing_maps[position]
        type = source.type
        if not isinstance(type, TensorType):
            return self._constant(source)
        constant = array_of(source, self.constants)
        if type.element_type is f32:
            found = self.scaled(source)
            if found is None or (not found.is_number and not map.is_identity):
                return None
            if found.is_number:
                full = np.broadcast_to(found.number, [max(n, 1) for n in type.shape])
                spread = along(full, map)
                return None if spread is None else replace(found, number=spread)
            return found
        if type.element_type not in (i8, i32):
            return None
        wide = type.element_type is i32
        if constant is not None:
            spread = along(number(constant), map)
            return None if spread is None else Integers(None, True, spread, wide)
        return Integers(source, True, number(0), wide) if map.is_identity else None


def is_elementwise(op: Any) -> bool:
    """One result, made element by element in order."""
    return (
        isinstance(op, linalg.Generic)
        and len(op.outputs) == 1
        and not op.reduction_dims
        and op.indexing_maps[-1].is_identity
        and not op.uses_output(0)
        and not op.has_index
    )


def argument_of(op: Any, value: Value) -> int | None:
    args: list[Value] = list(op.body.args)
    return args.index(value) if value in args else None


def along(array: Array, map: AffineMap) -> Array | None:
    """A constant read by ``map`` as an array that broadcasts to the loops."""
    shape = [1] * map.n_dims
    order = []
    for axis, expr in enumerate(map.results):
        if isinstance(expr, AffineDim):
            shape[expr.position] = array.shape[axis]
            order.append(expr.position)
        elif array.shape[axis] != 1:
            return None
    return array.reshape(shape) if order == sorted(order) else None


# -- what ops do to what is known ----------------------------------------------------------------------


def _extended(signed: bool) -> Callable[[Known], Known | None]:
    def rule(a: Known) -> Known | None:
        if not isinstance(a, Integers) or a.wide:
            return None
        if a.source is None:
            return replace(a, shift=a.shift if signed else a.shift % 256, wide=True)
        return replace(a, signed=signed, wide=True)

    return rule


def _float(signed: bool) -> Callable[[Known], Known | None]:
    def rule(a: Known) -> Known | None:
        if not isinstance(a, Integers) or (a.wide and not signed):
            return None
        if a.source is None:
            return Scaled((), a.shift if signed else a.shift % 256)
        return Scaled((Term(a.source, a.signed and signed, number(1.0), a.shift),), number(0.0))

    return rule


def _sum(sign: float) -> Callable[[Known, Known], Known | None]:
    def rule(a: Known, b: Known) -> Known | None:
        if isinstance(a, Scaled) and isinstance(b, Scaled):
            other = b.times(number(sign))
            return None if other is None else a.plus(other)
        if not isinstance(a, Integers) or not isinstance(b, Integers) or not (a.wide and b.wide):
            return None
        if b.source is None:
            return replace(a, shift=a.shift + sign * b.shift)
        return replace(b, shift=a.shift + b.shift) if a.source is None and sign > 0 else None

    return rule


def _product(a: Known, b: Known) -> Known | None:
    for x, y in ((a, b), (b, a)):
        if isinstance(x, Scaled) and isinstance(y, Scaled) and y.is_number and not y.clamped:
            return x.times(y.number)
    return None


def _quotient(a: Known, b: Known) -> Known | None:
    if not isinstance(a, Scaled) or not isinstance(b, Scaled) or not b.is_number or not np.all(b.number):
        return None
    return a.times(1.0 / b.number)


def _bound(low: bool) -> Callable[[Known, Known], Known | None]:
    def rule(a: Known, b: Known) -> Known | None:
        for x, y in ((a, b), (b, a)):
            if isinstance(x, Scaled) and isinstance(y, Scaled) and y.is_number and y.number.size == 1:
                bound = float(y.number.reshape(-1)[0])
                return x.clamp(bound, math.inf) if low else x.clamp(-math.inf, bound)
        return None

    return rule


_RULES: Mapping[str, Callable[..., Known | None]] = {
    "arith.extsi": _extended(True),
    "arith.extui": _extended(False),
    "arith.sitofp": _float(True),
    "arith.uitofp": _float(False),
    "arith.addi": _sum(1.0),
    "arith.subi": _sum(-1.0),
    "arith.addf": _sum(1.0),
    "arith.subf": _sum(-1.0),
    "arith.mulf": _product,
    "arith.divf": _quotient,
    "arith.maximumf": _bound(True),
    "arith.minimumf": _bound(False),
}


__all__ = ["Scaled", "Term", "Tracer", "argument_of", "is_elementwise"]
