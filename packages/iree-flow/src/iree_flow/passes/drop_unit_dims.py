"""``drop-unit-dims``: generics lose operand axes and loops of size 1 that only reshapes put there.

Exporters wrap a model in a batch dim of 1 and keep reduced dims; the reshapes between the two forms hide
that an op reads exactly what the one before it wrote. After this pass elementwise ops and reductions read
the unreshaped value, so that fusion sees through. Convolutions, poolings and the elementwise ops behind them
keep their form: there the batch dim of 1 is the named op's own. A reduction behind them ends that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from iree_core_ir.dialects import linalg, linalg_ext, tensor
from iree_core_ir.dialects.func import FuncOp
from iree_core_ir.dialects.linalg_structured import LoopRange, loop_ranges
from iree_core_ir.ir.affine import AffineConstant, AffineDim, AffineExpr, AffineMap
from iree_core_ir.ir.builder import Builder
from iree_core_ir.ir.operation import Block, Op, Value
from iree_core_ir.ir.types import TensorType
from iree_core_ir.pass_manager import Pass, PassContext
from iree_flow import fusion
from iree_flow.dims import Dim, DimResolver
from iree_flow.generics import erase_unused, on_operands
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


@dataclass
class _Form:
    """A generic as it could be: what it reads and writes, over which loops."""

    inputs: list[Value]
    output: Value
    maps: list[AffineMap]
    iterators: tuple[str, ...]

    @classmethod
    def of(cls, op: linalg.Generic) -> _Form:
        return cls(list(op.inputs), op.outputs[0], list(op.indexing_maps), op.iterator_types)

    def ranges(self) -> tuple[LoopRange, ...]:
        """The loops' sizes, as ``StructuredOp.loop_ranges``."""
        types = [value.type for value in (*self.inputs, self.output)]
        return loop_ranges(self.maps, types, len(self.iterators))


class _Dropper:
    def __init__(self, block: Block, resolver: DimResolver) -> None:
        self.block = block
        self.resolver = resolver
        self.kept: set[Value] = set()
        """Results of ops that keep their form: convolutions, pooling and what is fused to them."""
        self.destinations: dict[tuple[Value, tuple[int, ...]], Value] = {}
        """Destinations that several ops write to, and dropped axes: what they become."""
        self.unused: list[Op] = []
        """Reshapes and destinations that may serve nobody in the end, in the order they stand in."""

    def run(self) -> None:
        for op in self.block.ops:
            kind = fusion.kind_of(op)
            if is_unit_reshape(op):
                self._reshape(op)
            elif kind in (fusion.CONVOLUTION, fusion.POOLING, fusion.PAD):
                self.kept.update(op.results)
            elif isinstance(op, linalg_ext.Softmax):
                self._softmax(op)
            elif isinstance(op, linalg.Generic) and len(op.outputs) == 1 and not op.has_index:
                if kind in (fusion.ELEMENTWISE, fusion.REDUCTION):
                    self._generic(op, kind)
        erase_unused(self.unused)

    def _reshape(self, op: Op) -> None:
        """One that brings back what another reshaped is that."""
        self.unused.append(op)
        result, source = op.results[0], op.operands[0]
        while source.type is not result.type and is_unit_reshape(source.defining_op):
            source = source.defining_op.operands[0]  # type: ignore[union-attr]
        if source.type is result.type:
            result.replace_all_uses_with(source)

    def _generic(self, op: linalg.Generic, kind: str) -> None:
        form = _Form.of(op)
        squeezed = self._squeeze_operands(form)
        if kind == fusion.ELEMENTWISE and any(v in self.kept for v in form.inputs):
            if squeezed:
                op = self._replace(op, form)
            self.kept.update(op.results)
        elif not self._drop_loops(op, form) and squeezed:
            self._replace(op, form)

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
        result = self._with_axes(builder, made.results[0], dropped, sizes)
        result.hint = op.results[0].hint
        op.replace_by([result])

    def _squeeze_operands(self, form: _Form) -> bool:
        """Inputs that a reshape gave unit axes are read without them; tells whether there are any."""
        inputs, maps = list(form.inputs), list(form.maps)
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
            return False
        form.inputs, form.maps = inputs, maps
        return True

    def _drop_loops(self, op: linalg.Generic, form: _Form) -> bool:
        """Replace ``op`` by its form without the loops of size 1; False: none, or no others."""
        ranges = form.ranges()
        units = {i for i, size in enumerate(ranges) if size == 1}
        if not units or len(units) == len(ranges):
            return False
        if not all(isinstance(e, (AffineDim, AffineConstant)) for m in form.maps for e in m.results):
            return False
        keep = [i for i in range(len(ranges)) if i not in units]
        renumber = {old: AffineDim(new) for new, old in enumerate(keep)}
        builder = Builder.before_op(op)
        inputs: list[Value] = []
        maps: list[AffineMap] = []
        for value, map in zip(form.inputs, form.maps, strict=False):
            new, results = self._dropped(builder, value, map, units, renumber)
            inputs.append(new)
            maps.append(AffineMap(len(keep), 0, results))
        out_map = form.maps[-1]
        dropped = [a for a, e in enumerate(out_map.results) if e.dims_used() <= units]
        sizes = self.resolver.dims(op.results[0])
        target = self._destination(builder, form.output, dropped)
        maps.append(
            AffineMap(
                len(keep),
                0,
                [renumber[e.position] for a, e in enumerate(out_map.results) if a not in dropped],  # type: ignore[attr-defined]
            )
        )
        iterators = [form.iterators[i] for i in keep]
        made = on_operands(builder, op, inputs, [target], maps, iterators)
        result = self._with_axes(builder, made.results[0], dropped, sizes)
        result.hint = op.results[0].hint
        op.replace_by([result])
        return True

    def _with_axes(self, builder: Builder, value: Value, dropped: list[int], sizes: list[Dim]) -> Value:
        """``value`` as those read it that keep the axes."""
        if not dropped:
            return value
        result = add_axes(builder, value, dropped, sizes)
        assert result.defining_op is not None
        self.unused.append(result.defining_op)
        return result

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
        """The destination without the dropped axes; empties and fills are made anew, once."""
        if not dropped:
            return value
        key = value, tuple(dropped)
        found = self.destinations.get(key)
        if found is not None:
            return found
        op = value.defining_op
        if not isinstance(op, (tensor.Empty, linalg.Fill)):
            return drop_axes(builder, value, dropped)
        sizes = [d for a, d in enumerate(self.resolver.dims(value)) if a not in dropped]
        made: Value = builder.create(tensor.Empty, sizes, value.type.element_type).result
        if isinstance(op, linalg.Fill):
            made = linalg.fill(builder, op.operands[0], made)
        self.destinations[key] = made
        return made

    def _replace(self, op: linalg.Generic, form: _Form) -> linalg.Generic:
        builder = Builder.before_op(op)
        made = on_operands(builder, op, form.inputs, [form.output], form.maps, form.iterators)
        made.results[0].hint = op.results[0].hint
        op.replace_by(list(made.results))
        return made


def _covers_all_loops(maps: list[AffineMap]) -> bool:
    """True when every loop's size follows from an operand dim."""
    found = {e.position for m in maps for e in m.results if isinstance(e, AffineDim)}
    return len(found) == maps[0].n_dims
