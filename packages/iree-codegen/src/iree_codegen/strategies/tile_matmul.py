"""``tile-matmul``: products with constant weights on matrix tiles, in bf16 parts, with fused epilogues.

B's panels of bf16 pairs are packed when the artefact is written. Rows of A that are stored as bf16 serve as
they lie; others a workgroup converts in worker scratch, once for a group of panels. A tile's sums go to
scratch; its results are computed and stored while the next tile is multiplied.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from iree_base.records import record
from iree_codegen import dims as dim_ops
from iree_codegen import indexing
from iree_codegen.contraction import operand_forms
from iree_codegen.dispatch import Dispatch
from iree_codegen.elements import Memory, Point
from iree_codegen.indexing import Bindings, Var
from iree_codegen.kernel import Kernel
from iree_codegen.kernel_builder import Index
from iree_codegen.matmul_factors import first_panel
from iree_codegen.product_tiles import ProductTiles, Waiting, bf16_parts
from iree_codegen.tile_kernel import LINE, WORDS, Factor, TileKernel, multiply
from iree_codegen.tile_panels import COLUMNS, DEPTH, TILE_PANELS, tile_panel_shape
from iree_codegen.tile_plan import TilePlan, plan_tiles, tile_layout
from iree_core_ir.ir.operation import Value
from iree_core_ir.ir.types import TensorType, VectorType, bf16, f32
from iree_core_ir.target import ConstantLayout

NAME = "tile-matmul"


def layout(dispatch: Dispatch, description: Any) -> ConstantLayout | None:
    """How the strategy wants the weights of ``dispatch``; None when it does not take it."""
    plan = plan_tiles(dispatch, description)
    if plan is None:
        return None
    argument, parameters = tile_layout(plan)
    logical: Any = plan.b.binding.value.type
    shape = tile_panel_shape(logical.shape, parameters)
    return ConstantLayout(argument, TILE_PANELS, parameters, TensorType(shape, f32))


def tile_matmul(dispatch: Dispatch, description: Any) -> Kernel | None:
    plan = plan_tiles(dispatch, description)
    if plan is None or not plan.b.binding.is_packed(TILE_PANELS, tile_layout(plan)[1]):
        return None
    return _Emitter(dispatch, description, plan).emit()


class _Emitter(ProductTiles):
    def __init__(self, dispatch: Dispatch, description: Any, plan: TilePlan) -> None:
        m, n, rows = plan.base.m, plan.base.n, plan.step
        # A tile's sums wait while the next one is made; those of a chunk until the next chunk.
        self.tiles = -(-plan.block // rows)
        buffers = 2 if plan.chunks == 1 else plan.group * self.tiles
        super().__init__(dispatch, description, plan.root, m, n, rows, plan.width, buffers=buffers)
        self.plan = plan
        part = plan.column_tiles * WORDS
        near, far = plan.streams
        if plan.narrow is None:
            self.part_offset = plan.block * plan.pitch
            self.a_rows = self.frame.scratch_view(plan.parts * self.part_offset, bf16)
            a = Factor(bf16, plan.pitch, plan.apart * plan.pitch, self.part_offset, DEPTH, near)
        else:
            self.a_rows = self.frame.binding_args[plan.narrow.binding.index]
            pitch = 0 if m is None else plan.narrow.address.coefficient(plan.root.vars[m])
            assert isinstance(pitch, int)
            a = Factor(bf16, pitch, plan.apart * pitch, 0, DEPTH, near)
        self.spec = TileKernel(
            plan.rows,
            plan.row_tiles,
            plan.column_tiles,
            plan.parts,
            plan.chunk,
            a,
            Factor(f32, COLUMNS, WORDS, part, plan.parts * part, far),
            plan.width,
            prefetched=plan.prefetched,
            apart=plan.apart,
            again=plan.chunks > 1,
        )

    def emit(self) -> Kernel:
        plan, base, k = self.plan, self.plan.base, self.kernel
        panels, group = plan.panels, plan.group
        groups = -(-panels // group)
        batch_extents = [self.root.extents[i] for i in base.batch]
        total = dim_ops.mul(dim_ops.mul(plan.blocks, groups), dim_ops.total(batch_extents))
        number: Index = self.frame.ids[0] if total != 1 else 0
        block, number = k.mod(number, k.dim(plan.blocks)), k.floordiv(number, k.dim(plan.blocks))
        part, number = k.mod(number, groups), k.floordiv(number, groups)
        at = Bindings(k).numbered(number, [(self.root.vars[i], self.root.extents[i]) for i in base.batch])
        m_first = k.mul(block, plan.block)
        rows: Index = k.min(k.sub(k.dim(base.rows), m_first), plan.block)
        if isinstance(base.rows, int) and base.rows % plan.block == 0:
            rows = plan.block
        first, last = self.frame.part(part, group, panels)
        work = _Work(at, m_first, rows, first, last, first_panel(at, base, panels))
        if plan.chunks > 1:
            zero = k.constant(0.0, VectorType((self.lanes,), f32))
            sums = self.tiles * plan.step * plan.width
            k.loop(
                0, k.mul(k.sub(last, first), sums), self.lanes, (), lambda i: k.vstore(zero, self.tile, i)
            )  # fmt: skip
        k.loop(0, plan.chunks, 1, (), lambda c: self._chunk(work, c))
        shape = f"{plan.row_tiles}x{plan.column_tiles} tiles of {plan.rows} rows, {plan.parts} bf16 a number"
        if plan.chunks > 1:
            shape += f", chunks of {plan.chunk * DEPTH}"
        return self.frame.finish([total], self.frame.scratch_bytes, NAME, shape)

    def _chunk(self, work: _Work, c: Index) -> None:
        """All tiles of the workgroup, a chunk of the reduction."""
        plan, k = self.plan, self.kernel
        if plan.narrow is None:
            self._convert(work, c)
        tiles = k.ceildiv(work.rows, plan.step)

        def panel(p: Index, *carried: Value) -> list[Value]:
            return k.loop(
                0, tiles, 1, carried,
                lambda t, *waiting: self._tile(work, c, p, t, Waiting(*waiting)),
            )  # fmt: skip

        nothing = Waiting(0, 0, 0, 0, plan.step * plan.width)
        rest = k.loop(work.first, work.last, 1, [k.value(v) for v in nothing], panel)
        self.store_waiting(work.at, Waiting(*rest), plan.base.columns)

    # -- A ----------------------------------------------------------------------------------------------

    def _convert(self, work: _Work, c: Index) -> None:
        """A chunk of A's rows into scratch: [rows][K] of bf16 per part, zeros behind a row's last element."""
        plan, k = self.plan, self.kernel
        operand = self.root.op.operands[plan.base.a_operand]
        forms = self.forms(operand_forms(self.root, plan.base.a_operand))
        extents = [self.root.extents[i] for i in plan.base.k]
        start = k.mul(c, plan.chunk * DEPTH)
        span = None if plan.chunks == 1 else (start, k.min(k.add(start, plan.chunk * DEPTH), plan.depth))
        memory = Memory(self.a_rows, (plan.pitch, *dim_ops.strides(extents)), base=k.sub(0, start))
        second = replace(memory, offset=self.part_offset)
        place = [indexing.of(self.m_in), *[indexing.of(self.root.vars[i]) for i in plan.base.k]]
        base = work.at.child({self.m_base: work.m_first})

        def once(point: Point) -> None:
            value = k.splat(self.elements.element(operand, forms, point), point.lanes)
            parts = bf16_parts(k, value, point.lanes, plan.parts)
            for part, target in zip(parts, (memory, second), strict=False):
                self.elements.store(part, target, place, point)

        def row(i: Index) -> None:
            if plan.depth % DEPTH:
                zero = k.constant(0.0, VectorType((self.lanes,), bf16))
                end = k.add(k.mul(i, plan.pitch), plan.chunk * DEPTH)
                for part in range(plan.parts):
                    for lane in range(0, DEPTH, self.lanes):
                        k.vstore(zero, self.a_rows, k.add(end, part * self.part_offset - DEPTH + lane))
            self.each_term(base.child({self.m_in: i}), plan.base.k, self.lanes, once, span)

        k.loop(0, work.rows, 1, (), row)

    # -- tiles ------------------------------------------------------------------------------------------

    def _tile(self, work: _Work, c: Index, p: Index, t: Index, waiting: Waiting) -> list[Value]:
        """Multiply, and store the results of the tile before meanwhile; returns the tile that waits now."""
        plan, k = self.plan, self.kernel
        first = k.mul(t, plan.step)
        step = plan.parts * plan.column_tiles * WORDS
        b = k.add(k.mul(k.add(work.b_panel, p), plan.n_steps * step), k.mul(c, plan.chunk * step))
        m: Index = k.add(work.m_first, first)
        done: Index = 0
        end: Index = plan.step
        if plan.narrow is None:
            a = k.mul(first, plan.pitch)
            if not isinstance(work.rows, int) or work.rows % plan.step:
                end = k.min(k.sub(work.rows, first), plan.step)
        else:
            # The last tile ends with A's last row: some of its rows are those of the tile before.
            assert isinstance(plan.base.rows, int)
            if plan.base.rows % plan.step:
                m = k.min(m, plan.base.rows - plan.step)
                done = k.sub(k.add(work.m_first, first), m)
            here: dict[Var, Index] = {self.root.vars[i]: 0 for i in plan.base.k}
            if plan.base.m is not None:
                here[self.root.vars[plan.base.m]] = m
            a = k.add(work.at.child(here).scalar(plan.narrow.address), k.mul(c, plan.chunk * DEPTH))
        start: Index = k.sub(plan.step * plan.width, waiting.start)
        if plan.chunks > 1:
            start = k.mul(k.add(k.mul(k.sub(p, work.first), self.tiles), t), plan.step * plan.width)
            end = k.select(k.compare("eq", c, plan.chunks - 1), k.value(end), k.value(0))
        memory = self.frame.binding_args[plan.b.binding.index]
        later = k.add(self._next(work, c, p, b, step), k.mul(t, plan.chunk * plan.prefetched * LINE))
        multiply(
            k, self.spec, (self.a_rows, a), (memory, b), (self.tile, start), later,
            lambda step: self.store_share(work.at, waiting, plan.base.columns, step, plan.share),
        )  # fmt: skip
        return [k.value(v) for v in Waiting(done, end, m, k.mul(p, plan.width), start)]

    def _next(self, work: _Work, c: Index, p: Index, b: Index, step: int) -> Index:
        """Where in B that begins which comes after this panel: the next one, or behind the last of a chunk
        the next chunk of the first. Behind all lies what the next product reads."""
        plan, k = self.plan, self.kernel
        if plan.chunks == 1:
            return k.add(b, plan.n_steps * step)
        below = k.mul(k.add(work.b_panel, work.first), plan.n_steps * step)
        below = k.add(below, k.mul(k.add(c, 1), plan.chunk * step))
        more = k.compare("slt", k.add(c, 1), plan.chunks)
        behind = k.select(more, k.value(below), k.value(k.add(b, plan.chunk * step)))
        beside = k.compare("slt", k.add(p, 1), work.last)
        return k.select(beside, k.value(k.add(b, plan.n_steps * step)), behind)


@record(frozen=True)
class _Work:
    """What a workgroup does: rows of A by panels ``first`` to ``last``."""

    at: Bindings
    m_first: Index
    rows: Index
    first: Index
    last: Index
    b_panel: Index
    """The first panel of the matrix."""
