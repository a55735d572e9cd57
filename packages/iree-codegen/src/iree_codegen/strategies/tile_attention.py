"""``tile-attention``: scores and the sum of the values on matrix tiles, in bf16 parts; the softmax in f32.

Queries run along rows. A workgroup packs keys and values once (``tile_attention_operands.py``) and goes
through its rows block by block: tiles of scores go to a slab in f32, every row of it becomes powers in bf16
where it lies, and tiles multiply them by the values. What divides a row by its sum stores it.
"""

from __future__ import annotations

from iree_codegen import dims as dim_ops
from iree_codegen.attention_plan import Head
from iree_codegen.dispatch import Dispatch
from iree_codegen.indexing import Bindings
from iree_codegen.kernel import Kernel, KernelFrame
from iree_codegen.kernel_builder import Index, KernelBuilder
from iree_codegen.online_softmax import INFINITY, exp_not_positive, greater
from iree_codegen.tile_attention_kernel import BlockProduct, build
from iree_codegen.tile_attention_operands import LANES, TileOperands
from iree_codegen.tile_attention_plan import TileAttentionPlan, plan_tile_attention
from iree_codegen.tile_attention_softmax import Adjust, RowSoftmax
from iree_codegen.tile_kernel import WORDS, Factor
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
        offset = frame.allocate(4 * plan.step * plan.slab_pitch)
        self.scores = k.view(frame.scratch, offset, plan.step * plan.slab_pitch, f32)
        self.powers = k.view(frame.scratch, offset, 2 * plan.step * plan.slab_pitch, bf16)
        self.softmax = RowSoftmax(k, self.scores, self.powers, plan.parts)
        self.products = frame.scratch_view(plan.step * plan.sums_pitch, f32)
        self.waiting = plan.step if plan.single else plan.group
        """Rows whose results wait for their division."""
        a_row = -(-self.waiting // LANES) * LANES
        self.totals = frame.scratch_view(a_row, f32)
        self.inverses = frame.scratch_view(a_row, f32)
        self.sums = self.products
        if not plan.single:
            self.sums = frame.scratch_view(plan.group * plan.sums_pitch, f32)
            self.tops = frame.scratch_view(a_row, f32)
            self.factors = frame.scratch_view(-(-plan.step // LANES) * LANES, f32)
        self.head = Head(plan, Bindings(k))
        self.first: Index = 0
        self.rows: Index = 0
        self._build_products(dispatch.name)

    def _build_products(self, name: str) -> None:
        plan = self.plan
        row = 2 * plan.slab_pitch
        queries = Factor(
            bf16, plan.query_pitch, plan.rows * plan.query_pitch, plan.depth_steps * DEPTH, DEPTH
        )
        keys = Factor(f32, COLUMNS, plan.key_tile, WORDS, plan.parts * WORDS)
        powers = Factor(bf16, row, plan.rows * row, DEPTH, 2 * DEPTH)
        values = Factor(f32, COLUMNS, WORDS, plan.width_tiles * WORDS, plan.value_group)

        def product(
            suffix: str, columns: int, a: Factor, b: Factor, panel: int, pitch: int, steps: int | None
        ) -> KernelBuilder:
            spec = BlockProduct(plan.rows, plan.row_tiles, columns, plan.parts, a, b, panel, pitch, steps)
            function = build(spec, f"{name}.{suffix}")
            self.frame.private.append(function.func)
            return function

        self.score = product("scores", 2, queries, keys, 2 * plan.key_tile, plan.slab_pitch, plan.depth_steps)
        self.weigh = [
            (columns, product(f"values{columns}", columns, powers, values, 2 * WORDS, plan.sums_pitch, None))
            for columns in (2, 1)
            if (plan.width_tiles >= 2 if columns == 2 else plan.width_tiles % 2)
        ]

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
        if plan.single:
            self._pack(0, keys)
            k.loop(0, self.rows, plan.step, (), lambda first: self._block(first, 0, keys))
        else:
            self._clear()
            k.loop(0, keys, plan.chunk, (), lambda start: self._chunk(start, keys))
            self._finish(self.first, self.rows)
        why = f"blocks of {plan.step} rows, chunks of {plan.chunk} keys, {plan.parts} bf16 a number"
        return self.frame.finish([total], self.frame.scratch_bytes, NAME, why)

    def _pack(self, start: Index, count: Index) -> None:
        self.operands.pack_keys(self.head, start, count)
        self.operands.pack_values(self.head, start, count)

    def _chunk(self, start: Index, keys: Index) -> None:
        """All rows and the chunk of ``keys`` from ``start`` on."""
        plan, k = self.plan, self.kernel
        count: Index = plan.chunk
        if not isinstance(keys, int) or keys % plan.chunk:
            count = k.min(k.sub(keys, start), plan.chunk)
        self._pack(start, count)

        def block(first: Index) -> None:
            if plan.op.causal is None:
                self._block(first, start, count)
                return
            reached = k.sub(k.add(k.add(self.first, first), plan.step), start)
            k.if_(k.compare("sgt", reached, 0), lambda: self._block(first, start, count))

        k.loop(0, self.rows, plan.step, (), block)

    # -- a block of rows ---------------------------------------------------------------------------------

    def _block(self, first: Index, start: Index, count: Index) -> None:
        """Rows from ``first`` of the workgroup's on and ``count`` packed keys, which begin at ``start``."""
        plan, k, operands = self.plan, self.kernel, self.operands
        place = k.add(self.first, first)
        valid: Index = plan.step
        if not isinstance(self.rows, int) or self.rows % plan.step:
            valid = k.min(k.sub(self.rows, first), plan.step)
        seen = count
        if plan.op.causal is not None:
            seen = k.min(count, k.sub(k.add(place, plan.step), start))
        groups = k.ceildiv(seen, DEPTH)
        operands.pack_queries(self.head, place, valid)
        k.call(self.score, [operands.queries, 0, operands.keys, 0, self.scores, 0, plan.depth_steps, groups])
        k.loop(0, valid, 1, (), lambda i: self._row(i, first, start, count, groups))
        for columns, function in self.weigh:
            # Pairs of columns of tiles, then the one that is left.
            before = 0 if columns == 2 else plan.width_tiles - 1
            panels = plan.width_tiles // 2 if columns == 2 else 1
            k.call(
                function,
                [self.powers, 0, operands.values, before * WORDS, self.products, before * COLUMNS, groups,
                 panels],
            )  # fmt: skip
        if plan.single:
            self._finish(place, valid)
        else:
            k.loop(0, valid, 1, (), lambda i: self._accumulate(i, k.add(first, i)))

    def _row(self, i: Index, first: Index, start: Index, count: Index, groups: Index) -> None:
        """Scores of row ``i`` of the block become powers; its sum is kept."""
        plan, k, softmax = self.plan, self.kernel, self.softmax
        place = k.add(k.add(self.first, first), i)
        own = count
        if plan.op.causal is not None:
            own = k.max(k.min(count, k.sub(k.add(place, 1), start)), 0)
        at = k.mul(i, plan.slab_pitch)
        zero, lowest = k.constant(0.0, VECTOR), k.constant(-INFINITY, VECTOR)
        top = softmax.maximum(at, own, self._adjust(place, start))
        state: Index = i
        if not plan.single:
            state = k.add(first, i)
            before = k.splat(k.load(self.tops, state), LANES)
            top = greater(k, top, before)
            k.store(k.extract(top, 0), self.tops, state)
        # A row without a key so far counts from 0.
        origin = k.select(k.cmpf("oeq", top, lowest), zero, top)
        total = k.extract(softmax.exponentiate(at, own, groups, origin), 0)
        if not plan.single:
            factor = exp_not_positive(k, k.binary("arith.subf", before, origin))
            shrinks = k.extract(factor, 0)
            k.store(shrinks, self.factors, i)
            total = k.fma(k.load(self.totals, state), shrinks, total)
        k.store(total, self.totals, state)

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
            if memory.type.element_type is i1:
                return k.select(found, score, k.constant(-INFINITY, VECTOR))
            return k.binary("arith.addf", score, found)

        return adjust

    # -- results -----------------------------------------------------------------------------------------

    def _clear(self) -> None:
        """Before the first key."""
        k = self.kernel
        zero, lowest = k.constant(0.0, VECTOR), k.constant(-INFINITY, VECTOR)
        size = k.mul(self.rows, self.plan.sums_pitch)
        k.loop(0, size, LANES, (), lambda i: k.vstore(zero, self.sums, i))

        def state(i: Index) -> None:
            k.vstore(lowest, self.tops, i)
            k.vstore(zero, self.totals, i)

        k.loop(0, self.waiting, LANES, (), state)

    def _accumulate(self, i: Index, row: Index) -> None:
        """The sums of ``row`` shrink, the products of row ``i`` of the block are added."""
        k, pitch = self.kernel, self.plan.sums_pitch
        factor = k.splat(k.load(self.factors, i), LANES)
        for column in range(0, self.plan.width_tiles * COLUMNS, LANES):
            at = k.add(k.mul(row, pitch), column)
            made = k.vload(self.products, k.add(k.mul(i, pitch), column), LANES)
            k.vstore(k.fma(k.vload(self.sums, at, LANES), factor, made), self.sums, at)

    def _finish(self, first: Index, rows: Index) -> None:
        """Sums divided by the sums of the powers are the results of ``rows`` rows from ``first`` on."""
        plan, k = self.plan, self.kernel
        one, zero = k.constant(1.0, VECTOR), k.constant(0.0, VECTOR)

        def invert(i: Index) -> None:
            inverse = k.binary("arith.divf", one, k.vload(self.totals, i, LANES))
            if not isinstance(plan.n_keys, int):
                # No key at all: a sum over nothing.
                inverse = k.select(k.compare("sgt", k.dim(plan.n_keys), 0), inverse, zero)
            k.vstore(inverse, self.inverses, i)

        k.loop(0, rows, LANES, (), invert)
        k.loop(0, rows, 1, (), lambda i: self._store(i, k.add(first, i)))

    def _store(self, i: Index, row: Index) -> None:
        plan, k = self.plan, self.kernel
        width = plan.size(plan.width)
        memory, output = self.operands.memory(plan.output), plan.output
        inverse, total = k.load(self.inverses, i), k.load(self.totals, i)
        # A sum of 0 is that of no key, NaN that of scores that are no numbers.
        predicate = "ogt" if plan.op.nan_rows_zero is not None else "une"
        to_zero = plan.op.nan_rows_zero is not None or plan.op.empty_rows_zero is not None

        def divided(value: Value, lanes: int) -> Value:
            value = k.binary("arith.mulf", value, k.splat(inverse, lanes))
            if not to_zero:
                return value
            zero = k.splat(k.constant(0.0, f32), lanes)
            return k.select(k.cmpf(predicate, k.splat(total, lanes), zero), value, zero)

        start = k.mul(i, plan.sums_pitch)
        if output.step(plan.width) != 1:

            def one(column: Index) -> None:
                value = divided(k.load(self.sums, k.add(start, column)), 1)
                k.store(value, memory, self.head.address(output, row=row, width=column))

            k.loop(0, width, 1, (), one)
            return
        place = self.head.address(output, row=row)
        for column in range(0, width, LANES):
            value = divided(k.vload(self.sums, k.add(start, column), LANES), LANES)
            mask = None if width - column >= LANES else k.mask_below(width - column, LANES)
            k.vstore(value, memory, k.add(place, column), mask)
