"""Convolutions whose image is packed into words of several channels, and how they are cut.

An image ``[N][C][H][W]`` (padded) is packed, some output rows at a time, as words of 32 bits that hold some
channels of a pixel: ``[groups][phase][rows][pitch]``. A phase holds the pixels that are a multiple of the
stride apart, so that every tap reads consecutive words for consecutive output pixels. Output pixels are
counted along the pitch: what lies behind the last column of a row is computed and not stored.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from iree_base.records import record
from iree_codegen.contraction import Root, find_root
from iree_codegen.dispatch import Binding, Dispatch
from iree_codegen.integer_panels import GROUP
from iree_codegen.integer_plan import is_integer_product, weights_of
from iree_codegen.tiles import choose_tile
from iree_codegen.window import step_of
from iree_core_ir.ir.affine import AffineDim

BLOCK_PIXELS = 448
"""Output pixels that a workgroup does, about: their sums for one panel of filters stay in the L1 cache."""
GROUPS = 2
"""Workgroups that a convolution of one block is cut into, so that several workers share it."""
BATCH, FILTER, ROW, COLUMN, CHANNEL, TAP_ROW, TAP_COLUMN = range(7)
"""The loops of the op."""


@record(frozen=True)
class Tap:
    """Where a tap's pixels lie: phase, and how many rows and columns further on."""

    phase: int
    row: int
    column: int


@record
class PackedWindow:
    root: Root
    weights: Binding
    strides: tuple[int, int]
    dilations: tuple[int, int]
    lanes: int
    filters_per_tile: int
    vectors: int
    block_rows: int
    """Output rows that a workgroup does."""
    group: int
    """Channels in a word."""
    channel_groups: int
    """Words that hold all channels."""

    def extent(self, loop: int) -> int:
        extent = self.root.extents[loop]
        assert isinstance(extent, int)
        return extent

    @property
    def phases(self) -> list[tuple[int, int]]:
        """Offsets of the pixels of each phase that some tap reads."""
        found = dict.fromkeys(self._offset(kh, kw)[0] for kh, kw in self._window())
        return list(found)

    @property
    def taps(self) -> list[Tap]:
        """In the order of the weights."""
        phases = self.phases
        found = []
        for kh, kw in self._window():
            phase, row, column = self._offset(kh, kw)
            found.append(Tap(phases.index(phase), row, column))
        return found

    def _window(self) -> list[tuple[int, int]]:
        return [(i, j) for i in range(self.extent(TAP_ROW)) for j in range(self.extent(TAP_COLUMN))]

    def _offset(self, kh: int, kw: int) -> tuple[tuple[int, int], int, int]:
        y, x = kh * self.dilations[0], kw * self.dilations[1]
        return (y % self.strides[0], x % self.strides[1]), y // self.strides[0], x // self.strides[1]

    @property
    def pitch(self) -> int:
        """Words of a packed row."""
        return self.extent(COLUMN) + max(tap.column for tap in self.taps)

    @property
    def plane(self) -> int:
        """Words of a phase of a group of channels."""
        return (self.block_rows + max(tap.row for tap in self.taps)) * self.pitch

    @property
    def group_words(self) -> int:
        """Words of a group of channels."""
        return len(self.phases) * self.plane

    @property
    def tiles(self) -> int:
        """Tiles along the pixels of a block."""
        pixels = (self.block_rows - 1) * self.pitch + self.extent(COLUMN)
        return -(-pixels // (self.vectors * self.lanes))

    @property
    def sums_pitch(self) -> int:
        """Sums of a filter for the pixels of a block."""
        return self.tiles * self.vectors * self.lanes

    @property
    def image_words(self) -> int:
        """All that is packed, and what loads of the last tile touch behind it."""
        return self.channel_groups * self.group_words + self.vectors * self.lanes + self.pitch

    @property
    def filter_panels(self) -> int:
        return -(-self.extent(FILTER) // self.filters_per_tile)

    @property
    def blocks(self) -> int:
        return -(-self.extent(ROW) // self.block_rows)

    @property
    def panels_at_once(self) -> int:
        """Panels of filters that a workgroup goes through."""
        groups = GROUPS if self.blocks * self.extent(BATCH) == 1 and self.filter_panels >= 2 * GROUPS else 1
        return -(-self.filter_panels // groups)


def find_window(dispatch: Dispatch, accept: Callable[[Any], bool]) -> FoundWindow | None:
    """The convolution that ``accept`` takes as a product, when its image can be packed."""
    root = find_root(dispatch, accept)
    if root is None or not root.zero:
        return None
    op = root.op
    if list(op.iterator_types) != ["parallel"] * 4 + ["reduction"] * 3:
        return None
    if not all(isinstance(e, int) and e > 0 for e in root.extents):
        return None
    steps = _steps(op.indexing_maps[0])
    weights = weights_of(dispatch, root)
    wanted = (FILTER, CHANNEL, TAP_ROW, TAP_COLUMN)
    if steps is None or weights is None or weights.dims != tuple(root.extents[i] for i in wanted):
        return None
    if tuple(op.indexing_maps[2].dim_positions()) != (BATCH, FILTER, ROW, COLUMN):
        return None
    if tuple(op.indexing_maps[1].dim_positions()) != wanted:
        return None
    return FoundWindow(root, weights, *steps)


@record
class FoundWindow:
    """A convolution before it is cut."""

    root: Root
    weights: Binding
    strides: tuple[int, int]
    dilations: tuple[int, int]

    def extent(self, loop: int) -> int:
        extent = self.root.extents[loop]
        assert isinstance(extent, int)
        return extent

    @property
    def block_rows(self) -> int:
        """Output rows in blocks of about equal size."""
        rows = min(self.extent(ROW), max(1, BLOCK_PIXELS // self.extent(COLUMN)))
        return -(-self.extent(ROW) // -(-self.extent(ROW) // rows))

    def cut(self, lanes: int, filters: int, vectors: int, group: int, channel_groups: int) -> PackedWindow:
        return PackedWindow(
            self.root, self.weights, self.strides, self.dilations, lanes, filters, vectors, self.block_rows,
            group, channel_groups,
        )  # fmt: skip


def plan_integer_window(dispatch: Dispatch, description: Any) -> PackedWindow | None:
    """The plan of a product of bytes, the same when constants are laid out and when code is generated."""
    if not description.integer_dots or not description.masks:
        return None
    found = find_window(dispatch, is_integer_product)
    if found is None:
        return None
    lanes = description.vector_bits // 32
    groups = -(-found.extent(CHANNEL) // GROUP)
    depth = groups * found.extent(TAP_ROW) * found.extent(TAP_COLUMN)
    pixels = -(-found.block_rows * found.extent(COLUMN) // lanes)
    tile = choose_tile(found.extent(FILTER), pixels, depth, description.registers)
    return found.cut(lanes, tile.rows, tile.vectors, GROUP, groups)


def _steps(map: Any) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """(strides, dilations) of an image read at ``(n, c, oh * s + kh * d, ow * s + kw * d)``."""
    results = map.results
    if len(results) != 4 or results[0] != AffineDim(BATCH) or results[1] != AffineDim(CHANNEL):
        return None
    found = []
    for expr, outer, inner in ((results[2], ROW, TAP_ROW), (results[3], COLUMN, TAP_COLUMN)):
        step = step_of(expr, outer, inner)
        if step is None:
            return None
        found.append(step)
    return (found[0][0], found[1][0]), (found[0][1], found[1][1])
