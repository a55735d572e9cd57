"""The inner loop of products on matrix tiles, as a private function.

``C[rows][columns] = sum over k of A[row, k] * B[k, column]``: up to 2 x 2 tiles of sums stay in registers
while A and B pass by in steps of 32. With two parts a product is ``Ah Bh + Ah Bl + Al Bh``: tiles are loaded
so that never more than four are held beside the sums.
"""

from __future__ import annotations

from dataclasses import dataclass

from iree_codegen.kernel_builder import Index, KernelBuilder, memref_of
from iree_codegen.tile_panels import COLUMNS, DEPTH
from iree_core_ir.dialects.amx import TileType
from iree_core_ir.ir.operation import Value
from iree_core_ir.ir.types import bf16, f32, index

WORDS = DEPTH // 2 * COLUMNS
"""32-bit words of a tile of B."""


@dataclass(frozen=True)
class TileKernel:
    """Everything that is static about the function."""

    rows: int
    row_tiles: int
    column_tiles: int
    parts: int
    n_steps: int
    pitch: int
    """From row to row of A."""
    part_offset: int
    """From A's first part to its second."""


def build(spec: TileKernel, name: str) -> KernelBuilder:
    """The function (A of bf16, its start, B's words, their start, C): C is ``[rows][columns]``."""
    types = [memref_of(bf16), index, memref_of(f32), index, memref_of(f32)]
    k = KernelBuilder(name, types, private=True)
    a_memory, a0, b_memory, b0, c_memory = k.args
    a_type = TileType((spec.rows, DEPTH), bf16)
    b_type = TileType((DEPTH // 2, 2 * COLUMNS), bf16)
    c_type = TileType((spec.rows, COLUMNS), f32)
    pitch, line = k.value(spec.pitch), k.value(COLUMNS)

    def tile(name: str, operands: tuple[Value, ...], type: TileType) -> Value:
        return k.effect(f"amx.tile_{name}", operands, (type,)).results[0]

    def products(a: Index, b: Index, sums: list[Value], order: str) -> None:
        """Add the products of one part of A with one of B; ``order``: which is read first."""
        loaded: dict[tuple[str, int], Value] = {}

        def read(side: str, number: int) -> Value:
            key = (side, number)
            if key not in loaded and side == "a":
                start = k.value(k.add(a, number * spec.rows * spec.pitch))
                loaded[key] = tile("load", (a_memory, start, pitch), a_type)
            elif key not in loaded:
                start = k.value(k.add(b, number * WORDS))
                loaded[key] = tile("load", (b_memory, start, line), b_type)
            return loaded[key]

        for j in range(spec.column_tiles):
            for i in range(spec.row_tiles):
                place = i * spec.column_tiles + j
                operands = (held.get(i) or read("a", i), read("b", j), sums[place])
                sums[place] = tile("mulf", operands, c_type)
        if order == "hold":
            held.update({i: loaded["a", i] for i in range(spec.row_tiles)})

    held: dict[int, Value] = {}

    def step(t: Index, *carried: Value) -> list[Value]:
        sums = list(carried)
        a = k.add(a0, k.mul(t, DEPTH))
        part = spec.column_tiles * WORDS
        b = k.add(b0, k.mul(t, spec.parts * part))
        if spec.parts == 1:
            products(a, b, sums, "")
            return sums
        products(a, b, sums, "hold")
        products(a, k.add(b, part), sums, "")
        held.clear()
        products(k.add(a, spec.part_offset), b, sums, "")
        return sums

    n = spec.row_tiles * spec.column_tiles
    zeros = [tile("zero", (), c_type) for _ in range(n)]
    results = k.loop(0, spec.n_steps, 1, zeros, step)
    width = spec.column_tiles * COLUMNS
    for i in range(spec.row_tiles):
        for j in range(spec.column_tiles):
            at = k.value(i * spec.rows * width + j * COLUMNS)
            value = results[i * spec.column_tiles + j]
            k.effect("amx.tile_store", (c_memory, at, value, k.value(width)))
    k.finish()
    return k
