"""Products of an attention on matrix tiles: a block of rows by a panel of columns, or by all of them.

``C[rows][columns] = sum over k of A[row, k] * B[k, column]`` with up to 2 columns of tiles a panel. Both the
number of panels and the number of steps may be known as late as the call.
"""

from __future__ import annotations

from collections.abc import Callable

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


Place = tuple[Value, Index]
"""Memory and where in it something begins."""


def build(spec: BlockProduct, name: str) -> KernelBuilder:
    """The function (A, its start, B, its start, C, its start, steps, panels)."""
    memories = [memref_of(spec.a.element), memref_of(spec.b.element), memref_of(f32)]
    k = KernelBuilder(
        name, [t for memory in memories for t in (memory, index)] + [index, index], private=True
    )
    a, a0, b, b0, c, c0, steps, panels = k.args
    product = PanelProduct(k, spec, steps)
    k.loop(0, panels, 1, (), lambda number: product.panel(number, (a, a0), (b, b0), (c, c0)))
    k.finish()
    return k


class PanelProduct:
    """Emits the product with a panel of B. ``steps``: their number where the specification has none."""

    def __init__(self, k: KernelBuilder, spec: BlockProduct, steps: Index = 0) -> None:
        self.k = k
        self.spec = spec
        self.steps = steps if spec.steps is None else spec.steps
        self.places = [(i, j) for i in range(spec.row_tiles) for j in range(spec.column_tiles)]
        self.a_type = TileType((spec.rows, DEPTH), bf16)
        self.b_type = TileType((DEPTH // 2, 2 * COLUMNS), bf16)
        self.c_type = TileType((spec.rows, COLUMNS), f32)

    def panel(
        self, number: Index, a: Place, b: Place, c: Place, beside: Callable[[int], None] | None = None
    ) -> None:
        """Panel ``number``. ``beside`` emits what is done while tiles are multiplied: behind each of a known
        number of steps, and behind all; it is told which."""
        k, spec = self.k, self.spec
        start = k.add(b[1], k.mul(number, spec.panel))

        def step(t: Index, *carried: Value) -> list[Value]:
            sums = list(carried)
            left: Place = a[0], k.add(a[1], k.mul(t, spec.a.step))
            right: Place = b[0], k.add(start, k.mul(t, spec.b.step))
            held: dict[int, Value] = {}
            self._multiply(left, right, sums, held)
            if spec.parts == 2:
                self._multiply(left, (b[0], k.add(right[1], spec.b.part)), sums, held)
                self._multiply((a[0], k.add(left[1], spec.a.part)), right, sums, {})
            return sums

        sums = [self._tile("zero", (), self.c_type) for _ in self.places]
        if isinstance(self.steps, int):
            for t in range(self.steps):
                sums = step(t, *sums)
                if beside is not None:
                    beside(t)
        else:
            sums = k.loop(0, self.steps, 1, sums, step)
        first = k.add(c[1], k.mul(number, spec.column_tiles * COLUMNS))
        for (i, j), value in zip(self.places, sums, strict=True):
            at = k.value(k.add(first, i * spec.rows * spec.c_pitch + j * COLUMNS))
            k.effect("amx.tile_store", (c[0], at, value, k.value(spec.c_pitch)))
        if beside is not None and isinstance(self.steps, int):
            beside(self.steps)

    def _tile(self, name: str, operands: tuple[Value, ...], type: TileType) -> Value:
        return self.k.effect(f"amx.tile_{name}", operands, (type,)).results[0]

    def _load(self, memory: Place, factor: Factor, number: int, type: TileType) -> Value:
        k = self.k
        at = k.value(k.add(memory[1], number * factor.tile))
        return self._tile("load", (memory[0], at, k.value(factor.pitch)), type)

    def _multiply(self, a: Place, b: Place, sums: list[Value], held: dict[int, Value]) -> None:
        """Add the products of one part of A with one of B; tiles of A that are ``held`` are there already."""
        for j in range(self.spec.column_tiles):
            right: Value | None = None
            for i in range(self.spec.row_tiles):
                if i not in held:
                    held[i] = self._load(a, self.spec.a, i, self.a_type)
                if right is None:
                    right = self._load(b, self.spec.b, j, self.b_type)
                place = self.places.index((i, j))
                sums[place] = self._tile("mulf", (held[i], right, sums[place]), self.c_type)
