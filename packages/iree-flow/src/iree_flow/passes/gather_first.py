"""``gather-first``: what is computed from a constant table only to be gathered is gathered first.

Before: an elementwise op on one constant (a dequantization, a cast), then a gather of its result. After: the
gather, then the op on the elements that were gathered.
"""

from __future__ import annotations

from typing import Any, ClassVar

from iree_base.records import record
from iree_core_ir.dialects import arith, linalg, linalg_ext, tensor
from iree_core_ir.dialects.func import FuncOp
from iree_core_ir.ir.affine import AffineMap
from iree_core_ir.ir.builder import Builder
from iree_core_ir.ir.operation import Block, Op
from iree_core_ir.ir.types import TensorType
from iree_core_ir.pass_manager import Pass, PassContext
from iree_flow.dims import DimResolver
from iree_flow.symbolic_dims import argument_dim_names


@record
class GatherFirst(Pass):
    name: ClassVar[str] = "gather-first"

    def run(self, module: Op, context: PassContext) -> bool:
        changed = False
        for function in module.regions[0].block:
            if isinstance(function, FuncOp) and function.regions[0].blocks:
                resolver = DimResolver(function.regions[0].block, argument_dim_names(function))
                for block in function.regions[0].blocks:
                    changed |= _block(block, resolver)
        return changed


def _block(block: Block, resolver: DimResolver) -> bool:
    changed = False
    for op in list(block):
        if isinstance(op, linalg_ext.Gather) and isinstance(op.results[0].type, TensorType):
            made = op.inputs[0].defining_op
            if isinstance(made, linalg.Generic) and _is_table(made):
                _swap(op, made, resolver)
                changed = True
    return changed


def _is_table(op: linalg.Generic) -> bool:
    """One constant, element by element."""
    if op.n_inputs != 1 or len(op.outputs) != 1 or op.reduction_dims or not op.results[0].has_one_use:
        return False
    if not isinstance(op.inputs[0].defining_op, arith.Constant) or op.body.args[1].uses:
        return False
    index_free = all(inner.name != "linalg.index" for inner in op.body)
    return index_free and all(map.is_identity for map in op.indexing_maps)


def _swap(op: Any, made: linalg.Generic, resolver: DimResolver) -> None:
    builder = Builder.before_op(op)
    builder.location = op.location
    sizes = list(resolver.dims(op.results[0]))
    table = made.inputs[0]
    empty = builder.create(tensor.Empty, sizes, table.type.element_type).result
    gathered = builder.create(linalg_ext.Gather, table, op.inputs[1], empty, op.axis.value).results[0]
    identity = AffineMap.identity(len(sizes))
    region = made.regions[0].clone({})
    result = builder.create(
        linalg.Generic, [gathered], [op.outputs[0]], [identity, identity], ["parallel"] * len(sizes), region
    )
    op.replace_by([result.results[0]])
