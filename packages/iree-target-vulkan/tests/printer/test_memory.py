"""Memory of every space and element type: what is stored is read back, through single elements and vectors."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from vulkan_kernels import KernelText, Run, elementwise

TYPES = {
    "i1": np.bool_, "i8": np.int8, "i16": np.int16, "i32": np.int32, "i64": np.int64, "f16": np.float16,
    "bf16": ml_dtypes.bfloat16, "f32": np.float32, "f64": np.float64, "f8E4M3FN": ml_dtypes.float8_e4m3fn,
}  # fmt: skip


def random(type: str, n: int, seed: int = 1) -> np.ndarray[Any, Any]:
    """Any bits but those of NaN."""
    rng = np.random.default_rng(seed)
    if type == "i1":
        return rng.random(n) < 0.5
    return rng.integers(-100, 100, n).astype(TYPES[type])


@pytest.mark.parametrize("lanes", [1, 2, 3, 4])
@pytest.mark.parametrize("type", TYPES)
def test_copy(run: Run, type: str, lanes: int) -> None:
    a = random(type, 96)
    kernel = elementwise(["arith.select %c, %a, %a : {c}, {a}"], [type, type, "i1"], type, 96, lanes=lanes)
    got = run(kernel, [a, a, random("i1", 96), np.zeros_like(a)])[-1]
    np.testing.assert_array_equal(got.view(np.uint8), a.view(np.uint8))


@pytest.mark.parametrize("space", ["workgroup", "private"])
@pytest.mark.parametrize(("store", "load"), [(1, 1), (4, 4), (4, 1), (1, 4), (2, 4), (4, 2)])
@pytest.mark.parametrize("type", ["i1", "i8", "f16", "f32"])
def test_local_memory(run: Run, space: str, type: str, store: int, load: int) -> None:
    """64 elements written by vectors of one width and read by those of another, reversed by fours."""
    group = 1 if space == "private" else 16
    memory = f"memref<64x{type}, #gpu.address_space<{space}>>"

    def spelled(lanes: int) -> str:
        return type if lanes == 1 else f"vector<{lanes}x{type}>"

    def access(name: str, lanes: int, value: str, where: str, memory: str, at: str) -> str:
        if name == "load":
            if lanes == 1:
                return f"{value} = memref.load {where}[{at}] : {memory}"
            return f"{value} = vector.load {where}[{at}] : {memory}, {spelled(lanes)}"
        if lanes == 1:
            return f"memref.store {value}, {where}[{at}] : {memory}"
        return f"vector.store {value}, {where}[{at}] : {memory}, {spelled(lanes)}"

    binding = f"memref<?x{type}>"
    body = f"""
  %m = memref.alloca() : {memory}
  %c0 = arith.constant 0 : index
  %c64 = arith.constant 64 : index
  %group = arith.constant {group} : index
  %t = gpu.thread_id x
  %store = arith.constant {store} : index
  %stores = arith.constant {64 // store} : index
  %load = arith.constant {load} : index
  %loads = arith.constant {64 // load} : index
  %last = arith.constant {64 - load} : index
  scf.for %i = %t to %stores step %group {{
    %at = arith.muli %i, %store : index
    {access("load", store, "%x", "%b0", binding, "%at")}
    {access("store", store, "%x", "%m", memory, "%at")}
  }}
  {"gpu.barrier" if space == "workgroup" else ""}
  scf.for %i = %t to %loads step %group {{
    %at = arith.muli %i, %load : index
    %back = arith.subi %last, %at : index
    {access("load", load, "%x", "%m", memory, "%back")}
    {access("store", load, "%x", "%b1", binding, "%at")}
  }}
"""
    kernel = KernelText(body, [(type, "read"), (type, "write")], workgroup=(group, 1, 1))
    a = random(type, 64)
    got = run(kernel, [a, np.zeros_like(a)])[-1]
    expected = np.ascontiguousarray(a.reshape(-1, load)[::-1]).reshape(-1)
    np.testing.assert_array_equal(got.view(np.uint8), expected.view(np.uint8))


@pytest.mark.parametrize("index_bits", [32, 64])
def test_scratch_is_of_the_workgroup(run: Run, index_bits: int) -> None:
    """Every workgroup writes its own slice, in three types, and reads what another invocation wrote."""
    body = """
  %c4 = arith.constant 4 : index
  %c7 = arith.constant 7 : index
  %c8 = arith.constant 8 : index
  %c0 = arith.constant 0 : index
  %c64 = arith.constant 64 : index
  %c256 = arith.constant 256 : index
  %t = gpu.thread_id x
  %g = gpu.grid_dim x
  %row = arith.muli %wy, %g : index
  %w = arith.addi %row, %wx : index
  %base = arith.muli %w, %c8 : index
  %i = arith.addi %base, %t : index
  %f = memref.view %scratch[%c64][%c8] : memref<?xi8> to memref<?xf32>
  %d = memref.view %scratch[%c256][%c8] : memref<?xi8> to memref<?xi64>
  %x = memref.load %b0[%i] : memref<?xf32>
  memref.store %x, %f[%t] : memref<?xf32>
  %k = arith.fptosi %x : f32 to i64
  memref.store %k, %d[%t] : memref<?xi64>
  %n = arith.trunci %k : i64 to i8
  memref.store %n, %scratch[%t] : memref<?xi8>
  gpu.barrier
  %o = arith.subi %c7, %t : index
  %y = memref.load %f[%o] : memref<?xf32>
  %l = memref.load %d[%o] : memref<?xi64>
  %lf = arith.sitofp %l : i64 to f32
  %b = memref.load %scratch[%o] : memref<?xi8>
  %bf = arith.sitofp %b : i8 to f32
  %s = arith.addf %y, %lf : f32
  %s2 = arith.addf %s, %bf : f32
  memref.store %s2, %b1[%i] : memref<?xf32>
"""
    kernel = KernelText(
        body, [("f32", "read"), ("f32", "write")], scratch_bytes=512, counts=(5, 3, 1), index_bits=index_bits
    )
    a = np.random.default_rng(1).integers(-100, 100, 120).astype(np.float32)
    got = run(kernel, [a, np.zeros_like(a)])[-1]
    np.testing.assert_array_equal(got, 3 * a.reshape(15, 8)[:, ::-1].reshape(-1))


def test_a_binding_exchanged_between_invocations(run: Run) -> None:
    body = """
  %c7 = arith.constant 7 : index
  %t = gpu.thread_id x
  %x = memref.load %b0[%t] : memref<?xi32>
  memref.store %x, %b1[%t] : memref<?xi32>
  gpu.barrier
  %o = arith.subi %c7, %t : index
  %y = memref.load %b1[%o] : memref<?xi32>
  gpu.barrier
  %z = arith.addi %x, %y : i32
  memref.store %z, %b1[%t] : memref<?xi32>
"""
    kernel = KernelText(body, [("i32", "read"), ("i32", "readwrite")])
    a = np.arange(8, dtype=np.int32) ** 2
    np.testing.assert_array_equal(run(kernel, [a, np.zeros_like(a)])[-1], a + a[::-1])


SCALARS = {
    "i1": np.True_, "i8": np.int8(-3), "i16": np.int16(-300), "i32": np.int32(-70000), "i64": np.int64(-(1 << 40) + 5),
    "f16": np.float16(1.5), "bf16": ml_dtypes.bfloat16(2.5), "f32": np.float32(-3.25), "f64": np.float64(1e300),
    "index": 4_000_000_123,
}  # fmt: skip


@pytest.mark.parametrize("padding", [0, 12])
@pytest.mark.parametrize("index_bits", [32, 64])
def test_scalars(run: Run, padding: int, index_bits: int) -> None:
    """Every type of scalar arrives, pushed or, with more words than fit, in a buffer."""
    types = [*SCALARS, *["i32"] * padding]
    stores = []
    for i, type in enumerate(SCALARS):
        kind = "i64" if type == "index" else type
        value = f"%s{i}"
        if type == "index":
            stores.append(f"%index = arith.index_cast %s{i} : index to i64")
            value = "%index"
        stores.append(f"memref.store {value}, %b{i}[%t] : memref<?x{kind}>")
    dtypes: dict[str, Any] = TYPES | {"index": np.int64}
    body = "%t = gpu.thread_id x\n" + "\n".join(stores)
    bindings = [("i64" if t == "index" else t, "write") for t in SCALARS]
    kernel = KernelText(body, bindings, types, workgroup=(1, 1, 1), index_bits=index_bits)
    values = dict(SCALARS)
    if index_bits == 32:
        values["index"] = 2_000_000_123
    scalars = [*values.values(), *range(padding)]
    got = run(kernel, [np.zeros(1, dtypes[t]) for t in SCALARS], scalars)
    for type, array in zip(SCALARS, got, strict=True):
        assert array[0] == values[type], type


def test_more_constants_than_can_be_pushed_with_a_check(run: Run, description: Any) -> None:
    from iree_target_vulkan.executable_format import SpirvExecutable

    body = """
  %t = gpu.thread_id x
  %c = arith.cmpi slt, %s0, %s19 : i32
  cf.assert %c, "no"
  memref.store %s19, %b0[%t] : memref<?xi32>
"""
    kernel = KernelText(body, [("i32", "write")], ["i32"] * 20)
    entry = SpirvExecutable.deserialize(kernel.compile(description).data).entry["k"]
    assert (entry.push_constant_words, entry.constants_binding, entry.status_binding) == (1, 1, 2)
    got = run(kernel, [np.zeros(8, np.int32)], [np.int32(i) for i in range(20)])[-1]
    np.testing.assert_array_equal(got, 19)


@pytest.mark.parametrize(("type", "lanes"), [("f16", 8), ("bf16", 8), ("i8", 16)])
def test_carried_vectors(run: Run, type: str, lanes: int) -> None:
    """16 bytes of narrow elements go through shared memory, a loop and a choice as they are."""
    vector = f"vector<{lanes}x{type}>"
    memory = f"memref<{8 * lanes}x{type}, #gpu.address_space<workgroup>>"
    body = f"""
  %m = memref.alloca() : {memory}
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c3 = arith.constant 3 : index
  %c7 = arith.constant 7 : index
  %lanes = arith.constant {lanes} : index
  %zero = arith.constant dense<0{"" if type == "i8" else ".0"}> : {vector}
  %t = gpu.thread_id x
  %i = arith.muli %t, %lanes : index
  %x = vector.load %b0[%i] : memref<?x{type}>, {vector}
  vector.store %x, %m[%i] : {memory}, {vector}
  gpu.barrier
  %o = arith.subi %c7, %t : index
  %j = arith.muli %o, %lanes : index
  %y = scf.for %k = %c0 to %c3 step %c1 iter_args(%a = %zero) -> ({vector}) {{
    %v = vector.load %m[%j] : {memory}, {vector}
    %q = arith.cmpi eq, %k, %c1 : index
    %z = arith.select %q, %v, %a : {vector}
    scf.yield %z : {vector}
  }}
  %w = vector.bitcast %y : {vector} to vector<4xi32>
  %u = vector.bitcast %w : vector<4xi32> to {vector}
  vector.store %u, %b1[%i] : memref<?x{type}>, {vector}
"""
    a = random(type, 8 * lanes)
    got = run(KernelText(body, [(type, "read"), (type, "write")]), [a, np.zeros_like(a)])[-1]
    expected = np.ascontiguousarray(a.reshape(8, lanes)[::-1]).reshape(-1)
    np.testing.assert_array_equal(got.view(np.uint8), expected.view(np.uint8))


@pytest.mark.parametrize("offset", [0, 4, 6])
def test_offsets_into_vectors(run: Run, offset: int) -> None:
    """Memory of vectors read through lanes and vectors at constant distances."""
    memory = "memref<48xf32, #gpu.address_space<workgroup>>"
    body = f"""
  %m = memref.alloca() : {memory}
  %c4 = arith.constant 4 : index
  %d = arith.constant {offset} : index
  %e = arith.constant {offset // 4 * 4} : index
  %t = gpu.thread_id x
  %i = arith.muli %t, %c4 : index
  %x = vector.load %b0[%i] : memref<?xf32>, vector<4xf32>
  vector.store %x, %m[%i] : {memory}, vector<4xf32>
  gpu.barrier
  %p = arith.addi %t, %d : index
  %y = memref.load %m[%p] : {memory}
  %q = arith.addi %i, %e : index
  %z = vector.load %b0[%q] : memref<?xf32>, vector<4xf32>
  %s = vector.broadcast %y : f32 to vector<4xf32>
  %r = arith.addf %s, %z : vector<4xf32>
  vector.store %r, %b1[%i] : memref<?xf32>, vector<4xf32>
"""
    a = random("f32", 48)
    got = run(KernelText(body, [("f32", "read"), ("f32", "readwrite")]), [a, np.zeros(32, np.float32)])[-1]
    base = offset // 4 * 4
    expected = a[offset : offset + 8, None] + a[base : base + 32].reshape(8, 4)
    np.testing.assert_array_equal(got.reshape(8, 4), expected)
