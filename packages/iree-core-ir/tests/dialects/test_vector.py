"""vector: text of every op, inferred types, what the verifier rejects."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from iree_core_ir.dialects import vector
from iree_core_ir.errors import VerifyError
from iree_core_ir.ir.operation import Block
from iree_core_ir.ir.traits import PURE, READS
from iree_core_ir.ir.types import MemRefType, TensorType, VectorType, f32, index
from iree_core_ir.text.parser import parse_module
from iree_core_ir.verifier import verify

LINES = """
%0 = vector.load %m[%i, %i] : memref<?x16xf32>, vector<8xf32>
vector.store %v, %m[%i, %i] : memref<?x16xf32>, vector<8xf32>
%1 = vector.maskedload %m[%i, %i], %k, %v : memref<?x16xf32>, vector<8xi1>, vector<8xf32> into vector<8xf32>
vector.maskedstore %m[%i, %i], %k, %v : memref<?x16xf32>, vector<8xi1>, vector<8xf32>
%2 = vector.expandload %m[%i, %i], %k, %v : memref<?x16xf32>, vector<8xi1>, vector<8xf32> into vector<8xf32>
vector.compressstore %m[%i, %i], %k, %v : memref<?x16xf32>, vector<8xi1>, vector<8xf32>
%3 = vector.gather %m[%i, %i] [%n], %k, %v : memref<?x16xf32>, vector<8xi32>, vector<8xi1>, vector<8xf32> into vector<8xf32>
vector.scatter %m[%i, %i] [%n], %k, %v : memref<?x16xf32>, vector<8xi32>, vector<8xi1>, vector<8xf32>
%4 = vector.broadcast %f : f32 to vector<4x8xf32>
%5 = vector.broadcast %v : vector<8xf32> to vector<4x8xf32>
%6 = vector.splat %f : vector<8xf32>
%7 = vector.shuffle %v, %v [0, 9, -1] : vector<8xf32>, vector<8xf32>
%8 = vector.extract %w[1] : vector<8xf32> from vector<4x8xf32>
%9 = vector.extract %w[1, %i] : f32 from vector<4x8xf32>
%10 = vector.insert %f, %w [1, %i] : f32 into vector<4x8xf32>
%11 = vector.insert %v, %w [1] : vector<8xf32> into vector<4x8xf32>
%12 = vector.extractelement %v[%i : index] : vector<8xf32>
%13 = vector.extractelement %z[] : vector<f32>
%14 = vector.insertelement %f, %v[%i : index] : vector<8xf32>
%15 = vector.fma %v, %v, %v : vector<8xf32>
%16 = vector.reduction <add>, %v : vector<8xf32> into f32
%17 = vector.reduction <maximumf>, %v, %f fastmath<contract> : vector<8xf32> into f32
%18 = vector.multi_reduction <mul>, %w, %v [0] : vector<4x8xf32> to vector<8xf32>
%19 = vector.multi_reduction <add>, %w, %f [0, 1] : vector<4x8xf32> to f32
%20 = vector.bitcast %v : vector<8xf32> to vector<16xi16>
%21 = vector.transfer_read %m[%i, %i], %f : memref<?x16xf32>, vector<8xf32>
%22 = vector.transfer_read %t[%i, %i], %f, %k {in_bounds = [true]} : tensor<?x16xf32>, vector<8xf32>
%23 = vector.transfer_read %m[%i, %i], %f {permutation_map = affine_map<(d0, d1) -> (d1, d0)>} : memref<?x16xf32>, vector<4x8xf32>
%24 = vector.transfer_read %m[%i, %i], %f {permutation_map = affine_map<(d0, d1) -> (0, d1)>} : memref<?x16xf32>, vector<4x8xf32>
vector.transfer_write %v, %m[%i, %i] : vector<8xf32>, memref<?x16xf32>
%25 = vector.transfer_write %v, %t[%i, %i], %k : vector<8xf32>, tensor<?x16xf32>
%26 = vector.constant_mask [3] : vector<8xi1>
%27 = vector.create_mask %i, %i : vector<4x8xi1>
%28 = vector.shape_cast %w : vector<4x8xf32> to vector<32xf32>
%29 = vector.outerproduct %v, %v : vector<8xf32>, vector<8xf32>
%30 = vector.outerproduct %v, %f : vector<8xf32>, f32
%31 = vector.outerproduct %v, %v, %29 {kind = #vector.kind<maxnumf>} : vector<8xf32>, vector<8xf32>
%32 = vector.contract {indexing_maps = [#map, #map, #map1], iterator_types = ["reduction"], kind = #vector.kind<add>} %v, %v, %f : vector<8xf32>, vector<8xf32> into f32
%33 = vector.transpose %w, [1, 0] : vector<4x8xf32> to vector<8x4xf32>
%34 = vector.step : vector<4xindex>
%35 = vector.from_elements %f, %f : vector<2xf32>
%36:2 = vector.to_elements %35 : vector<2xf32>
%37 = vector.extract_strided_slice %w {offsets = [1, 2], sizes = [2, 4], strides = [1, 1]} : vector<4x8xf32> to vector<2x4xf32>
%38 = vector.insert_strided_slice %37, %w {offsets = [1, 2], strides = [1, 1]} : vector<2x4xf32> into vector<4x8xf32>
%39 = vector.interleave %v, %v : vector<8xf32> -> vector<16xf32>
%40:2 = vector.deinterleave %v : vector<8xf32> -> vector<4xf32>
%41:2 = vector.scan <add>, %w, %v {inclusive = true, reduction_dim = 0 : i64} : vector<4x8xf32>, vector<8xf32>
"""
SIGNATURE = (
    "%m: memref<?x16xf32>, %t: tensor<?x16xf32>, %v: vector<8xf32>, %w: vector<4x8xf32>, %k: vector<8xi1>,"
    " %n: vector<8xi32>, %z: vector<f32>, %i: index, %f: f32"
)


def module(body: str) -> str:
    maps = "#map = affine_map<(d0) -> (d0)>\n#map1 = affine_map<(d0) -> ()>\n"
    return f"{maps}func.func @f({SIGNATURE}) {{\n{body}\nreturn\n}}"


def test_every_op_prints_as_mlir_does(
    round_trip: Callable[[str], str], ops_of: Callable[[str], set[str]]
) -> None:
    printed = round_trip(module(LINES))
    # Maps become aliases numbered by first use.
    for name, text in (line.split(" = ", 1) for line in printed.splitlines() if line.startswith("#map")):
        printed = printed.replace(f"= {name}}}", f"= {text}}}")
    found = [line.strip() for line in printed.splitlines()]
    skipped = ("vector.contract",)
    missing = [
        line
        for line in LINES.strip().splitlines()
        if line not in found and not any(s in line for s in skipped)
    ]
    assert missing == []
    assert (
        'iterator_types = ["reduction"], kind = #vector.kind<add>} %v, %v, %f : vector<8xf32>, vector<8xf32> into f32'
        in printed
    )
    assert set(vector.DIALECT.ops) <= ops_of(module(LINES))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("%0 = vector.load %m[%i] : memref<?x16xf32>, vector<8xf32>", "1 indices into"),
        ("%0 = vector.load %m[%i, %i] : memref<?x16xf32>, vector<8xi32>", "does not fit elements"),
        ("%0 = vector.load %m[%i, %i] : memref<?x16xf32>, vector<2x2x2xf32>", "more dims"),
        (
            "%0 = vector.maskedload %m[%i, %i], %n, %v : memref<?x16xf32>, vector<8xi32>, vector<8xf32> into vector<8xf32>",
            "mask has element type i1",
        ),
        ("%0 = vector.broadcast %v : vector<8xf32> to vector<8x4xf32>", "does not broadcast"),
        ("%0 = vector.broadcast %f : f32 to vector<8xi32>", "element types"),
        ("%0 = vector.shuffle %v, %v [0, 16] : vector<8xf32>, vector<8xf32>", r"16 is not in -1\.\.15"),
        ("%0 = vector.extract %w[4] : vector<8xf32> from vector<4x8xf32>", "outside a dim of size 4"),
        ("%0 = vector.extract %w[1] : f32 from vector<4x8xf32>", "expected vector<8xf32>"),
        (
            "%0 = vector.insert %f, %w [1] : f32 into vector<4x8xf32>",
            "expected a value of type vector<8xf32>",
        ),
        ("%0 = vector.extractelement %w[%i : index] : vector<4x8xf32>", "1-D vectors only"),
        ("%0 = vector.reduction <and>, %v : vector<8xf32> into f32", "does not combine"),
        ("%0 = vector.reduction <add>, %w : vector<4x8xf32> into f32", "reduces 1-D"),
        ("%0 = vector.multi_reduction <add>, %w, %f [0] : vector<4x8xf32> to f32", "must be vector<8xf32>"),
        ("%0 = vector.bitcast %v : vector<8xf32> to vector<8xi16>", "bits a row"),
        ("%0 = vector.shape_cast %v : vector<8xf32> to vector<7xf32>", "differ in elements"),
        ("%0 = vector.transpose %w, [0, 0] : vector<4x8xf32> to vector<4x4xf32>", "no permutation"),
        ("%0 = vector.constant_mask [9] : vector<8xi1>", r"not in 0\.\.8"),
        ("%0 = vector.create_mask %i : vector<4x8xi1>", "1 sizes for a mask"),
        ("%0 = vector.step : vector<4x2xindex>", "1-D vector of index"),
        ("%0 = vector.from_elements %f : vector<2xf32>", "1 elements for"),
        (
            "%0 = vector.extract_strided_slice %w {offsets = [3], sizes = [2], strides = [1]} : vector<4x8xf32> to vector<2x8xf32>",
            "do not fit",
        ),
        (
            "%0 = vector.extract_strided_slice %w {offsets = [0], sizes = [2], strides = [2]} : vector<4x8xf32> to vector<2x8xf32>",
            "strides must be 1",
        ),
        (
            "%0 = vector.transfer_read %m[%i, %i], %f {in_bounds = [true, true]} : memref<?x16xf32>, vector<8xf32>",
            "in_bounds needs 1",
        ),
        (
            "vector.transfer_write %w, %m[%i, %i] {permutation_map = affine_map<(d0, d1) -> (0, d1)>} : vector<4x8xf32>, memref<?x16xf32>",
            "cannot broadcast",
        ),
        (
            '%0 = vector.contract {indexing_maps = [#map, #map, #map], iterator_types = ["reduction"], kind = #vector.kind<add>} %v, %v, %v : vector<8xf32>, vector<8xf32> into vector<8xf32>',
            "contradicts",
        ),
        ("%0 = vector.outerproduct %w, %v : vector<4x8xf32>, vector<8xf32>", "takes a 1-D vector"),
    ],
)
def test_the_verifier_rejects(body: str, message: str) -> None:
    with pytest.raises(VerifyError, match=message):
        verify(parse_module(module(body)))


def test_transfers_are_pure_on_tensors_only() -> None:
    block = Block([TensorType([8], f32), MemRefType([8], f32), index, f32])
    t, m, i, f = block.args
    type = VectorType([4], f32)
    on_tensor, on_memref = (vector.TransferRead.make(x, [i], f, type) for x in (t, m))
    assert PURE in on_tensor.traits and READS not in on_tensor.traits
    assert READS in on_memref.traits and PURE not in on_memref.traits
    write = vector.TransferWrite.make(on_memref.vector, m, [i])
    assert not write.results and PURE not in write.traits


def test_xdsl_reads_what_we_print(xdsl_refuses: Callable[[str, str], list[str]]) -> None:
    assert xdsl_refuses(module(LINES), "vector") == []
