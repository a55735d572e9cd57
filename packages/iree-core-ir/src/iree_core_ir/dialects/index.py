"""``index``: arithmetic on ``index`` values (64 bits here), as in MLIR."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from iree_core_ir.dialects import arith_folds as _rules  # noqa: F401  (registers the fold rules)
from iree_core_ir.dialects.arith_attributes import CMPI_PREDICATES
from iree_core_ir.dialects.constraints import INTEGER_OR_INDEX
from iree_core_ir.dialects.folds import FoldableOp
from iree_core_ir.dialects.words import WordAttr
from iree_core_ir.ir.attributes import Attribute, IntegerAttr, Type
from iree_core_ir.ir.declaration import attribute, operand, result
from iree_core_ir.ir.dialect import Dialect
from iree_core_ir.ir.operation import Op, Value
from iree_core_ir.ir.traits import COMMUTATIVE, CONSTANT_LIKE, PURE, SAME_TYPE
from iree_core_ir.ir.types import i1, index


class Constant(Op, name="index.constant", traits=(PURE, CONSTANT_LIKE)):
    """An index constant."""

    value = attribute(IntegerAttr, type=index)
    result = result(index)
    assembly_format = "attr-dict $value"

    @classmethod
    def make(cls, value: int) -> Self:
        return cls((), (index,), {"value": IntegerAttr(value, index)})


class BoolConstant(Op, name="index.bool.constant", traits=(PURE, CONSTANT_LIKE)):
    """An i1 constant."""

    value = attribute(IntegerAttr, type=i1)
    result = result(i1)
    assembly_format = "attr-dict $value"

    @classmethod
    def make(cls, value: bool) -> Self:
        return cls((), (i1,), {"value": IntegerAttr(int(value), i1)})


class _Binary(FoldableOp, traits=(PURE, SAME_TYPE)):
    lhs = operand(index)
    rhs = operand(index)
    result = result(index)
    assembly_format = "$lhs `,` $rhs attr-dict"

    @classmethod
    def make(cls, lhs: Value, rhs: Value) -> Self:
        return cls((lhs, rhs), (index,))


class Add(_Binary, name="index.add", traits=(COMMUTATIVE,)):
    """Sum modulo 2^64."""


class Sub(_Binary, name="index.sub"):
    """Difference modulo 2^64."""


class Mul(_Binary, name="index.mul", traits=(COMMUTATIVE,)):
    """Product modulo 2^64."""


class DivS(_Binary, name="index.divs"):
    """Signed quotient, rounded to zero."""


class DivU(_Binary, name="index.divu"):
    """Unsigned quotient."""


class CeilDivS(_Binary, name="index.ceildivs"):
    """Signed quotient, rounded up."""


class CeilDivU(_Binary, name="index.ceildivu"):
    """Unsigned quotient, rounded up."""


class FloorDivS(_Binary, name="index.floordivs"):
    """Signed quotient, rounded down."""


class RemS(_Binary, name="index.rems"):
    """Signed remainder, with the dividend's sign."""


class RemU(_Binary, name="index.remu"):
    """Unsigned remainder."""


class MaxS(_Binary, name="index.maxs", traits=(COMMUTATIVE,)):
    """Signed maximum."""


class MaxU(_Binary, name="index.maxu", traits=(COMMUTATIVE,)):
    """Unsigned maximum."""


class MinS(_Binary, name="index.mins", traits=(COMMUTATIVE,)):
    """Signed minimum."""


class MinU(_Binary, name="index.minu", traits=(COMMUTATIVE,)):
    """Unsigned minimum."""


class Shl(_Binary, name="index.shl"):
    """Shift left; by 64 or more gives 0."""


class ShrS(_Binary, name="index.shrs"):
    """Arithmetic shift right; by 64 or more gives the sign in every bit."""


class ShrU(_Binary, name="index.shru"):
    """Logical shift right; by 64 or more gives 0."""


class And(_Binary, name="index.and", traits=(COMMUTATIVE,)):
    """Bitwise and."""


class Or(_Binary, name="index.or", traits=(COMMUTATIVE,)):
    """Bitwise or."""


class XOr(_Binary, name="index.xor", traits=(COMMUTATIVE,)):
    """Bitwise exclusive or."""


class _Cast(FoldableOp, traits=(PURE,)):
    input = operand(INTEGER_OR_INDEX)
    output = result(INTEGER_OR_INDEX)
    assembly_format = "$input attr-dict `:` type($input) `to` type($output)"

    @classmethod
    def make(cls, input: Value, type: Type) -> Self:
        return cls((input,), (type,))


class CastS(_Cast, name="index.casts"):
    """Between index and an integer; sign extends or truncates."""


class CastU(_Cast, name="index.castu"):
    """Between index and an integer; zero extends or truncates."""


class IndexCmpPredicateAttr(WordAttr):
    """``#index<cmp_predicate slt>``."""

    __slots__ = ()
    mnemonic = "index.cmp_predicate"
    cases = CMPI_PREDICATES


class Cmp(FoldableOp, name="index.cmp", traits=(PURE,)):
    """Comparison; predicates as in ``arith.cmpi``."""

    predicate = attribute(IndexCmpPredicateAttr, key="pred")
    lhs = operand(index)
    rhs = operand(index)
    result = result(i1)
    assembly_format = "custom<Predicate>($predicate) `(` $lhs `,` $rhs `)` attr-dict"

    @classmethod
    def make(cls, predicate: str, lhs: Value, rhs: Value) -> Self:
        return cls((lhs, rhs), (i1,), {"pred": IndexCmpPredicateAttr(predicate)})

    @property
    def predicate_name(self) -> str:
        return self.predicate.value

    @staticmethod
    def parse_Predicate(p: Any) -> tuple[IndexCmpPredicateAttr]:
        return (IndexCmpPredicateAttr.parse_parameters(p),)

    @staticmethod
    def print_Predicate(printer: Any, op: Op, predicate: IndexCmpPredicateAttr) -> None:
        printer.write(predicate.value)


class SizeOf(Op, name="index.sizeof", traits=(PURE,)):
    """Bits of an index: 64."""

    result = result(index)
    assembly_format = "attr-dict"

    @classmethod
    def make(cls) -> Self:
        return cls((), (index,))

    def fold(self, constants: Sequence[Attribute | None]) -> Sequence[Value | Attribute] | None:
        return [IntegerAttr(64, index)]


def materialize_constant(value: Attribute, type: Type) -> Op:
    """``index.constant`` or ``index.bool.constant``; arith's for the integers that casts fold to."""
    number: Any = value
    if type is index:
        return Constant.make(number.value)
    if type is i1:
        return BoolConstant.make(bool(number.value))
    from iree_core_ir.dialects import arith

    return arith.materialize_constant(value, type)


DIALECT = Dialect(
    "index",
    ops=[
        Constant, BoolConstant, Add, Sub, Mul, DivS, DivU, CeilDivS, CeilDivU, FloorDivS, RemS, RemU,
        MaxS, MaxU, MinS, MinU, Shl, ShrS, ShrU, And, Or, XOr, CastS, CastU, Cmp, SizeOf,
    ],
    attributes=[IndexCmpPredicateAttr],
    materialize_constant=materialize_constant,
)  # fmt: skip
