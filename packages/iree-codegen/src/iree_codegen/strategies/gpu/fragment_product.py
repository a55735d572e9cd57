"""Products on matrix fragments (cooperative matrices): narrow factors, wide sums, subgroups as one.

Both factors' slabs go through shared memory; each subgroup multiplies fragments of its own block. One buffer
with the next slab in registers, loops over the depth not unrolled by the driver (measured on an H100: two
buffers halve the speed, unrolling spills). Results without an epilogue are stored as fragments; others go
through shared memory to the subgroup's lanes, one row of fragments at a time.
"""

from __future__ import annotations

import functools
from typing import Any

from iree_base.element_types import element_type
from iree_codegen import dims as dim_ops
from iree_codegen import indexing
from iree_codegen.dispatch import Dispatch
from iree_codegen.gpu_frame import GpuFrame
from iree_codegen.indexing import Bindings
from iree_codegen.invocation_description import InvocationDescription
from iree_codegen.invocation_elements import InvocationElements
from iree_codegen.kernel import Kernel
from iree_codegen.kernel_builder import Index
from iree_codegen.strategies.gpu.fragment_staging import FragmentStage, vector_loop
from iree_codegen.strategies.gpu.product_results import ProductResults
from iree_codegen.strategies.gpu.products import Product, extent
from iree_codegen.strategies.gpu.staging import VECTOR
from iree_codegen.strategies.gpu.tile_grid import share_tiles
from iree_codegen.strategies.gpu.tile_shapes import (
    FRAGMENT_PADDING,
    FRAGMENT_TILES,
    FragmentTile,
    fragment_tile,
)
from iree_core_ir.dialects.gpu_matrix import MMAElementWiseAttr, MMAMatrixType, si8
from iree_core_ir.dialects.linalg_structured import StructuredOp
from iree_core_ir.ir.attributes import UNIT, Attribute, IntegerAttr, Type
from iree_core_ir.ir.operation import Value
from iree_core_ir.ir.types import element_of, i8, index

NAME = "matmul"
DONT_UNROLL = "iree.dont_unroll"
"""On a loop: the device's compiler is not to unroll it."""
LEAST = 16
"""Rows, columns and steps of a product that fragments pay for."""


