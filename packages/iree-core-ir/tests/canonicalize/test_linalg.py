"""linalg: canonical forms keep the results and drop what does nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

Canonicalized = Callable[[str], Any]
X = np.arange(32, dtype=np.float32).reshape(4, 8)
MAPS = """#id = affine_map<(d0, d1) -> (d0, d1)>
#row = affine_map<(d0, d1) -> (d0)>
#scalar = affine_map<(d0, d1) -> ()>
"""


def function(arguments: str, results: str, body: str, returned: str) -> str:
    return f"{MAPS}func.func @f({arguments}) -> ({results}) {{\n{body}\nreturn {returned} : {results}\n}}"


def same(c: Any, *arguments: Any) -> None:
    before, after = c.run(*arguments)
    for a, b in zip(before, after, strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


def parallel(inputs: str, types: str, body: str, maps: str, result: str = "tensor<4x8xf32>") -> str:
    n = maps.count("#") + 1
    block = ", ".join(f"%i{i}: f32" for i in range(n))
    return f"""%r = linalg.generic {{indexing_maps = [{maps}, #id], iterator_types = ["parallel", "parallel"]}}
      ins({inputs} : {types}) outs(%o : {result}) {{
    ^bb0({block}):
      {body}
    }} -> {result}"""


T = "tensor<4x8xf32>"


def test_fills_and_splats_become_scalars(canonicalized: Canonicalized) -> None:
    c = canonicalized(
        function(
            f"%x: {T}, %o: {T}, %f: f32",
            T,
            f"""%e = tensor.empty() : {T}
            %a = linalg.fill ins(%f : f32) outs(%e : {T}) -> {T}
            %b = arith.constant dense<3.0> : {T}
            %v = tensor.empty() : tensor<4xf32>
            %w = linalg.fill ins(%f : f32) outs(%v : tensor<4xf32>) -> tensor<4xf32>
            """
            + parallel(
                "%x, %a, %b, %w",
                f"{T}, {T}, {T}, tensor<4xf32>",
                "%0 = arith.addf %i0, %i1 : f32\n%1 = arith.mulf %0, %i2 : f32\n%2 = arith.subf %1, %i3 : f32\nlinalg.yield %2 : f32",
                "#id, #id, #id, #row",
            ),
            "%r",
        )
    )
    assert "linalg.fill" not in c.text
    assert f"ins(%x : {T}) outs(%o : {T})" in c.text
    assert "arith.addf %i0, %f" in c.text
    same(c, X, X, 2.0)


def test_unused_and_equal_inputs(canonicalized: Canonicalized) -> None:
    c = canonicalized(
        function(
            f"%x: {T}, %y: {T}, %o: {T}",
            T,
            parallel(
                "%x, %y, %x",
                f"{T}, {T}, {T}",
                "%0 = arith.mulf %i0, %i2 : f32\nlinalg.yield %0 : f32",
                "#id, #id, #id",
            ),
            "%r",
        )
    )
    assert f"ins(%x : {T}) outs(%o : {T})" in c.text and "arith.mulf %i0, %i0" in c.text
    same(c, X, X, X)


def test_an_input_that_fixes_a_loop_stays(canonicalized: Canonicalized) -> None:
    text = function(
        "%x: tensor<4x?xf32>, %o: tensor<4xf32>",
        "tensor<4xf32>",
        """%r = linalg.generic {indexing_maps = [#id, #row], iterator_types = ["parallel", "reduction"]}
          ins(%x : tensor<4x?xf32>) outs(%o : tensor<4xf32>) {
        ^bb0(%i: f32, %a: f32):
          %c = arith.constant 1.0 : f32
          %0 = arith.addf %a, %c : f32
          linalg.yield %0 : f32
        } -> tensor<4xf32>""",
        "%r",
    )
    c = canonicalized(text)
    assert "ins(%x : tensor<4x?xf32>)" in c.text
    same(c, X, np.zeros(4, np.float32))


def test_unused_results_go_with_what_computes_them(canonicalized: Canonicalized) -> None:
    c = canonicalized(
        function(
            f"%x: {T}, %a: tensor<4xf32>, %b: tensor<4xf32>, %m: tensor<4xf32>",
            "tensor<4xf32>, tensor<4xf32>",
            f"""%r:3 = linalg.generic {{indexing_maps = [#id, #row, #row, #row], iterator_types = ["parallel", "reduction"]}}
              ins(%x : {T}) outs(%a, %b, %m : tensor<4xf32>, tensor<4xf32>, tensor<4xf32>) {{
            ^bb0(%i: f32, %s: f32, %t: f32, %u: f32):
              %0 = arith.addf %i, %s : f32
              %q = math.exp %t : f32
              %1 = arith.mulf %i, %q : f32
              %2 = arith.maximumf %i, %u : f32
              linalg.yield %0, %1, %2 : f32, f32, f32
            }} -> (tensor<4xf32>, tensor<4xf32>, tensor<4xf32>)""",
            "%r#0, %r#2",
        )
    )
    assert "math.exp" not in c.text and "outs(%a, %m : tensor<4xf32>, tensor<4xf32>)" in c.text
    same(c, X, *[np.zeros(4, np.float32)] * 3)


def test_a_result_that_another_needs_stays(canonicalized: Canonicalized) -> None:
    """Argmax without its maximum."""
    c = canonicalized(
        function(
            f"%x: {T}, %v: tensor<4xf32>, %p: tensor<4xindex>",
            "tensor<4xindex>",
            f"""%r:2 = linalg.generic {{indexing_maps = [#id, #row, #row], iterator_types = ["parallel", "reduction"]}}
              ins(%x : {T}) outs(%v, %p : tensor<4xf32>, tensor<4xindex>) {{
            ^bb0(%i: f32, %best: f32, %at: index):
              %j = linalg.index 1 : index
              %c = arith.cmpf ogt, %i, %best : f32
              %1 = arith.select %c, %i, %best : f32
              %2 = arith.select %c, %j, %at : index
              linalg.yield %1, %2 : f32, index
            }} -> (tensor<4xf32>, tensor<4xindex>)""",
            "%r#1",
        )
    )
    assert "%r:2 = linalg.generic" in c.text
    same(c, X, np.full(4, -np.inf, np.float32), np.zeros(4, np.int64))


@pytest.mark.parametrize(
    "body",
    [
        parallel("%x", T, "linalg.yield %i0 : f32", "#id"),
        f"%r = linalg.copy ins(%x : {T}) outs(%o : {T}) -> {T}",
        f"%r = linalg.transpose ins(%x : {T}) outs(%o : {T}) permutation = [0, 1]",
        f"%r = linalg.broadcast ins(%x : {T}) outs(%o : {T}) dimensions = []",
        f"%e = tensor.empty() : tensor<8x4xf32>\n%0 = linalg.transpose ins(%x : {T}) outs(%e : tensor<8x4xf32>) permutation = [1, 0]\n%r = linalg.transpose ins(%0 : tensor<8x4xf32>) outs(%o : {T}) permutation = [1, 0]",
        f"%r = linalg.map ins(%x : {T}) outs(%o : {T}) (%i: f32, %u: f32) {{\n linalg.yield %i : f32\n}}",
    ],
)
def test_identities(canonicalized: Canonicalized, body: str) -> None:
    c = canonicalized(function(f"%x: {T}, %o: {T}", T, body, "%r"))
    assert c.ops == []
    same(c, X, X)


def test_identity_through_a_cast(canonicalized: Canonicalized) -> None:
    c = canonicalized(
        function(
            "%x: tensor<4x?xf32>, %o: tensor<?x8xf32>",
            "tensor<?x8xf32>",
            "%r = linalg.copy ins(%x : tensor<4x?xf32>) outs(%o : tensor<?x8xf32>) -> tensor<?x8xf32>",
            "%r",
        )
    )
    assert set(c.ops) == {"tensor.cast"}
    same(c, X, X)


@pytest.mark.parametrize(
    ("body", "result"),
    [
        (f"%r = linalg.transpose ins(%a : {T}) outs(%u : tensor<8x4xf32>) permutation = [1, 0]", "tensor<8x4xf32>"),
        (f"%r = linalg.copy ins(%a : {T}) outs(%o : {T}) -> {T}", T),
        (f"%r = tensor.extract_slice %a[1, 2] [2, 3] [1, 1] : {T} to tensor<2x3xf32>", "tensor<2x3xf32>"),
        (f"%r = tensor.collapse_shape %a [[0, 1]] : {T} into tensor<32xf32>", "tensor<32xf32>"),
        (f"%r = tensor.expand_shape %a [[0, 1], [2]] output_shape [2, 2, 8] : {T} into tensor<2x2x8xf32>", "tensor<2x2x8xf32>"),
        (f"%r = tensor.pad %a low[1, 0] high[0, 2] {{\n^bb0(%p: index, %q: index):\n tensor.yield %f : f32\n}} : {T} to tensor<5x10xf32>", "tensor<5x10xf32>"),
        (f"%r = linalg_ext.pack inner_dims_pos = [1] inner_tiles = [3] ins(%a, %f : {T}, f32) outs(%k : tensor<4x3x3xf32>) -> tensor<4x3x3xf32>", "tensor<4x3x3xf32>"),
        (f"%r = linalg.fill ins(%f : f32) outs(%a : {T}) -> {T}", T),
    ],
)  # fmt: skip
def test_moved_fills_are_fills(canonicalized: Canonicalized, body: str, result: str) -> None:
    c = canonicalized(
        function(
            f"%f: f32, %o: {T}, %u: tensor<8x4xf32>, %k: tensor<4x3x3xf32>",
            result,
            f"%e = tensor.empty() : {T}\n%a = linalg.fill ins(%f : f32) outs(%e : {T}) -> {T}\n{body}",
            "%r",
        )
    )
    assert set(c.ops) <= {"linalg.fill", "tensor.empty"} and c.ops.count("linalg.fill") == 1
    same(c, 2.5, X, np.zeros((8, 4), np.float32), np.zeros((4, 3, 3), np.float32))


def test_transposes_and_broadcasts_compose(canonicalized: Canonicalized) -> None:
    c = canonicalized(
        function(
            "%x: tensor<2x3x4xf32>",
            "tensor<4x2x3xf32>, tensor<5x2x6x3x4xf32>",
            """%a = tensor.empty() : tensor<3x4x2xf32>
            %b = tensor.empty() : tensor<4x2x3xf32>
            %0 = linalg.transpose ins(%x : tensor<2x3x4xf32>) outs(%a : tensor<3x4x2xf32>) permutation = [1, 2, 0]
            %1 = linalg.transpose ins(%0 : tensor<3x4x2xf32>) outs(%b : tensor<4x2x3xf32>) permutation = [1, 2, 0]
            %c = tensor.empty() : tensor<2x6x3x4xf32>
            %d = tensor.empty() : tensor<5x2x6x3x4xf32>
            %2 = linalg.broadcast ins(%x : tensor<2x3x4xf32>) outs(%c : tensor<2x6x3x4xf32>) dimensions = [1]
            %3 = linalg.broadcast ins(%2 : tensor<2x6x3x4xf32>) outs(%d : tensor<5x2x6x3x4xf32>) dimensions = [0]""",
            "%1, %3",
        )
    )
    assert c.ops.count("linalg.transpose") == 1 and "permutation = [2, 0, 1]" in c.text
    assert c.ops.count("linalg.broadcast") == 1 and "dimensions = [0, 2]" in c.text
    same(c, np.arange(24, dtype=np.float32).reshape(2, 3, 4))


def test_static_sizes_reach_every_operand(canonicalized: Canonicalized) -> None:
    c = canonicalized(
        function(
            "%a: tensor<4x8xf32>, %b: tensor<?x?xf32>, %c: tensor<?x5xf32>",
            "tensor<?x5xf32>",
            "%r = linalg.matmul ins(%a, %b : tensor<4x8xf32>, tensor<?x?xf32>) outs(%c : tensor<?x5xf32>) -> tensor<?x5xf32>",
            "%r",
        )
    )
    assert (
        "ins(%a, %0 : tensor<4x8xf32>, tensor<8x5xf32>) outs(%1 : tensor<4x5xf32>) -> tensor<4x5xf32>"
        in c.text
    )
    same(c, X, X.T[:, [0] * 5].copy(), np.zeros((4, 5), np.float32))


def test_no_iterations(canonicalized: Canonicalized) -> None:
    c = canonicalized(
        function(
            "%a: tensor<4x0xf32>, %b: tensor<0x5xf32>, %c: tensor<4x5xf32>",
            "tensor<4x5xf32>",
            "%r = linalg.matmul ins(%a, %b : tensor<4x0xf32>, tensor<0x5xf32>) outs(%c : tensor<4x5xf32>) -> tensor<4x5xf32>",
            "%r",
        )
    )
    assert c.ops == []
    same(c, np.zeros((4, 0), np.float32), np.zeros((0, 5), np.float32), np.ones((4, 5), np.float32))


def test_index_of_a_unit_loop(canonicalized: Canonicalized) -> None:
    c = canonicalized(
        f"""{MAPS}func.func @f(%o: tensor<1x3xindex>) -> tensor<1x3xindex> {{
          %r = linalg.generic {{indexing_maps = [#id], iterator_types = ["parallel", "parallel"]}} outs(%o : tensor<1x3xindex>) {{
          ^bb0(%u: index):
            %i = linalg.index 0 : index
            %j = linalg.index 1 : index
            %s = arith.addi %i, %j : index
            linalg.yield %s : index
          }} -> tensor<1x3xindex>
          return %r : tensor<1x3xindex>
        }}"""
    )
    assert "linalg.index 0" not in c.text and "arith.addi" not in c.text
    same(c, np.zeros((1, 3), np.int64))


def test_dead_ops_go_and_memref_ops_stay(canonicalized: Canonicalized) -> None:
    c = canonicalized(
        f"""func.func @f(%x: {T}, %m: memref<4x8xf32>) {{
          %0 = linalg.exp ins(%x : {T}) outs(%x : {T}) -> {T}
          linalg.exp ins(%m : memref<4x8xf32>) outs(%m : memref<4x8xf32>)
          linalg.copy ins(%m : memref<4x8xf32>) outs(%m : memref<4x8xf32>)
          return
        }}"""
    )
    assert c.ops == ["linalg.exp"]


def test_packing_and_unpacking_cancel(canonicalized: Canonicalized) -> None:
    c = canonicalized(
        function(
            f"%x: {T}, %p: tensor<2x4x4xf32>, %f: f32, %q: tensor<2x2x3x4xf32>",
            f"{T}, tensor<2x4x4xf32>, tensor<2x2x3x4xf32>",
            f"""%0 = linalg_ext.pack outer_dims_perm = [1, 0] inner_dims_pos = [1] inner_tiles = [4] ins(%x, %f : {T}, f32) outs(%p : tensor<2x4x4xf32>) -> tensor<2x4x4xf32>
            %1 = linalg_ext.unpack outer_dims_perm = [1, 0] inner_dims_pos = [1] inner_tiles = [4] ins(%0 : tensor<2x4x4xf32>) outs(%x : {T}) -> {T}
            %2 = linalg_ext.unpack outer_dims_perm = [1, 0] inner_dims_pos = [1] inner_tiles = [4] ins(%p : tensor<2x4x4xf32>) outs(%x : {T}) -> {T}
            %3 = linalg_ext.pack outer_dims_perm = [1, 0] inner_dims_pos = [1] inner_tiles = [4] ins(%2 : {T}) outs(%p : tensor<2x4x4xf32>) -> tensor<2x4x4xf32>
            %4 = linalg_ext.unpack inner_dims_pos = [0, 1] inner_tiles = [3, 4] ins(%q : tensor<2x2x3x4xf32>) outs(%x : {T}) -> {T}
            %5 = linalg_ext.pack inner_dims_pos = [0, 1] inner_tiles = [3, 4] ins(%4, %f : {T}, f32) outs(%q : tensor<2x2x3x4xf32>) -> tensor<2x2x3x4xf32>""",
            "%1, %3, %5",
        )
    )
    # The last pair is no identity: it replaces padding.
    assert c.ops == ["linalg_ext.unpack", "linalg_ext.pack"]
    rng = np.random.default_rng(0)
    same(
        c,
        X,
        rng.normal(size=(2, 4, 4)).astype(np.float32),
        7.0,
        rng.normal(size=(2, 2, 3, 4)).astype(np.float32),
    )
