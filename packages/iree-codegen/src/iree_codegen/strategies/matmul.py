"""``matmul``: matrix products (batched, transposed, any rank) with fused epilogues, on register tiles.

B comes as panels of ``[K][tile columns]``: packed when the artefact is written if it is a constant, read in
place when its rows are contiguous, else packed into worker scratch. A tile's sums go to scratch; the
epilogue reads them there while they are hot and stores the results.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from iree_codegen import dims as dim_ops
from iree_codegen import indexing
from iree_codegen.contraction import Root, direct_access, find_root, operand_forms, product_operands
from iree_codegen.dims import Dim
from iree_codegen.dispatch import Binding, Dispatch
from iree_codegen.elements import Memory, Point
from iree_codegen.indexing import Affine, Bindings, Var
from iree_codegen.kernel import Kernel, KernelFrame
from iree_codegen.kernel_builder import Index
from iree_codegen.loop_emitter import Lanes, vector_loop
from iree_codegen.micro_kernel import ARGUMENT, Loop, MicroKernel, MicroKernels, Number
from iree_codegen.packing import PANELS, panel_parameters
from iree_codegen.tiles import Tile, choose_tile
from iree_core_ir.ir.operation import Value
from iree_core_ir.ir.types import f32

NAME = "matmul"
ROWS_PER_BLOCK = 256
"""Rows of A that one workgroup goes through with one panel of B."""
MAX_PANEL = 1 << 20
"""Largest panel (bytes) packed in scratch."""


@dataclass
class Operand:
    """How a factor is addressed: elements of an argument, linear in the loops."""

    binding: Binding
    address: Affine


@dataclass
class MatmulPlan:
    root: Root
    m: int | None
    """Loop over rows; None when there is one row."""
    n: int
    batch: list[int]
    k: list[int]
    a_operand: int
    b_operand: int
    a: Operand | None
    """None: computed, packed row by row."""
    b: Operand | None
    layout: str
    """Of B: ``packed``, ``rows`` or ``scratch``."""
    tile: Tile
    lanes: int

    @property
    def width(self) -> int:
        """Columns of a tile."""
        return self.tile.vectors * self.lanes

    @property
    def rows(self) -> Dim:
        return 1 if self.m is None else self.root.extents[self.m]

    @property
    def columns(self) -> int:
        extent = self.root.extents[self.n]
        assert isinstance(extent, int)
        return extent

    @property
    def depth(self) -> Dim:
        return dim_ops.total([self.root.extents[i] for i in self.k])


def is_product(op: Any) -> bool:
    """A sum of products with a plain result; operands may be indexed by windows."""
    return product_operands(op) is not None and op.indexing_maps[op.n_inputs].is_projected_permutation


def plan_matmul(dispatch: Dispatch, description: Any) -> MatmulPlan | None:
    """The plan, the same when constants are laid out and when code is generated."""
    if description.vector_bits < 128:
        return None
    root = find_root(dispatch, is_product)
    if root is None:
        return None
    element = root.op.outputs[0].type.element_type
    lanes = description.vector_bits // (32 if element is f32 else 64)
    n = _column_loop(root, lanes)
    if n is None:
        return None
    maps = root.op.indexing_maps
    used = [frozenset().union(*[e.dims_used() for e in m.results]) for m in maps]
    a_operand, b_operand = (0, 1) if n in used[1] else (1, 0)
    if n in used[a_operand]:
        return None
    parallel = [i for i in root.op.parallel_dims if root.extents[i] != 1]
    rows = [i for i in parallel if i in used[a_operand] and i not in used[b_operand]]
    m = max(rows, key=lambda i: (_static_size(root.extents[i]), _order(root, i))) if rows else None
    batch = [i for i in parallel if i not in (m, n)]
    if any(i not in used[a_operand] and i not in used[b_operand] for i in batch):
        return None
    k = list(root.op.reduction_dims)
    extents = root.extents
    columns = extents[n]
    if not isinstance(columns, int) or columns == 1 or any(extent == 0 for extent in extents):
        return None
    if any(i not in used[0] or i not in used[1] for i in k):
        return None
    a = _operand(dispatch, root, a_operand)
    b = _operand(dispatch, root, b_operand)
    layout = _layout(root, dispatch, n, k, b_operand, b, lanes)
    depth = dim_ops.total([extents[i] for i in k])
    if a is None and not isinstance(depth, int):
        return None
    n_rows = extents[m] if m is not None else 1
    tile = choose_tile(
        n_rows if isinstance(n_rows, int) else None,
        -(-columns // lanes),
        depth if isinstance(depth, int) else 256,
        description.registers,
        unaligned=layout == "rows" and columns % lanes != 0,
    )
    if layout == "rows" and columns < tile.vectors * lanes:
        layout = "scratch"
    plan = MatmulPlan(root, m, n, batch, k, a_operand, b_operand, a, b, layout, tile, lanes)
    if layout == "scratch" and not (isinstance(depth, int) and depth * plan.width * 4 <= MAX_PANEL):
        return None
    return plan


def _order(root: Root, loop: int) -> int:
    """Position of a parallel loop among the result's dims."""
    return root.result_vars.index(root.vars[loop]) if root.vars[loop] in root.result_vars else -1


