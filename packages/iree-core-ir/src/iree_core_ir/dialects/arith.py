"""``arith``: integer and float arithmetic on scalars, vectors and tensors, as in MLIR.

Ops are elementwise over vectors and tensors of one shape. What MLIR leaves undefined is defined here
(division by zero, ``MIN / -1``, wide shifts, float to int out of range): see ``interpreters.arith``.
"""

from __future__ import annotations

from typing import Any, ClassVar, Self

from iree_core_ir.dialects import arith_folds as _rules  # noqa: F401  (registers the fold rules)
from iree_core_ir.dialects.arith_attributes import (
    CMPF_PREDICATES,
    CMPI_PREDICATES,
    NO_FASTMATH,
    NO_OVERFLOW,
    FastMathAttr,
    OverflowAttr,
    constant_attribute,
    fastmath_attributes,
)
from iree_core_ir.dialects.constraints import (
    BITCASTABLE,
    BOOL_LIKE,
    FLOAT_LIKE,
    INTEGER_LIKE,
    INTEGER_OR_INDEX_LIKE,
    bool_like,
)
from iree_core_ir.dialects.folds import FoldableOp
from iree_core_ir.dialects.words import parse_case
from iree_core_ir.errors import VerifyError
from iree_core_ir.ir.attributes import UNIT, Attribute, IntegerAttr, Type, UnitAttr
from iree_core_ir.ir.declaration import attribute, operand, optional_attribute, result
from iree_core_ir.ir.dialect import Dialect
from iree_core_ir.ir.operation import Op, Value
from iree_core_ir.ir.traits import (
    COMMUTATIVE,
    CONSTANT_LIKE,
    ELEMENTWISE,
    PURE,
    SAME_OPERAND_TYPES,
    SAME_TYPE,
)
from iree_core_ir.ir.types import IndexType, ShapedType, element_of, i1, i64, index


class Constant(Op, name="arith.constant", traits=(PURE, CONSTANT_LIKE)):
    """A constant of any type; ``value`` is its typed attribute."""

    value = attribute(Attribute)
    result = result()
    assembly_format = "attr-dict $value"

    @classmethod
    def make(cls, value: Attribute) -> Self:
        """``value``: an integer, float, dense or dense_resource attribute."""
        typed: Any = value
        return cls((), (typed.type,), {"value": value})

    @classmethod
    def of(cls, value: Any, type: Type) -> Self:
        """A number as ``type``; a splat when ``type`` is a vector or tensor of static shape."""
        return cls.make(constant_attribute(value, type))

    @classmethod
    def index(cls, value: int) -> Self:
        return cls.make(IntegerAttr(value, index))

    @classmethod
    def infer_types(cls, types: dict[str, list[Any]], attributes: dict[str, Any]) -> None:
        types["result"] = [attributes["value"].type]

    def verify_op(self) -> None:
        if getattr(self.value, "type", None) is not self.result.type:
            raise VerifyError(self, f"value {self.value} is no constant of type {self.result.type}")


class _Binary(FoldableOp, traits=(PURE, SAME_TYPE, ELEMENTWISE)):
    lhs = operand()
    rhs = operand()
    result = result()
    assembly_format = "$lhs `,` $rhs attr-dict `:` type($result)"

    @classmethod
    def make(cls, lhs: Value, rhs: Value) -> Self:
        return cls((lhs, rhs), (lhs.type,))


class _IntBinary(_Binary):
    lhs = operand(INTEGER_OR_INDEX_LIKE)
    rhs = operand(INTEGER_OR_INDEX_LIKE)
    result = result(INTEGER_OR_INDEX_LIKE)


class _OverflowBinary(_IntBinary):
    overflow = optional_attribute(OverflowAttr, key="overflowFlags", default=NO_OVERFLOW)
    assembly_format = "$lhs `,` $rhs (`overflow` `` $overflow^)? attr-dict `:` type($result)"

    @classmethod
    def make(cls, lhs: Value, rhs: Value, overflow: OverflowAttr | None = None) -> Self:
        if overflow is None or overflow is NO_OVERFLOW:
            return cls((lhs, rhs), (lhs.type,))
        return cls((lhs, rhs), (lhs.type,), {"overflowFlags": overflow})


class _ExactBinary(_IntBinary):
    exact = optional_attribute(UnitAttr, key="isExact")
    assembly_format = "$lhs `,` $rhs (`exact` $exact^)? attr-dict `:` type($result)"

    @classmethod
    def make(cls, lhs: Value, rhs: Value, exact: bool = False) -> Self:
        return cls((lhs, rhs), (lhs.type,), {"isExact": UNIT} if exact else {})


