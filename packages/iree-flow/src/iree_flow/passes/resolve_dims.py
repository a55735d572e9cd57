"""``resolve-dims``: every ``tensor.dim`` becomes the SSA value (or constant) that defines the dim.

After it, dims that are equal by construction are one value: sizes come from the function's arguments (one
value per distinct name) and from index arithmetic, never from the shape of an intermediate.
"""

from __future__ import annotations

from typing import ClassVar

from iree_base.records import record
from iree_core_ir.dialects import tensor
from iree_core_ir.dialects.func import FuncOp
from iree_core_ir.ir.known_values import known_integer
from iree_core_ir.ir.operation import Op, Value
from iree_core_ir.pass_manager import Pass, PassContext
from iree_flow.dims import DimResolver
from iree_flow.symbolic_dims import argument_dim_names


@record
class ResolveDims(Pass):
    name: ClassVar[str] = "resolve-dims"

    def run(self, module: Op, context: PassContext) -> bool:
        found = False
        for function in module.regions[0].block:
            if not isinstance(function, FuncOp) or not function.regions[0].blocks:
                continue
            names = argument_dim_names(function)
            resolver = DimResolver(function.regions[0].block, names)
            for block in function.regions[0].blocks:
                for op in block.ops:
                    for inner in list(op.walk()):
                        if isinstance(inner, tensor.Dim):
                            _resolve(inner, resolver)
                            found = True
        return found


def _resolve(op: tensor.Dim, resolver: DimResolver) -> None:
    axis = known_integer(op.operands[1])
    source = op.operands[0]
    if axis is None or source.parent_block is None or source.parent_block.parent is not resolver.block.parent:
        return
    dim = resolver.dims(source)[axis]
    result: Value = op.results[0]
    if isinstance(dim, Value) and dim is result:
        return
    value = resolver.value(dim)
    if value is result:
        return
    if value.hint is None:
        value.hint = result.hint
    result.replace_all_uses_with(value)
    op.erase()
