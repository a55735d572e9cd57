"""Softmax of a row of scores in f32, which becomes powers in bf16 where it lies, for matrix tiles.

A row goes by groups of 32 keys. The powers of a group take its first 64 bytes, with two parts the second
part the other 64. What a row has in each lane of a vector is joined for 16 rows at once: so nothing waits for
one row's lanes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from iree_base.records import record
from iree_codegen.kernel_builder import Index, KernelBuilder, memref_of
from iree_codegen.online_softmax import INFINITY, POWERS, SHORT_POWERS, exp_not_positive, greater
from iree_codegen.tile_panels import DEPTH
from iree_core_ir.ir.operation import Value
from iree_core_ir.ir.types import VectorType, bf16, f32, index

LANES = 16
VECTORS = DEPTH // LANES
"""Vectors of a group."""
MOST_UNROLLED = 12
"""Groups of a row that are spelled out where their number is known."""

Adjust = Callable[[Value, Index, Value | None], Value]
"""(16 products, the first one's key, which of them are there) -> scores: scaled, with the mask applied."""
Body = Callable[[Index, Sequence[Value | None], Sequence[Value]], list[Value]]
"""(number of a group, per vector which lanes are there (None: all), carried) -> carried."""


def join_rows(k: KernelBuilder, rows: Sequence[Value], join: Callable[[Value, Value], Value]) -> Value:
    """Lane ``i``: all lanes of row ``i`` of as many rows as lanes, joined."""
    step = len(rows) // 2
    while step:
        joined = []
        for a, b in zip(rows[:step], rows[step:], strict=True):
            own = [lane + LANES * bool(lane & step) for lane in range(LANES)]
            other = [(lane ^ step) + LANES * bool(lane & step) for lane in range(LANES)]
            joined.append(join(k.shuffle(a, b, own), k.shuffle(a, b, other)))
        rows = joined
        step //= 2
    return rows[0]


class RowSoftmax:
    """Emits the passes over rows of products at ``scores``, which as bf16 are ``powers``.

    Scores are products times ``scale``: where a mask is applied they are stored, else computed twice.
    """

    def __init__(self, k: KernelBuilder, scores: Value, powers: Value, parts: int, scale: Value) -> None:
        self.k = k
        self.scale = k.splat(scale, LANES)
        self.scores = scores
        self.powers = powers
        self.parts = parts
        self.type = VectorType((LANES,), f32)

    def _groups(self, count: Index, start: Sequence[Value], body: Body) -> list[Value]:
        """``body`` on every group of ``count`` keys."""
        k = self.k
        full = k.floordiv(count, DEPTH)
        state = list(start)
        if isinstance(full, int) and full <= MOST_UNROLLED:
            for number in range(full):
                state = body(number, [None] * VECTORS, state)
        else:
            state = k.loop(0, full, 1, state, lambda n, *s: body(n, [None] * VECTORS, s))

        def last(number: Index, *carried: Value) -> list[Value]:
            left = k.sub(count, k.mul(number, DEPTH))
            masks = [k.mask_below(k.sub(left, v * LANES), LANES) for v in range(VECTORS)]
            return body(number, masks, carried)

        return k.loop(full, k.ceildiv(count, DEPTH), 1, state, last)

    def maximum(self, row: Index, count: Index, adjust: Adjust | None) -> Value:
        """The greatest of ``count`` scores at ``row`` in each lane; ``adjust`` is applied on the way."""
        k = self.k
        lowest = k.constant(-INFINITY, self.type)

        def look(number: Index, masks: Sequence[Value | None], state: Sequence[Value]) -> list[Value]:
            found = []
            for v, mask in enumerate(masks):
                key = k.add(k.mul(number, DEPTH), v * LANES)
                score = k.vload(self.scores, k.add(row, key), LANES)
                if adjust is None:
                    score = k.binary("arith.mulf", score, self.scale)
                else:
                    score = adjust(score, key, mask)
                    k.vstore(score, self.scores, k.add(row, key))
                if mask is not None:
                    score = k.select(mask, score, lowest)
                found.append(greater(k, score, state[v]))
            return found

        first, *others = self._groups(count, [lowest] * VECTORS, look)
        for other in others:
            first = greater(k, first, other)
        return first

    def exponentiate(self, row: Index, count: Index, end: Index, top: Value, *, scaled: bool) -> Value:
        """Scores (``scaled``: they are stored) become ``exp(score - top)``, those behind ``count`` up to
        group ``end`` 0; their sum in each lane."""
        k = self.k
        zero = k.constant(0.0, self.type)
        negative = top if scaled else k.pure("arith.negf", (top,), top.type)
        coefficients = SHORT_POWERS if self.parts == 1 else POWERS

        def powers(number: Index, masks: Sequence[Value | None], state: Sequence[Value]) -> list[Value]:
            found, totals = [], []
            for v, (mask, total) in enumerate(zip(masks, state, strict=True)):
                score = k.vload(self.scores, k.add(row, k.add(k.mul(number, DEPTH), v * LANES)), LANES)
                if scaled:
                    score = k.binary("arith.subf", score, top)
                else:
                    score = k.fma(score, self.scale, negative)
                power = exp_not_positive(k, score, coefficients)
                if mask is not None:
                    power = k.select(mask, power, zero)
                found.append(power)
                totals.append(k.binary("arith.addf", total, power))
            self._store(row, number, found)
            return totals

        first, *others = self._groups(count, [zero] * VECTORS, powers)
        for other in others:
            first = k.binary("arith.addf", first, other)
        k.loop(k.ceildiv(count, DEPTH), end, 1, (), lambda number: self._store(row, number, [zero] * VECTORS))
        return first

    def _store(self, row: Index, number: Index, values: Sequence[Value]) -> None:
        """The powers of a group in bf16 parts."""
        k = self.k
        at = k.mul(k.add(row, k.mul(number, DEPTH)), 2)
        for part in range(self.parts):
            rounded = [k.cast("arith.truncf", value, bf16) for value in values]
            for v, value in enumerate(rounded):
                k.vstore(value, self.powers, k.add(at, part * DEPTH + v * LANES))
            if part + 1 < self.parts:
                # At most 1, or NaN: what is left is finite, or NaN in both parts.
                wide = [k.cast("arith.extf", value, f32) for value in rounded]
                values = [k.binary("arith.subf", a, b) for a, b in zip(values, wide, strict=True)]


@record(frozen=True)
class PowerRows:
    """Everything that is static about a function that makes powers of rows of scores."""

    pitch: int
    """From row to row of the scores."""
    parts: int
    scaled: bool
    """Scores are stored, not products."""
    keys: int | None
    """Keys of every row; None: an argument."""
    causal: bool
    """A row has one key more than the one before it."""


def build_power_rows(spec: PowerRows, name: str, *, fma: bool) -> KernelBuilder:
    """The function (scores, their start, the same as bf16, what each row is relative to, sums by lane, first
    row, end, keys that the row 0 has where it is causal, keys, groups of the block, scale)."""
    words, numbers = memref_of(f32), memref_of(bf16)
    types = [words, index, numbers, words, words, index, index, index, index, index, f32]
    k = KernelBuilder(name, types, fma=fma, private=True)
    scores, start, powers, origins, partials, first, end, own, keys, groups, scale = k.args
    softmax = RowSoftmax(k, scores, powers, spec.parts, scale)
    total: Index = keys if spec.keys is None else spec.keys

    def row(i: Index) -> None:
        count = k.max(k.min(total, k.add(own, i)), 0) if spec.causal else total
        last = groups if spec.causal else k.ceildiv(total, DEPTH)
        top = k.splat(k.load(origins, i), LANES)
        at = k.add(start, k.mul(i, spec.pitch))
        found = softmax.exponentiate(at, count, last, top, scaled=spec.scaled)
        k.vstore(found, partials, k.mul(i, LANES))

    k.loop(first, end, 1, (), row)
    k.finish()
    return k
