"""``attention``: scores, softmax and the weighted sum of the values for a block of queries, in one go.

A workgroup has one head and a block of queries, which it transposes into scratch once, scaled. Chunk by chunk
of the keys it multiplies (scores ``[keys][queries]``), takes the softmax as far as it is known, and adds the
values' products to sums ``[width][queries]``. At the end these are divided and transposed back to where the
output wants them. Keys, values and masks are read where they lie.
"""

from __future__ import annotations

from iree_codegen import dims as dim_ops
from iree_codegen.attention_plan import AttentionPlan, Head, Operand, plan_attention
from iree_codegen.cost_model import LATENCY, balanced
from iree_codegen.dims import Dim
from iree_codegen.dispatch import Dispatch
from iree_codegen.indexing import Bindings
from iree_codegen.kernel import Kernel, KernelFrame
from iree_codegen.kernel_builder import Index, vector_of
from iree_codegen.micro_kernel import ARGUMENT, Loop, MicroKernel, MicroKernels, Number
from iree_codegen.online_softmax import INFINITY, Adjust, OnlineSoftmax, Statistics
from iree_codegen.strategies.transpose import transpose_block
from iree_codegen.workgroup_description import WorkgroupDescription
from iree_core_ir.ir.operation import Value
from iree_core_ir.ir.types import f32, i1, i32, index

NAME = "attention"


def attention(dispatch: Dispatch, description: WorkgroupDescription) -> Kernel | None:
    plan = plan_attention(dispatch, description)
    return None if plan is None else _Emitter(dispatch, description, plan).emit()


