"""``drop-unit-dims``: generics lose operand axes and loops of size 1 that only reshapes put there.

Exporters wrap a model in a batch dim of 1 and keep reduced dims; the reshapes between the two forms hide
that an op reads exactly what the one before it wrote. After this pass elementwise ops and reductions read
the unreshaped value, so that fusion sees through. Convolutions, poolings and the elementwise ops behind them
keep their form: there the batch dim of 1 is the named op's own. A reduction behind them ends that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from iree_core_ir.dialects import linalg, linalg_ext, tensor
from iree_core_ir.dialects.func import FuncOp
from iree_core_ir.ir.affine import AffineConstant, AffineDim, AffineExpr, AffineMap
from iree_core_ir.ir.builder import Builder
from iree_core_ir.ir.operation import Block, Op, Value, single_block_region
from iree_core_ir.ir.types import TensorType, element_of
from iree_core_ir.pass_manager import Pass, PassContext
from iree_flow import fusion
from iree_flow.dims import DimResolver
from iree_flow.passes.fuse_elementwise import generalize_elementwise
from iree_flow.symbolic_dims import argument_dim_names
from iree_flow.unit_dims import add_axes, drop_axes, is_unit_reshape, strip


@dataclass
class DropUnitDims(Pass):
    name: ClassVar[str] = "drop-unit-dims"

    def run(self, module: Op, context: PassContext) -> None:
        for function in module.regions[0].block:
            if isinstance(function, FuncOp) and function.regions[0].blocks:
                names = argument_dim_names(function)
                resolver = DimResolver(function.regions[0].block, names)
                for block in function.regions[0].blocks:
                    generalize_elementwise(block)
                    _Dropper(block, resolver).run()


class _Dropper:
    def __init__(self, block: Block, resolver: DimResolver) -> None:
        self.block = block
        self.resolver = resolver
        self.kept: set[Value] = set()
        """Results of ops that keep their form: convolutions, pooling and what is fused to them."""

    def run(self) -> None:
        for op in self.block.ops:
            kind = fusion.kind_of(op)
            if kind in (fusion.CONVOLUTION, fusion.POOLING, fusion.PAD):
                self.kept.update(op.results)
            elif isinstance(op, linalg_ext.Softmax):
                self._softmax(op)
            elif isinstance(op, linalg.Generic) and len(op.outputs) == 1 and not op.has_index:
                if kind in (fusion.ELEMENTWISE, fusion.REDUCTION):
                    self._generic(op)

    def _generic(self, op: linalg.Generic) -> None:
        op = self._squeeze_operands(op)
        if fusion.kind_of(op) == fusion.ELEMENTWISE and any(v in self.kept for v in op.inputs):
            self.kept.update(op.results)
            return
        self._drop_loops(op)

    def _softmax(self, op: linalg_ext.Softmax) -> None:
        axis = op.dimension.value
        dropped = [i for i, size in enumerate(op.results[0].type.shape) if size == 1 and i != axis]
        if not dropped:
            return
        builder = Builder.before_op(op)
        sizes = self.resolver.dims(op.results[0])
        source = drop_axes(builder, op.inputs[0], dropped)
        target = self._destination(builder, op.outputs[0], dropped)
        axis -= sum(i < axis for i in dropped)
        made = builder.create(linalg_ext.Softmax, source, target, axis)
        result = add_axes(builder, made.results[0], dropped, sizes)
        result.hint = op.results[0].hint
        op.replace_by([result])

    def _squeeze_operands(self, op: linalg.Generic) -> linalg.Generic:
        """Inputs that a reshape gave unit axes are read without them."""
        inputs, maps = list(op.inputs), list(op.indexing_maps)
        changed = False
        for i, value in enumerate(inputs):
            if not is_unit_reshape(value.defining_op):
                continue
            source = strip(value)
            if source.type.rank >= value.type.rank:
                continue
            rest = [e for e, size in zip(maps[i].results, value.type.shape, strict=True) if size != 1]
            full = iter(rest)
            results: list[AffineExpr] = [
                next(full) if size != 1 else AffineConstant(0) for size in source.type.shape
            ]
            inputs[i] = source
            maps[i] = AffineMap(maps[i].n_dims, 0, results)
            changed = True
        if not changed or not _covers_all_loops(maps):
            return op
        return self._replace(op, inputs, list(op.outputs), maps, list(op.iterator_types), op.results[0])

    def _drop_loops(self, op: linalg.Generic) -> None:
        ranges = op.static_loop_ranges()
        units = {i for i, size in enumerate(ranges) if size == 1}
        if not units or len(units) == len(ranges):
            return
        if not all(isinstance(e, (AffineDim, AffineConstant)) for m in op.indexing_maps for e in m.results):
            return
        keep = [i for i in range(len(ranges)) if i not in units]
        renumber = {old: AffineDim(new) for new, old in enumerate(keep)}
        builder = Builder.before_op(op)
        inputs: list[Value] = []
        maps: list[AffineMap] = []
        for value, map in zip(op.inputs, op.indexing_maps, strict=False):
            new, results = self._dropped(builder, value, map, units, renumber)
            inputs.append(new)
            maps.append(AffineMap(len(keep), 0, results))
        output, out_map = op.outputs[0], op.indexing_maps[-1]
        dropped = [a for a, e in enumerate(out_map.results) if e.dims_used() <= units]
        sizes = self.resolver.dims(op.results[0])
        target = self._destination(builder, output, dropped)
        maps.append(
            AffineMap(
                len(keep),
                0,
                [renumber[e.position] for a, e in enumerate(out_map.results) if a not in dropped],  # type: ignore[attr-defined]
            )
        )
        iterators = [op.iterator_types[i] for i in keep]
        old = op.results[0]
        made = self._build(builder, op, inputs, [target], maps, iterators)
        result: Value = made.results[0]
        if dropped:
            result = add_axes(builder, result, dropped, sizes)
        result.hint = old.hint
        op.replace_by([result])

    def _dropped(
        self,
        builder: Builder,
        value: Value,
        map: AffineMap,
        units: set[int],
        renumber: dict[int, AffineDim],
    ) -> tuple[Value, list[AffineExpr]]:
        if not isinstance(value.type, TensorType):
            return value, []
        axes = [
            axis
            for axis, (e, size) in enumerate(zip(map.results, value.type.shape, strict=True))
            if size == 1 and e.dims_used() <= units
        ]
        results: list[AffineExpr] = []
        for axis, e in enumerate(map.results):
            if axis not in axes:
                results.append(renumber[e.position] if isinstance(e, AffineDim) else e)
        return drop_axes(builder, value, axes), results

    def _destination(self, builder: Builder, value: Value, dropped: list[int]) -> Value:
        """The destination without the dropped axes; empties and fills are made anew."""
        if not dropped:
            return value
        op = value.defining_op
        sizes = [d for a, d in enumerate(self.resolver.dims(value)) if a not in dropped]
        if isinstance(op, tensor.Empty):
            return builder.create(tensor.Empty, sizes, value.type.element_type).result
        if op is not None and op.name == "linalg.fill":
            empty = builder.create(tensor.Empty, sizes, value.type.element_type).result
            return linalg.fill(builder, op.operands[0], empty)
        return drop_axes(builder, value, dropped)

    def _replace(
        self,
        op: linalg.Generic,
        inputs: list[Value],
        outputs: list[Value],
        maps: list[AffineMap],
        iterators: list[str],
        old: Value,
    ) -> linalg.Generic:
        made = self._build(Builder.before_op(op), op, inputs, outputs, maps, iterators)
        made.results[0].hint = old.hint
        op.replace_by(list(made.results))
        return made

    def _build(
        self,
        builder: Builder,
        op: linalg.Generic,
        inputs: list[Value],
        outputs: list[Value],
        maps: list[AffineMap],
        iterators: list[str],
    ) -> linalg.Generic:
        region = single_block_region([element_of(v.type) for v in (*inputs, *outputs)])
        mapping: dict[Any, Any] = dict(zip(op.body.args, region.block.args, strict=True))
        for inner in op.body:
            region.block.append(inner.clone(mapping))
        return builder.create(linalg.Generic, inputs, outputs, maps, iterators, region)


def _covers_all_loops(maps: list[AffineMap]) -> bool:
    """True when every loop's size follows from an operand dim."""
    found = {e.position for m in maps for e in m.results if isinstance(e, AffineDim)}
    return len(found) == maps[0].n_dims
