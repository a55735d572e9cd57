"""``integer-convolution``: unsigned images with constant signed filters, on dot products of four.

A workgroup packs some rows of the image into worker scratch, four channels of a pixel to a word, and takes
them through panels of filters: pixels are loaded as vectors, filters broadcast. The sums of a panel for the
rows go to scratch, where the epilogue reads them while they are hot.
"""

from __future__ import annotations

import json
from typing import Any

from iree_codegen import indexing
from iree_codegen.dispatch import Dispatch
from iree_codegen.dot_kernel import DotKernel, build, unrolled
from iree_codegen.elements import Memory, Point
from iree_codegen.indexing import Affine, Bindings, Var
from iree_codegen.integer_panels import GROUP, INTEGER_FILTERS, filter_parameters, filter_shape
from iree_codegen.integer_window import (
    BATCH,
    CHANNEL,
    COLUMN,
    FILTER,
    ROW,
    IntegerWindow,
    plan_window,
)
from iree_codegen.kernel import Kernel, KernelFrame
from iree_codegen.kernel_builder import Index
from iree_codegen.loop_emitter import vector_loop
from iree_codegen.product_tiles import runs_on
from iree_core_ir.ir.operation import Value
from iree_core_ir.ir.types import TensorType, VectorType, i8, i32
from iree_core_ir.target import ConstantLayout

NAME = "integer-convolution"
UNROLL = 2
"""Vectors that the epilogue does in step: requantization is a long chain of dependent operations."""


def layout(dispatch: Dispatch, description: Any) -> ConstantLayout | None:
    """How the strategy wants the filters of ``dispatch``; None when it does not take it."""
    plan = plan_window(dispatch, description)
    if plan is None:
        return None
    parameters = filter_parameters(plan.filters_per_tile)
    shape = filter_shape(plan.weights.value.type.shape, parameters)
    return ConstantLayout(plan.weights.argument, INTEGER_FILTERS, parameters, TensorType(shape, i8))


def integer_convolution(dispatch: Dispatch, description: Any) -> Kernel | None:
    plan = plan_window(dispatch, description)
    if plan is None:
        return None
    wanted = {"kind": INTEGER_FILTERS, "parameters": filter_parameters(plan.filters_per_tile)}
    if plan.weights.packed is None or json.loads(plan.weights.packed) != wanted:
        return None
    return _Emitter(dispatch, description, plan).emit()


class _Emitter:
    def __init__(self, dispatch: Dispatch, description: Any, plan: IntegerWindow) -> None:
        self.dispatch = dispatch
        self.description = description
        self.plan = plan
        self.root = plan.root
        self.frame = KernelFrame(dispatch, fma=description.fma)
        self.kernel = self.frame.kernel
        self.elements = self.frame.elements
        self.row_base, self.filter_base = Var("r0"), Var("f0")
        self.sums = self.frame.scratch_view(plan.filters_per_tile * plan.sums_pitch, i32)
        offset = self.frame.allocate(plan.image_words * GROUP)
        scratch = self.frame.scratch
        self.image_bytes = self.kernel.view(scratch, offset, plan.image_words * GROUP, i8)
        self.image = self.kernel.view(scratch, offset, plan.image_words, i32)
        taps = [
            (n * plan.filters_per_tile, t.phase * plan.plane + t.row * plan.pitch + t.column)
            for n, t in enumerate(plan.taps)
        ]
        self.filter_words = len(taps) * plan.filters_per_tile
        """Of a panel, for a group of channels."""
        groups = plan.channel_groups
        unroll = unrolled(groups, 4) if len(taps) == 1 else 1
        steps = tuple(
            (u * self.filter_words + w, u * plan.group_words + v) for u in range(unroll) for w, v in taps
        )
        spec = DotKernel(
            plan.filters_per_tile, plan.vectors, plan.lanes, 1, groups // unroll, unroll * self.filter_words,
            unroll * plan.group_words, steps, False, plan.sums_pitch,
        )  # fmt: skip
        self.function = build(spec, f"{dispatch.name}.tile")

    def emit(self) -> Kernel:
        plan, k = self.plan, self.kernel
        panels, group = plan.filter_panels, plan.group
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
        weights = self.frame.binding_args[plan.weights.index]
        words = plan.channel_groups * self.filter_words
        filters = k.view(weights, 0, panels * words, i32)
        first = k.mul(part, group)
        last = k.add(first, group) if panels % group == 0 else k.min(k.add(first, group), panels)

        def panel(p: Index) -> None:
            f0 = k.mul(p, plan.filters_per_tile)
            width = plan.vectors * plan.lanes

            def tile(t: Index) -> None:
                pixel = k.mul(t, width)
                operands = [filters, k.mul(p, words), self.image, pixel, self.sums, pixel]
                k.call(self.function, operands)

            k.loop(0, plan.tiles, 1, (), tile)
            count: Index = plan.filters_per_tile
            if plan.extent(FILTER) % plan.filters_per_tile:
                count = k.min(k.sub(plan.extent(FILTER), f0), plan.filters_per_tile)
            self._epilogue(at.child({self.filter_base: f0}), count, rows)

        k.loop(first, last, 1, (), panel)
        self.frame.private = [self.function.func]
        shape = f"{len(plan.taps)} taps, {plan.filters_per_tile}x{plan.vectors} tiles, {plan.block_rows} rows"
        return self.frame.finish([total], self.frame.scratch_bytes, NAME, shape)

    # -- the image ----------------------------------------------------------------------------------------

    def _pack(self, at: Bindings, rows: Index) -> None:
        """The block's rows of the image, four channels to a word.

        Words go up in memory, and a vector may write behind its row: what comes there is written later.
        """
        plan, k = self.plan, self.kernel
        channels = plan.extent(CHANNEL)
        whole = channels // GROUP

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

        k.loop(0, whole, 1, (), lambda g: group(g, GROUP))
        if channels % GROUP:
            group(whole, channels % GROUP)

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
        for c in range(GROUP):
            if c < channels[1]:
                forms = (batch, indexing.of(g).scaled(GROUP) + c, down, across)
                pieces.append(k.splat(self.elements.element(self.root.op.operands[0], forms, point), lanes))
            else:
                pieces.append(k.constant(0, VectorType((lanes,), i8)))
        pairs = [_interleaved(k, pieces[i], pieces[i + 1], lanes, 1) for i in (0, 2)]
        k.vstore(_interleaved(k, pairs[0], pairs[1], lanes, 2), self.image_bytes, k.mul(target, GROUP))

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


def _interleaved(k: Any, a: Value, b: Value, count: int, size: int) -> Value:
    """``count`` pieces of ``size`` bytes of ``a`` and ``b`` in turn."""
    order = [
        source * count * size + i * size + byte
        for i in range(count)
        for source in (0, 1)
        for byte in range(size)
    ]
    value: Value = k.shuffle(a, b, order)
    return value
