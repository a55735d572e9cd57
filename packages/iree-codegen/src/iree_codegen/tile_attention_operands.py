"""Queries, keys and values of an attention, from where they lie into scratch as tiles read them.

Queries become rows of bf16 numbers. Keys become pairs of numbers along the depth, 16 keys side by side: words
of two numbers, transposed in registers. Values become pairs of numbers along the keys, 16 columns side by
side. Numbers with two parts have both, apart; those that are bf16 in memory are only moved. Zeros stand
where a sum runs further than an operand.
"""

from __future__ import annotations

from collections.abc import Callable

from iree_codegen.attention_plan import Head, Operand
from iree_codegen.kernel import KernelFrame
from iree_codegen.kernel_builder import Index
from iree_codegen.product_tiles import bf16_parts
from iree_codegen.strategies.transpose import transpose_block
from iree_codegen.tile_attention_plan import TileAttentionPlan
from iree_codegen.tile_kernel import WORDS
from iree_codegen.tile_panels import COLUMNS, DEPTH
from iree_core_ir.ir.operation import Value
from iree_core_ir.ir.types import VectorType, bf16, element_of, f32

LANES = 16
"""f32 numbers of a vector: as many as a row of a tile has words."""
PAIRS = DEPTH // 2


class TileOperands:
    """Scratch for the converted operands, and the code that fills it."""

    def __init__(self, plan: TileAttentionPlan, frame: KernelFrame) -> None:
        self.plan = plan
        self.frame = frame
        self.kernel = frame.kernel
        self.queries = frame.scratch_view(plan.step * plan.query_pitch, bf16)
        self.keys, self.key_numbers = self._words(2 * plan.key_groups * plan.key_tile)
        self.values, self.value_numbers = self._words(plan.key_groups * plan.value_group)
        self.zero = self.kernel.constant(0.0, VectorType((LANES,), bf16))

    def _words(self, count: int) -> tuple[Value, Value]:
        """Scratch as words (typed f32) and as the bf16 numbers in them."""
        offset = self.frame.allocate(4 * count)
        view = self.kernel.view
        return (
            view(self.frame.scratch, offset, count, f32),
            view(self.frame.scratch, offset, 2 * count, bf16),
        )

    def memory(self, operand: Operand) -> Value:
        return self.frame.binding_args[operand.binding.index]

    def _parts(self, operand: Operand, at: Index, first: int, size: int) -> list[Value]:
        """The parts of 16 numbers of a row of ``size`` that lies at ``at``, from the ``first`` on; zeros
        behind it."""
        k, count = self.kernel, size - first
        if count <= 0:
            return [self.zero] * self.plan.parts
        mask = None if count >= LANES else k.mask_below(count, LANES)
        return self._split(k.vload(self.memory(operand), k.add(at, first), LANES, mask), LANES)

    def _part(self, operand: Operand, at: Index) -> list[Value]:
        """The parts of the number at ``at``."""
        return self._split(self.kernel.load(self.memory(operand), at), 1)

    def _split(self, value: Value, lanes: int) -> list[Value]:
        if element_of(value.type) is bf16:
            return [value]
        return bf16_parts(self.kernel, value, lanes, self.plan.parts)

    # -- queries -------------------------------------------------------------------------------------------

    def pack_queries(self, head: Head, first: Index, rows: Index) -> None:
        """``rows`` queries from ``first`` on: ``[rows][parts][depth]``."""
        plan, k = self.plan, self.kernel
        depth, padded = plan.size(plan.depth), plan.depth_steps * DEPTH

        def store(parts: list[Value], at: Index) -> None:
            for number, part in enumerate(parts):
                k.vstore(part, self.queries, k.add(at, number * padded))

        def row(i: Index) -> None:
            target = k.mul(i, plan.query_pitch)
            place = k.add(first, i)
            if plan.query.step(plan.depth) == 1:
                start = head.address(plan.query, row=place)
                for d in range(0, padded, LANES):
                    store(self._parts(plan.query, start, d, depth), k.add(target, d))
                return

            def one(d: Index) -> None:
                at = head.address(plan.query, row=place, depth=d)
                store(self._part(plan.query, at), k.add(target, d))

            for d in range(depth // LANES * LANES, padded, LANES):
                store([self.zero] * plan.parts, k.add(target, d))
            k.loop(0, depth, 1, (), one)

        k.loop(0, rows, 1, (), row)

    # -- keys ----------------------------------------------------------------------------------------------

    def pack_keys(self, head: Head, first: Index, count: Index) -> None:
        """``count`` keys from ``first`` on: ``[16 keys][steps][parts][16 pairs][16 keys]``. Behind the last
        key of a whole group of 32 is the last one again: such scores are not looked at."""
        plan, k = self.plan, self.kernel
        groups = k.ceildiv(count, DEPTH)
        if plan.keys.step(plan.depth) != 1:
            self._pack_keys_singly(head, first, count)
            return
        depth = plan.size(plan.depth)

        def block(t: Index, place: Callable[[Index], Index]) -> None:
            rows = [head.address(plan.keys, key=k.add(first, place(i))) for i in range(COLUMNS)]

            def step(s: Index, d: Index, size: int) -> None:
                at = k.add(k.mul(t, plan.key_tile), k.mul(s, plan.parts * WORDS))
                for part in range(plan.parts):
                    words = [self._pairs(k.add(row, d), size, part) for row in rows]
                    for i, column in enumerate(transpose_block(k, words)):
                        k.vstore(column, self.keys, k.add(at, part * WORDS + i * COLUMNS))

            k.loop(0, depth // DEPTH, 1, (), lambda s: step(s, k.mul(s, DEPTH), DEPTH))
            if depth % DEPTH:
                step(depth // DEPTH, depth // DEPTH * DEPTH, depth % DEPTH)

        def whole(t: Index) -> None:
            block(t, lambda i: k.add(k.mul(t, COLUMNS), i))

        def clamped(t: Index) -> None:
            last = k.sub(count, 1)
            block(t, lambda i: k.min(k.add(k.mul(t, COLUMNS), i), last))

        full = k.floordiv(count, COLUMNS)
        k.loop(0, full, 1, (), whole)
        k.loop(full, k.mul(groups, 2), 1, (), clamped)

    def _pairs(self, at: Index, size: int, part: int) -> Value:
        """16 words of two numbers of a key, of which ``size`` from ``at`` on are there."""
        k, keys = self.kernel, self.plan.keys
        if self.memory(keys).type.element_type is bf16 and size == DEPTH:
            joined = k.vload(self.memory(keys), at, DEPTH)
        else:
            first, second = (self._parts(keys, at, i, size)[part] for i in (0, LANES))
            joined = k.shuffle(first, second, range(DEPTH))
        return k.pure("vector.bitcast", (joined,), VectorType((LANES,), f32))

    def _pack_keys_singly(self, head: Head, first: Index, count: Index) -> None:
        plan, k = self.plan, self.kernel
        blocks = k.mul(k.ceildiv(count, DEPTH), 2)
        size = k.mul(blocks, 2 * plan.key_tile)
        k.loop(0, size, LANES, (), lambda i: k.vstore(self.zero, self.key_numbers, i))

        def one(key: Index, d: Index) -> None:
            parts = self._part(plan.keys, head.address(plan.keys, key=k.add(first, key), depth=d))
            tile = k.add(
                k.mul(k.floordiv(key, COLUMNS), plan.key_tile),
                k.mul(k.floordiv(d, DEPTH), plan.parts * WORDS),
            )
            pair = k.mul(k.floordiv(k.mod(d, DEPTH), 2), COLUMNS)
            word = k.add(tile, k.add(pair, k.mod(key, COLUMNS)))
            at = k.add(k.mul(word, 2), k.mod(d, 2))
            for number, part in enumerate(parts):
                k.store(part, self.key_numbers, k.add(at, number * 2 * WORDS))

        depth = plan.size(plan.depth)
        k.loop(0, count, 1, (), lambda key: k.loop(0, depth, 1, (), lambda d: one(key, d)))

    # -- values --------------------------------------------------------------------------------------------

    def pack_values(self, head: Head, first: Index, count: Index) -> None:
        """The values of ``count`` keys from ``first`` on, zeros behind them to a whole group of 32:
        ``[32 keys][parts][tiles][16 pairs][16 columns]``."""
        plan, k = self.plan, self.kernel
        width = plan.size(plan.width)
        pairs = k.mul(k.ceildiv(count, DEPTH), PAIRS)
        zeros = [self.zero] * plan.parts

        def store(pair: Index, column: int, first: list[Value], second: list[Value]) -> None:
            """The words of a pair of keys in the tile of columns from ``column`` on."""
            group, inside = k.floordiv(pair, PAIRS), k.mod(pair, PAIRS)
            at = k.add(k.mul(group, plan.value_group), k.mul(inside, COLUMNS))
            at = k.add(at, column // COLUMNS * WORDS)
            for part, (a, b) in enumerate(zip(first, second, strict=True)):
                joined = k.shuffle(a, b, [lane for i in range(LANES) for lane in (i, LANES + i)])
                place = k.add(at, part * plan.width_tiles * WORDS)
                k.vstore(joined, self.value_numbers, k.mul(place, 2))

        def both(pair: Index, present: int) -> None:
            key = k.add(first, k.mul(pair, 2))
            starts = [head.address(plan.values, key=k.add(key, i)) for i in range(present)]
            for column in range(0, width, COLUMNS):
                rows = [self._columns(head, k.add(key, i), at, column) for i, at in enumerate(starts)]
                store(pair, column, rows[0], rows[1] if present == 2 else zeros)

        def none(pair: Index) -> None:
            for column in range(0, width, COLUMNS):
                store(pair, column, zeros, zeros)

        full, some = k.floordiv(count, 2), k.ceildiv(count, 2)
        k.loop(0, full, 1, (), lambda pair: both(pair, 2))
        k.loop(full, some, 1, (), lambda pair: both(pair, 1))
        k.loop(some, pairs, 1, (), none)

    def _columns(self, head: Head, key: Index, at: Index, column: int) -> list[Value]:
        """The parts of 16 columns of a key's values, zeros behind the last one."""
        plan, k = self.plan, self.kernel
        width = plan.size(plan.width)
        if plan.values.step(plan.width) == 1:
            return self._parts(plan.values, at, column, width)
        found = [self.zero] * plan.parts
        for i in range(min(LANES, width - column)):
            parts = self._part(plan.values, head.address(plan.values, key=key, width=column + i))
            found = [k.insert(part, old, i) for part, old in zip(parts, found, strict=True)]
        return found
