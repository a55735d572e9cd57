"""dce removes what nobody can observe."""

from __future__ import annotations

from collections.abc import Callable

Transform = Callable[[str, str, str], None]


def test_dead_chains_and_regions(transform: Transform) -> None:
    transform(
        "dce",
        "dce",
        """
        func.func private @effect() -> f32
        func.func @f(%c: i1, %x: f32) -> f32 {
          %a = arith.addf %x, %x : f32
          %b = arith.mulf %a, %a : f32
          %kept = call @effect() : () -> f32
          %r = scf.if %c -> (f32) {
            %m = arith.mulf %b, %b : f32
            scf.yield %m : f32
          } else {
            scf.yield %x : f32
          }
          scf.if %c {
            %dead = arith.addf %x, %x : f32
            %e = func.call @effect() : () -> f32
          }
          return %x : f32
        }""",
    )


def test_unreachable_blocks(transform: Transform) -> None:
    transform(
        "dce_blocks",
        "dce",
        """
        func.func @f(%x: f32) -> f32 {
          cf.br ^end
        ^dead(%y: f32):
          %a = arith.addf %y, %b : f32
          cf.br ^dead2
        ^dead2:
          %b = arith.addf %a, %a : f32
          cf.br ^dead(%b : f32)
        ^end:
          return %x : f32
        }""",
    )
