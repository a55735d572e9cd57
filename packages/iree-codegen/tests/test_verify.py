"""The forms are checked: each rule has a kernel that breaks it."""

from __future__ import annotations

import pytest

from iree_codegen.errors import CodegenError
from iree_codegen.verify import verify_form, verify_workgroup_form
from iree_core_ir.text.parser import parse_module

TAIL = "%x: index, %y: index, %z: index, %s: memref<?xi8>"
ATTRIBUTES = "attributes {iree.bindings = 1 : i64, iree.kernel}"


def check(body: str = "", arguments: str = f"%b: memref<?xf32>, {TAIL}", more: str = "") -> None:
    verify_workgroup_form(
        parse_module(f"func.func @k({arguments}) {ATTRIBUTES} {{\n {body}\n return\n}}\n{more}")
    )


def test_a_good_kernel() -> None:
    check(
        "%v = vector.load %b[%x] : memref<?xf32>, vector<8xf32>\n vector.store %v, %b[%x] : memref<?xf32>, vector<8xf32>"
    )


@pytest.mark.parametrize(
    ("body", "arguments"),
    [
        ("%e = tensor.empty() : tensor<4xf32>", None),
        ("%v = arith.constant dense<0.0> : vector<2x2xf32>", None),
        ("%m = memref.alloca() : memref<4xf32>", None),
        ("", f"%b: memref<4xf32>, {TAIL}"),
        ("", f"%n: index, %b: memref<?xf32>, {TAIL}"),
        ("", "%b: memref<?xf32>, %x: index, %y: index, %z: index"),
        ("func.call @missing() : () -> ()", None),
        ("func.call @k(%b, %x, %y, %z, %s) : (memref<?xf32>, index, index, index, memref<?xi8>) -> ()", None),
    ],
)
def test_broken_kernels(body: str, arguments: str | None) -> None:
    with pytest.raises(CodegenError) as caught:
        check(body, **({} if arguments is None else {"arguments": arguments}))
    assert caught.value.code == "IREE-CODEGEN-004"


def test_two_entries() -> None:
    with pytest.raises(CodegenError):
        check(more=f"func.func @other(%b: memref<?xf32>, {TAIL}) {ATTRIBUTES} {{ return }}")


GPU = (
    "attributes {iree.bindings = 1 : i64, iree.kernel, iree.workgroup_size = array<i64: 8, 1, 1>, "
    "iree.subgroup_size = 4 : i64, iree.index_bits = 32 : i64}"
)


def check_invocations(body: str = "", attributes: str = GPU) -> None:
    verify_form(
        parse_module(f"func.func @k(%b: memref<?xf32>, {TAIL}) {attributes} {{\n {body}\n return\n}}")
    )


def test_a_good_invocation() -> None:
    check_invocations(
        """%m = memref.alloca() : memref<8xf32, #gpu.address_space<workgroup>>
    %t = gpu.thread_id x
    %v = vector.load %b[%t] : memref<?xf32>, vector<4xf32>
    %e = vector.extract %v[0] : f32 from vector<4xf32>
    memref.store %e, %m[%t] : memref<8xf32, #gpu.address_space<workgroup>>
    gpu.barrier
    %r = gpu.subgroup_reduce add %e : (f32) -> f32"""
    )


@pytest.mark.parametrize(
    "body",
    [
        "%v = arith.constant dense<0.0> : vector<8xf32>",
        "%m = memref.alloca() : memref<4xf32>",
        "%m = memref.alloca(%x) : memref<?xf32, #gpu.address_space<private>>",
        "scf.for %i = %x to %y step %z {\n %m = memref.alloca() : memref<4xf32, #gpu.address_space<private>>\n }",
        "func.call @k(%b, %x, %y, %z, %s) : (memref<?xf32>, index, index, index, memref<?xi8>) -> ()",
        "%w = gpu.block_id x",
        '%c = arith.constant true\n cf.assert %c, "never"\n gpu.barrier',
    ],
)
def test_broken_invocations(body: str) -> None:
    with pytest.raises(CodegenError) as caught:
        check_invocations(body)
    assert caught.value.code == "IREE-CODEGEN-004"


@pytest.mark.parametrize("missing", ["iree.subgroup_size = 4 : i64, ", ", iree.index_bits = 32 : i64"])
def test_an_invocation_says_what_it_counts_on(missing: str) -> None:
    with pytest.raises(CodegenError):
        check_invocations(attributes=GPU.replace(missing, ""))
