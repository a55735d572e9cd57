"""``join-siblings``: products of the same rows become one, read in place by the attention behind them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pass_runs import call, names, run

from iree_core_ir.constants import ConstantStore
from iree_core_ir.dialects.linalg_ext_attention import Attention
from iree_core_ir.text.parser import parse_module
from iree_flow.passes.join_siblings import JoinSiblings

WIDTH, HEADS, SIZE, ROWS = 6, 2, 4, 5
LOOPS = "affine_map<(h, m, n, k, p) ->"


def dense(values: Any) -> str:
    return f"dense<{np.asarray(values).tolist()}>"


def program(
    parts: str = "qkv",
    bias: bool = True,
    batch: int = 0,
    other: bool = False,
    rows: dict[str, str] | None = None,
) -> str:
    """Attention of products; ``parts`` that are not of ``qkv`` are arguments, ``rows`` says of which argument a
    part is the product (default: %x); ``other``: the query is a result, too."""
    rng = np.random.default_rng(0)
    columns, n = HEADS * SIZE, ROWS
    lead = f"{batch}x" if batch else ""
    flat = max(batch, 1) * n
    lines = ["%zero = arith.constant 0.0 : f32", "%s = arith.constant 0.5 : f32"]
    for part in parts:
        w = rng.integers(-9, 9, (WIDTH, columns)) / 4
        b = rng.integers(-9, 9, columns) / 4
        x = (rows or {}).get(part, "%x")
        made, type = f"tensor<{flat}x{columns}xf32>", f"tensor<{lead}{n}x{columns}xf32>"
        lines += [
            f"%w{part} = arith.constant {dense(w)} : tensor<{WIDTH}x{columns}xf32>",
            f"%b{part} = arith.constant {dense(b)} : tensor<{columns}xf32>",
            f"%e{part} = tensor.empty() : {made}",
            f"%f{part} = linalg.fill ins(%zero : f32) outs(%e{part} : {made}) -> {made}",
            (
                f"%p{part} = linalg.matmul ins({x}, %w{part} : tensor<{flat}x{WIDTH}xf32>, "
                f"tensor<{WIDTH}x{columns}xf32>) outs(%f{part} : {made}) -> {made}"
            ),
        ]
        value = f"%p{part}"
        if batch:
            sizes = f"[{batch}, {n}, {columns}]"
            lines.append(
                f"%x{part} = tensor.expand_shape {value} [[0, 1], [2]] output_shape {sizes} : {made} into {type}"
            )
            value = f"%x{part}"
        if bias:
            dims = "a, b, c" if batch else "a, b"
            identity, last = f"affine_map<({dims}) -> ({dims})>", f"affine_map<({dims}) -> ({dims[-1]})>"
            kinds = ", ".join(['"parallel"'] * (3 if batch else 2))
            lines += [
                f"%t{part} = tensor.empty() : {type}",
                (
                    f"%y{part} = linalg.generic {{indexing_maps = [{identity}, {last}, {identity}], iterator_types = "
                    f"[{kinds}]}} ins({value}, %b{part} : {type}, tensor<{columns}xf32>) outs(%t{part} : {type}) {{"
                ),
                "^bb0(%i: f32, %j: f32, %o: f32):\n%r = arith.addf %i, %j : f32\nlinalg.yield %r : f32",
                f"}} -> {type}",
            ]
            value = f"%y{part}"
        groups = "[[0], [1], [2, 3]]" if batch else "[[0], [1, 2]]"
        sizes = f"[{f'{batch}, ' if batch else ''}{n}, {HEADS}, {SIZE}]"
        wide = f"tensor<{lead}{n}x{HEADS}x{SIZE}xf32>"
        lines.append(
            f"%{part} = tensor.expand_shape {value} {groups} output_shape {sizes} : {type} into {wide}"
        )
    wide = f"tensor<{lead}{n}x{HEADS}x{SIZE}xf32>"
    loops, own = (LOOPS, "") if not batch else ("affine_map<(b, h, m, n, k, p) ->", "b, ")
    maps = [f"{loops} ({own}{m})>" for m in ("m, h, k", "n, h, k", "n, h, p")] + [f"{loops} ()>"]
    maps.append(f"{loops} ({own}m, h, p)>")
    given = [f"%{part}: {wide}" for part in "qkv" if part not in parts]
    arguments = [f"%x: tensor<{flat}x{WIDTH}xf32>", f"%z: tensor<{flat}x{WIDTH}xf32>", *given]
    results, types = ("%r, %pq", f"{wide}, tensor<{flat}x{HEADS * SIZE}xf32>") if other else ("%r", wide)
    lines += [
        f"%out = tensor.empty() : {wide}",
        (
            f"%r = linalg_ext.attention {{indexing_maps = [{', '.join(maps)}]}} ins(%q, %k, %v, %s : {wide}, {wide}, "
            f"{wide}, f32) outs(%out : {wide}) -> {wide}"
        ),
        f"return {results} : {types}",
    ]
    return f"func.func @main({', '.join(arguments)}) -> ({types}) {{\n" + "\n".join(lines) + "\n}"


def joined(text: str) -> tuple[Any, int]:
    """(the attention, how many products there are) after the pass, which changes no result."""
    store = ConstantStore()
    module = run(text, JoinSiblings(), constants=store)
    rng = np.random.default_rng(1)
    types = [a.type for a in module.regions[0].block.last.regions[0].block.args]
    inputs = [rng.standard_normal(t.shape).astype(np.float32) for t in types]
    before = call(parse_module(text), *inputs)
    after = call(module, *inputs, constants=store)
    for a, b in zip(after, before, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
    op = next(op for op in module.walk() if isinstance(op, Attention))
    return op, names(module).count("linalg.matmul")


def maps_of(op: Any) -> list[str]:
    return [str(m).partition("-> ")[2] for m in op.indexing_maps]


@pytest.mark.parametrize("bias", [False, True])
def test_three_become_one(bias: bool) -> None:
    op, products = joined(program(bias=bias))
    assert products == 1
    assert op.inputs[0] is op.inputs[1] is op.inputs[2]
    assert maps_of(op)[:3] == ["(d1, 0, d0, d3)", "(d2, 1, d0, d3)", "(d2, 2, d0, d4)"]


@pytest.mark.parametrize("bias", [False, True])
def test_with_a_batch(bias: bool) -> None:
    op, products = joined(program(bias=bias, batch=2))
    assert products == 1
    assert maps_of(op)[0] == "(d0, d2, 0, d1, d4)"


def test_keys_and_values_of_other_rows() -> None:
    """Attention to another sequence: two are joined."""
    op, products = joined(program(rows={"q": "%z"}))
    assert products == 2
    assert op.inputs[0] is not op.inputs[1] and op.inputs[1] is op.inputs[2]


def test_a_part_that_is_no_product_stays() -> None:
    op, products = joined(program(parts="kv"))
    assert products == 1 and op.inputs[1] is op.inputs[2]


def test_what_is_read_elsewhere_stays_apart() -> None:
    op, products = joined(program(other=True))
    assert products == 2 and op.inputs[0] is not op.inputs[1]
