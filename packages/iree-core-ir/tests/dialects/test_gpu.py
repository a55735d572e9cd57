"""gpu: MLIR's text for the subset."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from iree_core_ir.dialects import gpu, gpu_matrix
from iree_core_ir.errors import ParseError
from iree_core_ir.text.parser import parse_module

TEXT = """module {
  func.func @f(%a: f32, %i: i32, %m: memref<4xf32, #gpu.address_space<workgroup>>) {
    %0 = gpu.thread_id x
    %1 = gpu.block_id y
    %2 = gpu.block_dim z
    %3 = gpu.grid_dim x
    %4 = gpu.global_id x
    %5 = gpu.thread_id x upper_bound 64
    %6 = gpu.lane_id
    %7 = gpu.lane_id upper_bound 32
    %8 = gpu.subgroup_id : index
    %9 = gpu.num_subgroups : index
    %10 = gpu.subgroup_size : index
    gpu.barrier
    gpu.barrier memfence [#gpu.address_space<workgroup>]
    %11 = gpu.subgroup_reduce add %a : (f32) -> f32
    %12 = gpu.subgroup_reduce maxui %i uniform : (i32) -> i32
    %13 = gpu.subgroup_reduce mul %a cluster(size = 4) : (f32) -> f32
    %14 = gpu.subgroup_reduce mul %a uniform cluster(size = 8, stride = 4) : (f32) -> f32
    %15:2 = gpu.shuffle xor %a, %i, %i : f32
    return
  }
}
"""


def test_text_is_printed_as_it_was_read(round_trip: Callable[[str], str]) -> None:
    assert round_trip(TEXT) == TEXT


def test_every_op_has_a_text_here(ops_of: Callable[[str], set[str]]) -> None:
    matrix_ops = {op.name for op in gpu_matrix.OPS}
    assert set(gpu.DIALECT.ops) - matrix_ops <= ops_of(TEXT)


def test_enum_attributes() -> None:
    assert str(gpu.DimensionAttr("x")) == "#gpu.dim<x>"
    assert str(gpu.ReductionAttr("add")) == "#gpu.all_reduce_op<add>"
    assert str(gpu.AddressSpaceAttr("workgroup")) == "#gpu.address_space<workgroup>"


def test_unknown_words_are_named() -> None:
    with pytest.raises(ParseError, match="'w' is not one of x, y, z"):
        parse_module("func.func @f() { %0 = gpu.thread_id w\n return }")
