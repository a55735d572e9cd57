"""``narrow-results``: what all readers round is stored rounded; the results stay the same to the last bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from fixture_target import FixtureTarget
from pass_runs import call, floats, run

from iree_core_ir.constants import ConstantStore
from iree_core_ir.ir.types import bf16, f32
from iree_core_ir.text.parser import parse_module
from iree_flow.dialects import flow
from iree_flow.passes.form_dispatch_regions import FormDispatchRegions
from iree_flow.passes.narrow_results import NarrowResults
from iree_flow.passes.outline_dispatch_regions import OutlineDispatchRegions
from iree_flow.passes.resolve_dims import ResolveDims


class RoundingTarget(FixtureTarget):
    """Says that it rounds the rows of all products, or of those with ``columns``."""

    def __init__(self, columns: int | None = None) -> None:
        super().__init__()
        self.columns = columns

    def rounded_arguments(self, dispatch: Any, description: Any) -> dict[int, Any]:
        for op in dispatch.walk():
            if op.name == "linalg.matmul" and op.inputs[0] in dispatch.regions[0].block.args:
                if self.columns in (None, op.results[0].type.shape[1]):
                    return {op.inputs[0].index: bf16}
        return {}


def program(body: str, results: str) -> str:
    """Products ``mm`` of 5x8 with 8x8, and ``wide`` with 8x12, as text templates of ``body``."""
    types = ", ".join("tensor<5x8xf32>" for _ in results.split(","))
    named = ", ".join(f'tensor<5x8xf32> {{iree.name = "r{i}"}}' for i, _ in enumerate(results.split(",")))
    return f"""
