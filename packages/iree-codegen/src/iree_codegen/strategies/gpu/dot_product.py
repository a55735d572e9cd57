"""Products of few rows with a factor that is contiguous along the depth: a subgroup per column.

The lanes of a subgroup lie along the depth, so that together they read whole lines of memory; each adds up
its share for every row, then the shares of a subgroup are added.
"""

from __future__ import annotations

from iree_codegen import dims as dim_ops
from iree_codegen.dispatch import Dispatch
from iree_codegen.gpu_frame import GpuFrame
from iree_codegen.indexing import Bindings
from iree_codegen.invocation_description import InvocationDescription
from iree_codegen.invocation_elements import InvocationElements
from iree_codegen.kernel import Kernel
from iree_codegen.kernel_builder import Index, vector_of
from iree_codegen.strategies.gpu.product_results import ProductResults, has_short_elements
from iree_codegen.strategies.gpu.products import Product
from iree_codegen.strategies.gpu.staging import VECTOR, converted, multiply_add
from iree_core_ir.ir.operation import Value

NAME = "matmul"
SUBGROUPS = 8
"""Subgroups, and so columns, of a workgroup."""


def dot_product(dispatch: Dispatch, product: Product, description: InvocationDescription) -> Kernel | None:
    """The kernel; None unless there are few rows, the other factor is contiguous along the depth and the
    device adds over subgroups."""
    rows, lanes = product.rows.extent, description.subgroup_size
    limit = min(description.max_workgroup_invocations, description.max_workgroup_size[0])
    if not isinstance(rows, int) or "arithmetic" not in description.subgroup_ops or lanes < 2:
        return None
    extent = product.root.extents[product.depth_loops[-1]]
    whole = isinstance(extent, int) and extent % VECTOR == 0 and has_short_elements(product)
    depth = product.depth(VECTOR if whole else 1)
    a, b = (product.factor(n, depth) for n in (product.a_operand, product.b_operand))
    if a is None or b is None:
        return None
    # The lanes' slabs are neighbours: what is contiguous inside a slab goes on in the next.
    by_vectors = whole and a.lanes_along(depth.inner, VECTOR) and b.lanes_along(depth.inner, VECTOR)
    if not by_vectors:
        depth = product.depth(1)
        a, b = (product.factor(n, depth) for n in (product.a_operand, product.b_operand))
        assert a is not None
        assert b is not None
    along = depth.inner if by_vectors else depth.slab
    if not b.contiguous(along) or b.contiguous(product.columns):
        return None
    subgroups = max(1, min(SUBGROUPS, limit // lanes))
    frame = GpuFrame(dispatch, description, (subgroups * lanes,), elements=InvocationElements)
    k, results, width = (
        frame.kernel,
        ProductResults(frame, product, vectors=False),
        VECTOR if by_vectors else 1,
    )
    batch, _, columns, _ = product.sizes
    blocks = dim_ops.ceildiv(columns, subgroups)
    total = dim_ops.mul(blocks, batch)
    number = frame.workgroup_index(total)

    def work() -> None:
        n = k.dim(blocks)
        at = Bindings(k).child({product.batch: k.floordiv(number, n) if batch != 1 else 0})
        block = k.mod(number, n) if batch != 1 else number
        column = k.add(k.mul(block, subgroups), frame.subgroup_id())
        # A column that is not there repeats the last one: subgroups stay whole.
        last = k.sub(k.dim(columns), 1)
        read = k.min(column, last)
        zero = k.constant(0, vector_of(width, product.sum_type))

        def step(slab: Index, *sums: Value) -> list[Value]:
            here = at.child({depth.slab: slab, depth.inner: 0})
            other = b.read(frame, here.child({product.columns: read}), width, ())
            other = converted(k, other, product.sum_type)
            found = []
            for row, value in enumerate(sums):
                own = a.read(frame, here.child({product.rows: row}), width, ())
                found.append(multiply_add(k, converted(k, own, product.sum_type), other, value))
            return found

        slabs = k.dim(depth.slabs)
        sums = k.loop(frame.lane_id(), slabs, lanes, [zero] * rows, step)
        whole_sums = [frame.subgroup_reduce("add", k.reduction("add", v) if width > 1 else v) for v in sums]

        def store() -> None:
            for row, value in enumerate(whole_sums):
                results.store(at, row, column, value)

        first = k.compare("eq", frame.lane_id(), 0)
        exists = k.compare("ult", column, k.dim(columns))
        k.if_(k.binary("arith.andi", first, exists), store)

    frame.unless_surplus(number, total, work)
    why = f"a subgroup per column, {rows} rows, {width}-wide along the depth"
    return frame.finish(frame.folded(total), 0, NAME, why)