class _FloatBinary(_Binary):
    lhs = operand(FLOAT_LIKE)
    rhs = operand(FLOAT_LIKE)
    fastmath = optional_attribute(FastMathAttr, default=NO_FASTMATH)
    result = result(FLOAT_LIKE)
    assembly_format = "$lhs `,` $rhs (`fastmath` `` $fastmath^)? attr-dict `:` type($result)"

    @classmethod
    def make(cls, lhs: Value, rhs: Value, fastmath: FastMathAttr | None = None) -> Self:
        return cls((lhs, rhs), (lhs.type,), fastmath_attributes(fastmath))


class AddI(_OverflowBinary, name="arith.addi", traits=(COMMUTATIVE,)):
    """Sum modulo 2^n."""


class SubI(_OverflowBinary, name="arith.subi"):
    """Difference modulo 2^n."""


class MulI(_OverflowBinary, name="arith.muli", traits=(COMMUTATIVE,)):
    """Product modulo 2^n."""


class DivSI(_ExactBinary, name="arith.divsi"):
    """Signed quotient, rounded to zero."""


class DivUI(_ExactBinary, name="arith.divui"):
    """Unsigned quotient."""


class CeilDivSI(_IntBinary, name="arith.ceildivsi"):
    """Signed quotient, rounded up."""


class CeilDivUI(_IntBinary, name="arith.ceildivui"):
    """Unsigned quotient, rounded up."""


class FloorDivSI(_IntBinary, name="arith.floordivsi"):
    """Signed quotient, rounded down."""


class RemSI(_IntBinary, name="arith.remsi"):
    """Signed remainder, with the dividend's sign."""


class RemUI(_IntBinary, name="arith.remui"):
    """Unsigned remainder."""


class AndI(_IntBinary, name="arith.andi", traits=(COMMUTATIVE,)):
    """Bitwise and."""


class OrI(_IntBinary, name="arith.ori", traits=(COMMUTATIVE,)):
    """Bitwise or."""


class XOrI(_IntBinary, name="arith.xori", traits=(COMMUTATIVE,)):
    """Bitwise exclusive or."""


class ShLI(_OverflowBinary, name="arith.shli"):
    """Shift left; by the width or more (unsigned) gives 0."""


class ShRSI(_ExactBinary, name="arith.shrsi"):
    """Arithmetic shift right; by the width or more (unsigned) gives the sign in every bit."""


class ShRUI(_ExactBinary, name="arith.shrui"):
    """Logical shift right; by the width or more (unsigned) gives 0."""


class MaxSI(_IntBinary, name="arith.maxsi", traits=(COMMUTATIVE,)):
    """Signed maximum."""


class MaxUI(_IntBinary, name="arith.maxui", traits=(COMMUTATIVE,)):
    """Unsigned maximum."""


class MinSI(_IntBinary, name="arith.minsi", traits=(COMMUTATIVE,)):
    """Signed minimum."""


class MinUI(_IntBinary, name="arith.minui", traits=(COMMUTATIVE,)):
    """Unsigned minimum."""


class AddF(_FloatBinary, name="arith.addf", traits=(COMMUTATIVE,)):
    """Float sum."""


class SubF(_FloatBinary, name="arith.subf"):
    """Float difference."""


class MulF(_FloatBinary, name="arith.mulf", traits=(COMMUTATIVE,)):
    """Float product."""


class DivF(_FloatBinary, name="arith.divf"):
    """Float quotient."""


class RemF(_FloatBinary, name="arith.remf"):
    """Float remainder with the dividend's sign (C ``fmod``)."""


class MaximumF(_FloatBinary, name="arith.maximumf", traits=(COMMUTATIVE,)):
    """Maximum; NaN when either is NaN; -0.0 < +0.0."""


class MinimumF(_FloatBinary, name="arith.minimumf", traits=(COMMUTATIVE,)):
    """Minimum; NaN when either is NaN; -0.0 < +0.0."""


class MaxNumF(_FloatBinary, name="arith.maxnumf", traits=(COMMUTATIVE,)):
    """Maximum; the other operand when one is NaN."""


class MinNumF(_FloatBinary, name="arith.minnumf", traits=(COMMUTATIVE,)):
    """Minimum; the other operand when one is NaN."""


