"""cse merges what is equal and dominates, and nothing else."""

from __future__ import annotations

from collections.abc import Callable

from iree_core_ir.ir.location import FusedLoc
from iree_core_ir.passes.cse import merge_equal_ops
from iree_core_ir.text.parser import parse_module

Transform = Callable[[str, str, str], None]


def test_equal_ops_merge(transform: Transform) -> None:
    transform(
        "cse_straight",
        "cse",
        """
        func.func @f(%x: f32, %y: f32) -> (f32, f32, f32, i32) {
          %a = arith.addf %x, %y : f32
          %b = arith.addf %x, %y : f32
          %c = arith.addf %y, %x : f32
          %d = arith.mulf %a, %a : f32
          %e = arith.mulf %b, %a : f32
          %i = arith.constant 1 : i32
          %j = arith.constant 1 : i64
          %k = arith.constant 1 : i32
          return %d, %e, %c, %k : f32, f32, f32, i32
        }""",
    )


def test_outer_values_reach_into_regions_and_not_out_of_them(transform: Transform) -> None:
    transform(
        "cse_regions",
        "cse",
        """
        func.func @f(%c: i1, %x: f32) -> (f32, f32) {
          %a = arith.addf %x, %x : f32
          %r = scf.if %c -> (f32) {
            %b = arith.addf %x, %x : f32
            %m = arith.mulf %b, %b : f32
            scf.yield %m : f32
          } else {
            %m = arith.mulf %a, %a : f32
            scf.yield %m : f32
          }
          %m = arith.mulf %a, %a : f32
          return %r, %m : f32, f32
        }""",
    )


def test_dominance_across_blocks(transform: Transform) -> None:
    transform(
        "cse_blocks",
        "cse",
        """
        func.func @f(%c: i1, %x: f32) -> f32 {
          %a = arith.addf %x, %x : f32
          cf.cond_br %c, ^left, ^right
        ^left:
          %b = arith.addf %x, %x : f32
          %l = arith.mulf %b, %b : f32
          cf.br ^end(%l : f32)
        ^right:
          %r = arith.mulf %a, %a : f32
          cf.br ^end(%r : f32)
        ^end(%v: f32):
          return %v : f32
        }""",
    )


def test_effects_and_functions_are_left_alone(transform: Transform) -> None:
    transform(
        "cse_effects",
        "cse",
        """
        func.func private @g() -> f32
        func.func @f() -> (f32, f32) {
          %a = call @g() : () -> f32
          %b = call @g() : () -> f32
          return %a, %b : f32, f32
        }
        func.func @h() -> i32 {
          %k = arith.constant 1 : i32
          return %k : i32
        }
        func.func @i() -> i32 {
          %k = arith.constant 1 : i32
          return %k : i32
        }""",
    )


def test_equal_bodies_merge() -> None:
    text = """
        #id = affine_map<(d0) -> (d0)>
        func.func @f(%x: tensor<4xf32>, %e: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>, tensor<4xf32>) {
          %0 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel"]}
            ins(%x : tensor<4xf32>) outs(%e : tensor<4xf32>) {
          ^bb0(%a: f32, %o: f32):
            %s = arith.addf %a, %a : f32
            linalg.yield %s : f32
          } -> tensor<4xf32>
          %1 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel"]}
            ins(%x : tensor<4xf32>) outs(%e : tensor<4xf32>) {
          ^bb0(%b: f32, %p: f32):
            %t = arith.addf %b, %b : f32
            linalg.yield %t : f32
          } -> tensor<4xf32>
          %2 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel"]}
            ins(%x : tensor<4xf32>) outs(%e : tensor<4xf32>) {
          ^bb0(%b: f32, %p: f32):
            %t = arith.addf %b, %p : f32
            linalg.yield %t : f32
          } -> tensor<4xf32>
          return %0, %1, %2 : tensor<4xf32>, tensor<4xf32>, tensor<4xf32>
        }"""
    module = parse_module(text)
    assert merge_equal_ops(module)
    assert sum(op.name == "linalg.generic" for op in module.walk()) == 2


def test_merged_ops_keep_both_locations() -> None:
    module = parse_module(
        """
        func.func @f(%x: f32) -> (f32, f32) {
          %a = arith.addf %x, %x : f32 loc("first")
          %b = arith.addf %x, %x : f32 loc("second")
          return %a, %b : f32, f32
        }"""
    )
    merge_equal_ops(module)
    (op,) = (op for op in module.walk() if op.name == "arith.addf")
    assert isinstance(op.location, FusedLoc)
    assert op.location.user_text() == "first, second"
