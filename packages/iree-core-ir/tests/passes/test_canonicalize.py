"""canonicalize folds, applies the dialects' patterns and cleans up, to a fixed point."""

from __future__ import annotations

from collections.abc import Callable

Transform = Callable[[str, str, str], None]


def test_constants_fold_through_the_interpreter(transform: Transform) -> None:
    transform(
        "canonicalize_fold",
        "canonicalize",
        """
        func.func @f() -> (index, f32, i1, i8) {
          %a = arith.constant 6 : index
          %b = arith.constant 7 : index
          %ab = arith.muli %a, %b : index
          %x = arith.constant 0.1 : f32
          %y = arith.addf %x, %x : f32
          %c = arith.cmpi slt, %a, %ab : index
          %i = arith.constant 100 : i8
          %wrap = arith.addi %i, %i : i8
          return %ab, %y, %c, %wrap : index, f32, i1, i8
        }""",
    )


def test_dead_and_unreachable_code_goes(transform: Transform) -> None:
    transform(
        "canonicalize_dead",
        "canonicalize",
        """
        func.func @f(%x: f32) -> f32 {
          %dead = arith.addf %x, %x : f32
          return %x : f32
        ^nowhere:
          return %dead : f32
        }""",
    )
