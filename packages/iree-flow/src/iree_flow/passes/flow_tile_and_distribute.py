"""``flow-tile-and-distribute``: dispatch regions in which contraction roots are tiled over workgroups.

Contractions and convolutions are tiled: their region holds loops over the parallel dims (up to three,
innermost in x) whose start and step come from the workgroup's id, count and size, so the target chooses tile
sizes later. Any other dense op with one result goes into a region whole, and the target decides. A region's
workload is its result shape. Empties, scalar constants and fills are cloned in; a reshape goes with the op
that reads it, and stands alone when nothing does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from iree_base.records import record
from iree_core_ir.dialects import arith, linalg, scf, tensor
from iree_core_ir.dialects.func import FuncOp
from iree_core_ir.ir.affine import AffineDim, AffineExpr
from iree_core_ir.ir.builder import Builder
from iree_core_ir.ir.operation import Block, Op, Value
from iree_core_ir.ir.types import TensorType
from iree_core_ir.pass_manager import Pass, PassContext
from iree_flow import fusion
from iree_flow.dialects import flow
from iree_flow.dims import Dim, DimResolver
from iree_flow.launch import lowering_configuration, workload_of
from iree_flow.passes.form_dispatch_regions import RESHAPES, is_cloned
from iree_flow.symbolic_dims import argument_dim_names

ROOTS = frozenset({fusion.CONTRACTION, fusion.CONVOLUTION})
MAX_TILED = 3


@record
class FlowTileAndDistribute(Pass):
    name: ClassVar[str] = "flow-tile-and-distribute"

    def run(self, module: Op, context: PassContext) -> None:
        for function in module.regions[0].block:
            if isinstance(function, FuncOp) and function.regions[0].blocks:
                resolver = DimResolver(function.regions[0].block, argument_dim_names(function))
                for block in function.regions[0].blocks:
                    _Distributor(block, resolver).run()


class _Distributor:
    def __init__(self, block: Block, resolver: DimResolver) -> None:
        self.block = block
        self.resolver = resolver

    def run(self) -> None:
        for op in self.block.ops:
            if self._is_dense(op) and not is_cloned(op):
                self._region(op)
        for op in self.block.ops:
            if op.name in RESHAPES and isinstance(op.results[0].type, TensorType):
                if any(r.uses for r in op.results):
                    self._region(op)
                else:
                    op.erase()

    def _is_dense(self, op: Op) -> bool:
        return fusion.kind_of(op) is not None and len(op.results) == 1

    def _region(self, op: Op) -> None:
        """Wrap one op, tiled when it is a root."""
        result = op.results[0]
        dims = self.resolver.dims(result)
        builder = Builder.before_op(op)
        workload = workload_of(dims, lambda sizes: self.resolver.product(sizes, builder))
        if op.name in RESHAPES:
            total = self.resolver.product(dims, builder)
            workload = [total, 1, 1] if len(dims) == 1 else workload
        values = [self.resolver.value(size) for size in workload]
        region = builder.create(flow.DispatchRegion, [result.type], self.resolver.dynamic(result), values)
        region.location = op.location
        result.replace_all_uses_with(region.results[0])
        region.results[0].hint = result.hint
        body = region.body.block
        body.append(op.detach())
        self._clone_operands(op, body)
        returned: Value = result
        if fusion.kind_of(op) in ROOTS:
            returned = self._tile(op, dims)
        Builder.at_end(body, op.location).create(flow.Return, [returned])
        lowering_configuration(region)

    def _clone_operands(self, op: Op, body: Block) -> None:
        """Bring in what is cloned, and reshapes that feed the op."""
        new = []
        for value in op.operands:
            producer = value.defining_op
            wanted = producer is not None and (
                is_cloned(producer) or (producer.name in RESHAPES and op.name not in RESHAPES)
            )
            if not wanted or producer is None:
                new.append(value)
                continue
            clone = producer.clone()
            clone.location = producer.location
            body.insert_before(clone, op)
            self._clone_operands(clone, body)
            new.append(clone.results[0])
        op.set_operands(new)

    # -- tiling ----------------------------------------------------------------------------------------

    def _tile(self, op: Any, dims: Sequence[Dim]) -> Value:
        """Loops over the parallel dims around ``op`` on slices; returns the assembled result."""
        parallel = [i for i, kind in enumerate(op.iterator_types) if kind == "parallel"]
        tiled = parallel[-MAX_TILED:]
        extents = [self.resolver.dims(value)[axis] for value, axis in fusion.extents(op)]
        init, fill = op.outputs[0], None
        producer = init.defining_op
        if producer is not None and producer.name == "linalg.fill":
            init, fill = producer.operands[1], producer
        outer = Builder.before_op(op)
        offsets: dict[int, Dim] = {}
        sizes: dict[int, Dim] = {}

        def nest(position: int, builder: Builder, carried: Value) -> Value:
            if position == len(tiled):
                return self._slice_op(op, builder, carried, fill, offsets, sizes, extents)
            loop = tiled[position]
            axis = len(tiled) - 1 - position
            size = builder.create(flow.WorkgroupSize, axis).result
            first = builder.create(arith.MulI, builder.create(flow.WorkgroupId, axis).result, size).result
            step = builder.create(arith.MulI, builder.create(flow.WorkgroupCount, axis).result, size).result
            end = self.resolver.value(extents[loop])
            made = builder.create(scf.For, first, end, step, [carried])
            inner = Builder.at_end(made.regions[0].block, builder.location)
            iv, accumulator = made.regions[0].block.args
            rest = inner.create(arith.SubI, end, iv).result
            offsets[loop] = iv
            sizes[loop] = inner.create(arith.MinSI, size, rest).result
            inner.create(scf.Yield, [nest(position + 1, inner, accumulator)])
            return made.results[0]

        result = nest(0, outer, init)
        op.erase()
        if fill is not None and not fill.results[0].uses:
            fill.erase()
        return result

    def _slice_op(
        self,
        op: Any,
        builder: Builder,
        carried: Value,
        fill: Op | None,
        offsets: dict[int, Dim],
        sizes: dict[int, Dim],
        extents: Sequence[Dim],
    ) -> Value:
        """``op`` on the slices that one tile reads and writes."""
        maps = op.indexing_maps
        inputs = [
            self._slice(builder, value, map.results, offsets, sizes, extents)[0]
            for value, map in zip(op.inputs, maps, strict=False)
        ]
        output, place = self._slice(builder, carried, maps[-1].results, offsets, sizes, extents)
        if fill is not None:
            output = linalg.fill(builder, fill.operands[0], output)
        attributes = dict(op.attributes)
        tile = builder.insert(
            type(op)([*inputs, output], [output.type], attributes, [r.clone({}) for r in op.regions])
        )
        tile.location = op.location
        return builder.create(tensor.InsertSlice, tile.results[0], carried, *place).result

    def _slice(
        self,
        builder: Builder,
        value: Value,
        results: Sequence[AffineExpr],
        offsets: dict[int, Dim],
        sizes: dict[int, Dim],
        extents: Sequence[Dim],
    ) -> tuple[Value, tuple[list[Any], list[Any], list[Any]]]:
        """The part of an operand that the tile touches; whole along dims that are not tiled."""
        own = self.resolver.dims(value) if value.type.is_static else None
        at: list[Any] = []
        size: list[Any] = []
        for axis, expr in enumerate(results):
            if isinstance(expr, AffineDim) and expr.position in offsets:
                at.append(offsets[expr.position])
                size.append(sizes[expr.position])
                continue
            used = [d for d in expr.dims_used() if d in offsets]
            if used:
                start, count = self._window(builder, expr, offsets, sizes, extents)
                at.append(start)
                size.append(count)
                continue
            at.append(0)
            whole = own[axis] if own is not None else extents[next(iter(expr.dims_used()))]
            size.append(whole)
        steps = [1] * len(at)
        part = builder.create(tensor.ExtractSlice, value, at, size, steps).result
        return part, (at, size, steps)

    def _window(
        self,
        builder: Builder,
        expr: AffineExpr,
        offsets: dict[int, Dim],
        sizes: dict[int, Dim],
        extents: Sequence[Dim],
    ) -> tuple[Value, Value]:
        """First index and count that ``expr`` reaches over the tile."""
        n = len(extents)
        first: list[Any] = [offsets.get(i, 0) for i in range(n)]
        count: list[Any] = [sizes.get(i, extents[i]) for i in range(n)]
        start = self._evaluate(builder, expr, first)
        last: list[Any] = []
        for i in range(n):
            end = builder.create(
                arith.AddI, self.resolver.value(first[i]), self.resolver.value(count[i])
            ).result
            one = builder.insert(arith.Constant.index(1)).result
            last.append(builder.create(arith.SubI, end, one).result)
        stop = self._evaluate(builder, expr, last)
        one = builder.insert(arith.Constant.index(1)).result
        span = builder.create(arith.SubI, stop, start).result
        return start, builder.create(arith.AddI, span, one).result

    def _evaluate(self, builder: Builder, expr: Any, values: Sequence[Any]) -> Value:
        if isinstance(expr, AffineDim):
            return self.resolver.value(values[expr.position])
        if hasattr(expr, "lhs"):
            a, b = (self._evaluate(builder, e, values) for e in (expr.lhs, expr.rhs))
            cls: Any = arith.AddI if expr.kind == "+" else arith.MulI
            made: Value = builder.create(cls, a, b).result
            return made
        return builder.insert(arith.Constant.index(expr.value)).result
