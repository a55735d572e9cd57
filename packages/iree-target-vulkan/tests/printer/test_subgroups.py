"""Ids, barriers and subgroup operations on a device against the interpreter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from vulkan_kernels import KernelText, Run

FLOATS = {"f32": np.float32, "f64": np.float64}
INTEGERS = {"i8": np.int8, "i32": np.int32, "i64": np.int64}
INTEGER_KINDS = ("add", "mul", "and", "or", "xor", "minsi", "maxsi", "minui", "maxui")
FLOAT_KINDS = ("add", "mul", "minimumf", "maximumf", "minnumf", "maxnumf")


@pytest.fixture(scope="module")
def subgroup(description: Any) -> int:
    return int(description.subgroup_size)


def each(subgroup: int, lines: list[str], type: str, n: int) -> KernelText:
    """One invocation per element in subgroups: line k makes %rk of %x, stored at k * n."""
    body = [
        f"%g = arith.constant {4 * subgroup} : index",
        f"%s = arith.constant {subgroup} : index",
        "%sg = gpu.subgroup_id : index",
        "%lane = gpu.lane_id",
        "%l = arith.muli %sg, %s : index",
        "%t = arith.addi %l, %lane : index",
        "%m = arith.muli %wx, %g : index",
        "%i = arith.addi %m, %t : index",
        f"%x = memref.load %b0[%i] : memref<?x{type}>",
    ]
    for k, line in enumerate(lines):
        body += [
            f"%n{k} = arith.constant {k * n} : index",
            f"%i{k} = arith.addi %i, %n{k} : index",
            line.replace("%r", f"%r{k}"),
            f"memref.store %r{k}, %b1[%i{k}] : memref<?x{type}>",
        ]
    return KernelText(
        "\n  ".join(body),
        [(type, "read"), (type, "write")],
        workgroup=(4 * subgroup, 1, 1),
        subgroup=subgroup,
        counts=(n // (4 * subgroup), 1, 1),
    )


def compare(run: Run, kernel: KernelText, a: Any, n_lines: int, tolerance: float = 0.0) -> None:
    expected = [a, np.zeros(len(a) * n_lines, a.dtype)]
    kernel.interpret(expected)
    got = run(kernel, [a, np.zeros_like(expected[1])])[-1]
    np.testing.assert_allclose(got, expected[1], rtol=tolerance, atol=0)


@pytest.mark.parametrize("type", INTEGERS)
def test_reduce_integers(run: Run, subgroup: int, type: str) -> None:
    n = 8 * subgroup
    info = np.iinfo(INTEGERS[type])
    a = np.random.default_rng(1).integers(info.min, info.max, n, INTEGERS[type], endpoint=True)
    lines = [f"%r = gpu.subgroup_reduce {kind} %x : ({type}) -> {type}" for kind in INTEGER_KINDS]
    compare(run, each(subgroup, lines, type, n), a, len(lines))


@pytest.mark.parametrize("type", FLOATS)
def test_reduce_floats(run: Run, subgroup: int, type: str) -> None:
    """NaN and infinities in some subgroups only."""
    n = 8 * subgroup
    a = np.random.default_rng(2).normal(size=n).astype(FLOATS[type])
    a[3], a[subgroup + 1], a[subgroup + 2], a[2 * subgroup + 1] = np.nan, np.inf, -np.inf, np.inf
    a[3 * subgroup : 4 * subgroup] = np.nan
    lines = [f"%r = gpu.subgroup_reduce {kind} %x : ({type}) -> {type}" for kind in FLOAT_KINDS]
    compare(run, each(subgroup, lines, type, n), a, len(lines), 1e-5)


@pytest.mark.parametrize("type", ["i32", "f32"])
def test_reduce_clusters(run: Run, subgroup: int, type: str) -> None:
    n = 8 * subgroup
    dtype = {"i32": np.int32, "f32": np.float32}[type]
    a = np.random.default_rng(3).integers(-50, 50, n).astype(dtype)
    kinds = ("add", "maxsi") if type == "i32" else ("add", "maximumf")
    lines = [
        f"%r = gpu.subgroup_reduce {kind} %x cluster(size = {size}, stride = {stride}) : ({type}) -> {type}"
        for kind in kinds
        for size, stride in ((2, 1), (4, 1), (2, 2), (2, 4), (4, 2))
        if size * stride <= subgroup
    ]
    compare(run, each(subgroup, lines, type, n), a, len(lines), 1e-6)


@pytest.mark.parametrize("type", ["i8", "i32", "f32", "f64"])
def test_shuffle(run: Run, subgroup: int, type: str) -> None:
    """Every mode, within the subgroup and within parts of it; invalid sources give the own value."""
    n = 8 * subgroup
    dtype = (INTEGERS | FLOATS)[type]
    a = np.arange(n).astype(dtype)
    lines = []
    for width in (subgroup, subgroup // 2):
        for mode in ("xor", "up", "down", "idx"):
            for offset in (0, 1, 3, subgroup - 1):
                k = len(lines)
                lines.append(
                    f"%o{k} = arith.constant {offset} : i32\n  %w{k} = arith.constant {width} : i32\n"
                    f"  %r, %v{k} = gpu.shuffle {mode} %x, %o{k}, %w{k} : {type}"
                )
    compare(run, each(subgroup, lines, type, n), a, len(lines))


@pytest.mark.parametrize("index_bits", [32, 64])
def test_ids(run: Run, index_bits: int) -> None:
    """Every invocation of a three-dimensional grid writes its own number."""
    body = """
  %c2 = arith.constant 2 : index
  %c3 = arith.constant 3 : index
  %c4 = arith.constant 4 : index
  %c24 = arith.constant 24 : index
  %tx = gpu.thread_id x
  %ty = gpu.thread_id y
  %tz = gpu.thread_id z
  %gx = gpu.grid_dim x
  %gy = gpu.grid_dim y
  %a = arith.muli %tz, %c3 : index
  %b = arith.addi %a, %ty : index
  %c = arith.muli %b, %c4 : index
  %local = arith.addi %c, %tx : index
  %d = arith.muli %wz, %gy : index
  %e = arith.addi %d, %wy : index
  %f = arith.muli %e, %gx : index
  %g = arith.addi %f, %wx : index
  %h = arith.muli %g, %c24 : index
  %i = arith.addi %h, %local : index
  %v = arith.index_cast %i : index to i32
  memref.store %v, %b0[%i] : memref<?xi32>
