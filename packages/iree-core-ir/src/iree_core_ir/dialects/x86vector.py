"""``x86vector``: vector instructions of x86 that no other dialect has an op for."""

from __future__ import annotations

from typing import Any, Self

from iree_core_ir.errors import VerifyError
from iree_core_ir.ir.declaration import operand, result
from iree_core_ir.ir.dialect import Dialect
from iree_core_ir.ir.operation import Op, Value
from iree_core_ir.ir.traits import PURE
from iree_core_ir.ir.types import VectorType, i8, i32


class DotU8S8(Op, name="x86vector.dot_u8s8", traits=(PURE,)):
    """To each i32 of ``w`` the four products of bytes in its place: ``a`` unsigned, ``b`` signed.

    Sums wrap.
    """

    w = operand(VectorType)
    a = operand(VectorType)
    b = operand(VectorType)
    dst = result(VectorType)
    assembly_format = "$w `,` $a `,` $b attr-dict `:` type($a) `->` type($w)"

    @classmethod
    def infer_types(cls, types: dict[str, list[Any]], attributes: dict[str, Any]) -> None:
        types["b"], types["dst"] = types["a"], types["w"]

    @classmethod
    def make(cls, w: Value, a: Value, b: Value) -> Self:
        return cls((w, a, b), (w.type,))

    def verify_op(self) -> None:
        w, a, b = self.w.type, self.a.type, self.b.type
        if self.dst.type is not w or a is not b or len(w.shape) != 1:
            raise VerifyError(self, f"{a} times {b} added to {w} gives no {self.dst.type}")
        if w.element_type is not i32 or a.element_type is not i8 or a.shape != (4 * w.shape[0],):
            raise VerifyError(self, f"{a} times {b} cannot be added to {w}")


DIALECT = Dialect("x86vector", ops=[DotU8S8])
