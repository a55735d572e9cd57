"""``inverted-residual``: a window over an image with 1x1 convolutions before or behind it, strip by strip of
the result's rows.

The wide image never reaches memory: for each panel of its blocks the rows that a strip needs are made in
worker scratch, and the window reads them there. Rows that two strips need are made twice; strips are as high
as the scratch allows.

At ``high`` and ``medium`` the 1x1 convolutions run on matrix tiles: what they read is converted to bf16 in
scratch, the strip's input once, the window's result as it is made.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from iree_base.records import record
from iree_codegen import dims as dim_ops
from iree_codegen.blocked_grid import WIDEST, balanced
from iree_codegen.blocked_plan import FLOAT_BYTES, GROUP_CYCLES
from iree_codegen.blocked_tile_plan import BF16_BYTES
from iree_codegen.blocked_tile_rows import PixelParts
from iree_codegen.cost_model import idle, weighed
from iree_codegen.dispatch import Dispatch
from iree_codegen.inverted_residual import InvertedResidual, Pointwise, match
from iree_codegen.kernel import Kernel, KernelFrame
from iree_codegen.kernel_builder import Index
from iree_codegen.lanewise_tiles import LanewiseTiles, Pixels, Store
from iree_codegen.pointwise_tiles import PointwiseTiles, common_tile, groups_of, layout_of
from iree_codegen.tile_panels import COLUMNS, DEPTH
from iree_codegen.tile_plan import PARTS
from iree_codegen.workgroup_description import WorkgroupDescription
from iree_core_ir.ir.operation import Value
from iree_core_ir.ir.types import bf16, f32
from iree_core_ir.target import ConstantLayout

NAME = "inverted-residual"
SCRATCH_BYTES = 640 << 10
"""What the rows of a strip may take: they stay in the L2 cache beside the input."""
FEWEST_STRIPS = 2
"""Strips of an image, for threads to share. Each makes the rows at its border anew."""


EPILOGUE_CYCLES = 4
"""To finish a vector of sums of a matrix tile."""


def layouts(dispatch: Dispatch, description: WorkgroupDescription) -> Sequence[ConstantLayout] | None:
    """How the weights of the 1x1 convolutions should be stored; None where they stay as they are."""
    chain = match(dispatch)
    if chain is None or _tile(chain, description) is None:
        return None
    parts = PARTS[description.matmul_precision]
    return [
        layout_of(c, parts, _Shape.of(c.out_blocks, description.registers).vectors) for c in _pointwise(chain)
    ]


def inverted_residual(dispatch: Dispatch, description: WorkgroupDescription) -> Kernel | None:
    chain = match(dispatch)
    if chain is None or chain.window.lanes != description.vector_bits // 32:
        return None
    tile = _tile(chain, description)
    if not any(c.weights.packed for c in _pointwise(chain)):
        return _Emitter(dispatch, description, chain, None, 1).run()
    if tile is None:
        return None
    parts = PARTS[description.matmul_precision]
    for c in _pointwise(chain):
        wanted = layout_of(c, parts, _Shape.of(c.out_blocks, description.registers).vectors)
        if not c.weights.is_packed(wanted.kind, wanted.parameters):
            return None
    return _Emitter(dispatch, description, chain, tile, parts).run()


def _pointwise(chain: InvertedResidual) -> list[Pointwise]:
    return [c for c in (chain.expand, chain.project) if c is not None]


def _tile(chain: InvertedResidual, description: WorkgroupDescription) -> int | None:
    """Pixels of the matrix tiles that its 1x1 convolutions run on; None where they do not."""
    w = chain.window
    if description.matmul_precision not in PARTS or "bf16" not in description.matrix_tiles:
        return None
    if w.lanes != COLUMNS or not all(c.weights.constant for c in _pointwise(chain)):
        return None
    widths = [w.size[1]] * (chain.expand is not None) + [w.out_size[1]] * (chain.project is not None)
    return common_tile(widths)


@record(frozen=True)
class _Shape:
    """A register tile: vectors of channels times pixels."""

    vectors: int
    pixels: int

    @staticmethod
    def of(blocks: int, registers: int) -> _Shape:
        vectors = 3 if registers >= 32 and (blocks % 3 == 0 or blocks > 4) else min(blocks, 2)
        return _Shape(vectors, min(WIDEST, (registers - 1 - vectors) // vectors))


class _Emitter:
    """``tile``: pixels of matrix tiles; None: 1x1 convolutions are f32. ``parts``: of a number on these."""

    def __init__(
        self,
        dispatch: Dispatch,
        description: WorkgroupDescription,
        chain: InvertedResidual,
        tile: int | None,
        parts: int,
    ) -> None:
        self.chain = chain
        self.tile, self.parts = tile, parts
        self.frame = frame = KernelFrame(dispatch, fma=description.fma)
        self.kernel = frame.kernel
        w, expand, project = chain.window, chain.expand, chain.project
        self.wide = _Shape.of(w.blocks, description.registers)
        self.deep = _Shape.of(project.out_blocks, description.registers) if project else self.wide
        self.rows = self._strip()
        self.in_rows = self._rows_under(self.rows)
        size = w.lanes * w.size[1]
        self.plane = self.in_rows * size
        if expand is not None:
            self.scratch = frame.scratch_view(self.wide.vectors * self.plane, f32)
            if tile is not None:
                pixels = self.in_rows * w.size[1]
                self.read = self._pixels(expand, pixels)
                self.expand = PointwiseTiles(
                    frame, expand, self.wide.vectors, tile, self.read, pixels * DEPTH
                )
            self.expanded = Pixels(frame, expand.op.results[0], expand.final)
        else:
            binding = dispatch.binding_of(w.source)
            assert binding is not None
            self.scratch = frame.binding_args[binding.index]
        self.tiles = LanewiseTiles(frame, w, description.registers, self.scratch)
        result, destination = dispatch.results[0]
        self.memory = frame.binding_memory(destination)
        self.narrowed = Pixels(frame, w.op.results[0], chain.narrow)
        self.image: Index = 0
        if project is not None:
            pixels = self.rows * w.out_size[1]
            if tile is None:
                self.kept = frame.scratch_view(w.blocks * pixels * w.lanes, f32)
            else:
                self.kept_parts = self._pixels(project, pixels)
                self.project = PointwiseTiles(
                    frame, project, self.deep.vectors, tile, self.kept_parts, pixels * DEPTH
                )
            self.projected = Pixels(frame, project.op.results[0], result)

    def _pixels(self, c: Pointwise, pixels: int) -> PixelParts:
        """Scratch for what ``c`` reads on tiles."""
        part = groups_of(c.blocks, c.lanes) * pixels * DEPTH
        return PixelParts(self.frame.scratch_view(self.parts * part, bf16), part, self.parts, c.lanes)

    def _rows_under(self, rows: int) -> int:
        """Rows of the wide image that so many rows of the window's result take in."""
        w = self.chain.window
        return (rows - 1) * w.strides[0] + (w.kernel[0] - 1) * w.dilations[0] + 1

    def _strip(self) -> int:
        """Rows of the result in a strip: as many as fit, in strips of equal height."""
        w = self.chain.window
        height = w.out_size[0]

        def n_bytes(rows: int) -> int:
            found = 0
            if self.chain.expand:
                pixels = self._rows_under(rows) * w.size[1]
                found += pixels * self.wide.vectors * w.lanes * FLOAT_BYTES
                found += pixels * self._narrow_bytes(self.chain.expand) if self.tile else 0
            if self.chain.project:
                narrow, wide = self._narrow_bytes(self.chain.project), w.blocks * w.lanes * FLOAT_BYTES
                found += rows * w.out_size[1] * (narrow if self.tile else wide)
            return found

        most = max(1, -(-height // FEWEST_STRIPS))
        # Without a wide image nothing is made twice: small strips stay closer.
        limit = SCRATCH_BYTES if self.chain.expand else SCRATCH_BYTES // 8

        cycles = self._cycles()

        def score(rows: int) -> float:
            strips = -(-height // rows)
            again = strips * (self._rows_under(rows) - rows * w.strides[0]) / w.size[0]
            one = sum(cycles) + cycles[0] * again + strips * GROUP_CYCLES
            return weighed(one, one / 2 * (1 + idle(strips, rows, height)), strips)

        return min((r for r in range(1, most + 1) if n_bytes(r) <= limit), key=score, default=1)

    def _narrow_bytes(self, c: Pointwise) -> int:
        """Of a pixel that ``c`` reads on tiles."""
        return groups_of(c.blocks, c.lanes) * DEPTH * BF16_BYTES * self.parts

    def _cycles(self) -> tuple[int, int]:
        """Of the wide image, and of what follows: a multiply-add of vectors a cycle."""
        chain, w = self.chain, self.chain.window

        def each(c: Pointwise) -> int:
            return EPILOGUE_CYCLES if self.tile else c.channels

        wide = math.prod(w.size) * w.blocks * each(chain.expand) if chain.expand else 0
        deep = chain.project.out_blocks * each(chain.project) if chain.project else 0
        return wide, math.prod(w.out_size) * (w.blocks * math.prod(w.kernel) + deep)

    def run(self) -> Kernel:
        k, w = self.kernel, self.chain.window
        strips = -(-w.out_size[0] // self.rows)
        number: Index = self.frame.ids[0]
        strip = k.mod(number, strips)
        self.image = k.floordiv(number, strips) if w.batch != 1 else 0
        self.low, self.high = self.frame.part(strip, self.rows, w.out_size[0])
        if self.tile is not None:
            self._prepare()
        if self.chain.expand is None:
            k.loop(0, w.blocks, 1, (), self._plane)
        else:
            full, rest = divmod(w.blocks, self.wide.vectors)
            k.loop(0, full, 1, (), lambda p: self._panel(k.mul(p, self.wide.vectors), self.wide.vectors))
            if rest:
                self._panel(full * self.wide.vectors, rest)
        if self.chain.project is not None:
            self._project(self.chain.project)
        pixels = (self.tile or self.wide.pixels, self.tile or self.deep.pixels)
        parts = [f"strips of {self.rows} rows"]
        if self.chain.expand is not None:
            parts.insert(0, f"{self.wide.vectors}x{pixels[0]} tiles of the wide image")
        if self.chain.project is not None:
            parts.append(f"{self.deep.vectors}x{pixels[1]} tiles behind")
        if self.tile is not None:
            parts.append(f"matrix tiles, {self.parts} bf16 a number")
        count = dim_ops.mul(w.batch, strips)
        return self.frame.finish([count], self.frame.scratch_bytes, NAME, ", ".join(parts))

    # -- the wide image ----------------------------------------------------------------------------

    def _panel(self, first: Index, vectors: int) -> None:
        """Blocks ``first`` to ``first + vectors``: their rows, then the window over them."""
        k, w = self.kernel, self.chain.window
        top, begin, end = self._input_rows()
        row = w.size[1] * w.lanes
        if self.tile is None:
            k.loop(begin, end, 1, (), lambda y: self._wide_row(first, vectors, y, k.mul(k.sub(y, top), row)))
        else:
            self._wide_tiles(first, vectors)

        def window(v: Index) -> None:
            self._slide(k.add(first, v), k.sub(k.mul(v, self.plane), k.mul(top, row)))

        k.loop(0, vectors, 1, (), window)

    def _input_rows(self) -> tuple[Index, Index, Index]:
        """Rows of the image under the strip: the first of the padded one, and from where to where there are
        any."""
        k, w = self.kernel, self.chain.window
        top = k.add(k.mul(self.low, w.strides[0]), -w.pad[0])
        below = k.add(k.mul(k.sub(self.high, 1), w.strides[0]), (w.kernel[0] - 1) * w.dilations[0] + 1)
        return top, k.max(top, 0), k.min(k.add(below, -w.pad[0]), w.size[0])

    def _plane(self, block: Index) -> None:
        """The window over a block of the image as it lies in memory."""
        k, w = self.kernel, self.chain.window
        number = k.add(k.mul(self.image, w.blocks), block)
        self._slide(block, k.mul(number, w.size[0] * w.size[1] * w.lanes))

    def _slide(self, block: Index, base: Index) -> None:
        """The strip's rows of the window's result; ``base``: where row 0 of the image would begin."""
        self.tiles.block, self.tiles.base = block, base
        store = self._keep(block) if self.chain.project is not None else self._finish(block)
        self.kernel.loop(self.low, self.high, 1, (), lambda y: self.tiles.row(y, store))

    def _wide_row(self, first: Index, vectors: int, y: Index, target: Index) -> None:
        k, w, expand = self.kernel, self.chain.window, self.chain.expand
        assert expand is not None
        height, width = w.size
        source = self.frame.dispatch.binding_of(expand.source)
        assert source is not None
        plane = height * width * w.lanes
        line = k.add(k.mul(self.image, expand.blocks * plane), k.mul(y, width * w.lanes))

        def tile(x: Index, count: int) -> None:
            memory = self.frame.binding_args[source.index]
            start = k.add(line, k.mul(x, w.lanes))
            sums = self._sums(expand, memory, start, plane, first, vectors, count)
            for v in range(vectors):
                for p in range(count):
                    point = self.expanded.point(self.image, k.add(first, v), y, k.add(x, p))
                    value = self.expanded.value(sums[p * vectors + v], point)
                    at = k.add(k.add(target, v * self.plane), k.mul(k.add(x, p), w.lanes))
                    k.vstore(k.splat(value, w.lanes), self.scratch, at)

        self._tiles(width, self.wide.pixels, tile)

    def _finish(self, block: Index) -> Store:
        """The window's result is the dispatch's."""

        def store(values: Sequence[Value], y: Index, x: Index) -> None:
            for p, value in enumerate(values):
                point = self.narrowed.point(self.image, block, y, self.kernel.add(x, p))
                final = self.narrowed.value(value, point)
                self.frame.elements.store(final, self.memory, self.narrowed.forms, point)

        return store

    def _keep(self, block: Index) -> Store:
        """The window's result stays in scratch: ``[block][row of the strip][column]``."""
        k, w = self.kernel, self.chain.window
        plane = self.rows * w.out_size[1] * w.lanes

        def store(values: Sequence[Value], y: Index, x: Index) -> None:
            row = k.mul(k.sub(y, self.low), w.out_size[1] * w.lanes)
            at = k.add(k.add(k.mul(block, plane), row), k.mul(x, w.lanes))
            for p, value in enumerate(values):
                point = self.narrowed.point(self.image, block, y, k.add(x, p))
                final = k.splat(self.narrowed.value(value, point), w.lanes)
                if self.tile is None:
                    k.vstore(final, self.kept, k.add(at, p * w.lanes))
                    continue
                place = k.add(k.mul(k.sub(y, self.low), w.out_size[1]), k.add(x, p))
                self.kept_parts.store(k, final, self._narrow_place(block, place))

        return store

    # -- behind the window ---------------------------------------------------------------------------

    def _project(self, project: Pointwise) -> None:
        k, w = self.kernel, self.chain.window
        width = w.out_size[1]
        plane = self.rows * width * w.lanes

        def panel(first: Index, vectors: int) -> None:
            def row(y: Index) -> None:
                line = k.mul(k.sub(y, self.low), width * w.lanes)

                def tile(x: Index, count: int) -> None:
                    start = k.add(line, k.mul(x, w.lanes))
                    sums = self._sums(project, self.kept, start, plane, first, vectors, count)
                    for p in range(count):
                        for v in range(vectors):
                            point = self.projected.point(self.image, k.add(first, v), y, k.add(x, p))
                            final = self.projected.value(sums[p * vectors + v], point)
                            self.frame.elements.store(final, self.memory, self.projected.forms, point)

                self._tiles(width, self.deep.pixels, tile)

            k.loop(self.low, self.high, 1, (), row)

        if self.tile is not None:
            panel = self._deep_tiles
        full, rest = divmod(project.out_blocks, self.deep.vectors)
        k.loop(0, full, 1, (), lambda p: panel(k.mul(p, self.deep.vectors), self.deep.vectors))
        if rest:
            panel(full * self.deep.vectors, rest)

    # -- matrix tiles ----------------------------------------------------------------------------------

    def _prepare(self) -> None:
        """The strip's input as bf16, and zeros where the window makes no channels."""
        k, w, expand = self.kernel, self.chain.window, self.chain.expand
        per_group = DEPTH // w.lanes
        if expand is not None:
            source = self.frame.dispatch.binding_of(expand.source)
            assert source is not None
            memory = self.frame.binding_args[source.index]
            _, begin, end = self._input_rows()
            width, plane = w.size[1], w.size[0] * w.size[1] * w.lanes
            start = k.add(k.mul(self.image, expand.blocks * plane), k.mul(begin, width * w.lanes))
            for group in range(groups_of(expand.blocks, w.lanes)):
                first = group * per_group
                planes = [b * plane for b in range(first, min(first + per_group, expand.blocks))]
                to = group * self.in_rows * width * DEPTH
                self.read.convert(k, memory, start, planes, to, k.mul(k.sub(end, begin), width))
        if self.chain.project is not None and w.blocks % per_group:
            pixels = self.rows * w.out_size[1]
            k.loop(
                0, pixels, 1, (), lambda p: self.kept_parts.clear(k, self._narrow_place(w.blocks, p))
            )  # fmt: skip

    def _narrow_place(self, block: Index, pixel: Index) -> Index:
        """Where the window's result lies for the tiles behind it."""
        k, w = self.kernel, self.chain.window
        per_group = DEPTH // w.lanes
        plane = self.rows * w.out_size[1] * DEPTH
        group = k.mul(k.floordiv(block, per_group), plane)
        return k.add(k.add(group, k.mul(k.mod(block, per_group), w.lanes)), k.mul(pixel, DEPTH))

    def _wide_tiles(self, first: Index, vectors: int) -> None:
        k, w = self.kernel, self.chain.window
        top, begin, end = self._input_rows()
        width = w.size[1]

        def finish(y: Index, x: Index, sums: Callable[[int, int], Value]) -> None:
            at = k.mul(k.add(k.mul(k.add(y, k.sub(begin, top)), width), x), w.lanes)
            row = k.add(y, begin)
            for p in range(self._tile_pixels):
                for v in range(vectors):
                    point = self.expanded.point(self.image, k.add(first, v), row, k.add(x, p))
                    value = k.splat(self.expanded.value(sums(p, v), point), w.lanes)
                    k.vstore(value, self.scratch, k.add(at, v * self.plane + p * w.lanes))

        self._run_tiles(self.expand, first, vectors, k.sub(end, begin), width, finish)

    def _deep_tiles(self, first: Index, vectors: int) -> None:
        k, w = self.kernel, self.chain.window

        def finish(y: Index, x: Index, sums: Callable[[int, int], Value]) -> None:
            row = k.add(y, self.low)
            for p in range(self._tile_pixels):
                for v in range(vectors):
                    point = self.projected.point(self.image, k.add(first, v), row, k.add(x, p))
                    final = self.projected.value(sums(p, v), point)
                    self.frame.elements.store(final, self.memory, self.projected.forms, point)

        self._run_tiles(self.project, first, vectors, k.sub(self.high, self.low), w.out_size[1], finish)

    @property
    def _tile_pixels(self) -> int:
        assert self.tile is not None
        return self.tile

    def _run_tiles(
        self,
        tiles: PointwiseTiles,
        first: Index,
        vectors: int,
        rows: Index,
        width: int,
        finish: Callable[[Index, Index, Callable[[int, int], Value]], None],
    ) -> None:
        """Tiles that cover ``rows`` of ``width`` pixels; the last one of a row ends with it."""
        k, tile = self.kernel, self._tile_pixels
        per_row = -(-width // tile)

        def place(i: Index) -> tuple[Index, Index]:
            x = k.mul(k.mod(i, per_row), tile)
            return k.floordiv(i, per_row), x if width % tile == 0 else k.min(x, width - tile)

        def start(i: Index) -> Index:
            y, x = place(i)
            return k.mul(k.add(k.mul(y, width), x), DEPTH)

        count = k.mul(rows, per_row)
        tiles.run(first, vectors, count, start, lambda i, sums: finish(*place(i), sums))

    # -- 1x1 convolutions ------------------------------------------------------------------------------

    def _tiles(self, width: int, most: int, tile: Callable[[Index, int], None]) -> None:
        """``tile(column, count)`` along a row; neighbours of one width are a loop."""
        at = 0
        for count, times in balanced(width, most):
            end = at + count * times
            self.kernel.loop(at, end, count, (), lambda x, count=count: tile(x, count))
            at = end

    def _sums(
        self, c: Pointwise, memory: Value, start: Index, plane: int, first: Index, vectors: int, count: int
    ) -> Sequence[Value]:
        """``[pixel][vector]`` sums of ``count`` pixels from ``start`` on, for blocks from ``first`` on."""
        k, lanes = self.kernel, c.lanes
        weights = self.frame.binding_args[c.weights.index]
        size = c.blocks * lanes * lanes
        base = k.mul(first, size)

        def add(block: Index, channels: int, sums: Sequence[Value]) -> list[Value]:
            found = list(sums)
            at = k.add(start, k.mul(block, plane))
            row = k.add(base, k.mul(block, lanes * lanes))
            for ci in range(channels):
                columns = [k.vload(weights, k.add(row, v * size + ci * lanes), lanes) for v in range(vectors)]
                for p in range(count):
                    scalar = k.splat(k.load(memory, k.add(at, p * lanes + ci)), lanes)
                    for v, column in enumerate(columns):
                        found[p * vectors + v] = k.fma(scalar, column, found[p * vectors + v])
            return found

        whole, tail = divmod(c.channels, lanes)
        sums: Sequence[Value] = [k.splat(k.constant(0.0, f32), lanes)] * (count * vectors)
        sums = k.loop(0, whole, 1, sums, lambda block, *now: add(block, lanes, now))
        return add(whole, tail, sums) if tail else sums


__all__ = ["NAME", "inverted_residual", "layouts"]
