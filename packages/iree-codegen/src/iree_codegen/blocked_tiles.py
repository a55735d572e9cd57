"""Register tiles of a blocked convolution: the sums of some pixels, and what becomes of them.

A tile holds vectors of output channels times a list of pixels. Weights are loaded as vectors in the order
they are stored, input channels are broadcast from memory, and the next weights are fetched into the L2 cache
between products.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from iree_base.records import record
from iree_codegen import dims as dim_ops
from iree_codegen import indexing
from iree_codegen.blocked_image import BLOCK, COLUMN, IMAGE, LANE, ROW, BlockedConvolution
from iree_codegen.dims import Dim
from iree_codegen.dispatch import Binding, Dispatch
from iree_codegen.elements import Point
from iree_codegen.indexing import Bindings, Var
from iree_codegen.integer_panels import GROUP
from iree_codegen.kernel import KernelFrame
from iree_codegen.kernel_builder import Index
from iree_core_ir.dialects.linalg_structured import StructuredOp
from iree_core_ir.ir.affine import AffineMap
from iree_core_ir.ir.operation import Value
from iree_core_ir.ir.types import VectorType, i8, i32

NAME = "blocked convolution"
MOST_TAPS = 16
"""Steps of the reduction that are written out in its innermost loop."""
MOST_AHEAD = 16
"""Lines fetched ahead in one turn of the innermost loop (measured: 32 are slower)."""
LINE = 16
"""Floats of a cache line."""
Item = TypeVar("Item")


@record(frozen=True)
class Panel:
    """The weights of some vectors of output channels."""

    vectors: int
    first: Index
    """The first block of output channels."""
    start: Index
    """Where the weights begin."""
    tap: int
    """From one step of the reduction to the next."""
    vector: int
    """From vector to vector."""


@record(frozen=True)
class Ahead:
    """What to fetch while a tile is computed."""

    start: Index = 0
    lines: int = 0
    """Lines of weights a turn of the innermost loop, from ``start`` on."""
    pixels: tuple[int, ...] = ()
    """Pixels of the input, ``further`` from where it is read."""
    further: Index = 0
    rows: tuple[tuple[Value, Index, bool], ...] = ()
    """Memory and start: where the epilogue reads or (true) writes the pixels of a tile, side by side."""


@record(frozen=True)
class Reduction:
    """What a tile sums over: ``blocks`` of ``inner`` channels under the window, offsets in elements."""

    blocks: int
    plane: int
    kernel: tuple[int, int]
    steps: tuple[int, int]
    """From one row and column of the window to the next."""
    inner: int

    def turns(self) -> tuple[list[tuple[int, int]], list[int]]:
        """(loops as (count, step), offsets of the steps written out).

        Those of a window are written out for stems alone: taps side by side read the same pixels, and LLVM
        would keep those in registers that it has not.
        """
        loops = [(self.blocks, self.plane), *zip(self.kernel, self.steps, strict=True)]
        taps = list(range(self.inner))
        while len(loops) > 1 and loops[-1][0] * len(taps) <= MOST_TAPS:
            if loops[-1][0] > 1 and self.inner > 1:
                break
            count, step = loops.pop()
            taps = [i * step + tap for i in range(count) for tap in taps]
        return loops, taps


def _part(all: Sequence[Item], number: int, parts: int) -> Sequence[Item]:
    """The ``number``-th of about equal ``parts``."""
    return all[len(all) * number // parts : len(all) * (number + 1) // parts]


class BlockedTiles:
    """Base of the emitters, which say where the input lies and which pixels there are."""

    def __init__(self, dispatch: Dispatch, description: Any, convolution: BlockedConvolution) -> None:
        self.dispatch = dispatch
        self.masks: bool = description.masks
        self.convolution = c = convolution
        self.frame = KernelFrame(dispatch, fma=description.fma)
        self.kernel = self.frame.kernel
        self.lanes = c.lanes
        self.weights = self._words(c.weights, c.out_blocks * c.depth * c.lanes)
        self.source = self.frame.binding_args[c.source.index]
        if not c.interleaves:
            self.source = self._words(c.source, dim_ops.mul(c.batch, math.prod(c.size) * c.blocks * c.inner))
        extents = {IMAGE: c.batch, BLOCK: c.out_blocks, ROW: c.out_size[0], COLUMN: c.out_size[1]}
        self.vars = {kind: Var(kind, extents.get(kind, c.lanes)) for kind in (*extents, LANE)}
        self.forms = tuple(indexing.of(self.vars[kind]) for kind in c.axes)
        self.image: Index = 0

    def _words(self, binding: Binding, count: Dim) -> Value:
        """The memory of ``binding`` as words of channels."""
        memory, k = self.frame.binding_args[binding.index], self.kernel
        return memory if self.convolution.group == 1 else k.view(memory, 0, k.dim(count), i32)

    # -- panels ----------------------------------------------------------------------------------------

    def panels(self, share: Index, shares: int, vectors: int, panel: Callable[[Index, int], None]) -> None:
        """``panel(number, vectors)`` for each panel of weights of a share; the last one may be narrower."""
        k = self.kernel
        full, rest = divmod(self.convolution.out_blocks, vectors)
        per_share = -(-(full + (rest > 0)) // shares)
        first = k.mul(share, per_share)
        last: Index = k.min(k.add(first, per_share), full)
        if shares == 1:
            first, last = 0, full
        elif full == per_share * shares:
            last = k.add(first, per_share)
        k.loop(first, last, 1, (), lambda number: panel(number, vectors))
        if not rest:
            return
        if shares == 1:
            panel(full, rest)
        else:
            k.if_(k.compare("eq", share, full // per_share), lambda: panel(full, rest))

    # -- sums ------------------------------------------------------------------------------------------

    def zeros(self, count: int) -> list[Value]:
        k = self.kernel
        return [k.constant(0, VectorType((self.lanes,), self.convolution.word))] * count

    def _multiply(self, scalar: Value, vector: Value, total: Value) -> Value:
        """``total`` and the products of a word of the image with words of weights."""
        k = self.kernel
        if self.convolution.group == 1:
            return k.fma(scalar, vector, total)
        pieces = VectorType((GROUP * self.lanes,), i8)
        image, weights = (k.pure("vector.bitcast", (value,), pieces) for value in (scalar, vector))
        return k.pure("x86vector.dot_u8s8", (total, image, weights), total.type)

    def sums(
        self,
        panel: Panel,
        reduction: Reduction,
        memory: Value,
        start: Index,
        places: Sequence[int],
        begin: Sequence[Value],
        ahead: Ahead,
    ) -> tuple[list[Value], Index]:
        """``[pixel][vector]`` sums of the pixels at ``start + places``, on top of ``begin``; where the
        weights behind them lie."""
        k, lanes = self.kernel, self.lanes
        loops, taps = reduction.turns()
        span = len(taps) * panel.tap
        lines = ahead.lines
        turns = math.prod(count for count, _ in loops)
        side = -(-len(places) // turns)
        # Indices that every turn moves on: weights, lines fetched ahead, pixels of the epilogue.
        steps = (span, lines * LINE, side * lanes if ahead.rows else 0)

        def turn(at: Index, state: list[Any]) -> list[Any]:
            weights, fetch, done, *sums = state
            next_pixels = k.add(at, ahead.further)
            later = k.min(done, (len(places) - side) * lanes) if ahead.rows else 0
            wanted = [
                (image, k.add(k.add(first, later), i * lanes), write)
                for image, first, write in ahead.rows
                for i in range(side)
            ]
            for u, tap in enumerate(taps):
                for line in _part(range(lines), u, len(taps)):
                    k.prefetch(self.weights, k.add(fetch, line * LINE), locality=2)
                for pixel in _part(ahead.pixels, u, len(taps)):
                    k.prefetch(memory, k.add(next_pixels, pixel))
                for image, behind, write in _part(wanted, u, len(taps)):
                    k.prefetch(image, behind, write=write)
                row = k.add(weights, u * panel.tap)
                vectors = [
                    k.vload(self.weights, k.add(row, v * panel.vector), lanes) for v in range(panel.vectors)
                ]
                for p, place in enumerate(places):
                    scalar = k.splat(k.load(memory, k.add(at, place + tap)), lanes)
                    for v, vector in enumerate(vectors):
                        number = p * panel.vectors + v
                        sums[number] = self._multiply(scalar, vector, sums[number])
            return [*(k.add(now, step) for now, step in zip(state, steps, strict=False)), *sums]

        def nest(level: int, at: Index, state: list[Any]) -> list[Any]:
            if level == len(loops):
                return turn(at, state)
            count, step = loops[level]
            if count == 1:
                return nest(level + 1, at, state)
            moving = [i for i, step in enumerate(steps) if step]

            def body(i: Index, *now: Value) -> list[Value]:
                indices: list[Index] = [0] * len(steps)
                for place, value in zip(moving, now, strict=False):
                    indices[place] = value
                found = nest(level + 1, k.add(at, k.mul(i, step)), [*indices, *now[len(moving) :]])
                return [*(k.value(found[m]) for m in moving), *found[len(steps) :]]

            carried = [*(k.value(state[m]) for m in moving), *state[len(steps) :]]
            out = k.loop(0, count, 1, carried, body)
            left: list[Index] = [0] * len(steps)
            for place, value in zip(moving, out, strict=False):
                left[place] = value
            return [*left, *out[len(moving) :]]

        weights, _, _, *found = nest(0, start, [panel.start, ahead.start, 0, *begin])
        return found, weights

    def behind(self, panel: Panel, row: Index, column: Index) -> tuple[tuple[Value, Index, bool], ...]:
        """What the epilogue reads and writes at a pixel, in images like the result: memory and place for
        every vector, and whether it is written."""
        result = self.convolution.op.results[0]
        identity = AffineMap.identity(result.type.rank)
        found: dict[Binding, bool] = {}
        for op in self.dispatch.ops:
            if not isinstance(op, StructuredOp) or op is self.convolution.op:
                continue
            for argument, number in zip(op.body.args, op.body_arguments(), strict=True):
                binding = self.dispatch.binding_of(op.operands[number])
                if binding is None or not argument.uses or op.indexing_maps[number] is not identity:
                    continue
                if binding.dims == self.dispatch.dims(result):
                    found[binding] = False
        if not found:
            found[self.dispatch.results[0][1]] = True
        places: list[tuple[Value, Index, bool]] = []
        for binding, write in found.items():
            memory = self.frame.binding_memory(binding)
            address = memory.address(self.forms)
            places += [
                (memory.memory, self._at(panel, row, column, v).scalar(address), write)
                for v in range(panel.vectors)
            ]
        return tuple(places)

    # -- results ---------------------------------------------------------------------------------------

    def store(self, panel: Panel, row: Index, column: Index, vector: int, value: Value) -> None:
        """The dispatch's result at a pixel, where the convolution is ``value``."""
        at = self._at(panel, row, column, vector)
        point = Point(at.child({self.vars[LANE]: 0}, self.vars[LANE], self.lanes, True))
        elements, (result, destination) = self.frame.elements, self.dispatch.results[0]
        own = self.convolution.op.results[0]
        elements.overrides[own] = lambda forms, point: value
        if result is own:
            final = elements.element(result, self.forms, point)
        else:
            final = elements.element_through(result, self.forms, point)
        elements.store(final, self.frame.binding_memory(destination), self.forms, point)

    def _at(self, panel: Panel, row: Index, column: Index, vector: int) -> Bindings:
        block = self.kernel.add(panel.first, vector)
        places = {IMAGE: self.image, BLOCK: block, ROW: row, COLUMN: column, LANE: 0}
        return Bindings(self.kernel).child({self.vars[kind]: place for kind, place in places.items()})