def _static_size(extent: Dim) -> int:
    """A size to compare loops by; one known at run time counts as large."""
    return extent if isinstance(extent, int) else 1 << 30


def _column_loop(root: Root, lanes: int) -> int | None:
    """The loop along which vectors run: the one the result is contiguous along, unless it is much shorter
    than a vector and the next one is not (interleaved results, such as those of transposed convolutions)."""
    found: list[int] = []
    for var, dim in zip(reversed(root.result_vars), reversed(root.result_dims), strict=True):
        if dim != 1 and var in root.vars:
            found.append(root.vars.index(var))
    if not found:
        parallel = root.op.parallel_dims
        return parallel[-1] if parallel else None
    extents = [root.extents[i] for i in found]
    short = isinstance(extents[0], int) and 2 * extents[0] <= lanes
    if short and len(found) > 1 and _static_size(extents[1]) >= lanes:
        return found[1]
    return found[0]


def _operand(dispatch: Dispatch, root: Root, number: int) -> Operand | None:
    """The factor as elements of an argument at a linear address; None when it is computed."""
    found = direct_access(dispatch, root.op.operands[number], operand_forms(root, number))
    if found is None:
        return None
    binding = dispatch.binding_of(found[0])
    if binding is None:
        return None
    address = indexing.linearize(found[1], binding.dims)
    if any(v.definition is not None or v not in root.vars for v, _ in address.terms):
        return None
    return Operand(binding, address)


def _layout(
    root: Root, dispatch: Dispatch, n: int, k: list[int], number: int, b: Operand | None, lanes: int
) -> str:
    if b is None:
        return "scratch"
    if b.binding.constant and _panel_axes(root, b, n, k) is not None:
        return "packed"
    if b.address.coefficient(root.vars[n]) == 1 or root.extents[n] == 1:
        return "rows"
    return "scratch"


def _panel_axes(root: Root, b: Operand, n: int, k: list[int]) -> tuple[list[int], list[int], int] | None:
    """(axes of other loops, axes of the reduction loops, axis of the columns) of B's argument."""
    strides = dim_ops.strides(b.binding.dims)
    axis_of: dict[int, int] = {}
    for loop, var in enumerate(root.vars):
        coefficient = b.address.coefficient(var)
        if coefficient == 0:
            continue
        axes = [
            i
            for i, (s, d) in enumerate(zip(strides, b.binding.dims, strict=True))
            if s == coefficient and d != 1
        ]
        if len(axes) != 1 or root.extents[loop] != b.binding.dims[axes[0]]:
            return None
        axis_of[loop] = axes[0]
    if b.address.constant != 0 or not all(isinstance(d, int) for d in b.binding.dims):
        return None
    used = [i for i, d in enumerate(b.binding.dims) if d != 1]
    if sorted(axis_of.values()) != used:
        return None
    if n not in axis_of and root.extents[n] != 1:
        return None
    units = [i for i, d in enumerate(b.binding.dims) if d == 1]
    outer = [axis_of[i] for i in range(len(root.vars)) if i in axis_of and i != n and i not in k]
    inner = [axis_of[i] for i in k if i in axis_of]
    if n in axis_of:
        columns = axis_of[n]
    elif units:
        columns = units.pop()
    else:
        return None
    return [*units, *outer], inner, columns


