"""Products on tiles in registers, without shared memory: every invocation reads what it needs itself.

For CPU devices, where a barrier costs more than it saves (lavapipe: 7 GFLOP/s against 0.5 with shared
tiles), and on GPUs for products of few rows: there memory's bandwidth decides, so neighbouring invocations
lie along the columns and further ones take shares of the depth, whose sums meet in shared memory.
"""

from __future__ import annotations

import functools

from iree_codegen import dims as dim_ops
from iree_codegen.dispatch import Dispatch
from iree_codegen.gpu_frame import GpuFrame
from iree_codegen.indexing import Bindings
from iree_codegen.invocation_description import InvocationDescription
from iree_codegen.invocation_elements import InvocationElements
from iree_codegen.kernel import Kernel
from iree_codegen.kernel_builder import Index, vector_of
from iree_codegen.strategies.gpu.factors import Factor
from iree_codegen.strategies.gpu.product_results import ProductResults, has_short_elements
from iree_codegen.strategies.gpu.products import Product, extent
from iree_codegen.strategies.gpu.staging import VECTOR, converted, multiply_add
from iree_codegen.strategies.gpu.tile_grid import share_tiles
from iree_codegen.strategies.gpu.tile_shapes import depth_step, is_tiny, register_tile
from iree_core_ir.ir.operation import Value

NAME = "matmul"


def register_product(
    dispatch: Dispatch, product: Product, description: InvocationDescription, *, vectors: bool = True
) -> Kernel | None:
    """The kernel; None when a factor cannot be read. Raises NotVectorizable when ``vectors`` of results
    cannot be computed."""
    emitter = _Emitter(dispatch, product, description, vectors)
    return emitter.emit()


class _Emitter:
    def __init__(
        self, dispatch: Dispatch, product: Product, description: InvocationDescription, vectors: bool
    ) -> None:
        self.dispatch, self.product, self.description, self.vectors = dispatch, product, description, vectors
        self.tiny = description.prefers_barriers and is_tiny(*product.sizes)
        innermost = product.root.extents[product.depth_loops[-1]]
        self.depth = product.depth(depth_step(innermost, tiny=self.tiny))

    def emit(self) -> Kernel | None:
        product = self.product
        a, b = (product.factor(n, self.depth) for n in (product.a_operand, product.b_operand))
        if a is None or b is None:
            return None
        self.a, self.b = a, b
        _, rows, columns, _ = product.sizes
        self.short = has_short_elements(product)
        whole = isinstance(columns, int) and columns % VECTOR == 0 and self.short
        self.lanes = VECTOR if whole and self.vectors and b.lanes_along(product.columns, VECTOR) else 1
        slabs = self.depth.slabs
        self.tile = tile = register_tile(rows, columns, slabs, self.lanes, self.description, tiny=self.tiny)
        self.lanes = min(self.lanes, tile.lanes)
        size = (tile.across, tile.shares)
        self.frame = GpuFrame(self.dispatch, self.description, size, elements=InvocationElements)
        self.kernel = self.frame.kernel
        self.results = ProductResults(self.frame, product, vectors=self.lanes > 1)
        total = share_tiles(self.frame, product, tile, self._tile)
        return self.frame.finish(self.frame.folded(total), 0, NAME, f"register tiles of {tile}")

    def _tile(self, at: Bindings, row: Index, column: Index) -> None:
        k, tile, product = self.kernel, self.tile, self.product
        rows = [k.add(row, i) for i in range(tile.rows)]
        first = k.add(column, k.mul(self.frame.thread_id(0), self.lanes))
        columns = [k.add(first, j * tile.across * self.lanes) for j in range(tile.vectors)]
        extents = [k.dim(extent(v)) for v in (product.rows, product.columns)]
        exact_rows = dim_ops.mod(extent(product.rows), tile.rows) == 0
        exact_columns = dim_ops.mod(extent(product.columns), tile.columns) == 0
        # Places that are not there repeat the last one; their sums are not stored.
        read_rows = rows if exact_rows else [k.min(r, k.sub(extents[0], 1)) for r in rows]
        read_columns = columns
        if not exact_columns:
            read_columns = [k.min(c, k.sub(extents[1], self.lanes)) for c in columns]
        step = functools.partial(self._slab, at, read_rows, read_columns)
        zero = k.constant(0, vector_of(self.lanes, product.sum_type))
        inits = [zero] * (tile.rows * tile.vectors)
        sums = k.loop(self.frame.thread_id(1), k.dim(self.depth.slabs), tile.shares, inits, step)

        def store(numbers: range, sums: list[Value]) -> None:
            self.results.store_block(
                at, [rows[i] for i in numbers], columns, lambda i, j: sums[i * tile.vectors + j],
                exact_rows=exact_rows, exact_columns=exact_columns,
            )  # fmt: skip

        if tile.shares == 1:
            store(range(tile.rows), sums)
            return
        # Neighbours along the depth leave their sums; those of share 0 add them up.
        memory = self.frame.shared_memory(len(sums) * self.frame.n_invocations * self.lanes, product.sum_type)
        stride = self.frame.n_invocations * self.lanes
        own = k.mul(self.frame.local_id(), self.lanes)
        for i, value in enumerate(sums):
            k.vstore(value, memory, k.add(own, i * stride))
        self.frame.barrier()

        def add_up() -> None:
            place = k.mul(self.frame.thread_id(0), self.lanes)
            whole = list(sums)
            for i in range(len(sums)):
                for share in range(1, tile.shares):
                    offset = i * stride + share * tile.across * self.lanes
                    other = k.vload(memory, k.add(place, offset), self.lanes)
                    name = "arith.addf" if str(product.sum_type).startswith("f") else "arith.addi"
                    whole[i] = k.binary(name, whole[i], other)
            store(range(tile.rows), whole)

        first_share = k.compare("eq", self.frame.thread_id(1), 0)
        k.if_(first_share, add_up)

    def _slab(
        self, at: Bindings, rows: list[Index], columns: list[Index], slab: Index, *state: Value
    ) -> list[Value]:
        """One slab's products added to the sums."""
        k, product, depth = self.kernel, self.product, self.depth
        sums = list(state)
        at = at.child({depth.slab: slab})
        a = [self._along_depth(self.a, at.child({product.rows: r})) for r in rows]
        if self.lanes == 1:
            b = [self._along_depth(self.b, at.child({product.columns: c})) for c in columns]
        else:
            b = [
                [
                    self._read(self.b, at.child({product.columns: c, depth.inner: e}), self.lanes)
                    for e in range(depth.step)
                ]
                for c in columns
            ]
        for e in range(depth.step):
            for i in range(len(rows)):
                for j in range(len(columns)):
                    number = i * len(columns) + j
                    sums[number] = multiply_add(k, a[i][e], b[j][e], sums[number])
        return sums

    def _along_depth(self, factor: Factor, at: Bindings) -> list[Value]:
        """All elements of a slab at one row or column."""
        k, depth = self.kernel, self.depth
        if self.short and depth.step % VECTOR == 0 and factor.lanes_along(depth.inner, VECTOR):
            found = []
            for e in range(0, depth.step, VECTOR):
                vector = self._read(factor, at.child({depth.inner: e}), VECTOR)
                found += [k.extract(vector, lane) for lane in range(VECTOR)]
            return found
        return [self._read(factor, at.child({depth.inner: e}), 1) for e in range(depth.step)]

    def _read(self, factor: Factor, at: Bindings, lanes: int) -> Value:
        return converted(self.kernel, factor.read(self.frame, at, lanes, ()), self.product.sum_type)
