"""gpu: invocations of a workgroup against numpy over the lanes; barriers; misuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iree_core_ir.dialects.gpu import REDUCTIONS
from iree_core_ir.errors import CoreIrError
from iree_core_ir.interpreter import Interpreter
from iree_core_ir.interpreters.gpu import run_workgroup
from iree_core_ir.text.parser import parse_module

PRELUDE = """
  %t = gpu.thread_id x
  %zero = arith.constant 0 : index
"""


def run(body: str, arguments: str, *values: Any, **options: Any) -> None:
    text = f"func.func @f({arguments}) {{{PRELUDE}{body}\n  return\n}}"
    run_workgroup(Interpreter(parse_module(text)), "f", values, **options)


def each_lane(
    op: str, type: str, values: np.ndarray[Any, Any], subgroup: int, extra: str = ""
) -> np.ndarray[Any, Any]:
    """The result of ``op`` on ``%v`` in every invocation."""
    n = len(values)
    out = np.zeros_like(values)
    memref = f"memref<{n}x{type}>"
    body = f"""{extra}
      %v = memref.load %m[%t] : {memref}
      %r = {op}
      memref.store %r, %o[%t] : {memref}"""
    run(body, f"%m: {memref}, %o: {memref}", values, out, block_dim=(n, 1, 1), subgroup_size=subgroup)
    return out


NUMPY = {
    "add": np.add, "mul": np.multiply, "minsi": np.minimum, "maxsi": np.maximum, "and": np.bitwise_and,
    "or": np.bitwise_or, "xor": np.bitwise_xor,
}  # fmt: skip


@pytest.mark.parametrize("kind", NUMPY)
def test_integer_reductions_over_subgroups(kind: str) -> None:
    values = np.arange(-5, 7, dtype=np.int32)
    found = each_lane(f"gpu.subgroup_reduce {kind} %v : (i32) -> i32", "i32", values, 4)
    for start in range(0, 12, 4):
        assert (found[start : start + 4] == NUMPY[kind].reduce(values[start : start + 4])).all()


@pytest.mark.parametrize(
    ("kind", "expected"), [("maximumf", np.nan), ("maxnumf", 4.0), ("minimumf", np.nan), ("minnumf", 1.0)]
)
def test_float_reductions_and_nan(kind: str, expected: float) -> None:
    values = np.array([1, np.nan, 4, 2], np.float32)
    found = each_lane(f"gpu.subgroup_reduce {kind} %v : (f32) -> f32", "f32", values, 4)
    assert np.array_equal(found, np.full(4, expected, np.float32), equal_nan=True)


def test_unsigned_reductions() -> None:
    values = np.array([-1, 1, 2, 3], np.int32)
    assert each_lane("gpu.subgroup_reduce maxui %v : (i32) -> i32", "i32", values, 4)[0] == -1
    assert each_lane("gpu.subgroup_reduce minui %v : (i32) -> i32", "i32", values, 4)[0] == 1
    assert {"maxui", "minui"} <= set(REDUCTIONS)


def test_clusters() -> None:
    values = np.arange(8, dtype=np.int32)
    near = each_lane("gpu.subgroup_reduce add %v cluster(size = 2) : (i32) -> i32", "i32", values, 8)
    assert near.tolist() == [1, 1, 5, 5, 9, 9, 13, 13]
    far = each_lane(
        "gpu.subgroup_reduce add %v cluster(size = 2, stride = 4) : (i32) -> i32", "i32", values, 8
    )
    assert far.tolist() == [4, 6, 8, 10, 4, 6, 8, 10]


@settings(max_examples=25, deadline=None)
@given(
    mode=st.sampled_from(["xor", "up", "down", "idx"]),
    offset=st.integers(0, 5),
    width=st.sampled_from([2, 4]),
)
def test_shuffle(mode: str, offset: int, width: int) -> None:
    values = np.arange(10, 18, dtype=np.int32)
    ok = np.zeros(8, np.int32)
    out = np.zeros(8, np.int32)
    m = "memref<8xi32>"
    body = f"""
      %off = arith.constant {offset} : i32
      %w = arith.constant {width} : i32
      %v = memref.load %m[%t] : {m}
      %r, %valid = gpu.shuffle {mode} %v, %off, %w : i32
      %k = arith.extui %valid : i1 to i32
      memref.store %r, %o[%t] : {m}
      memref.store %k, %p[%t] : {m}"""
    run(body, f"%m: {m}, %o: {m}, %p: {m}", values, out, ok, block_dim=(8, 1, 1), subgroup_size=4)
    for lane in range(8):
        base, inner = lane - lane % width, lane % width
        source = {"xor": inner ^ offset, "up": inner - offset, "down": inner + offset, "idx": offset}[mode]
        inside = 0 <= source < width
        assert ok[lane] == inside
        assert out[lane] == values[base + source if inside else lane]


def test_ids() -> None:
    m = "memref<24xindex>"
    names = [
        "thread_id y",
        "thread_id z",
        "block_id x",
        "block_dim y",
        "grid_dim z",
        "global_id x",
        "lane_id",
    ]
    names += ["subgroup_id : index", "num_subgroups : index", "subgroup_size : index"]
    outs = [np.zeros(24, np.int64) for _ in names]
    body = """
      %y = gpu.thread_id y
      %z = gpu.thread_id z
      %at = affine.linearize_index [%z, %y, %t] by (2, 3, 4) : index"""
    for i, name in enumerate(names):
        body += f"\n      %n{i} = gpu.{name}\n      memref.store %n{i}, %o{i}[%at] : {m}"
    arguments = ", ".join(f"%o{i}: {m}" for i in range(len(names)))
    run(body, arguments, *outs, block_id=(5, 0, 0), grid_dim=(9, 1, 7), block_dim=(4, 3, 2), subgroup_size=5)
    linear = np.arange(24)
    expected = [linear // 4 % 3, linear // 12, 5, 3, 7, 20 + linear % 4, linear % 5, linear // 5, 5, 5]
    for out, wanted in zip(outs, expected, strict=True):
        assert (out == wanted).all()


REVERSE = """
  %n = gpu.block_dim x
  %one = arith.constant 1 : index
  %last = arith.subi %n, %one : index
  %v = memref.load %m[%t] : memref<?xf32>
  gpu.barrier
  %to = arith.subi %last, %t : index
  memref.store %v, %m[%to] : memref<?xf32>"""


@pytest.mark.parametrize("n", [1, 2, 7])
def test_a_barrier_separates_reads_from_writes(n: int) -> None:
    values = np.arange(n, dtype=np.float32)
    run(REVERSE, "%m: memref<?xf32>", values, block_dim=(n, 1, 1), subgroup_size=2)
    assert values.tolist() == list(range(n))[::-1]


def test_a_barrier_in_a_loop_is_met_every_time() -> None:
    """Each round every invocation takes its neighbour's value: n rounds bring it back."""
    body = """
      %n = gpu.block_dim x
      %one = arith.constant 1 : index
      scf.for %i = %zero to %n step %one {
        %next = arith.addi %t, %one : index
        %from = arith.remui %next, %n : index
        %v = memref.load %m[%from] : memref<5xi32>
        gpu.barrier
        memref.store %v, %m[%t] : memref<5xi32>
        gpu.barrier
      }"""
    values = np.array([3, 1, 4, 1, 5], np.int32)
    run(body, "%m: memref<5xi32>", values, block_dim=(5, 1, 1))
    assert values.tolist() == [3, 1, 4, 1, 5]


