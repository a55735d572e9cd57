"""Which attentions the strategy ``tile_attention`` takes, and how they are cut up.

A workgroup has rows of one head. It packs a chunk of keys and their values for the tiles once and takes its
rows through them, block by block: scores go to a slab ``[rows][keys]`` in f32, where the softmax leaves the
powers in bf16 parts; beside it tiles make the next block's scores in another slab. Where one chunk has all
keys, a block is finished before the next one begins; otherwise the maxima, sums and results of all rows wait
in scratch from chunk to chunk.
"""

from __future__ import annotations

from iree_base.records import record
from iree_codegen import dims as dim_ops
from iree_codegen.attention_plan import AttentionRoles, find_attention
from iree_codegen.dims import Dim
from iree_codegen.dispatch import Dispatch
from iree_codegen.tile_kernel import LINE, WORDS
from iree_codegen.tile_panels import COLUMNS, DEPTH, ROWS
from iree_codegen.tile_plan import PARTS
from iree_codegen.workgroup_description import WorkgroupDescription

SLAB_BYTES = 40 << 10
"""Scores of a block of rows, at most: they stay in the L1 cache."""
SUMS_BYTES = 128 << 10
"""Results of the rows of a workgroup that wait for more keys, at most."""
MOST_ROWS = 512
"""Rows for which keys and values are packed once: many more would not be cheaper each."""
FEWEST_ROWS = 4
"""With fewer, packing keys and values takes longer than multiplying them."""
MOST_PADDING = 4
"""How many products a useful one may cost: so many are made in the time of one in vectors, and packing is
extra."""
GROUPS = 2
"""Workgroups that an attention is cut into where heads alone give fewer, so that several workers share it."""


@record
class TileAttentionPlan(AttentionRoles):
    """Sizes are in elements, those of what is packed in words of two numbers."""

    parts: int
    """bf16 numbers that stand for an f32."""
    rows: int
    """Rows of a tile."""
    row_tiles: int

    @property
    def step(self) -> int:
        """Rows of a block."""
        return self.row_tiles * self.rows

    @property
    def single(self) -> bool:
        """One chunk has all keys."""
        return isinstance(self.n_keys, int) and self.n_keys <= self.most_keys

    @property
    def most_keys(self) -> int:
        return max(1, SLAB_BYTES // (4 * self.step) // DEPTH) * DEPTH

    @property
    def chunk(self) -> int:
        """Keys of a chunk: a multiple of the terms of a tile."""
        if not isinstance(self.n_keys, int):
            return self.most_keys
        keys = -(-self.n_keys // -(-self.n_keys // self.most_keys))
        return -(-keys // DEPTH) * DEPTH

    @property
    def key_groups(self) -> int:
        """Tiles along the keys of a chunk where they are summed over."""
        return self.chunk // DEPTH

    @property
    def depth_steps(self) -> int:
        return -(-self.size(self.depth) // DEPTH)

    @property
    def width_tiles(self) -> int:
        return -(-self.size(self.width) // COLUMNS)

    @property
    def group(self) -> int:
        """Rows of a workgroup: whole blocks."""
        most = MOST_ROWS
        if not self.single:
            most = min(most, SUMS_BYTES // (4 * self.sums_pitch))
        blocks = max(1, most // self.step)
        if isinstance(self.n_rows, int):
            whole = -(-self.n_rows // self.step)
            others = self.n_heads
            wanted = -(-GROUPS // others) if isinstance(others, int) and others else 1
            blocks = -(-whole // max(-(-whole // blocks), min(wanted, whole)))
        return blocks * self.step

    @property
    def n_groups(self) -> Dim:
        return dim_ops.ceildiv(self.n_rows, self.group)

    @property
    def slabs(self) -> int:
        """Two where there is a next block, whose scores are made beside the softmax of this one."""
        return 1 if self.group == self.step else 2

    # -- scratch: rows are an odd number of cache lines apart, so that they use all sets of a cache --------

    @property
    def query_pitch(self) -> int:
        """From row to row of the converted queries, in bf16 numbers."""
        return 2 * LINE * (self.depth_steps * self.parts | 1)

    @property
    def slab_pitch(self) -> int:
        """From row to row of the scores, in f32 numbers."""
        return LINE * (2 * self.key_groups | 1)

    @property
    def sums_pitch(self) -> int:
        return LINE * (self.width_tiles | 1)

    @property
    def key_tile(self) -> int:
        """Words of 16 packed keys: ``[steps][parts][16 pairs][16 keys]``."""
        return self.depth_steps * self.parts * WORDS

    @property
    def value_group(self) -> int:
        """Words of the values of 32 keys: ``[parts][tiles][16 pairs][16 columns]``."""
        return self.parts * self.width_tiles * WORDS


def parts_of(description: WorkgroupDescription) -> int | None:
    """bf16 numbers that stand for an f32; None where attentions stay in vectors."""
    if "bf16" not in description.matrix_tiles or not description.masks:
        return None
    return PARTS.get(description.matmul_precision)


def plan_tile_attention(dispatch: Dispatch, description: WorkgroupDescription) -> TileAttentionPlan | None:
    """The plan of a dispatch that is one attention worth converting for; None for any other."""
    parts = parts_of(description)
    if parts is None:
        return None
    roles = find_attention(dispatch, description, narrow=True)
    if roles is None:
        return None
    rows, row_tiles = ROWS, 2
    if isinstance(roles.n_rows, int):
        if roles.n_rows < FEWEST_ROWS:
            return None
        row_tiles = 1 if roles.n_rows <= ROWS else 2
        count = -(-roles.n_rows // (row_tiles * ROWS))
        rows = -(-roles.n_rows // (row_tiles * count))
    plan = TileAttentionPlan(**vars(roles), parts=parts, rows=rows, row_tiles=row_tiles)
    depth, width = roles.size(roles.depth), roles.size(roles.width)
    made = plan.depth_steps * DEPTH + plan.width_tiles * COLUMNS
    useful = depth + width
    if isinstance(roles.n_keys, int):
        made, useful = made * plan.key_groups * DEPTH, useful * min(roles.n_keys, plan.chunk)
    return plan if made <= MOST_PADDING * useful else None
