"""Products on tiles in shared memory: every element is read from memory once per tile, used many times.

All invocations bring a slab of both factors to shared memory, then each adds up its own block of sums in
registers while the next slab is on its way: one buffer, the next slab in registers (on an H100 faster than
two buffers). Of 32 neighbouring invocations 8 lie along the columns, so that their vectors of a row are
contiguous and rows are broadcast.
"""

from __future__ import annotations

from iree_base.element_types import element_type
from iree_codegen import dims as dim_ops
from iree_codegen.dispatch import Dispatch
from iree_codegen.gpu_frame import GpuFrame
from iree_codegen.indexing import Bindings
from iree_codegen.invocation_description import InvocationDescription
from iree_codegen.invocation_elements import InvocationElements
from iree_codegen.kernel import Kernel
from iree_codegen.kernel_builder import Index
from iree_codegen.strategies.gpu.product_results import ProductResults
from iree_codegen.strategies.gpu.products import Product, extent
from iree_codegen.strategies.gpu.staging import VECTOR, Stage, multiply_add
from iree_codegen.strategies.gpu.tile_grid import share_tiles
from iree_codegen.strategies.gpu.tile_shapes import TileShape, shared_tile
from iree_core_ir.ir.operation import Value
from iree_core_ir.ir.types import IntegerType, VectorType

NAME = "matmul"
ACROSS, DOWN = 8, 4
"""How 32 neighbouring invocations lie: along the columns, along the rows."""


def shared_product(
    dispatch: Dispatch, product: Product, description: InvocationDescription, *, vectors: bool = True
) -> Kernel | None:
    """The kernel; None when no tile fits the device. Raises NotVectorizable when ``vectors`` of results
    cannot be computed."""
    n_bytes = element_type(str(product.sum_type)).bytes
    tile = shared_tile(*product.sizes, description, n_bytes)
    if tile is None:
        return None
    return _Emitter(dispatch, product, description, tile, vectors).emit()