def test_a_barrier_that_some_miss_is_an_error() -> None:
    body = """
      %c = arith.cmpi eq, %t, %zero : index
      scf.if %c {
        gpu.barrier
      }"""
    with pytest.raises(CoreIrError, match="1 of 4 invocations") as caught:
        run(body, "", block_dim=(4, 1, 1))
    assert caught.value.number == 12


def test_an_error_in_one_invocation_ends_the_others() -> None:
    body = """
      %c = arith.cmpi ne, %t, %zero : index
      cf.assert %c, "invocation 0 fails"
      gpu.barrier"""
    with pytest.raises(CoreIrError, match="invocation 0 fails"):
        run(body, "", block_dim=(4, 1, 1))


def test_inactive_lanes_take_no_part() -> None:
    values = np.arange(8, dtype=np.int32)
    out = np.zeros(8, np.int32)
    body = """
      %two = arith.constant 2 : index
      %rest = arith.remui %t, %two : index
      %c = arith.cmpi eq, %rest, %zero : index
      %v = memref.load %m[%t] : memref<8xi32>
      scf.if %c {
        %r = gpu.subgroup_reduce add %v : (i32) -> i32
        memref.store %r, %o[%t] : memref<8xi32>
      }"""
    run(body, "%m: memref<8xi32>, %o: memref<8xi32>", values, out, block_dim=(8, 1, 1), subgroup_size=4)
    assert out.tolist() == [2, 0, 2, 0, 10, 0, 10, 0]


def test_ids_mean_nothing_outside_of_a_kernel() -> None:
    module = parse_module("func.func @f() -> index {\n %t = gpu.thread_id x\n return %t : index\n}")
    with pytest.raises(CoreIrError, match="outside of a kernel"):
        Interpreter(module).call("f")


def test_workgroup_memory_is_one_for_all_and_private_memory_is_not() -> None:
    for space, expected in (("workgroup", [3, 2, 1, 0]), ("private", [-1, -1, -1, -1])):
        memory = f"memref<4xi32, #gpu.address_space<{space}>>"
        out = np.zeros(4, np.int32)
        body = f"""
          %none = arith.constant -1 : i32
          %three = arith.constant 3 : index
          %m = memref.alloca() : {memory}
          %other = arith.subi %three, %t : index
          memref.store %none, %m[%other] : {memory}
          gpu.barrier
          %i = arith.index_cast %t : index to i32
          memref.store %i, %m[%t] : {memory}
          gpu.barrier
          %v = memref.load %m[%other] : {memory}
          memref.store %v, %o[%t] : memref<4xi32>"""
        run(body, "%o: memref<4xi32>", out, block_dim=(4, 1, 1), subgroup_size=4)
        np.testing.assert_array_equal(out, expected)


def test_workgroups_have_their_own_memory() -> None:
    memory = "memref<1xi32, #gpu.address_space<workgroup>>"
    body = f"""
      %m = memref.alloca() : {memory}
      %v = memref.load %m[%zero] : {memory}
      memref.store %v, %o[%zero] : memref<1xi32>
      %one = arith.constant 1 : i32
      memref.store %one, %m[%zero] : {memory}"""
    found = []
    for _ in range(2):
        out = np.zeros(1, np.int32)
        run(body, "%o: memref<1xi32>", out)
        found.append(int(out[0]))
    assert found[0] == found[1] != 1
