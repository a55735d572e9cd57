"""What products cost on a core, in cycles: the numbers by which tiles, chunks and orders are chosen.

A core multiplies and adds two vectors a cycle, loads two, and gets a few bytes a cycle from beyond its second
cache. From that follow the time of a register tile (``step_cycles``, ``tile_cycles``) and the schedule of a
product (``choose_schedule``): how many rows of A stay in the cache while B streams by, and whether the
reduction is cut into chunks.

Workgroups are what threads share, each thread a range of neighbours. An artefact does not know how many there
will be: it is cut up for one thread, and then for two (``weighed``).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from iree_base.records import record
from iree_codegen.workgroup_description import WorkgroupDescription

PORTS = 2
"""Multiply-adds, and loads, a cycle."""
LATENCY = 4
"""Cycles from a multiply-add to its use."""
ENTRY = 40
"""Cycles to start and end a tile, about."""
LINE_BYTES = 64
LINE_CYCLES = 0.1
"""What a line from the second cache costs in a loop that hides its latency."""
LOAD_CYCLES = 0.1
"""What a load costs beside multiply-adds that keep their ports busy."""
FAR_BYTES = 4.4
"""Bytes a cycle from beyond the second cache, fetched ahead or not."""
SHOWS = 0.2
"""The share of that time that shows although B is fetched ahead and rows of A are read in order."""
COPY_CYCLES = 3.0
"""To copy a vector."""
STAYS = 0.75
"""The share of the second cache that holds what is used again."""
MOST_CHUNKS = 16
FEW_PANELS = 4
"""Panels of a workgroup that does several, about: it reads its rows of A again."""
WORTH_A_GROUP = 1 << 13
"""Cycles that a workgroup should have at least: some microseconds, far above the cost of handing it out."""
STREAM_BYTES = 12
"""Bytes a cycle of a factor that is used once, from wherever it is."""
REMOTE_BYTES = 3
"""Bytes a cycle that another core wrote last (measured: 75 KB of a depthwise convolution in 10 us)."""
SHARING = 0.3
"""What two threads need counts so much beside what one needs."""
LATE = 0.1
"""A thread may come late or lose its core: with several workgroups the other takes some of its own. What a
single workgroup loses so."""
ROWS_PER_BLOCK = 256
"""Rows of A that one workgroup takes where their number is known only when the dispatch runs."""


@record(frozen=True)
class Core:
    """What the model knows about a core; ``of`` a target description."""

    lanes: int
    registers: int
    element_bytes: int = 4
    l1_bytes: int = 32 << 10
    l2_bytes: int = 1 << 20

    @staticmethod
    def of(description: WorkgroupDescription, lanes: int, element_bytes: int) -> Core:
        return Core(lanes, description.registers, element_bytes, description.l1_bytes, description.l2_bytes)


# -- a register tile --------------------------------------------------------------------------------


def accumulators_fit(rows: int, vectors: int, ways: int, registers: int) -> bool:
    """A tile's sums, one row of B and a broadcast element of A fit the registers."""
    return rows * vectors * ways + vectors + 1 <= registers


def partial_sums(rows: int, vectors: int, registers: int) -> int:
    """How many sums an element of the tile is split into so that multiply-adds do not wait for each other."""
    ways = 1
    while rows * vectors * ways < PORTS * LATENCY and accumulators_fit(rows, vectors, 2 * ways, registers):
        ways *= 2
    return ways


def step_cycles(rows: int, vectors: int, registers: int, *, unaligned: bool = False) -> float:
    """One step of the reduction of a tile of ``rows`` x ``vectors``."""
    products = rows * vectors
    loads = vectors * (2 if unaligned else 1) + rows
    waits = LATENCY / partial_sums(rows, vectors, registers) if products < PORTS * LATENCY else 0.0
    return max(products / PORTS, loads / PORTS, waits) + LOAD_CYCLES * loads + LINE_CYCLES * vectors


