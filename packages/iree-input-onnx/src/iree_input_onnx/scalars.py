"""Scalar expressions in Python operators -> ``arith`` and ``math`` ops.

The bodies of ``linalg.generic`` are written once as functions of ``Scalar``; the same function computes
small host tensors (shape arithmetic) on scalars of the function itself. A ``Scalar`` knows its ONNX element
type, so ``a / b`` is ``divf``, ``divsi`` or ``divui``.
"""

from __future__ import annotations

from typing import Any

from iree_base.element_types import ElementType
from iree_core_ir.dialects import arith, math
from iree_core_ir.ir.builder import Builder
from iree_core_ir.ir.operation import Op, Value
from iree_core_ir.ir.types import index
from iree_input_onnx.elements import F32, I1, I32, I64, ir_type
from iree_input_onnx.errors import Unsupported

Number = float | int | bool

_COMPARE_FLOAT = {"eq": "oeq", "ne": "une", "lt": "olt", "le": "ole", "gt": "ogt", "ge": "oge"}


class Scalar:
    """One SSA scalar at a builder. Operators take another Scalar of the same element type, or a number."""

    __slots__ = ("builder", "element", "value")

    def __init__(self, builder: Builder, value: Value, element: ElementType) -> None:
        self.builder = builder
        self.value = value
        self.element = element

    @classmethod
    def constant(cls, builder: Builder, number: Any, element: ElementType) -> Scalar:
        return cls(builder, builder.insert(arith.Constant.of(number, ir_type(element))).result, element)

    def like(self, number: Any) -> Scalar:
        """A constant of this element type."""
        return Scalar.constant(self.builder, number, self.element)

    def wrap(self, op: Op, element: ElementType | None = None) -> Scalar:
        """The inserted op's result, of this element type unless another is given."""
        self.builder.insert(op)
        return Scalar(self.builder, op.results[0], element or self.element)

    def _coerce(self, other: Scalar | Number) -> Scalar:
        if not isinstance(other, Scalar):
            return self.like(other)
        if other.element != self.element:
            raise ValueError(f"element types {self.element.name} and {other.element.name} differ")
        return other

    def _pick(self, on_float: Any, on_signed: Any, on_unsigned: Any, on_bool: Any = None) -> Any:
        choice = {"f": on_float, "i": on_signed, "u": on_unsigned, "b": on_bool}.get(self.element.kind)
        if choice is None:
            raise Unsupported(f"element type {self.element.name}")
        return choice

    def _binary(self, other: Scalar | Number, *choices: Any) -> Scalar:
        op = self._pick(*choices)
        return self.wrap(op.make(self.value, self._coerce(other).value))

    @property
    def is_float(self) -> bool:
        return self.element.kind == "f"

    # -- arithmetic --------------------------------------------------------------------------

    def __add__(self, other: Scalar | Number) -> Scalar:
        return self._binary(other, arith.AddF, arith.AddI, arith.AddI, arith.OrI)

    def __sub__(self, other: Scalar | Number) -> Scalar:
        return self._binary(other, arith.SubF, arith.SubI, arith.SubI)

    def __mul__(self, other: Scalar | Number) -> Scalar:
        return self._binary(other, arith.MulF, arith.MulI, arith.MulI, arith.AndI)

    def __truediv__(self, other: Scalar | Number) -> Scalar:
        """The quotient; of integers rounded to zero."""
        return self._binary(other, arith.DivF, arith.DivSI, arith.DivUI)

    def __mod__(self, other: Scalar | Number) -> Scalar:
        """The remainder with the sign of the dividend (C's ``%`` and ``fmod``)."""
        return self._binary(other, arith.RemF, arith.RemSI, arith.RemUI)

    __radd__ = __add__
    __rmul__ = __mul__

    def __rsub__(self, other: Number) -> Scalar:
        return self.like(other) - self

    def __rtruediv__(self, other: Number) -> Scalar:
        return self.like(other) / self

    def __neg__(self) -> Scalar:
        return self.wrap(arith.NegF.make(self.value)) if self.is_float else self.like(0) - self

    def maximum(self, other: Scalar | Number) -> Scalar:
        """The larger; NaN when either is."""
        return self._binary(other, arith.MaximumF, arith.MaxSI, arith.MaxUI, arith.OrI)

    def minimum(self, other: Scalar | Number) -> Scalar:
        """The smaller; NaN when either is."""
        return self._binary(other, arith.MinimumF, arith.MinSI, arith.MinUI, arith.AndI)

    def clamp(self, low: Scalar | Number, high: Scalar | Number) -> Scalar:
        return self.maximum(low).minimum(high)

    # -- bits and logic ----------------------------------------------------------------------

    def __and__(self, other: Scalar | Number) -> Scalar:
        return self._binary(other, None, arith.AndI, arith.AndI, arith.AndI)

    def __or__(self, other: Scalar | Number) -> Scalar:
        return self._binary(other, None, arith.OrI, arith.OrI, arith.OrI)

    def __xor__(self, other: Scalar | Number) -> Scalar:
        return self._binary(other, None, arith.XOrI, arith.XOrI, arith.XOrI)

    def __invert__(self) -> Scalar:
        return self ^ (True if self.element.kind == "b" else -1)

    def __lshift__(self, other: Scalar) -> Scalar:
        return self._binary(other, None, arith.ShLI, arith.ShLI)

    def __rshift__(self, other: Scalar) -> Scalar:
        """Arithmetic on signed, logical on unsigned integers."""
        return self._binary(other, None, arith.ShRSI, arith.ShRUI)

    # -- comparison --------------------------------------------------------------------------

    def compare(self, predicate: str, other: Scalar | Number) -> Scalar:
        """``eq ne lt le gt ge``; with NaN all are false except ``ne``."""
        right = self._coerce(other).value
        if self.is_float:
            return self.wrap(arith.CmpF.make(_COMPARE_FLOAT[predicate], self.value, right), I1)
        if predicate not in ("eq", "ne"):
            predicate = ("s" if self.element.kind == "i" else "u") + predicate
        return self.wrap(arith.CmpI.make(predicate, self.value, right), I1)

    def __lt__(self, other: Scalar | Number) -> Scalar:
        return self.compare("lt", other)

    def __le__(self, other: Scalar | Number) -> Scalar:
        return self.compare("le", other)

    def __gt__(self, other: Scalar | Number) -> Scalar:
        return self.compare("gt", other)

    def __ge__(self, other: Scalar | Number) -> Scalar:
        return self.compare("ge", other)

    def equals(self, other: Scalar | Number) -> Scalar:
        return self.compare("eq", other)

    def differs(self, other: Scalar | Number) -> Scalar:
        return self.compare("ne", other)

    def select(self, true_value: Scalar, false_value: Scalar | Number) -> Scalar:
        """On a boolean: ``true_value`` where it holds, else ``false_value``."""
        other = true_value._coerce(false_value)
        op = arith.Select.make(self.value, true_value.value, other.value)
        return true_value.wrap(op)

    # -- functions ---------------------------------------------------------------------------

    def apply(self, op: type[Any], *others: Scalar | Number) -> Scalar:
        """A same-type op such as ``math.Exp`` or ``math.PowF``."""
        return self.wrap(op.make(self.value, *(self._coerce(o).value for o in others)))

    def exp(self) -> Scalar:
        return self.apply(math.Exp)

    def log(self) -> Scalar:
        return self.apply(math.Log)

    def sqrt(self) -> Scalar:
        return self.apply(math.Sqrt)

    def tanh(self) -> Scalar:
        return self.apply(math.Tanh)

    def abs(self) -> Scalar:
        if self.element.kind == "u":
            return self
        return self.apply(math.AbsF if self.is_float else math.AbsI)

    def is_nan(self) -> Scalar:
        return self.wrap(math.IsNaN.make(self.value), I1)

    def to(self, target: ElementType) -> Scalar:
        """The number as ``target``: to integers rounded to zero and saturating, to booleans ``!= 0``."""
        source = self.element
        if source == target:
            return self
        if target.kind == "b":
            return self.differs(0)
        type = ir_type(target)
        if source.kind == "f" and target.kind == "f":
            if source.bits == target.bits:
                return self.to(F32).to(target)
            cast: Any = arith.ExtF if source.bits < target.bits else arith.TruncF
        elif source.kind == "f":
            cast = arith.FPToSI if target.kind == "i" else arith.FPToUI
        elif target.kind == "f":
            cast = arith.SIToFP if source.kind == "i" else arith.UIToFP
        elif source.kind == "b" or source.bits < target.bits:
            cast = arith.ExtSI if source.kind == "i" else arith.ExtUI
        elif source.bits > target.bits:
            cast = arith.TruncI
        else:
            return Scalar(self.builder, self.value, target)
        return self.wrap(cast.make(self.value, type), target)

    def to_index(self) -> Value:
        """An integer as ``index``."""
        cast = arith.IndexCast if self.element.kind == "i" else arith.IndexCastUI
        return self.builder.insert(cast.make(self.value, index)).out

    @classmethod
    def from_index(cls, builder: Builder, value: Value, element: ElementType = I64) -> Scalar:
        """An index value as an integer (or, through i64, any number)."""
        if element in (I64, I32):
            cast = arith.IndexCast.make(value, ir_type(element))
            return cls(builder, builder.insert(cast).out, element)
        return cls.from_index(builder, value).to(element)


__all__ = ["Number", "Scalar"]
