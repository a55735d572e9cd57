"""vector: meanings against numpy; masked lanes touch nothing; transfers stop at the edges."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from iree_base.element_types import element_type
from iree_core_ir.errors import CoreIrError

Evaluate = Callable[..., Any]
V = np.arange(8, dtype=np.float32)
W = np.arange(32, dtype=np.float32).reshape(4, 8)


@pytest.mark.parametrize(
    ("assembly", "types", "result", "values", "expected"),
    [
        ("vector.broadcast %a : f32 to vector<2x3xf32>", ["f32"], "vector<2x3xf32>", [2.0], np.full((2, 3), 2)),
        ("vector.broadcast %a : vector<4x1xf32> to vector<2x4x3xf32>", ["vector<4x1xf32>"], "vector<2x4x3xf32>", [W[:, :1]], np.broadcast_to(W[:, :1], (2, 4, 3))),
        ("vector.splat %a : vector<3xf32>", ["f32"], "vector<3xf32>", [2.0], [2, 2, 2]),
        ("vector.shuffle %a, %b [0, 9, 7, 15] : vector<8xf32>, vector<8xf32>", ["vector<8xf32>"] * 2, "vector<4xf32>", [V, V + 100], [0, 101, 7, 107]),
        ("vector.shuffle %a, %a [5, 0] : vector<4x8xf32>, vector<4x8xf32>", ["vector<4x8xf32>"], "vector<2x8xf32>", [W], W[[1, 0]]),
        ("vector.extract %a[1] : vector<8xf32> from vector<4x8xf32>", ["vector<4x8xf32>"], "vector<8xf32>", [W], W[1]),
        ("vector.extract %a[1, %b] : f32 from vector<4x8xf32>", ["vector<4x8xf32>", "index"], "f32", [W, 3], W[1, 3]),
        ("vector.insert %b, %a [%c, 2] : f32 into vector<4x8xf32>", ["vector<4x8xf32>", "f32", "index"], "vector<4x8xf32>", [W, -1.0, 3], np.where(np.arange(32).reshape(4, 8) == 26, -1, W)),
        ("vector.extractelement %a[%b : i32] : vector<8xf32>", ["vector<8xf32>", "i32"], "f32", [V, 5], 5),
        ("vector.insertelement %c, %a[%b : i32] : vector<8xf32>", ["vector<8xf32>", "i32", "f32"], "vector<8xf32>", [V, 5, -1.0], np.where(V == 5, -1, V)),
        ("vector.bitcast %a : vector<8xf32> to vector<16xi16>", ["vector<8xf32>"], "vector<16xi16>", [V], V.view(np.int16)),
        ("vector.shape_cast %a : vector<4x8xf32> to vector<2x16xf32>", ["vector<4x8xf32>"], "vector<2x16xf32>", [W], W.reshape(2, 16)),
        ("vector.transpose %a, [1, 0] : vector<4x8xf32> to vector<8x4xf32>", ["vector<4x8xf32>"], "vector<8x4xf32>", [W], W.T),
        ("vector.step : vector<4xindex>", [], "vector<4xindex>", [], [0, 1, 2, 3]),
        ("vector.from_elements %a, %b : vector<2x1xf32>", ["f32", "f32"], "vector<2x1xf32>", [1.0, 2.0], [[1], [2]]),
        ("vector.extract_strided_slice %a {offsets = [1, 2], sizes = [2, 4], strides = [1, 1]} : vector<4x8xf32> to vector<2x4xf32>", ["vector<4x8xf32>"], "vector<2x4xf32>", [W], W[1:3, 2:6]),
        ("vector.interleave %a, %b : vector<8xf32> -> vector<16xf32>", ["vector<8xf32>"] * 2, "vector<16xf32>", [V, -V], np.stack([V, -V], 1).ravel()),
        ("vector.constant_mask [2, 3] : vector<4x8xi1>", [], "vector<4x8xi1>", [], (np.arange(4) < 2)[:, None] & (np.arange(8) < 3)),
        ("vector.create_mask %a, %b : vector<4x8xi1>", ["index", "index"], "vector<4x8xi1>", [9, -1], np.zeros((4, 8), bool)),
        ("vector.create_mask %a : vector<8xi1>", ["index"], "vector<8xi1>", [5], np.arange(8) < 5),
        ("vector.outerproduct %a, %b : vector<8xf32>, vector<8xf32>", ["vector<8xf32>"] * 2, "vector<8x8xf32>", [V, V + 1], np.outer(V, V + 1)),
        ("vector.outerproduct %a, %b : vector<8xf32>, f32", ["vector<8xf32>", "f32"], "vector<8xf32>", [V, 3.0], V * 3),
    ],
)  # fmt: skip
def test_moves(
    evaluate: Evaluate, assembly: str, types: list[str], result: str, values: list[Any], expected: Any
) -> None:
    found = evaluate(assembly, types, result, *values)
    np.testing.assert_array_equal(found, expected)


def test_several_results(evaluate: Evaluate) -> None:
    even, odd = evaluate(
        "vector.deinterleave %a : vector<8xf32> -> vector<4xf32>", ["vector<8xf32>"], ["vector<4xf32>"] * 2, V
    )
    np.testing.assert_array_equal(even, V[::2])
    np.testing.assert_array_equal(odd, V[1::2])
    a, b = evaluate(
        "vector.to_elements %a : vector<2xindex>", ["vector<2xindex>"], ["index"] * 2, np.array([3, 4])
    )
    assert (type(a), a, b) == (int, 3, 4)


def test_insert_strided_slice(evaluate: Evaluate) -> None:
    found = evaluate(
        "vector.insert_strided_slice %a, %b {offsets = [2, 3], strides = [1]} : vector<4xf32> into vector<4x8xf32>",
        ["vector<4xf32>", "vector<4x8xf32>"], "vector<4x8xf32>", V[:4] - 10, W,
    )  # fmt: skip
    expected = W.copy()
    expected[2, 3:7] = V[:4] - 10
    np.testing.assert_array_equal(found, expected)
    assert W[2, 3] == 19


@pytest.mark.parametrize("element", ["f32", "f64", "f16", "bf16"])
def test_fma_rounds_once(evaluate: Evaluate, element: str) -> None:
    rng = np.random.default_rng(0)
    dtype = element_type(element).dtype
    a, b, c = (rng.normal(size=64).astype(dtype) for _ in range(3))
    type = f"vector<64x{element}>"
    found = evaluate(f"vector.fma %a, %b, %c : {type}", [type] * 3, type, a, b, c)
    # The exact value lies within half a unit in the last place of what is found.
    for x, y, z, r in zip(a, b, c, found, strict=True):
        exact = Fraction(float(x)) * Fraction(float(y)) + Fraction(float(z))
        error = abs(exact - Fraction(float(r)))
        for neighbour in (np.nextafter(r, dtype.type(np.inf)), np.nextafter(r, dtype.type(-np.inf))):
            assert error <= abs(exact - Fraction(float(neighbour)))


KINDS: dict[str, Any] = {
    "add": np.add, "mul": np.multiply, "minnumf": np.fmin, "maxnumf": np.fmax, "minimumf": np.minimum,
    "maximumf": np.maximum, "minsi": np.minimum, "maxsi": np.maximum, "and": np.bitwise_and,
    "or": np.bitwise_or, "xor": np.bitwise_xor,
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_reductions(evaluate: Evaluate, kind: str) -> None:
    element = "f32" if kind.endswith("f") or kind in ("add", "mul") else "i32"
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(4, 8)) * 10).astype(element_type(element).dtype)
    acc = x[0, 0]
    ufunc = KINDS[kind]
    flat = evaluate(
        f"vector.reduction <{kind}>, %a, %b : vector<8x{element}> into {element}",
        [f"vector<8x{element}>", element],
        element,
        x[1],
        acc,
    )
    np.testing.assert_allclose(flat, ufunc(acc, ufunc.reduce(x[1])), rtol=1e-5)
    multi = evaluate(
        f"vector.multi_reduction <{kind}>, %a, %b [0] : vector<4x8x{element}> to vector<8x{element}>",
        [f"vector<4x8x{element}>", f"vector<8x{element}>"],
        f"vector<8x{element}>",
        x,
        x[2],
    )
    np.testing.assert_allclose(multi, ufunc(x[2], ufunc.reduce(x, axis=0)), rtol=1e-5)
    scanned, total = evaluate(
        f"vector.scan <{kind}>, %a, %b {{inclusive = true, reduction_dim = 1 : i64}} : vector<4x8x{element}>, vector<4x{element}>",
        [f"vector<4x8x{element}>", f"vector<4x{element}>"],
        [f"vector<4x8x{element}>", f"vector<4x{element}>"],
        x,
        x[:, 0],
    )
    np.testing.assert_allclose(scanned, ufunc.accumulate(x, axis=1), rtol=1e-5)
    np.testing.assert_array_equal(total, scanned[:, -1])


def test_exclusive_scan_starts_with_the_initial_value(evaluate: Evaluate) -> None:
    types = ["vector<4xi32>", "vector<i32>"]
    x, start = np.array([1, 2, 3, 4], np.int32), np.array(10, np.int32)
    scanned, total = evaluate(
        "vector.scan <add>, %a, %b {inclusive = false, reduction_dim = 0 : i64} : vector<4xi32>, vector<i32>",
        types,
        types,
        x,
        start,
    )
    np.testing.assert_array_equal(scanned, [10, 11, 13, 16])
    assert total == 16


def test_float_reduction_runs_lane_after_lane(evaluate: Evaluate) -> None:
    x = np.array([1e8, 1, -1e8, 1], np.float32)
    found = evaluate("vector.reduction <add>, %a : vector<4xf32> into f32", ["vector<4xf32>"], "f32", x)
    assert found == np.float32(
        np.float32(np.float32(np.float32(1e8) + np.float32(1)) - np.float32(1e8)) + np.float32(1)
    )


@pytest.mark.parametrize("inputs", ["f32", "bf16", "i8"])
def test_contract(evaluate: Evaluate, inputs: str) -> None:
    output = "i32" if inputs == "i8" else "f32"
    rng = np.random.default_rng(0)
    a, b = ((rng.normal(size=s) * 5).astype(element_type(inputs).dtype) for s in ((2, 3, 4), (4, 5, 2)))
    acc = rng.normal(size=(5, 3)).astype(element_type(output).dtype)
    maps = "affine_map<(i, j, k, b) -> (b, i, k)>, affine_map<(i, j, k, b) -> (k, j, b)>, affine_map<(i, j, k, b) -> (j, i)>"
    assembly = f"""vector.contract {{indexing_maps = [{maps}], iterator_types = ["parallel", "parallel", "reduction", "reduction"],
      kind = #vector.kind<add>}} %a, %b, %c : vector<2x3x4x{inputs}>, vector<4x5x2x{inputs}> into vector<5x3x{output}>"""
    types = [f"vector<2x3x4x{inputs}>", f"vector<4x5x2x{inputs}>", f"vector<5x3x{output}>"]
    found = evaluate(assembly, types, types[2], a, b, acc)
    exact = np.einsum("bik,kjb->ji", a.astype(np.float64), b.astype(np.float64)) + acc
    np.testing.assert_allclose(found, exact, rtol=1e-4, atol=1e-3)


def test_contract_to_a_scalar_by_maximum(evaluate: Evaluate) -> None:
    maps = "affine_map<(i) -> (i)>, affine_map<(i) -> (i)>, affine_map<(i) -> ()>"
    assembly = f'vector.contract {{indexing_maps = [{maps}], iterator_types = ["reduction"], kind = #vector.kind<maxnumf>}} %a, %b, %c : vector<8xf32>, vector<8xf32> into f32'
    found = evaluate(assembly, ["vector<8xf32>", "vector<8xf32>", "f32"], "f32", V, V[::-1].copy(), 3.0)
    assert found == (V * V[::-1]).max()


# -- memory ----------------------------------------------------------------------------------------


def memory(body: str, result: str = "vector<8xf32>") -> str:
    return f"""func.func @f(%m: memref<?x16xf32>, %i: index, %j: index, %k: vector<8xi1>, %v: vector<8xf32>, %n: vector<8xi32>) -> {result} {{
      {body}
      return %r : {result}
    }}"""


def buffer() -> np.ndarray[Any, Any]:
    return np.arange(64, dtype=np.float32).reshape(4, 16)


MASK = np.array([1, 0, 1, 1, 0, 0, 0, 1], np.bool_)
SOME = np.arange(8, dtype=np.int32)


def test_load_and_store(run_text: Evaluate) -> None:
    x = buffer()
    text = memory(
        "%r = vector.load %m[%i, %j] : memref<?x16xf32>, vector<8xf32>\nvector.store %v, %m[%j, %i] : memref<?x16xf32>, vector<8xf32>"
    )
    (found,) = run_text(text, x, 1, 2, MASK, V - 100, SOME)
    np.testing.assert_array_equal(found, buffer()[1, 2:10])
    np.testing.assert_array_equal(x[2, 1:9], V - 100)
    with pytest.raises(CoreIrError, match="a lane at index 16 is outside dim 1 of size 16"):
        run_text(text, x, 1, 9, MASK, V, SOME)
    box = memory("%r = vector.load %m[%i, %j] : memref<?x16xf32>, vector<2x4xf32>", "vector<2x4xf32>")
    np.testing.assert_array_equal(run_text(box, buffer(), 1, 3, MASK, V, SOME)[0], buffer()[1:3, 3:7])


def test_masked_access_touches_set_lanes_only(run_text: Evaluate) -> None:
    x = buffer()
    text = memory("""%r = vector.maskedload %m[%i, %j], %k, %v : memref<?x16xf32>, vector<8xi1>, vector<8xf32> into vector<8xf32>
      vector.maskedstore %m[%i, %j], %k, %v : memref<?x16xf32>, vector<8xi1>, vector<8xf32>""")
    # Lanes 2.. are beyond the end, and masked off.
    mask = np.array([1, 0, 0, 0, 0, 0, 0, 0], np.bool_)
    (found,) = run_text(text, x, 3, 14, mask, V - 100, SOME)
    np.testing.assert_array_equal(found, [62, *(V[1:] - 100)])
    assert x[3, 14] == -100 and x[3, 15] == 63
    with pytest.raises(CoreIrError, match="outside dim 1"):
        run_text(text, x, 3, 14, MASK, V, SOME)


def test_expand_and_compress(run_text: Evaluate) -> None:
    x = buffer()
    text = memory("""%r = vector.expandload %m[%i, %j], %k, %v : memref<?x16xf32>, vector<8xi1>, vector<8xf32> into vector<8xf32>
      vector.compressstore %m[%j, %i], %k, %v : memref<?x16xf32>, vector<8xi1>, vector<8xf32>""")
    (found,) = run_text(text, x, 0, 3, MASK, V - 100, SOME)
    expected = V - 100
    expected[MASK] = [3, 4, 5, 6]
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(x[3, :4], (V - 100)[MASK])
    assert x[3, 4] == 52


def test_gather_and_scatter_count_row_major(run_text: Evaluate) -> None:
    x = buffer()
    text = memory("""%r = vector.gather %m[%i, %j] [%n], %k, %v : memref<?x16xf32>, vector<8xi32>, vector<8xi1>, vector<8xf32> into vector<8xf32>
      vector.scatter %m[%i, %j] [%n], %k, %v : memref<?x16xf32>, vector<8xi32>, vector<8xi1>, vector<8xf32>""")
    offsets = np.array([0, 999, 20, 40, 999, 999, 999, 0], np.int32)
    (found,) = run_text(text, x, 1, 2, MASK, V - 100, offsets)
    expected = np.where(MASK, np.array([18, 0, 38, 58, 0, 0, 0, 18]), V - 100)
    np.testing.assert_array_equal(found, expected)
    flat = x.ravel()
    assert flat[18] == -93, "of two lanes to one element the later stays"
    assert (flat[38], flat[58]) == (-98, -97)
    with pytest.raises(CoreIrError, match="outside dim 0"):
        run_text(text, x, 1, 2, np.ones(8, np.bool_), V, offsets)


def test_gather_reads_tensors_too(run_text: Evaluate) -> None:
    text = """func.func @f(%t: tensor<4xf32>, %n: vector<2xindex>, %k: vector<2xi1>, %v: vector<2xf32>) -> vector<2xf32> {
      %c0 = arith.constant 0 : index
      %r = vector.gather %t[%c0] [%n], %k, %v : tensor<4xf32>, vector<2xindex>, vector<2xi1>, vector<2xf32> into vector<2xf32>
      return %r : vector<2xf32>
    }"""
    found = run_text(text, V[:4], np.array([3, 9]), np.array([True, False]), np.zeros(2, np.float32))[0]
    np.testing.assert_array_equal(found, [3, 0])


@pytest.mark.parametrize("start", [(0, 0), (3, 14), (3, 16), (0, -2)])
def test_transfers_pad_and_clip(run_text: Evaluate, start: tuple[int, int]) -> None:
    text = """func.func @f(%t: tensor<4x16xf32>, %m: memref<4x16xf32>, %i: index, %j: index, %p: f32, %w: vector<2x4xf32>)
        -> (vector<2x4xf32>, vector<4x2xf32>, tensor<4x16xf32>) {
      %0 = vector.transfer_read %t[%i, %j], %p : tensor<4x16xf32>, vector<2x4xf32>
      %1 = vector.transfer_read %m[%i, %j], %p {permutation_map = affine_map<(d0, d1) -> (d1, d0)>} : memref<4x16xf32>, vector<4x2xf32>
      %2 = vector.transfer_write %w, %t[%i, %j] : vector<2x4xf32>, tensor<4x16xf32>
      vector.transfer_write %1, %m[%i, %j] {permutation_map = affine_map<(d0, d1) -> (d1, d0)>} : vector<4x2xf32>, memref<4x16xf32>
      return %0, %1, %2 : vector<2x4xf32>, vector<4x2xf32>, tensor<4x16xf32>
    }"""
    x, w = buffer(), W[:2, :4] + 100
    i, j = start
    padded = np.full((10, 24), -1, np.float32)
    padded[2:6, 4:20] = x
    expected = padded[i + 2 : i + 4, j + 4 : j + 8]
    memory_before = x.copy()
    read, turned, written = run_text(text, x, x, i, j, -1.0, w)
    np.testing.assert_array_equal(read, expected)
    np.testing.assert_array_equal(turned, expected.T)
    np.testing.assert_array_equal(x, memory_before)
    padded[2:6, 4:20] = x
    padded[i + 2 : i + 4, j + 4 : j + 8] = w
    np.testing.assert_array_equal(written, padded[2:6, 4:20])


def test_transfer_broadcasts_and_masks(run_text: Evaluate) -> None:
    text = """func.func @f(%t: tensor<4x16xf32>, %p: f32, %k: vector<4x2xi1>, %r: vector<4xi1>) -> (vector<3x4xf32>, vector<2x4xf32>, vector<3x4xf32>) {
      %c1 = arith.constant 1 : index
      %0 = vector.transfer_read %t[%c1, %c1], %p {permutation_map = affine_map<(d0, d1) -> (0, d1)>} : tensor<4x16xf32>, vector<3x4xf32>
      %1 = vector.transfer_read %t[%c1, %c1], %p, %k {permutation_map = affine_map<(d0, d1) -> (d1, d0)>} : tensor<4x16xf32>, vector<2x4xf32>
      %2 = vector.transfer_read %t[%c1, %c1], %p, %r {permutation_map = affine_map<(d0, d1) -> (0, d1)>} : tensor<4x16xf32>, vector<3x4xf32>
      return %0, %1, %2 : vector<3x4xf32>, vector<2x4xf32>, vector<3x4xf32>
    }"""
    x = buffer()
    mask = np.zeros((4, 2), np.bool_)
    mask[0, 1] = mask[2, 0] = True
    row = np.array([1, 0, 0, 1], np.bool_)
    repeated, turned, masked = run_text(text, x, -1.0, mask, row)
    np.testing.assert_array_equal(repeated, np.broadcast_to(x[1, 1:5], (3, 4)))
    box = np.full((4, 2), -1, np.float32)
    box[:3] = x[1:4, 1:3]
    np.testing.assert_array_equal(turned, np.where(mask, box, -1).T)
    np.testing.assert_array_equal(masked, np.broadcast_to(np.where(row, x[1, 1:5], -1), (3, 4)))


def test_in_bounds_is_a_promise(run_text: Evaluate) -> None:
    text = """func.func @f(%m: memref<4xf32>, %i: index, %p: f32) -> vector<2xf32> {
      %0 = vector.transfer_read %m[%i], %p {in_bounds = [true]} : memref<4xf32>, vector<2xf32>
      return %0 : vector<2xf32>
    }"""
    np.testing.assert_array_equal(run_text(text, V[:4].copy(), 2, 0.0)[0], [2, 3])
    with pytest.raises(CoreIrError, match="a lane at index 4"):
        run_text(text, V[:4].copy(), 3, 0.0)