class _Emitter:
    def __init__(self, dispatch: Dispatch, description: WorkgroupDescription, plan: AttentionPlan) -> None:
        self.plan = plan
        self.frame = KernelFrame(dispatch, fma=description.fma)
        self.kernel = self.frame.kernel
        self.lanes = plan.lanes
        self.masks: bool = description.masks
        self.tiles = MicroKernels(dispatch.name, description.fma)
        view = self.frame.scratch_view
        block = plan.vectors * plan.lanes
        self.queries = view(plan.size(plan.depth) * block, f32)
        self.scores = view(plan.chunk * block, f32)
        self.sums = view(plan.size(plan.width) * block, f32)
        self.square = view(plan.lanes * plan.lanes, f32)
        self.scale = self.frame.elements.scalar(plan.op.inputs[3])
        self.head = Head(plan, Bindings(self.kernel))

    def emit(self) -> Kernel:
        plan, k = self.plan, self.kernel
        step = plan.vectors * self.lanes
        blocks = dim_ops.ceildiv(plan.n_rows, step)
        total = dim_ops.mul(blocks, plan.n_heads)
        number: Index = self.frame.ids[0]
        first = 0 if blocks == 1 else k.mul(k.mod(number, k.dim(blocks)), step)
        self.head = Head.numbered(k, plan, k.floordiv(number, k.dim(blocks)))
        rows = plan.n_rows
        rest = rows % step if isinstance(rows, int) else None
        if rest == 0:
            _Block(self, plan.vectors, first, step).run()
        elif rest is None:
            _Block(self, plan.vectors, first, k.min(k.sub(k.dim(rows), first), step)).run()
        else:
            last = _Block(self, -(-rest // self.lanes), first, rest)
            if isinstance(blocks, int) and blocks == 1:
                last.run()
            else:
                full = _Block(self, plan.vectors, first, step)
                k.if_(k.compare("sle", k.add(first, step), k.dim(rows)), full.run, last.run)
        self.frame.private = self.tiles.functions
        why = f"blocks of {step} queries, chunks of {plan.chunk} keys"
        return self.frame.finish([total], self.frame.scratch_bytes, NAME, why)

    def memory(self, operand: Operand) -> Value:
        return self.frame.binding_args[operand.binding.index]

    def as_stored(self, value: Value) -> Value:
        """A result in the output's type."""
        element = self.plan.output.binding.value.type.element_type
        return value if element is f32 else self.kernel.cast("arith.truncf", value, element)


class _Block:
    """``vectors`` vectors of queries from row ``first`` on, ``rows`` of which are there."""

    def __init__(self, emitter: _Emitter, vectors: int, first: Index, rows: Index) -> None:
        self.own = emitter
        self.plan = emitter.plan
        self.kernel = emitter.kernel
        self.lanes = emitter.lanes
        self.vectors = vectors
        self.width = vectors * emitter.lanes
        self.first = first
        self.rows = rows

    @property
    def whole(self) -> bool:
        """Every lane has a query."""
        return isinstance(self.rows, int) and self.rows == self.width

    def run(self) -> None:
        plan, k = self.plan, self.kernel
        self._pack_queries()
        softmax = OnlineSoftmax(k, self.own.scores, self.vectors, self.lanes)
        n_keys: Index = k.dim(plan.n_keys)
        if plan.op.causal is not None:
            n_keys = k.min(n_keys, k.add(self.first, self.width))
        chunk = plan.chunk
        if isinstance(n_keys, int) and n_keys <= chunk:
            self._scores(0, n_keys)
            found, _ = softmax.chunk(None, 0, n_keys, self._adjust())
            self._accumulate(0, n_keys, False)
            self._finish(found, n_keys)
            return
        zero = k.constant(0.0, vector_of(self.lanes, f32))
        size = plan.size(plan.width) * self.width
        k.loop(0, size, self.lanes, (), lambda i: k.vstore(zero, self.own.sums, i))

        def part(first: Index, count: Index, state: Statistics) -> Statistics:
            self._scores(first, count)
            found, factors = softmax.chunk(state, first, count, self._adjust())
            self._shrink(factors)
            self._accumulate(first, count, True)
            return found

        def one(number: Index, *state: Value) -> list[Value]:
            first = k.mul(number, chunk)
            return part(first, chunk, Statistics.of(state)).values()

        full = k.floordiv(n_keys, chunk)
        start = Statistics.start(k, self.vectors, self.lanes)
        found = Statistics.of(k.loop(0, full, 1, start.values(), one))
        first = k.mul(full, chunk)
        rest = k.sub(n_keys, first)
        if not isinstance(rest, int):
            state = found
            values = k.if_(
                k.compare("sgt", rest, 0), lambda: part(first, rest, state).values(), lambda: state.values()
            )
            found = Statistics.of(values)
        elif rest:
            found = part(first, rest, found)
        self._finish(found, n_keys)

    # -- queries -----------------------------------------------------------------------------------------

    def _row(self, number: Index) -> Index:
        """The row of query ``number`` of the block; the last one again behind the end."""
        k = self.kernel
        if self.whole:
            return k.add(self.first, number)
        return k.add(self.first, k.min(number, k.sub(self.rows, 1)))

    def _pack_queries(self) -> None:
        """The block as ``[depth][queries]``, scaled."""
        plan, k, lanes, own = self.plan, self.kernel, self.lanes, self.own
        depth = plan.size(plan.depth)
        memory = own.memory(plan.query)
        if plan.query.step(plan.depth) != 1 or (depth % lanes and not own.masks):

            def one(at: Index, query: Index) -> None:
                place = own.head.address(plan.query, row=self._row(query), depth=at)
                scaled = k.binary("arith.mulf", k.load(memory, place), own.scale)
                k.store(scaled, own.queries, k.add(k.mul(at, self.width), query))

            k.loop(0, depth, 1, (), lambda d: k.loop(0, self.width, 1, (), lambda q: one(d, q)))
            return
        scale = k.splat(own.scale, lanes)

        def block(first: Index, count: int) -> None:
            mask = None if count == lanes else k.mask_below(count, lanes)
            for v in range(self.vectors):
                rows = []
                for i in range(lanes):
                    place = own.head.address(plan.query, row=self._row(v * lanes + i), depth=first)
                    rows.append(k.vload(memory, place, lanes, mask))
                for i, column in enumerate(transpose_block(k, rows)[:count]):
                    scaled = k.binary("arith.mulf", column, scale)
                    k.vstore(scaled, own.queries, k.add(k.mul(k.add(first, i), self.width), v * lanes))

        k.loop(0, depth // lanes * lanes, lanes, (), lambda first: block(first, lanes))
        if depth % lanes:
            block(depth // lanes * lanes, depth % lanes)

    # -- products ----------------------------------------------------------------------------------------

    def _product(
        self,
        rows: int,
        a: tuple[Value, Index],
        steps: tuple[Dim, Dim],
        depth: Index,
        b: Value,
        c: tuple[Value, Index],
        accumulate: bool,
    ) -> None:
        """``c[rows][queries] (+)= sum over depth of a[row, d] * b[d][queries]``; ``steps`` of ``a`` along
        rows and depth."""
        k = self.kernel
        numbers: list[Index] = []

        def number(dim: Dim | Index) -> Number:
            if isinstance(dim, int):
                return dim
            numbers.append(k.dim(dim) if not isinstance(dim, Value) else dim)
            return ARGUMENT

        row, step = steps
        row_number = number(row)
        taps: tuple[tuple[int, int], ...] = ((0, 0),)
        count: Dim | Index = depth
        a_step, b_step = step, self.width
        if isinstance(depth, int) and isinstance(step, int):
            unroll = next(u for u in (4, 3, 2, 1) if depth % u == 0)
            taps = tuple((u * step, u * self.width) for u in range(unroll))
            count, a_step, b_step = depth // unroll, step * unroll, self.width * unroll
        loop = Loop(number(count), number(a_step), b_step)
        ways = 1
        while rows * self.vectors * ways < 2 * LATENCY and ways * 2 <= len(taps):
            ways *= 2
        spec = MicroKernel(
            rows, self.vectors, self.lanes, f32, row_number, (loop,), taps,
            c_row=self.width, ways=ways, accumulate=accumulate,
        )  # fmt: skip
        self.own.tiles.call(k, spec, a, (b, 0), c, numbers)

    def _scores(self, first: Index, count: Index) -> None:
        """Scores of ``count`` keys from ``first`` on."""
        plan, k, own = self.plan, self.kernel, self.own
        memory = own.memory(plan.keys)
        steps = plan.keys.step(plan.key), plan.keys.step(plan.depth)

        def tile(start: Index, rows: int) -> None:
            place = own.head.address(plan.keys, key=k.add(first, start))
            target = own.scores, k.mul(start, self.width)
            self._product(rows, (memory, place), steps, plan.size(plan.depth), own.queries, target, False)

        most = plan.tile_rows(self.vectors, plan.chunk)
        if isinstance(count, int):
            larger, rows, rest = balanced(count, most)
            done = larger * (rows + 1)
            k.loop(0, larger, 1, (), lambda t: tile(k.mul(t, rows + 1), rows + 1))
            k.loop(0, rest, 1, (), lambda t: tile(k.add(k.mul(t, rows), done), rows))
            return

        def tiles() -> None:
            """The last tile is moved back over its neighbour."""
            k.loop(0, count, most, (), lambda start: tile(k.min(start, k.sub(count, most)), most))

        def singles() -> None:
            k.loop(0, count, 1, (), lambda start: tile(start, 1))

        k.if_(k.compare("sge", count, most), tiles, singles)

    def _accumulate(self, first: Index, count: Index, accumulate: bool) -> None:
        """The sums of values, weighted by the slab's powers."""
        plan, k, own = self.plan, self.kernel, self.own
        memory = own.memory(plan.values)
        steps = plan.values.step(plan.width), plan.values.step(plan.key)
        width = plan.size(plan.width)
        rows = plan.tile_rows(self.vectors, width)

        def tile(start: Index, rows: int) -> None:
            place = own.head.address(plan.values, key=first, width=start)
            target = own.sums, k.mul(start, self.width)
            self._product(rows, (memory, place), steps, count, own.scores, target, accumulate)

        full = width // rows
        k.loop(0, full, 1, (), lambda t: tile(k.mul(t, rows), rows))
        if width % rows:
            tile(full * rows, width % rows)

    def _shrink(self, factors: list[Value]) -> None:
        """Multiply the sums by ``factors``, one a vector of queries."""
        k, lanes, sums = self.kernel, self.lanes, self.own.sums

        def row(i: Index) -> None:
            for v, factor in enumerate(factors):
                at = k.add(k.mul(i, self.width), v * lanes)
                k.vstore(k.binary("arith.mulf", k.vload(sums, at, lanes), factor), sums, at)

        k.loop(0, self.plan.size(self.plan.width), 1, (), row)

    # -- masks -------------------------------------------------------------------------------------------

    def _adjust(self) -> Adjust | None:
        """Applies the mask and causality to a vector of scores; None where there is neither."""
        plan = self.plan
        if plan.mask is None and plan.op.causal is None:
            return None

        def adjust(score: Value, key: Index, vector: int) -> Value:
            if plan.mask is not None:
                score = self._masked(plan.mask, score, key, vector)
            if plan.op.causal is not None:
                score = self._causal(score, key, vector)
            return score

        return adjust

    def _masked(self, mask: Operand, score: Value, key: Index, vector: int) -> Value:
        k, lanes, own = self.kernel, self.lanes, self.own
        memory = own.memory(mask)
        step = mask.step(self.plan.row)
        start = vector * lanes
        whole = self.whole or (isinstance(self.rows, int) and self.rows >= start + lanes)
        if step == 0:
            found = k.load(memory, own.head.address(mask, key=key))
        elif step == 1 and (whole or own.masks):
            place = own.head.address(mask, key=key, row=k.add(self.first, start))
            inside = None if whole else k.mask_below(k.sub(self.rows, start), lanes)
            found = k.vload(memory, place, lanes, inside)
        else:
            place = own.head.address(mask, key=key, row=self.first)
            numbers = k.binary(
                "arith.addi", k.lane_numbers(lanes, index), k.splat(k.constant(start, index), lanes)
            )
            if not whole:
                last = k.splat(k.value(k.sub(self.rows, 1)), lanes)
                numbers = k.binary("arith.minsi", numbers, last)
            offsets = k.binary("arith.muli", numbers, k.splat(k.value(k.dim(step)), lanes))
            found = k.gather(memory, place, offsets)
        if memory.type.element_type is i1:
            return k.select(found, score, k.constant(-INFINITY, score.type))
        return k.binary("arith.addf", score, found)

    def _causal(self, score: Value, key: Index, vector: int) -> Value:
        k, lanes = self.kernel, self.lanes
        row = k.pure("arith.index_cast", (k.value(k.add(self.first, vector * lanes)),), i32)
        rows = k.binary("arith.addi", k.lane_numbers(lanes, i32), k.splat(row, lanes))
        column = k.pure("arith.index_cast", (k.value(key),), i32)
        inside = k.cmpi("sge", rows, k.splat(column, lanes))
        return k.select(inside, score, k.constant(-INFINITY, score.type))

    # -- results -----------------------------------------------------------------------------------------

    def _finish(self, found: Statistics, n_keys: Index) -> None:
        """Sums over the powers' sums, transposed to ``[queries][width]`` and stored."""
        plan, k, lanes, own = self.plan, self.kernel, self.lanes, self.own
        type = vector_of(lanes, f32)
        one, zero = k.constant(1.0, type), k.constant(0.0, type)
        inverse = [k.binary("arith.divf", one, total) for total in found.total]
        if not isinstance(n_keys, int):
            # No key at all: a sum over nothing.
            some = k.compare("sgt", n_keys, 0)
            inverse = [k.select(some, x, zero) for x in inverse]
        # A sum of 0 is that of no key, NaN that of scores that are no numbers.
        to_zero = plan.op.nan_rows_zero is not None or plan.op.empty_rows_zero is not None
        good = [k.cmpf("ogt" if plan.op.nan_rows_zero is not None else "une", t, zero) for t in found.total]

        def divided(at: Index, v: int) -> Value:
            value = k.vload(own.sums, k.add(k.mul(at, self.width), v * lanes), lanes)
            value = k.binary("arith.mulf", value, inverse[v])
            return k.select(good[v], value, zero) if to_zero else value

        width = plan.size(plan.width)
        memory = own.memory(plan.output)
        if plan.output.step(plan.width) != 1 or (width % lanes and not own.masks):

            def row(at: Index) -> None:
                for v in range(self.vectors):
                    k.vstore(divided(at, v), own.square, 0)

                    def element(query: Index, v: int = v) -> None:
                        place = own.head.address(
                            plan.output, row=k.add(self.first, k.add(query, v * lanes)), width=at
                        )
                        k.store(own.as_stored(k.load(own.square, query)), memory, place)

                    k.loop(0, self._valid(v), 1, (), element)

            k.loop(0, width, 1, (), row)
            return

        def block(first: Index, count: int) -> None:
            mask = None if count == lanes else k.mask_below(count, lanes)
            for v in range(self.vectors):
                columns = [divided(k.add(first, min(i, count - 1)), v) for i in range(lanes)]
                rows = transpose_block(k, columns)
                valid = self._valid(v)
                if isinstance(valid, int):
                    for i in range(valid):
                        place = own.head.address(
                            plan.output, row=k.add(self.first, v * lanes + i), width=first
                        )
                        k.vstore(own.as_stored(rows[i]), memory, place, mask)
                    continue
                for i, vector in enumerate(rows):
                    k.vstore(vector, own.square, i * lanes)

                def store(i: Index, v: int = v) -> None:
                    place = own.head.address(
                        plan.output, row=k.add(self.first, k.add(i, v * lanes)), width=first
                    )
                    vector = own.as_stored(k.vload(own.square, k.mul(i, lanes), lanes))
                    k.vstore(vector, memory, place, mask)

                k.loop(0, valid, 1, (), store)

        k.loop(0, width // lanes * lanes, lanes, (), lambda first: block(first, lanes))
        if width % lanes:
            block(width // lanes * lanes, width % lanes)

    def _valid(self, vector: int) -> Index:
        """How many queries the vector has."""
        k = self.kernel
        left = k.sub(self.rows, vector * self.lanes)
        return min(left, self.lanes) if isinstance(left, int) else k.max(k.min(left, self.lanes), 0)
