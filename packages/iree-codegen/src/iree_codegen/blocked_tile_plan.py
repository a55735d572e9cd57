"""Chooses how a blocked convolution runs on matrix tiles, or that it does not.

A workgroup converts the rows it reads to bf16 in scratch, once for all panels of weights. The model is that
of ``blocked_plan``: cycles of products against those of tile loads, what comes from the L2 cache and from
further away, epilogues, conversion.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import replace

from iree_base.records import record
from iree_codegen.blocked_image import BlockedConvolution, flops
from iree_codegen.blocked_plan import FLOAT_BYTES, GROUP_CYCLES, L1_BYTES, L2_BYTES, UNEVEN, choose, exposed
from iree_codegen.blocked_tile_grid import Patches, PatchGrid, patch_grids
from iree_codegen.blocked_tile_panels import STEM_CHANNELS, STEM_PIXELS, WIDTH
from iree_codegen.blocked_winograd import plan_winograd
from iree_codegen.cost_model import FAR_BYTES
from iree_codegen.tile_panels import COLUMNS, DEPTH
from iree_codegen.tile_plan import PARTS
from iree_codegen.workgroup_description import WorkgroupDescription

BF16_BYTES = 2
PAGE_ELEMENTS = 2048
LINE_ELEMENTS = 32
PRODUCTS = {1: 1, 2: 3}
"""Tile products of a step for a tile of sums, by parts."""
TILE_GAIN = 0.9
"""Tiles are taken where the model promises at most this share of the cycles in f32."""
PATCH_CYCLES = 60
"""To start and end a patch."""
EPILOGUE_CYCLES = 2.0
"""What a vector of sums costs to store, load again and store as the result."""
HIDDEN = 0.7
"""Share of the shorter of products and epilogue that the longer hides."""
TILE_BYTES = 48
"""Bytes a cycle of tiles from the L2 cache."""
AGAIN_SHOWS = 0.3
"""Share of the time that weights take from the L2 cache for another workgroup which products do not hide."""
CONVERT_CYCLES = 5.0
"""To convert 32 channels of a pixel, a part."""
COPY_CYCLES = 3.0
"""To copy 32 that come as bf16."""
GATHERED_PIXELS = 256
"""Planes of up to so many pixels are gathered for each column of the window."""
STAYS = 0.5
"""The share of the L2 cache that converted rows take, at most."""
GROUP_FLOPS = 1 << 22
"""Work that is worth a workgroup of its own."""
ENOUGH_GROUPS = 4
LONELY = 0.1
"""What a single workgroup costs where several are worth it, since threads cannot share it."""
FEW = 0.02
"""What two or three cost, which threads share less evenly."""


@record(frozen=True)
class TileImage:
    """Where the converted rows of a workgroup lie: offsets in bf16 elements."""

    rows: int
    columns: int
    pixel: int
    """Elements of a pixel."""
    pitch: int
    """From row to row."""
    plane: int
    """From one group of channels to the next."""
    groups: int
    tap: tuple[int, int]
    """From tap to tap of the window, down and across."""
    down: int
    """From a row of output pixels to the next."""
    across: int
    """From output pixel to output pixel."""
    behind: int
    """What tiles touch behind the last row."""

    @property
    def part(self) -> int:
        """From a number's first part to its second."""
        size = self.groups * self.plane + self.behind
        return -(-size // LINE_ELEMENTS) * LINE_ELEMENTS


@record(frozen=True)
class PatchPlan:
    grid: PatchGrid
    parts: int
    bands: int
    """Bands of the grid that a workgroup does."""
    shares: int
    """Workgroups that share the panels of the same pixels; each converts them."""
    cycles: float = 0.0
    """Of one image."""

    @property
    def blocks(self) -> int:
        return -(-self.grid.bands // self.bands)

    @property
    def rows(self) -> int:
        """Rows of the grid that a workgroup does, at most."""
        return min(self.bands * self.grid.height, self.grid.rows)

    def gathers(self, c: BlockedConvolution) -> bool:
        """Every column of the window sees the plane as a list of its own."""
        return self.grid.flat and not c.is_plain and not c.is_sparse

    def image(self, c: BlockedConvolution) -> TileImage:
        (kh, kw), (sy, sx), (dy, dx) = c.kernel, c.strides, c.dilations
        groups = -(-c.blocks * c.inner // DEPTH)
        tile, behind = self.grid.tile, self.grid.tile * DEPTH
        if c.stem:
            rows = (self.rows - 1) * sy + c.extent[0]
            columns = (c.out_size[1] - 1) * sx + STEM_PIXELS
            pitch = -(-columns * STEM_CHANNELS // LINE_ELEMENTS) * LINE_ELEMENTS
            across = sx * STEM_CHANNELS
            behind = max(tile * across, c.lanes * STEM_CHANNELS)
            return TileImage(
                rows,
                columns,
                STEM_CHANNELS,
                pitch,
                rows * pitch,
                1,
                (dy * pitch, 0),
                sy * pitch,
                across,
                behind,
            )
        if self.gathers(c):
            columns = c.out_size[1]
            pitch = columns * DEPTH
            if sy == 1:
                each = c.out_size[0] + c.extent[0] - 1
                rows, tap = kw * each, (dy * pitch, each * pitch)
            else:
                rows, tap = kh * kw * c.out_size[0], (kw * c.out_size[0] * pitch, c.out_size[0] * pitch)
            return TileImage(
                rows,
                columns,
                DEPTH,
                pitch,
                _apart(rows * pitch),
                groups,
                tap,
                self.grid.columns * DEPTH,
                DEPTH,
                behind,
            )
        if self.grid.flat or c.is_sparse:
            rows, columns = self.rows, self.grid.columns
            pitch = columns * DEPTH
            return TileImage(
                rows, columns, DEPTH, pitch, _apart(rows * pitch), groups, (0, 0), pitch, DEPTH, behind
            )
        rows = (self.rows - 1) * sy + c.extent[0]
        columns = (c.out_size[1] - 1) * sx + c.extent[1]
        pitch = columns * DEPTH
        return TileImage(
            rows, columns, DEPTH, pitch, _apart(rows * pitch), groups, (dy * pitch, dx * DEPTH), sy * pitch,
            sx * DEPTH, behind * sx,
        )  # fmt: skip


def _apart(plane: int) -> int:
    """Planes a page apart would share the few lines of one set of the L1 cache."""
    return plane + LINE_ELEMENTS if plane % PAGE_ELEMENTS == 0 else plane


def n_steps(c: BlockedConvolution) -> int:
    """Products of 32 channels for a sum."""
    return c.kernel[0] if c.stem else -(-c.blocks * c.inner // DEPTH) * c.n_taps


def _fits(c: BlockedConvolution, parts: int) -> bool:
    if c.lanes != COLUMNS or not c.weights.constant or c.group > 1 or (c.rounded and (c.stem or parts > 1)):
        return False
    return not c.stem or (c.blocks <= STEM_CHANNELS and c.kernel[1] <= STEM_PIXELS and c.dilations[1] == 1)


def plan_patches(c: BlockedConvolution, description: WorkgroupDescription) -> PatchPlan | None:
    """The plan, the same when constants are laid out and when code is generated; None where f32 is faster."""
    parts = PARTS.get(description.matmul_precision)
    if parts is None or "bf16" not in description.matrix_tiles or not _fits(c, parts):
        return None
    best = _best(c.without_values(), parts)
    if best is None or c.rounded:
        return best
    cycles = choose(c, description).cycles
    strips = plan_winograd(c, description) if description.conv_algorithm == "auto" else None
    if strips is not None:
        cycles = min(cycles, strips.cycles)
    return best if best.cycles <= TILE_GAIN * cycles else None


@functools.lru_cache(maxsize=256)
def _best(c: BlockedConvolution, parts: int) -> PatchPlan | None:
    return min(_plans(c, parts), key=lambda p: p.cycles, default=None)


def _plans(c: BlockedConvolution, parts: int) -> Iterator[PatchPlan]:
    images = c.batch if isinstance(c.batch, int) else 1
    wanted = min(ENOUGH_GROUPS, max(1, flops(c, images) // GROUP_FLOPS))
    panels = -(-c.out_blocks // WIDTH)
    for grid in patch_grids(*c.out_size, flat=c.flat and not c.stem):
        for bands in sorted({b for b in (1, 2, 4, 7, 8, 14, 16, 28, 32) if b < grid.bands} | {grid.bands}):
            plan = PatchPlan(grid, parts, bands, 1)
            if not _is_possible(c, plan):
                continue
            for groups in {1, wanted, min(wanted, 2)}:
                shares = min(panels, max(1, -(-groups // (plan.blocks * images))))
                shared = replace(plan, shares=-(-panels // -(-panels // shares)))
                yield replace(shared, cycles=_cycles(c, shared, wanted, images))


def _is_possible(c: BlockedConvolution, plan: PatchPlan) -> bool:
    grid = plan.grid
    if plan.gathers(c) and (plan.blocks > 1 or math.prod(c.out_size) > GATHERED_PIXELS):
        return False
    if grid.flat and c.is_sparse and plan.blocks > 1 and plan.bands * grid.columns % c.out_size[1]:
        return False
    size = plan.image(c).part * plan.parts * BF16_BYTES
    return plan.bands == 1 or plan.gathers(c) or size <= STAYS * L2_BYTES


def _cycles(c: BlockedConvolution, plan: PatchPlan, wanted: int, images: int) -> float:
    grid, parts, steps = plan.grid, plan.parts, n_steps(c)
    image = plan.image(c)
    piece = image.part * parts * BF16_BYTES
    full, rest = divmod(c.out_blocks, WIDTH)
    products = 0.0
    for blocks, panels in ((WIDTH, full), (rest, 1)):
        if blocks and panels:
            products += panels * sum(
                count * _patch_cycles(c, patches, plan, steps, blocks, piece) for patches, count in grid.all()
            )
    converted = image.rows * image.columns * image.groups * parts * image.pixel / DEPTH
    converted *= plan.blocks * plan.shares * (COPY_CYCLES if c.rounded else CONVERT_CYCLES)
    source = math.prod(c.size) * c.blocks * c.inner * (BF16_BYTES if c.rounded else FLOAT_BYTES)
    if source > L2_BYTES // 2:
        converted += plan.shares * source / FAR_BYTES * 0.5
    weights = c.out_blocks * c.lanes * steps * DEPTH * parts * BF16_BYTES
    cycles = products + converted + plan.blocks * plan.shares * GROUP_CYCLES
    cycles += exposed(weights * (plan.blocks if weights > L2_BYTES // 2 else 1), FAR_BYTES, products)
    cycles += AGAIN_SHOWS * weights * (plan.blocks - 1) / TILE_BYTES
    cycles += UNEVEN * products * (grid.bands % plan.bands != 0)
    groups = plan.blocks * plan.shares * images
    return cycles * (1 + (LONELY if groups < min(wanted, 2) else FEW * (groups < wanted)))


def _patch_cycles(
    c: BlockedConvolution, patches: Patches, plan: PatchPlan, steps: int, blocks: int, piece: int
) -> float:
    tiles, parts, tile = len(patches.runs), plan.parts, plan.grid.tile
    products = tiles * blocks * tile * PRODUCTS[parts]
    loads = (tiles * tile + blocks * COLUMNS) * parts / 2
    near = blocks * 1024 * parts if blocks * 1024 * parts * steps > L1_BYTES // 2 else 0
    if piece > L1_BYTES // 2:
        near += tiles * tile * 64 * parts // min(3, c.n_taps)
    inner = steps * max(products, loads, near / TILE_BYTES)
    outer = patches.pixels * blocks * (EPILOGUE_CYCLES + 0.5 * c.epilogue)
    return max(inner, outer) + (1 - HIDDEN) * min(inner, outer) + PATCH_CYCLES


__all__ = ["PatchPlan", "TileImage", "n_steps", "plan_patches"]
