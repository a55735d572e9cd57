"""``gpu`` ops on matrix fragments that the invocations of a subgroup hold together, as in MLIR.

All invocations of a subgroup reach such an op with equal indices and do it as one. A fragment's element
type may be ``f16 bf16 f32 f64 si8 ui8 i32``; in memory ``si8`` and ``ui8`` are ``i8``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from iree_core_ir.dialects.words import parse_word
from iree_core_ir.errors import VerifyError
from iree_core_ir.ir.attributes import UNIT, Attribute, IntegerAttr, Type, UnitAttr
from iree_core_ir.ir.declaration import attribute, operand, optional_attribute, result, variadic_operand
from iree_core_ir.ir.enums import EnumAttr
from iree_core_ir.ir.operation import Op, Value
from iree_core_ir.ir.traits import PURE, READS
from iree_core_ir.ir.types import (
    FloatType,
    IntegerType,
    MemRefType,
    VectorType,
    bf16,
    f16,
    f32,
    f64,
    i8,
    i32,
    index,
)

A_OPERAND, B_OPERAND, C_OPERAND = "AOp", "BOp", "COp"
ROLES = (A_OPERAND, B_OPERAND, C_OPERAND)
si8, ui8 = IntegerType(8, "s"), IntegerType(8, "u")
ELEMENTS = (f16, bf16, f32, f64, si8, ui8, i32)
ELEMENTWISE = (
    "addf", "mulf", "subf", "maxf", "minf", "divf", "addi", "muli", "subi", "divs", "divu", "negatef",
    "negates", "extf", "truncf",
)  # fmt: skip
CONVERSIONS = frozenset({"extf", "truncf"})
UNARY = frozenset({"negatef", "negates"}) | CONVERSIONS


class MMAMatrixType(Type):
    """``!gpu.mma_matrix<16x16xf16, "AOp">``: rows, columns, element type, and the part in ``A * B + C``."""

    __slots__ = _fields = ("shape", "element_type", "operand")
    shape: tuple[int, ...]
    element_type: Type
    operand: str
    mnemonic = "gpu.mma_matrix"

    def __new__(cls, shape: Sequence[int], element_type: Type, operand: str) -> MMAMatrixType:
        return super().__new__(cls, tuple(shape), element_type, operand)

    def check(self) -> None:
        if len(self.shape) != 2 or min(self.shape) <= 0:
            raise ValueError(f"a matrix fragment has two static dims, got {list(self.shape)}")
        if self.operand not in ROLES:
            raise ValueError(f"'{self.operand}' is not one of {', '.join(ROLES)}")
        if self.element_type not in ELEMENTS:
            raise ValueError(f"{self.element_type} is no element type of a matrix fragment")

    @property
    def memory_type(self) -> Type:
        """How an element lies in memory."""
        return i8 if self.element_type in (si8, ui8) else self.element_type

    @classmethod
    def parse_parameters(cls, p: Any) -> MMAMatrixType:
        shape = p.shape_prefix()
        element = p.type()
        p.expect(",")
        role = p.string()
        p.expect(">")
        return cls(shape, element, role)

    def print_parameters(self, printer: Any) -> str:
        rows, columns = self.shape
        return f'<{rows}x{columns}x{printer.text(self.element_type)}, "{self.operand}">'


class MMAElementWiseAttr(EnumAttr):
    """``#gpu.mma_element_wise<addf>``."""

    __slots__ = ()
    mnemonic = "gpu.mma_element_wise"
    cases = ELEMENTWISE


def _check_memory(op: Op, type: MMAMatrixType, memory: Any, indices: Sequence[Value], pitch: Any) -> None:
    element = memory.element_type
    if isinstance(element, VectorType):
        element = element.element_type
    if element is not type.memory_type:
        raise VerifyError(op, f"{type} does not lie in {memory}")
    if len(indices) != memory.rank:
        raise VerifyError(op, f"{len(indices)} indices into {memory}")
    if pitch.value < 0:
        raise VerifyError(op, f"leadDimension {pitch.value} is negative")


class SubgroupMmaLoadMatrix(Op, name="gpu.subgroup_mma_load_matrix", traits=(READS,)):
    """The fragment that begins at ``src[indices]``: element (i, j) lies ``i * leadDimension + j`` further on.

    With ``transpose`` it lies ``j * leadDimension + i`` further on.
    """

    src = operand(MemRefType)
    indices = variadic_operand(index)
    lead_dimension = attribute(IntegerAttr, key="leadDimension", type=index)
    transpose = optional_attribute(UnitAttr)
    res = result(MMAMatrixType)
    assembly_format = "$src `[` $indices `]` attr-dict `:` type($src) `->` type($res)"

    @classmethod
    def make(
        cls,
        src: Value,
        indices: Sequence[Value],
        type: MMAMatrixType,
        lead_dimension: int,
        transpose: bool = False,
    ) -> Self:
        attributes: dict[str, Attribute] = {"leadDimension": IntegerAttr(lead_dimension, index)}
        if transpose:
            attributes["transpose"] = UNIT
        return cls((src, *indices), (type,), attributes)

    def verify_op(self) -> None:
        _check_memory(self, self.res.type, self.src.type, self.indices, self.lead_dimension)


