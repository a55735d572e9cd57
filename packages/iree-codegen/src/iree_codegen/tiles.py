"""Choosing a register tile: the shape with the fewest cycles for the extents at hand (see ``cost_model``)."""

from __future__ import annotations

from iree_base.records import record
from iree_codegen.cost_model import accumulators_fit, balanced, partial_sums, tile_cycles

TWO_HEIGHTS = 1.006
"""Tiles of one height are taken where they are as fast as this: there is half the code to make."""


@record(frozen=True)
class Tile:
    """At most ``rows`` broadcast values times ``vectors`` vectors; ``ways`` partial sums each."""

    rows: int
    vectors: int
    ways: int = 1


def choose_tile(
    n_rows: int | None, n_vectors: int | None, depth: int, registers: int, *, unaligned: bool = False
) -> Tile:
    """The best tile for ``n_rows`` x ``n_vectors`` (None: unknown, large) with ``depth`` steps."""
    best: tuple[float, Tile] | None = None
    for vectors in range(1, 9):
        for rows in range(1, 17):
            if not accumulators_fit(rows, vectors, 1, registers):
                break
            m = n_rows if n_rows is not None else 24 * 7 * 5
            n = n_vectors if n_vectors is not None else 24
            if rows > m or (vectors > n and vectors > 1):
                continue
            larger, small, rest = balanced(m, rows)
            cycles = 0.0
            for count, height in ((larger, small + 1), (rest, small)):
                cycles += count * tile_cycles(height, vectors, depth, registers, unaligned=unaligned)
            cycles *= -(-n // vectors) * (TWO_HEIGHTS if larger and rest else 1.0)
            if best is None or cycles < best[0] * 0.999:
                best = cycles, Tile(rows, vectors, partial_sums(rows, vectors, registers))
    assert best is not None
    return best[1]


__all__ = ["Tile", "choose_tile"]
