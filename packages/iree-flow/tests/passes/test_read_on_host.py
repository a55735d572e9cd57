"""read-on-host: numbers made of an input's few numbers are computed on the host, others stay on the device."""

from __future__ import annotations

import numpy as np
import pytest
from pass_runs import call, names, run

from iree_flow.passes.read_on_host import ReadOnHost


def program(type: str, body: str, arguments: str = "", result: str = "i1") -> str:
    """``body`` defines %r: tensor<1x..> from %x, of which one element is returned."""
    return f"""
    #map = affine_map<() -> ()>
    func.func @main(%x: tensor<{type}>{arguments}) -> {result} {{
      {body}
      %number = tensor.extract %r[] : tensor<{result}>
      return %number : {result}
    }}"""


def elementwise(body: str, given: str = "i64", made: str = "i1") -> str:
    return f"""
      %empty = tensor.empty() : tensor<{made}>
      %r = linalg.generic {{indexing_maps = [#map, #map], iterator_types = []}}
          ins(%x : tensor<{given}>) outs(%empty : tensor<{made}>) {{
        ^bb0(%a: {given}, %o: {made}):
          {body}
          linalg.yield %b : {made}
      }} -> tensor<{made}>"""


EQUAL = "%k = arith.constant 16000 : i64\n %b = arith.cmpi eq, %a, %k : i64"


def test_a_comparison_with_an_argument_needs_no_dispatch() -> None:
    module = run(program("i64", elementwise(EQUAL)), ReadOnHost())
    assert "linalg.generic" not in names(module)
    assert "arith.cmpi" in names(module)
    assert [bool(call(module, np.array(n))[0]) for n in (16000, 8000)] == [True, False]


def test_chains_and_reshapes_are_followed() -> None:
    body = """
      %c = tensor.collapse_shape %x [] : tensor<1x1xf32> into tensor<f32>
      %e = tensor.empty() : tensor<f32>
      %s = linalg.generic {indexing_maps = [#map, #map], iterator_types = []}
          ins(%c : tensor<f32>) outs(%e : tensor<f32>) {
        ^bb0(%a: f32, %o: f32):
          %t = arith.mulf %a, %a : f32
          linalg.yield %t : f32
      } -> tensor<f32>
      %r = linalg.generic {indexing_maps = [#map, #map], iterator_types = []}
          ins(%s : tensor<f32>) outs(%e : tensor<f32>) {
        ^bb0(%a: f32, %o: f32):
          %k = arith.constant 0.5 : f32
          %t = arith.addf %a, %k : f32
          linalg.yield %t : f32
      } -> tensor<f32>"""
    module = run(program("1x1xf32", body, result="f32"), ReadOnHost())
    assert "linalg.generic" not in names(module)
    assert call(module, np.array([[3.0]], np.float32))[0] == np.float32(9.5)


@pytest.mark.parametrize(
    ("type", "body", "result"),
    [
        # a function that the host lacks; a narrow integer, which would have to be cut; what a dispatch made
        ("f32", elementwise("%b = math.tanh %a : f32", "f32", "f32"), "f32"),
        ("i8", elementwise("%b = arith.addi %a, %a : i8", "i8", "i8"), "i8"),
        (
            "4xf32",
            """
            %zero = arith.constant 0.0 : f32
            %e = tensor.empty() : tensor<f32>
            %f = linalg.fill ins(%zero : f32) outs(%e : tensor<f32>) -> tensor<f32>
            %r = linalg.generic {indexing_maps = [affine_map<(i) -> (i)>, affine_map<(i) -> ()>],
                iterator_types = ["reduction"]} ins(%x : tensor<4xf32>) outs(%f : tensor<f32>) {
              ^bb0(%a: f32, %o: f32):
                %t = arith.addf %a, %o : f32
                linalg.yield %t : f32
            } -> tensor<f32>""",
            "f32",
        ),
    ],
)
def test_left_on_the_device(type: str, body: str, result: str) -> None:
    module = run(program(type, body, result=result), ReadOnHost())
    assert "linalg.generic" in names(module)