class SubgroupMmaStoreMatrix(Op, name="gpu.subgroup_mma_store_matrix"):
    """Writes the fragment as ``subgroup_mma_load_matrix`` reads it."""

    src = operand(MMAMatrixType)
    dst = operand(MemRefType)
    indices = variadic_operand(index)
    lead_dimension = attribute(IntegerAttr, key="leadDimension", type=index)
    transpose = optional_attribute(UnitAttr)
    assembly_format = "$src `,` $dst `[` $indices `]` attr-dict `:` type($src) `,` type($dst)"

    @classmethod
    def make(
        cls, src: Value, dst: Value, indices: Sequence[Value], lead_dimension: int, transpose: bool = False
    ) -> Self:
        attributes: dict[str, Attribute] = {"leadDimension": IntegerAttr(lead_dimension, index)}
        if transpose:
            attributes["transpose"] = UNIT
        return cls((src, dst, *indices), (), attributes)

    def verify_op(self) -> None:
        if self.src.type.operand != C_OPERAND:
            raise VerifyError(self, f"stores a {C_OPERAND} fragment, got {self.src.type}")
        _check_memory(self, self.src.type, self.dst.type, self.indices, self.lead_dimension)


class SubgroupMmaCompute(Op, name="gpu.subgroup_mma_compute", traits=(PURE,)):
    """``A * B + C``. Products and sums are rounded as the device does, at least as well as C's type."""

    op_a = operand(MMAMatrixType)
    op_b = operand(MMAMatrixType)
    op_c = operand(MMAMatrixType)
    a_transpose = optional_attribute(UnitAttr)
    b_transpose = optional_attribute(UnitAttr)
    res = result(MMAMatrixType)
    assembly_format = "$op_a `,` $op_b `,` $op_c attr-dict `:` type($op_a) `,` type($op_b) `->` type($res)"

    @classmethod
    def infer_types(cls, types: dict[str, list[Any]], attributes: dict[str, Any]) -> None:
        types["op_c"] = types["res"]

    @classmethod
    def make(cls, a: Value, b: Value, c: Value) -> Self:
        return cls((a, b, c), (c.type,))

    def verify_op(self) -> None:
        a, b, c = self.op_a.type, self.op_b.type, self.op_c.type
        if (a.operand, b.operand, c.operand) != ROLES:
            raise VerifyError(self, f"operands must be {', '.join(ROLES)}")
        (m, k), (k_b, n) = a.shape, b.shape
        if k != k_b or c.shape != (m, n) or self.res.type is not c:
            raise VerifyError(self, f"{a} * {b} + {c} to {self.res.type} do not fit")
        if isinstance(a.element_type, FloatType) != isinstance(c.element_type, FloatType):
            raise VerifyError(self, f"{a} cannot be summed in {c}")


class SubgroupMmaConstantMatrix(Op, name="gpu.subgroup_mma_constant_matrix", traits=(PURE,)):
    """Every element is ``value``."""

    value = operand()
    res = result(MMAMatrixType)
    assembly_format = "$value attr-dict `:` type($res)"

    @classmethod
    def infer_types(cls, types: dict[str, list[Any]], attributes: dict[str, Any]) -> None:
        types["value"] = [t.memory_type for t in types["res"]]

    @classmethod
    def make(cls, value: Value, type: MMAMatrixType) -> Self:
        return cls((value,), (type,))

    def verify_op(self) -> None:
        if self.value.type is not self.res.type.memory_type:
            raise VerifyError(self, f"a {self.value.type} cannot fill {self.res.type}")


class SubgroupMmaElementwise(Op, name="gpu.subgroup_mma_elementwise", traits=(PURE,)):
    """An operation of ``ELEMENTWISE`` on fragments of one shape; ``extf`` and ``truncf`` change the type."""

    operation = attribute(MMAElementWiseAttr, key="opType")
    args = variadic_operand(MMAMatrixType)
    res = result(MMAMatrixType)
    assembly_format = "custom<Operation>($operation) $args attr-dict `:` functional-type($args, $res)"

    @staticmethod
    def parse_Operation(p: Any) -> tuple[MMAElementWiseAttr]:
        return (parse_word(p, MMAElementWiseAttr),)

    @staticmethod
    def print_Operation(printer: Any, op: Op, operation: MMAElementWiseAttr) -> None:
        printer.write(operation.value)

    @classmethod
    def make(cls, operation: str, args: Sequence[Value], type: MMAMatrixType | None = None) -> Self:
        """``type``: of the result; the first operand's by default."""
        chosen = args[0].type if type is None else type
        return cls(args, (chosen,), {"opType": MMAElementWiseAttr(operation)})

    def verify_op(self) -> None:
        name = self.operation.value
        if len(self.args) != (1 if name in UNARY else 2):
            raise VerifyError(self, f"{name} of {len(self.args)} fragments")
        own = self.res.type
        for value in self.args:
            same = value.type.shape == own.shape and value.type.operand == own.operand
            if not same or (name not in CONVERSIONS and value.type is not own):
                raise VerifyError(self, f"{name} of {value.type} to {own}")


OPS = (
    SubgroupMmaCompute, SubgroupMmaConstantMatrix, SubgroupMmaElementwise, SubgroupMmaLoadMatrix,
    SubgroupMmaStoreMatrix,
)  # fmt: skip
ATTRIBUTES = (MMAElementWiseAttr, MMAMatrixType)