def tile_cycles(
    rows: int, vectors: int, depth: int, registers: int, *, unaligned: bool = False, again: bool = False
) -> float:
    """A whole tile; ``again``: its sums come from memory far away and go back there."""
    sums = rows * vectors * (5 if again else 1)
    return step_cycles(rows, vectors, registers, unaligned=unaligned) * depth + ENTRY + sums


def balanced(extent: int, most: int) -> tuple[int, int, int]:
    """Parts of ``extent`` of at most ``most`` that differ by one: (how many are one larger, the smaller size,
    how many of that)."""
    n = -(-extent // most)
    small, larger = divmod(extent, n)
    return larger, small, n - larger


# -- a product --------------------------------------------------------------------------------------


@record(frozen=True)
class Product:
    """A product to schedule. Sizes that are None are known when the dispatch runs."""

    rows: int | None
    columns: int | None
    depth: int | None
    tile_rows: int
    vectors: int
    computed: bool
    """A is computed, and kept in scratch."""
    chunks: bool
    """The reduction may be cut into chunks."""
    one_panel: bool
    """A workgroup prepares its own panel of B: it takes one, for all rows."""


@record(frozen=True)
class Schedule:
    """``for block of rows: for chunk of the reduction: for panel of columns: for tile of rows``.

    Workgroups share the blocks, and the panels in groups of ``panels``.
    """

    tiles: int | None = None
    """Tiles of rows of a block; None: all."""
    chunk: int | None = None
    """Steps of the reduction of a chunk; None: all at once. Sums wait in scratch between chunks."""
    panels: int = 1
    copy_rows: bool = False
    """Rows of A are put into scratch, a block and chunk at a time."""


def choose_schedule(product: Product, core: Core) -> Schedule:
    """The cheapest schedule by the model; the same wherever it is asked for."""
    panels = None
    if product.columns is not None:
        panels = -(-product.columns // (product.vectors * core.lanes))
    copy = product.computed
    if product.one_panel:
        return Schedule(tiles=_computed_tiles(product, core) if copy else None, copy_rows=copy)
    if product.rows is None or panels is None or product.depth is None:
        tiles = max(1, ROWS_PER_BLOCK // product.tile_rows)
        if copy:
            tiles = min(tiles, _computed_tiles(product, core))
            return Schedule(tiles=tiles, panels=_group(panels or 1, True), copy_rows=True)
        return Schedule(tiles=tiles)
    best: tuple[float, Schedule] | None = None
    for schedule in _schedules(product, panels, core):
        cycles = product_cycles(product, schedule, core)
        if best is None or cycles < best[0] * 0.995:
            best = cycles, schedule
    assert best is not None
    return best[1]


def together(units: int, cycles: float) -> int:
    """How many of ``units`` of work, ``cycles`` each, a workgroup does: enough to be worth handing out, and
    if possible so many that two threads have as much to do.
    """
    least = max(1, min(units, math.ceil(WORTH_A_GROUP / max(cycles, 1.0))))
    if units * cycles < 2 * WORTH_A_GROUP:
        return units

    def loss(n: int) -> float:
        groups = -(-units // n)
        return idle(groups, n, units) + LATE / groups

    return min(range(least, min(2 * least, units) + 1), key=loss)


# -- threads ----------------------------------------------------------------------------------------


def idle(groups: int, size: float = 1.0, all: float | None = None) -> float:
    """By what part of half the work two threads take longer: the one with more of ``groups`` of ``size``
    each (the last may be smaller), ``all`` of them together."""
    whole = groups * size if all is None else all
    return max(0.0, min(-(-groups // 2) * size, whole) / (whole / 2) - 1)


def weighed(one: float, two: float, groups: int) -> float:
    """What a plan is compared by: cycles of one thread, and of two that share ``groups``."""
    return (1 - SHARING) * one + SHARING * 2 * two * (1 + LATE / groups)


def _computed_tiles(product: Product, core: Core) -> int:
    """Tiles of rows whose copies take up at most half the second cache."""
    row = (product.depth or 1) * core.element_bytes
    tiles = max(1, core.l2_bytes // 2 // (row * product.tile_rows))
    return tiles if product.rows is None else min(tiles, -(-product.rows // product.tile_rows))


def _group(panels: int, computed: bool) -> int:
    """Panels of a workgroup that does several: few groups where each computes A again, else enough of them
    for threads to share, and as many for each of two."""
    if computed:
        groups = min(2 if panels < 32 else 4, -(-panels // FEW_PANELS))
    else:
        groups = min(8, max(-(-panels // FEW_PANELS), min(4, panels // 2)))
    if groups > 1:
        groups -= groups % 2
    return -(-panels // groups)


def _schedules(product: Product, panels: int, core: Core) -> Iterator[Schedule]:
    assert product.rows is not None and product.depth is not None
    n_tiles = -(-product.rows // product.tile_rows)
    blocks = 1
    if product.computed:
        # Scratch for the rows is bounded.
        blocks = -(-n_tiles // _computed_tiles(product, core))
    least = blocks
    while blocks == least or n_tiles // blocks >= 4:
        tiles = -(-n_tiles // blocks)
        # With one tile of rows nothing of B is used twice.
        most = MOST_CHUNKS if product.chunks and n_tiles > 1 else 1
        for chunks in range(1, most + 1):
            chunk = -(-product.depth // chunks)
            chunk += -chunk % 16
            if chunks > 1 and (chunk < 256 or (product.depth % chunk and product.depth % 16 == 0)):
                continue
            if chunk * (chunks - 1) >= product.depth:
                continue
            several = product.computed or chunks > 1
            yield Schedule(
                tiles if blocks > 1 else None,
                chunk if chunks > 1 else None,
                _group(panels, product.computed) if several else 1,
                product.computed,
            )
        blocks += max(1, blocks // 8)


def product_cycles(product: Product, schedule: Schedule, core: Core) -> float:
    """The whole product on one core."""
    assert product.rows is not None and product.depth is not None and product.columns is not None
    width = product.vectors * core.lanes
    panels = -(-product.columns // width)
    groups = -(-panels // schedule.panels)
    n_tiles = -(-product.rows // product.tile_rows)
    tiles = n_tiles if schedule.tiles is None else schedule.tiles
    blocks = -(-n_tiles // tiles)
    chunk = product.depth if schedule.chunk is None else schedule.chunk
    chunks = -(-product.depth // chunk)
    larger, small, rest = balanced(product.rows, product.tile_rows)
    again = chunks > 1
    compute = 0.0
    for count, rows in ((larger, small + 1), (rest, small)):
        compute += count * tile_cycles(rows, product.vectors, chunk, core.registers, again=again)
    compute *= panels * chunks
    a_bytes = product.rows * product.depth * core.element_bytes
    # What should stay in the second cache: a block's rows, two panels of B, and sums that wait.
    block_rows = min(product.rows, tiles * product.tile_rows)
    block = block_rows * chunk * core.element_bytes
    stays = block + 2 * chunk * width * core.element_bytes
    if again:
        stays += block_rows * schedule.panels * width * core.element_bytes
    missed = min(1.0, max(0.0, (stays - STAYS * core.l2_bytes) / block))
    # Chunks, and copies of rows, bring a block's rows once for every group of panels.
    fetched = groups if again or schedule.copy_rows else 1
    a_far = a_bytes * (fetched + missed * max(0, panels - fetched))
    copies = 0.0
    if schedule.copy_rows:
        copies = groups * product.rows * product.depth / core.lanes * COPY_CYCLES
    b_far = blocks * product.columns * product.depth * core.element_bytes / FAR_BYTES
    return max(compute, b_far) + SHOWS * (b_far + a_far / FAR_BYTES) + copies


__all__ = [
    "LATENCY", "LINE_BYTES", "Core", "Product", "Schedule", "accumulators_fit", "balanced", "choose_schedule",
    "idle", "partial_sums", "product_cycles", "step_cycles", "tile_cycles", "together", "weighed",
]  # fmt: skip
