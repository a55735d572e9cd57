"""Softmax along the keys of a slab of scores ``[keys][queries]``, queries along lanes, chunk by chunk.

For every query the greatest score so far and the sum of the powers so far are kept; when a chunk raises the
maximum, what was summed before is scaled down. A query whose scores are all -inf so far counts from 0, so
that it does no harm to later chunks; NaN and +inf make the sum NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from iree_base.records import record
from iree_codegen.kernel_builder import Index, KernelBuilder
from iree_codegen.legalize.float32 import LOG2E, MAGIC
from iree_core_ir.ir.operation import Value
from iree_core_ir.ir.types import VectorType, f32, i32

UNROLL = 4
"""Keys looked at together for the maximum: hides the latency of the comparison."""
LN2 = 0.69314718055994530942
POWERS = (
    0.008290272206068039,
    0.04189816117286682,
    0.1666763871908188,
    0.4999914765357971,
    0.9999997019767761,
)
"""(e^r - 1) / r for |r| <= ln2 / 2: relative error of e^r 9.2e-8."""
SHORT_POWERS = (0.16517725, 0.50413328, 1.00019619)
"""The same to 1.0e-4, for powers that become bf16 (2e-3)."""
LEAST = -87.33654
"""exp of less is 0, as denormals are."""
INFINITY = float("inf")

Adjust = Callable[[Value, Index, int], Value]
"""(scores of one vector of queries, key, number of the vector) -> scores with the mask applied."""


@record
class Statistics:
    """Per vector of queries the maximum and the sum, as they stand."""

    top: list[Value]
    total: list[Value]

    @classmethod
    def start(cls, k: KernelBuilder, vectors: int, lanes: int) -> Statistics:
        type = VectorType((lanes,), f32)
        return cls([k.constant(-INFINITY, type)] * vectors, [k.constant(0.0, type)] * vectors)

    def values(self) -> list[Value]:
        return [*self.top, *self.total]

    @classmethod
    def of(cls, values: Sequence[Value]) -> Statistics:
        half = len(values) // 2
        return cls(list(values[:half]), list(values[half:]))


def exp_not_positive(k: KernelBuilder, x: Value, powers: Sequence[float] = POWERS) -> Value:
    """exp of x <= 0 to about 2 units in the last place: 0 where it is denormal, NaN stays.

    The result is a sum weighted by such powers over their sum: errors of the scores weigh more.
    """

    def number(value: float) -> Value:
        return k.constant(value, x.type)

    # The low bits of ``shifted`` are n and the exponent's bias: shifted up they are 2^n.
    shifted = k.fma(x, number(LOG2E), number(MAGIC + 127))
    n = k.binary("arith.subf", shifted, number(MAGIC + 127))
    r = k.fma(n, number(-LN2), x)
    p = number(powers[0])
    for coefficient in (*powers[1:], 1.0):
        p = k.fma(p, r, number(coefficient))
    bits = k.cast("arith.bitcast", shifted, i32)
    power = k.binary("arith.shli", bits, k.constant(23, bits.type))
    scaled = k.binary("arith.mulf", p, k.cast("arith.bitcast", power, f32))
    return k.select(k.cmpf("olt", x, number(LEAST)), number(0.0), scaled)


def greater(k: KernelBuilder, a: Value, b: Value) -> Value:
    """The greater number; ``b`` where ``a`` is NaN (the powers notice)."""
    return k.select(k.cmpf("ogt", a, b), a, b)


class OnlineSoftmax:
    """Emits the passes over a slab at ``memory`` with ``vectors`` vectors of ``lanes`` queries a key."""

    def __init__(self, k: KernelBuilder, memory: Value, vectors: int, lanes: int) -> None:
        self.k = k
        self.memory = memory
        self.vectors = vectors
        self.lanes = lanes
        self.type = VectorType((lanes,), f32)

    def _at(self, key: Index, vector: int) -> Index:
        return self.k.add(self.k.mul(key, self.vectors * self.lanes), vector * self.lanes)

    def maximum(self, first: Index, count: Index, adjust: Adjust | None) -> list[Value]:
        """The greatest score of each query among ``count`` keys from ``first`` on; ``adjust`` is applied to
        the slab on the way."""
        k, vectors = self.k, self.vectors
        lowest = k.constant(-INFINITY, self.type)

        def look(key: Index, state: Sequence[Value]) -> list[Value]:
            found = []
            for v in range(vectors):
                score = k.vload(self.memory, self._at(key, v), self.lanes)
                if adjust is not None:
                    score = adjust(score, k.add(first, key), v)
                    k.vstore(score, self.memory, self._at(key, v))
                found.append(greater(k, score, state[v]))
            return found

        def several(key: Index, *state: Value) -> list[Value]:
            result: list[Value] = []
            for u in range(UNROLL):
                result += look(k.add(key, u), state[u * vectors : (u + 1) * vectors])
            return result

        full = k.mul(k.floordiv(count, UNROLL), UNROLL)
        parts = k.loop(0, full, UNROLL, [lowest] * (vectors * UNROLL), several)
        state = parts[:vectors]
        for u in range(1, UNROLL):
            own = parts[u * vectors : (u + 1) * vectors]
            state = [greater(k, a, b) for a, b in zip(own, state, strict=True)]
        return k.loop(full, count, 1, state, lambda key, *s: look(key, s))

    def powers(self, count: Index, tops: Sequence[Value], totals: Sequence[Value]) -> list[Value]:
        """Scores replaced by ``exp(score - top)``; returns the sums, from ``totals`` on."""
        k = self.k

        def one(key: Index, *state: Value) -> list[Value]:
            result = []
            for v, (top, total) in enumerate(zip(tops, state, strict=True)):
                score = k.vload(self.memory, self._at(key, v), self.lanes)
                power = exp_not_positive(k, k.binary("arith.subf", score, top))
                k.vstore(power, self.memory, self._at(key, v))
                result.append(k.binary("arith.addf", total, power))
            return result

        return k.loop(0, count, 1, list(totals), one)

    def chunk(
        self, before: Statistics | None, first: Index, count: Index, adjust: Adjust | None
    ) -> tuple[Statistics, list[Value]]:
        """The slab's scores become powers; returns the statistics so far and by how much what was summed
        ``before`` shrinks (nothing for the first chunk)."""
        k = self.k
        found = self.maximum(first, count, adjust)
        zero, lowest = k.constant(0.0, self.type), k.constant(-INFINITY, self.type)
        if before is not None:
            found = [greater(k, a, b) for a, b in zip(found, before.top, strict=True)]
        tops = [k.select(k.cmpf("oeq", top, lowest), zero, top) for top in found]
        factors: list[Value] = []
        totals = [zero] * self.vectors
        if before is not None:
            shrunk = [k.binary("arith.subf", a, b) for a, b in zip(before.top, tops, strict=True)]
            factors = [exp_not_positive(k, x) for x in shrunk]
            totals = [k.binary("arith.mulf", a, b) for a, b in zip(before.total, factors, strict=True)]
        return Statistics(found, self.powers(count, tops, totals)), factors


__all__ = ["Adjust", "OnlineSoftmax", "Statistics", "exp_not_positive", "greater"]
