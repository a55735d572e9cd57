"""Vectors of columns of an image row whose width is known when the dispatch runs."""

from __future__ import annotations

from iree_codegen.kernel_builder import Index, KernelBuilder
from iree_core_ir.ir.operation import Value
from iree_core_ir.ir.types import i1, index


def columns_inside(k: KernelBuilder, first: Index, stride: int, width: Index, lanes: int) -> Value:
    """The lanes whose column, ``first + lane * stride``, lies in ``[0, width)``."""
    if stride != 1:
        columns = k.binary("arith.addi", k.lane_numbers(lanes, index, stride), k.value(first))
        return k.cmpi("ult", columns, k.splat(k.value(width), lanes))
    before = k.mask_below(k.sub(0, first), lanes)
    below = k.mask_below(k.sub(width, first), lanes)
    everywhere = k.splat(k.constant(True, i1), lanes)
    return k.binary("arith.andi", below, k.binary("arith.xori", before, everywhere))


def load_columns(
    k: KernelBuilder,
    source: Value,
    at: Index,
    stride: int,
    lanes: int,
    border: tuple[Index, Index, Value] | None = None,
) -> Value:
    """Every ``stride``-th element of a row from ``at`` on.

    ``border``: (lane 0's column, the row's width, what lies outside); None: all lanes are inside, and so is
    what two vectors read for a stride of 2.
    """

    def vector(at: Index, moved: int) -> Value:
        if border is None:
            return k.vload(source, at, lanes)
        first, width, rest = border
        return k.vload(source, at, lanes, columns_inside(k, k.add(first, moved), 1, width, lanes), rest)

    if stride == 1:
        return vector(at, 0)
    if stride == 2:
        return k.shuffle(vector(at, 0), vector(k.add(at, lanes), lanes), range(0, 2 * lanes, 2))
    mask, rest = None, None
    if border is not None:
        first, width, rest = border
        mask = columns_inside(k, first, stride, width, lanes)
    return k.gather(source, at, k.lane_numbers(lanes, index, stride), mask, rest)
