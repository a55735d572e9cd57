"""3x3 convolution by Winograd's F(2x2, 3x3): four results from 16 products instead of 36.

A workgroup takes a strip of rows of 2x2 tiles. The 4x4 input patches of a strip are transformed to
``[16][channels][tiles]`` once; then, a panel of output channels at a time, 16 matrix products give
``[16][panel][tiles]``, which are transformed back to result rows with the epilogue in registers. Columns of
patches come from loads of whole rows, even and odd ones taken apart, so that vectors run along tiles.

One value that is not finite spoils the whole 2x2 tile it reaches, and sums can overflow a little earlier than
in the direct form: ``--conv-algorithm=direct`` keeps to the latter.
"""

from __future__ import annotations

from collections.abc import Callable

from iree_base.records import record
from iree_codegen.convolution_blocks import CACHED_WEIGHTS, FLOAT_BYTES, PANELS, tile_cycles, widths
from iree_codegen.convolution_tiles import NAME, ConvolutionTiles
from iree_codegen.dispatch import Dispatch
from iree_codegen.elements import Point
from iree_codegen.image_columns import columns_inside
from iree_codegen.indexing import Bindings
from iree_codegen.kernel import Kernel
from iree_codegen.kernel_builder import Index
from iree_codegen.window import Window, images, total_groups
from iree_codegen.workgroup_description import WorkgroupDescription
from iree_core_ir.ir.operation import Value
from iree_core_ir.ir.types import f32

TAPS = tuple((y, x) for y in range(3) for x in range(3))
POINTS = 16
PATCH_BYTES = 5 << 18
"""Transformed patches of a strip stay in this much of the L2 cache."""
SMALLEST_PLANE = 14
"""Below, tiles cover too much that is not there, and the larger weights cost more than the products."""
FEWEST_CHANNELS = 32
TRANSFORM_CYCLES = 50
"""One vector of 4x4 patches, or of 2x2 results, with its loads, shuffles and stores."""
WANTED_GROUPS = 2
LINE = 16
"""Floats of a cache line."""


@record(frozen=True)
class Strips:
    """The plan: rows of tiles that a workgroup takes, and its register tile."""

    rows: int
    pitch: int
    """Elements of one channel's patches at one of the 16 points: the tiles, and what vectors write beyond."""
    panel: int
    vectors: int
    shares: int
    cycles: float
    """Of one image."""


