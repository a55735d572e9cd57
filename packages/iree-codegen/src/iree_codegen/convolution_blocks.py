"""How a convolution is cut up: register tile, rows a workgroup takes, how its input lies in memory.

Sizes come from a small cost model in cycles: products, loads, vectors that are partly wasted, and weights
that are read once a block.
"""

from __future__ import annotations

from collections.abc import Iterator

from iree_base.records import record
from iree_codegen.window import Window, images
from iree_codegen.workgroup_description import WorkgroupDescription

FLOAT_BYTES = 4
INPUT_BYTES = 1 << 20
"""Input rows of a block stay in this much of the L2 cache, weights stream beside them."""
SLAB_BYTES = 96 << 10
ENOUGH_GROUPS = 4
"""Workgroups wanted of a dispatch with enough work, so that a few threads share it."""
GROUP_FLOPS = 1 << 21
PANELS = {16: (6, 4), 32: (6, 8, 4, 5, 14)}
"""Output channels of a register tile worth trying, by the number of vector registers."""
CACHED_WEIGHTS = 1 << 20


@record(frozen=True)
class Rows:
    """Some output rows of one image: where their input lies. ``copied``: in scratch, padded."""

    rows: int
    pitch: int
    """Elements from one output position to the one below."""
    phase: int
    """Elements of one stride phase of a channel."""
    plane: int
    """Elements from channel to channel."""
    positions: int
    copied: bool
    phases: tuple[tuple[int, int], ...]

    def offset(self, w: Window[int], y: int, x: int) -> int:
        """Where tap (y, x) of the output position 0 is read."""
        if not self.copied:
            return y * self.pitch + x
        sy, sx = w.strides
        number = self.phases.index((y % sy, x % sx))
        return number * self.phase + (y // sy) * self.pitch + x // sx

    @property
    def copied_rows(self) -> int:
        return self.phase // self.pitch


@record(frozen=True)
class Blocks:
    """The plan of a convolution."""

    panel: int
    """Output channels of a register tile, and of a panel of weights."""
    vectors: int
    """Vectors of positions of a register tile, at most."""
    layout: Rows
    shares: int
    """Workgroups that share the output channels of a block."""
    lanes: int
    cycles: float
    """Of one image's group."""

    @property
    def n_vectors(self) -> int:
        return -(-self.layout.positions // self.lanes)


def rows_layout(w: Window[int], rows: int, lanes: int, masks: bool) -> Rows:
    if not w.padded and w.strides == (1, 1):
        positions = (rows - 1) * w.width + w.out_width
        if masks or positions % lanes == 0:
            return Rows(rows, w.width, rows * w.width, w.height * w.width, positions, False, ((0, 0),))
    sy, sx = w.strides
    phases = tuple(sorted({(y % sy, x % sx) for y, x in w.taps}))
    columns = w.out_width + max(x // sx for _, x in w.taps)
    # Zeros at the end of a row can be those at the start of the next.
    shared = max(x // sx for _, x in w.taps)
    for _, px in phases:
        inside = [c for c in range(columns) if 0 <= c * sx + px - w.pad[1] < w.width]
        before, after = (inside[0], columns - 1 - inside[-1]) if inside else (0, 0)
        shared = min(shared, before, after)
    pitch = columns - shared
    phase = (rows + max(y // sy for y, _ in w.taps)) * pitch
    positions = (rows - 1) * pitch + w.out_width
    return Rows(rows, pitch, phase, phase * len(phases), positions, True, phases)


def widths(n_vectors: int, most: int) -> tuple[int, int, int]:
    """Balanced tiles: (how many are one wider, the narrow width, how many narrow ones)."""
    n_tiles = -(-n_vectors // most)
    narrow, wide = divmod(n_vectors, n_tiles)
    return wide, narrow, n_tiles - wide


def tile_cycles(panel: int, width: int, depth: int) -> float:
    step = max(panel * width / 2, (panel + 1.5 * width) / 2, 4.0)
    return depth * (step + 0.3) + 20 + 2.5 * panel * width


def _cycles(w: Window[int], layout: Rows, panel: int, vectors: int, lanes: int) -> float:
    """Of one image group."""
    n_vectors = -(-layout.positions // lanes)
    wide, narrow, rest = widths(n_vectors, vectors)
    tiles = rest * tile_cycles(panel, narrow, w.depth)
    if wide:
        tiles += wide * tile_cycles(panel, narrow + 1, w.depth)
    panels = -(-w.out_channels // panel)
    n_blocks = w.out_height // layout.rows
    weight_bytes = panels * panel * w.depth * FLOAT_BYTES
    weights = weight_bytes / (64 if weight_bytes < CACHED_WEIGHTS else 16)
    copied = layout.plane * w.channels / 4 if layout.copied else 0
    size = (layout.plane if layout.copied else layout.rows * layout.pitch) * w.channels * FLOAT_BYTES
    missed = max(0, size - INPUT_BYTES // 2) / 64
    return n_blocks * (panels * (tiles + missed) + weights + copied)


def _candidates(w: Window[int], description: WorkgroupDescription) -> Iterator[tuple[float, int, int, Rows]]:
    lanes = description.vector_bits // 32
    registers = description.registers
    for rows in range(w.out_height, 0, -1):
        if w.out_height % rows:
            continue
        layout = rows_layout(w, rows, lanes, description.masks)
        per_channel = layout.plane if layout.copied else rows * layout.pitch
        fits = per_channel * w.channels * FLOAT_BYTES <= INPUT_BYTES
        for panel in PANELS[32 if registers >= 32 else 16]:
            panel = min(panel, w.out_channels)
            if rows > 1 and not (fits and panel * layout.positions * FLOAT_BYTES <= SLAB_BYTES):
                continue
            vectors = min((registers - 1) // (panel + 1), 8)
            yield _cycles(w, layout, panel, vectors, lanes), panel, vectors, layout


def choose_blocks(w: Window[int], description: WorkgroupDescription) -> Blocks:
    """The same when constants are laid out and when code is generated."""
    cycles, panel, vectors, layout = min(_candidates(w, description), key=lambda c: c[0])
    have = images(w) * w.groups * (w.out_height // layout.rows)
    panels = -(-w.out_channels // panel)
    flops = 2 * images(w) * w.groups * w.out_channels * w.out_height * w.out_width * w.depth
    wanted = min(ENOUGH_GROUPS, max(1, flops // GROUP_FLOPS))
    shares = min(panels, -(-wanted // have)) if have < wanted else 1
    if layout.copied and w.out_channels // shares * w.n_taps < 128:
        shares = 1
    return Blocks(panel, vectors, layout, shares, description.vector_bits // 32, cycles)