class NegF(FoldableOp, name="arith.negf", traits=(PURE, SAME_TYPE, ELEMENTWISE)):
    """Flips the sign bit (also of NaN)."""

    operand = operand(FLOAT_LIKE)
    fastmath = optional_attribute(FastMathAttr, default=NO_FASTMATH)
    result = result(FLOAT_LIKE)
    assembly_format = "$operand (`fastmath` `` $fastmath^)? attr-dict `:` type($result)"

    @classmethod
    def make(cls, operand: Value, fastmath: FastMathAttr | None = None) -> Self:
        return cls((operand,), (operand.type,), fastmath_attributes(fastmath))


class AddUIExtended(FoldableOp, name="arith.addui_extended", traits=(PURE, COMMUTATIVE, ELEMENTWISE)):
    """Unsigned sum modulo 2^n, and the carry as i1."""

    lhs = operand(INTEGER_OR_INDEX_LIKE)
    rhs = operand(INTEGER_OR_INDEX_LIKE)
    sum = result(INTEGER_OR_INDEX_LIKE)
    overflow = result(BOOL_LIKE)
    assembly_format = "$lhs `,` $rhs attr-dict `:` type($sum) `,` type($overflow)"

    @classmethod
    def make(cls, lhs: Value, rhs: Value) -> Self:
        return cls((lhs, rhs), (lhs.type, bool_like(lhs.type)))

    @classmethod
    def infer_types(cls, types: dict[str, list[Any]], attributes: dict[str, Any]) -> None:
        types["lhs"] = types["rhs"] = types["sum"]


class _MulExtended(FoldableOp, traits=(PURE, COMMUTATIVE, ELEMENTWISE)):
    lhs = operand(INTEGER_OR_INDEX_LIKE)
    rhs = operand(INTEGER_OR_INDEX_LIKE)
    low = result(INTEGER_OR_INDEX_LIKE)
    high = result(INTEGER_OR_INDEX_LIKE)
    assembly_format = "$lhs `,` $rhs attr-dict `:` type($lhs)"

    @classmethod
    def make(cls, lhs: Value, rhs: Value) -> Self:
        return cls((lhs, rhs), (lhs.type, lhs.type))


class MulSIExtended(_MulExtended, name="arith.mulsi_extended", traits=(SAME_TYPE,)):
    """Low and high half of the signed 2n-bit product."""


class MulUIExtended(_MulExtended, name="arith.mului_extended", traits=(SAME_TYPE,)):
    """Low and high half of the unsigned 2n-bit product."""


class CmpI(FoldableOp, name="arith.cmpi", traits=(PURE, SAME_OPERAND_TYPES, ELEMENTWISE)):
    """Integer comparison; the predicate is one of ``CMPI_PREDICATES``."""

    predicate = attribute(IntegerAttr)
    lhs = operand(INTEGER_OR_INDEX_LIKE)
    rhs = operand(INTEGER_OR_INDEX_LIKE)
    result = result(BOOL_LIKE)
    PREDICATES: ClassVar[tuple[str, ...]] = CMPI_PREDICATES
    assembly_format = "custom<Predicate>($predicate) `,` $lhs `,` $rhs attr-dict `:` type($lhs)"

    @classmethod
    def make(cls, predicate: str, lhs: Value, rhs: Value) -> Self:
        value = IntegerAttr(cls.PREDICATES.index(predicate), i64)
        return cls((lhs, rhs), (bool_like(lhs.type),), {"predicate": value})

    @property
    def predicate_name(self) -> str:
        return self.PREDICATES[self.predicate.value]

    @classmethod
    def infer_types(cls, types: dict[str, list[Any]], attributes: dict[str, Any]) -> None:
        types["result"] = [bool_like(types["lhs"][0])]

    @classmethod
    def parse_Predicate(cls, p: Any) -> tuple[IntegerAttr]:
        return (parse_case(p, cls.PREDICATES),)

    def verify_op(self) -> None:
        if not 0 <= self.predicate.value < len(self.PREDICATES):
            raise VerifyError(self, f"has no predicate {self.predicate.value}")

    @staticmethod
    def print_Predicate(printer: Any, op: Any, predicate: IntegerAttr) -> None:
        printer.write(op.PREDICATES[predicate.value])


