"""Products whose tiles of sums go to scratch: the kernel around them and the epilogue that reads them there.

Rows and columns of the result are a tile's base plus the place inside the tile.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from iree_codegen import dims as dim_ops
from iree_codegen import indexing
from iree_codegen.accesses import AccessWalker
from iree_codegen.contraction import Root
from iree_codegen.dims import Dim
from iree_codegen.dispatch import Dispatch
from iree_codegen.elements import Memory, Point
from iree_codegen.indexing import Affine, Bindings, Var
from iree_codegen.kernel import KernelFrame
from iree_codegen.kernel_builder import Index, KernelBuilder
from iree_codegen.loop_emitter import vector_loop
from iree_core_ir.ir.operation import Value
from iree_core_ir.ir.types import FloatType, bf16, element_of, f32

IN_STEP = 4
"""Vectors that the epilogue works on together."""


class ProductTiles:
    """``m`` and ``n`` are the loops over rows (None: there is one) and columns of ``root``, by number."""

    def __init__(
        self,
        dispatch: Dispatch,
        description: Any,
        root: Root,
        m: int | None,
        n: int,
        rows: int,
        width: int,
        buffers: int = 1,
    ) -> None:
        self.dispatch = dispatch
        self.description = description
        self.root = root
        self.m, self.n = m, n
        self.width = width
        self.lanes = description.vector_bits // 32
        self.frame = KernelFrame(dispatch, fma=description.fma)
        self.kernel = self.frame.kernel
        self.elements = self.frame.elements
        self.m_base, self.m_in = Var("m0"), Var("m", rows)
        self.n_base, self.n_in = Var("n0"), Var("n", width)
        self.tile = self.frame.scratch_view(buffers * rows * width, root.op.outputs[0].type.element_type)
        self.store_masks = description.masks and root.contiguous is root.vars[n]
        """Results that are not contiguous along the columns have no masked store."""

    def forms(self, forms: Sequence[Affine]) -> tuple[Affine, ...]:
        """Row and column variables replaced by the tile's base plus the place inside."""
        root, replaced = self.root, {}
        for loop, base, place in ((self.m, self.m_base, self.m_in), (self.n, self.n_base, self.n_in)):
            if loop is not None:
                replaced[root.vars[loop]] = indexing.of(base) + indexing.of(place)
        return tuple(form.substituted(replaced) for form in forms)

    def each_term(
        self,
        at: Bindings,
        loops: Sequence[int],
        lanes: int,
        once: Callable[[Point], None],
        span: tuple[Index, Index] | None = None,
    ) -> None:
        """``once`` at every place of the reduction ``loops`` (by number), ``lanes`` of the last together;
        ``span``: from where to where the last one goes."""
        k, (loop, *inner) = self.kernel, loops
        var, extent = self.root.vars[loop], k.dim(self.root.extents[loop])
        if inner:
            k.loop(0, extent, 1, (), lambda i: self.each_term(at.child({var: i}), inner, lanes, once, span))
            return
        low, high = (0, extent) if span is None else span

        def some(i: Index, count: int, mask: Value | None = None) -> None:
            once(Point(at.child({var: i}, var if count > 1 else None, count), mask))

        vector_loop(k, low, high, lanes, self.description.masks, some)

    def epilogue(self, at: Bindings, rows: Index, columns: Index) -> None:
        """Store the results of so many rows and columns of the tile at ``at``'s bases."""
        self.kernel.loop(0, rows, 1, (), lambda i: self.store_row(at, i, columns))

    def store_row(self, at: Bindings, row: Index, columns: Index, start: Index = 0) -> None:
        """Store the results of a row of the tile at ``at``'s bases; its sums begin at ``start``."""
        k, root = self.kernel, self.root
        forms = self.forms(root.result_forms)
        tile = Memory(self.tile, (self.width, 1), base=start)
        positions = root.op.indexing_maps[root.op.n_inputs].dim_positions()
        m_axis = positions.index(self.m) if self.m is not None else None
        n_axis = positions.index(self.n)
        is_float = isinstance(root.op.outputs[0].type.element_type, FloatType)
        add = "arith.addf" if is_float else "arith.addi"

        def sums(own: tuple[Affine, ...], point: Point) -> Value:
            row = own[m_axis] + indexing.of(self.m_base).scaled(-1) if m_axis is not None else indexing.ZERO
            column = own[n_axis] + indexing.of(self.n_base).scaled(-1)
            total = self.elements.load(tile, (row, column), point)
            if root.zero:
                return total
            return k.binary(add, self.elements.element(root.op.outputs[0], own, point), total)

        self.elements.overrides[root.value] = sums
        wide = min(IN_STEP * self.lanes, self.width)
        inner = at.child({self.m_in: row})

        def once(j: Index, lanes: int, mask: Value | None = None) -> None:
            point = Point(inner.child({self.n_in: j}, self.n_in if lanes > 1 else None, lanes), mask)
            self.frame.store_results(forms, point)

        if columns == self.width:
            # Vectors in step hide each other's latency: activations and requantizations are long chains.
            for first in range(0, self.width, wide):
                once(first, min(wide, self.width - first))
        else:
            lanes = min(wide, 2 * self.lanes) if self.store_masks else self.lanes
            vector_loop(k, 0, columns, lanes, self.store_masks, once, unroll=self.width // lanes)

    def store_share(self, at: Bindings, waiting: Waiting, columns: Dim, step: Index, share: int) -> None:
        """Store the results of share number ``step`` of the rows of a tile that waits."""
        k = self.kernel
        first = k.add(waiting.first, k.mul(step, share))
        self.store_waiting(
            at, waiting._replace(first=first, end=k.min(k.add(first, share), waiting.end)), columns
        )

    def store_waiting(self, at: Bindings, waiting: Waiting, columns: Dim) -> None:
        """Store the results of a tile that waits; ``columns``: of the whole product."""
        k = self.kernel
        here = at.child({self.m_base: waiting.m, self.n_base: waiting.n})
        end: Index = self.width
        if not isinstance(columns, int) or columns % self.width:
            end = k.min(k.sub(k.dim(columns), waiting.n), self.width)
        k.loop(
            waiting.first, waiting.end, 1, (),
            lambda i: self.store_row(here, i, end, waiting.start),
        )  # fmt: skip


class Waiting(NamedTuple):
    """A tile whose sums wait in scratch until they are stored beside the products of the next one."""

    first: Index
    """Its rows from here"""
    end: Index
    """to here are still to be stored."""
    m: Index
    n: Index
    """Row and column of the result where the tile begins."""
    start: Index
    """Where its sums begin in scratch."""


def runs_on(dispatch: Dispatch, root: Root, loops: tuple[int, int]) -> bool:
    """True when all that the results read goes on from row to row: the element behind the last column of
    ``loops`` (rows, columns) is the first of the next row.

    Then rows and columns may be gone through as one run of columns.
    """
    rows, columns = (root.vars[i] for i in loops)
    extent = root.extents[loops[1]]
    walker = AccessWalker(dispatch, {root.value})
    for result, binding in dispatch.results:
        reads = [(binding.dims, root.result_forms)]
        if result is not root.value:
            walk = walker.walk(result, root.result_forms)
            if walk.guarded or rows in walk.index_vars or columns in walk.index_vars:
                return False
            reads += [(dispatch.dims(a.value), a.forms) for a in walk.accesses if a.value is not root.value]
        for dims, forms in reads:
            address = indexing.linearize(forms, dims)
            if any(var.definition is not None for var, _ in address.terms):
                return False
            if address.coefficient(rows) != dim_ops.mul(address.coefficient(columns), extent):
                return False
    return True


def bf16_parts(k: KernelBuilder, value: Value, lanes: int, parts: int) -> list[Value]:
    """f32 as bf16, and with two parts what that leaves; nothing of numbers that are not finite there."""
    made = value.defining_op
    if (
        parts == 1
        and made is not None
        and made.name == "arith.extf"
        and element_of(made.operands[0].type) is bf16
    ):
        return [made.operands[0]]
    high = k.cast("arith.truncf", value, bf16)
    if parts == 1:
        return [high]
    rest = k.binary("arith.subf", value, k.cast("arith.extf", high, f32))
    infinity = k.splat(k.constant(float("inf"), f32), lanes)
    finite = k.cmpf("olt", k.pure("math.absf", (rest,), rest.type), infinity)
    rest = k.select(finite, rest, k.splat(k.constant(0.0, f32), lanes))
    return [high, k.cast("arith.truncf", rest, bf16)]
