"""cse merges what is equal and dominates, and nothing else."""

from __future__ import annotations

from collections.abc import Callable

from iree_core_ir.ir.location import FusedLoc
from iree_core_ir.passes.cse import merge_equal_ops
from iree_core_ir.text.parser import parse_module
from iree_core_ir.verifier import verify

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


def test_what_a_region_saw_is_forgotten_behind_it() -> None:
    """Ops that read the same but differ in attributes, met in a region first."""
    module = parse_module(
        """
        func.func @f(%c: i1, %x: i32, %y: i32) -> (i1, i1, i1, i1) {
          %a = arith.cmpi slt, %x, %y : i32
          %r = scf.if %c -> (i1) {
            %b = arith.cmpi sgt, %x, %y : i32
            %d = arith.cmpi slt, %x, %y : i32
            %e = arith.cmpi sgt, %x, %y : i32
            %f = arith.andi %b, %d : i1
            %g = arith.ori %f, %e : i1
            scf.yield %g : i1
          } else {
            scf.yield %c : i1
          }
          %h = arith.cmpi sgt, %x, %y : i32
          %i = arith.cmpi slt, %x, %y : i32
          %j = arith.cmpi sgt, %x, %y : i32
          return %r, %h, %i, %j : i1, i1, i1, i1
        }"""
    )
    assert merge_equal_ops(module)
    verify(module)
    compares = [op for op in module.walk() if op.name == "arith.cmpi"]
    assert [op.attributes["predicate"].value for op in compares] == [2, 4, 4]  # type: ignore[attr-defined]
    inner = compares[1].parent_op
    assert inner is not None and inner.name == "scf.if"
    (last,) = (op for op in module.walk() if op.name == "func.return")
    assert [v.owner for v in last.operands[1:]] == [compares[2], compares[0], compares[2]]
    assert not merge_equal_ops(module)


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


def test_the_locations_of_many_equal_ops_are_joined_in_order() -> None:
    lines = "".join(f'%v{i} = arith.addf %x, %x : f32 loc("l{i}")\n' for i in range(20))
    names = ", ".join(f"%v{i}" for i in range(20))
    types = ", ".join(["f32"] * 20)
    module = parse_module(f"func.func @f(%x: f32) -> ({types}) {{\n{lines}return {names} : {types}\n}}")
    merge_equal_ops(module)
    (op,) = (op for op in module.walk() if op.name == "arith.addf")
    assert op.location.user_text() == ", ".join(f"l{i}" for i in range(20))
