"""Convolution of images whose size is known when the dispatch runs.

The register tiles are those of static sizes. A pointwise convolution reads its input in place, in blocks of
consecutive positions. Otherwise a workgroup owns a block of rows and columns and copies what it reads to
scratch, padded and split by stride phase. The block's sizes are computed when the dispatch runs, balanced
over the image and within what scratch was planned for.

Positions beyond the last full tile are done a vector at a time, under a mask where it matters: a tile that
narrow loses little, because every weight is read once a vector anyway.
"""

from __future__ import annotations

from typing import Any

from iree_base.records import record
from iree_codegen import dims as dim_ops
from iree_codegen.convolution_blocks import (
    ENOUGH_GROUPS,
    FLOAT_BYTES,
    GROUP_FLOPS,
    INPUT_BYTES,
    PANELS,
    SLAB_BYTES,
    tile_cycles,
)
from iree_codegen.convolution_tiles import CHEAP_EPILOGUE, NAME, ConvolutionTiles
from iree_codegen.dims import Dim
from iree_codegen.dispatch import Dispatch
from iree_codegen.image_columns import load_columns
from iree_codegen.kernel import Kernel
from iree_codegen.kernel_builder import Index
from iree_codegen.window import Window, epilogue_cost, is_flat, total_groups
from iree_codegen.workgroup_description import WorkgroupDescription
from iree_core_ir.ir.operation import Value
from iree_core_ir.ir.types import f32

PLANE = 1 << 10
"""Positions an image is taken to have when work is shared out."""
MOST_COLUMNS = 128


