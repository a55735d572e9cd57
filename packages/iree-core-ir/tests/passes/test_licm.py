"""licm moves invariant pure ops out of loops, inner loops first."""

from __future__ import annotations

from collections.abc import Callable

Transform = Callable[[str, str, str], None]


def test_nested_loops(transform: Transform) -> None:
    transform(
        "licm",
        "licm",
        """
        func.func private @effect(f32)
        func.func @f(%n: index, %x: f32) -> f32 {
          %r = scf.for %i = %n to %n step %n iter_args(%acc = %x) -> (f32) {
            %out = scf.for %j = %n to %n step %n iter_args(%inner = %acc) -> (f32) {
              %invariant = arith.mulf %x, %x : f32
              %chain = arith.addf %invariant, %x : f32
              %outer_only = arith.addi %i, %n : index
              %varies = arith.addi %j, %outer_only : index
              func.call @effect(%chain) : (f32) -> ()
              %next = arith.addf %inner, %chain : f32
              scf.yield %next : f32
            }
            scf.yield %out : f32
          }
          return %r : f32
        }""",
    )


def test_ops_with_regions_move_whole(transform: Transform) -> None:
    transform(
        "licm_regions",
        "licm",
        """
        func.func @f(%n: index, %c: i1, %x: f32) -> f32 {
          %r = scf.for %i = %n to %n step %n iter_args(%acc = %x) -> (f32) {
            %v = scf.if %c -> (f32) {
              %m = arith.mulf %x, %x : f32
              scf.yield %m : f32
            } else {
              scf.yield %x : f32
            }
            %w = scf.if %c -> (f32) {
              %m = arith.mulf %acc, %x : f32
              scf.yield %m : f32
            } else {
              scf.yield %v : f32
            }
            scf.yield %w : f32
          }
          return %r : f32
        }""",
    )
