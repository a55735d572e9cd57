"""Chooses how a blocked convolution runs: register tile, order of loops, chunks of the reduction.

An analytic model in cycles: products against the ports, a fixed cost per tile, bytes that come from the L2
cache, from further away, or from the core that wrote them. Two threads share the plane, or, where it is not
cut, the output channels: then half the input was made by the other core, but no weight is read by both. What
is measured is said beside each number.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from iree_base.records import record
from iree_codegen.blocked_grid import SMALL_PLANE, WIDEST, Grid, grids
from iree_codegen.blocked_image import BlockedConvolution, flops
from iree_codegen.cost_model import FAR_BYTES, LATENCY, LINE_BYTES, PORTS, REMOTE_BYTES, idle, weighed

FLOAT_BYTES = 4
L1_BYTES = 48 << 10
L2_BYTES = 2 << 20
NEAR_BYTES = 32
"""Bytes a cycle from the L2 cache, beside products."""
COPY_BYTES = 10
"""Bytes a cycle copied to scratch."""
TILE_CODE = 0.005
"""What the first kind of tile costs, the second twice that: code to compile and to keep in the caches."""
NEAR_SHOWS = 0.3
"""Share of that time which products do not hide."""
WEIGHT_RATE = 24
"""Bytes a cycle of weights from the L2 cache where they do not stay in the L1 cache."""
TILE_CYCLES = 50
"""To start and end a register tile, beside its stores."""
MOST_VECTORS = 5
"""Of output channels in a register tile: wider ones leave too few pixels to share a weight."""
GROUP_CYCLES = 800
"""To start a workgroup."""
ENOUGH_GROUPS = 8
UNEVEN = 0.02
"""What bands that do not divide the plane cost: workgroups of unequal length."""
STEM_PIXEL = 0.005
"""What a pixel of a tile costs a stem (measured: 4 vectors x 6 pixels before 2 x 14)."""
GROUP_FLOPS = 3 << 18
"""Work that is worth a workgroup of its own: 4 us."""
LONG_PANELS = 1 << 20
"""Two panels of weights beyond this are gone through in chunks where the plane is small."""
CHUNK_BYTES = 128 << 10
CHUNKED_PIXELS = 200
"""Planes of up to so many pixels keep their sums in scratch between chunks."""


@record(frozen=True)
class Plan:
    vectors: int
    """Vectors of output channels of a register tile, and of a panel of weights."""
    grid: Grid
    bands: int
    """Bands of the grid that a workgroup does."""
    shares: int
    """Workgroups that share the panels of the same pixels."""
    chunk: int
    """Blocks of input channels between two visits of a tile; 0: all at once."""
    cycles: float
    """Of one image, on one core."""

    @property
    def blocks(self) -> int:
        return -(-self.grid.bands // self.bands)

    def copies(self, c: BlockedConvolution) -> bool:
        """The input goes to scratch: for its padding, so that all tiles of a small plane are alike, or so
        that the few pixels that are read use all sets of the L1 cache."""
        return c.padded or c.is_sparse or c.interleaves or (self.grid.flat and not c.is_plain)


def vector_choices(registers: int, blocks: int) -> Iterator[tuple[int, int]]:
    """(vectors of channels, most pixels) of register tiles."""
    for vectors in range(min(2, blocks), min(MOST_VECTORS, blocks) + 1):
        pixels = min((registers - 1 - vectors) // vectors, WIDEST)
        if pixels > 1:
            yield vectors, pixels


def tile_cycles(vectors: int, pixels: int, depth: int, epilogue: int) -> float:
    """One register tile: multiply-adds and loads have two ports each."""
    step = max(vectors * pixels / PORTS, (vectors + pixels) / PORTS + 0.5, LATENCY)
    if vectors * depth * LINE_BYTES > L1_BYTES // 2:
        step = max(step, vectors * LINE_BYTES / WEIGHT_RATE)
    return depth * step * 1.01 + TILE_CYCLES + vectors * pixels * (1 + 0.5 * epilogue)


def input_rows(c: BlockedConvolution, grid: Grid, bands: int) -> int:
    """Input rows that ``bands`` bands read."""
    if grid.flat:
        return min(bands * grid.height, grid.rows) if c.is_plain else gathered_rows(c)
    rows = min(bands * grid.height, grid.rows)
    return rows if c.is_sparse else (rows - 1) * c.strides[0] + c.extent[0]


def gathered_rows(c: BlockedConvolution) -> int:
    """Rows of result width in which the taps of a small plane lie, all of them."""
    kh, kw = c.kernel
    return kw * (c.out_size[0] + c.extent[0] - 1) if c.strides[0] == 1 else kh * kw * c.out_size[0]


def input_columns(c: BlockedConvolution, grid: Grid) -> int:
    if grid.flat:
        return grid.columns if c.is_plain else c.out_size[1]
    return c.out_size[1] if c.is_sparse else (c.out_size[1] - 1) * c.strides[1] + c.extent[1]


def _products(c: BlockedConvolution, grid: Grid, vectors: int) -> float:
    full, rest = divmod(c.out_blocks, vectors)
    panels = [(vectors, full)] + ([(rest, 1)] if rest else [])
    return sum(
        count * n * tile_cycles(own, pixels, c.depth, c.epilogue)
        for own, count in panels
        for pixels, n in grid.sizes()
        if count
    )


def exposed(n_bytes: float, rate: float, products: float) -> float:
    """Cycles to move bytes that ``products`` cycles of work do not hide: little of a small share."""
    cycles = n_bytes / rate
    return cycles * cycles / (2 * products) if cycles < products else cycles - products / 2


def _memory(c: BlockedConvolution, plan: Plan, products: float, threads: int, apart: bool) -> float:
    """Cycles of a thread to move weights and input, as far as its products do not hide them; ``apart``:
    threads have channels of their own."""
    grid = plan.grid
    panels = -(-c.out_blocks // plan.vectors)
    weights = c.out_blocks * c.depth * c.lanes * FLOAT_BYTES
    rows, columns = input_rows(c, grid, plan.bands), input_columns(c, grid)
    piece = rows * columns * c.blocks * c.inner * FLOAT_BYTES
    image = math.prod(c.size) * c.blocks * c.inner * FLOAT_BYTES
    far = image > L2_BYTES // 2
    times = max(1, plan.blocks // threads) if weights > L2_BYTES // 2 else 1
    cycles = exposed(weights / threads if apart else weights * times, FAR_BYTES, products)
    if piece > L2_BYTES // 2:
        cycles += exposed(piece * plan.blocks * panels / threads, FAR_BYTES, products)
    elif far and not plan.copies(c):
        # Only the first panel waits for the input.
        cycles += plan.shares * exposed(piece * plan.blocks / threads, FAR_BYTES, products / panels)
    if piece > L1_BYTES // 2:
        cycles += NEAR_SHOWS * piece * plan.blocks * panels / NEAR_BYTES / threads
    if plan.copies(c):
        cycles += piece * plan.blocks * plan.shares / (FAR_BYTES if far else COPY_BYTES) / threads
    if threads > 1 and apart and not far:
        cycles += exposed(image / threads, REMOTE_BYTES, products)
    return cycles


def _chunk(c: BlockedConvolution, vectors: int, pixels: int) -> int:
    """Input blocks of a chunk: a divisor; 0 where no chunks are needed."""
    per_block = c.inner * c.n_taps * vectors * c.lanes * FLOAT_BYTES
    if c.stem or c.tail or pixels > CHUNKED_PIXELS or 2 * per_block * c.blocks <= LONG_PANELS:
        return 0
    most = max(1, CHUNK_BYTES // per_block)
    chunk = next(n for n in range(most, 0, -1) if c.blocks % n == 0)
    return 0 if chunk * per_block < CHUNK_BYTES // 4 else chunk


def _shapes(c: BlockedConvolution, registers: int) -> Iterator[tuple[float, int, Grid]]:
    """Register tiles: (cycles of their products, vectors, grid)."""
    small = c.flat and not c.stem and math.prod(c.out_size) <= SMALL_PLANE
    for vectors, pixels in vector_choices(registers, c.out_blocks):
        for grid in grids(*c.out_size, pixels, flat=c.flat and c.is_plain and not c.interleaves, small=small):
            yield _products(c, grid, vectors) * (1 + STEM_PIXEL * pixels * c.stem), vectors, grid


def _plans(c: BlockedConvolution, vectors: int, grid: Grid, wanted: int) -> Iterator[Plan]:
    """How workgroups may share a grid and its panels; what they cost and their chunks are to be found."""
    images = c.batch if isinstance(c.batch, int) else 1
    panels = -(-c.out_blocks // vectors)
    for bands in {-(-grid.bands // n) for n in (1, 2, 4, 8, 16, 32, 64)}:
        blocks = -(-grid.bands // bands)
        found = set()
        for groups in (wanted, min(wanted, 4), min(wanted, 2)):
            shares = min(panels, max(1, -(-groups // (blocks * images))))
            found.add(-(-panels // -(-panels // shares)))
        for shares in found:
            yield Plan(vectors, grid, bands, shares, 0, 0.0)


def _cycles(
    c: BlockedConvolution, plan: Plan, products: float, wanted: int, limit: float
) -> tuple[float, float] | None:
    """Of one thread; and with two in mind, too, by which plans are compared. None where that is no less than
    ``limit``, which products and starts alone, or with the memory of one thread, often say.
    """
    grid = plan.grid
    images = c.batch if isinstance(c.batch, int) else 1
    kinds = len(grid.band + grid.rest)
    code = TILE_CODE * kinds * (kinds + 1) / 2 + UNEVEN * (grid.bands % plan.bands != 0)
    starts = plan.blocks * plan.shares * GROUP_CYCLES
    groups = plan.blocks * plan.shares * images
    one = products * (1 + code) + starts
    shared = wanted >= 2 and groups >= 2
    if shared:
        panels = -(-c.out_blocks // plan.vectors)
        size = plan.bands * -(-panels // plan.shares) * plan.vectors
        longer = 1 + idle(groups, size, grid.bands * c.out_blocks * images)
        half = products / 2 * longer
        two = half * (1 + code) + starts / 2
    else:
        half = two = one / 2 if wanted < 2 else one
    if weighed(one, two, groups) >= limit:
        return None
    one += _memory(c, plan, products, 1, False)
    if weighed(one, two, groups) >= limit:
        return None
    if shared:
        two += _memory(c, plan, half, 2, plan.blocks * images == 1)
    else:
        two = one / 2 if wanted < 2 else one
    score = weighed(one, two, groups)
    return None if score >= limit else (one, score)


def choose(c: BlockedConvolution, description: Any) -> Plan:
    """The best plan: the same when constants are laid out and when code is generated."""
    return _best(c.without_values(), description.registers)


@functools.lru_cache(maxsize=256)
def _best(c: BlockedConvolution, registers: int) -> Plan:
    wanted = min(ENOUGH_GROUPS, max(1, flops(c, c.batch if isinstance(c.batch, int) else 1) // GROUP_FLOPS))
    best, least, cycles = None, math.inf, 0.0
    for products, vectors, grid in sorted(_shapes(c, registers), key=lambda shape: shape[0]):
        # All else only adds to the products.
        if products >= least:
            break
        for plan in _plans(c, vectors, grid, wanted):
            found = _cycles(c, plan, products, wanted, least)
            if found is not None:
                best, (cycles, least) = plan, found
    assert best is not None
    chunk = _chunk(c, best.vectors, best.bands * best.grid.height * best.grid.columns)
    return replace(best, chunk=chunk, cycles=cycles)
