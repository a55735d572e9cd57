"""tensor: MLIR's text for every op, inferred types, what the verifier rejects."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from iree_core_ir.dialects import tensor
from iree_core_ir.dialects.reassociation import infer_reassociation, reassociation_error
from iree_core_ir.errors import VerifyError
from iree_core_ir.ir.builder import Builder
from iree_core_ir.ir.operation import Block
from iree_core_ir.ir.types import DYNAMIC, TensorType, f32, i64, index
from iree_core_ir.text.parser import parse_module
from iree_core_ir.verifier import verify

LINES = """
%0 = tensor.empty(%i) : tensor<?x4xf32>
%1 = tensor.dim %t, %i : tensor<?x4xf32>
%2 = tensor.rank %t : tensor<?x4xf32>
%3 = tensor.cast %t : tensor<?x4xf32> to tensor<8x4xf32>
%4 = tensor.bitcast %t : tensor<?x4xf32> to tensor<?x4xi32>
%5 = tensor.extract %t[%i, %i] : tensor<?x4xf32>
%6 = tensor.insert %f into %t[%i, %i] : tensor<?x4xf32>
%7 = tensor.from_elements %f, %f, %f, %f : tensor<2x2xf32>
%8 = tensor.from_elements : tensor<0xf32>
%9 = tensor.splat %f : tensor<2x3xf32>
%10 = tensor.splat %f[%i] : tensor<?x3xf32>
%11 = tensor.extract_slice %s[0, %i] [2, %i] [1, 2] : tensor<4x8xf32> to tensor<2x?xf32>
%12 = tensor.extract_slice %s[1, 0] [1, 8] [1, 1] : tensor<4x8xf32> to tensor<8xf32>
%13 = tensor.insert_slice %12 into %s[%i, 0] [1, 8] [1, 1] : tensor<8xf32> into tensor<4x8xf32>
%14 = tensor.collapse_shape %s [[0, 1]] : tensor<4x8xf32> into tensor<32xf32>
%15 = tensor.expand_shape %s [[0, 1], [2]] output_shape [2, 2, 8] : tensor<4x8xf32> into tensor<2x2x8xf32>
%16 = tensor.expand_shape %t [[0, 1], [2]] output_shape [%i, 2, 4] : tensor<?x4xf32> into tensor<?x2x4xf32>
%17 = tensor.reshape %s(%shape) : (tensor<4x8xf32>, tensor<2xi64>) -> tensor<?x?xf32>
%18 = tensor.concat dim(0) %s, %s : (tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<8x8xf32>
%19 = tensor.pad %s low[0, 1] high[%i, 2] {
^bb0(%a0: index, %a1: index):
  tensor.yield %f : f32
} : tensor<4x8xf32> to tensor<?x11xf32>
%20 = tensor.pad %s nofold low[0, 0] high[0, 0] {
^bb0(%a0: index, %a1: index):
  tensor.yield %f : f32
} : tensor<4x8xf32> to tensor<4x8xf32>
%21 = tensor.generate %i {
^bb0(%a0: index, %a1: index):
  tensor.yield %f : f32
} : tensor<?x3xf32>
%22 = tensor.collapse_shape %r0 [] : tensor<1x1xf32> into tensor<f32>
%23 = tensor.expand_shape %22 [] output_shape [1, 1] : tensor<f32> into tensor<1x1xf32>
"""
SIGNATURE = "%t: tensor<?x4xf32>, %s: tensor<4x8xf32>, %shape: tensor<2xi64>, %r0: tensor<1x1xf32>, %i: index, %f: f32"


def module(body: str) -> str:
    return f"func.func @f({SIGNATURE}) {{\n{body}\nreturn\n}}"


def test_every_op_prints_as_mlir_does(
    round_trip: Callable[[str], str], ops_of: Callable[[str], set[str]]
) -> None:
    text = module(LINES)
    printed = round_trip(text)
    wanted = [" ".join(line.split()) for line in LINES.strip().splitlines() if "^bb0" not in line]
    found = [" ".join(line.split()) for line in printed.splitlines()]
    assert [line for line in wanted if line not in found] == []
    missing = set(tensor.DIALECT.ops) - ops_of(text)
    assert missing == {"tensor.parallel_insert_slice"}


def test_parallel_insert_slice_stands_in_forall(round_trip: Callable[[str], str]) -> None:
    printed = round_trip(
        """func.func @f(%x: tensor<2xf32>, %o: tensor<8xf32>) -> tensor<8xf32> {
          %r = scf.forall (%i) in (4) shared_outs(%s = %o) -> (tensor<8xf32>) {
            scf.forall.in_parallel {
              tensor.parallel_insert_slice %x into %s[%i] [2] [1] : tensor<2xf32> into tensor<8xf32>
            }
          }
          return %r : tensor<8xf32>
        }"""
    )
    assert "tensor.parallel_insert_slice %x into %s[%i] [2] [1] : tensor<2xf32> into tensor<8xf32>" in printed


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("%0 = tensor.empty() : tensor<?xf32>", "0 sizes for 1 dynamic dims"),
        ("%0 = tensor.cast %s : tensor<4x8xf32> to tensor<4x9xf32>", "shapes are incompatible"),
        ("%0 = tensor.cast %s : tensor<4x8xf32> to tensor<4x8xi32>", "element types differ"),
        ("%0 = tensor.bitcast %s : tensor<4x8xf32> to tensor<4x8xi16>", "widths differ"),
        ("%0 = tensor.extract %s[%i] : tensor<4x8xf32>", "1 indices into"),
        ("%0 = tensor.from_elements %f : tensor<2xf32>", "1 elements for"),
        (
            "%0 = tensor.extract_slice %s[0, 0] [5, 8] [1, 1] : tensor<4x8xf32> to tensor<5x8xf32>",
            "out of bounds",
        ),
        (
            "%0 = tensor.extract_slice %s[4, 0] [1, 8] [1, 1] : tensor<4x8xf32> to tensor<1x8xf32>",
            "past dim 0",
        ),
        (
            "%0 = tensor.extract_slice %s[0, 0] [2, 4] [1, 3] : tensor<4x8xf32> to tensor<2x4xf32>",
            "out of bounds",
        ),
        (
            "%0 = tensor.extract_slice %s[-1, 0] [2, 4] [1, 1] : tensor<4x8xf32> to tensor<2x4xf32>",
            "negative",
        ),
        (
            "%0 = tensor.extract_slice %s[0, 0] [2, 4] [1, 1] : tensor<4x8xf32> to tensor<2x3xf32>",
            "expected tensor<2x4xf32>",
        ),
        ("%0 = tensor.extract_slice %s[0] [2] [1] : tensor<4x8xf32> to tensor<2xf32>", "1 offsets"),
        (
            "%0 = tensor.insert_slice %s into %s[0, 0] [4, 4] [1, 1] : tensor<4x8xf32> into tensor<4x8xf32>",
            "expected",
        ),
        (
            "%0 = tensor.collapse_shape %s [[0], [1]] : tensor<4x8xf32> into tensor<32xf32>",
            "2 reassociation groups",
        ),
        ("%0 = tensor.collapse_shape %s [[1, 0]] : tensor<4x8xf32> into tensor<32xf32>", "in order"),
        ("%0 = tensor.collapse_shape %s [[0, 1]] : tensor<4x8xf32> into tensor<31xf32>", "has 32 elements"),
        ("%0 = tensor.collapse_shape %s [] : tensor<4x8xf32> into tensor<f32>", "only unit dims"),
        (
            "%0 = tensor.expand_shape %s [[0, 1], [2]] output_shape [2, 3, 8] : tensor<4x8xf32> into tensor<2x2x8xf32>",
            "does not fit",
        ),
        ("%0 = tensor.reshape %s(%shape) : (tensor<4x8xf32>, tensor<2xi64>) -> tensor<4xf32>", "2 elements"),
        ("%0 = tensor.concat dim(2) %s : (tensor<4x8xf32>) -> tensor<4x8xf32>", "dim 2"),
        (
            "%0 = tensor.concat dim(0) %s, %s : (tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<9x8xf32>",
            "sums to 8",
        ),
        (
            "%0 = tensor.concat dim(0) %s, %t : (tensor<4x8xf32>, tensor<?x4xf32>) -> tensor<?x8xf32>",
            "differ",
        ),
        (
            (
                "%0 = tensor.pad %s low[0, 0] high[0, 1] {\n^bb0(%a: index):\n tensor.yield %f : f32\n}"
                " : tensor<4x8xf32> to tensor<4x9xf32>"
            ),
            "2 index arguments",
        ),
        (
            (
                "%0 = tensor.pad %s low[0, 0] high[0, 1] {\n^bb0(%a: index, %b: index):\n tensor.yield %a : index\n}"
                " : tensor<4x8xf32> to tensor<4x9xf32>"
            ),
            "yields index",
        ),
        (
            (
                "%0 = tensor.pad %s low[0, 0] high[0, 1] {\n^bb0(%a: index, %b: index):\n tensor.yield %f : f32\n}"
                " : tensor<4x8xf32> to tensor<4x8xf32>"
            ),
            "expected tensor<4x9xf32>",
        ),
    ],
)
def test_the_verifier_rejects(body: str, message: str) -> None:
    with pytest.raises(VerifyError, match=message.replace("(", r"\(")):
        verify(parse_module(module(body)))


def test_make_infers_result_types() -> None:
    block = Block([TensorType([DYNAMIC, 4], f32), index, f32])
    x, i, f = block.args
    assert tensor.Empty.make([i, 4], f32).result.type is TensorType([DYNAMIC, 4], f32)
    assert tensor.ExtractSlice.make(x, [0, i], [i, 2]).result.type is TensorType([DYNAMIC, 2], f32)
    assert tensor.CollapseShape.make(x, [[0, 1]]).result.type is TensorType([DYNAMIC], f32)
    assert tensor.ExpandShape.make(x, [[0, 1], [2]], [i, 2, 4]).result.type is TensorType(
        [DYNAMIC, 2, 4], f32
    )
    assert tensor.Pad.make(x, [1, 1], [i, 0], f).result.type is TensorType([DYNAMIC, 5], f32)
    assert tensor.Concat.make(1, [x, x]).result.type is TensorType([DYNAMIC, 8], f32)
    assert tensor.Extract.make(x, [i, i]).result.type is f32
    sizes = tensor.sizes(Builder.at_end(block), x)
    assert sizes[1] == 4 and sizes[0] is block.last.results[0]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("expanded", "collapsed", "groups"),
    [
        ((2, 3, 4), (6, 4), ((0, 1), (2,))),
        ((2, 3, 4), (24,), ((0, 1, 2),)),
        ((2, 1, 1), (2,), ((0, 1, 2),)),
        ((1, 2), (2,), ((0, 1),)),
        ((1, 1), (), ()),
        ((DYNAMIC, 3, 4), (DYNAMIC, 12), ((0,), (1, 2))),
        ((2, 3), (3, 2), None),
        ((6, 4), (4, 6), None),
    ],
)
def test_infer_reassociation(
    expanded: tuple[int, ...], collapsed: tuple[int, ...], groups: tuple[tuple[int, ...], ...] | None
) -> None:
    found = infer_reassociation(expanded, collapsed)
    assert found == groups
    if found is not None:
        assert reassociation_error(expanded, collapsed, found) is None


def test_elements_of_i64_shapes_are_accepted() -> None:
    assert TensorType([2], i64).element_type is i64


def test_xdsl_reads_what_we_print(xdsl_refuses: Callable[[str, str], list[str]]) -> None:
    """Its own limits: dynamic element counts, rank-0 expansions."""
    assert xdsl_refuses(module(LINES), "tensor") == [
        "%17 = tensor.reshape %s(%shape) : (tensor<4x8xf32>, tensor<2xi64>) -> tensor<?x?xf32>",
        "%23 = tensor.expand_shape %22 [] output_shape [1, 1] : tensor<f32> into tensor<1x1xf32>",
    ]