def fragment_product(
    dispatch: Dispatch, product: Product, description: InvocationDescription, *, vectors: bool = True
) -> Kernel | None:
    """The kernel; None when the device has no fragments for these elements or none fit. Raises
    NotVectorizable when ``vectors`` of results cannot be computed."""
    shape = _shape(product, description)
    if shape is None:
        return None
    if any(isinstance(size, int) and size < LEAST for size in product.sizes[1:]):
        return None
    n_bytes = element_type(str(product.element(product.a_operand))).bytes
    depth = product.depth(FRAGMENT_TILES[0].depth * 2 // n_bytes)
    columns = product.factor(product.b_operand, depth)
    if columns is None:
        return None
    packed = vector_loop(columns, product.columns, depth) is None
    tile = fragment_tile(*product.sizes, shape, description, n_bytes, packed=packed)
    if tile is None:
        return None
    return _Emitter(dispatch, product, description, tile, shape, vectors).emit()


def _shape(product: Product, description: InvocationDescription) -> tuple[int, int, int] | None:
    """The fragment (m, n, k) that multiplies the factors' elements into the sums; the largest."""
    a, b = (str(product.element(n)) for n in (product.a_operand, product.b_operand))
    total = str(product.sum_type)
    found = [
        (m, n, k)
        for m, n, k, own_a, own_b, c, result in description.matrix_shapes
        if (own_a, own_b, c, result) == (a, b, total, total)
    ]
    return max(found, key=lambda s: (s[0] * s[1], s[2]), default=None)


class _Emitter:
    def __init__(
        self,
        dispatch: Dispatch,
        product: Product,
        description: InvocationDescription,
        tile: FragmentTile,
        shape: tuple[int, int, int],
        vectors: bool,
    ) -> None:
        self.product, self.tile, self.description = product, tile, description
        self.m, self.n, self.k = shape
        size = (tile.subgroups * description.subgroup_size,)
        self.frame = GpuFrame(dispatch, description, size, elements=InvocationElements)
        self.kernel = self.frame.kernel
        self.depth = product.depth(tile.depth)
        self.results = ProductResults(self.frame, product, vectors=vectors)
        narrow = product.element(product.a_operand)
        element: Type = si8 if narrow is i8 else narrow
        self.a_type = MMAMatrixType((self.m, self.k), element, "AOp")
        self.b_type = MMAMatrixType((self.k, self.n), element, "BOp")
        self.sum_type = MMAMatrixType((self.m, self.n), product.sum_type, "COp")
        self.down, self.across = tile.own_rows // self.m, tile.own_columns // self.n

    def emit(self) -> Kernel | None:
        product, tile = self.product, self.tile
        factors = [product.factor(n, self.depth) for n in (product.a_operand, product.b_operand)]
        if factors[0] is None or factors[1] is None:
            return None
        self.a = FragmentStage(self.frame, factors[0], product.rows, tile.rows, self.depth)
        self.b = FragmentStage(self.frame, factors[1], product.columns, tile.columns, self.depth)
        rows, columns = extent(product.rows), extent(product.columns)
        self.exact_rows = dim_ops.mod(rows, tile.rows) == 0
        self.exact_columns = dim_ops.mod(columns, tile.columns) == 0
        self.direct = self._direct()
        total = share_tiles(self.frame, product, tile, self._tile)
        why = (
            f"fragments of {self.m}x{self.n}x{self.k}, tiles of {tile}; "
            f"rows {self.a.how}, columns {self.b.how}"
            f"{'' if self.direct else '; results through shared memory'}"
        )
        return self.frame.finish(self.frame.folded(total), 0, NAME, why)

    def _place(self) -> tuple[Index, Index]:
        """Where the subgroup's block begins in the tile."""
        k, tile = self.kernel, self.tile
        subgroup = self.frame.subgroup_id()
        across = tile.columns // tile.own_columns
        return k.mul(k.floordiv(subgroup, across), tile.own_rows), k.mul(
            k.mod(subgroup, across), tile.own_columns
        )

    def _tile(self, at: Bindings, row: Index, column: Index) -> None:
        k = self.kernel
        slabs = k.dim(self.depth.slabs)
        scalar = k.constant(0, self.product.sum_type)
        zero = k.effect("gpu.subgroup_mma_constant_matrix", (scalar,), (self.sum_type,)).results[0]
        n_sums = self.down * self.across
        rows = self.a.load(at, row, 0)
        n_a, first = len(rows), [*rows, *self.b.load(at, column, 0)]

        def slab(s: Index, *state: Value) -> list[Value]:
            sums, brought = list(state[:n_sums]), state[n_sums:]
            if s != 0:
                self.frame.barrier()
            self.a.put(brought[:n_a])
            self.b.put(brought[n_a:])
            self.frame.barrier()
            if slabs != 1:
                following = k.min(k.add(s, 1), k.sub(slabs, 1))
                brought = (*self.a.load(at, row, following), *self.b.load(at, column, following))
            return [*self._multiply(sums), *brought]

        sums = k.loop(0, slabs, 1, [*[zero] * n_sums, *first], slab)[:n_sums]
        loop = sums[0].defining_op
        if loop is not None and loop.name == "scf.for":
            loop.attributes[DONT_UNROLL] = UNIT
        if self.direct:
            self._store_fragments(at, row, column, sums)
        else:
            self._store_by_lanes(at, row, column, sums)

    def _multiply(self, sums: list[Value]) -> list[Value]:
        """One slab's products added to the sums."""
        k = self.kernel
        row, column = self._place()
        for step in range(0, self.tile.depth, self.k):
            a = [self.a.fragment(self.a_type, k.add(row, i * self.m), step) for i in range(self.down)]
            for j in range(self.across):
                b = self.b.fragment(self.b_type, k.add(column, j * self.n), step)
                for i in range(self.down):
                    number = i * self.across + j
                    operands = (a[i], b, sums[number])
                    op = k.effect("gpu.subgroup_mma_compute", operands, (self.sum_type,))
                    sums[number] = op.results[0]
        return sums

    # -- the results ------------------------------------------------------------------------------------

    def _direct(self) -> tuple[indexing.Affine, int, Type] | None:
        """(address, pitch, element type) of results that whole fragments can be stored to as they are."""
        product = self.product
        if len(product.dispatch.results) != 1 or not product.root.zero:
            return None
        if not (self.exact_rows and self.exact_columns):
            return None
        value, binding = product.dispatch.results[0]
        element = element_of(value.type)
        if value is not product.value and not _is_narrowing(value, product.value):
            return None
        if element is not product.sum_type and str(element) not in ("f16", "bf16"):
            return None
        address = indexing.linearize(self.results.forms, binding.dims)
        if any(v not in (product.batch, product.rows, product.columns) for v, _ in address.terms):
            return None
        pitch = address.coefficient(product.rows)
        # Rows of vectors of 16 bytes, as fragments are stored.
        whole = isinstance(pitch, int) and pitch % 8 == 0
        if address.coefficient(product.columns) != 1 or not whole:
            return None
        assert isinstance(pitch, int)
        return address, pitch, element

    def _store_fragments(self, at: Bindings, row: Index, column: Index, sums: list[Value]) -> None:
        k, product = self.kernel, self.product
        assert self.direct is not None
        address, pitch, element = self.direct
        own_row, own_column = self._place()
        memory = self.frame.binding_args[product.dispatch.results[0][1].index]
        first = at.child({product.rows: k.add(row, own_row), product.columns: k.add(column, own_column)})
        start = first.scalar(address)
        attributes: dict[str, Attribute] = {"leadDimension": IntegerAttr(pitch, index)}
        for i in range(self.down):
            for j in range(self.across):
                value = sums[i * self.across + j]
                if element is not product.sum_type:
                    narrow = MMAMatrixType((self.m, self.n), element, "COp")
                    kind: dict[str, Attribute] = {"opType": MMAElementWiseAttr("truncf")}
                    value = k.effect("gpu.subgroup_mma_elementwise", (value,), (narrow,), kind).results[0]
                place = k.value(k.add(start, i * self.m * pitch + j * self.n))
                k.effect("gpu.subgroup_mma_store_matrix", (value, memory, place), (), attributes)

    def _store_by_lanes(self, at: Bindings, row: Index, column: Index, sums: list[Value]) -> None:
        """A fragment at a time through shared memory; lanes then do the epilogue on vectors. More of them at
        once take memory that a workgroup beside this one needs (H100: half the speed)."""
        k, tile, lanes = self.kernel, self.tile, self.description.subgroup_size
        pitch = self.n + FRAGMENT_PADDING
        size = self.m * pitch
        memory = self.frame.shared_memory(tile.subgroups * size, self.product.sum_type)
        base = k.mul(self.frame.subgroup_id(), size)
        attributes: dict[str, Attribute] = {"leadDimension": IntegerAttr(pitch, index)}
        own_row, own_column = self._place()
        row, column = k.add(row, own_row), k.add(column, own_column)
        vectors = self.n // VECTOR
        count = self.m * vectors

        def one(i: int, j: int, number: Index) -> None:
            own, vector = k.floordiv(number, vectors), k.mul(k.mod(number, vectors), VECTOR)
            total = k.vload(memory, k.add(base, k.add(k.mul(own, pitch), vector)), VECTOR)
            self.results.store_block(
                at, [k.add(row, k.add(own, i * self.m))], [k.add(column, k.add(vector, j * self.n))],
                lambda r, c: total, exact_rows=self.exact_rows, exact_columns=self.exact_columns,
            )  # fmt: skip

        for i in range(self.down):
            for j in range(self.across):
                if i or j:
                    self.frame.barrier()
                operands = (sums[i * self.across + j], memory, k.value(base))
                k.effect("gpu.subgroup_mma_store_matrix", operands, (), attributes)
                self.frame.barrier()
                for first in range(0, count, lanes):
                    number = k.add(self.frame.lane_id(), first)
                    if first + lanes <= count:
                        one(i, j, number)
                    else:
                        action = functools.partial(one, i, j, number)
                        k.if_(k.compare("ult", number, count), action)


def _is_narrowing(value: Value, source: Value) -> bool:
    """``value`` is ``source`` rounded to a narrower type, element by element."""
    op: Any = value.defining_op
    if not isinstance(op, StructuredOp) or op.reduction_dims or op.n_inputs != 1:
        return False
    if op.operands[0] is not source or any(not m.is_identity for m in op.indexing_maps):
        return False
    inner = op.body.terminator.operands[0].defining_op
    return inner is not None and inner.name == "arith.truncf" and inner.operands[0] is op.body.args[0]
