"""``drop-unit-dims``: generics lose operand axes and loops of size 1 that only reshapes put there.

Exporters wrap a model in a batch dim of 1 and keep reduced dims; the reshapes between the two forms hide
that an op reads exactly what the one before it wrote. After this pass elementwise ops and reductions read
the unreshaped value, so that fusion sees through. Convolutions, poolings and the elementwise ops behind them
keep their form: there the batch dim of 1 is the named op's own. A reduction behind them ends that.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import ClassVar

from iree_base.records import record
from iree_core_ir.dialects import linalg, linalg_ext, tensor
from iree_core_ir.dialects.func import FuncOp
from iree_core_ir.dialects.linalg_structured import loop_ranges
from iree_core_ir.ir.affine import AffineConstant, AffineDim, AffineExpr, AffineMap
from iree_core_ir.ir.attributes import Type
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


@record
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


@record(frozen=True)
class _Plan:
    """A generic without its loops of size 1."""

    dropped: tuple[tuple[int, ...], ...]
    """Per operand the axes that go."""
    maps: tuple[AffineMap, ...]
    iterators: tuple[str, ...]


# Maps and types are interned and a model has few different ones: each way to read and write is judged once.
@functools.lru_cache(maxsize=1 << 12)
def _plan(maps: tuple[AffineMap, ...], types: tuple[Type, ...], iterators: tuple[str, ...]) -> _Plan | None:
    """How to drop the loops of size 1; None where there are none, or no others."""
    ranges = loop_ranges(maps, types, len(iterators))
    units = {i for i, size in enumerate(ranges) if size == 1}
    if not units or len(units) == len(ranges):
        return None
    if not all(isinstance(e, (AffineDim, AffineConstant)) for m in maps for e in m.results):
        return None
    keep = [i for i in range(len(ranges)) if i not in units]
    renumbered: list[AffineExpr] = [AffineConstant(0)] * len(ranges)
    for new, old in enumerate(keep):
        renumbered[old] = AffineDim(new)
    dropped: list[tuple[int, ...]] = []
    kept: list[AffineMap] = []
    last = len(maps) - 1
    for number, (map, type) in enumerate(zip(maps, types, strict=True)):
        shape = type.shape if isinstance(type, TensorType) else ()
        axes = [
            axis
            for axis, (e, size) in enumerate(zip(map.results, shape, strict=True))
            if e.dims_used() <= units and (size == 1 or number == last)
        ]
        rest = [e for axis, e in enumerate(map.results) if axis not in axes]
        results = [renumbered[e.position] if isinstance(e, AffineDim) else e for e in rest]
        dropped.append(tuple(axes))
        kept.append(AffineMap(len(keep), 0, results))
    return _Plan(tuple(dropped), tuple(kept), tuple([iterators[i] for i in keep]))


@functools.lru_cache(maxsize=1 << 12)
def _squeezed_map(map: AffineMap, shape: tuple[int, ...], source: tuple[int, ...]) -> AffineMap:
    """How what was read by ``map`` in this shape is read in that of ``source``, with other dims of size 1."""
    full = iter([e for e, size in zip(map.results, shape, strict=True) if size != 1])
    return AffineMap(map.n_dims, 0, [next(full) if size != 1 else AffineConstant(0) for size in source])


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
        inputs, maps = self._squeezed(op)
        if kind == fusion.ELEMENTWISE and any(v in self.kept for v in inputs):
            if maps != op.indexing_maps:
                op = self._replace(op, inputs, maps)
            self.kept.update(op.results)
            return
        plan = _plan(maps, tuple([v.type for v in (*inputs, op.outputs[0])]), op.iterator_types)
        if plan is not None:
            self._drop_loops(op, inputs, plan)
        elif maps != op.indexing_maps:
            self._replace(op, inputs, maps)

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

    def _squeezed(self, op: linalg.Generic) -> tuple[tuple[Value, ...], tuple[AffineMap, ...]]:
        """Inputs and maps of ``op``; inputs that a reshape gave unit axes are read without them."""
        own = op.inputs, op.indexing_maps
        if not any(is_unit_reshape(value.defining_op) for value in own[0]):
            return own
        inputs, maps = list(own[0]), list(own[1])
        for i, value in enumerate(inputs):
            source = strip(value)
            if isinstance(value.type, TensorType) and source.type.rank < value.type.rank:
                inputs[i] = source
                maps[i] = _squeezed_map(maps[i], value.type.shape, source.type.shape)
        return (tuple(inputs), tuple(maps)) if _covers_all_loops(maps) else own

    def _drop_loops(self, op: linalg.Generic, inputs: Sequence[Value], plan: _Plan) -> None:
        builder = Builder.before_op(op)
        *reads, dropped = plan.dropped
        kept = [drop_axes(builder, v, axes) if axes else v for v, axes in zip(inputs, reads, strict=True)]
        sizes = self.resolver.dims(op.results[0])
        target = self._destination(builder, op.outputs[0], dropped)
        made = on_operands(builder, op, kept, [target], plan.maps, plan.iterators)
        result = self._with_axes(builder, made.results[0], dropped, sizes)
        result.hint = op.results[0].hint
        op.replace_by([result])

    def _with_axes(self, builder: Builder, value: Value, dropped: Sequence[int], sizes: list[Dim]) -> Value:
        """``value`` as those read it that keep the axes."""
        if not dropped:
            return value
        result = add_axes(builder, value, dropped, sizes)
        assert result.defining_op is not None
        self.unused.append(result.defining_op)
        return result

    def _destination(self, builder: Builder, value: Value, dropped: Sequence[int]) -> Value:
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

    def _replace(
        self, op: linalg.Generic, inputs: Sequence[Value], maps: Sequence[AffineMap]
    ) -> linalg.Generic:
        made = on_operands(Builder.before_op(op), op, inputs, op.outputs, maps, op.iterator_types)
        made.results[0].hint = op.results[0].hint
        op.replace_by(list(made.results))
        return made


def _covers_all_loops(maps: Sequence[AffineMap]) -> bool:
    """True when every loop's size follows from an operand dim."""
    found = {e.position for m in maps for e in m.results if isinstance(e, AffineDim)}
    return len(found) == maps[0].n_dims
