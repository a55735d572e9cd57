"""Choosing a register tile: the shape with the fewest cycles for the extents at hand.

A cycle model with two ports each for multiply-adds and loads (measured cores agree within a few percent;
`lab` figures: 2 vectors x 14 rows reach 97 % of peak with AVX-512, 2 x 6 with AVX2).
"""

from __future__ import annotations

from dataclasses import dataclass

LATENCY = 4
"""Cycles from a multiply-add to its use."""
CALL = 30
"""Cycles to enter, leave and store a tile, about."""


@dataclass(frozen=True)
class Tile:
    """``rows`` broadcast values times ``vectors`` vectors; ``ways`` partial sums each."""

    rows: int
    vectors: int
    ways: int = 1


def choose_tile(
    n_rows: int | None, n_vectors: int | None, depth: int, registers: int, *, unaligned: bool = False
) -> Tile:
    """The best tile for ``n_rows`` x ``n_vectors`` (None: unknown, large) with ``depth`` steps."""
    best: tuple[float, Tile] | None = None
    for vectors in range(1, 5):
        for rows in range(1, 17):
            if rows * vectors + vectors + 1 > registers:
                break
            ways = 1
            while (
                rows * vectors * ways < 2 * LATENCY and rows * vectors * ways * 2 + vectors + 1 <= registers
            ):
                ways *= 2
            m = n_rows if n_rows is not None else 24 * 7 * 5
            n = n_vectors if n_vectors is not None else 24
            if rows > m or (vectors > n and vectors > 1):
                continue
            loads = vectors * (2 if unaligned else 1) + rows
            step = max(rows * vectors / 2, loads / 2, LATENCY / ways if rows * vectors < 2 * LATENCY else 0)
            tiles = -(-m // rows) * -(-n // vectors)
            cycles = tiles * (step * depth + CALL + rows * vectors)
            if best is None or cycles < best[0] * 0.999:
                best = cycles, Tile(rows, vectors, ways)
    assert best is not None
    return best[1]