class CmpF(FoldableOp, name="arith.cmpf", traits=(PURE, SAME_OPERAND_TYPES, ELEMENTWISE)):
    """Float comparison; the predicate is one of ``CMPF_PREDICATES`` (``o``: ordered, ``u``: or NaN)."""

    predicate = attribute(IntegerAttr)
    lhs = operand(FLOAT_LIKE)
    rhs = operand(FLOAT_LIKE)
    fastmath = optional_attribute(FastMathAttr, default=NO_FASTMATH)
    result = result(BOOL_LIKE)
    PREDICATES: ClassVar[tuple[str, ...]] = CMPF_PREDICATES
    assembly_format = (
        "custom<Predicate>($predicate) `,` $lhs `,` $rhs (`fastmath` `` $fastmath^)? attr-dict `:` type($lhs)"
    )

    @classmethod
    def make(cls, predicate: str, lhs: Value, rhs: Value, fastmath: FastMathAttr | None = None) -> Self:
        attributes = fastmath_attributes(fastmath)
        attributes["predicate"] = IntegerAttr(cls.PREDICATES.index(predicate), i64)
        return cls((lhs, rhs), (bool_like(lhs.type),), attributes)

    @property
    def predicate_name(self) -> str:
        return self.PREDICATES[self.predicate.value]

    @classmethod
    def infer_types(cls, types: dict[str, list[Any]], attributes: dict[str, Any]) -> None:
        types["result"] = [bool_like(types["lhs"][0])]

    @classmethod
    def parse_Predicate(cls, p: Any) -> tuple[IntegerAttr]:
        return (parse_case(p, cls.PREDICATES),)

    def verify_op(self) -> None:
        if not 0 <= self.predicate.value < len(self.PREDICATES):
            raise VerifyError(self, f"has no predicate {self.predicate.value}")

    @staticmethod
    def print_Predicate(printer: Any, op: Any, predicate: IntegerAttr) -> None:
        printer.write(op.PREDICATES[predicate.value])


class Select(FoldableOp, name="arith.select", traits=(PURE, ELEMENTWISE)):
    """``condition ? true_value : false_value``; one i1 for all elements or one per element."""

    condition = operand(BOOL_LIKE)
    true_value = operand()
    false_value = operand()
    result = result()

    @classmethod
    def make(cls, condition: Value, true_value: Value, false_value: Value) -> Self:
        return cls((condition, true_value, false_value), (true_value.type,))

    @classmethod
    def parse(cls, p: Any) -> Self:
        names = [p.operand_name()]
        for _ in range(2):
            p.expect(",")
            names.append(p.operand_name())
        attributes = p.attribute_dict()
        p.expect(":")
        type = p.type()
        condition_type = i1
        if p.accept(","):
            condition_type, type = type, p.type()
        operands = p.resolve_all(names, [condition_type, type, type])
        return cls(operands, (type,), attributes)

    def verify_op(self) -> None:
        if not self.true_value.type is self.false_value.type is self.result.type:
            raise VerifyError(self, "requires one type for both values and the result")

    def print(self, printer: Any) -> None:
        printer.write(f" {printer.names(self.operands)}")
        printer.attribute_dict(self.attributes)
        condition = self.condition.type
        prefix = "" if condition is i1 else f"{printer.text(condition)}, "
        printer.write(f" : {prefix}{printer.text(self.result.type)}")


class _Cast(FoldableOp, traits=(PURE, ELEMENTWISE)):
    input = operand()
    out = result()
    assembly_format = "$input attr-dict `:` type($input) `to` type($out)"

    @classmethod
    def make(cls, input: Value, type: Type) -> Self:
        """``type``: the result type, of the input's shape."""
        return cls((input,), (type,))

    WIDTHS: ClassVar[str] = ""
    """How the result's width must compare with the input's: ``<``, ``>``, ``=`` or anything."""

    def verify_op(self) -> None:
        source, target = element_of(self.input.type), element_of(self.out.type)
        if isinstance(self.input.type, ShapedType) != isinstance(self.out.type, ShapedType):
            raise VerifyError(self, "requires input and result of one shape")
        a, b = getattr(source, "width", 64), getattr(target, "width", 64)
        if not {"": True, "<": b < a, ">": b > a, "=": a == b}[self.WIDTHS]:
            expected = {"<": "narrower than", ">": "wider than", "=": "as wide as"}[self.WIDTHS]
            raise VerifyError(self, f"result element {target} must be {expected} {source}")


class _FloatCast(_Cast):
    input = operand(FLOAT_LIKE)
    fastmath = optional_attribute(FastMathAttr, default=NO_FASTMATH)
    out = result(FLOAT_LIKE)
    assembly_format = "$input (`fastmath` `` $fastmath^)? attr-dict `:` type($input) `to` type($out)"


