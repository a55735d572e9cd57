"""The grid of a tiled product: a workgroup per tile of rows and columns of one batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from iree_codegen import dims as dim_ops
from iree_codegen.dims import Dim
from iree_codegen.gpu_frame import GpuFrame
from iree_codegen.indexing import Bindings
from iree_codegen.kernel_builder import Index
from iree_codegen.strategies.gpu.products import Product, extent


def share_tiles(
    frame: GpuFrame, product: Product, tile: Any, body: Callable[[Bindings, Index, Index], None]
) -> Dim:
    """``body(at, row, column)`` for this workgroup's tile: ``at`` knows the batch, ``row`` and ``column`` are
    where the tile (of ``tile.rows`` and ``tile.columns``) begins. The number of workgroups, to be folded.
    """
    k = frame.kernel
    rows, columns, batch = (extent(v) for v in (product.rows, product.columns, product.batch))
    down, across = dim_ops.ceildiv(rows, tile.rows), dim_ops.ceildiv(columns, tile.columns)
    total = dim_ops.mul(dim_ops.mul(down, across), batch)
    number = frame.workgroup_index(total)

    def work() -> None:
        n, m = k.dim(across), k.dim(down)
        column, rest = k.mod(number, n), k.floordiv(number, n)
        at = Bindings(k).child({product.batch: k.floordiv(rest, m) if batch != 1 else 0})
        row = k.mod(rest, m) if batch != 1 else rest
        body(at, k.mul(row, tile.rows), k.mul(column, tile.columns))

    frame.unless_surplus(number, total, work)
    return total
