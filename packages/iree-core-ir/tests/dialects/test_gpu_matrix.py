"""gpu matrix fragments: MLIR's text and what the verifier refuses."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from iree_core_ir.dialects import gpu_matrix
from iree_core_ir.errors import ParseError, VerifyError
from iree_core_ir.ir.types import f16, f32
from iree_core_ir.text.parser import parse_module
from iree_core_ir.verifier import verify

TEXT = """module {
  func.func @f(%x: f32, %i: index, %m: memref<32x32xf16, 3>, %n: memref<?xf32>, %o: memref<?xi8>) {
    %0 = gpu.subgroup_mma_load_matrix %m[%i, %i] {leadDimension = 32 : index} : memref<32x32xf16, 3> -> !gpu.mma_matrix<16x8xf16, "AOp">
    %1 = gpu.subgroup_mma_load_matrix %m[%i, %i] {leadDimension = 32 : index, transpose} : memref<32x32xf16, 3> -> !gpu.mma_matrix<8x16xf16, "BOp">
    %2 = gpu.subgroup_mma_constant_matrix %x : !gpu.mma_matrix<16x16xf32, "COp">
    %3 = gpu.subgroup_mma_compute %0, %1, %2 : !gpu.mma_matrix<16x8xf16, "AOp">, !gpu.mma_matrix<8x16xf16, "BOp"> -> !gpu.mma_matrix<16x16xf32, "COp">
    %4 = gpu.subgroup_mma_elementwise addf %3, %2 : (!gpu.mma_matrix<16x16xf32, "COp">, !gpu.mma_matrix<16x16xf32, "COp">) -> !gpu.mma_matrix<16x16xf32, "COp">
    %5 = gpu.subgroup_mma_elementwise truncf %4 : (!gpu.mma_matrix<16x16xf32, "COp">) -> !gpu.mma_matrix<16x16xf16, "COp">
    gpu.subgroup_mma_store_matrix %4, %n[%i] {leadDimension = 16 : index} : !gpu.mma_matrix<16x16xf32, "COp">, memref<?xf32>
    %6 = gpu.subgroup_mma_load_matrix %o[%i] {leadDimension = 32 : index} : memref<?xi8> -> !gpu.mma_matrix<16x32xsi8, "AOp">
    return
  }
}
"""


def test_text_is_printed_as_it_was_read(round_trip: Callable[[str], str]) -> None:
    assert round_trip(TEXT) == TEXT


def test_every_op_has_a_text_here(ops_of: Callable[[str], set[str]]) -> None:
    assert {op.name for op in gpu_matrix.OPS} <= ops_of(TEXT)


def test_type() -> None:
    type = gpu_matrix.MMAMatrixType((16, 8), f16, "AOp")
    assert str(type) == '!gpu.mma_matrix<16x8xf16, "AOp">'
    assert gpu_matrix.MMAMatrixType((16, 16), gpu_matrix.si8, "BOp").memory_type is not gpu_matrix.si8
    with pytest.raises(ValueError, match="'DOp' is not one of AOp"):
        gpu_matrix.MMAMatrixType((16, 16), f32, "DOp")
    with pytest.raises(ValueError, match="two static dims"):
        gpu_matrix.MMAMatrixType((16,), f32, "AOp")
    with pytest.raises(ParseError, match="no element type"):
        parse_module('func.func private @f(!gpu.mma_matrix<4x4xi64, "AOp">)')


M = '!gpu.mma_matrix<16x16x{0}, "{1}">'


@pytest.mark.parametrize(
    ("body", "arguments", "message"),
    [
        (
            "gpu.subgroup_mma_store_matrix %a, %m[%i] {leadDimension = 16 : index} : A, memref<?xf16>",
            "",
            "stores a COp",
        ),
        ("%r = gpu.subgroup_mma_compute %b, %a, %c : B, A -> C", "", "operands must be AOp, BOp, COp"),
        (
            "%r = gpu.subgroup_mma_load_matrix %m[%i] {leadDimension = 16 : index} : memref<?xf16> -> C",
            "",
            "does not lie in memref",
        ),
        (
            "%r = gpu.subgroup_mma_load_matrix %m[] {leadDimension = 16 : index} : memref<?xf16> -> A",
            "",
            "0 indices into",
        ),
        ("%r = gpu.subgroup_mma_elementwise addf %c : (C) -> C", "", "addf of 1 fragments"),
        ("%r = gpu.subgroup_mma_elementwise addf %a, %b : (A, B) -> A", "", "addf of"),
    ],
)
def test_misuse_is_refused(body: str, arguments: str, message: str) -> None:
    for letter, type in (
        ("A", M.format("f16", "AOp")),
        ("B", M.format("f16", "BOp")),
        ("C", M.format("f32", "COp")),
    ):
        body = " ".join(
            word.replace(letter, type) if word.strip("(),") == letter else word for word in body.split(" ")
        )
    a, b, c = M.format("f16", "AOp"), M.format("f16", "BOp"), M.format("f32", "COp")
    text = f"func.func @f(%m: memref<?xf16>, %i: index, %a: {a}, %b: {b}, %c: {c}) {{\n{body}\nreturn\n}}"
    with pytest.raises(VerifyError, match=message):
        verify(parse_module(text))