class _NonNegCast(_Cast):
    input = operand(INTEGER_LIKE)
    non_negative = optional_attribute(UnitAttr, key="nonNeg")
    out = result()
    assembly_format = "$input (`nneg` $non_negative^)? attr-dict `:` type($input) `to` type($out)"


class ExtF(_FloatCast, name="arith.extf"):
    """To a wider float; exact."""

    WIDTHS = ">"


class TruncF(_FloatCast, name="arith.truncf"):
    """To a narrower float, rounded to nearest even."""

    WIDTHS = "<"


class ExtSI(_Cast, name="arith.extsi"):
    """To a wider integer, sign extended."""

    WIDTHS = ">"

    input = operand(INTEGER_LIKE)
    out = result(INTEGER_LIKE)


class ExtUI(_NonNegCast, name="arith.extui"):
    """To a wider integer, zero extended."""

    WIDTHS = ">"

    out = result(INTEGER_LIKE)


class TruncI(_Cast, name="arith.trunci"):
    """To a narrower integer: the low bits."""

    WIDTHS = "<"

    input = operand(INTEGER_LIKE)
    overflow = optional_attribute(OverflowAttr, key="overflowFlags", default=NO_OVERFLOW)
    out = result(INTEGER_LIKE)
    assembly_format = "$input (`overflow` `` $overflow^)? attr-dict `:` type($input) `to` type($out)"


class SIToFP(_Cast, name="arith.sitofp"):
    """Signed integer to float, rounded to nearest even."""

    input = operand(INTEGER_LIKE)
    out = result(FLOAT_LIKE)


class UIToFP(_NonNegCast, name="arith.uitofp"):
    """Unsigned integer to float, rounded to nearest even."""

    out = result(FLOAT_LIKE)


class FPToSI(_Cast, name="arith.fptosi"):
    """Float to signed integer, rounded to zero, saturating; NaN gives 0."""

    input = operand(FLOAT_LIKE)
    out = result(INTEGER_LIKE)


class FPToUI(_Cast, name="arith.fptoui"):
    """Float to unsigned integer, rounded to zero, saturating; NaN gives 0."""

    input = operand(FLOAT_LIKE)
    out = result(INTEGER_LIKE)


def _verify_index_cast(op: Any) -> None:
    kinds = [isinstance(element_of(value.type), IndexType) for value in (op.input, op.out)]
    if kinds[0] == kinds[1]:
        raise VerifyError(op, "converts between index and an integer type")


class IndexCast(_Cast, name="arith.index_cast"):
    """Between ``index`` (64 bits) and an integer; sign extends or truncates."""

    verify_op = _verify_index_cast

    input = operand(INTEGER_OR_INDEX_LIKE)
    out = result(INTEGER_OR_INDEX_LIKE)


class IndexCastUI(_NonNegCast, name="arith.index_castui"):
    """Between ``index`` (64 bits) and an integer; zero extends or truncates."""

    verify_op = _verify_index_cast

    input = operand(INTEGER_OR_INDEX_LIKE)
    out = result(INTEGER_OR_INDEX_LIKE)


class Bitcast(_Cast, name="arith.bitcast"):
    """The same bits as another type of the same width."""

    WIDTHS = "="

    input = operand(BITCASTABLE)
    out = result(BITCASTABLE)


def materialize_constant(value: Attribute, type: Type) -> Op:
    """The op that yields the constant ``value``."""
    return Constant.make(value)


DIALECT = Dialect(
    "arith",
    ops=[
        Constant, AddI, SubI, MulI, DivSI, DivUI, CeilDivSI, CeilDivUI, FloorDivSI, RemSI, RemUI,
        AndI, OrI, XOrI, ShLI, ShRSI, ShRUI, MaxSI, MaxUI, MinSI, MinUI, AddF, SubF, MulF, DivF, RemF,
        MaximumF, MinimumF, MaxNumF, MinNumF, NegF, AddUIExtended, MulSIExtended, MulUIExtended,
        CmpI, CmpF, Select, ExtF, TruncF, ExtSI, ExtUI, TruncI, SIToFP, UIToFP, FPToSI, FPToUI,
        IndexCast, IndexCastUI, Bitcast,
    ],
    attributes=[FastMathAttr, OverflowAttr],
    materialize_constant=materialize_constant,
)  # fmt: skip
