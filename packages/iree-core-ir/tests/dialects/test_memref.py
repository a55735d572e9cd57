"""memref: text of every op, inferred view types, what the verifier rejects."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from iree_core_ir.dialects import memref
from iree_core_ir.dialects.strided import identity_strides, strided_type, strides_and_offset
from iree_core_ir.errors import VerifyError
from iree_core_ir.ir.affine import AffineMap
from iree_core_ir.ir.operation import Block
from iree_core_ir.ir.types import DYNAMIC, MemRefType, StridedLayoutAttr, f32, index
from iree_core_ir.text.parser import parse_module, parse_type
from iree_core_ir.verifier import verify

LINES = """
%alloc = memref.alloc() : memref<4x8xf32>
%0 = memref.alloc(%i) {alignment = 64 : i64} : memref<?x8xf32>
%1 = memref.alloca(%i) : memref<?xf32>
memref.dealloc %alloc : memref<4x8xf32>
%2 = memref.load %m[%i, %i] : memref<4x8xf32>
memref.store %f, %m[%i, %i] : memref<4x8xf32>
memref.copy %m, %m : memref<4x8xf32> to memref<4x8xf32>
memref.prefetch %m[%i, %i], read, locality<3>, data : memref<4x8xf32>
memref.prefetch %m[%i, %i], write, locality<0>, instr : memref<4x8xf32>
%3 = memref.dim %m, %i : memref<4x8xf32>
%4 = memref.rank %m : memref<4x8xf32>
%5 = memref.cast %m : memref<4x8xf32> to memref<?x8xf32, strided<[?, 1], offset: ?>>
%6 = memref.memory_space_cast %m : memref<4x8xf32> to memref<4x8xf32, 3>
%7 = memref.subview %m[%i, 1] [2, 4] [1, 2] : memref<4x8xf32> to memref<2x4xf32, strided<[8, 2], offset: ?>>
%8 = memref.subview %m[1, 0] [1, 8] [1, 1] : memref<4x8xf32> to memref<8xf32, strided<[1], offset: 8>>
%9 = memref.reinterpret_cast %m to offset: [%i], sizes: [8, %i], strides: [4, 1] : memref<4x8xf32> to memref<8x?xf32, strided<[4, 1], offset: ?>>
%10 = memref.collapse_shape %m [[0, 1]] : memref<4x8xf32> into memref<32xf32>
%11 = memref.expand_shape %m [[0, 1], [2]] output_shape [2, 2, 8] : memref<4x8xf32> into memref<2x2x8xf32>
%12 = memref.transpose %m (d0, d1) -> (d1, d0) : memref<4x8xf32> to memref<8x4xf32, strided<[1, 8]>>
%13 = memref.reshape %m(%shape) : (memref<4x8xf32>, memref<1xindex>) -> memref<32xf32>
%14 = memref.view %bytes[%i][%i] : memref<?xi8> to memref<?x4xf32>
%15 = memref.assume_alignment %m, 64 : memref<4x8xf32>
%16 = memref.get_global @c : memref<2xi32>
%base, %offset, %sizes:2, %strides:2 = memref.extract_strided_metadata %m : memref<4x8xf32> -> memref<f32>, index, index, index, index, index
"""


def module(body: str) -> str:
    return f"""memref.global "private" constant @c : memref<2xi32> = dense<[1, 2]>
    memref.global @u : memref<2xf32> = uninitialized
    memref.global "public" @d : memref<3xf32> {{alignment = 64 : i64}}
    func.func @f(%m: memref<4x8xf32>, %bytes: memref<?xi8>, %shape: memref<1xindex>, %i: index, %f: f32) {{
    {body}
    return
    }}"""


def test_every_op_prints_as_mlir_does(
    round_trip: Callable[[str], str], ops_of: Callable[[str], set[str]]
) -> None:
    printed = round_trip(module(LINES))
    found = [line.strip() for line in printed.splitlines()]
    missing = [line for line in LINES.strip().splitlines() if line not in found and "%sizes:2" not in line]
    assert missing == []
    assert 'memref.global "private" constant @c : memref<2xi32> = dense<[1, 2]>' in found
    assert "memref.global @u : memref<2xf32> = uninitialized" in found
    assert 'memref.global "public" @d : memref<3xf32> {alignment = 64 : i64}' in found
    assert set(memref.DIALECT.ops) == {n for n in ops_of(module(LINES)) if n.startswith("memref.")}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("%0 = memref.alloc() : memref<?xf32>", "0 sizes for 1 dynamic dims"),
        ("%0 = memref.alloc() {alignment = 3 : i64} : memref<4xf32>", "no power of two"),
        ("%0 = memref.load %m[%i] : memref<4x8xf32>", "1 indices into"),
        ("%0 = memref.cast %m : memref<4x8xf32> to memref<4x9xf32>", "shapes are incompatible"),
        (
            "%0 = memref.cast %m : memref<4x8xf32> to memref<4x8xf32, strided<[1, 4]>>",
            "strides are incompatible",
        ),
        ("%0 = memref.subview %m[0, 0] [5, 8] [1, 1] : memref<4x8xf32> to memref<5x8xf32>", "out of bounds"),
        ("%0 = memref.subview %m[1, 0] [2, 8] [1, 1] : memref<4x8xf32> to memref<2x8xf32>", "offset: 8"),
        (
            "%0 = memref.subview %m[0, 0] [2, 4] [1, 1] : memref<4x8xf32> to memref<2x4xf32>",
            "expected memref<2x4xf32, strided<\\[8, 1\\]>>",
        ),
        (
            "%0 = memref.collapse_shape %s [[0, 1]] : memref<2x4xf32, strided<[8, 1]>> into memref<8xf32>",
            "not contiguous",
        ),
        (
            "%0 = memref.collapse_shape %m [[0], [1]] : memref<4x8xf32> into memref<32xf32>",
            "2 reassociation groups",
        ),
        (
            "%0 = memref.expand_shape %m [[0, 1], [2]] output_shape [2, 3, 8] : memref<4x8xf32> into memref<2x3x8xf32>",
            "has 6 elements",
        ),
        (
            "%0 = memref.transpose %m (d0, d1) -> (d0, d0) : memref<4x8xf32> to memref<4x8xf32>",
            "no permutation",
        ),
        ("%0 = memref.view %shape[%i][] : memref<1xindex> to memref<4xf32>", "1-D memref of i8"),
        (
            "%0 = memref.reinterpret_cast %m to offset: [0], sizes: [8], strides: [1] : memref<4x8xf32> to memref<9xf32>",
            "expected memref<8xf32>",
        ),
        ("%0 = memref.assume_alignment %m, 3 : memref<4x8xf32>", "no power of two"),
        ("memref.prefetch %m[%i, %i], read, locality<4>, data : memref<4x8xf32>", "not in 0..3"),
    ],
)
def test_the_verifier_rejects(body: str, message: str) -> None:
    text = module(body).replace("%f: f32)", "%f: f32, %s: memref<2x4xf32, strided<[8, 1]>>)")
    with pytest.raises(VerifyError, match=message):
        verify(parse_module(text))


def test_globals_need_static_types_and_matching_values() -> None:
    with pytest.raises(VerifyError, match="static shape"):
        verify(parse_module("memref.global @d : memref<?xf32>"))


def test_view_types() -> None:
    block = Block([MemRefType([4, 8], f32), MemRefType([DYNAMIC, 8], f32), index])
    x, y, i = block.args
    sub = memref.SubView.make
    assert str(sub(x, [1, 2], [2, 3], [2, 1]).result.type) == "memref<2x3xf32, strided<[16, 1], offset: 10>>"
    assert (
        str(sub(x, [i, 0], [1, 8], result_shape=[8]).result.type) == "memref<8xf32, strided<[1], offset: ?>>"
    )
    assert sub(x, [0, 0], [4, 8]).result.type is x.type
    assert str(memref.CollapseShape.make(y, [[0, 1]]).result.type) == "memref<?xf32>"
    strided = strided_type([4, 2, 3], f32, [100, 3, 1], 5)
    block.add_arg(strided)
    collapsed = memref.CollapseShape.make(block.args[-1], [[0], [1, 2]]).result.type
    assert str(collapsed) == "memref<4x6xf32, strided<[100, 1], offset: 5>>"
    expanded = memref.ExpandShape.make(block.args[-1], [[0, 1], [2], [3]], [2, 2, 2, 3]).result.type
    assert str(expanded) == "memref<2x2x2x3xf32, strided<[200, 100, 3, 1], offset: 5>>"
    turned = memref.Transpose.make(x, AffineMap.select(2, [1, 0])).result.type
    assert turned.layout is StridedLayoutAttr([1, 8])


def test_strides_of_types() -> None:
    assert identity_strides([2, 3, 4]) == (12, 4, 1)
    assert identity_strides([2, DYNAMIC, 4]) == (DYNAMIC, 4, 1)
    assert strides_and_offset(parse_type("memref<2x3xf32>")) == ((3, 1), 0)
    assert strides_and_offset(parse_type("memref<2x3xf32, strided<[?, 1], offset: 7>>")) == ((DYNAMIC, 1), 7)
    with pytest.raises(ValueError, match="no strided layout"):
        strides_and_offset(parse_type("memref<2x3xf32, affine_map<(d0, d1) -> (d1, d0)>>"))
    assert strided_type([2, 3], f32, [3, 1], 0).layout is None


def test_xdsl_reads_what_we_print(xdsl_refuses: Callable[[str, str], list[str]]) -> None:
    """It reads these four in generic form only."""
    refused = xdsl_refuses(module(LINES), "memref")
    assert [line.split(" = ")[-1].split()[0] for line in refused] == [
        "memref.copy",
        "memref.rank",
        "memref.cast",
        "memref.memory_space_cast",
    ]
