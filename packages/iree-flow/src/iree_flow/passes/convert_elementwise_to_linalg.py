"""``convert-elementwise-to-linalg``: arith and math ops on tensors become ``linalg.generic``.

After it, every computation on tensor elements is a structured op, so one set of rules fuses, tiles and
schedules all of them.
"""

from __future__ import annotations

from typing import ClassVar

from iree_base.records import record
from iree_core_ir.dialects import arith, linalg, tensor
from iree_core_ir.dialects.func import FuncOp
from iree_core_ir.ir.affine import AffineMap
from iree_core_ir.ir.builder import Builder
from iree_core_ir.ir.operation import Op, Value
from iree_core_ir.ir.traits import ELEMENTWISE
from iree_core_ir.ir.types import TensorType
from iree_core_ir.pass_manager import Pass, PassContext
from iree_flow.dims import DimResolver
from iree_flow.symbolic_dims import argument_dim_names


@record
class ConvertElementwiseToLinalg(Pass):
    name: ClassVar[str] = "convert-elementwise-to-linalg"

    def run(self, module: Op, context: PassContext) -> bool:
        changed = False
        for function in module.regions[0].block:
            if not isinstance(function, FuncOp) or not function.regions[0].blocks:
                continue
            resolver = DimResolver(function.regions[0].block, argument_dim_names(function))
            for block in function.regions[0].blocks:
                for op in block.ops:
                    if ELEMENTWISE in op.traits and not isinstance(op, arith.Constant):
                        if any(isinstance(r.type, TensorType) for r in op.results):
                            _convert(op, resolver)
                            changed = True
        return changed


def _convert(op: Op, resolver: DimResolver) -> None:
    builder = Builder.before_op(op)
    tensors = [v for v in op.operands if isinstance(v.type, TensorType)]
    shape_of = tensors[0]
    rank = shape_of.type.rank
    sizes = resolver.dims(shape_of)
    outputs = [
        builder.create(tensor.Empty, sizes, r.type.element_type).result  # one destination per result
        for r in op.results
    ]
    maps = [AffineMap.identity(rank)] * (len(tensors) + len(outputs))

    def body(inner: Builder, *scalars: Value) -> list[Value]:
        mapping = dict(zip(tensors, scalars, strict=False))
        operands = [mapping.get(v, v) for v in op.operands]
        types = [r.type.element_type for r in op.results]
        made = inner.insert(type(op)(operands, types, dict(op.attributes)))
        return list(made.results)

    made = linalg.generic(builder, tensors, outputs, maps, ["parallel"] * rank, body)
    op.replace_by(list(made.results))