def choose_sized_tile(w: Window[Any], description: WorkgroupDescription) -> tuple[int, int]:
    """(output channels, vectors of positions) of a register tile, for planes that are much larger."""
    registers = description.registers
    found = []
    for size in PANELS[32 if registers >= 32 else 16]:
        panel = min(size, w.out_channels)
        vectors = min((registers - 1) // (panel + 1), 8)
        cycles = -(-w.out_channels // panel) * tile_cycles(panel, vectors, w.depth) / vectors
        found.append((cycles, panel, vectors))
    _, panel, vectors = min(found)
    return panel, vectors


def sized_convolution(dispatch: Dispatch, description: WorkgroupDescription, window: Window[Dim]) -> Kernel:
    """The kernel for ``window``, whose sizes may be dims."""
    pointwise = window.taps == ((0, 0),) and window.strides == (1, 1) and not window.padded
    emitter = _Pointwise if pointwise and is_flat(dispatch, window.op) else _Copying
    return emitter(dispatch, description, window).run()


class _Sized(ConvolutionTiles[Dim]):
    """What both forms share: planes, shares of the output channels, loops over tiles."""

    def __init__(self, dispatch: Dispatch, description: WorkgroupDescription, window: Window[Dim]) -> None:
        panel, self.vectors = choose_sized_tile(window, description)
        super().__init__(dispatch, description, window, panel)
        self.direct = False

    @property
    def shares(self) -> int:
        """Workgroups that share the output channels of a block."""
        w = self.window
        return min(
            self.panels, max(1, min(ENOUGH_GROUPS, 2 * PLANE * w.out_channels * w.depth // GROUP_FLOPS))
        )

    def planes(self, blocks: Dim) -> tuple[Index, Index, Index]:
        """(share of the panels, block, plane) that this workgroup does; sets image and group."""
        k, w = self.kernel, self.window
        _, _, shares = self.panel_range(0, self.shares)
        number: Index = self.frame.ids[0]
        share, rest = k.mod(number, shares), k.floordiv(number, shares)
        n_blocks = k.dim(blocks)
        block, plane = k.mod(rest, n_blocks), k.floordiv(rest, n_blocks)
        self.group = k.mod(plane, w.groups) if w.groups > 1 else 0
        self.image = k.floordiv(plane, w.groups)
        self.first_panel = k.mul(self.group, self.panels)
        return share, block, plane

    def tiles(self, panel: Index, positions: Index, masked: bool) -> None:
        """All positions of one panel; ``masked``: nothing may be read beyond the last one."""
        k, lanes = self.kernel, self.lanes
        weights = self.weight_rows(panel)
        wide = self.vectors * lanes
        full = k.mul(k.floordiv(positions, wide), wide)

        def tile(position: Index, width: int, mask: Value | None) -> None:
            masks = [mask] * width
            sums = self.sums(weights, position, width, masks if masked else [None] * width)
            if self.direct:
                self.store(panel, position, width, sums, masks)
            else:
                self.keep(position, width, sums)

        def single(position: Index) -> None:
            tile(position, 1, k.mask_below(k.sub(positions, position), lanes))

        k.loop(0, full, wide, (), lambda p: tile(p, self.vectors, None))
        k.loop(full, positions, lanes, (), single)

    def finish(self, blocks: Dim, scratch: int, how: str) -> Kernel:
        _, _, shares = self.panel_range(0, self.shares)
        why = f"{self.window.n_taps} taps, tile {self.panel}x{self.vectors} vectors, {how}"
        return self.frame.finish([total_groups(self.window, dim_ops.mul(blocks, shares))], scratch, NAME, why)


class _Pointwise(_Sized):
    """Blocks of consecutive positions, read and written in place."""

    def run(self) -> Kernel:
        k, w = self.kernel, self.window
        wide = self.vectors * self.lanes
        self.direct = epilogue_cost(self.dispatch, w.op) <= CHEAP_EPILOGUE
        most = min(INPUT_BYTES // 2 // (w.channels * FLOAT_BYTES), PLANE)
        if not self.direct:
            most = min(most, SLAB_BYTES // (self.panel * FLOAT_BYTES))
        most = max(most // wide, 1) * wide
        positions = dim_ops.mul(w.height, w.width)
        blocks = dim_ops.ceildiv(positions, most)
        share, block, plane = self.planes(blocks)
        self.plane = k.dim(positions)
        self.offsets = [0]
        self.left = k.mul(block, most)
        self.base = k.add(k.mul(plane, k.mul(self.plane, w.channels)), self.left)
        here = k.min(k.sub(self.plane, self.left), most)
        scratch = 0 if self.direct else self.use_slab(most, 0)

        def one_panel(panel: Index) -> None:
            self.tiles(panel, here, masked=True)
            if not self.direct:
                self.finish_panel(panel, 1, here, 0)

        first, last, _ = self.panel_range(share, self.shares)
        k.loop(first, last, 1, (), one_panel)
        return self.finish(blocks, scratch, f"{most} positions a block")


@record(frozen=True)
class _Block:
    """How large a block of output is: numbers that bound it, and dims."""

    phase: int
    """Elements of a stride phase of a channel, at most."""
    columns: Dim
    rows: Dim
    across: Dim
    """Blocks side by side."""
    down: Dim
    pitch: Dim

    @property
    def count(self) -> Dim:
        return dim_ops.mul(self.across, self.down)


class _Copying(_Sized):
    """Blocks of rows and columns; what they read is copied to scratch."""

    def run(self) -> Kernel:
        k, w = self.kernel, self.window
        sy, sx = w.strides
        self.phases = sorted({(y % sy, x % sx) for y, x in w.taps})
        self.below, self.behind = max(y // sy for y, _ in w.taps), max(x // sx for _, x in w.taps)
        block = self._block()
        share, number, plane = self.planes(block.count)
        source = self.memory
        self.pitch = k.dim(block.pitch)
        rows, columns = k.dim(block.rows), k.dim(block.columns)
        across = k.dim(block.across)
        self.top = k.mul(k.floordiv(number, across), rows)
        self.left = k.mul(k.mod(number, across), columns)
        here = k.min(k.sub(k.dim(w.out_height), self.top), rows)
        wide = k.min(k.sub(k.dim(w.out_width), self.left), columns)
        self.phase = k.mul(k.add(here, self.below), self.pitch)
        self.plane = k.mul(self.phase, len(self.phases))
        self.offsets = [
            k.add(
                k.add(k.mul(self.phase, self.phases.index((y % sy, x % sx))), k.mul(self.pitch, y // sy)),
                x // sx,
            )
            for y, x in w.taps
        ]
        elements = block.phase * len(self.phases) * w.channels + self.behind + 2 * self.lanes
        self.memory = k.view(self.frame.scratch, 0, elements, f32)
        self._copy(source, plane, k.add(here, self.below))
        scratch = -(-elements * FLOAT_BYTES // 64) * 64
        scratch += self.use_slab(block.phase + self.lanes, scratch)
        positions = k.add(k.mul(k.add(here, -1), self.pitch), wide)

        def one_panel(panel: Index) -> None:
            self.tiles(panel, positions, masked=False)
            self.finish_panel(panel, here, wide, self.pitch)

        first, last, _ = self.panel_range(share, self.shares)
        k.loop(first, last, 1, (), one_panel)
        return self.finish(block.count, scratch, "input copied")

    @property
    def shares(self) -> int:
        return 1

    def _block(self) -> _Block:
        """Sizes that fit the cache, balanced so that the last block is as large as the others."""
        w, lanes = self.window, self.lanes
        most = INPUT_BYTES // 2 // (w.channels * len(self.phases) * FLOAT_BYTES)
        most = min(most, SLAB_BYTES // (self.panel * FLOAT_BYTES))
        widest = (most // (1 + self.below) - self.behind) // lanes * lanes
        widest = max(lanes, min(MOST_COLUMNS, widest))
        phase = max(most, (1 + self.below) * (widest + self.behind))

        def shared(size: Dim, largest: Dim) -> tuple[Dim, Dim]:
            """(parts, size of a part); an empty image has no parts."""
            parts = dim_ops.ceildiv(size, largest)
            return parts, dim_ops.ceildiv(size, dim_ops.maximum(parts, 1))

        across, columns = shared(w.out_width, widest)
        pitch = dim_ops.add(columns, self.behind)
        tallest = dim_ops.sub(dim_ops.floordiv(phase, dim_ops.maximum(pitch, 1)), self.below)
        down, rows = shared(w.out_height, tallest)
        return _Block(phase, columns, rows, across, down, pitch)

    def _copy(self, source: Value, plane: Index, rows: Index) -> None:
        """Input rows of the block to scratch, in ascending addresses: a row's last vector may run over."""
        k, w, lanes = self.kernel, self.window, self.lanes
        sy, sx = w.strides
        height, width = k.dim(w.height), k.dim(w.width)
        zero = k.constant(0.0, f32)

        def channel(c: Index) -> None:
            image = k.mul(k.add(k.mul(plane, w.channels), c), k.mul(height, width))
            for number, (py, px) in enumerate(self.phases):
                start = k.add(k.mul(c, self.plane), k.mul(self.phase, number))
                first = k.add(k.mul(self.left, sx), px - w.pad[1])

                def row(r: Index, py: int = py, start: Index = start, first: Index = first) -> None:
                    target = k.add(start, k.mul(r, self.pitch))
                    y = k.add(k.mul(k.add(self.top, r), sy), py - w.pad[0])
                    line = k.add(image, k.mul(y, width))

                    def inside(x: Index) -> None:
                        column = k.add(first, k.mul(x, sx))
                        border = column, width, zero
                        value = load_columns(k, source, k.add(line, column), sx, lanes, border)
                        k.vstore(value, self.memory, k.add(target, x))

                    def outside(x: Index) -> None:
                        k.vstore(k.splat(zero, lanes), self.memory, k.add(target, x))

                    k.if_(
                        k.compare("ult", y, height),
                        lambda: _ignored(k.loop(0, self.pitch, lanes, (), inside)),
                        lambda: _ignored(k.loop(0, self.pitch, lanes, (), outside)),
                    )

                k.loop(0, rows, 1, (), row)

        k.loop(0, w.channels, 1, (), channel)


def _ignored(results: list[Value]) -> None:
    """A loop that carries nothing."""
    assert not results
