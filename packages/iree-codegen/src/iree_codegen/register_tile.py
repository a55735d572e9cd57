"""The inner loop of contractions: a tile of sums in registers.

``sum over k of A[row, k] * B[k, vector]``: A is broadcast, B loaded as vectors. The reduction is a nest of
counted loops, the innermost unrolled. What becomes of the sums is the caller's business; ``ahead`` lets it
fetch what comes next while the tile is worked on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from iree_base.records import record
from iree_codegen.kernel_builder import Index, KernelBuilder
from iree_core_ir.ir.operation import Value
from iree_core_ir.ir.types import VectorType

STEPS = 4
"""Steps of the reduction that are written out in a loop's turn, about."""


@record(frozen=True)
class Loop:
    """One level of the reduction: iterations and how far A and B move per iteration, in elements."""

    count: Index
    a_step: Index
    b_step: Index


@record(frozen=True)
class Factor:
    """Where a tile finds its elements of a factor: from ``start`` in ``memory``."""

    memory: Value
    start: Index


@record(frozen=True)
class RegisterTile:
    """The tile: ``rows`` elements of A, ``a_row`` apart, times ``vectors`` of B."""

    rows: int
    vectors: int
    lanes: int
    element: Any
    a_row: Index
    loops: tuple[Loop, ...]
    ways: int = 1
    """Independent partial sums: hides latency when the tile is small."""
    masks: tuple[Value | None, ...] = ()
    """Lanes of B's vectors that are there; empty: all."""

    @property
    def n_sums(self) -> int:
        return self.rows * self.vectors


Ahead = Callable[[Index], None]
"""Called with the number of the turn of the innermost loop."""


def turn_steps(count: Index, ways: int) -> int:
    """Steps written out in a turn of the innermost loop: a divisor of ``count`` where there is a good one."""
    most = 2 * STEPS if ways > 1 else STEPS + 1
    if isinstance(count, int):
        for steps in range(most, 1, -1):
            if count % steps == 0:
                return steps
        return min(count, STEPS) if ways > 1 and count else 1
    return STEPS if ways > 1 else 1


def accumulate(
    k: KernelBuilder,
    tile: RegisterTile,
    a: Factor,
    b: Factor,
    inits: Sequence[Value] | None = None,
    ahead: Ahead | None = None,
) -> list[Value]:
    """The sums ``[rows][vectors]``, on top of ``inits`` (None: zeros)."""
    n, lanes = tile.n_sums, tile.lanes
    zero = k.constant(0.0, VectorType((lanes,), tile.element))
    masks = tile.masks or (None,) * tile.vectors
    *outer, inner = tile.loops
    steps = turn_steps(inner.count, tile.ways)
    ways = tile.ways
    while ways > steps:
        ways //= 2
    state = [*(inits if inits is not None else [zero] * n), *[zero] * (n * (ways - 1))]

    def step(at_a: Index, at_b: Index, way: int, values: list[Value]) -> None:
        loaded = [k.vload(b.memory, k.add(at_b, v * lanes), lanes, mask) for v, mask in enumerate(masks)]
        for i in range(tile.rows):
            scalar = k.splat(k.load(a.memory, k.add(at_a, k.mul(tile.a_row, i))), lanes)
            for v, vector in enumerate(loaded):
                place = way * n + i * tile.vectors + v
                values[place] = k.fma(scalar, vector, values[place])

    def innermost(at_a: Index, at_b: Index, number: Index, carried: Sequence[Value]) -> list[Value]:
        def turn(i: Index, size: int, values: list[Value]) -> list[Value]:
            for u in range(size):
                place_a = k.add(at_a, k.add(k.mul(inner.a_step, i), k.mul(inner.a_step, u)))
                place_b = k.add(at_b, k.add(k.mul(inner.b_step, i), k.mul(inner.b_step, u)))
                step(place_a, place_b, u % ways, values)
            return values

        def whole(i: Index, *values: Value) -> list[Value]:
            if ahead is not None:
                ahead(k.add(k.mul(number, k.floordiv(inner.count, steps)), k.floordiv(i, steps)))
            return turn(i, steps, list(values))

        stop = k.mul(k.floordiv(inner.count, steps), steps)
        values = k.loop(0, stop, steps, carried, whole)
        return k.loop(stop, inner.count, 1, values, lambda i, *v: turn(i, 1, list(v)))

    def nest(level: int, at_a: Index, at_b: Index, number: Index, carried: Sequence[Value]) -> list[Value]:
        if level == len(outer):
            return innermost(at_a, at_b, number, carried)
        loop = outer[level]

        def body(i: Index, *values: Value) -> list[Value]:
            place_a, place_b = k.add(at_a, k.mul(loop.a_step, i)), k.add(at_b, k.mul(loop.b_step, i))
            return nest(level + 1, place_a, place_b, k.add(k.mul(number, loop.count), i), values)

        return k.loop(0, loop.count, 1, carried, body)

    results = nest(0, a.start, b.start, 0, state)
    while len(results) > n:
        half = len(results) // 2
        results = [k.binary("arith.addf", x, y) for x, y in zip(results[:half], results[half:], strict=True)]
    return results


__all__ = ["Ahead", "Factor", "Loop", "RegisterTile", "accumulate", "turn_steps"]
