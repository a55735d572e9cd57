"""``patch-products``: windows that lie side by side become rows of a product; everything else stays."""

from __future__ import annotations

import pytest
from pass_runs import floats, names, run, same

from iree_flow.passes.patch_products import PatchProducts


def convolution(
    n: int, size: tuple[int, int], window: tuple[int, int], stride: tuple[int, int], tail: str
) -> str:
    (h, w), (kh, kw) = size, window
    oh, ow = (h - kh) // stride[0] + 1, (w - kw) // stride[1] + 1
    image, filters, planes = f"{n}x3x{h}x{w}xf32", f"5x3x{kh}x{kw}xf32", f"{n}x5x{oh}x{ow}xf32"
    body, result = TAILS[tail]
    types = {"planes": planes, "tokens": f"{n}x5x{oh * ow}xf32", "last": f"{n}x{oh * ow}x5xf32"}
    kind = types[result]
    return f"""
#id = affine_map<(n, c, h, w) -> (n, c, h, w)>
#channel = affine_map<(n, c, h, w) -> (c)>
func.func @main(%x: tensor<{image}> {{iree.name = "x"}}, %w: tensor<{filters}> {{iree.name = "w"}},
    %b: tensor<5xf32> {{iree.name = "b"}}) -> (tensor<{kind}> {{iree.name = "y"}}) {{
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<{planes}>
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<{planes}>) -> tensor<{planes}>
  %c = linalg.conv_2d_nchw_fchw {{dilations = dense<1> : tensor<2xi64>, strides = dense<[{stride[0]}, {stride[1]}]> : tensor<2xi64>}}
      ins(%x, %w : tensor<{image}>, tensor<{filters}>) outs(%f : tensor<{planes}>) -> tensor<{planes}>
{body.format(**types)}
  return %r : tensor<{kind}>
}}
"""


BIAS = """
  %a = linalg.generic {{indexing_maps = [#id, #channel, #id], iterator_types = ["parallel", "parallel", "parallel", "parallel"]}}
      ins(%c, %b : tensor<{planes}>, tensor<5xf32>) outs(%e : tensor<{planes}>) {{
  ^bb0(%p: f32, %q: f32, %o: f32):
    %t = arith.addf %p, %q : f32
    linalg.yield %t : f32
  }} -> tensor<{planes}>"""
MERGED = (
    BIAS
    + """
  %m = tensor.collapse_shape %a [[0], [1], [2, 3]] : tensor<{planes}> into tensor<{tokens}>"""
)
TAILS = {
    "bias": (BIAS.replace("%a =", "%r ="), "planes"),
    "merged": (MERGED.replace("%m =", "%r ="), "tokens"),
    "tokens": (
        MERGED
        + """
  %k = tensor.empty() : tensor<{last}>
  %r = linalg.transpose ins(%m : tensor<{tokens}>) outs(%k : tensor<{last}>) permutation = [0, 2, 1]""",
        "last",
    ),
    "twice": (
        """
  %r = linalg.mul ins(%c, %c : tensor<{planes}>, tensor<{planes}>) outs(%e : tensor<{planes}>) -> tensor<{planes}>""",
        "planes",
    ),
}


@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize(("n", "size", "window"), [(1, (16, 24), (8, 8)), (2, (27, 16), (9, 16))])
def test_patches(n: int, size: tuple[int, int], window: tuple[int, int], tail: str) -> None:
    text = convolution(n, size, window, window, tail)
    module = run(text, PatchProducts())
    assert "linalg.conv_2d_nchw_fchw" not in names(module)
    same(text, module, *floats((n, 3, *size), (5, 3, *window), (5,)))


def test_tokens_are_not_transposed_back_and_forth() -> None:
    module = run(convolution(1, (16, 24), (8, 8), (8, 8), "tokens"), PatchProducts())
    assert names(module).count("linalg.transpose") <= 3
    collapsed = [op.results[0].type.shape for op in module.walk() if op.name == "tensor.collapse_shape"]
    assert (1, 6, 5) in collapsed


@pytest.mark.parametrize(
    ("size", "window", "stride"),
    [((16, 24), (8, 8), (4, 8)), ((17, 24), (8, 8), (8, 8)), ((16, 16), (4, 4), (4, 4))],
)
def test_others_stay(size: tuple[int, int], window: tuple[int, int], stride: tuple[int, int]) -> None:
    """Windows that overlap, an image that they do not fill, small ones."""
    module = run(convolution(1, size, window, stride, "bias"), PatchProducts())
    assert "linalg.conv_2d_nchw_fchw" in names(module)


@pytest.mark.parametrize(("element", "total"), [("i32", "i32"), ("f16", "f32")])
def test_other_element_types_stay(element: str, total: str) -> None:
    """Sums of integers, and sums that are wider than what they are of."""
    module = run(
        f"""
func.func @main(%x: tensor<1x3x16x24x{element}>, %w: tensor<5x3x8x8x{element}>) -> tensor<1x5x2x3x{total}> {{
  %zero = arith.constant {0 if total == "i32" else 0.0} : {total}
  %e = tensor.empty() : tensor<1x5x2x3x{total}>
  %f = linalg.fill ins(%zero : {total}) outs(%e : tensor<1x5x2x3x{total}>) -> tensor<1x5x2x3x{total}>
  %c = linalg.conv_2d_nchw_fchw {{dilations = dense<1> : tensor<2xi64>, strides = dense<8> : tensor<2xi64>}}
      ins(%x, %w : tensor<1x3x16x24x{element}>, tensor<5x3x8x8x{element}>)
      outs(%f : tensor<1x5x2x3x{total}>) -> tensor<1x5x2x3x{total}>
  return %c : tensor<1x5x2x3x{total}>
}}
""",
        PatchProducts(),
    )
    assert "linalg.conv_2d_nchw_fchw" in names(module)
