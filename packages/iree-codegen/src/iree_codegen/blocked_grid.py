"""How a plane of output pixels is cut into register tiles.

A plane is walked in *bands* of rows; a band is the same list of tiles everywhere (the last one may be
shorter). A tile is a list of pixels, so that it may hold a part of a row, several short rows, or, where the
whole plane is small, any pixels that follow each other.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from iree_base.records import record
from iree_codegen import cost_model

SMALL_PLANE = 64
"""Planes of up to so many pixels are one band of lists of pixels."""
WIDEST = 14
"""Pixels of a tile, at most."""


@record(frozen=True)
class Tiles:
    """``count`` tiles side by side, ``step`` columns apart, from (row, column) ``first`` of the band on."""

    pixels: tuple[tuple[int, int], ...]
    """Row and column of each pixel from the tile's first one."""
    first: tuple[int, int]
    count: int = 1
    step: int = 0


@record(frozen=True)
class Grid:
    """A plane of ``rows`` x ``columns``; ``flat``: these are other factors of the plane's pixels."""

    rows: int
    columns: int
    flat: bool
    height: int
    """Rows of a band."""
    band: tuple[Tiles, ...]
    rest: tuple[Tiles, ...]
    """The tiles of the last band when it is shorter."""

    @property
    def bands(self) -> int:
        return -(-self.rows // self.height)

    def sizes(self) -> Iterator[tuple[int, int]]:
        """(pixels, tiles of so many) of the whole plane."""
        for tiles in self.band:
            yield len(tiles.pixels), tiles.count * (self.rows // self.height)
        for tiles in self.rest:
            yield len(tiles.pixels), tiles.count


def balanced(n: int, most: int) -> list[tuple[int, int]]:
    """``n`` in parts of up to ``most``: (size, how many), sizes one apart."""
    larger, small, rest = cost_model.balanced(n, most)
    return [(size, count) for size, count in ((small + 1, larger), (small, rest)) if count]


def _row(columns: int, most: int) -> tuple[Tiles, ...]:
    found, at = [], 0
    for width, count in balanced(columns, most):
        found.append(Tiles(tuple((0, x) for x in range(width)), (0, at), count, width))
        at += width * count
    return tuple(found)


def _rectangle(rows: int, columns: int) -> tuple[Tiles, ...]:
    return (Tiles(tuple((y, x) for y in range(rows) for x in range(columns)), (0, 0)),)


def _lists(rows: int, columns: int, most: int) -> tuple[Tiles, ...]:
    places = [(y, x) for y in range(rows) for x in range(columns)]
    count = -(-len(places) // most)
    bounds = [len(places) * i // count for i in range(count + 1)]
    return tuple(
        Tiles(tuple((y - places[a][0], x - places[a][1]) for y, x in places[a:b]), places[a])
        for a, b in itertools.pairwise(bounds)
    )


def grids(rows: int, columns: int, most: int, *, flat: bool, small: bool) -> Iterator[Grid]:
    """The ways to cut a plane into tiles of up to ``most`` pixels.

    ``flat``: it may be taken as one list, in parts; ``small``: also as a list that is not cut.
    """
    if flat:
        n = rows * columns
        for width in (*range(most, min(n, 8 * most + 1)), n):
            if n % width == 0:
                yield Grid(n // width, width, True, 1, _row(width, most), ())
        return
    if small:
        yield Grid(1, rows * columns, True, 1, _row(rows * columns, most), ())
    if columns > most:
        yield Grid(rows, columns, False, 1, _row(columns, most), ())
    elif rows * columns <= SMALL_PLANE:
        yield Grid(rows, columns, False, rows, _lists(rows, columns, most), ())
    else:
        height = min(rows, most // columns)
        rest = _rectangle(rows % height, columns) if rows % height else ()
        yield Grid(rows, columns, False, height, _rectangle(height, columns), rest)
