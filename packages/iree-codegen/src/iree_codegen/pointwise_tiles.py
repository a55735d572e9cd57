"""A 1x1 convolution inside a kernel, on matrix tiles, of pixels that lie in scratch as bf16.

A tile of pixels meets a panel of weights; its sums go to scratch, where what follows reads them while the
next tile is multiplied.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from iree_codegen.blocked_tile_panels import (
    BLOCKED_TILE_PANELS,
    PAIR,
    blocked_tile_parameters,
    packed_size,
)
from iree_codegen.blocked_tile_rows import PixelParts
from iree_codegen.inverted_residual import Pointwise
from iree_codegen.kernel import KernelFrame
from iree_codegen.kernel_builder import Index
from iree_codegen.tile_panels import COLUMNS, DEPTH, ROWS
from iree_core_ir.dialects.amx import TileType
from iree_core_ir.ir.operation import Value
from iree_core_ir.ir.types import TensorType, bf16, f32
from iree_core_ir.target import ConstantLayout

FEWEST_PIXELS = 4
"""Rows of pixels that are shorter are not worth a tile."""
WORDS = DEPTH // PAIR * COLUMNS
"""Of a tile of weights."""


def common_tile(widths: Sequence[int]) -> int | None:
    """Pixels of tiles that cut rows of all ``widths`` with the least left over: all tiles of a kernel are
    alike. None where a row is too short.
    """
    most = min(*widths, ROWS)
    if most < FEWEST_PIXELS:
        return None
    return min(range(most, most // 2, -1), key=lambda n: sum(-(-width // n) * n / width for width in widths))


def groups_of(blocks: int, lanes: int) -> int:
    """Groups of 32 channels of so many blocks."""
    return -(-blocks * lanes // DEPTH)


def parameters_of(c: Pointwise, parts: int, width: int) -> dict[str, Any]:
    return blocked_tile_parameters((c.out_blocks, c.blocks, 1, 1, c.lanes, c.lanes), parts, width=width)


def layout_of(c: Pointwise, parts: int, width: int) -> ConstantLayout:
    """How its weights should lie; ``width``: blocks of a panel."""
    parameters = parameters_of(c, parts, width)
    packed = TensorType([packed_size(parameters)], f32)
    return ConstantLayout(c.weights.argument, BLOCKED_TILE_PANELS, parameters, packed)


class PointwiseTiles:
    """``pixels``: the image, groups of channels ``plane`` elements apart."""

    def __init__(
        self, frame: KernelFrame, c: Pointwise, width: int, tile: int, pixels: PixelParts, plane: int
    ) -> None:
        self.kernel = frame.kernel
        self.c, self.tile, self.pixels, self.plane = c, tile, pixels, plane
        self.weights = frame.binding_args[c.weights.index]
        self.steps = groups_of(c.blocks, c.lanes)
        self.size = width * tile * COLUMNS
        self.sums = frame.scratch_view(2 * self.size, f32)

    def run(
        self,
        first: Index,
        vectors: int,
        count: Index,
        start: Callable[[Index], Index],
        finish: Callable[[Index, Callable[[int, int], Value]], None],
    ) -> None:
        """For each of ``count`` tiles that begin at ``start`` in the image, ``finish(number, sums)``, where
        ``sums(pixel, vector)`` are those of the blocks from ``first`` on."""
        k = self.kernel

        def finished(i: Index) -> None:
            at = k.mul(k.mod(i, 2), self.size)

            def sums(pixel: int, vector: int) -> Value:
                return k.vload(self.sums, k.add(at, (pixel * vectors + vector) * COLUMNS), COLUMNS)

            finish(i, sums)

        def one(i: Index) -> None:
            self._products(first, vectors, start(i), k.mul(k.mod(i, 2), self.size))
            k.if_(k.compare("ne", i, 0), lambda: finished(k.sub(i, 1)))

        k.loop(0, count, 1, (), one)
        k.if_(k.compare("ne", count, 0), lambda: finished(k.sub(count, 1)))

    def _products(self, first: Index, vectors: int, start: Index, sums: Index) -> None:
        k, parts = self.kernel, self.pixels.parts
        a_type = TileType((self.tile, DEPTH), bf16)
        b_type = TileType((DEPTH // PAIR, PAIR * COLUMNS), bf16)
        c_type = TileType((self.tile, COLUMNS), f32)
        panel = k.mul(first, self.steps * parts * WORDS)

        def tile(name: str, operands: tuple[Value, ...], type: TileType) -> Value:
            return k.effect(f"amx.tile_{name}", operands, (type,)).results[0]

        def step(group: Index, *now: Value) -> list[Value]:
            totals = list(now)
            at = k.add(start, k.mul(group, self.plane))
            places = [k.value(k.add(at, part * self.pixels.part)) for part in range(parts)]
            left = [tile("load", (self.pixels.memory, place, k.value(DEPTH)), a_type) for place in places]
            row = k.add(panel, k.mul(group, parts * vectors * WORDS))
            for v in range(vectors):
                for part in reversed(range(parts)):
                    place = k.value(k.add(row, (part * vectors + v) * WORDS))
                    right = tile("load", (self.weights, place, k.value(COLUMNS)), b_type)
                    # The product of two second parts is left out.
                    for own in left[: parts - part]:
                        totals[v] = tile("mulf", (own, right, totals[v]), c_type)
            return totals

        zeros = [tile("zero", (), c_type) for _ in range(vectors)]
        for v, total in enumerate(k.loop(0, self.steps, 1, zeros, step)):
            at = k.value(k.add(sums, v * COLUMNS))
            k.effect("amx.tile_store", (self.sums, at, total, k.value(vectors * COLUMNS)))


__all__ = ["PointwiseTiles", "common_tile", "groups_of", "layout_of", "parameters_of"]
