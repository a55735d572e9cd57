"""Names, aliases, generic form, fragments."""

from __future__ import annotations

from iree_core_ir.dialects import arith
from iree_core_ir.dialects.func import FuncOp, ReturnOp
from iree_core_ir.ir.builder import Builder
from iree_core_ir.ir.location import NameLoc
from iree_core_ir.ir.operation import Block
from iree_core_ir.ir.types import f32
from iree_core_ir.text.parser import parse_module
from iree_core_ir.text.printer import print_op, quoted, symbol_text


def test_hints_are_kept_made_legal_and_unique() -> None:
    function = FuncOp.make("f", [f32], [f32], hints=["x"])
    builder = Builder.at_end(function.body.block)
    value = function.arguments[0]
    for hint in ("x", "x", "1st layer", "", "x_0", None):
        value = builder.create(arith.AddF, value, value).result
        value.hint = hint
    builder.create(ReturnOp, value)
    text = print_op(function)
    assert [line.split()[0] for line in text.splitlines()[1:-2]] == [
        "%x_0",
        "%x_1",
        "%_1st_layer",
        "%_",
        "%x_0_0",
        "%0",
    ]
    module = parse_module(text)
    assert print_op(parse_module(print_op(module))) == print_op(module)


def test_numbers_restart_in_isolated_ops_and_sibling_regions() -> None:
    text = """\
module {
  func.func @a(%arg0: f32) -> f32 {
    %0 = arith.addf %arg0, %arg0 : f32
    return %0 : f32
  }
  func.func @b(%arg0: f32) -> f32 {
    %0 = arith.addf %arg0, %arg0 : f32
    return %0 : f32
  }
}
"""
    assert print_op(parse_module(text)) == text


def test_a_fragment_has_the_names_of_the_whole() -> None:
    module = parse_module(
        """
        func.func @f(%x: f32) -> f32 {
          %a = arith.addf %x, %x : f32
          %0 = arith.mulf %a, %a : f32
          return %0 : f32
        }
        """
    )
    last = module.body.block.first.regions[0].block.last  # type: ignore[union-attr]
    assert last is not None
    assert print_op(last) == "func.return %0 : f32"
    assert print_op(last.prev) == "%0 = arith.mulf %a, %a : f32"  # type: ignore[arg-type]


def test_detached_ops_print() -> None:
    block = Block([f32])
    op = arith.AddF.make(block.args[0], block.args[0])
    assert "arith.addf" in print_op(op)
    assert "arith.addf" in str(op)


def test_affine_maps_become_aliases_at_top_level_only() -> None:
    module = parse_module(
        """
        #m = affine_map<(d0) -> (d0)>
        module attributes {a = #m, b = [affine_map<(d0) -> (0)>, #m]} {}
        """
    )
    assert print_op(module) == (
        "#map = affine_map<(d0) -> (d0)>\n"
        "#map1 = affine_map<(d0) -> (0)>\n"
        "module attributes {a = #map, b = [#map1, #map]} {\n}\n"
    )
    assert print_op(module, aliases=False).startswith("module attributes {a = affine_map<(d0) -> (d0)>,")
    assert print_op(parse_module(print_op(module))) == print_op(module)


def test_locations_are_printed_on_request() -> None:
    function = FuncOp.make("f", [], [], visibility="private", declaration=True)
    function.location = NameLoc("conv1")
    assert print_op(function, locations=True) == 'func.func private @f() loc("conv1")'
    assert print_op(function) == "func.func private @f()"


def test_empty_block_survives_generic_form() -> None:
    module = parse_module("module {}")
    text = print_op(module, generic=True)
    assert text == '"builtin.module"() ({\n^bb0:\n}) : () -> ()\n'
    assert print_op(parse_module(text)) == "module {\n}\n"


def test_quoting() -> None:
    assert quoted('a"b\\\n\u00e9') == '"a\\22b\\\\\\0A\\C3\\A9"'
    assert symbol_text("f.g$1") == "@f.g$1"
    assert symbol_text("f g") == '@"f g"'
