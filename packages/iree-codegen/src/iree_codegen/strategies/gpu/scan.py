"""``scan``: a workgroup takes a row of a running combination, every invocation a piece of it.

Each combines its piece, learns what the pieces before it come to, and walks its piece again to store.
"""

from __future__ import annotations

from typing import Any

from iree_codegen import dims as dim_ops
from iree_codegen import indexing
from iree_codegen.dispatch import Dispatch
from iree_codegen.gpu_frame import GpuFrame
from iree_codegen.indexing import Bindings, Var
from iree_codegen.invocation_description import InvocationDescription
from iree_codegen.kernel import Kernel
from iree_codegen.kernel_builder import Index
from iree_codegen.sequential import SequentialEmitter
from iree_codegen.team import WORKGROUP, Team
from iree_core_ir.ir.operation import Value

NAME = "scan"
SHORT = 128
"""Rows below so many elements are walked by one invocation each."""
MANY = 1 << 13
"""So many rows keep a device busy with one invocation each."""
INVOCATIONS = 256


def scan(dispatch: Dispatch, description: InvocationDescription) -> Kernel | None:
    found = [op for op in dispatch.ops if op.name == "linalg_ext.scan"]
    if len(found) != 1 or not description.prefers_barriers:
        return None
    op: Any = found[0]
    if any(value.owner is not op for value, _ in dispatch.results):
        return None
    axis: int = op.dimension.value
    dims = dispatch.dims(op.results[0])
    extent = dims[axis]
    outer = [Var(f"d{i}", d) for i, d in enumerate(dims)]
    total = dim_ops.total([d for i, d in enumerate(dims) if i != axis])
    if (isinstance(extent, int) and extent < SHORT) or not (isinstance(total, int) and total < MANY):
        return None
    limit = min(INVOCATIONS, description.max_workgroup_invocations, description.max_workgroup_size[0])
    size = 1
    while size * 2 <= limit and not (isinstance(extent, int) and size * 8 > extent):
        size *= 2
    frame = GpuFrame(dispatch, description, (size,))
    k = frame.kernel
    team = Team(frame, size, WORKGROUP)
    memory = frame.binding_memory(dispatch.results[0][1])
    emitter = SequentialEmitter(frame.elements, op, {op.results[0]: memory})
    number = frame.workgroup_index(total)

    def row() -> None:
        values: dict[Var, Index] = {}
        rest = number
        for var in reversed([v for i, v in enumerate(outer) if i != axis]):
            values[var] = k.mod(rest, k.dim(var.extent))  # type: ignore[arg-type]
            rest = k.floordiv(rest, k.dim(var.extent))  # type: ignore[arg-type]
        at = Bindings(k).child(values)
        forms = [indexing.ZERO if v.extent == 1 else indexing.of(v) for v in outer]
        piece = k.ceildiv(k.dim(extent), size)
        low = k.min(k.mul(team.lane, piece), k.dim(extent))
        high = k.min(k.add(low, piece), k.dim(extent))
        start = emitter.scan_start()
        own = emitter.scan_part(at, forms, low, high, start, stores=False)

        def combine(a: list[Value], b: list[Value]) -> list[Value]:
            return [emitter.scan_combine(a[0], b[0])]

        emitter.scan_part(at, forms, low, high, team.before(own, start, combine))

    frame.unless_surplus(number, total, row)
    if any(o.name == "cf.assert" for o in k.func.walk()):
        return None
    return frame.finish(frame.folded(total), 0, NAME, f"{size} invocations per row, a piece each")
