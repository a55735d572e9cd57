"""``transpose``: elementwise dispatches whose input runs along another loop than their result.

Blocks of ``lanes x lanes`` elements are loaded along the input's contiguous loop, transposed in registers
and left in scratch; the elementwise body then reads rows of the block. Blocks at the ends are moved back
to overlap their neighbours, so that nothing is masked.
"""

from __future__ import annotations

from typing import Any

from iree_base.records import record
from iree_codegen import dims as dim_ops
from iree_codegen.accesses import Access
from iree_codegen.dispatch import READWRITE, Dispatch
from iree_codegen.elements import Memory, Point
from iree_codegen.indexing import Affine, Bindings, Var
from iree_codegen.kernel import Kernel, KernelFrame
from iree_codegen.kernel_builder import Index, KernelBuilder
from iree_codegen.lanes import lane_count
from iree_codegen.loop_emitter import step_of
from iree_codegen.plan import Planner, Step
from iree_codegen.scalars import NotVectorizable
from iree_codegen.workgroup_description import WorkgroupDescription
from iree_core_ir.ir.operation import Value
from iree_core_ir.ir.types import element_of, f32, i32

NAME = "transpose"
BLOCKS_PER_GROUP = 32


@record
class TransposePlan:
    """One step over loops ``p`` and ``q`` (and others), some inputs of which run along ``q``."""

    step: Step
    p: Var
    """The loop the result is contiguous along."""
    q: Var
    """The loop the transposed inputs are contiguous along."""
    transposed: list[Access]


def plan_transpose(dispatch: Dispatch, lanes: int) -> TransposePlan | None:
    """The plan of an elementwise dispatch; None where nothing is transposed or loops are below ``lanes``."""
    plan = Planner(dispatch).plan()
    if len(plan.groups) != 1 or len(plan.groups[0].steps) != 1:
        return None
    step = plan.groups[0].steps[0]
    if step.reduces or step.walk.guarded or len(step.loops) < 2:
        return None
    if any(d is None or d.access == READWRITE for d in step.destinations):
        return None
    p = step.loops[-1]
    transposed: list[Access] = []
    q: Var | None = None
    forms: dict[Value, tuple[Affine, ...]] = {}
    for access in step.walk.accesses:
        binding = dispatch.binding_of(access.value)
        if binding is None or forms.setdefault(access.value, access.forms) != access.forms:
            return None
        address = Memory(access.value, dim_ops.strides(binding.dims)).address(access.forms)
        if step_of(address, p) in (0, 1):
            continue
        if any(v.definition is not None for v, _ in address.terms):
            return None
        along = [v for v, c in address.terms if c == 1]
        if len(along) != 1 or (q is not None and along[0] is not q):
            return None
        q = along[0]
        transposed.append(access)
    if q is None or q not in step.loops:
        return None
    for var in (p, q):
        if not isinstance(var.extent, int) or var.extent < lanes:
            return None
    return TransposePlan(step, p, q, transposed)


def transpose(dispatch: Dispatch, description: WorkgroupDescription) -> Kernel | None:
    lanes = lane_count(dispatch, description.vector_bits)
    if lanes <= 1:
        return None
    plan = plan_transpose(dispatch, lanes)
    if plan is None:
        return None
    frame = KernelFrame(dispatch, fma=description.fma)
    try:
        total = _Emitter(frame, plan, lanes).run()
    except NotVectorizable:
        return None
    return frame.finish([total], frame.scratch_bytes, NAME, f"blocks of {lanes}x{lanes}")


QUARTER = 4
"""Elements of 32 bits in the 128 bits within which vector units shuffle pairs in one instruction."""


def transpose_block(k: KernelBuilder, rows: list[Value]) -> list[Value]:
    """Vectors of a square block, transposed: log2(n) rounds of exchanges."""
    n = len(rows)
    element: Any = element_of(rows[0].type)
    if n in (QUARTER, 2 * QUARTER, 4 * QUARTER) and element in (f32, i32):
        return _by_quarters(k, rows)
    stride = n // 2
    while stride:
        result = list(rows)
        for i in range(n):
            if i & stride:
                continue
            a, b = rows[i], rows[i + stride]
            low = [x if not x & stride else n + x - stride for x in range(n)]
            high = [x + stride if not x & stride else n + x for x in range(n)]
            result[i], result[i + stride] = k.shuffle(a, b, low), k.shuffle(a, b, high)
        rows = result
        stride //= 2
    return rows


