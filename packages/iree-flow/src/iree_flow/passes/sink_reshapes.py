"""``sink-reshapes``: elementwise ops are computed on the shape their producer has, and reshaped afterwards.

Before: ``matmul -> expand_shape -> bias, activation, residual``. After: ``matmul -> bias, activation,
residual -> expand_shape``, where the elementwise ops are the product's epilogue. An operand that varies
over a whole group of merged loops is collapsed (which moves nothing), one that does not vary over a group
keeps that; an operand that varies over part of a group stops the move. A collapse that only drops dims of
size 1 is treated alike, whatever the operands. Reductions too, so a mean's division follows its sum.
"""

from __future__ import annotations

from typing import Any, ClassVar

from iree_base.records import record
from iree_core_ir.dialects import linalg, tensor
from iree_core_ir.dialects.func import FuncOp
from iree_core_ir.ir.affine import AffineConstant, AffineDim, AffineExpr, AffineMap
from iree_core_ir.ir.builder import Builder
from iree_core_ir.ir.operation import Block, Op, Value
from iree_core_ir.ir.types import TensorType
from iree_core_ir.pass_manager import Pass, PassContext
from iree_flow import fusion
from iree_flow.dims import DimResolver
from iree_flow.generics import on_operands
from iree_flow.symbolic_dims import argument_dim_names
from iree_flow.unit_dims import is_unit_reshape

ROOTS = frozenset({fusion.CONTRACTION, fusion.REDUCTION})


@record
class SinkReshapes(Pass):
    name: ClassVar[str] = "sink-reshapes"

    def run(self, module: Op, context: PassContext) -> bool:
        changed = False
        for function in module.regions[0].block:
            if isinstance(function, FuncOp) and function.regions[0].blocks:
                names = argument_dim_names(function)
                resolver = DimResolver(function.regions[0].block, names)
                for block in function.regions[0].blocks:
                    changed |= _Sinker(block, resolver).run()
        return changed