def panel_layout(plan: MatmulPlan) -> tuple[int, dict[str, Any]] | None:
    """(argument, parameters of the panel transform) that this plan wants."""
    if plan.layout != "packed" or plan.b is None:
        return None
    axes = _panel_axes(plan.root, plan.b, plan.n, plan.k)
    assert axes is not None
    parameters = panel_parameters(axes[0], axes[1], axes[2], plan.width)
    return plan.b.binding.argument, parameters


def matmul(dispatch: Dispatch, description: Any) -> Kernel | None:
    plan = plan_matmul(dispatch, description)
    if plan is None:
        return None
    if plan.layout == "packed" and plan.b is not None:
        wanted = panel_layout(plan)
        assert wanted is not None
        given = plan.b.binding.packed
        if given is None:
            # The constant was not laid out for us: read it as it is.
            direct = plan.b.address.coefficient(plan.root.vars[plan.n]) == 1
            plan.layout = "rows" if direct and plan.columns >= plan.width else "scratch"
            if plan.layout == "scratch":
                depth = plan.depth
                if not (isinstance(depth, int) and depth * plan.width * 4 <= MAX_PANEL):
                    return None
        elif json.loads(given) != {"kind": PANELS, "parameters": wanted[1]}:
            return None
    return _Emitter(dispatch, description, plan).emit()