def _pitch(rows: int, across: int, lanes: int) -> int:
    return -(-((rows - 1) * across + -(-across // lanes) * lanes) // lanes) * lanes


def plan_winograd(w: Window[int], description: WorkgroupDescription) -> Strips | None:
    """The best strips; None where the form of the convolution does not fit."""
    plain = w.taps == TAPS and w.strides == (1, 1) and not w.swapped and w.groups == 1
    if not plain or min(w.out_height, w.out_width) < SMALLEST_PLANE or max(w.pad) > 1:
        return None
    if min(w.channels, w.out_channels) < FEWEST_CHANNELS or w.weights is None or not w.weights.constant:
        return None
    lanes, registers = description.vector_bits // 32, description.registers
    down, across = -(-w.out_height // 2), -(-w.out_width // 2)
    chunks = -(-across // lanes)
    found: list[Strips] = []
    for rows in range(1, down + 1):
        if down % rows:
            continue
        pitch = _pitch(rows, across, lanes)
        if POINTS * w.channels * pitch * FLOAT_BYTES > PATCH_BYTES:
            break
        strips = down // rows
        shares = -(-WANTED_GROUPS // (strips * images(w)))
        transforms = (w.channels * shares + w.out_channels) * rows * chunks * TRANSFORM_CYCLES
        for panel in PANELS[32 if registers >= 32 else 16]:
            vectors = min((registers - 1) // (panel + 1), 8)
            wide, narrow, rest = widths(pitch // lanes, vectors)
            products = rest * tile_cycles(panel, narrow, w.channels)
            if wide:
                products += wide * tile_cycles(panel, narrow + 1, w.channels)
            panels = -(-w.out_channels // panel)
            n_bytes = POINTS * panels * panel * w.channels * FLOAT_BYTES
            weights = n_bytes / (64 if n_bytes < CACHED_WEIGHTS else 16)
            cycles = strips * (transforms + panels * POINTS * products + weights)
            found.append(Strips(rows, pitch, panel, vectors, shares, cycles))
    return min(found, key=lambda s: s.cycles) if found else None


def winograd(
    dispatch: Dispatch, description: WorkgroupDescription, window: Window[int], strips: Strips
) -> Kernel:
    return _Emitter(dispatch, description, window, strips).run()


class _Emitter(ConvolutionTiles[int]):
    def __init__(
        self, dispatch: Dispatch, description: WorkgroupDescription, window: Window[int], strips: Strips
    ) -> None:
        super().__init__(dispatch, description, window, strips.panel)
        self.strips = strips
        self.across = -(-window.out_width // 2)
        self.n_vectors = strips.pitch // self.lanes
        self.source = self.memory
        self.plane = strips.pitch
        self.offsets = [0]
        self.zero = self.kernel.constant(0.0, f32)

    def run(self) -> Kernel:
        k, w, s = self.kernel, self.window, self.strips
        n_strips = -(-w.out_height // 2) // s.rows
        _, _, shares = self.panel_range(0, s.shares)
        number: Index = self.frame.ids[0]
        share, rest = k.mod(number, shares), k.floordiv(number, shares)
        strip = k.mod(rest, n_strips)
        self.image = k.floordiv(rest, n_strips) if w.batch != 1 else 0
        self.first_tile_row = k.mul(strip, s.rows)
        patches = POINTS * w.channels * s.pitch
        products = POINTS * self.panel * s.pitch
        self.memory = k.view(self.frame.scratch, 0, patches, f32)
        self.slab = k.view(self.frame.scratch, patches * FLOAT_BYTES, products, f32)
        self.slab_pitch = s.pitch
        self._patches()
        first, last, _ = self.panel_range(share, s.shares)
        k.loop(first, last, 1, (), self._panel)
        why = f"Winograd F(2x2,3x3), tile {self.panel}x{s.vectors} vectors, {s.rows} rows of tiles a strip"
        n_bytes = (patches + products) * FLOAT_BYTES
        return self.frame.finish([total_groups(w, n_strips * shares)], n_bytes, NAME, why)

    def _chunks(self, body: Callable[[Index], None]) -> None:
        """Vectors along a row of tiles: ``body(first tile)``; few are written out."""
        k, lanes = self.kernel, self.lanes
        starts = list(range(0, self.across, lanes))
        if len(starts) <= 2:
            for start in starts:
                body(start)
            return
        k.loop(0, len(starts) * lanes, lanes, (), body)

    # -- input patches -----------------------------------------------------------------------------

    def _patches(self) -> None:
        """``B^T d B`` for the 4x4 patch of every tile: ``[16][channels][tiles]``.

        In ascending addresses: the last vector of a row runs over into the next.
        """
        k, w, s = self.kernel, self.window, self.strips
        images_start = k.mul(self.image, w.channels * w.height * w.width)

        def channel(c: Index) -> None:
            plane = k.add(images_start, k.mul(c, w.height * w.width))
            target = k.mul(c, s.pitch)

            def row(r: Index) -> None:
                tile_row = k.add(self.first_tile_row, r)

                def chunk(j: Index) -> None:
                    at = k.add(k.add(target, k.mul(r, self.across)), j)
                    self._transform(plane, tile_row, j, at)

                self._chunks(chunk)

            k.loop(0, s.rows, 1, (), row)

        k.loop(0, w.channels, 1, (), channel)

    def _transform(self, plane: Index, tile_row: Index, j: Index, target: Index) -> None:
        k, w, s = self.kernel, self.window, self.strips

        def add(a: Value, b: Value) -> Value:
            return k.binary("arith.addf", a, b)

        def sub(a: Value, b: Value) -> Value:
            return k.binary("arith.subf", a, b)

        rows = []
        for r in range(4):
            d = self._columns(plane, k.add(k.mul(tile_row, 2), r - w.pad[0]), r, j)
            rows.append([sub(d[0], d[2]), add(d[1], d[2]), sub(d[2], d[1]), sub(d[1], d[3])])
        step = w.channels * s.pitch
        for x in range(4):
            p, q, u, v = (row[x] for row in rows)
            for y, value in enumerate((sub(p, u), add(q, u), sub(u, q), sub(q, v))):
                k.vstore(value, self.memory, k.add(target, (4 * y + x) * step))

    def _columns(self, plane: Index, y: Index, r: int, j: Index) -> list[Value]:
        """Columns 0 to 3 of the patches' row ``r``, which is image row ``y``: a vector of tiles each."""
        k, w, lanes = self.kernel, self.window, self.lanes
        last = 2 * (-(-w.out_height // 2) - 1) + r - w.pad[0]
        valid: Value | None = None
        if r < w.pad[0] or last >= w.height:
            valid = k.splat(k.compare("ult", y, w.height), lanes)
        line = k.add(plane, k.mul(y, w.width))
        first = k.add(k.mul(j, 2), -w.pad[1])

        def load(column: Index) -> Value:
            mask = self._inside(column)
            if valid is not None:
                mask = valid if mask is None else k.binary("arith.andi", mask, valid)
            return k.vload(self.source, k.add(line, column), lanes, mask)

        found: list[Value] = []
        for start in (0, 2):
            low, high = load(k.add(first, start)), load(k.add(first, start + lanes))
            found.append(k.shuffle(low, high, range(0, 2 * lanes, 2)))
            found.append(k.shuffle(low, high, range(1, 2 * lanes, 2)))
        return found

    def _inside(self, column: Index) -> Value | None:
        """The lanes from ``column`` on that lie in an image row; None: all."""
        k, w, lanes = self.kernel, self.window, self.lanes
        if not isinstance(column, int):
            return columns_inside(k, column, 1, w.width, lanes)
        inside = [0 <= column + lane < w.width for lane in range(lanes)]
        return None if all(inside) else k.lane_mask(inside)

    # -- products and results --------------------------------------------------------------------------

    def _panel(self, panel: Index) -> None:
        k, w, s = self.kernel, self.window, self.strips
        per_point = w.channels * self.panel
        wide, narrow, rest = widths(self.n_vectors, s.vectors)

        def point(e: Index) -> None:
            start = k.mul(k.add(k.mul(panel, POINTS), e), per_point)
            rows = [k.add(start, i) for i in range(self.panel)] if self.packed else []
            source = k.mul(e, w.channels * s.pitch)
            target = k.mul(e, self.panel * s.pitch)

            def tiles(count: int, width: int, first: int) -> None:
                def one(i: Index) -> None:
                    position = k.add(k.mul(i, width * self.lanes), first * self.lanes)

                    def ahead(c: Index, unroll: int) -> None:
                        self._prefetch(rows[0], c, unroll, wide + rest)

                    sums = self.sums(rows, k.add(source, position), width, [None] * width, ahead)
                    self.keep(k.add(target, position), width, sums)

                k.loop(0, count, 1, (), one)

            tiles(wide, narrow + 1, 0)
            tiles(rest, narrow, wide * (narrow + 1))

        k.loop(0, POINTS, 1, (), point)
        first = k.mul(panel, self.panel)

        def channel(i: Index) -> None:
            def row(r: Index) -> None:
                self._chunks(lambda j: self._results(k.add(first, i), i, r, j))

            k.loop(0, s.rows, 1, (), row)

        valid: Index = self.panel
        if w.out_channels % self.panel:
            valid = k.min(self.panel, k.sub(w.out_channels, first))
        k.loop(0, valid, 1, (), channel)

    def _prefetch(self, weights: Index, c: Index, unroll: int, n_tiles: int) -> None:
        """Each tile's share of the next point's weights, where they come from far."""
        k, w = self.kernel, self.window
        per_point = w.channels * self.panel
        if POINTS * self.panels * per_point * FLOAT_BYTES <= CACHED_WEIGHTS // 2:
            return
        at = k.add(k.add(weights, per_point), k.mul(c, self.panel))
        for line in range(max(1, round(unroll * self.panel / n_tiles / LINE))):
            k.prefetch(self.weights, k.add(at, line * LINE), locality=2)

    def _results(self, channel: Index, i: Index, r: Index, j: Index) -> None:
        """``A^T m A``: two rows of results for one vector of tiles."""
        k, w, s, lanes = self.kernel, self.window, self.strips, self.lanes
        start = k.add(k.add(k.mul(i, s.pitch), k.mul(r, self.across)), j)
        step = self.panel * s.pitch
        points = [k.vload(self.slab, k.add(start, e * step), lanes) for e in range(POINTS)]

        def fold(a: Value, b: Value, c: Value, d: Value) -> tuple[Value, Value]:
            first = k.binary("arith.addf", k.binary("arith.addf", a, b), c)
            return first, k.binary("arith.subf", k.binary("arith.subf", b, c), d)

        halves = [fold(*points[x::4]) for x in range(4)]
        order = [n // 2 + lanes * (n % 2) for n in range(2 * lanes)]
        for a in range(2):
            even, odd = fold(*(half[a] for half in halves))
            parts = [k.shuffle(even, odd, picks) for picks in (order[:lanes], order[lanes:])]
            y = k.add(k.mul(k.add(self.first_tile_row, r), 2), a)

            def line(y: Index = y, parts: list[Value] = parts) -> None:
                at = Bindings(k).child(self.place.at(self.image, 0, channel, y))
                for n, part in enumerate(parts):
                    self._part(at, k.add(k.mul(j, 2), n * lanes), part)

            if a and w.out_height % 2:
                k.if_(k.compare("slt", y, w.out_height), line)
            else:
                line()

    def _part(self, at: Bindings, x: Index, value: Value) -> None:
        """One vector of results from column ``x`` on, as far as there are columns."""
        k, lanes, width = self.kernel, self.lanes, self.window.out_width
        mask = None
        if isinstance(x, int):
            if x >= width:
                return
            mask = k.mask_below(width - x, lanes) if x + lanes > width else None
        else:
            mask = k.mask_below(k.sub(width, x), lanes)
        self.element(Point(at.child({self.place.x: x}, self.place.x, lanes), mask), value)