class _Sinker:
    def __init__(self, block: Block, resolver: DimResolver) -> None:
        self.block = block
        self.resolver = resolver
        self.chain: set[Value] = set()
        """Results of contractions and reductions, and of elementwise ops already moved behind them."""

    def run(self) -> bool:
        """Tells whether anything changed."""
        changed = False
        for op in self.block.ops:
            kind = fusion.kind_of(op)
            if kind in ROOTS:
                self.chain.update(op.results)
            elif kind == fusion.ELEMENTWISE and isinstance(op, linalg.Generic):
                changed |= self._elementwise(op)
        return changed

    def _elementwise(self, op: linalg.Generic) -> bool:
        if len(op.outputs) != 1 or op.has_index or op.uses_output(0):
            return False
        n = len(op.iterator_types)
        identity = AffineMap.identity(n)
        if op.indexing_maps[-1] is not identity:
            return False
        for value, map in zip(op.inputs, op.indexing_maps, strict=False):
            if map is not identity:
                continue
            if value in self.chain and fusion.only_used_by(value, op):
                self.chain.update(op.results)
                return False
            expand = value.defining_op
            if isinstance(expand, tensor.ExpandShape) and fusion.only_used_by(value, op):
                if expand.src in self.chain and fusion.only_used_by(expand.src, expand):
                    if self._sink(op, expand):
                        return True
            if isinstance(expand, tensor.CollapseShape) and is_unit_reshape(expand):
                alone = fusion.only_used_by(value, op) and fusion.only_used_by(expand.operands[0], expand)
                if expand.operands[0] in self.chain and alone:
                    self._sink_below_collapse(op, expand)
                    return True
        return False

    def _sink(self, op: linalg.Generic, expand: tensor.ExpandShape) -> bool:
        groups = [list(g) for g in expand.groups]
        sizes = expand.result.type.shape
        reads = [
            _collapsed(value, map, groups, sizes)
            for value, map in zip(op.inputs, op.indexing_maps, strict=False)
        ]
        if any(read is None for read in reads) or not groups:
            return False
        builder = Builder.before_op(op)
        inputs: list[Value] = []
        maps: list[AffineMap] = []
        for value, read in zip(op.inputs, reads, strict=False):
            assert read is not None
            axes, exprs = read
            if value is expand.result:
                value = expand.src
            elif len(axes) != value.type.rank:
                value = self._collapse(builder, value, axes)
            inputs.append(value)
            maps.append(AffineMap(len(groups), 0, exprs))
        dims = self.resolver.dims(expand.src)
        target = builder.create(tensor.Empty, dims, op.results[0].type.element_type).result
        made = self._rebuilt(builder, op, inputs, target, [*maps, AffineMap.identity(len(groups))])
        result = builder.create(
            tensor.ExpandShape, made.results[0], groups, list(expand.mixed_output_shape)
        ).result
        op.replace_by([result])
        if not expand.result.uses:
            expand.erase()
        return True

    def _sink_below_collapse(self, op: linalg.Generic, collapse: tensor.CollapseShape) -> None:
        """The loops of the source: each of the op's is the one axis of its group that can vary."""
        source = collapse.operands[0]
        shape = source.type.shape
        groups = [list(group) for group in collapse.groups]
        varies = [next((axis for axis in group if shape[axis] != 1), group[-1]) for group in groups]
        renamed = AffineMap(len(shape), 0, [AffineDim(axis) for axis in varies])
        builder = Builder.before_op(op)
        inputs = [source if value is collapse.result else value for value in op.inputs]
        identity = AffineMap.identity(len(shape))
        maps = [
            identity if value is collapse.result else map.compose(renamed)
            for value, map in zip(op.inputs, op.indexing_maps, strict=False)
        ]
        dims = self.resolver.dims(source)
        target = builder.create(tensor.Empty, dims, op.results[0].type.element_type).result
        made = self._rebuilt(builder, op, inputs, target, [*maps, identity])
        type = op.results[0].type
        result = builder.create(tensor.CollapseShape, made.results[0], groups, type).result
        op.replace_by([result])
        if not collapse.result.uses:
            collapse.erase()

    def _rebuilt(
        self, builder: Builder, op: linalg.Generic, inputs: list[Value], target: Value, maps: list[AffineMap]
    ) -> linalg.Generic:
        """``op`` on other operands and loops, all parallel."""
        made = on_operands(builder, op, inputs, [target], maps, ["parallel"] * maps[0].n_dims)
        made.results[0].hint = op.results[0].hint
        self.chain.update(made.results)
        return made

    def _collapse(self, builder: Builder, value: Value, axes: list[list[int]]) -> Value:
        shape = value.type.shape
        merged = []
        for group in axes:
            size = 1
            for axis in group:
                size = -1 if size < 0 or shape[axis] < 0 else size * shape[axis]
            merged.append(size)
        return builder.create(
            tensor.CollapseShape, value, axes, TensorType(merged, value.type.element_type)
        ).result


def _collapsed(
    value: Value, map: AffineMap, groups: list[list[int]], sizes: Any
) -> tuple[list[list[int]], list[AffineExpr]] | None:
    """Which axes of ``value`` merge, and how the merged axes are read; None when a group is read in part."""
    if not isinstance(value.type, TensorType):
        return [], []
    axes: list[list[int]] = []
    exprs: list[AffineExpr] = []
    shape = value.type.shape
    position = 0
    rank = len(map.results)
    pending: list[int] = []
    for number, group in enumerate(groups):
        real = [loop for loop in group if sizes[loop] != 1]
        taken: list[int] = []
        loops: list[int] = []
        while position < rank:
            expr = map.results[position]
            if isinstance(expr, AffineDim):
                if expr.position not in group:
                    break
                loops.append(expr.position)
            elif not (isinstance(expr, AffineConstant) and expr.value == 0 and shape[position] == 1):
                return None
            taken.append(position)
            position += 1
        if loops != sorted(loops):
            return None
        if [loop for loop in loops if sizes[loop] != 1] != real or not loops:
            if any(sizes[loop] != 1 for loop in loops):
                return None
            # The operand does not vary here: its unit axes go to the next group, or the last.
            if loops and not real:
                axes.append(pending + taken)
                exprs.append(AffineDim(number))
                pending = []
            else:
                pending += taken
            continue
        axes.append(pending + taken)
        exprs.append(AffineDim(number))
        pending = []
    if position < rank:
        return None
    if pending:
        if axes:
            axes[-1] += pending
        else:
            axes, exprs = [pending], [AffineConstant(0)]
    return axes, exprs
