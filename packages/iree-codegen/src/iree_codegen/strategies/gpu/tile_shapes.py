"""Which tile a GPU gives a product: the shape with the least time by a model of waves of workgroups.

A tile's ``share`` is how much of an idle device's multiply-adds it reaches when there is work for all of
it: 8 x 16 sums per invocation need 24 loads from shared memory for 128 multiply-adds, 4 x 4 need 8 for 16.
Shares, latency and the warps that fill a core were measured on an H100 through Vulkan (f32: 47.5 TFLOP/s
with 128 x 256 x 16 at 2048 cubed; the small tiles at 128 rows).
"""

from __future__ import annotations

from dataclasses import replace

from iree_base.records import record
from iree_codegen import dims as dim_ops
from iree_codegen.dims import Dim
from iree_codegen.invocation_description import InvocationDescription

WORKGROUPS_AT_ONCE = 132
"""Workgroups a large device runs at once, one per core: fewer leave cores idle."""
UNKNOWN = 1 << 12
"""What an extent that is known at run time counts as."""
LATENCY_STEPS = 120
"""Time to start and end a workgroup, in steps of the depth."""
FULL_INVOCATIONS = 128
"""Invocations of 4 x 4 sums that keep a core busy; fewer leave some of its lanes waiting."""


@record(frozen=True)
class TileShape:
    """``rows x columns`` sums a workgroup, ``own_rows x own_columns`` an invocation, ``depth`` a slab; a slab
    is cut into ``shares``, each for invocations of its own."""

    rows: int
    columns: int
    depth: int
    own_rows: int
    own_columns: int
    share: float
    shares: int = 1

    @property
    def invocations(self) -> int:
        return self.per_share * self.shares

    @property
    def per_share(self) -> int:
        """Invocations that add up one share of the depth."""
        return self.rows * self.columns // (self.own_rows * self.own_columns)

    @property
    def shared_elements(self) -> int:
        """With the padding of a pitch by one vector."""
        return self.depth * (self.rows + self.columns + 8)

    def __str__(self) -> str:
        shares = f", the depth shared by {self.shares}" if self.shares > 1 else ""
        own = f"{self.own_rows}x{self.own_columns} an invocation"
        return f"{self.rows}x{self.columns}x{self.depth}, {own}{shares}"


SHARED_TILES = (
    TileShape(128, 256, 16, 8, 16, 1.0),
    TileShape(128, 128, 16, 8, 8, 0.9),
    TileShape(64, 128, 16, 4, 8, 0.76),
    TileShape(64, 64, 16, 4, 4, 0.6),
    TileShape(32, 64, 32, 4, 4, 0.5),
    TileShape(16, 64, 32, 4, 4, 0.5),
    TileShape(16, 64, 64, 4, 4, 0.43, 4),
    TileShape(16, 32, 64, 4, 4, 0.33, 8),
)


def shared_tile(
    batch: Dim, rows: Dim, columns: Dim, depth: Dim, description: InvocationDescription, element_bytes: int
) -> TileShape | None:
    """The best tile in shared memory that the device can hold; None when none fits."""
    found: tuple[float, TileShape] | None = None
    for tile in SHARED_TILES:
        if not _fits(tile, description, element_bytes):
            continue
        time = _time(tile, batch, rows, columns, depth)
        if found is None or time < found[0]:
            found = time, tile
    return None if found is None else found[1]


def _fits(tile: TileShape, description: InvocationDescription, element_bytes: int) -> bool:
    limit = min(description.max_workgroup_invocations, description.max_workgroup_size[0])
    bytes = tile.shared_elements * element_bytes
    return tile.invocations <= limit and bytes <= description.shared_memory_bytes


@record(frozen=True)
class RegisterTile:
    """``rows x (vectors * lanes)`` sums an invocation; ``across`` invocations along the columns and
    ``shares`` along the depth."""

    rows: int
    vectors: int
    lanes: int
    across: int
    shares: int = 1

    @property
    def columns(self) -> int:
        """Of a workgroup."""
        return self.vectors * self.lanes * self.across

    def __str__(self) -> str:
        shares = f", the depth shared by {self.shares}" if self.shares > 1 else ""
        return f"{self.rows}x{self.vectors * self.lanes} an invocation, {self.across} along columns{shares}"


TINY = 1 << 16
"""Multiply-adds of a product that is over before its first loads have come from memory."""
MAX_UNROLLED = 64
"""Steps of such a product."""
MAX_SHARES = 32
WIDE_GROUP = 128
"""Invocations along the columns where the depth is not shared: short sums, such as depthwise windows."""
SUMS_IN_SHARED = 2048
"""Numbers that the invocations of a workgroup leave for each other at most."""


