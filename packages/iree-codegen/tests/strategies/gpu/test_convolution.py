"""GPU convolutions against the interpreter: strides, dilations, padding, groups, layouts, epilogues."""

from __future__ import annotations

from typing import Any

import pytest

from iree_codegen.strategies.gpu import tile_shapes
from iree_codegen.strategies.gpu.matmul import matmul
from iree_codegen.strategies.gpu.tile_shapes import TileShape

from .contractions import DEVICES, check


@pytest.fixture(autouse=True)
def nothing_is_tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small products stand for large ones here, on a tile of few invocations."""
    monkeypatch.setattr(tile_shapes, "TINY", 0)
    monkeypatch.setattr(tile_shapes, "SHARED_TILES", (TileShape(16, 32, 16, 4, 4, 1.0),))


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> Any:
    return DEVICES[request.param]


def convolution(
    n: int, c: int, h: int, w: int, f: int, kernel: int, stride: int = 1, dilation: int = 1, pad: int = 0,
    element: str = "f32", weights: str = "",
) -> str:  # fmt: skip
    """NCHW with a bias and a clamp behind."""
    hp, wp = h + 2 * pad, w + 2 * pad
    oh, ow = ((s - dilation * (kernel - 1) - 1) // stride + 1 for s in (hp, wp))
    padding = f"""
  %p = tensor.pad %x low[0, 0, {pad}, {pad}] high[0, 0, {pad}, {pad}] {{
  ^bb0(%i: index, %j: index, %l: index, %m: index):
    tensor.yield %zero : {element}
  }} : tensor<{n}x{c}x{h}x{w}x{element}> to tensor<{n}x{c}x{hp}x{wp}x{element}>"""
    image, source = f"tensor<{n}x{c}x{hp}x{wp}x{element}>", "%p" if pad else "%x"
    result = f"tensor<{n}x{f}x{oh}x{ow}xf32>"
    return f"""
