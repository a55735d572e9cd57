"""``tile-attention``: scores and the sum of the values on matrix tiles, in bf16 parts; the softmax in f32.

Queries run along rows. A workgroup packs keys and values once (``tile_attention_operands.py``) and goes
through its rows block by block: tiles of scores go to a slab in f32, every row of it becomes powers in bf16
where it lies, and tiles multiply them by the values. What divides a row by its sum stores it.
"""

from __future__ import annotations

from collections.abc import Callable

from iree_codegen import dims as dim_ops
from iree_codegen.attention_plan import Head
from iree_codegen.dispatch import Dispatch
from iree_codegen.indexing import Bindings
from iree_codegen.kernel import Kernel, KernelFrame
from iree_codegen.kernel_builder import Index, KernelBuilder
from iree_codegen.online_softmax import INFINITY, exp_not_positive, greater
from iree_codegen.tile_attention_kernel import BlockProduct, PanelProduct, build
from iree_codegen.tile_attention_operands import LANES, TileOperands
from iree_codegen.tile_attention_plan import TileAttentionPlan, plan_tile_attention
from iree_codegen.tile_attention_softmax import (
    Adjust,
    PowerRows,
    RowSoftmax,
    build_power_rows,
    join_rows,
)
from iree_codegen.tile_kernel import LINE, WORDS, Factor
from iree_codegen.tile_panels import COLUMNS, DEPTH
from iree_codegen.workgroup_description import WorkgroupDescription
from iree_core_ir.ir.operation import Value
from iree_core_ir.ir.types import VectorType, bf16, f32, i1, index

NAME = "tile-attention"
VECTOR = VectorType((LANES,), f32)


def tile_attention(dispatch: Dispatch, description: WorkgroupDescription) -> Kernel | None:
    plan = plan_tile_attention(dispatch, description)
    return None if plan is None else _Emitter(dispatch, description, plan).emit()


