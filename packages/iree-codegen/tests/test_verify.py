"""The workgroup form is checked: each rule has a kernel that breaks it."""

from __future__ import annotations

import pytest

from iree_codegen.errors import CodegenError
from iree_codegen.verify import verify_workgroup_form
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