def register_tile(
    rows: Dim,
    columns: Dim,
    slabs: Dim,
    lanes: int,
    description: InvocationDescription,
    *,
    tiny: bool = False,
) -> RegisterTile:
    """The tile of an invocation that reads its factors itself; ``lanes``: of vectors along the columns."""
    across = description.subgroup_size
    if tiny and description.prefers_barriers:
        return RegisterTile(1, 1, 1, across)
    own_rows = 8
    while isinstance(rows, int) and own_rows > 1 and -(-rows // own_rows) * own_rows >= rows + own_rows // 2:
        own_rows //= 2
    if not description.prefers_barriers:
        # Four columns an invocation, so that a row's element is used four times.
        vectors = 1 if lanes > 1 else 4
        while isinstance(columns, int) and vectors > 1 and across * vectors > columns:
            vectors //= 2
        return RegisterTile(own_rows, vectors, lanes, across)
    vectors = 1 if lanes > 1 or own_rows > 4 else 2
    limit = min(description.max_workgroup_invocations, description.max_workgroup_size[1] * across)
    if isinstance(columns, int) and columns // (across * lanes) < WORKGROUPS_AT_ONCE:
        lanes, vectors = 1, 1
    shares = 1
    while (
        shares < MAX_SHARES
        and 2 * shares * across <= limit
        and 2 * shares * across * own_rows * vectors * lanes <= SUMS_IN_SHARED
        and (not isinstance(slabs, int) or 4 * shares <= slabs)
    ):
        shares *= 2
    while (
        shares == 1
        and 2 * across <= min(WIDE_GROUP, limit, description.max_workgroup_size[0])
        and not (isinstance(columns, int) and columns < 2 * across * vectors * lanes)
    ):
        across *= 2
    return RegisterTile(own_rows, vectors, lanes, across, shares)


def is_tiny(batch: Dim, rows: Dim, columns: Dim, depth: Dim) -> bool:
    """True for products whose time is that of one load: an invocation per sum, all loads at once, is best."""
    total = dim_ops.total([batch, rows, columns, depth])
    return isinstance(total, int) and total <= TINY and isinstance(depth, int) and depth <= MAX_UNROLLED


def depth_step(extent: Dim, *, tiny: bool = False) -> int:
    """Steps of the innermost reduction loop that are written out: a divisor, vectors of four where it can;
    all of a ``tiny`` product's."""
    if isinstance(extent, int):
        if tiny and extent <= MAX_UNROLLED:
            return extent
        for step in (4, 3, 5, 7, 2):
            if extent % step == 0:
                return step
    return 1


@record(frozen=True)
class FragmentTile:
    """``rows x columns`` sums a workgroup, ``own_rows x own_columns`` a subgroup, in matrix fragments."""

    rows: int
    columns: int
    depth: int
    own_rows: int
    own_columns: int
    share: float
    packed_share: float
    """The same where the columns' factor is loaded element by element."""

    @property
    def subgroups(self) -> int:
        return self.rows * self.columns // (self.own_rows * self.own_columns)

    def __str__(self) -> str:
        own = f"{self.own_rows}x{self.own_columns} a subgroup"
        return f"{self.rows}x{self.columns}x{self.depth}, {own}"


FRAGMENT_TILES = (
    FragmentTile(256, 128, 32, 64, 64, 0.93, 0.94),
    FragmentTile(128, 128, 32, 64, 64, 1.0, 0.6),
    FragmentTile(64, 128, 32, 32, 64, 0.7, 0.56),
    FragmentTile(64, 64, 32, 32, 32, 0.56, 0.45),
    FragmentTile(32, 64, 32, 16, 32, 0.4, 0.3),
)
"""For 16-bit elements; the depth of 8-bit ones is twice as much (lines of memory are used whole). Shares as
measured with f16 at 4096 cubed (306 TFLOP/s) and for a 3x3 convolution of 256 channels."""
FRAGMENT_PADDING = 4
"""Numbers behind a row of sums that a subgroup leaves for its lanes."""


def fragment_tile(
    batch: Dim,
    rows: Dim,
    columns: Dim,
    depth: Dim,
    fragment: tuple[int, int, int],
    description: InvocationDescription,
    element_bytes: int,
    *,
    packed: bool = False,
) -> FragmentTile | None:
    """The best tile made of ``fragment`` (m, n, k); None when none fits. ``packed``: the columns' factor is
    loaded element by element."""
    m, n, k = fragment
    found: tuple[float, FragmentTile] | None = None
    for base in FRAGMENT_TILES:
        share = base.packed_share if packed else base.share
        tile = replace(base, depth=base.depth * 2 // element_bytes, share=share)
        if tile.own_rows % m or tile.own_columns % n or tile.depth % k:
            continue
        lanes = 16 // element_bytes
        # Either direction of a factor's part, each row with a vector behind it.
        factors = element_bytes * sum(
            size * tile.depth + lanes * max(size, tile.depth) for size in (tile.rows, tile.columns)
        )
        sums = tile.subgroups * m * (n + FRAGMENT_PADDING) * 4
        invocations = tile.subgroups * description.subgroup_size
        limit = min(description.max_workgroup_invocations, description.max_workgroup_size[0])
        if factors + sums > description.shared_memory_bytes or invocations > limit:
            continue
        time = _time(tile, batch, rows, columns, depth)
        if found is None or time < found[0]:
            found = time, tile
    return None if found is None else found[1]


def _time(tile: FragmentTile | TileShape, batch: Dim, rows: Dim, columns: Dim, depth: Dim) -> float:
    """What the fullest core does: its workgroups' multiply-adds at the tile's rate."""
    m, n, k = (size if isinstance(size, int) else UNKNOWN for size in (rows, columns, depth))
    tiles = -(-m // tile.rows) * -(-n // tile.columns) * (batch if isinstance(batch, int) else 1)
    waves = -(-tiles // WORKGROUPS_AT_ONCE)
    rate = tile.share
    if isinstance(tile, TileShape):
        rate *= min(1.0, (waves * tile.invocations / FULL_INVOCATIONS) ** 0.75)
    steps = -(-k // tile.depth) * tile.depth + LATENCY_STEPS
    return waves * steps * tile.rows * tile.columns / rate


__all__ = [
    "FRAGMENT_PADDING", "FRAGMENT_TILES", "SHARED_TILES", "FragmentTile", "RegisterTile", "TileShape",
    "depth_step", "fragment_tile", "is_tiny", "register_tile", "shared_tile",
]  # fmt: skip