class _Emitter:
    def __init__(
        self, dispatch: Dispatch, description: WorkgroupDescription, plan: TileAttentionPlan
    ) -> None:
        self.plan = plan
        self.frame = frame = KernelFrame(dispatch, fma=description.fma)
        self.kernel = k = frame.kernel
        self.operands = TileOperands(plan, frame)
        size = plan.slabs * plan.step * plan.slab_pitch
        offset = frame.allocate(4 * size)
        self.scores = k.view(frame.scratch, offset, size, f32)
        self.powers = k.view(frame.scratch, offset, 2 * size, bf16)
        self.scale = frame.elements.scalar(plan.op.inputs[3])
        self.softmax = RowSoftmax(k, self.scores, self.powers, plan.parts, self.scale)
        self.products = frame.scratch_view(plan.step * plan.sums_pitch, f32)
        self.lanes = -(-plan.step // LANES) * LANES
        """Numbers of a vector of rows for a block: one a row, to whole vectors."""
        self.partials = frame.scratch_view(self.lanes * LANES, f32)
        self.by_row = frame.scratch_view(self.lanes, f32)
        """What a row's scores are taken relative to, then the inverses of the sums."""
        waiting = 1 if plan.single else plan.group // plan.step
        self.totals = frame.scratch_view(waiting * self.lanes, f32)
        self.sums = self.products
        if not plan.single:
            self.sums = frame.scratch_view(plan.group * plan.sums_pitch, f32)
            self.tops = frame.scratch_view(waiting * self.lanes, f32)
            self.factors = frame.scratch_view(self.lanes, f32)
        self.to_zero = plan.op.nan_rows_zero is not None or plan.op.empty_rows_zero is not None
        """Rows that give no number are 0; their sums' inverses are."""
        self.head = Head(plan, Bindings(k))
        self.first: Index = 0
        self.rows: Index = 0
        self._build_products(dispatch.name)

    def _build_products(self, name: str) -> None:
        """The private functions: scores, the weighted sums of the values, and what makes powers of rows."""
        plan = self.plan
        row = 2 * plan.slab_pitch
        queries = Factor(
            bf16, plan.query_pitch, plan.rows * plan.query_pitch, plan.depth_steps * DEPTH, DEPTH
        )
        keys = Factor(f32, COLUMNS, plan.key_tile, WORDS, plan.parts * WORDS)
        powers = Factor(bf16, row, plan.rows * row, DEPTH, 2 * DEPTH)
        values = Factor(f32, COLUMNS, WORDS, plan.width_tiles * WORDS, plan.value_group)

        def spec(
            columns: int, a: Factor, b: Factor, panel: int, pitch: int, steps: int | None
        ) -> BlockProduct:
            return BlockProduct(plan.rows, plan.row_tiles, columns, plan.parts, a, b, panel, pitch, steps)

        def function(made: KernelBuilder) -> KernelBuilder:
            self.frame.private.append(made.func)
            return made

        self.scoring = spec(2, queries, keys, 2 * plan.key_tile, plan.slab_pitch, plan.depth_steps)
        self.score = function(build(self.scoring, f"{name}.scores"))
        self.weigh: list[tuple[int, KernelBuilder]] = []
        for columns, wanted in ((2, plan.width_tiles >= 2), (1, plan.width_tiles % 2 == 1)):
            if wanted:
                weighing = spec(columns, powers, values, 2 * WORDS, plan.sums_pitch, None)
                self.weigh.append((columns, function(build(weighing, f"{name}.values{columns}"))))
        causal = plan.op.causal is not None
        fixed: int | None = None
        if isinstance(plan.n_keys, int) and not causal:
            whole = plan.n_keys % plan.chunk == 0
            fixed = plan.n_keys if plan.single else plan.chunk if whole else None
        rows = PowerRows(plan.slab_pitch, plan.parts, plan.mask is not None, fixed, causal)
        self.power_rows = function(build_power_rows(rows, f"{name}.powers", fma=self.kernel.fma_available))

    def emit(self) -> Kernel:
        plan, k = self.plan, self.kernel
        groups = plan.n_groups
        total = dim_ops.mul(groups, plan.n_heads)
        number: Index = self.frame.ids[0]
        part: Index = 0
        if groups != 1:
            part, number = k.mod(number, k.dim(groups)), k.floordiv(number, k.dim(groups))
        self.head = Head.numbered(k, plan, number if plan.n_heads != 1 else 0)
        self.first, end = self.frame.part(part, plan.group, plan.n_rows)
        self.rows = k.sub(end, self.first)
        if isinstance(plan.n_rows, int) and plan.n_rows % plan.group == 0:
            self.rows = plan.group
        keys = k.dim(plan.n_keys)
        if plan.op.causal is not None:
            keys = k.min(keys, k.add(self.first, self.rows))
        blocks = k.ceildiv(self.rows, plan.step)
        if plan.single:
            self._chunk(0, keys, blocks)
        else:
            self._clear(blocks)
            k.loop(0, keys, plan.chunk, (), lambda start: self._chunk(start, keys, blocks))
            k.loop(0, blocks, 1, (), self._finish)
        why = f"blocks of {plan.step} rows, chunks of {plan.chunk} keys, {plan.parts} bf16 a number"
        return self.frame.finish([total], self.frame.scratch_bytes, NAME, why)

    def _chunk(self, start: Index, keys: Index, blocks: Index) -> None:
        """All rows and the chunk of ``keys`` from ``start`` on."""
        plan, k = self.plan, self.kernel
        count = keys
        if not plan.single:
            count = plan.chunk
            if not isinstance(keys, int) or keys % plan.chunk:
                count = k.min(k.sub(keys, start), plan.chunk)
        self.operands.pack_keys(self.head, start, count)
        self.operands.pack_values(self.head, start, count)
        first: Index = 0
        if plan.op.causal is not None and not plan.single:
            # Earlier blocks do not reach the chunk.
            first = k.floordiv(k.max(k.sub(start, self.first), 0), plan.step)
        self._score(first, start, count)
        k.loop(first, blocks, 1, (), lambda number: self._block(number, start, count, blocks))

    # -- a block of rows ---------------------------------------------------------------------------------

    def _place(self, number: Index) -> Index:
        """The first row of a block."""
        return self.kernel.add(self.first, self.kernel.mul(number, self.plan.step))

    def _valid(self, number: Index) -> Index:
        """How many rows a block has."""
        k, step = self.kernel, self.plan.step
        if isinstance(self.rows, int) and self.rows % step == 0:
            return step
        return k.min(k.sub(self.rows, k.mul(number, step)), step)

    def _state(self, number: Index) -> Index:
        """Where the block's numbers by row are kept from chunk to chunk."""
        return 0 if self.plan.single else self.kernel.mul(number, self.lanes)

    def _slab(self, number: Index) -> Index:
        """Where the block's scores begin."""
        k, plan = self.kernel, self.plan
        return k.mul(k.mod(number, plan.slabs), plan.step * plan.slab_pitch)

    def _groups(self, number: Index, start: Index, count: Index) -> Index:
        """How many groups of keys the block's rows reach."""
        k, plan = self.kernel, self.plan
        if plan.op.causal is not None:
            count = k.min(count, k.sub(k.add(self._place(number), plan.step), start))
        return k.ceildiv(count, DEPTH)

    def _score(self, number: Index, start: Index, count: Index) -> None:
        """The products of a block's queries with the chunk of ``count`` keys that begins at ``start``."""
        plan, k, operands = self.plan, self.kernel, self.operands
        operands.pack_queries(self.head, self._place(number), self._valid(number))
        groups = self._groups(number, start, count)
        slab = self._slab(number)
        k.call(
            self.score, [operands.queries, 0, operands.keys, 0, self.scores, slab, plan.depth_steps, groups]
        )

    def _block(self, number: Index, start: Index, count: Index, blocks: Index) -> None:
        """A block of rows whose scores are there; those of the next one are made."""
        plan, k, operands = self.plan, self.kernel, self.operands
        valid, groups = self._valid(number), self._groups(number, start, count)
        state, slab = self._state(number), self._slab(number)
        k.loop(0, valid, 1, (), lambda i: self._look(i, number, start, count))
        k.loop(0, self.lanes, LANES, (), lambda i: self._tops(i, k.add(state, i)))

        def powers(first: Index, end: Index) -> None:
            own: Index = 0
            if plan.op.causal is not None:
                own = k.sub(k.add(self._place(number), 1), start)
            k.call(
                self.power_rows,
                [self.scores, slab, self.powers, self.by_row, self.partials, first, end, own, count, groups,
                 self.scale],
            )  # fmt: skip

        if plan.slabs == 1:
            powers(0, valid)
        else:
            following = k.add(number, 1)
            k.if_(
                k.compare("slt", following, blocks),
                lambda: self._score_beside(following, start, count, valid, powers),
                lambda: powers(0, valid),
            )
        k.loop(0, self.lanes, LANES, (), lambda i: self._sums(i, k.add(state, i)))
        for columns, function in self.weigh:
            # Pairs of columns of tiles, then the one that is left.
            before = 0 if columns == 2 else plan.width_tiles - 1
            panels = plan.width_tiles // 2 if columns == 2 else 1
            k.call(
                function,
                [self.powers, k.mul(slab, 2), operands.values, before * WORDS, self.products,
                 before * COLUMNS, groups, panels],
            )  # fmt: skip
        if plan.single:
            self._finish(number)
            return
        first = k.mul(number, plan.step)
        k.loop(0, valid, 1, (), lambda i: self._accumulate(i, k.add(first, i)))

    def _score_beside(
        self, number: Index, start: Index, count: Index, valid: Index, powers: Callable[[Index, Index], None]
    ) -> None:
        """The products of a block, panel by panel, with ``powers`` of ``valid`` rows of the one before it in
        between: tiles keep one port busy, vectors the others."""
        plan, k, operands = self.plan, self.kernel, self.operands
        operands.pack_queries(self.head, self._place(number), self._valid(number))
        groups = self._groups(number, start, count)
        product = PanelProduct(k, self.scoring)
        slots = plan.depth_steps + 1
        each = -(-plan.step // (plan.key_groups * slots))
        """Rows in a slot: behind a step, or behind the panel."""

        def panel(at: Index) -> None:
            def beside(slot: int) -> None:
                first = k.mul(k.add(k.mul(at, slots), slot), each)
                powers(first, k.min(k.add(first, each), valid))

            a, b, c = (operands.queries, 0), (operands.keys, 0), (self.scores, self._slab(number))
            product.panel(at, a, b, c, beside)

        k.loop(0, groups, 1, (), panel)
        powers(k.mul(groups, slots * each), valid)

    def _look(self, i: Index, number: Index, start: Index, count: Index) -> None:
        """The greatest scores of row ``i`` of the block, by lane."""
        plan, k = self.plan, self.kernel
        row = k.add(self._place(number), i)
        if plan.op.causal is not None:
            count = k.max(k.min(count, k.sub(k.add(row, 1), start)), 0)
        self._fetch_results(row)
        at = k.add(self._slab(number), k.mul(i, plan.slab_pitch))
        k.vstore(self.softmax.maximum(at, count, self._adjust(row, start)), self.partials, k.mul(i, LANES))

    def _fetch_results(self, row: Index) -> None:
        """Ask for the lines that ``row`` of the results will be stored to, before they are."""
        plan, k = self.plan, self.kernel
        if plan.single and plan.output.step(plan.width) == 1:
            start = self.head.address(plan.output, row=row)
            narrow = plan.output.binding.value.type.element_type is not f32
            for column in range(0, plan.size(plan.width), 2 * LINE if narrow else LINE):
                k.prefetch(self.operands.memory(plan.output), k.add(start, column), write=True)

    def _joined(self, first: Index, join: Callable[[Value, Value], Value]) -> Value:
        k = self.kernel
        rows = [k.vload(self.partials, k.mul(k.add(first, i), LANES), LANES) for i in range(LANES)]
        return join_rows(k, rows, join)

    def _tops(self, i: Index, state: Index) -> None:
        """The greatest scores of 16 rows, and what was summed before relative to them."""
        k = self.kernel
        zero, lowest = k.constant(0.0, VECTOR), k.constant(-INFINITY, VECTOR)
        top = self._joined(i, lambda a, b: greater(k, a, b))
        before: Value | None = None
        if not self.plan.single:
            before = k.vload(self.tops, state, LANES)
            top = greater(k, top, before)
            k.vstore(top, self.tops, state)
        # A row without a key so far counts from 0.
        origin = k.select(k.cmpf("oeq", top, lowest), zero, top)
        k.vstore(origin, self.by_row, i)
        if before is not None:
            k.vstore(exp_not_positive(k, k.binary("arith.subf", before, origin)), self.factors, i)

    def _sums(self, i: Index, state: Index) -> None:
        """The sums of the powers of 16 rows."""
        k = self.kernel
        total = self._joined(i, lambda a, b: k.binary("arith.addf", a, b))
        if not self.plan.single:
            total = k.fma(k.vload(self.totals, state, LANES), k.vload(self.factors, i, LANES), total)
        k.vstore(total, self.totals, state)

    def _adjust(self, row: Index, start: Index) -> Adjust | None:
        """Applies the mask to scores of ``row``; None where there is none."""
        mask = self.plan.mask
        if mask is None:
            return None
        k, own = self.kernel, mask
        memory = self.operands.memory(mask)
        step = mask.step(self.plan.key)

        def adjust(score: Value, key: Index, inside: Value | None) -> Value:
            place = self.head.address(own, row=row, key=k.add(start, key))
            if step == 0:
                found = k.splat(k.load(memory, place), LANES)
            elif step == 1:
                found = k.vload(memory, place, LANES, inside)
            else:
                numbers = k.lane_numbers(LANES, index)
                offsets = k.binary("arith.muli", numbers, k.splat(k.value(k.dim(step)), LANES))
                found = k.gather(memory, place, offsets, inside)
            scale = k.splat(self.scale, LANES)
            if memory.type.element_type is i1:
                scaled = k.binary("arith.mulf", score, scale)
                return k.select(found, scaled, k.constant(-INFINITY, VECTOR))
            return k.fma(score, scale, found)

        return adjust

    # -- results -----------------------------------------------------------------------------------------

    def _clear(self, blocks: Index) -> None:
        """Before the first key."""
        k = self.kernel
        zero, lowest = k.constant(0.0, VECTOR), k.constant(-INFINITY, VECTOR)
        size = k.mul(self.rows, self.plan.sums_pitch)
        k.loop(0, size, LANES, (), lambda i: k.vstore(zero, self.sums, i))

        def state(i: Index) -> None:
            k.vstore(lowest, self.tops, i)
            k.vstore(zero, self.totals, i)

        k.loop(0, k.mul(blocks, self.lanes), LANES, (), state)

    def _accumulate(self, i: Index, row: Index) -> None:
        """The sums of ``row`` shrink, the products of row ``i`` of the block are added."""
        k, pitch = self.kernel, self.plan.sums_pitch
        factor = k.splat(k.load(self.factors, i), LANES)
        for column in range(0, self.plan.width_tiles * COLUMNS, LANES):
            at = k.add(k.mul(row, pitch), column)
            made = k.vload(self.products, k.add(k.mul(i, pitch), column), LANES)
            k.vstore(k.fma(k.vload(self.sums, at, LANES), factor, made), self.sums, at)

    def _finish(self, number: Index) -> None:
        """A block's sums divided by the sums of the powers are its results."""
        plan, k = self.plan, self.kernel
        one, zero = k.constant(1.0, VECTOR), k.constant(0.0, VECTOR)
        state = self._state(number)

        def invert(i: Index) -> None:
            total = k.vload(self.totals, k.add(state, i), LANES)
            inverse = k.binary("arith.divf", one, total)
            if not isinstance(plan.n_keys, int):
                # No key at all: a sum over nothing.
                inverse = k.select(k.compare("sgt", k.dim(plan.n_keys), 0), inverse, zero)
            if self.to_zero:
                # A sum of 0 is that of no key, NaN that of scores that are no numbers.
                predicate = "ogt" if plan.op.nan_rows_zero is not None else "une"
                inverse = k.select(k.cmpf(predicate, total, zero), inverse, zero)
            k.vstore(inverse, self.by_row, i)

        k.loop(0, self.lanes, LANES, (), invert)
        place, first = self._place(number), 0 if plan.single else k.mul(number, plan.step)
        k.loop(0, self._valid(number), 1, (), lambda i: self._store(i, k.add(first, i), k.add(place, i)))

    def _store(self, i: Index, own: Index, row: Index) -> None:
        """Row ``i`` of the block, which is row ``own`` of the sums and ``row`` of the results."""
        plan, k = self.plan, self.kernel
        width = plan.size(plan.width)
        memory, output = self.operands.memory(plan.output), plan.output
        inverse = k.load(self.by_row, i)

        def divided(value: Value, lanes: int) -> Value:
            factor = k.splat(inverse, lanes)
            value = k.binary("arith.mulf", value, factor)
            if not self.to_zero:
                return value
            zero = k.splat(k.constant(0.0, f32), lanes)
            return k.select(k.cmpf("oeq", factor, zero), zero, value)

        def stored(value: Value) -> Value:
            element = memory.type.element_type
            return value if element is f32 else k.cast("arith.truncf", value, element)

        start = k.mul(own, plan.sums_pitch)
        if output.step(plan.width) != 1:

            def one(column: Index) -> None:
                value = divided(k.load(self.sums, k.add(start, column)), 1)
                k.store(stored(value), memory, self.head.address(output, row=row, width=column))

            k.loop(0, width, 1, (), one)
            return
        place = self.head.address(output, row=row)
        for column in range(0, width, LANES):
            value = divided(k.vload(self.sums, k.add(start, column), LANES), LANES)
            mask = None if width - column >= LANES else k.mask_below(width - column, LANES)
            k.vstore(stored(value), memory, k.add(place, column), mask)