def _by_quarters(k: KernelBuilder, rows: list[Value]) -> list[Value]:
    """The same of 4, 8 or 16 vectors in rounds of one instruction each: four rows at a time within quarters,
    then whole quarters."""
    n = len(rows)

    def within(a: Value, b: Value, picks: tuple[int, int, int, int]) -> Value:
        """In every quarter ``picks`` of a's elements (0-3) and b's (4-7)."""
        lanes = [q + (p if p < QUARTER else n + p - QUARTER) for q in range(0, n, QUARTER) for p in picks]
        return k.shuffle(a, b, lanes)

    def quarters(a: Value, b: Value, picks: list[int]) -> Value:
        """Quarters ``picks`` of ``a`` and then of ``b``."""
        found = [QUARTER * p + i for p in picks for i in range(QUARTER)]
        return k.shuffle(a, b, [*found, *(n + x for x in found)])

    groups: list[list[Value]] = []
    for g in range(0, n, QUARTER):
        a, b, c, d = rows[g : g + QUARTER]
        low, high = (0, 4, 1, 5), (2, 6, 3, 7)
        pairs = [(within(a, b, picks), within(c, d, picks)) for picks in (low, high)]
        groups.append([within(*pair, picks) for pair in pairs for picks in ((0, 1, 4, 5), (2, 3, 6, 7))])
    if n == QUARTER:
        return groups[0]
    result = list(rows)
    for column in range(QUARTER):
        own = [group[column] for group in groups]
        if len(own) == 2:
            for place in (0, 1):
                result[QUARTER * place + column] = quarters(own[0], own[1], [place])
            continue
        for start in (0, 1):
            first, second = (quarters(own[i], own[i + 1], [start, start + 2]) for i in (0, 2))
            for place, picks in ((start, [0, 2]), (start + 2, [1, 3])):
                result[QUARTER * place + column] = quarters(first, second, picks)
    return result


class _Emitter:
    def __init__(self, frame: KernelFrame, plan: TransposePlan, lanes: int) -> None:
        self.frame = frame
        self.plan = plan
        self.lanes = lanes
        self.kernel = frame.kernel
        self.elements = frame.elements
        self.tiles = [frame.scratch_view(lanes * lanes, element_of(a.value.type)) for a in plan.transposed]

    def run(self) -> dim_ops.Dim:
        plan, k, lanes = self.plan, self.kernel, self.lanes
        outer = [v for v in plan.step.loops if v not in (plan.p, plan.q)]
        blocks = [-(-v.extent // lanes) for v in (plan.q, plan.p)]  # type: ignore[operator]
        total = dim_ops.mul(dim_ops.total([v.extent for v in outer]), blocks[0] * blocks[1])  # type: ignore[misc]
        tile = min(BLOCKS_PER_GROUP, total) if isinstance(total, int) else BLOCKS_PER_GROUP

        def one(i: Index) -> None:
            values: dict[Var, Index] = {}
            places: list[Index] = []
            for var, count in ((plan.p, blocks[1]), (plan.q, blocks[0])):
                extent = var.extent
                assert isinstance(extent, int)
                place = k.mul(k.mod(i, count), lanes)
                places.append(k.min(place, extent - lanes) if extent % lanes else place)
                i = k.floordiv(i, count)
            for var in reversed(outer):
                extent_value = k.dim(var.extent)  # type: ignore[arg-type]
                values[var] = i if var is outer[0] else k.mod(i, extent_value)
                i = k.floordiv(i, extent_value)
            self._block(Bindings(k).child(values), places[1], places[0])

        first, end = self.frame.part(self.frame.ids[0], tile, total)
        k.loop(first, end, 1, (), one)
        return dim_ops.ceildiv(total, tile)

    def _block(self, at: Bindings, q0: Index, p0: Index) -> None:
        plan, k, lanes = self.plan, self.kernel, self.lanes
        for access, tile in zip(plan.transposed, self.tiles, strict=True):
            rows = []
            for j in range(lanes):
                point = Point(at.child({plan.p: k.add(p0, j), plan.q: q0}, plan.q, lanes))
                rows.append(self.elements.load(self.elements.memory[access.value], access.forms, point))
            for i, column in enumerate(transpose_block(k, rows)):
                k.vstore(column, tile, i * lanes)

        def row(i: Index) -> None:
            for access, tile in zip(plan.transposed, self.tiles, strict=True):
                loaded = k.vload(tile, k.mul(i, lanes), lanes)
                self.elements.overrides[access.value] = lambda forms, point, v=loaded: v  # type: ignore[misc]
            point = Point(at.child({plan.p: p0, plan.q: k.add(q0, i)}, plan.p, lanes))
            step = plan.step
            values = [self.elements.element_through(v, step.forms, point) for v in step.values]
            for value, binding in zip(values, step.destinations, strict=True):
                assert binding is not None
                self.elements.store(value, self.frame.binding_memory(binding), step.forms, point)

        k.loop(0, lanes, 1, (), row)
        self.elements.overrides.clear()
