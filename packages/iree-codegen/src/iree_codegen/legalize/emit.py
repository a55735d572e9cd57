"""Short spelling for building scalar or vector arithmetic in front of an op.

Every method works on a scalar and on ``vector<n x ...>`` alike: ``like`` (the op's result type) gives the
lanes. Constants and splats are plain numbers: ``e.mul(x, 0.5)``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from iree_codegen.kernel_builder import CMPF, CMPI, op_class
from iree_core_ir.dialects.arith_attributes import constant_attribute
from iree_core_ir.dialects.vector_attributes import CombiningKindAttr
from iree_core_ir.ir.attributes import Attribute, IntegerAttr
from iree_core_ir.ir.operation import Block, Op, Region, Value
from iree_core_ir.ir.types import IntegerType, VectorType, element_of, f32, f64, i1, i32, i64

Number = Value | float | int


class Emit:
    """Inserts before ``op``; ``fma_available`` says whether the target multiplies and adds in one step."""

    def __init__(self, op: Op, *, fma_available: bool) -> None:
        self.op = op
        self.block: Any = op.parent
        self.fma_available = fma_available
        type = op.operands[0].type if op.operands else op.results[0].type
        self.shape: tuple[int, ...] | None = type.shape if isinstance(type, VectorType) else None

    # -- building ------------------------------------------------------------------------------

    def type(self, element: Any) -> Any:
        """``element`` in the lanes of the op."""
        return element if self.shape is None else VectorType(self.shape, element)

    def make(
        self, name: str, operands: Sequence[Value], type: Any, attributes: dict[str, Attribute] | None = None
    ) -> Value:
        op = op_class(name)(tuple(operands), (type,), attributes, (), (), self.op.location)
        self.block.insert_before(op, self.op)
        return op.results[0]

    def const(self, value: Any, element: Any) -> Value:
        type = self.type(element)
        return self.make("arith.constant", (), type, {"value": constant_attribute(value, type)})

    def value(self, number: Number, like: Value) -> Value:
        return number if isinstance(number, Value) else self.const(number, element_of(like.type))

    def binary(self, name: str, a: Number, b: Number) -> Value:
        if not isinstance(a, Value):
            assert isinstance(b, Value)
            a = self.value(a, b)
        b = self.value(b, a)
        return self.make(name, (a, b), a.type)

    def unary(self, name: str, a: Value) -> Value:
        return self.make(name, (a,), a.type)

    def cast(self, name: str, a: Value, element: Any) -> Value:
        return self.make(name, (a,), self.type(element))

    # -- floats ----------------------------------------------------------------------------------

    def add(self, a: Number, b: Number) -> Value:
        return self.binary("arith.addf", a, b)

    def sub(self, a: Number, b: Number) -> Value:
        return self.binary("arith.subf", a, b)

    def mul(self, a: Number, b: Number) -> Value:
        return self.binary("arith.mulf", a, b)

    def div(self, a: Number, b: Number) -> Value:
        return self.binary("arith.divf", a, b)

    def fma(self, a: Value, b: Number, c: Number) -> Value:
        """a * b + c: rounded once where the target can."""
        b, c = self.value(b, a), self.value(c, a)
        if self.fma_available:
            return self.make("math.fma", (a, b, c), a.type)
        return self.add(self.mul(a, b), c)

    def poly(self, x: Value, coefficients: Sequence[float]) -> Value:
        """Horner's rule, highest power first."""
        result = self.value(coefficients[0], x)
        for coefficient in coefficients[1:]:
            result = self.fma(result, x, coefficient)
        return result

    def neg(self, a: Value) -> Value:
        return self.unary("arith.negf", a)

    def abs(self, a: Value) -> Value:
        return self.unary("math.absf", a)

    def sqrt(self, a: Value) -> Value:
        return self.unary("math.sqrt", a)

    def copysign(self, a: Number, sign: Value) -> Value:
        return self.make("math.copysign", (self.value(a, sign), sign), sign.type)

    def compare(self, predicate: str, a: Value, b: Number) -> Value:
        attribute = IntegerAttr(CMPF.index(predicate), i64)
        return self.make("arith.cmpf", (a, self.value(b, a)), self.type(i1), {"predicate": attribute})

    def select(self, condition: Value, a: Number, b: Number) -> Value:
        if not isinstance(a, Value):
            assert isinstance(b, Value)
            a = self.value(a, b)
        b = self.value(b, a)
        return self.make("arith.select", (condition, a, b), a.type)

    def clamp(self, x: Value, low: float, high: float) -> Value:
        """x bounded; NaN stays."""
        x = self.select(self.compare("olt", x, low), low, x)
        return self.select(self.compare("ogt", x, high), high, x)

    def is_nan(self, x: Value) -> Value:
        return self.compare("uno", x, x)

    # -- integers --------------------------------------------------------------------------------

    def iadd(self, a: Number, b: Number) -> Value:
        return self.binary("arith.addi", a, b)

    def imul(self, a: Number, b: Number) -> Value:
        return self.binary("arith.muli", a, b)

    def isub(self, a: Number, b: Number) -> Value:
        return self.binary("arith.subi", a, b)

    def iand(self, a: Number, b: Number) -> Value:
        return self.binary("arith.andi", a, b)

    def ior(self, a: Number, b: Number) -> Value:
        return self.binary("arith.ori", a, b)

    def xor(self, a: Number, b: Number) -> Value:
        return self.binary("arith.xori", a, b)

    def shl(self, a: Value, n: Number) -> Value:
        return self.binary("arith.shli", a, n)

    def shr(self, a: Value, n: Number) -> Value:
        return self.binary("arith.shrui", a, n)

    def sar(self, a: Value, n: Number) -> Value:
        return self.binary("arith.shrsi", a, n)

    def icompare(self, predicate: str, a: Value, b: Number) -> Value:
        attribute = IntegerAttr(CMPI.index(predicate), i64)
        return self.make("arith.cmpi", (a, self.value(b, a)), self.type(i1), {"predicate": attribute})

    def bits(self, a: Value) -> Value:
        """A float's bits as an integer of its width."""
        element: Any = element_of(a.type)
        return self.cast("arith.bitcast", a, IntegerType(element.width))

    def float(self, a: Value) -> Value:
        """i32 or i64 bits as a float."""
        element: Any = element_of(a.type)
        return self.cast("arith.bitcast", a, f32 if element is i32 else f64)

    def to_float(self, a: Value, element: Any) -> Value:
        return self.cast("arith.sitofp", a, element)

    def to_int(self, a: Value, element: Any) -> Value:
        return self.cast("arith.fptosi", a, element)

    def widen(self, a: Value) -> Value:
        return self.cast("arith.extf", a, f64)

    def narrow(self, a: Value) -> Value:
        return self.cast("arith.truncf", a, f32)

    # -- control ---------------------------------------------------------------------------------

    def if_any(
        self, mask: Value, then: Callable[[], Sequence[Value]], otherwise: Sequence[Value]
    ) -> list[Value]:
        """``then()`` when the mask is set in some lane, else ``otherwise``: for rare long code."""
        condition = mask
        if isinstance(mask.type, VectorType):
            kind: dict[str, Attribute] = {"kind": CombiningKindAttr("or")}
            condition = self.make("vector.reduction", (mask,), i1, kind)
        blocks = [Block(), Block()]
        saved = self.op, self.block
        for block, values in ((blocks[0], then), (blocks[1], lambda: otherwise)):
            end = op_class("scf.yield")((), (), None, (), (), saved[0].location)
            block.append(end)
            self.op, self.block = end, block
            end.set_operands(values())
        self.op, self.block = saved
        types = [v.type for v in otherwise]
        regions = [Region([b]) for b in blocks]
        op = op_class("scf.if")((condition,), types, None, regions, (), self.op.location)
        self.block.insert_before(op, self.op)
        return list(op.results)
