"""Damaged text gives a coded error, never another exception."""

from __future__ import annotations

import contextlib
import random

import pytest

from iree_base.errors import IreeError
from iree_core_ir.text.parser import parse_attribute, parse_module
from iree_core_ir.verifier import verify

TEXT = """\
#map = affine_map<(d0, d1) -> (d1, d0)>
#loc = loc("f.py":1:2)
!t = tensor<4x?xf32>
module @m attributes {a = [1, 2.5e3, "s\\0A"], b = {c = array<i64: 1, -2>, d}} {
  func.func private @callee(f32 {x.y = unit}, index) -> (f32 {x.z})
  func.func @f(%x: f32, %n: index, %t: !t, %c: i1) -> f32 attributes {
      e = dense<[[1.0], [2.0]]> : tensor<2x1xf32>} {
    %0 = call @callee(%x, %n) : (f32, index) -> f32 loc(#loc)
    %1 = scf.for %i = %n to %n step %n iter_args(%a = %0) -> (f32) {
      %2 = arith.addf %a, %x fastmath<contract> : f32
      scf.yield %2 : f32
    }
    %3 = linalg.generic {indexing_maps = [#map, affine_map<(d0, d1) -> (d0, d1)>],
        iterator_types = ["parallel", "parallel"]} ins(%t : !t) outs(%t : !t) {
    ^bb0(%in: f32, %out: f32):
      %4 = math.exp %in : f32
      linalg.yield %4 : f32
    } -> !t
    %5:2 = "t.op"(%3) <{p = dense_resource<k> : tensor<8xi8>}> ({
      "t.end"() : () -> ()
    }) : (!t) -> (f32, memref<4xf32, strided<[?], offset: 2>>)
    cf.cond_br %c, ^a(%1 : f32), ^b
  ^a(%v: f32):
    return %v : f32
  ^b:
    %6 = tensor.extract_slice %t[0, 0] [2, 2] [1, 1] : !t to tensor<2x2xf32>
    return %5#0 : f32
  }
}
"""


def survives(text: str) -> None:
    with contextlib.suppress(IreeError):
        verify(parse_module(text, allow_unregistered=True))


def test_the_text_itself_is_valid() -> None:
    verify(parse_module(TEXT, allow_unregistered=True))


@pytest.mark.parametrize("seed", range(8))
def test_mutations(seed: int) -> None:
    rng = random.Random(seed)
    alphabet = '%#!@^"<>()[]{}:,=->?*+ \n0123456789abcxf._\\\x00\u00e9'
    for _ in range(40):
        text = list(TEXT)
        for _ in range(rng.randint(1, 3)):
            position = rng.randrange(len(text))
            action = rng.randrange(4)
            if action == 0:
                text[position] = rng.choice(alphabet)
            elif action == 1:
                del text[position : position + rng.randint(1, 12)]
            elif action == 2:
                text.insert(position, rng.choice(alphabet))
            else:
                other = rng.randrange(len(text))
                text[position : position + 8] = text[other : other + rng.randint(1, 20)]
        survives("".join(text))


def test_deep_nesting_is_an_error() -> None:
    for text in ("[" * 100_000, "(" * 100_000, "tensor<" * 100_000):
        with pytest.raises(IreeError):
            parse_module(f"module attributes {{a = {text}}} {{}}")
    survives('"t.r"() ({' * 50_000)
    with pytest.raises(IreeError):
        parse_attribute("[" * 100_000)