class _Emitter:
    def __init__(
        self,
        dispatch: Dispatch,
        product: Product,
        description: InvocationDescription,
        tile: TileShape,
        vectors: bool,
    ) -> None:
        self.product, self.tile = product, tile
        self.frame = GpuFrame(dispatch, description, (tile.invocations,), elements=InvocationElements)
        self.kernel = self.frame.kernel
        self.depth = product.depth(tile.depth)
        self.results = ProductResults(self.frame, product, vectors=vectors)
        self.columns_of_warps = tile.columns // (ACROSS * tile.own_columns)

    def emit(self) -> Kernel | None:
        product, tile = self.product, self.tile
        factors = [product.factor(n, self.depth) for n in (product.a_operand, product.b_operand)]
        if factors[0] is None or factors[1] is None:
            return None
        args = (self.depth, product.sum_type)
        self.a = Stage(self.frame, factors[0], product.rows, tile.rows, *args)
        self.b = Stage(self.frame, factors[1], product.columns, tile.columns, *args)
        total = share_tiles(self.frame, product, tile, self._tile)
        why = f"tiles of {tile}; rows {self.a.how}, columns {self.b.how}"
        return self.frame.finish(self.frame.folded(total), 0, NAME, why)

    def _tile(self, at: Bindings, row: Index, column: Index) -> None:
        k, tile, product = self.kernel, self.tile, self.product
        slabs = k.dim(self.depth.slabs)
        n_sums = tile.own_rows * (tile.own_columns // VECTOR)
        zero = k.constant(0, VectorType((VECTOR,), product.sum_type))
        first = [*self.a.load(at, row, 0), *self.b.load(at, column, 0)]

        def slab(s: Index, *state: Value) -> list[Value]:
            sums, brought = list(state[:n_sums]), state[n_sums:]
            if s != 0:
                self.frame.barrier()
            n_a = len(self.a.places)
            self.a.put(brought[:n_a])
            self.b.put(brought[n_a:])
            self.frame.barrier()
            if slabs == 1:
                return [*self._multiply(sums), *brought]
            following = k.min(k.add(s, 1), k.sub(slabs, 1))
            brought = (*self.a.load(at, row, following), *self.b.load(at, column, following))
            return [*self._multiply(sums), *brought]

        sums = k.loop(0, slabs, 1, [*[zero] * n_sums, *first], slab)[:n_sums]
        if tile.shares == 1:
            self._store(at, row, column, sums)
            return
        sums = self._add_shares(sums)
        own = k.compare("ult", self.frame.local_id(), tile.per_share)
        k.if_(own, lambda: self._store(at, row, column, sums))

    def _add_shares(self, sums: list[Value]) -> list[Value]:
        """The sums of all shares of the depth, with the invocations of the first one: the upper half leaves
        its sums where the columns' slab was, the lower half adds them, until one share remains."""
        k, tile, memory = self.kernel, self.tile, self.b.memory
        id = self.frame.local_id()
        half = tile.shares // 2
        while half:
            n = half * tile.per_share
            stride = n * VECTOR
            assert len(sums) * stride <= tile.depth * self.b.pitch
            place = k.mul(k.mod(id, n), VECTOR)
            self.frame.barrier()

            def leave(place: Index = place, stride: int = stride, sums: list[Value] = sums) -> None:
                for i, value in enumerate(sums):
                    k.vstore(value, memory, k.add(place, i * stride))

            upper = k.binary("arith.andi", k.compare("uge", id, n), k.compare("ult", id, 2 * n))
            k.if_(upper, leave)
            self.frame.barrier()
            name = "arith.addi" if isinstance(self.product.sum_type, IntegerType) else "arith.addf"
            others = [k.vload(memory, k.add(place, i * stride), VECTOR) for i in range(len(sums))]
            sums = [k.binary(name, a, b) for a, b in zip(sums, others, strict=True)]
            half //= 2
        return sums

    def _place(self) -> tuple[Index, Index]:
        """Where the invocation's block begins in the tile: row and column of its first vectors."""
        k, tile = self.kernel, self.tile
        id = k.mod(self.frame.local_id(), tile.per_share) if tile.shares > 1 else self.frame.local_id()
        lane, group = k.mod(id, 32), k.floordiv(id, 32)
        x, y = k.mod(lane, ACROSS), k.floordiv(lane, ACROSS)
        warp_x, warp_y = k.mod(group, self.columns_of_warps), k.floordiv(group, self.columns_of_warps)
        row = k.add(k.mul(warp_y, DOWN * tile.own_rows), k.mul(y, VECTOR))
        column = k.add(k.mul(warp_x, ACROSS * tile.own_columns), k.mul(x, VECTOR))
        return row, column

    def _multiply(self, sums: list[Value]) -> list[Value]:
        """One slab's products added to the sums."""
        k, tile = self.kernel, self.tile
        row, column = self._place()
        across = tile.own_columns // VECTOR
        steps = tile.depth // tile.shares
        if tile.shares > 1:
            share = k.floordiv(self.frame.local_id(), tile.per_share)
            row = k.add(row, k.mul(share, steps * self.a.pitch))
            column = k.add(column, k.mul(share, steps * self.b.pitch))
        for step in range(steps):
            a = [
                k.vload(self.a.memory, k.add(row, step * self.a.pitch + h * DOWN * VECTOR), VECTOR)
                for h in range(tile.own_rows // VECTOR)
            ]
            b = [
                k.vload(self.b.memory, k.add(column, step * self.b.pitch + h * ACROSS * VECTOR), VECTOR)
                for h in range(across)
            ]
            for r in range(tile.own_rows):
                scalar = k.extract(a[r // VECTOR], r % VECTOR)
                for h in range(across):
                    sums[r * across + h] = multiply_add(k, scalar, b[h], sums[r * across + h])
        return sums

    def _store(self, at: Bindings, row: Index, column: Index, sums: list[Value]) -> None:
        k, tile, product = self.kernel, self.tile, self.product
        own_row, own_column = self._place()
        across = tile.own_columns // VECTOR
        first_row, first_column = k.add(row, own_row), k.add(column, own_column)
        rows = [k.add(first_row, r // VECTOR * DOWN * VECTOR + r % VECTOR) for r in range(tile.own_rows)]
        columns = [k.add(first_column, h * ACROSS * VECTOR) for h in range(across)]
        self.results.store_block(
            at, rows, columns, lambda i, j: sums[i * across + j],
            exact_rows=dim_ops.mod(extent(product.rows), tile.rows) == 0,
            exact_columns=dim_ops.mod(extent(product.columns), tile.columns) == 0,
        )  # fmt: skip
