"""Convolutions on packed images: the kernel around the inner loop, packing and epilogue.

A workgroup packs some rows of the image into worker scratch, a group of channels of a pixel to a word, and
takes them through panels of filters. The sums of a panel for the rows go to scratch, where the epilogue reads
them while they are hot.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from iree_codegen import indexing
from iree_codegen.dispatch import Dispatch
from iree_codegen.elements import Memory, Point
from iree_codegen.indexing import Affine, Bindings, Var
from iree_codegen.kernel import Kernel, KernelFrame
from iree_codegen.kernel_builder import Index
from iree_codegen.loop_emitter import vector_loop
from iree_codegen.packed_window import BATCH, CHANNEL, COLUMN, FILTER, ROW, PackedWindow
from iree_codegen.product_tiles import runs_on
from iree_core_ir.ir.operation import Op, Value
from iree_core_ir.ir.types import VectorType

UNROLL = 2
"""Vectors that the epilogue does in step: requantization is a long chain of dependent operations."""
WORD = 4


class PackedConvolution(ABC):
    """Subclasses say what a word holds and how a tile is computed."""

    def __init__(
        self, dispatch: Dispatch, description: Any, plan: PackedWindow, element: Any, word: Any
    ) -> None:
        """``element``: of the image in memory of words typed ``word``."""
        self.dispatch = dispatch
        self.description = description
        self.plan = plan
        self.root = plan.root
        self.frame = KernelFrame(dispatch, fma=description.fma)
        self.kernel = self.frame.kernel
        self.elements = self.frame.elements
        self.row_base, self.filter_base = Var("r0"), Var("f0")
        sum_type = plan.root.op.outputs[0].type.element_type
        self.sums = self.frame.scratch_view(plan.filters_per_tile * plan.sums_pitch, sum_type)
        words = plan.image_words
        offset = self.frame.allocate(words * WORD)
        scratch = self.frame.scratch
        self.pieces = self.kernel.view(scratch, offset, words * plan.group, element)
        self.image = self.kernel.view(scratch, offset, words, word)

    @abstractmethod
    def words(self, pieces: Sequence[Value]) -> Value:
        """The words of a vector of pixels, as a vector of elements; ``pieces``: by channel."""

    @abstractmethod
    def tile(self, panel: Index, pixel: Index) -> None:
        """Compute the sums of a panel of filters for the pixels of a tile."""

    @abstractmethod
    def functions(self) -> list[Op]:
        """What tiles call."""

    def emit(self, name: str) -> Kernel:
        plan, k = self.plan, self.kernel
        panels, group = plan.filter_panels, plan.panels_at_once
        groups = -(-panels // group)
        batch = plan.extent(BATCH)
        total = plan.blocks * groups * batch
        number: Index = self.frame.ids[0] if total != 1 else 0
        block, number = k.mod(number, plan.blocks), k.floordiv(number, plan.blocks)
        part, n = k.mod(number, groups), k.floordiv(number, groups)
        r0 = k.mul(block, plan.block_rows)
        rows: Index = plan.block_rows
        if plan.extent(ROW) % plan.block_rows:
            rows = k.min(k.sub(plan.extent(ROW), r0), plan.block_rows)
        at = Bindings(k).child({self.root.vars[BATCH]: n if batch != 1 else 0, self.row_base: r0})
        self._pack(at, rows)
        first = k.mul(part, group)
        last = k.add(first, group) if panels % group == 0 else k.min(k.add(first, group), panels)

        def panel(p: Index) -> None:
            f0 = k.mul(p, plan.filters_per_tile)
            width = plan.vectors * plan.lanes

            k.loop(0, plan.tiles, 1, (), lambda t: self.tile(p, k.mul(t, width)))
            count: Index = plan.filters_per_tile
            if plan.extent(FILTER) % plan.filters_per_tile:
                count = k.min(k.sub(plan.extent(FILTER), f0), plan.filters_per_tile)
            self._epilogue(at.child({self.filter_base: f0}), count, rows)

        k.loop(first, last, 1, (), panel)
        self.frame.private = self.functions()
        shape = f"{len(plan.taps)} taps, {plan.filters_per_tile}x{plan.vectors} tiles, {plan.block_rows} rows"
        return self.frame.finish([total], self.frame.scratch_bytes, name, shape)

    # -- the image ----------------------------------------------------------------------------------------

    def _pack(self, at: Bindings, rows: Index) -> None:
        """The block's rows of the image, a group of channels to a word.

        Words go up in memory, and a vector may write behind its row: what comes there is written later.
        """
        plan, k = self.plan, self.kernel
        channels = plan.extent(CHANNEL)
        whole = channels // plan.group

        def group(g: Index, count: int) -> None:
            for number, (dy, dx) in enumerate(plan.phases):
                taps = [tap for tap in plan.taps if tap.phase == number]
                below, behind = max(t.row for t in taps), max(t.column for t in taps)
                start = k.add(k.mul(g, plan.group_words), number * plan.plane)

                def row(
                    y: Index, start: Index = start, dy: int = dy, dx: int = dx, behind: int = behind
                ) -> None:
                    target = k.add(start, k.mul(y, plan.pitch))
                    columns = plan.extent(COLUMN) + behind
                    for x in range(0, columns, plan.lanes):
                        self._pack_vector(at, (g, count), (y, dy), (x, dx), columns - x, k.add(target, x))

                k.loop(0, k.add(rows, below), 1, (), row)

        k.loop(0, whole, 1, (), lambda g: group(g, plan.group))
        if channels % plan.group:
            group(whole, channels % plan.group)

    def _pack_vector(
        self,
        at: Bindings,
        channels: tuple[Index, int],
        row: tuple[Index, int],
        column: tuple[int, int],
        left: int,
        target: Index,
    ) -> None:
        """Pixels from ``column`` on in a row, as many as a vector holds or ``left``."""
        plan, k = self.plan, self.kernel
        lanes = plan.lanes
        x, y, g = Var("x"), Var("y"), Var("c")
        here = at.child({x: column[0], y: row[0], g: channels[0]}, x, lanes)
        mask = k.mask_below(left, lanes) if left < lanes else None
        point = Point(here, mask)
        vertical, horizontal = plan.strides
        across = indexing.of(x).scaled(horizontal) + column[1]
        down = (indexing.of(self.row_base) + indexing.of(y)).scaled(vertical) + row[1]
        batch = indexing.of(self.root.vars[BATCH]) if plan.extent(BATCH) != 1 else indexing.ZERO
        pieces: list[Value] = []
        source = self.root.op.operands[0]
        for c in range(plan.group):
            if c < channels[1]:
                forms = (batch, indexing.of(g).scaled(plan.group) + c, down, across)
                pieces.append(k.splat(self.elements.element(source, forms, point), lanes))
            else:
                pieces.append(k.constant(0, VectorType((lanes,), source.type.element_type)))
        k.vstore(self.words(pieces), self.pieces, k.mul(target, plan.group))

    # -- the results --------------------------------------------------------------------------------------

    def _epilogue(self, at: Bindings, filters: Index, rows: Index) -> None:
        plan, k, root = self.plan, self.kernel, self.root
        results = self.dispatch.results
        forms = root.result_forms
        memory = Memory(self.sums, (plan.sums_pitch, plan.pitch, 1))
        f, y, x = root.vars[FILTER], root.vars[ROW], root.vars[COLUMN]

        def sums(own: tuple[Affine, ...], point: Point) -> Value:
            place = (
                own[1] + indexing.of(self.filter_base).scaled(-1)
                if plan.extent(FILTER) != 1
                else indexing.ZERO,
                own[2] + indexing.of(self.row_base).scaled(-1) if plan.extent(ROW) != 1 else indexing.ZERO,
                own[3],
            )
            return self.elements.load(memory, place, point)

        self.elements.overrides[root.value] = sums
        r0, f0 = at.values[self.row_base], at.values[self.filter_base]
        columns = plan.extent(COLUMN)

        def line(i: Index, j: Index, length: Index, lanes: int) -> None:
            """So many pixels of filter ``i`` from row ``j`` on."""
            inner = at.child({f: k.add(f0, i), y: k.add(r0, j)})

            def once(column: Index, lanes: int, mask: Value | None = None) -> None:
                point = Point(inner.child({x: column}, x if lanes > 1 else None, lanes), mask)
                values = [self.elements.element(value, forms, point) for value, _ in results]
                for value, (_, binding) in zip(values, results, strict=True):
                    self.elements.store(value, self.frame.binding_memory(binding), forms, point)

            vector_loop(k, 0, length, lanes, columns > 1, once)

        wide = plan.lanes * (UNROLL if columns > plan.lanes else 1)
        if plan.pitch == columns and runs_on(self.dispatch, root, (ROW, COLUMN)):
            wide = plan.lanes * UNROLL
            k.loop(0, filters, 1, (), lambda i: line(i, 0, k.mul(rows, columns), wide))
        else:
            k.loop(0, filters, 1, (), lambda i: k.loop(0, rows, 1, (), lambda j: line(i, j, columns, wide)))


def interleaved(k: Any, a: Value, b: Value, count: int, size: int) -> Value:
    """``count`` pieces of ``size`` lanes of ``a`` and ``b`` in turn."""
    order = [
        source * count * size + i * size + lane
        for i in range(count)
        for source in (0, 1)
        for lane in range(size)
    ]
    value: Value = k.shuffle(a, b, order)
    return value
