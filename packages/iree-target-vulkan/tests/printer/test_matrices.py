"""Matrix fragments as cooperative matrices: valid for every combination of types, memory and layout; right on
devices that have them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from vulkan_kernels import KernelText, Run

from iree_target_vulkan.description import describe
from iree_target_vulkan.errors import MISSING_FEATURE, VulkanError
from iree_target_vulkan.executable_format import SpirvExecutable
from iree_target_vulkan.spirv.disassembler import disassemble

HOPPER = describe({"vulkan-profile": "nvidia-hopper"})


def product(a: str, c: str, k: int, *, transpose: bool, space: str, lanes: int) -> KernelText:
    """C = A * B for one fragment each, A and B staged through ``space``."""
    element = "i8" if a in ("si8", "ui8") else a
    types = {role: f'!gpu.mma_matrix<{shape}x{e}, "{role}">' for role, shape, e in (
        ("AOp", f"16x{k}", a), ("BOp", f"{k}x16", a), ("COp", "16x16", c)
    )}  # fmt: skip
    memory = f"memref<{16 * k}x{element}, #gpu.address_space<workgroup>>"
    source = memory if space == "shared" else f"memref<?x{element}>"
    vector = element if lanes == 1 else f"vector<{lanes}x{element}>"
    load, store = ("memref.load", "memref.store") if lanes == 1 else ("vector.load", "vector.store")
    suffix = "" if lanes == 1 else f", {vector}"
    names = ("%ma", "%mb") if space == "shared" else ("%b0", "%b1")
    flag = ", transpose" if transpose else ""
    staged = f"""
  scf.for %v = %t to %vectors step %c32 {{
    %i = arith.muli %v, %lanes : index
    %x = {load} %b0[%i] : memref<?x{element}>{suffix}
    {store} %x, %ma[%i] : {memory}{suffix}
    %y = {load} %b1[%i] : memref<?x{element}>{suffix}
    {store} %y, %mb[%i] : {memory}{suffix}
  }}
  gpu.barrier"""
    zero = "0" if c == "i32" else "0.0"
    body = f"""
  %ma = memref.alloca() : {memory}
  %mb = memref.alloca() : {memory}
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c3 = arith.constant 3 : index
  %c32 = arith.constant 32 : index
  %lanes = arith.constant {lanes} : index
  %vectors = arith.constant {16 * k // lanes} : index
  %t = gpu.thread_id x
  {staged if space == "shared" else ""}
  %zero = arith.constant {zero} : {c}
  %start = gpu.subgroup_mma_constant_matrix %zero : {types["COp"]}
  %sum = scf.for %n = %c0 to %c3 step %c1 iter_args(%acc = %start) -> ({types["COp"]}) {{
    %fa = gpu.subgroup_mma_load_matrix {names[0]}[%c0] {{leadDimension = {k} : index}} : {source} -> {types["AOp"]}
    %fb = gpu.subgroup_mma_load_matrix {names[1]}[%c0] {{leadDimension = {k if transpose else 16} : index{flag}}} : {source} -> {types["BOp"]}
    %p = gpu.subgroup_mma_compute %fa, %fb, %acc : {types["AOp"]}, {types["BOp"]} -> {types["COp"]}
    scf.yield %p : {types["COp"]}
  }} {{iree.dont_unroll}}
  gpu.subgroup_mma_store_matrix %sum, %b2[%c0] {{leadDimension = 16 : index}} : {types["COp"]}, memref<?x{c}>
"""
    bindings = [(element, "read"), (element, "read"), (c, "write")]
    return KernelText(body, bindings, workgroup=(32, 1, 1), subgroup=32)


@pytest.mark.parametrize("transpose", [False, True])
@pytest.mark.parametrize(("space", "lanes"), [("global", 1), ("shared", 1), ("shared", 4), ("shared", 0)])
@pytest.mark.parametrize(
    ("a", "c", "k", "shape"),
    [
        ("f16", "f32", 16, "16x16x16:f16:f16:f32"),
        ("f16", "f16", 16, "16x16x16:f16:f16:f16"),
        ("bf16", "f32", 16, "16x16x16:bf16:bf16:f32"),
        ("si8", "i32", 32, "16x16x32:i8:i8:i32"),
        ("ui8", "i32", 32, "16x16x32:u8:u8:u32"),
    ],
)
def test_products(
    validate: Callable[[bytes], None],
    a: str,
    c: str,
    k: int,
    shape: str,
    space: str,
    lanes: int,
    transpose: bool,
) -> None:
    lanes = lanes or (16 if "8" in a else 8)
    compiled = product(a, c, k, transpose=transpose, space=space, lanes=lanes).compile(HOPPER)
    executable = SpirvExecutable.deserialize(compiled.data)
    validate(executable.words)
    assert f"cooperativeMatrix:{shape}" in executable.features
    assert executable.entry["k"].subgroup_size == 32
    assert executable.spirv_version == (1, 6)
    text = disassemble(executable.words)
    assert "OpMemoryModel Logical Vulkan" in text
    assert "DontUnroll" in text


DTYPES = {"f16": np.float16, "bf16": ml_dtypes.bfloat16, "f32": np.float32, "si8": np.int8, "i32": np.int32}


@pytest.mark.parametrize("transpose", [False, True])
@pytest.mark.parametrize(("space", "lanes"), [("global", 1), ("shared", 1), ("shared", 4), ("shared", 0)])
@pytest.mark.parametrize(
    ("a", "c", "k"), [("f16", "f32", 16), ("f16", "f16", 16), ("bf16", "f32", 16), ("si8", "i32", 32)]
)
def test_products_on_the_device(
    run: Run, description: Any, a: str, c: str, k: int, space: str, lanes: int, transpose: bool
) -> None:
    """Small integers: every sum is exact, whatever its order."""
    name = a.removeprefix("s")
    if (16, 16, k, name, name, c, c) not in description.matrix_shapes:
        pytest.skip(f"the device has no cooperative matrices of {a} in this shape")
    kernel = product(a, c, k, transpose=transpose, space=space, lanes=lanes or (16 if a == "si8" else 8))
    rng = np.random.default_rng(1)
    left, right = (rng.integers(-4, 5, 16 * k).astype(DTYPES[a]) for _ in range(2))
    x, y = left.astype(np.float64).reshape(16, k), right.astype(np.float64)
    y = y.reshape(16, k).T if transpose else y.reshape(k, 16)
    got = run(kernel, [left, right, np.zeros(256, DTYPES[c])])[-1]
    np.testing.assert_array_equal(got.astype(np.float64).reshape(16, 16), 3 * (x @ y))


ELEMENTWISE = ("addf", "subf", "mulf", "divf", "maxf", "minf", "negatef")


@pytest.mark.parametrize("type", ["f16", "f32"])
def test_elementwise(validate: Callable[[bytes], None], type: str) -> None:
    fragment = f'!gpu.mma_matrix<16x16x{type}, "COp">'
    other = "f32" if type == "f16" else "f16"
    changed = f'!gpu.mma_matrix<16x16x{other}, "COp">'
    lines = [
        f"%r{n} = gpu.subgroup_mma_elementwise {name} %x{'' if name == 'negatef' else ', %x'} : "
        f"({fragment}{'' if name == 'negatef' else f', {fragment}'}) -> {fragment}\n"
        f"  gpu.subgroup_mma_store_matrix %r{n}, %b1[%c0] {{leadDimension = 16 : index}} : {fragment}, memref<?x{type}>"
        for n, name in enumerate(ELEMENTWISE)
    ]
    cast = "extf" if type == "f16" else "truncf"
    body = "\n  ".join([
        "%c0 = arith.constant 0 : index",
        f"%x = gpu.subgroup_mma_load_matrix %b0[%c0] {{leadDimension = 16 : index}} : memref<?x{type}> -> {fragment}",
        *lines,
        f"%y = gpu.subgroup_mma_elementwise {cast} %x : ({fragment}) -> {changed}",
        f"gpu.subgroup_mma_store_matrix %y, %b2[%c0] {{leadDimension = 16 : index}} : {changed}, memref<?x{other}>",
    ])  # fmt: skip
    bindings = [(type, "read"), (type, "readwrite"), (other, "write")]
    kernel = KernelText(body, bindings, workgroup=(32, 1, 1), subgroup=32)
    validate(SpirvExecutable.deserialize(kernel.compile(HOPPER).data).words)


@pytest.mark.parametrize("profile", ["desktop", "lavapipe"])
def test_devices_without_them(profile: str) -> None:
    kernel: Any = product("f16", "f32", 16, transpose=False, space="shared", lanes=4)
    with pytest.raises(VulkanError) as caught:
        kernel.compile(describe({"vulkan-profile": profile}))
    assert caught.value.number == MISSING_FEATURE
    assert "cooperativeMatrix" in str(caught.value)


def test_shapes_without_them() -> None:
    """A shape that the device does not list is missing by its name."""
    kernel = product("f16", "f32", 32, transpose=False, space="shared", lanes=4)
    with pytest.raises(VulkanError, match="cooperativeMatrix:16x16x32:f16:f16:f32"):
        kernel.compile(HOPPER)
