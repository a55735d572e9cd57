"""What the ``linalg_ext`` ops share: inputs, destinations, one result per destination tensor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from iree_core_ir.dialects.compatible import compatible_shapes
from iree_core_ir.dialects.effects import TensorOrMemRefOp
from iree_core_ir.dialects.linalg_structured import output_types
from iree_core_ir.errors import VerifyError
from iree_core_ir.ir.attributes import Attribute
from iree_core_ir.ir.builder import Builder
from iree_core_ir.ir.declaration import segment_sizes, variadic_operand, variadic_result
from iree_core_ir.ir.operation import Op, Value
from iree_core_ir.ir.traits import DESTINATION_STYLE
from iree_core_ir.ir.types import DYNAMIC, MemRefType, TensorType

INS_OUTS = (
    "`ins` `(` $inputs `:` type($inputs) `)` `outs` `(` $outputs `:` type($outputs) `)`"
    " (`->` type($result_tensors)^)?"
)


class LinalgExtOp(TensorOrMemRefOp, traits=(DESTINATION_STYLE,)):
    """Destination style; on memrefs it writes the outputs and has no results."""

    inputs = variadic_operand()
    outputs = variadic_operand((TensorType, MemRefType))
    result_tensors = variadic_result(TensorType)

    @classmethod
    def build(
        cls, inputs: Sequence[Value], outputs: Sequence[Value], attributes: dict[str, Attribute]
    ) -> Self:
        """The op with its attributes; result types follow from tensor outputs."""
        attributes = {**attributes, "operandSegmentSizes": segment_sizes(inputs, outputs)}
        return cls([*inputs, *outputs], output_types(outputs), attributes)

    def decompose(self, builder: Builder) -> list[Value] | None:
        """The results computed by simpler ops built with ``builder``; None when there is no such form."""
        return None

    def check_counts(self, inputs: Sequence[int], outputs: Sequence[int]) -> None:
        """Allowed numbers of inputs and outputs, and result types. Raises VerifyError."""
        for name, values, allowed in (("inputs", self.inputs, inputs), ("outputs", self.outputs, outputs)):
            if len(values) not in allowed:
                raise VerifyError(self, f"takes {' or '.join(map(str, allowed))} {name}, got {len(values)}")
        if [r.type for r in self.results] != output_types(self.outputs):
            raise VerifyError(self, "must have one result of each tensor output's type")

    def check_dim(self, dim: int, type: Any) -> None:
        if not 0 <= dim < type.rank:
            raise VerifyError(self, f"dimension {dim} of {type}")


def check_shape(op: Op, what: str, type: Any, shape: Sequence[int]) -> None:
    """``type`` has a shape compatible with ``shape``. Raises VerifyError."""
    if not compatible_shapes(type.shape, shape):
        wanted = "x".join("?" if d == DYNAMIC else str(d) for d in shape)
        raise VerifyError(op, f"{what} {type} must have shape {wanted or 'of rank 0'}")
