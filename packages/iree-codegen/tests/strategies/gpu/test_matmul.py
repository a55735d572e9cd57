"""GPU contractions against the interpreter: shapes with and without tails, layouts, types, epilogues."""

from __future__ import annotations

from typing import Any

import pytest

from iree_codegen.dispatch import Dispatch
from iree_codegen.strategies.gpu import shared_product, tile_shapes
from iree_codegen.strategies.gpu.matmul import matmul
from iree_codegen.strategies.gpu.tile_shapes import TileShape

from .contractions import CPU, DEVICES, GPU, check, function


@pytest.fixture(autouse=True)
def nothing_is_tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small products stand for large ones here, on a tile of few invocations."""
    monkeypatch.setattr(tile_shapes, "TINY", 0)
    monkeypatch.setattr(tile_shapes, "SHARED_TILES", (TileShape(16, 32, 16, 4, 4, 1.0),))


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> Any:
    return DEVICES[request.param]


def product(m: int, k: int, n: int, element: str = "f32", sums: str = "f32") -> str:
    zero = "0.0" if sums.startswith("f") else "0"
    return f"""
func.func @product(%a: tensor<{m}x{k}x{element}>, %b: tensor<{k}x{n}x{element}>, %out: tensor<{m}x{n}x{sums}>)
    -> tensor<{m}x{n}x{sums}> {{
  %z = arith.constant {zero} : {sums}
  %f = linalg.fill ins(%z : {sums}) outs(%out : tensor<{m}x{n}x{sums}>) -> tensor<{m}x{n}x{sums}>
  %r = linalg.matmul ins(%a, %b : tensor<{m}x{k}x{element}>, tensor<{k}x{n}x{element}>)
      outs(%f : tensor<{m}x{n}x{sums}>) -> tensor<{m}x{n}x{sums}>
  return %r : tensor<{m}x{n}x{sums}>
}}"""


SHAPES = [
    (16, 32, 64),
    (17, 33, 65),
    (40, 24, 48),
    (9, 6, 20),
    (37, 19, 10),
    (1, 64, 40),
    (3, 40, 33),
    (20, 48, 1),
]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_shapes(device: Any, shape: tuple[int, int, int]) -> None:
    check(product(*shape), matmul, device)


TILES = tile_shapes.SHARED_TILES


@pytest.mark.parametrize("tile", TILES, ids=str)
def test_tiles(tile: TileShape, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tile_shapes, "SHARED_TILES", (tile,))
    # One row and column more than half a tile: both ends of the tile are looked at.
    shape = (tile.rows - 3, tile.depth + 4, tile.columns - 8)
    kernel = check(product(*shape), matmul, GPU)
    assert str(tile) in kernel.why


@pytest.mark.parametrize(
    ("element", "sums", "tolerance"), [("f16", "f32", 1e-3), ("i8", "i32", 0), ("f64", "f64", 1e-9)]
)
def test_types(device: Any, element: str, sums: str, tolerance: float) -> None:
    check(product(20, 24, 36, element, sums), matmul, device, tolerance=tolerance)


def test_halves_are_summed_wide(device: Any) -> None:
    check(product(12, 40, 20, "f16", "f16"), matmul, device, tolerance=3e-2)


CONTRACTION = """
#a = affine_map<({loops}) -> ({a})>
#b = affine_map<({loops}) -> ({b})>
#c = affine_map<({loops}) -> ({c})>
func.func @contraction(%a: tensor<{shape_a}xf32>, %b: tensor<{shape_b}xf32>, %out: tensor<{shape_c}xf32>)
    -> tensor<{shape_c}xf32> {{
  %z = arith.constant 0.0 : f32
  %f = linalg.fill ins(%z : f32) outs(%out : tensor<{shape_c}xf32>) -> tensor<{shape_c}xf32>
  %r = linalg.generic {{indexing_maps = [#a, #b, #c], iterator_types = [{iterators}]}}
      ins(%a, %b : tensor<{shape_a}xf32>, tensor<{shape_b}xf32>) outs(%f : tensor<{shape_c}xf32>) {{
  ^bb0(%x: f32, %y: f32, %s: f32):
    %0 = arith.mulf %x, %y : f32
    %1 = arith.addf %s, %0 : f32
    linalg.yield %1 : f32
  }} -> tensor<{shape_c}xf32>
  return %r : tensor<{shape_c}xf32>
}}"""


def contraction(subscripts: str, **sizes: int) -> str:
    """``ab,bc->ac`` as a generic."""
    inputs, result = subscripts.split("->")
    a, b = inputs.split(",")
    letters = list(dict.fromkeys(result + a + b))
    iterators = ", ".join('"parallel"' if x in result else '"reduction"' for x in letters)
    parts = {"a": ", ".join(a), "b": ", ".join(b), "c": ", ".join(result)}
    shapes = {
        f"shape_{n}": "x".join(str(sizes[x]) for x in s) for n, s in (("a", a), ("b", b), ("c", result))
    }
    return CONTRACTION.format(loops=", ".join(letters), iterators=iterators, **parts, **shapes)


@pytest.mark.parametrize(
    ("subscripts", "sizes"),
    [
        ("mk,nk->mn", {"m": 20, "n": 24, "k": 16}),
        ("km,kn->mn", {"m": 20, "n": 24, "k": 16}),
        ("km,nk->mn", {"m": 21, "n": 23, "k": 15}),
        ("bmk,bkn->bmn", {"b": 3, "m": 12, "n": 20, "k": 8}),
        ("bmk,kn->bmn", {"b": 3, "m": 12, "n": 20, "k": 8}),
        ("bhmk,bhnk->bhmn", {"b": 2, "h": 2, "m": 9, "n": 12, "k": 8}),
        ("bmhk,bnhk->bhmn", {"b": 2, "h": 2, "m": 9, "n": 12, "k": 8}),
        ("bhmk,bnhk->bmhn", {"b": 2, "h": 2, "m": 9, "n": 12, "k": 8}),
        ("mjk,jkn->mn", {"m": 12, "n": 20, "j": 3, "k": 8}),
        ("mjk,kjn->mn", {"m": 12, "n": 20, "j": 3, "k": 8}),
        ("mk,kn->nm", {"m": 12, "n": 20, "k": 8}),
        ("k,kn->n", {"n": 40, "k": 24}),
        ("mk,k->m", {"m": 40, "k": 24}),
        ("k,nk->n", {"n": 40, "k": 23}),
    ],
)
def test_layouts(device: Any, subscripts: str, sizes: dict[str, int]) -> None:
    check(contraction(subscripts, **sizes), matmul, device)


def epilogue(m: int, k: int, n: int) -> str:
    return f"""
#full = affine_map<(d0, d1) -> (d0, d1)>
#row = affine_map<(d0, d1) -> (d1)>
#column = affine_map<(d0, d1) -> (d0)>
func.func @epilogue(%a: tensor<{m}x{k}xf32>, %b: tensor<{k}x{n}xf32>, %bias: tensor<{n}xf32>,
    %scale: tensor<{m}xf32>, %other: tensor<{m}x{n}xf32>, %out: tensor<{m}x{n}xf32>, %wide: tensor<{m}x{n}xf16>)
    -> (tensor<{m}x{n}xf32>, tensor<{m}x{n}xf16>) {{
  %z = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<{m}x{n}xf32>
  %f = linalg.fill ins(%z : f32) outs(%e : tensor<{m}x{n}xf32>) -> tensor<{m}x{n}xf32>
  %r = linalg.matmul ins(%a, %b : tensor<{m}x{k}xf32>, tensor<{k}x{n}xf32>) outs(%f : tensor<{m}x{n}xf32>)
      -> tensor<{m}x{n}xf32>
  %s:2 = linalg.generic {{indexing_maps = [#full, #row, #column, #full, #full, #full],
      iterator_types = ["parallel", "parallel"]}}
      ins(%r, %bias, %scale, %other : tensor<{m}x{n}xf32>, tensor<{n}xf32>, tensor<{m}xf32>, tensor<{m}x{n}xf32>)
      outs(%out, %wide : tensor<{m}x{n}xf32>, tensor<{m}x{n}xf16>) {{
  ^bb0(%x: f32, %y: f32, %c: f32, %q: f32, %o: f32, %h: f16):
    %0 = arith.mulf %x, %c : f32
    %1 = arith.addf %0, %y : f32
    %2 = math.tanh %1 : f32
    %3 = arith.addf %2, %q : f32
    %4 = arith.truncf %3 : f32 to f16
    linalg.yield %3, %4 : f32, f16
  }} -> (tensor<{m}x{n}xf32>, tensor<{m}x{n}xf16>)
  return %s#0, %s#1 : tensor<{m}x{n}xf32>, tensor<{m}x{n}xf16>
}}"""


@pytest.mark.parametrize("shape", [(16, 16, 64), (11, 13, 22)], ids=str)
def test_epilogues(device: Any, shape: tuple[int, int, int]) -> None:
    check(epilogue(*shape), matmul, device, tolerance=2e-3)


ACCUMULATED = """
func.func @accumulated(%a: tensor<12x16xf32>, %b: tensor<16x20xf32>, %c: tensor<12x20xf32>,
    %out: tensor<12x20xf32>) -> tensor<12x20xf32> {
  %r = linalg.matmul ins(%a, %b : tensor<12x16xf32>, tensor<16x20xf32>) outs(%c : tensor<12x20xf32>)
      -> tensor<12x20xf32>
  return %r : tensor<12x20xf32>
}"""


def test_sums_that_start_from_something(device: Any) -> None:
    check(ACCUMULATED, matmul, device)


PROLOGUE = """
#full = affine_map<(d0, d1) -> (d0, d1)>
#column = affine_map<(d0, d1) -> (d0)>
func.func @prologue(%a: tensor<12x22xf32>, %b: tensor<22x20xi8>, %scale: tensor<22xf32>, %out: tensor<12x20xf32>)
    -> tensor<12x20xf32> {
  %z = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<22x20xf32>
  %d = linalg.generic {indexing_maps = [#full, #column, #full], iterator_types = ["parallel", "parallel"]}
      ins(%b, %scale : tensor<22x20xi8>, tensor<22xf32>) outs(%e : tensor<22x20xf32>) {
  ^bb0(%x: i8, %s: f32, %o: f32):
    %0 = arith.sitofp %x : i8 to f32
    %1 = arith.mulf %0, %s : f32
    linalg.yield %1 : f32
  } -> tensor<22x20xf32>
  %f = linalg.fill ins(%z : f32) outs(%out : tensor<12x20xf32>) -> tensor<12x20xf32>
  %r = linalg.matmul ins(%a, %d : tensor<12x22xf32>, tensor<22x20xf32>) outs(%f : tensor<12x20xf32>)
      -> tensor<12x20xf32>
  return %r : tensor<12x20xf32>
}"""


def test_factors_that_are_computed(device: Any) -> None:
    check(PROLOGUE, matmul, device)


DYNAMIC = """
func.func @dynamic(%a: tensor<?x?xf32> {iree.dims = array<i64: 3, 4>}, %b: tensor<?x?xf32> {iree.dims = array<i64: 4, 5>},
    %out: tensor<?x?xf32> {iree.dims = array<i64: 3, 5>}, %m: index, %k: index, %n: index) -> tensor<?x?xf32> {
  %z = arith.constant 0.0 : f32
  %f = linalg.fill ins(%z : f32) outs(%out : tensor<?x?xf32>) -> tensor<?x?xf32>
  %r = linalg.matmul ins(%a, %b : tensor<?x?xf32>, tensor<?x?xf32>) outs(%f : tensor<?x?xf32>) -> tensor<?x?xf32>
  return %r : tensor<?x?xf32>
}"""


@pytest.mark.parametrize("sizes", [(16, 32, 20), (5, 7, 9)], ids=str)
def test_extents_known_when_called(device: Any, sizes: tuple[int, int, int]) -> None:
    check(DYNAMIC, matmul, device, scalars={3: sizes[0], 4: sizes[1], 5: sizes[2]})


def test_what_is_left_to_others() -> None:
    reduction = """
#in = affine_map<(d0, d1) -> (d0, d1)>
#out = affine_map<(d0, d1) -> (d0)>
func.func @sum(%a: tensor<12x16xf32>, %out: tensor<12xf32>) -> tensor<12xf32> {
  %z = arith.constant 0.0 : f32
  %f = linalg.fill ins(%z : f32) outs(%out : tensor<12xf32>) -> tensor<12xf32>
  %r = linalg.generic {indexing_maps = [#in, #out], iterator_types = ["parallel", "reduction"]}
      ins(%a : tensor<12x16xf32>) outs(%f : tensor<12xf32>) {
  ^bb0(%x: f32, %s: f32):
    %1 = arith.addf %s, %x : f32
    linalg.yield %1 : f32
  } -> tensor<12xf32>
  return %r : tensor<12xf32>
}"""
    assert matmul(Dispatch(function(reduction)), GPU) is None


def test_cpu_devices_get_no_barriers() -> None:
    kernel = check(product(16, 32, 64), matmul, CPU)
    assert all(op.name != "gpu.barrier" for op in kernel.module.walk())
    assert kernel.strategy == shared_product.NAME


@pytest.mark.parametrize(
    ("subscripts", "sizes"),
    [
        ("k,nk->n", {"n": 20, "k": 140}),
        ("k,nk->n", {"n": 19, "k": 75}),
        ("mk,k->m", {"m": 9, "k": 64}),
        ("bmk,bnk->bmn", {"b": 2, "m": 3, "n": 10, "k": 36}),
    ],
)
def test_few_rows_along_the_depth(subscripts: str, sizes: dict[str, int]) -> None:
    kernel = check(contraction(subscripts, **sizes), matmul, GPU)
    assert "a subgroup per column" in kernel.why


@pytest.mark.parametrize("shape", [(32, 32, 32), (9, 6, 11)], ids=str)
def test_tiny_products_have_an_invocation_per_sum(
    shape: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tile_shapes, "TINY", 1 << 16)
    kernel = check(product(*shape), matmul, GPU)
    assert "1x1 an invocation" in kernel.why
    assert all(op.name not in ("gpu.barrier", "scf.for") for op in kernel.module.walk())
