"""amx tiles: MLIR's text and what the verifier refuses."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from iree_core_ir.dialects.amx import DIALECT, TileType
from iree_core_ir.errors import ParseError, VerifyError
from iree_core_ir.ir.types import bf16, f32
from iree_core_ir.text.parser import parse_module
from iree_core_ir.verifier import verify

TEXT = """module {
  func.func @f(%m: memref<?xbf16>, %n: memref<?xf32>, %o: memref<?xi8>, %p: memref<?xi32>, %i: index) {
    %0 = amx.tile_load %m[%i], %i : memref<?xbf16> into !amx.tile<13x32xbf16>
    %1 = amx.tile_load %n[%i], %i : memref<?xf32> into !amx.tile<16x32xbf16>
    %2 = amx.tile_zero : !amx.tile<13x16xf32>
    %3 = amx.tile_mulf %0, %1, %2 : !amx.tile<13x32xbf16>, !amx.tile<16x32xbf16>, !amx.tile<13x16xf32>
    amx.tile_store %n[%i], %3, %i : memref<?xf32>, !amx.tile<13x16xf32>
    %4 = amx.tile_load %o[%i], %i : memref<?xi8> into !amx.tile<16x64xi8>
    %5 = amx.tile_zero : !amx.tile<16x16xi32>
    %6 = amx.tile_muli %4 zext, %4, %5 : !amx.tile<16x64xi8>, !amx.tile<16x64xi8>, !amx.tile<16x16xi32>
    %7 = amx.tile_muli %4, %4 zext, %6 : !amx.tile<16x64xi8>, !amx.tile<16x64xi8>, !amx.tile<16x16xi32>
    amx.tile_store %p[%i], %7, %i : memref<?xi32>, !amx.tile<16x16xi32>
    return
  }
}
"""


def test_text_is_printed_as_it_was_read(round_trip: Callable[[str], str]) -> None:
    assert round_trip(TEXT) == TEXT


def test_every_op_has_a_text_here(ops_of: Callable[[str], set[str]]) -> None:
    assert set(DIALECT.ops) <= ops_of(TEXT)


@pytest.mark.parametrize("text", ["17x16xf32", "16x17xf32", "1x1xi8", "4xf32", "16x16xf64"])
def test_shapes_that_no_tile_has(text: str) -> None:
    with pytest.raises(ParseError):
        parse_module(f"func.func private @f(!amx.tile<{text}>)")
    assert TileType((16, 32), bf16).row_bytes == TileType((16, 16), f32).row_bytes == 64


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("%0 = amx.tile_mulf %a, %a, %a : A, A, A", "is summed in f32"),
        ("%0 = amx.tile_mulf %c, %a, %c : C, A, C", "do not fit"),
        ("%0 = amx.tile_mulf %b, %b, %c : B, B, C", "do not fit"),
        ("%0 = amx.tile_mulf %a, %b, %c : A, B, C", "do not fit"),
        ("%0 = amx.tile_muli %a, %a, %c : A, A, C", "do not fit"),
        ("%0 = amx.tile_load %w[%i], %i : memref<?xf64> into !amx.tile<4x3xf32>", "does not lie in"),
        ("%0 = amx.tile_load %s[%i], %i : memref<?x?xf32> into C", "flat"),
    ],
)
def test_what_does_not_fit_is_refused(body: str, message: str) -> None:
    for name, type in (("A", "16x32xbf16"), ("B", "8x32xbf16"), ("C", "16x16xf32")):
        body = body.replace(f": {name},", f": !amx.tile<{type}>,").replace(
            f" {name},", f" !amx.tile<{type}>,"
        )
        if body.endswith(f" {name}"):
            body = f"{body[: -len(name)]}!amx.tile<{type}>"
    text = f"""func.func @f(%a: !amx.tile<16x32xbf16>, %b: !amx.tile<8x32xbf16>, %c: !amx.tile<16x16xf32>,
        %w: memref<?xf64>, %s: memref<?x?xf32>, %i: index) {{
      {body}
      return
    }}"""
    with pytest.raises(VerifyError, match=message):
        verify(parse_module(text))
