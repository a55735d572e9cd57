"""linalg: text of every op, the structured interface, what the verifier rejects, generalization."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from iree_core_ir.dialects import arith, builtin, func, linalg
from iree_core_ir.dialects.linalg_named import ElementwiseOp, NamedOp, SubscriptOp, WindowOp
from iree_core_ir.dialects.linalg_structured import StructuredOp
from iree_core_ir.errors import VerifyError
from iree_core_ir.ir.affine import AffineMap
from iree_core_ir.ir.builder import Builder
from iree_core_ir.ir.operation import Block
from iree_core_ir.ir.traits import PURE
from iree_core_ir.ir.types import DYNAMIC, MemRefType, TensorType, f32, i1, i8, i32
from iree_core_ir.text.parser import parse_module
from iree_core_ir.text.printer import print_op
from iree_core_ir.verifier import verify

SUBSCRIPT_OPS = [
    cls for cls in linalg.DIALECT.ops.values() if issubclass(cls, SubscriptOp) and hasattr(cls, "loops")
]
ELEMENTWISE_OPS = [
    cls
    for cls in linalg.DIALECT.ops.values()
    if issubclass(cls, ElementwiseOp) and cls is not linalg.Elementwise
]


def operand_shapes(
    cls: type[SubscriptOp], sizes: dict[str, int], strides: list[int], dilations: list[int]
) -> list[list[int]]:
    """Shapes that fit loops of ``sizes``, inputs first."""
    shapes = []
    for operand in cls.subscripts.replace("->", ",").split(","):
        shape, window = [], 0
        for term in operand.split():
            out, at, kernel = term.partition("@")
            if at:
                reach = (sizes[out] - 1) * strides[window] + (sizes[kernel] - 1) * dilations[window] + 1
                shape.append(reach)
                window += 1
            else:
                shape.append(sizes[out])
        shapes.append(shape)
    return shapes


def named_module(
    cls: type[NamedOp], memrefs: bool = False, element: Any = f32
) -> tuple[builtin.ModuleOp, NamedOp]:
    """A module whose function runs one op of class ``cls``."""
    shaped = MemRefType if memrefs else TensorType
    types: list[Any]
    extra: tuple[Any, ...] = ()
    if issubclass(cls, SubscriptOp):
        sizes = {loop: 2 + i for i, loop in enumerate(cls.loops.split())}
        strides, dilations = [2, 1, 3][: cls.n_windows], [1, 2, 1][: cls.n_windows]
        shapes = operand_shapes(cls, sizes, strides, dilations)
        quantized = "_q" in cls.name or "quantized" in cls.name
        types = [
            i32 if quantized and i in (2, 3) else shaped(shape, i32 if quantized else element)
            for i, shape in enumerate(shapes)
        ]
        if issubclass(cls, WindowOp):
            extra = (strides, dilations)
    elif cls is linalg.Fill:
        types = [element, shaped([2, 3], element)]
    elif cls is linalg.Select:
        types = [shaped([2, 3], i1), *[shaped([2, 3], element)] * 3]
    else:
        value = i32 if cls is linalg.DivUnsigned else element
        types = [shaped([2, 3], value)] * (cls.n_declared_inputs + 1)
    module = builtin.ModuleOp.make()
    results = [types[-1]] if isinstance(types[-1], TensorType) else []
    function = func.FuncOp.make("f", types, results)
    module.regions[0].block.append(function)
    block = function.regions[0].block
    builder = Builder.at_end(block)
    op = builder.create(cls, block.args[:-1], block.args[-1:], *extra)
    builder.create(func.ReturnOp, *op.results)
    return module, op


def test_the_list_covers_what_frontends_and_flow_need() -> None:
    names = {name.removeprefix("linalg.") for name in linalg.DIALECT.ops}
    wanted = """generic yield index fill copy map reduce transpose broadcast matmul batch_matmul matvec vecmat
        batch_matvec dot conv_1d_ncw_fcw conv_2d_nchw_fchw conv_2d_nhwc_hwcf conv_2d_ngchw_fgchw
        conv_2d_ngchw_gfchw conv_3d_ncdhw_fcdhw depthwise_conv_2d_nchw_chw depthwise_conv_2d_nhwc_hwc
        depthwise_conv_2d_nhwc_hwcm pooling_nchw_max pooling_nchw_sum pooling_nhwc_max pooling_nhwc_min
        pooling_nhwc_sum pooling_ncw_max pooling_ncw_sum pooling_ndhwc_max pooling_ndhwc_sum exp log abs ceil
        floor negf reciprocal round sqrt rsqrt square tanh erf add sub mul div max min powf select"""
    assert set(wanted.split()) <= names


@pytest.mark.parametrize("cls", [*SUBSCRIPT_OPS, *ELEMENTWISE_OPS], ids=lambda c: c.name)
@pytest.mark.parametrize("memrefs", [False, True], ids=["tensors", "memrefs"])
def test_named_ops(cls: type[NamedOp], memrefs: bool, round_trip: Callable[[str], str]) -> None:
    module, op = named_module(cls, memrefs)
    verify(module)
    printed = round_trip(print_op(module))
    assert f"{cls.name} " in printed and "^bb" not in printed
    assert (PURE in op.traits) is not memrefs
    # The generic form says the same, and has the same loops.
    block = op.parent
    assert block is not None
    generic = linalg.generalize(op, Builder.before_op(op))
    verify(module)
    assert generic.indexing_maps == op.indexing_maps
    assert generic.iterator_types == op.iterator_types
    assert generic.static_loop_ranges() == op.static_loop_ranges()
    round_trip(print_op(module))


def test_loop_ranges_name_where_a_dynamic_size_comes_from() -> None:
    block = Block(
        [TensorType([DYNAMIC, 8], f32), TensorType([8, DYNAMIC], f32), TensorType([DYNAMIC] * 2, f32)]
    )
    a, b, c = block.args
    op = linalg.MatMul.make([a, b], [c])
    assert op.loop_ranges() == ((0, 0), (1, 1), 8)
    assert op.static_loop_ranges() == (DYNAMIC, DYNAMIC, 8)
    assert op.parallel_dims == (0, 1) and op.reduction_dims == (2,)
    assert op.uses_output(0)
    assert not linalg.Fill.make([a], [c]).uses_output(0)


def test_a_static_dim_of_any_operand_fixes_the_loop() -> None:
    block = Block([TensorType([DYNAMIC], f32), TensorType([7], f32)])
    op = linalg.Exp.make(block.args[:1], block.args[1:])
    assert op.loop_ranges() == (7,)


def test_window_maps() -> None:
    _, op = named_module(linalg.Conv2DNchwFchw)
    assert str(op.indexing_maps[0]) == ("(d0, d1, d2, d3, d4, d5, d6) -> (d0, d4, d2 * 2 + d5, d3 + d6 * 2)")
    assert op.iterator_types == ("parallel",) * 4 + ("reduction",) * 3
    assert isinstance(op, WindowOp) and op.strides == (2, 1) and op.dilations == (1, 2)


def test_the_body_follows_the_element_types_and_is_cached() -> None:
    block = Block([TensorType([4, 8], i8), TensorType([8, 5], i8), TensorType([4, 5], i32)])
    op = linalg.MatMul.make(block.args[:2], block.args[2:])
    assert op.body is op.body
    assert [inner.name for inner in op.body] == [
        "arith.extsi", "arith.extsi", "arith.muli", "arith.addi", "linalg.yield"
    ]  # fmt: skip
    unsigned = linalg.MatMul.make(
        block.args[:2], block.args[2:], {"cast": linalg.TypeFnAttr("cast_unsigned")}
    )
    assert unsigned.body.first is not None and unsigned.body.first.name == "arith.extui"
    boolean = Block([TensorType([4, 8], i1), TensorType([8, 5], i1), TensorType([4, 5], i1)])
    op = linalg.MatMul.make(boolean.args[:2], boolean.args[2:])
    assert [inner.name for inner in op.body] == ["arith.andi", "arith.ori", "linalg.yield"]


GENERIC = """
#id = affine_map<(d0, d1) -> (d0, d1)>
#row = affine_map<(d0, d1) -> (d0)>
#trait = {indexing_maps = [#id, #row], iterator_types = ["parallel", "reduction"], doc = "row sums"}
func.func @f(%a: tensor<4x8xf32>, %r: tensor<4xf32>, %m: tensor<8x4xf32>, %b: memref<4xf32>) {
  %0 = linalg.generic #trait ins(%a : tensor<4x8xf32>) outs(%r : tensor<4xf32>) attrs = {tag = 1 : i64} {
  ^bb0(%in: f32, %out: f32):
    %i = linalg.index 1 : index
    %5 = arith.addf %in, %out : f32
    linalg.yield %5 : f32
  } -> tensor<4xf32>
  %1:2 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]}
      outs(%a, %a : tensor<4x8xf32>, tensor<4x8xf32>) {
  ^bb0(%x: f32, %y: f32):
    linalg.yield %y, %x : f32, f32
  } -> (tensor<4x8xf32>, tensor<4x8xf32>)
  %2 = linalg.reduce { arith.addf } ins(%a : tensor<4x8xf32>) outs(%r : tensor<4xf32>) dimensions = [1]
  %3 = linalg.reduce ins(%a : tensor<4x8xf32>) outs(%r : tensor<4xf32>) dimensions = [1] {tag}
    (%in: f32, %out: f32) {
      %5 = arith.subf %in, %out : f32
      linalg.yield %5 : f32
    }
  %4 = linalg.map { arith.addf {fastmath = #arith.fastmath<contract>} } ins(%a, %a : tensor<4x8xf32>, tensor<4x8xf32>)
    outs(%a : tensor<4x8xf32>)
  %5 = linalg.map ins(%a : tensor<4x8xf32>) outs(%a : tensor<4x8xf32>) (%in: f32, %init: f32) {
      %6 = arith.addf %in, %init : f32
      linalg.yield %6 : f32
    }
  %6 = linalg.map ins(%a : tensor<4x8xf32>) outs(%a : tensor<4x8xf32>) (%in: f32) {
      %c = arith.constant 1.0 : f32
      %7 = arith.addf %in, %c : f32
      linalg.yield %7 : f32
    }
  %7 = linalg.transpose ins(%a : tensor<4x8xf32>) outs(%m : tensor<8x4xf32>) permutation = [1, 0]
  %8 = linalg.broadcast ins(%r : tensor<4xf32>) outs(%a : tensor<4x8xf32>) dimensions = [1]
  linalg.broadcast ins(%b : memref<4xf32>) outs(%b : memref<4xf32>) dimensions = []
  %9 = linalg.matmul indexing_maps = [affine_map<(d0, d1, d2) -> (d2, d0)>, affine_map<(d0, d1, d2) -> (d2)>,
      affine_map<(d0, d1, d2) -> (d0, d1)>] ins(%m, %m2 : tensor<8x4xf32>, tensor<8xf32>)
      outs(%q : tensor<4x5xf32>) -> tensor<4x5xf32>
  return
}
""".replace("%b: memref<4xf32>)", "%b: memref<4xf32>, %m2: tensor<8xf32>, %q: tensor<4x5xf32>)")


def test_generic_map_reduce_transpose_broadcast_text(round_trip: Callable[[str], str]) -> None:
    printed = round_trip(GENERIC)
    for line in (
        (
            'linalg.generic {doc = "row sums", indexing_maps = [#map, #map1], iterator_types = ["parallel", "reduction"]}'
            " ins(%a : tensor<4x8xf32>) outs(%r : tensor<4xf32>) attrs = {tag = 1 : i64} {"
        ),
        "} -> (tensor<4x8xf32>, tensor<4x8xf32>)",
        "linalg.reduce { arith.addf } ins(%a : tensor<4x8xf32>) outs(%r : tensor<4xf32>) dimensions = [1]",
        "linalg.reduce ins(%a : tensor<4x8xf32>) outs(%r : tensor<4xf32>) dimensions = [1] {tag}",
        "linalg.map { arith.addf {fastmath = #arith.fastmath<contract>} } ins(%a, %a : tensor<4x8xf32>,",
        "(%in: f32, %init: f32) {",
        "linalg.transpose ins(%a : tensor<4x8xf32>) outs(%m : tensor<8x4xf32>) permutation = [1, 0]",
        "linalg.broadcast ins(%r : tensor<4xf32>) outs(%a : tensor<4x8xf32>) dimensions = [1]",
    ):
        assert line in printed, line


def test_generic_form_of_mlir_with_its_body_is_accepted() -> None:
    module = parse_module(
        """func.func @f(%a: tensor<2x3xf32>, %b: tensor<3x4xf32>, %c: tensor<2x4xf32>) -> tensor<2x4xf32> {
          %0 = "linalg.matmul"(%a, %b, %c) <{operandSegmentSizes = array<i32: 2, 1>}> ({
          ^bb0(%x: f32, %y: f32, %z: f32):
            %1 = arith.mulf %x, %y : f32
            %2 = arith.addf %z, %1 : f32
            linalg.yield %2 : f32
          }) : (tensor<2x3xf32>, tensor<3x4xf32>, tensor<2x4xf32>) -> tensor<2x4xf32>
          return %0 : tensor<2x4xf32>
        }"""
    )
    verify(module)
    assert "linalg.matmul ins(%a, %b : tensor<2x3xf32>, tensor<3x4xf32>)" in print_op(module)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            (
                "%0 = linalg.matmul ins(%a, %a : tensor<4x8xf32>, tensor<4x8xf32>) outs(%a : tensor<4x8xf32>)"
                " -> tensor<4x8xf32>"
            ),
            "dim 0 of operand 1 is 4, but loop d2 has size 8",
        ),
        (
            "linalg.exp ins(%a : tensor<4x8xf32>) outs(%a : tensor<4x8xf32>)",
            "expected results",
        ),
        (
            "%0 = linalg.exp ins(%a : tensor<4x8xf32>) outs(%b : tensor<4x8xi32>) -> tensor<4x8xi32>",
            "yields",
        ),
        (
            (
                '%0 = linalg.generic {indexing_maps = [#id], iterator_types = ["parallel", "parallel"]}'
                " ins(%a : tensor<4x8xf32>) outs(%a : tensor<4x8xf32>) {\n^bb0(%x: f32, %y: f32):\n linalg.yield %x : f32\n}"
                " -> tensor<4x8xf32>"
            ),
            "1 indexing maps for 2 operands",
        ),
        (
            (
                '%0 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel"]}'
                " ins(%a : tensor<4x8xf32>) outs(%a : tensor<4x8xf32>) {\n^bb0(%x: f32, %y: f32):\n linalg.yield %x : f32\n}"
                " -> tensor<4x8xf32>"
            ),
            "has 2 dims for 1 loops",
        ),
        (
            (
                '%0 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]}'
                " ins(%a : tensor<4x8xf32>) outs(%a : tensor<4x8xf32>) {\n^bb0(%x: f32):\n linalg.yield %x : f32\n}"
                " -> tensor<4x8xf32>"
            ),
            "the body has 1 arguments, expected 2",
        ),
        (
            (
                '%0 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]}'
                " ins(%a : tensor<4x8xf32>) outs(%a : tensor<4x8xf32>) {\n^bb0(%x: i32, %y: f32):\n linalg.yield %y : f32\n}"
                " -> tensor<4x8xf32>"
            ),
            "body argument 0 is i32",
        ),
        (
            (
                "%0 = linalg.generic {indexing_maps = [affine_map<(d0, d1) -> (d0, d1 + 1)>, #id],"
                ' iterator_types = ["parallel", "parallel"]}'
                " ins(%a : tensor<4x8xf32>) outs(%a : tensor<4x8xf32>) {\n^bb0(%x: f32, %y: f32):\n linalg.yield %x : f32\n}"
                " -> tensor<4x8xf32>"
            ),
            "runs from 1 to 8",
        ),
        (
            (
                "%0 = linalg.generic {indexing_maps = [affine_map<(d0, d1, d2) -> (d0, d1)>,"
                ' affine_map<(d0, d1, d2) -> (d0, d1)>], iterator_types = ["parallel", "parallel", "reduction"]}'
                " ins(%a : tensor<4x8xf32>) outs(%a : tensor<4x8xf32>) {\n^bb0(%x: f32, %y: f32):\n linalg.yield %x : f32\n}"
                " -> tensor<4x8xf32>"
            ),
            "no operand dim gives the size of loop d2",
        ),
        (
            "%0 = linalg.reduce { arith.addf } ins(%a : tensor<4x8xf32>) outs(%a : tensor<4x8xf32>) dimensions = [1]",
            "an output needs rank 1",
        ),
        (
            "%0 = linalg.transpose ins(%a : tensor<4x8xf32>) outs(%a : tensor<4x8xf32>) permutation = [0, 0]",
            "no permutation",
        ),
        (
            "%0 = linalg.transpose ins(%a : tensor<4x8xf32>) outs(%a : tensor<4x8xf32>) permutation = [1, 0]",
            "but loop",
        ),
        (
            "%0 = linalg.broadcast ins(%a : tensor<4x8xf32>) outs(%a : tensor<4x8xf32>) dimensions = [0]",
            "do not make",
        ),
        ("%0 = linalg.index 0 : index", "inside a structured op"),
    ],
)
def test_the_verifier_rejects(text: str, message: str) -> None:
    module = parse_module(
        "#id = affine_map<(d0, d1) -> (d0, d1)>\n"
        f"func.func @f(%a: tensor<4x8xf32>, %b: tensor<4x8xi32>) {{\n{text}\nreturn\n}}"
    )
    with pytest.raises(VerifyError, match=message):
        verify(module)


def test_building_generics_from_functions() -> None:
    block = Block([TensorType([DYNAMIC, 4], f32), TensorType([4], f32), f32])
    x, bias, scale = block.args
    builder = Builder.at_end(block)

    def body(b: Builder, v: Any, c: Any, s: Any) -> Any:
        return b.create(arith.AddF, b.create(arith.MulF, v, s).result, c).result

    out = linalg.elementwise(builder, [x, bias, scale], body, broadcast=True)
    op = out.owner
    assert isinstance(op, linalg.Generic) and out.type is x.type
    op.verify_op()
    assert [str(m) for m in op.indexing_maps] == [
        "(d0, d1) -> (d0, d1)",
        "(d0, d1) -> (d1)",
        "(d0, d1) -> ()",
        "(d0, d1) -> (d0, d1)",
    ]
    total = linalg.generic(
        builder,
        [x],
        [bias],
        [AffineMap.identity(2), AffineMap.select(2, [1])],
        ["reduction", "parallel"],
        lambda b, v, acc: b.create(arith.AddF, v, acc).result,
    )
    total.verify_op()
    assert total.result.type is bias.type


def test_broadcasting_repeats_unit_dims_only() -> None:
    block = Block([TensorType([1, 4], f32), TensorType([3, 4], f32), TensorType([3, 1], f32)])
    builder = Builder.at_end(block)
    out = linalg.elementwise(
        builder,
        block.args,
        lambda b, *v: v[0],
        broadcast=True,
        output=block.args[1],
    )
    maps = [str(m) for m in out.owner.indexing_maps]
    assert maps[0] == "(d0, d1) -> (0, d1)" and maps[2] == "(d0, d1) -> (d0, 0)"
    out.owner.verify_op()


def test_impure_bodies_are_not_pure() -> None:
    module = parse_module(
        """#id = affine_map<(d0) -> (d0)>
        func.func @f(%a: tensor<4xf32>, %c: i1) {
          %0 = linalg.generic {indexing_maps = [#id], iterator_types = ["parallel"]} outs(%a : tensor<4xf32>) {
          ^bb0(%x: f32):
            cf.assert %c, "no"
            linalg.yield %x : f32
          } -> tensor<4xf32>
          return
        }"""
    )
    op = next(o for o in module.walk() if isinstance(o, StructuredOp))
    assert PURE not in op.traits


def test_xdsl_reads_generic_and_its_kin(xdsl_refuses: Callable[[str, str], list[str]]) -> None:
    """Its own limits: no inputs, the short form and attributes of reduce, maps of matmul."""
    refused = [line.split(" = ", 1)[1] for line in xdsl_refuses(GENERIC, "linalg")]
    assert [" ".join(line.split()[:3]) for line in refused] == [
        "linalg.generic {indexing_maps =",
        "linalg.reduce { arith.addf",
        "linalg.reduce ins(%a :",
        "linalg.matmul indexing_maps =",
    ]


@pytest.mark.parametrize("cls", [*SUBSCRIPT_OPS, *ELEMENTWISE_OPS], ids=lambda c: c.name)
def test_xdsl_reads_named_ops(cls: type[NamedOp], xdsl_refuses: Callable[[str, str], list[str]]) -> None:
    """All but one, whose accumulator it wants wider than the inputs."""
    module, _ = named_module(cls)
    refused = xdsl_refuses(print_op(module), "linalg")
    assert bool(refused) == (cls.name == "linalg.quantized_matmul")


def test_elementwise_and_contract_read_through_their_maps(round_trip: Callable[[str], str]) -> None:
    printed = round_trip(
        """#id = affine_map<(d0, d1) -> (d0, d1)>
        #row = affine_map<(d0, d1) -> (d1)>
        func.func @f(%a: tensor<4x8xf32>, %b: tensor<8xf32>, %c: tensor<4x8xi1>, %o: tensor<4x8xf32>, %s: tensor<4xf32>) {
          %0 = linalg.elementwise kind=#linalg.elementwise_kind<exp> ins(%a : tensor<4x8xf32>) outs(%o : tensor<4x8xf32>) -> tensor<4x8xf32>
          %1 = linalg.elementwise kind=#linalg.elementwise_kind<add> indexing_maps = [#id, #row, #id]
            ins(%a, %b : tensor<4x8xf32>, tensor<8xf32>) outs(%o : tensor<4x8xf32>) -> tensor<4x8xf32>
          %2 = linalg.elementwise kind=#linalg.elementwise_kind<select>
            ins(%c, %a, %a : tensor<4x8xi1>, tensor<4x8xf32>, tensor<4x8xf32>) outs(%o : tensor<4x8xf32>) -> tensor<4x8xf32>
          %3 = linalg.contract indexing_maps = [#id, #row, affine_map<(d0, d1) -> (d0)>]
            ins(%a, %b : tensor<4x8xf32>, tensor<8xf32>) outs(%s : tensor<4xf32>) -> tensor<4xf32>
          return
        }"""
    )
    assert (
        "linalg.elementwise kind=#linalg.elementwise_kind<add> indexing_maps = [#map, #map1, #map] ins("
        in printed
    )
    ops = [op for op in parse_module(printed).walk() if isinstance(op, StructuredOp)]
    assert [op.iterator_types for op in ops] == [("parallel",) * 2] * 3 + [("parallel", "reduction")]
    assert [inner.name for inner in ops[1].body] == ["arith.addf", "linalg.yield"]