"""
    kernel = KernelText(
        body, [("i32", "write")], workgroup=(4, 3, 2), counts=(2, 3, 2), index_bits=index_bits
    )
    got = run(kernel, [np.zeros(24 * 12, np.int32)])[-1]
    np.testing.assert_array_equal(got, np.arange(24 * 12))


def test_barriers_in_loops(run: Run) -> None:
    """A running sum by doubling, two barriers a step."""
    body = """
  %m = memref.alloca() : memref<32xi32, #gpu.address_space<workgroup>>
  %c1 = arith.constant 1 : index
  %c2 = arith.constant 2 : index
  %c5 = arith.constant 5 : index
  %c0 = arith.constant 0 : index
  %z = arith.constant 0 : i32
  %t = gpu.thread_id x
  %x = memref.load %b0[%t] : memref<?xi32>
  memref.store %x, %m[%t] : memref<32xi32, #gpu.address_space<workgroup>>
  gpu.barrier
  %last = scf.for %k = %c0 to %c5 step %c1 iter_args(%distance = %c1) -> (index) {
    %far = arith.cmpi sge, %t, %distance : index
    %own = memref.load %m[%t] : memref<32xi32, #gpu.address_space<workgroup>>
    %add = scf.if %far -> (i32) {
      %o = arith.subi %t, %distance : index
      %v = memref.load %m[%o] : memref<32xi32, #gpu.address_space<workgroup>>
      scf.yield %v : i32
    } else {
      scf.yield %z : i32
    }
    gpu.barrier
    %sum = arith.addi %own, %add : i32
    memref.store %sum, %m[%t] : memref<32xi32, #gpu.address_space<workgroup>>
    gpu.barrier memfence [#gpu.address_space<workgroup>]
    %next = arith.muli %distance, %c2 : index
    scf.yield %next : index
  }
  %y = memref.load %m[%t] : memref<32xi32, #gpu.address_space<workgroup>>
  memref.store %y, %b1[%t] : memref<?xi32>
"""
    kernel = KernelText(body, [("i32", "read"), ("i32", "write")], workgroup=(32, 1, 1))
    a = np.random.default_rng(4).integers(-9, 9, 32).astype(np.int32)
    np.testing.assert_array_equal(run(kernel, [a, np.zeros_like(a)])[-1], np.cumsum(a))
