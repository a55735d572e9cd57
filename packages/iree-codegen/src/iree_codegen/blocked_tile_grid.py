"""How a plane of output pixels is cut into patches that matrix tiles compute.

A tile holds the sums of up to 16 pixels that lie side by side in a row (or in a plane taken as one list). A
*patch* is up to two tiles that share the weights they meet; they lie one behind the other or one below the
other. A plane is walked in bands of rows as in ``blocked_grid``.
"""

from __future__ import annotations

from collections.abc import Iterator

from iree_base.records import record
from iree_codegen.tile_panels import ROWS

FEWEST = 9
"""Pixels of a tile of patches that divide a list, at least."""
LONGEST_LIST = 1024
"""Planes of up to so many pixels are also taken as one list that is not cut."""


@record(frozen=True)
class Run:
    """The pixels of one tile, from the patch's first pixel on."""

    row: int
    column: int
    pixels: int


@record(frozen=True)
class Patches:
    """``count`` patches side by side, ``step`` columns apart, from (row, column) ``first`` of the band on."""

    runs: tuple[Run, ...]
    first: tuple[int, int] = (0, 0)
    count: int = 1
    step: int = 0

    @property
    def pixels(self) -> int:
        return sum(run.pixels for run in self.runs)

    @property
    def segments(self) -> tuple[Run, ...]:
        """The runs; two that follow each other as one."""
        first, *rest = self.runs
        if rest and (rest[0].row, rest[0].column) == (0, first.pixels):
            return (Run(0, 0, self.pixels),)
        return self.runs


@record(frozen=True)
class PatchGrid:
    """A plane of ``rows`` x ``columns``; ``flat``: these are other factors of the plane's pixels."""

    rows: int
    columns: int
    flat: bool
    tile: int
    """Pixels of a tile; shorter runs leave the rest of theirs unused."""
    height: int
    """Rows of a band."""
    band: tuple[Patches, ...]
    rest: tuple[Patches, ...] = ()
    """The patches of the last band when it is shorter."""

    @property
    def bands(self) -> int:
        return -(-self.rows // self.height)

    @property
    def per_band(self) -> int:
        return sum(p.count for p in self.band)

    def all(self) -> Iterator[tuple[Patches, int]]:
        """(patches, how many of these there are in the plane)."""
        for patches in self.band:
            yield patches, patches.count * (self.rows // self.height)
        for patches in self.rest:
            yield patches, patches.count


def balanced_tile(pixels: int) -> int:
    """Pixels of a tile where so many in a row are cut into the fewest tiles of about one size."""
    return -(-pixels // -(-pixels // ROWS))


def _pairs(columns: int, tile: int) -> tuple[Patches, ...]:
    """A row of so many columns in pairs of tiles side by side, and what is left."""
    whole, rest = divmod(columns, 2 * tile)
    found = []
    if whole:
        found.append(Patches((Run(0, 0, tile), Run(0, tile, tile)), (0, 0), whole, 2 * tile))
    if rest:
        runs = [Run(0, 0, min(rest, tile))]
        if rest > tile:
            runs.append(Run(0, tile, rest - tile))
        found.append(Patches(tuple(runs), (0, whole * 2 * tile)))
    return tuple(found)


def _below(columns: int, tile: int, rows: int) -> tuple[Patches, ...]:
    """One or two rows of tiles, one below the other."""
    whole, rest = divmod(columns, tile)
    found = []
    for count, width, first in ((whole, tile, 0), (min(rest, 1), rest, whole * tile)):
        if count:
            found.append(Patches(tuple(Run(y, 0, width) for y in range(rows)), (0, first), count, tile))
    return tuple(found)


def patch_grids(rows: int, columns: int, *, flat: bool) -> Iterator[PatchGrid]:
    """The ways to cut a plane; ``flat``: it may be taken as one list."""
    if flat:
        n = rows * columns
        for tile in range(FEWEST, ROWS + 1):
            if n % (2 * tile) == 0:
                yield PatchGrid(n // (2 * tile), 2 * tile, True, tile, 1, _pairs(2 * tile, tile))
        if n <= LONGEST_LIST:
            tile = balanced_tile(n)
            yield PatchGrid(1, n, True, tile, 1, _pairs(n, tile))
    tile = balanced_tile(columns)
    if -(-columns // tile) % 2 == 0:
        yield PatchGrid(rows, columns, False, tile, 1, _pairs(columns, tile))
        return
    height = min(2, rows)
    rest = _below(columns, tile, 1) if rows % height else ()
    yield PatchGrid(rows, columns, False, tile, height, _below(columns, tile, height), rest)


__all__ = ["PatchGrid", "Patches", "Run", "balanced_tile", "patch_grids"]
