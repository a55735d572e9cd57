"""How wide ``index`` is in a kernel: 32 bits where every byte offset fits, 64 where it may not."""

from __future__ import annotations

from typing import Any

import pytest

from iree_codegen.invocation_description import InvocationDescription
from iree_codegen.kernel import INDEX_BITS
from iree_codegen.select_strategy import generate
from iree_core_ir.dialects.func import FuncOp
from iree_core_ir.text.parser import parse_module

LIMIT = 1 << 31


def entry(size: str, element: str, description: InvocationDescription) -> Any:
    """The kernel of ``out = -a`` on ``size`` elements, as its entry function."""
    dims, number = (" {iree.dims = array<i64: 2>}", ", %n: index") if size == "?" else ("", "")
    text = f"""
func.func @negated(%a: tensor<{size}x{element}>{dims}, %out: tensor<{size}x{element}>{dims}{number})
    -> tensor<{size}x{element}> {{
  %r = linalg.generic {{indexing_maps = [affine_map<(i) -> (i)>, affine_map<(i) -> (i)>],
                       iterator_types = ["parallel"]}}
      ins(%a : tensor<{size}x{element}>) outs(%out : tensor<{size}x{element}>) {{
  ^bb0(%x: {element}, %o: {element}):
    %0 = arith.negf %x : {element}
    linalg.yield %0 : {element}
  }} -> tensor<{size}x{element}>
  return %r : tensor<{size}x{element}>
}}"""
    function = next(op for op in parse_module(text).regions[0].block if isinstance(op, FuncOp))
    kernel = generate(function, description)
    return next(iter(kernel.module.regions[0].block))


PLAIN = InvocationDescription("gpu")
WIDE = InvocationDescription("gpu", arithmetic=("i64", "f64"), storage=("i64", "f64"))


@pytest.mark.parametrize(
    ("size", "element", "description", "bits"),
    [
        pytest.param(str(LIMIT // 4 - 1), "f32", WIDE, 32, id="just below"),
        pytest.param(str(LIMIT // 4), "f32", WIDE, 64, id="just there"),
        pytest.param(str(LIMIT // 8 - 1), "f64", WIDE, 32, id="bytes count, not elements"),
        pytest.param(str(LIMIT // 8), "f64", WIDE, 64, id="bytes count, not elements, above"),
        pytest.param("?", "f32", WIDE, 64, id="unknown"),
        pytest.param("?", "f32", PLAIN, 32, id="unknown, the device has no 64 bits: checked when it runs"),
    ],
)
def test_width_by_extent(size: str, element: str, description: InvocationDescription, bits: int) -> None:
    assert entry(size, element, description).attributes[INDEX_BITS].value == bits
