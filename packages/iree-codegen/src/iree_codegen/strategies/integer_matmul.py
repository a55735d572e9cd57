"""``integer-matmul``: products of unsigned by constant signed 8-bit integers on dot products of four.

B's panels are packed when the artefact is written. A workgroup copies a block of A's rows to worker scratch
(computing them when they are computed, so a quantization in front costs no pass of its own) and takes it
through a group of panels. A tile's sums go to scratch; the epilogue reads them there and stores the results.
"""

from __future__ import annotations

from typing import Any

from iree_codegen import dims as dim_ops
from iree_codegen import indexing
from iree_codegen.contraction import direct_access, operand_forms
from iree_codegen.dispatch import Dispatch
from iree_codegen.dot_kernel import LINE, DotKernel, build, unrolled
from iree_codegen.elements import Memory, Point
from iree_codegen.indexing import Bindings
from iree_codegen.integer_panels import GROUP, INTEGER_PANELS, panel_shape
from iree_codegen.integer_plan import IntegerPlan, integer_layout, plan_integers
from iree_codegen.kernel import Kernel
from iree_codegen.kernel_builder import Index
from iree_codegen.product_tiles import ProductTiles
from iree_core_ir.ir.types import TensorType, i8, i32
from iree_core_ir.target import ConstantLayout

NAME = "integer-matmul"
MOST_AHEAD = 16
"""Lines of B fetched ahead in an iteration, at most."""


def layout(dispatch: Dispatch, description: Any) -> ConstantLayout | None:
    """How the strategy wants the weights of ``dispatch``; None when it does not take it."""
    plan = plan_integers(dispatch, description)
    if plan is None:
        return None
    argument, parameters = integer_layout(plan)
    logical: Any = plan.b.binding.value.type
    shape = panel_shape(logical.shape, parameters)
    return ConstantLayout(argument, INTEGER_PANELS, parameters, TensorType(shape, i8))


def integer_matmul(dispatch: Dispatch, description: Any) -> Kernel | None:
    plan = plan_integers(dispatch, description)
    if plan is None or not plan.b.binding.is_packed(INTEGER_PANELS, integer_layout(plan)[1]):
        return None
    return _Emitter(dispatch, description, plan).emit()


class _Emitter(ProductTiles):
    def __init__(self, dispatch: Dispatch, description: Any, plan: IntegerPlan) -> None:
        super().__init__(dispatch, description, plan.root, plan.m, plan.n, plan.rows, plan.width)
        self.plan = plan
        size = plan.block * plan.pitch
        offset = self.frame.allocate(size)
        self.a_bytes = self.kernel.view(self.frame.scratch, offset, size, i8)
        self.a_words = self.kernel.view(self.frame.scratch, offset, size // GROUP, i32)
        unroll = unrolled(plan.groups_of_four)
        self.panel_words = plan.groups_of_four * plan.width
        steps = plan.groups_of_four // unroll
        lines = self.panel_words // LINE
        self.ahead = min(MOST_AHEAD, -(-lines // (plan.block // plan.rows * steps)))
        self.share = self.ahead * steps * LINE
        spec = DotKernel(
            plan.rows, plan.vectors, plan.lanes, plan.pitch // GROUP, plan.groups_of_four // unroll, unroll,
            unroll * plan.width, tuple((u, u * plan.width) for u in range(unroll)), True,
            plan.width, self.ahead,
        )  # fmt: skip
        self.function = build(spec, f"{dispatch.name}.tile")

    def emit(self) -> Kernel:
        plan, k = self.plan, self.kernel
        panels, group = plan.panels, plan.group
        groups = -(-panels // group)
        total = dim_ops.mul(plan.blocks, groups)
        number: Index = self.frame.ids[0] if total != 1 else 0
        block, part = k.mod(number, k.dim(plan.blocks)), k.floordiv(number, k.dim(plan.blocks))
        m_first = k.mul(block, plan.block)
        count = plan.row_count
        rows: Index = k.min(k.sub(k.dim(count), m_first), plan.block)
        if isinstance(count, int) and count % plan.block == 0:
            rows = plan.block
        at = Bindings(k)
        self._copy(at, m_first, rows)
        weights = self.frame.binding_args[plan.b.binding.index]
        n_words = panels * plan.groups_of_four * plan.width
        b_words = k.view(weights, 0, n_words, i32)
        first = k.mul(part, group)
        last = k.add(first, group) if panels % group == 0 else k.min(k.add(first, group), panels)

        def panel(p: Index) -> None:
            inner = at.child({self.n_base: k.mul(p, plan.width)})
            b = k.mul(p, self.panel_words)
            columns: Index = plan.width
            if plan.columns % plan.width:
                columns = k.min(k.sub(plan.columns, inner.values[self.n_base]), plan.width)

            def tile(t: Index) -> None:
                start = k.mul(t, plan.rows)
                a = k.mul(start, plan.pitch // GROUP)
                # The tiles of a panel fetch the next one, each its share.
                fetched = k.add(k.add(b, self.panel_words), k.min(k.mul(t, self.share), self.panel_words))
                k.call(self.function, [self.a_words, a, b_words, b, self.tile, 0, fetched])
                here: Index = plan.rows
                if not isinstance(rows, int) or rows % plan.rows:
                    here = k.min(k.sub(rows, start), plan.rows)
                self.epilogue(inner.child({self.m_base: k.add(m_first, start)}), here, columns)

            k.loop(0, k.ceildiv(rows, plan.rows), 1, (), tile)

        k.loop(first, last, 1, (), panel)
        self.frame.private = [self.function.func]
        shape = f"{plan.rows}x{plan.vectors} tiles of {plan.lanes} lanes"
        return self.frame.finish([total], self.frame.scratch_bytes, NAME, shape)

    def _copy(self, at: Bindings, m_first: Index, rows: Index) -> None:
        """Rows of A into scratch. What lies behind their last element meets weights of zero."""
        plan, k = self.plan, self.kernel
        operand = self.root.op.operands[0]
        plain = direct_access(self.dispatch, operand, operand_forms(self.root, 0)) is not None
        lanes = 4 * self.lanes if plain else self.lanes
        forms = self.forms(operand_forms(self.root, 0))
        extents = [self.root.extents[i] for i in plan.k]
        memory = Memory(self.a_bytes, (plan.pitch, *dim_ops.strides(extents)))
        place = [indexing.of(self.m_in), *[indexing.of(self.root.vars[i]) for i in plan.k]]
        base = at.child({self.m_base: m_first})

        def once(point: Point) -> None:
            self.elements.store(self.elements.element(operand, forms, point), memory, place, point)

        k.loop(0, rows, 1, (), lambda i: self.each_term(base.child({self.m_in: i}), plan.k, lanes, once))
