"""The inner loop of products on matrix tiles, in place or as a private function.

``C[rows][columns] = sum over k of A[row, k] * B[k, column]``: up to 2 x 2 tiles of sums stay in registers
while A and B pass by in steps of 32. With two parts a product is ``Ah Bl + Ah Bh + Al Bh``: in this order
every tile is loaded once, and never more than four are held beside the sums.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from iree_base.records import record
from iree_codegen.kernel_builder import Index, KernelBuilder, memref_of
from iree_codegen.tile_panels import COLUMNS, DEPTH
from iree_core_ir.dialects.amx import TileType
from iree_core_ir.ir.attributes import UNIT, Attribute
from iree_core_ir.ir.operation import Value
from iree_core_ir.ir.types import bf16, f32, index

WORDS = DEPTH // 2 * COLUMNS
"""32-bit words of a tile of 16 rows."""
LINE = 16
"""32-bit words of a cache line."""


@record(frozen=True)
class Factor:
    """How a factor lies in memory, in elements of the memory."""

    element: Any
    """Of the memory: ``bf16``, or words of two typed ``f32``."""
    pitch: int
    """From row to row of a tile."""
    tile: int
    """From tile to tile across the reduction."""
    part: int
    """From a number's first part to its second."""
    step: int
    """How far an iteration moves on."""
    streamed: bool = False
    """It comes from beyond the first cache in any case: the other factor shall stay there."""


@record(frozen=True)
class TileKernel:
    """Everything that is static about the function."""

    rows: int
    row_tiles: int
    column_tiles: int
    parts: int
    count: int
    a: Factor
    b: Factor
    c_pitch: int
    taps: tuple[tuple[int, int], ...] = ((0, 0),)
    """(A, B) offsets of the steps of an iteration."""
    prefetched: int = 0
    """Cache lines of B's memory that an iteration asks for: its share of what comes after this panel."""
    apart: int | None = None
    """Rows of C from one tile of rows to the next; those that are in both are computed twice."""
    again: bool = False
    """Sums go on from what C holds."""

    @property
    def products(self) -> int:
        """Of tiles, in a step."""
        return self.row_tiles * self.column_tiles * (1 if self.parts == 1 else 3)


def build(spec: TileKernel, name: str) -> KernelBuilder:
    """The function (A, its start, B, its start, C, its start, where in B to prefetch from)."""
    types = [memref_of(spec.a.element), index, memref_of(spec.b.element), index, memref_of(f32), index, index]
    k = KernelBuilder(name, types, private=True)
    a, a0, b, b0, c, c0, later = k.args
    multiply(k, spec, (a, a0), (b, b0), (c, c0), later)
    k.finish()
    return k


def multiply(
    k: KernelBuilder,
    spec: TileKernel,
    a: tuple[Value, Index],
    b: tuple[Value, Index],
    c: tuple[Value, Index],
    later: Index = 0,
    beside: Callable[[Index], None] | None = None,
) -> None:
    """The loop in place: ``a``, ``b``, ``c`` are memory and start, ``later`` where in B to prefetch from.

    ``beside`` makes the work that goes on beside an iteration: tiles keep one port busy one cycle in 16, all
    else of the core is free for vectors meanwhile.
    """
    (a_memory, a0), (b_memory, b0), (c_memory, c0) = a, b, c
    a_type = TileType((spec.rows, DEPTH), bf16)
    b_type = TileType((DEPTH // 2, 2 * COLUMNS), bf16)
    c_type = TileType((spec.rows, COLUMNS), f32)

    def tile(
        name: str, operands: tuple[Value, ...], type: TileType, attributes: dict[str, Attribute] | None = None
    ) -> Value:
        return k.effect(f"amx.tile_{name}", operands, (type,), attributes).results[0]

    def read(memory: Value, start: Index, factor: Factor, number: int, type: TileType) -> Value:
        at = k.value(k.add(start, number * factor.tile))
        attributes: dict[str, Attribute] | None = {"streamed": UNIT} if factor.streamed else None
        return tile("load", (memory, at, k.value(factor.pitch)), type, attributes)

    def step(t: Index, *carried: Value) -> list[Value]:
        sums = list(carried)
        lines = iter(range(spec.prefetched))
        share = -(-spec.prefetched // (len(spec.taps) * spec.products))

        def product(place: int, left: Value, right: Value) -> None:
            for line in itertools.islice(lines, share):
                at = k.add(later, k.add(k.mul(t, spec.prefetched * LINE), line * LINE))
                k.prefetch(b_memory, at, locality=2)
            sums[place] = tile("mulf", (left, right, sums[place]), c_type)

        for a_tap, b_tap in spec.taps:
            a = k.add(k.add(a0, k.mul(t, spec.a.step)), a_tap)
            b = k.add(k.add(b0, k.mul(t, spec.b.step)), b_tap)
            lefts: dict[int, Value] = {}
            rights: list[Value] = []
            for part in reversed(range(spec.parts)):
                rights.clear()
                for j in range(spec.column_tiles):
                    for i in range(spec.row_tiles):
                        if i not in lefts:
                            lefts[i] = read(a_memory, a, spec.a, i, a_type)
                        if len(rights) == j:
                            rights.append(read(b_memory, k.add(b, part * spec.b.part), spec.b, j, b_type))
                        product(i * spec.column_tiles + j, lefts[i], rights[j])
            if spec.parts == 2:
                for i in range(spec.row_tiles):
                    left = read(a_memory, k.add(a, spec.a.part), spec.a, i, a_type)
                    for j in range(spec.column_tiles):
                        product(i * spec.column_tiles + j, left, rights[j])
        if beside is not None:
            beside(t)
        return sums

    apart = spec.rows if spec.apart is None else spec.apart
    places = [
        k.value(k.add(c0, i * apart * spec.c_pitch + j * COLUMNS))
        for i in range(spec.row_tiles)
        for j in range(spec.column_tiles)
    ]
    pitch = k.value(spec.c_pitch)
    if spec.again:
        sums = [tile("load", (c_memory, at, pitch), c_type) for at in places]
    else:
        sums = [tile("zero", (), c_type) for _ in places]
    for at, value in zip(places, k.loop(0, spec.count, 1, sums, step), strict=True):
        k.effect("amx.tile_store", (c_memory, at, value, pitch))