#full = affine_map<(d0, d1, d2, d3) -> (d0, d1, d2, d3)>
#channel = affine_map<(d0, d1, d2, d3) -> (d1)>
func.func @convolution(%x: tensor<{n}x{c}x{h}x{w}x{element}>, %w: tensor<{f}x{c}x{kernel}x{kernel}x{element}> {weights},
    %bias: tensor<{f}xf32>, %out: {result}) -> {result} {{
  %zero = arith.constant 0.0 : {element}
  %z = arith.constant 0.0 : f32
  %e = tensor.empty() : {result}
  %g = linalg.fill ins(%z : f32) outs(%e : {result}) -> {result}{padding if pad else ""}
  %r = linalg.conv_2d_nchw_fchw {{dilations = dense<{dilation}> : tensor<2xi64>, strides = dense<{stride}> : tensor<2xi64>}}
      ins({source}, %w : {image}, tensor<{f}x{c}x{kernel}x{kernel}x{element}>) outs(%g : {result}) -> {result}
  %s = linalg.generic {{indexing_maps = [#full, #channel, #full],
      iterator_types = ["parallel", "parallel", "parallel", "parallel"]}}
      ins(%r, %bias : {result}, tensor<{f}xf32>) outs(%out : {result}) {{
  ^bb0(%a: f32, %b: f32, %o: f32):
    %0 = arith.addf %a, %b : f32
    %1 = arith.maximumf %0, %z : f32
    linalg.yield %1 : f32
  }} -> {result}
  return %s : {result}
}}"""


CASES = {
    "1x1": {"n": 2, "c": 8, "h": 6, "w": 6, "f": 12, "kernel": 1},
    "1x1 in vectors": {"n": 1, "c": 8, "h": 8, "w": 12, "f": 16, "kernel": 1},
    "3x3": {"n": 1, "c": 5, "h": 6, "w": 7, "f": 7, "kernel": 3, "pad": 1},
    "3x3 strided": {"n": 2, "c": 4, "h": 9, "w": 8, "f": 8, "kernel": 3, "pad": 1, "stride": 2},
    "3x3 dilated": {"n": 1, "c": 3, "h": 10, "w": 10, "f": 6, "kernel": 3, "pad": 2, "dilation": 2},
    "many channels": {"n": 1, "c": 32, "h": 3, "w": 3, "f": 4, "kernel": 3, "pad": 1},
    "without padding": {"n": 1, "c": 3, "h": 9, "w": 9, "f": 4, "kernel": 2},
}


@pytest.mark.parametrize("case", CASES)
def test_convolutions(device: Any, case: str) -> None:
    check(convolution(**CASES[case]), matmul, device)


def test_convolutions_of_halves(device: Any) -> None:
    text = convolution(n=1, c=3, h=4, w=5, f=5, kernel=3, pad=1, element="f16")
    check(text, matmul, device, tolerance=1e-3)


def test_weights_with_their_depth_contiguous(device: Any) -> None:
    given = '{iree.constant, iree.packed = "{\\22kind\\22: \\22transpose\\22, \\22parameters\\22: {\\22permutation\\22: [0, 2, 3, 1]}}"}'
    text = convolution(n=1, c=32, h=3, w=3, f=4, kernel=3, pad=1, weights=given)
    check(text, matmul, device, packed={1: (0, 2, 3, 1)})


GROUPED = """
func.func @grouped(%x: tensor<2x2x3x6x7xf32>, %w: tensor<2x4x3x3x3xf32>, %out: tensor<2x2x4x4x5xf32>)
    -> tensor<2x2x4x4x5xf32> {
  %z = arith.constant 0.0 : f32
  %f = linalg.fill ins(%z : f32) outs(%out : tensor<2x2x4x4x5xf32>) -> tensor<2x2x4x4x5xf32>
  %r = linalg.conv_2d_ngchw_gfchw {dilations = dense<1> : tensor<2xi64>, strides = dense<1> : tensor<2xi64>}
      ins(%x, %w : tensor<2x2x3x6x7xf32>, tensor<2x4x3x3x3xf32>) outs(%f : tensor<2x2x4x4x5xf32>)
      -> tensor<2x2x4x4x5xf32>
  return %r : tensor<2x2x4x4x5xf32>
}"""
CHANNELS_LAST = """
func.func @channels_last(%x: tensor<2x4x5x8xf32>, %w: tensor<3x3x8x12xf32>, %out: tensor<2x4x5x12xf32>)
    -> tensor<2x4x5x12xf32> {
  %z = arith.constant 0.0 : f32
  %f = linalg.fill ins(%z : f32) outs(%out : tensor<2x4x5x12xf32>) -> tensor<2x4x5x12xf32>
  %p = tensor.pad %x low[0, 1, 1, 0] high[0, 1, 1, 0] {
  ^bb0(%i: index, %j: index, %l: index, %m: index):
    tensor.yield %z : f32
  } : tensor<2x4x5x8xf32> to tensor<2x6x7x8xf32>
  %r = linalg.conv_2d_nhwc_hwcf {dilations = dense<1> : tensor<2xi64>, strides = dense<1> : tensor<2xi64>}
      ins(%p, %w : tensor<2x6x7x8xf32>, tensor<3x3x8x12xf32>) outs(%f : tensor<2x4x5x12xf32>)
      -> tensor<2x4x5x12xf32>
  return %r : tensor<2x4x5x12xf32>
}"""
ONE_DIM = """
func.func @one_dim(%x: tensor<2x5x20xf32>, %w: tensor<6x5x3xf32>, %out: tensor<2x6x9xf32>) -> tensor<2x6x9xf32> {
  %z = arith.constant 0.0 : f32
  %f = linalg.fill ins(%z : f32) outs(%out : tensor<2x6x9xf32>) -> tensor<2x6x9xf32>
  %r = linalg.conv_1d_ncw_fcw {dilations = dense<1> : tensor<1xi64>, strides = dense<2> : tensor<1xi64>}
      ins(%x, %w : tensor<2x5x20xf32>, tensor<6x5x3xf32>) outs(%f : tensor<2x6x9xf32>) -> tensor<2x6x9xf32>
  return %r : tensor<2x6x9xf32>
}"""


@pytest.mark.parametrize("text", [GROUPED, CHANNELS_LAST, ONE_DIM], ids=["grouped", "channels last", "1-D"])
def test_other_convolutions(device: Any, text: str) -> None:
    check(text, matmul, device)


DEPTHWISE = """
func.func @depthwise(%x: tensor<2x3x9x34xf32>, %w: tensor<3x3x3xf32>, %out: tensor<2x3x9x34xf32>)
    -> tensor<2x3x9x34xf32> {
  %z = arith.constant 0.0 : f32
  %f = linalg.fill ins(%z : f32) outs(%out : tensor<2x3x9x34xf32>) -> tensor<2x3x9x34xf32>
  %p = tensor.pad %x low[0, 0, 1, 1] high[0, 0, 1, 1] {
  ^bb0(%i: index, %j: index, %l: index, %m: index):
    tensor.yield %z : f32
  } : tensor<2x3x9x34xf32> to tensor<2x3x11x36xf32>
  %r = linalg.depthwise_conv_2d_nchw_chw {dilations = dense<1> : tensor<2xi64>, strides = dense<1> : tensor<2xi64>}
      ins(%p, %w : tensor<2x3x11x36xf32>, tensor<3x3x3xf32>) outs(%f : tensor<2x3x9x34xf32>)
      -> tensor<2x3x9x34xf32>
  return %r : tensor<2x3x9x34xf32>
}"""


def test_depthwise_windows_are_read_directly(device: Any) -> None:
    kernel = check(DEPTHWISE, matmul, device)
    assert all(op.name != "gpu.barrier" for op in kernel.module.walk())
