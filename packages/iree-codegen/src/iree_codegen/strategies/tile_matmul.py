"""``tile-matmul``: products with constant weights on matrix tiles, in bf16 parts, with fused epilogues.

B's panels of bf16 pairs are packed when the artefact is written. Rows of A that are stored as bf16 serve as
they lie; others a workgroup converts in worker scratch, once for a group of panels. A tile's sums go to
scratch; its results are computed and stored while the next tile is multiplied.
"""

from __future__ import annotations

from typing import Any

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
        super().__init__(dispatch, description, plan.root, m, n, rows, plan.width, buffers=2)
        self.plan = plan
        part = plan.column_tiles * WORDS
        far = plan.is_far
        if plan.narrow is None:
            self.part_offset = plan.block * plan.pitch
            self.a_rows = self.frame.scratch_view(plan.parts * self.part_offset, bf16)
            a = Factor(bf16, plan.pitch, plan.apart * plan.pitch, self.part_offset, DEPTH, not far)
        else:
            self.a_rows = self.frame.binding_args[plan.narrow.binding.index]
            pitch = 0 if m is None else plan.narrow.address.coefficient(plan.root.vars[m])
            assert isinstance(pitch, int)
            a = Factor(bf16, pitch, plan.apart * pitch, 0, DEPTH, not far)
        self.spec = TileKernel(
            plan.rows,
            plan.row_tiles,
            plan.column_tiles,
            plan.parts,
            plan.n_steps,
            a,
            Factor(f32, COLUMNS, WORDS, part, plan.parts * part, far),
            plan.width,
            prefetched=plan.prefetched,
            apart=plan.apart,
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
        if plan.narrow is None:
            self._convert(at, m_first, rows)
        first, last = self.frame.part(part, group, panels)
        b_start = first_panel(at, base, panels)
        tiles = k.ceildiv(rows, plan.step)

        def panel(p: Index, *carried: Value) -> list[Value]:
            return k.loop(
                0, tiles, 1, carried,
                lambda t, *waiting: self._tile(at, p, t, m_first, rows, k.add(b_start, p), Waiting(*waiting)),
            )  # fmt: skip

        nothing = Waiting(0, 0, 0, 0, plan.step * plan.width)
        rest = k.loop(first, last, 1, [k.value(v) for v in nothing], panel)
        self.store_waiting(at, Waiting(*rest), base.columns)
        shape = f"{plan.row_tiles}x{plan.column_tiles} tiles of {plan.rows} rows, {plan.parts} bf16 a number"
        return self.frame.finish([total], self.frame.scratch_bytes, NAME, shape)

    # -- A ----------------------------------------------------------------------------------------------

    def _convert(self, at: Bindings, m_first: Index, rows: Index) -> None:
        """Rows of A into scratch: [rows][K] of bf16 per part, zeros behind the last element of a row."""
        plan, k = self.plan, self.kernel
        operand = self.root.op.operands[plan.base.a_operand]
        forms = self.forms(operand_forms(self.root, plan.base.a_operand))
        extents = [self.root.extents[i] for i in plan.base.k]
        memory = Memory(self.a_rows, (plan.pitch, *dim_ops.strides(extents)))
        second = Memory(self.a_rows, memory.strides, self.part_offset)
        place = [indexing.of(self.m_in), *[indexing.of(self.root.vars[i]) for i in plan.base.k]]
        base = at.child({self.m_base: m_first})

        def once(point: Point) -> None:
            value = k.splat(self.elements.element(operand, forms, point), point.lanes)
            parts = bf16_parts(k, value, point.lanes, plan.parts)
            for part, target in zip(parts, (memory, second), strict=False):
                self.elements.store(part, target, place, point)

        def row(i: Index) -> None:
            if plan.depth % DEPTH:
                zero = k.constant(0.0, VectorType((self.lanes,), bf16))
                end = k.add(k.mul(i, plan.pitch), plan.n_steps * DEPTH)
                for part in range(plan.parts):
                    for lane in range(0, DEPTH, self.lanes):
                        k.vstore(zero, self.a_rows, k.add(end, part * self.part_offset - DEPTH + lane))
            self.each_term(base.child({self.m_in: i}), plan.base.k, self.lanes, once)

        k.loop(0, rows, 1, (), row)

    # -- tiles ------------------------------------------------------------------------------------------

    def _tile(
        self, at: Bindings, p: Index, t: Index, m_first: Index, rows: Index, b_panel: Index, waiting: Waiting
    ) -> list[Value]:
        """Multiply, and store the results of the tile before meanwhile; returns the tile that waits now."""
        plan, k = self.plan, self.kernel
        memory = self.frame.binding_args[plan.b.binding.index]
        first = k.mul(t, plan.step)
        # What comes next lies behind this panel, also the next product's where this is the last.
        panel = plan.n_steps * plan.parts * plan.column_tiles * WORDS
        b = k.mul(b_panel, panel)
        later = k.add(k.add(b, panel), k.mul(t, plan.n_steps * plan.prefetched * LINE))
        start = k.sub(plan.step * plan.width, waiting.start)
        m: Index = k.add(m_first, first)
        done: Index = 0
        end: Index = plan.step
        if plan.narrow is None:
            a = k.mul(first, plan.pitch)
            if not isinstance(rows, int) or rows % plan.step:
                end = k.min(k.sub(rows, first), plan.step)
        else:
            # The last tile ends with A's last row: some of its rows are those of the tile before.
            assert isinstance(plan.base.rows, int)
            if plan.base.rows % plan.step:
                m = k.min(m, plan.base.rows - plan.step)
                done = k.sub(k.add(m_first, first), m)
            here: dict[Var, Index] = {self.root.vars[i]: 0 for i in plan.base.k}
            if plan.base.m is not None:
                here[self.root.vars[plan.base.m]] = m
            a = at.child(here).scalar(plan.narrow.address)
        multiply(
            k, self.spec, (self.a_rows, a), (memory, b), (self.tile, start), later,
            lambda step: self.store_share(at, waiting, plan.base.columns, step, plan.share),
        )  # fmt: skip
        return [k.value(v) for v in Waiting(done, end, m, k.mul(p, plan.width), start)]
