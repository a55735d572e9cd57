"""The inner loop of integer products, as a private function: dot products of four, on words of 32 bits.

``C[rows][vectors * lanes] = sum of broadcast[row] . vector``: words are broadcast from one factor, loaded as
vectors from the other; one factor is unsigned, one signed. The reduction is one counted loop over static
steps (``taps``).
"""

from __future__ import annotations

from iree_base.records import record
from iree_codegen.kernel_builder import Index, KernelBuilder, memref_of
from iree_core_ir.ir.operation import Value
from iree_core_ir.ir.types import VectorType, i8, i32, index

LINE = 16
"""Words of a cache line."""


@record(frozen=True)
class DotKernel:
    """Everything that is static about the function; distances are in words."""

    rows: int
    vectors: int
    lanes: int
    row_step: int
    """From row to row of the broadcast factor."""
    count: int
    broadcast_step: int
    vector_step: int
    """How far the factors move per iteration."""
    taps: tuple[tuple[int, int], ...]
    """(broadcast, vector) offsets of the steps of an iteration."""
    unsigned_broadcast: bool
    c_row: int
    """From row to row of the sums."""
    ahead: int = 0
    """Lines of the vector factor that an iteration fetches into the L2 cache, from one more argument on."""


def build(spec: DotKernel, name: str) -> KernelBuilder:
    """The function (broadcast factor, its start, vector factor, its start, C, its start), memory as i32.

    With ``ahead`` one more: where to fetch from.
    """
    memory = memref_of(i32)
    arguments = [memory, index, memory, index, memory, index] + ([index] if spec.ahead else [])
    k = KernelBuilder(name, arguments, private=True)
    words, w0, vectors, v0, c, c0, *fetched = k.args
    lanes = spec.lanes
    total = VectorType((lanes,), i32)
    pieces = VectorType((4 * lanes,), i8)

    def bytes_of(value: Value) -> Value:
        return k.pure("vector.bitcast", (value,), pieces)

    def step(i: Index, *carried: Value) -> list[Value]:
        sums = list(carried)
        w = k.add(w0, k.mul(i, spec.broadcast_step))
        v = k.add(v0, k.mul(i, spec.vector_step))
        lines = [k.add(k.mul(i, spec.ahead * LINE), n * LINE) for n in range(spec.ahead)]
        for number, (at_word, at_vector) in enumerate(spec.taps):
            for line in lines[number :: len(spec.taps)]:
                k.prefetch(vectors, k.add(fetched[0], line), locality=2)
            loaded = [
                bytes_of(k.vload(vectors, k.add(v, at_vector + n * lanes), lanes))
                for n in range(spec.vectors)
            ]
            for row in range(spec.rows):
                word = k.load(words, k.add(w, at_word + row * spec.row_step))
                spread = bytes_of(k.splat(word, lanes))
                for n in range(spec.vectors):
                    place = row * spec.vectors + n
                    pair = (spread, loaded[n]) if spec.unsigned_broadcast else (loaded[n], spread)
                    sums[place] = k.pure("x86vector.dot_u8s8", (sums[place], *pair), total)
        return sums

    zero = k.constant(0, total)
    results = k.loop(0, spec.count, 1, [zero] * (spec.rows * spec.vectors), step)
    for place, value in enumerate(results):
        row, n = divmod(place, spec.vectors)
        k.vstore(value, c, k.add(c0, row * spec.c_row + n * lanes))
    k.finish()
    return k


def unrolled(count: int, limit: int = 8) -> int:
    """How many of ``count`` equal steps are written out."""
    return next(n for n in range(min(limit, count), 0, -1) if count % n == 0)
