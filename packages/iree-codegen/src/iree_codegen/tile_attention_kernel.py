"""Products of an attention on matrix tiles, as a private function: a block of rows by all columns.

``C[rows][columns] = sum over k of A[row, k] * B[k, column]``, panel after panel of up to 2 columns of tiles,
where both the number of panels and the number of steps may be known as late as the call.
"""

from __future__ import annotations

from iree_base.records import record
from iree_codegen.kernel_builder import Index, KernelBuilder, memref_of
from iree_codegen.tile_kernel import Factor
from iree_codegen.tile_panels import COLUMNS, DEPTH
from iree_core_ir.dialects.amx import TileType
from iree_core_ir.ir.operation import Value
from iree_core_ir.ir.types import bf16, f32, index


@record(frozen=True)
class BlockProduct:
    """Everything that is static about the function."""

    rows: int
    row_tiles: int
    column_tiles: int
    parts: int
    a: Factor
    b: Factor
    panel: int
    """From panel to panel of B."""
    c_pitch: int
    steps: int | None = None
    """Steps along the reduction; None: an argument."""


def build(spec: BlockProduct, name: str) -> KernelBuilder:
    """The function (A, its start, B, its start, C, its start, steps, panels)."""
    memories = [memref_of(spec.a.element), memref_of(spec.b.element), memref_of(f32)]
    k = KernelBuilder(
        name, [t for memory in memories for t in (memory, index)] + [index, index], private=True
    )
    a_memory, a0, b_memory, b0, c_memory, c0, steps, panels = k.args
    a_type = TileType((spec.rows, DEPTH), bf16)
    b_type = TileType((DEPTH // 2, 2 * COLUMNS), bf16)
    c_type = TileType((spec.rows, COLUMNS), f32)
    places = [(i, j) for i in range(spec.row_tiles) for j in range(spec.column_tiles)]

    def tile(name: str, operands: tuple[Value, ...], type: TileType) -> Value:
        return k.effect(f"amx.tile_{name}", operands, (type,)).results[0]

    def load(memory: Value, factor: Factor, start: Index, number: int, type: TileType) -> Value:
        at = k.value(k.add(start, number * factor.tile))
        return tile("load", (memory, at, k.value(factor.pitch)), type)

    def multiply(a: Index, b: Index, sums: list[Value], held: dict[int, Value]) -> None:
        """Add the products of one part of A with one of B; tiles of A that are ``held`` are there already."""
        for j in range(spec.column_tiles):
            right: Value | None = None
            for i in range(spec.row_tiles):
                if i not in held:
                    held[i] = load(a_memory, spec.a, a, i, a_type)
                if right is None:
                    right = load(b_memory, spec.b, b, j, b_type)
                place = places.index((i, j))
                sums[place] = tile("mulf", (held[i], right, sums[place]), c_type)

    def panel(number: Index) -> None:
        start = k.add(b0, k.mul(number, spec.panel))

        def step(t: Index, *carried: Value) -> list[Value]:
            sums = list(carried)
            a = k.add(a0, k.mul(t, spec.a.step))
            b = k.add(start, k.mul(t, spec.b.step))
            held: dict[int, Value] = {}
            multiply(a, b, sums, held)
            if spec.parts == 2:
                multiply(a, k.add(b, spec.b.part), sums, held)
                multiply(k.add(a, spec.a.part), b, sums, {})
            return sums

        sums = [tile("zero", (), c_type) for _ in places]
        if spec.steps is None:
            sums = k.loop(0, steps, 1, sums, step)
        else:
            for t in range(spec.steps):
                sums = step(t, *sums)
        first = k.add(c0, k.mul(number, spec.column_tiles * COLUMNS))
        for (i, j), value in zip(places, sums, strict=True):
            at = k.value(k.add(first, i * spec.rows * spec.c_pitch + j * COLUMNS))
            k.effect("amx.tile_store", (c_memory, at, value, k.value(spec.c_pitch)))

    k.loop(0, panels, 1, (), panel)
    k.finish()
    return k