#id = affine_map<(i, j) -> (i, j)>
func.func @main(%x: tensor<5x8xf32> {{iree.name = "x"}}, %w: tensor<8x8xf32> {{iree.name = "w"}}) -> ({named}) {{
  %zero = arith.constant 0.0 : f32
  %two = arith.constant 2.0 : f32
  %e = tensor.empty() : tensor<5x8xf32>
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<5x8xf32>) -> tensor<5x8xf32>
{body}
  return {results} : {types}
}}
"""


def scale(result: str, value: str) -> str:
    return f"""
  {result} = linalg.generic {{indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]}}
      ins({value} : tensor<5x8xf32>) outs(%e : tensor<5x8xf32>) {{
  ^bb0(%p: f32, %o: f32):
    %s = arith.mulf %p, %two : f32
    linalg.yield %s : f32
  }} -> tensor<5x8xf32>"""


def mm(result: str, value: str) -> str:
    types = f"ins({value}, %w : tensor<5x8xf32>, tensor<8x8xf32>) outs(%f : tensor<5x8xf32>)"
    return f"\n  {result} = linalg.matmul {types} -> tensor<5x8xf32>"


def narrowed(text: str, target: Any) -> Any:
    # Every op is a dispatch of its own.
    passes = (ResolveDims(), FormDispatchRegions(fusion=False), OutlineDispatchRegions(), NarrowResults())
    return run(text, *passes, target=target, description=target.describe({}), clean=False)


def types(module: Any) -> list[str]:
    return [
        str(r.type.element_type) for op in module.walk() if isinstance(op, flow.Dispatch) for r in op.results
    ]


def rounded(module: Any, text: str) -> None:
    """``module`` computes what ``text`` does up to rounding, and bf16 is what is stored."""
    inputs = floats((5, 8), (8, 8))
    expected = call(parse_module(text, constants=ConstantStore()), *inputs)
    for got, want in zip(call(module, *inputs), expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=0, atol=2.0**-6 * np.abs(want).max())


def test_a_result_that_products_read_is_stored_rounded() -> None:
    text = program(scale("%a", "%x") + mm("%b", "%a"), "%b")
    module = narrowed(text, RoundingTarget())
    assert types(module) == ["bf16", "f32"]
    rounded(module, text)
    (x, w) = floats((5, 8), (8, 8))
    import ml_dtypes

    exact = (2 * x).astype(ml_dtypes.bfloat16).astype(np.float32) @ w
    np.testing.assert_allclose(call(module, x, w)[0], exact, rtol=1e-6, atol=1e-5)


def test_a_narrow_result_may_narrow_what_its_maker_reads() -> None:
    """A target may ask so once it sees the result rounded."""

    class Through(RoundingTarget):
        def rounded_arguments(self, dispatch: Any, description: Any) -> dict[int, Any]:
            found = super().rounded_arguments(dispatch, description)
            block = dispatch.regions[0].block
            result = block.terminator.operands[0].type.element_type
            argument = block.args[0].type.element_type
            return found or ({0: bf16} if result is bf16 and argument is f32 else {})

    text = program(scale("%a", "%x") + scale("%b", "%w5") + mm("%c", "%b"), "%c")
    text = text.replace(scale("%a", "%x"), mm("%a", "%x")).replace("%w5", "%a")
    assert types(narrowed(text, RoundingTarget())) == ["f32", "bf16", "f32"]
    assert types(narrowed(text, Through())) == ["bf16", "bf16", "f32"]


def test_products_round_their_own_results_behind_the_sums() -> None:
    text = program(mm("%a", "%x") + mm("%b", "%a") + mm("%c", "%b"), "%c")
    module = narrowed(text, RoundingTarget())
    # The input is the caller's: the first of three equal products takes f32, the last makes it.
    assert types(module) == ["bf16", "bf16", "f32"]
    roots = {op.entry_point.root for op in module.walk() if isinstance(op, flow.Dispatch)}
    assert len(roots) == 3
    rounded(module, text)


def test_attentions_round_their_results_behind_the_sums() -> None:
    types_of = "tensor<5x8xf32>, tensor<5x8xf32>, tensor<5x8xf32>, f32"
    attention = f"\n  %a = linalg_ext.attention ins(%x, %x, %x, %two : {types_of}) outs(%e : tensor<5x8xf32>)"
    text = program(attention + " -> tensor<5x8xf32>" + mm("%b", "%a"), "%b")
    module = narrowed(text, RoundingTarget())
    assert types(module) == ["bf16", "f32"]
    rounded(module, text)


@pytest.mark.parametrize(
    ("body", "results"),
    [
        # Read by something else, too; returned; read by a product of another kind.
        (scale("%a", "%x") + mm("%b", "%a") + scale("%c", "%a"), "%b, %c"),
        (scale("%a", "%x") + mm("%b", "%a"), "%a, %b"),
        (mm("%a", "%x") + scale("%b", "%a"), "%b"),
    ],
)
def test_what_is_read_otherwise_stays(body: str, results: str) -> None:
    text = program(body, results)
    module = narrowed(text, RoundingTarget())
    assert "bf16" not in types(module)
    rounded(module, text)


def test_targets_that_round_nothing_change_nothing() -> None:
    text = program(scale("%a", "%x") + mm("%b", "%a"), "%b")
    for target in (FixtureTarget(), RoundingTarget(columns=7)):
        assert "bf16" not in types(narrowed(text, target))


def test_reshapes_between_dispatches_are_followed() -> None:
    text = program(
        """
  %g = tensor.expand_shape %x [[0], [1, 2]] output_shape [5, 2, 4] : tensor<5x8xf32> into tensor<5x2x4xf32>
  %k = tensor.empty() : tensor<5x2x4xf32>
  %h = linalg.exp ins(%g : tensor<5x2x4xf32>) outs(%k : tensor<5x2x4xf32>) -> tensor<5x2x4xf32>
  %a = tensor.collapse_shape %h [[0], [1, 2]] : tensor<5x2x4xf32> into tensor<5x8xf32>"""
        + mm("%b", "%a"),
        "%b",
    )
    module = narrowed(text, RoundingTarget())
    assert types(module)[0] == "bf16"
    rounded(module, text)