class _Emitter:
    def __init__(self, dispatch: Dispatch, description: Any, plan: MatmulPlan) -> None:
        self.plan = plan
        self.root = plan.root
        self.description = description
        self.dispatch = dispatch
        self.frame = KernelFrame(dispatch, fma=description.fma)
        self.kernel = self.frame.kernel
        self.elements = self.frame.elements
        self.lanes = Lanes(plan.lanes, description.masks)
        inner = next(
            (
                v
                for v, d in zip(reversed(plan.root.result_vars), reversed(plan.root.result_dims), strict=True)
                if d != 1
            ),
            None,
        )
        self.store_masks = description.masks and inner is plan.root.vars[plan.n]
        """Results that are not contiguous along the columns have no masked store."""
        self.tiles = MicroKernels(dispatch.name, description.fma)
        self.element = plan.root.op.outputs[0].type.element_type
        self.m_base, self.m_in = Var("m0"), Var("m", plan.tile.rows)
        self.n_base, self.n_in = Var("n0"), Var("n", plan.width)
        self.tile = self.frame.scratch_view(plan.tile.rows * plan.width, self.element)
        self.panel: Value | None = None
        if plan.layout == "scratch":
            depth = plan.depth
            assert isinstance(depth, int)
            self.panel = self.frame.scratch_view(depth * plan.width, self.element)
        self.a_rows: Value | None = None
        if plan.a is None:
            depth = plan.depth
            assert isinstance(depth, int)
            self.a_rows = self.frame.scratch_view(depth * plan.tile.rows, self.element)

    def emit(self) -> Kernel:
        plan, k = self.plan, self.kernel
        tile_rows = plan.tile.rows
        n_tiles = dim_ops.ceildiv(plan.rows, tile_rows)
        per_block = max(1, ROWS_PER_BLOCK // tile_rows)
        if plan.layout == "scratch" and isinstance(n_tiles, int):
            # One workgroup uses a panel it packed for all rows.
            per_block = max(1, n_tiles)
        blocks = dim_ops.ceildiv(n_tiles, per_block)
        panels = -(-plan.columns // plan.width)
        batch_extents = [self.root.extents[i] for i in plan.batch]
        total = dim_ops.mul(dim_ops.mul(blocks, panels), dim_ops.total(batch_extents))
        number: Index = self.frame.ids[0]
        block, number = k.mod(number, k.dim(blocks)), k.floordiv(number, k.dim(blocks))
        panel, number = k.mod(number, panels), k.floordiv(number, panels)
        if total == 1:
            block = panel = number = 0
        values: dict[Var, Index] = {}
        for loop in reversed(plan.batch):
            extent = k.dim(self.root.extents[loop])
            values[self.root.vars[loop]] = number if loop == plan.batch[0] else k.mod(number, extent)
            number = k.floordiv(number, extent)
        n0 = k.mul(panel, plan.width)
        start = n0
        if plan.layout == "rows" and plan.columns % plan.width:
            start = k.min(n0, plan.columns - plan.width)
        at = Bindings(k).child({**values, self.n_base: start})
        if self.panel is not None:
            self._pack_panel(at)
        first = k.mul(block, per_block)
        last = k.min(k.add(first, per_block), k.dim(n_tiles))
        if isinstance(n_tiles, int) and n_tiles % per_block == 0:
            last = k.add(first, per_block)
        if isinstance(n_tiles, int) and n_tiles <= per_block:
            first, last = 0, n_tiles
        k.loop(first, last, 1, (), lambda t: self._tile_row(t, at, n0, start, panel))
        self.frame.private = self.tiles.functions
        shape = f"{plan.tile.rows}x{plan.tile.vectors} tiles of {plan.lanes} lanes, B {plan.layout}"
        return self.frame.finish([total], self.frame.scratch_bytes, NAME, shape)

    def _tile_row(self, t: Index, at: Bindings, n0: Index, start: Index, panel: Index) -> None:
        plan, k = self.plan, self.kernel
        rows = plan.tile.rows
        m0 = k.mul(t, rows)
        extent = plan.rows
        if isinstance(extent, int):
            first = m0
            if extent % rows:
                first = k.min(m0, extent - rows)
            self._one_tile(at.child({self.m_base: first}), rows, k.sub(m0, first), n0, start, panel)
            return
        limit = k.dim(extent)
        fits = k.compare("sle", k.add(m0, rows), limit)

        def full() -> None:
            self._one_tile(at.child({self.m_base: m0}), rows, 0, n0, start, panel)

        def single() -> None:
            k.loop(
                m0, limit, 1, (), lambda m: self._one_tile(at.child({self.m_base: m}), 1, 0, n0, start, panel)
            )

        k.if_(fits, full, single)

    def _one_tile(
        self, at: Bindings, rows: int, first_row: Index, n0: Index, start: Index, panel: Index
    ) -> None:
        """Accumulate a tile and run the epilogue on its rows from ``first_row`` and columns from ``n0``."""
        plan, k = self.plan, self.kernel
        numbers: list[Index] = []

        def number(dim: Dim) -> Number:
            if isinstance(dim, int):
                return dim
            numbers.append(k.dim(dim))
            return ARGUMENT

        a_memory, a_start, a_row, a_steps = self._a_side(at, rows)
        b_memory, b_start, b_steps = self._b_side(at, panel)
        row_number = number(a_row)
        levels = merged_levels([self.root.extents[i] for i in plan.k], a_steps, b_steps)
        loops: list[Loop] = []
        taps: tuple[tuple[int, int], ...] = ((0, 0),)
        for level, (extent, a_step, b_step) in enumerate(levels):
            if level == len(levels) - 1 and isinstance(extent, int):
                unroll = _unroll(extent, plan.tile.ways)
                if isinstance(a_step, int) and isinstance(b_step, int):
                    taps = tuple((u * a_step, u * b_step) for u in range(unroll))
                    extent, a_step, b_step = extent // unroll, a_step * unroll, b_step * unroll
            loops.append(Loop(number(extent), number(a_step), number(b_step)))
        ways = plan.tile.ways if rows == plan.tile.rows else 4
        while ways > len(taps):
            ways //= 2
        spec = MicroKernel(
            rows, plan.tile.vectors, plan.lanes, self.element, row_number, tuple(loops), taps,
            c_row=plan.width, ways=ways,
        )  # fmt: skip
        self.tiles.call(k, spec, (a_memory, a_start), (b_memory, b_start), (self.tile, 0), numbers)
        self._epilogue(at, rows, first_row, n0, start)

    # -- the factors ----------------------------------------------------------------------------

    def _a_side(self, at: Bindings, rows: int) -> tuple[Value, Index, Dim, list[Dim]]:
        """Memory, start, step per row and step per reduction loop of A."""
        plan = self.plan
        extents = [self.root.extents[i] for i in plan.k]
        if plan.a is None:
            assert self.a_rows is not None
            self._pack_rows(at, rows)
            return self.a_rows, 0, dim_ops.total(extents), list(dim_ops.strides(extents))
        memory = self.frame.binding_args[plan.a.binding.index]
        variables = [self.root.vars[i] for i in plan.k]
        steps = [plan.a.address.coefficient(v) for v in variables]
        row = plan.a.address.coefficient(self.root.vars[plan.m]) if plan.m is not None else 0
        fixed = Affine(
            tuple(t for t in plan.a.address.terms if t[0] not in variables), plan.a.address.constant
        )
        return memory, at.scalar(self._substituted(fixed)), row, steps

    def _b_side(self, at: Bindings, panel: Index) -> tuple[Value, Index, list[Dim]]:
        plan, k = self.plan, self.kernel
        extents = [self.root.extents[i] for i in plan.k]
        packed_steps = [dim_ops.mul(s, plan.width) for s in dim_ops.strides(extents)]
        if plan.layout == "scratch":
            assert self.panel is not None
            return self.panel, 0, packed_steps
        assert plan.b is not None
        memory = self.frame.binding_args[plan.b.binding.index]
        if plan.layout == "packed":
            axes = _panel_axes(self.root, plan.b, plan.n, plan.k)
            assert axes is not None
            dims = plan.b.binding.dims
            depth = plan.depth
            assert isinstance(depth, int)
            n_panels = -(-plan.columns // plan.width)
            strides = dim_ops.strides(dims)
            position: Index = 0
            for axis in axes[0]:
                if dims[axis] == 1:
                    continue
                loop = next(
                    i for i, v in enumerate(self.root.vars) if plan.b.address.coefficient(v) == strides[axis]
                )
                position = k.add(k.mul(position, k.dim(dims[axis])), at.values[self.root.vars[loop]])
            position = k.add(k.mul(position, n_panels), panel)
            return memory, k.mul(position, depth * plan.width), packed_steps
        variables = [self.root.vars[i] for i in plan.k]
        steps = [plan.b.address.coefficient(v) for v in variables]
        fixed = Affine(
            tuple(t for t in plan.b.address.terms if t[0] not in variables), plan.b.address.constant
        )
        return memory, at.scalar(self._substituted(fixed)), steps

    def _substituted(self, form: Affine, inner: bool = False) -> Affine:
        """Row and column variables replaced by the tile's base (plus, ``inner``, the place inside)."""
        replaced = indexing.constant(form.constant)
        for var, coefficient in form.terms:
            part = indexing.of(var)
            if self.plan.m is not None and var is self.root.vars[self.plan.m]:
                part = indexing.of(self.m_base) + (indexing.of(self.m_in) if inner else indexing.ZERO)
            elif var is self.root.vars[self.plan.n]:
                part = indexing.of(self.n_base) + (indexing.of(self.n_in) if inner else indexing.ZERO)
            replaced = replaced + part.scaled(coefficient)
        return replaced

    def _forms(self, forms: Sequence[Affine]) -> tuple[Affine, ...]:
        return tuple(self._substituted(f, True) for f in forms)

    def _pack_panel(self, at: Bindings) -> None:
        """B's panel into scratch: [K][columns]; beyond the last column zeros."""
        plan, k = self.plan, self.kernel
        assert self.panel is not None
        operand = self.root.op.operands[plan.b_operand]
        forms = self._forms(operand_forms(self.root, plan.b_operand))
        memory = self._panel_memory(plan.width)
        valid = (
            k.min(k.sub(plan.columns, at.values[self.n_base]), plan.width)
            if plan.columns % plan.width
            else plan.width
        )

        def nest(level: int, at: Bindings, place: list[Affine]) -> None:
            if level < len(plan.k):
                var = self.root.vars[plan.k[level]]
                k.loop(
                    0,
                    k.dim(self.root.extents[plan.k[level]]),
                    1,
                    (),
                    lambda i: nest(level + 1, at.child({var: i}), [*place, indexing.of(var)]),
                )
                return

            def once(j: Index, lanes: int, mask: Value | None = None) -> None:
                point = Point(at.child({self.n_in: j}, self.n_in if lanes > 1 else None, lanes), mask)
                value = self.elements.element(operand, forms, point)
                self.elements.store(value, memory, [*place, indexing.of(self.n_in)], point)

            vector_loop(k, 0, valid, plan.lanes, self.lanes.masks, once)

        nest(0, at, [])

    def _panel_memory(self, width: int) -> Memory:
        assert self.panel is not None
        extents = [self.root.extents[i] for i in self.plan.k]
        strides = [dim_ops.mul(s, width) for s in dim_ops.strides(extents)]
        return Memory(self.panel, (*strides, 1))

    def _pack_rows(self, at: Bindings, rows: int) -> None:
        """Rows of a computed A into scratch: [rows][K]."""
        plan, k = self.plan, self.kernel
        assert self.a_rows is not None
        operand = self.root.op.operands[plan.a_operand]
        forms = self._forms(operand_forms(self.root, plan.a_operand))
        extents = [self.root.extents[i] for i in plan.k]
        depth = dim_ops.total(extents)
        memory = Memory(self.a_rows, (depth, *dim_ops.strides(extents)))
        place = [indexing.of(self.m_in), *[indexing.of(self.root.vars[i]) for i in plan.k]]

        def nest(level: int, at: Bindings) -> None:
            var = self.root.vars[plan.k[level]]
            extent = k.dim(self.root.extents[plan.k[level]])
            if level < len(plan.k) - 1:
                k.loop(0, extent, 1, (), lambda i: nest(level + 1, at.child({var: i})))
                return

            def once(j: Index, lanes: int, mask: Value | None = None) -> None:
                point = Point(at.child({var: j}, var if lanes > 1 else None, lanes), mask)
                self.elements.store(self.elements.element(operand, forms, point), memory, place, point)

            vector_loop(k, 0, extent, plan.lanes, self.lanes.masks, once)

        k.loop(0, rows, 1, (), lambda i: nest(0, at.child({self.m_in: i})))

    # -- the results ----------------------------------------------------------------------------

    def _epilogue(self, at: Bindings, rows: int, first_row: Index, n0: Index, start: Index) -> None:
        plan, k = self.plan, self.kernel
        root = self.root
        results = self.dispatch.results
        forms = self._forms(root.result_forms)
        tile = Memory(self.tile, (plan.width, 1))
        output_map = root.op.indexing_maps[root.op.n_inputs]
        positions = output_map.dim_positions()
        m_axis = positions.index(plan.m) if plan.m is not None else None
        n_axis = positions.index(plan.n)

        def sums(own: tuple[Affine, ...], point: Point) -> Value:
            row = own[m_axis] + indexing.of(self.m_base).scaled(-1) if m_axis is not None else indexing.ZERO
            column = own[n_axis] + indexing.of(self.n_base).scaled(-1) if plan.columns != 1 else indexing.ZERO
            total = self.elements.load(tile, (row, column), point)
            if root.zero:
                return total
            return k.binary("arith.addf", self.elements.element(root.op.outputs[0], own, point), total)

        self.elements.overrides[root.value] = sums
        shift = k.sub(n0, start)
        end: Index = plan.width
        if plan.columns % plan.width:
            end = k.min(k.sub(plan.columns, start), plan.width)
            if plan.layout == "rows":
                end = plan.width

        def row(i: Index) -> None:
            inner = at.child({self.m_in: i})

            def once(j: Index, lanes: int, mask: Value | None = None) -> None:
                point = Point(inner.child({self.n_in: j}, self.n_in if lanes > 1 else None, lanes), mask)
                values = [self.elements.element(value, forms, point) for value, _ in results]
                for value, (_, binding) in zip(values, results, strict=True):
                    self.elements.store(value, self.frame.binding_memory(binding), forms, point)

            vector_loop(k, shift, end, plan.lanes, self.store_masks, once, unroll=plan.tile.vectors)

        k.loop(first_row, rows, 1, (), row)


def merged_levels(
    extents: Sequence[Dim], a_steps: Sequence[Dim], b_steps: Sequence[Dim]
) -> list[tuple[Dim, Dim, Dim]]:
    """The reduction loops as (extent, step of A, step of B), those that run on merged into one."""
    levels: list[tuple[Dim, Dim, Dim]] = []
    for extent, a, b in zip(extents, a_steps, b_steps, strict=True):
        if extent == 1:
            continue
        if levels:
            outer, a_outer, b_outer = levels[-1]
            if a_outer == dim_ops.mul(a, extent) and b_outer == dim_ops.mul(b, extent):
                levels[-1] = (dim_ops.mul(outer, extent), a, b)
                continue
        levels.append((extent, a, b))
    return levels or [(1, 0, 0)]


def _unroll(extent: int, ways: int) -> int:
    """How many steps of the innermost loop are written out."""
    for unroll in range(8 if ways > 1 else 5, 1, -1):
        if extent % unroll == 0:
            return unroll
    return 1
