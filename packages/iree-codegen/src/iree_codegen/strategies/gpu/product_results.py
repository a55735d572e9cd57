"""Stores what a contraction's sums become: the fused epilogue, evaluated on sums held in registers."""

from __future__ import annotations

import functools
from collections.abc import Callable

from iree_base.element_types import element_type
from iree_codegen.elements import Point
from iree_codegen.gpu_frame import VECTOR_BYTES, GpuFrame
from iree_codegen.indexing import Affine, Bindings
from iree_codegen.kernel_builder import Index, lanes_of
from iree_codegen.strategies.gpu.products import Product, extent
from iree_codegen.strategies.gpu.staging import VECTOR
from iree_core_ir.ir.operation import Value
from iree_core_ir.ir.types import IntegerType, element_of


def has_short_elements(product: Product) -> bool:
    """Vectors of all of the dispatch's memory fit a load."""
    elements = [b.value.type.element_type for b in product.dispatch.bindings]
    return all(element_type(str(e)).bytes * VECTOR <= VECTOR_BYTES for e in elements)


class ProductResults:
    """Stores the results of ``product`` at places of its flat loops."""

    def __init__(self, frame: GpuFrame, product: Product, *, vectors: bool = True) -> None:
        self.frame, self.product = frame, product
        self.forms = product.result_forms()
        columns = product.columns.extent
        whole = isinstance(columns, int) and columns % VECTOR == 0 and has_short_elements(product)
        self.lanes = VECTOR if vectors and whole else 1
        """Columns that are stored together: all of them exist or none."""

    def store(self, at: Bindings, row: Index, column: Index, total: Value) -> None:
        """The results at (row, column) whose sum is ``total``: one, or ``lanes`` along the columns."""
        product, elements = self.product, self.frame.elements
        lanes = lanes_of(total)
        here = at.child({product.rows: row, product.columns: column})
        if lanes > 1:
            here = here.child({}, product.columns, lanes, aligned=True)
        point = Point(here)

        def finished(forms: tuple[Affine, ...], inner: Point) -> Value:
            return self._with_initial(total, forms, inner)

        elements.overrides[product.value] = finished
        self.frame.store_results(self.forms, point)

    def _with_initial(self, total: Value, forms: tuple[Affine, ...], point: Point) -> Value:
        """The contraction's own result: sums of halves rounded once, and what it is added to."""
        k, root = self.frame.kernel, self.product.root
        own = element_of(root.value.type)
        if not root.zero:
            initial = self.frame.elements.element(root.op.outputs[0], forms, point)
            if own is not self.product.sum_type:
                initial = k.cast("arith.extf", initial, self.product.sum_type)
            integer = isinstance(self.product.sum_type, IntegerType)
            total = k.binary("arith.addi" if integer else "arith.addf", initial, total)
        return total if own is self.product.sum_type else k.cast("arith.truncf", total, own)

    def store_block(
        self,
        at: Bindings,
        rows: list[Index],
        columns: list[Index],
        total: Callable[[int, int], Value],
        *,
        exact_rows: bool,
        exact_columns: bool,
    ) -> None:
        """All of ``rows x columns`` that exist; ``total(i, j)`` is the vector of ``VECTOR`` sums (or the
        sum) at ``rows[i], columns[j]``."""
        k, product = self.frame.kernel, self.product
        n_rows, n_columns = (k.dim(extent(v)) for v in (product.rows, product.columns))

        def guarded(place: Index, limit: Index, exact: bool, body: Callable[[], None]) -> None:
            if exact:
                body()
            else:
                k.if_(k.compare("ult", place, limit), body)

        def one_row(i: int) -> None:
            for j, column in enumerate(columns):
                value = total(i, j)
                parts = [value]
                if lanes_of(value) > self.lanes:
                    parts = [k.extract(value, lane) for lane in range(lanes_of(value))]
                for lane, part in enumerate(parts):
                    place = k.add(column, lane)
                    action = functools.partial(self.store, at, rows[i], place, part)
                    guarded(place, n_columns, exact_columns, action)

        for i, row in enumerate(rows):
            guarded(row, n_rows, exact_rows, functools.partial(one_row, i))


__all__ = ["ProductResults", "has_short_elements"]
