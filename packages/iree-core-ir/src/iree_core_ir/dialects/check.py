"""``check``: test assertions on scalars and tensors, named and written as in IREE.

A failed expectation is an error when interpreted.
"""

from __future__ import annotations

from typing import Any, Self

from iree_core_ir.dialects.constraints import SIGNLESS
from iree_core_ir.ir.attributes import Attribute, FloatAttr
from iree_core_ir.ir.declaration import attribute, operand, optional_attribute
from iree_core_ir.ir.dialect import Dialect
from iree_core_ir.ir.operation import Op, Value
from iree_core_ir.ir.traits import SAME_OPERAND_TYPES
from iree_core_ir.ir.types import TensorType, f32

DEFAULT_ATOL = FloatAttr(1e-4, f32)
DEFAULT_RTOL = FloatAttr(0.0, f32)


class _One(Op):
    operand = operand(SIGNLESS)
    assembly_format = "`(` $operand `)` attr-dict `:` type($operand)"

    @classmethod
    def make(cls, operand: Value) -> Self:
        return cls((operand,))


class ExpectTrue(_One, name="check.expect_true"):
    """The integer is not 0."""


class ExpectFalse(_One, name="check.expect_false"):
    """The integer is 0."""


class ExpectAllTrue(_One, name="check.expect_all_true"):
    """No element is 0."""

    operand = operand(TensorType)


class ExpectEq(Op, name="check.expect_eq", traits=(SAME_OPERAND_TYPES,)):
    """Two tensors are equal bit by bit: a NaN equals itself, -0.0 differs from 0.0."""

    lhs = operand(TensorType)
    rhs = operand(TensorType)
    assembly_format = "`(` $lhs `,` $rhs `)` attr-dict `:` type($lhs)"

    @classmethod
    def make(cls, lhs: Value, rhs: Value) -> Self:
        return cls((lhs, rhs))


class ExpectEqConst(Op, name="check.expect_eq_const"):
    """A tensor equals a constant."""

    lhs = operand(TensorType)
    value = attribute(Attribute)
    assembly_format = "`(` $lhs `,` $value `)` attr-dict `:` type($lhs)"

    @classmethod
    def make(cls, lhs: Value, value: Attribute) -> Self:
        return cls((lhs,), (), {"value": value})


def _tolerances(atol: float | None, rtol: float | None) -> dict[str, Attribute]:
    given = {"atol": atol, "rtol": rtol}
    return {name: FloatAttr(value, f32) for name, value in given.items() if value is not None}


def _parse_tolerances(p: Any) -> tuple[FloatAttr | None, FloatAttr | None]:
    """``, atol 1.0e-4, rtol 0.0``, each part optional."""
    given: dict[str, FloatAttr] = {}
    while p.accept(","):
        name = p.accept_keyword(("atol", "rtol"))
        if name is None or name in given:
            p.fail(f"expected 'atol' or 'rtol', once each, got {p.shown()}")
        given[name] = FloatAttr(float(p.number()), f32)
    return given.get("atol"), given.get("rtol")


def _print_tolerances(printer: Any, op: Op, atol: FloatAttr | None, rtol: FloatAttr | None) -> None:
    atol, rtol = atol or DEFAULT_ATOL, rtol or DEFAULT_RTOL
    for name, value, shown in (
        ("atol", atol, atol is not DEFAULT_ATOL or rtol is not DEFAULT_RTOL),  # IREE reads no rtol alone
        ("rtol", rtol, rtol is not DEFAULT_RTOL),
    ):
        if shown:
            printer.write(f", {name} {printer.text(value).removesuffix(' : f32')}")


class ExpectAlmostEq(Op, name="check.expect_almost_eq", traits=(SAME_OPERAND_TYPES,)):
    """Two float tensors agree within ``|lhs - rhs| <= atol + rtol * |rhs|``; NaN agrees with NaN."""

    lhs = operand(TensorType)
    rhs = operand(TensorType)
    atol = optional_attribute(FloatAttr, default=DEFAULT_ATOL, type=f32)
    rtol = optional_attribute(FloatAttr, default=DEFAULT_RTOL, type=f32)
    assembly_format = "`(` $lhs `,` $rhs `` custom<Tolerances>($atol, $rtol) `)` attr-dict `:` type($lhs)"
    parse_Tolerances = staticmethod(_parse_tolerances)
    print_Tolerances = staticmethod(_print_tolerances)

    @classmethod
    def make(cls, lhs: Value, rhs: Value, atol: float | None = None, rtol: float | None = None) -> Self:
        """Tolerances: 1e-4 and 0 unless given."""
        return cls((lhs, rhs), (), _tolerances(atol, rtol))


class ExpectAlmostEqConst(Op, name="check.expect_almost_eq_const"):
    """A float tensor agrees with a constant; tolerances as in ``expect_almost_eq``."""

    lhs = operand(TensorType)
    value = attribute(Attribute)
    atol = optional_attribute(FloatAttr, default=DEFAULT_ATOL, type=f32)
    rtol = optional_attribute(FloatAttr, default=DEFAULT_RTOL, type=f32)
    assembly_format = "`(` $lhs `,` $value `` custom<Tolerances>($atol, $rtol) `)` attr-dict `:` type($lhs)"
    parse_Tolerances = staticmethod(_parse_tolerances)
    print_Tolerances = staticmethod(_print_tolerances)

    @classmethod
    def make(cls, lhs: Value, value: Attribute, atol: float | None = None, rtol: float | None = None) -> Self:
        return cls((lhs,), (), {"value": value, **_tolerances(atol, rtol)})


DIALECT = Dialect(
    "check",
    ops=[
        ExpectAllTrue, ExpectAlmostEq, ExpectAlmostEqConst, ExpectEq, ExpectEqConst, ExpectFalse, ExpectTrue,
    ],
)  # fmt: skip
