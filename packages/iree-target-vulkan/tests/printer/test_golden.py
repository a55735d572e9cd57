"""The words of a few small kernels, as text: what changes here changes what drivers see."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from vulkan_kernels import KernelText

from iree_target_vulkan.description import describe
from iree_target_vulkan.executable_format import SpirvExecutable
from iree_target_vulkan.spirv.disassembler import disassemble

SHARED = "memref<64xf32, #gpu.address_space<workgroup>>"
KERNELS = {
    "scale": KernelText(
        """
  %c64 = arith.constant 64 : index
  %c4 = arith.constant 4 : index
  %t = gpu.thread_id x
  %w = arith.muli %wx, %c64 : index
  %id = arith.addi %w, %t : index
  %inside = arith.cmpi ult, %id, %s0 : index
  scf.if %inside {
    %i = arith.muli %id, %c4 : index
    %x = vector.load %b0[%i] : memref<?xf32>, vector<4xf32>
    %f = vector.broadcast %s1 : f32 to vector<4xf32>
    %y = arith.mulf %x, %f : vector<4xf32>
    vector.store %y, %b1[%i] : memref<?xf32>, vector<4xf32>
  }""",
        [("f32", "read"), ("f32", "write")],
        ["index", "f32"],
        workgroup=(64, 1, 1),
        subgroup=32,
    ),
    "row_sum": KernelText(
        f"""
  %m = memref.alloca() : {SHARED}
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c64 = arith.constant 64 : index
  %c100 = arith.constant 100 : index
  %zero = arith.constant 0.0 : f32
  %t = gpu.thread_id x
  %row = arith.muli %wx, %c100 : index
  %sum = scf.for %j = %t to %c100 step %c64 iter_args(%a = %zero) -> (f32) {{
    %i = arith.addi %row, %j : index
    %x = memref.load %b0[%i] : memref<?xf32>
    %b = arith.addf %a, %x : f32
    scf.yield %b : f32
  }} {{iree.dont_unroll}}
  %group = gpu.subgroup_reduce add %sum : (f32) -> f32
  %s = gpu.subgroup_id : index
  memref.store %group, %m[%s] : {SHARED}
  gpu.barrier
  %first = arith.cmpi eq, %t, %c0 : index
  scf.if %first {{
    %p = memref.load %m[%c0] : {SHARED}
    %q = memref.load %m[%c1] : {SHARED}
    %r = arith.addf %p, %q : f32
    memref.store %r, %b1[%wx] : memref<?xf32>
  }}""",
        [("f32", "read"), ("f32", "write")],
        workgroup=(64, 1, 1),
        subgroup=32,
    ),
    "checked_gather": KernelText(
        """
  %t = gpu.thread_id x
  %k = memref.load %b0[%t] : memref<?xi64>
  %n = arith.constant 10 : i64
  %inside = arith.cmpi ult, %k, %n : i64
  cf.assert %inside, "index" {iree.error_kind = 1 : i32}
  %i = arith.index_cast %k : i64 to index
  %x = memref.load %b1[%i] : memref<?xi8>
  memref.store %x, %b2[%t] : memref<?xi8>""",
        [("i64", "read"), ("i8", "read"), ("i8", "write")],
        workgroup=(32, 1, 1),
        subgroup=32,
    ),
}


@pytest.mark.parametrize("name", KERNELS)
def test_words(name: str, golden: Callable[[str, str], None], validate: Callable[[bytes], None]) -> None:
    compiled = KERNELS[name].compile(describe({"vulkan-profile": "desktop"}))
    words = SpirvExecutable.deserialize(compiled.data).words
    validate(words)
    golden(f"{name}.spvasm", disassemble(words))
