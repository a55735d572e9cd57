"""``raise-attention``: what exporters write for attention becomes one op that means the same."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from pass_runs import call, floats, names, run, same

from iree_core_ir.dialects.linalg_ext_attention import Attention
from iree_core_ir.text.parser import parse_module
from iree_flow.passes.fuse_elementwise import FuseElementwise
from iree_flow.passes.raise_attention import NAME, RaiseAttention

TARGET = SimpleNamespace(fused_ops=lambda description: (NAME,))
BY_ROWS = SimpleNamespace(fused_ops=lambda description: (NAME,), masks_along_keys=lambda description: True)
HEAD = """
#id2 = affine_map<(a, b) -> (a, b)>
#id3 = affine_map<(a, b, c) -> (a, b, c)>
#id4 = affine_map<(a, b, c, d) -> (a, b, c, d)>
"""


class Program:
    """Text of a function, op by op; values are (name, sizes)."""

    def __init__(self) -> None:
        self.arguments: list[str] = []
        self.lines: list[str] = []
        self.count = 0
        self.zero = self._line("arith.constant 0.0 : f32")

    def _line(self, text: str) -> str:
        self.count += 1
        self.lines.append(f"  %v{self.count} = {text}")
        return f"%v{self.count}"

    def argument(self, *sizes: int, element: str = "f32") -> tuple[str, tuple[int, ...]]:
        name = f"%a{len(self.arguments)}"
        self.arguments.append(f"{name}: {tensor(sizes, element)}")
        return name, sizes

    def empty(self, sizes: tuple[int, ...], element: str = "f32") -> str:
        return self._line(f"tensor.empty() : {tensor(sizes, element)}")

    def product(self, a: Any, b: Any) -> Any:
        """``a @ b`` with one batch dim or none."""
        sizes = (*a[1][:-1], b[1][-1])
        start = self.empty(sizes)
        type = tensor(sizes)
        zeros = self._line(f"linalg.fill ins({self.zero} : f32) outs({start} : {type}) -> {type}")
        op = "batch_matmul" if len(sizes) == 3 else "matmul"
        made = self._line(
            f"linalg.{op} ins({a[0]}, {b[0]} : {tensor(a[1])}, {tensor(b[1])}) outs({zeros} : {type}) -> {type}"
        )
        return made, sizes

    def transpose(self, a: Any, order: tuple[int, ...]) -> Any:
        sizes = tuple(a[1][i] for i in order)
        target, type = self.empty(sizes), tensor(sizes)
        made = self._line(
            f"linalg.transpose ins({a[0]} : {tensor(a[1])}) outs({target} : {type}) permutation = {list(order)}"
        )
        return made, sizes

    def map(self, body: str, result: str, *operands: tuple[Any, str], element: str = "f32") -> Any:
        """An elementwise op on the first operand's sizes; ``operands``: value and the results of its map."""
        sizes = operands[0][0][1]
        loops = "abcd"[: len(sizes)]
        maps = [f"affine_map<({', '.join(loops)}) -> ({', '.join(m)})>" for _, m in operands]
        maps.append(f"#id{len(sizes)}")
        types = [tensor(v[1], v[2] if len(v) > 2 else "f32") for v, _ in operands]
        target, type = self.empty(sizes, element), tensor(sizes, element)
        arguments = [f"%x{i}: {t.rpartition('x')[2][:-1]}" for i, t in enumerate([*types, type])]
        parallel = ", ".join(['"parallel"'] * len(sizes))
        made = self._line(
            f"linalg.generic {{indexing_maps = [{', '.join(maps)}], iterator_types = "
            f"[{parallel}]}} ins({', '.join(v[0] for v, _ in operands)} : "
            f"{', '.join(types)}) outs({target} : {type}) {{\n  ^bb0({', '.join(arguments)}):\n{body}\n"
            f"    linalg.yield {result} : {element}\n  }} -> {type}"
        )
        return made, sizes

    def scale(self, a: Any, by: float, op: str = "mulf") -> Any:
        body = f"    %c = arith.constant {by} : f32\n    %r = arith.{op} %x0, %c : f32"
        return self.map(body, "%r", (a, "abcd"[: len(a[1])]))

    def softmax(self, a: Any) -> Any:
        target, type = self.empty(a[1]), tensor(a[1])
        dim = len(a[1]) - 1
        made = self._line(
            f"linalg_ext.softmax dimension({dim}) ins({a[0]} : {type}) outs({target} : {type}) -> {type}"
        )
        return made, a[1]

    def reshape(self, a: Any, groups: str, sizes: tuple[int, ...]) -> Any:
        if len(sizes) > len(a[1]):
            text = f"tensor.expand_shape {a[0]} {groups} output_shape {list(sizes)}"
        else:
            text = f"tensor.collapse_shape {a[0]} {groups}"
        return self._line(f"{text} : {tensor(a[1])} into {tensor(sizes)}"), sizes

    def slice(self, a: Any, offsets: list[int], sizes: tuple[int, ...]) -> Any:
        ones = [1] * len(sizes)
        text = (
            f"tensor.extract_slice {a[0]}{offsets} {list(sizes)} {ones} : {tensor(a[1])} to {tensor(sizes)}"
        )
        return self._line(text), sizes

    def text(self, *results: Any) -> str:
        types = ", ".join(tensor(r[1]) for r in results)
        arguments, lines = ", ".join(self.arguments), "\n".join(self.lines)
        returned = f"  return {', '.join(r[0] for r in results)} : {types}"
        return f"{HEAD}func.func @main({arguments}) -> ({types}) {{\n{lines}\n{returned}\n}}"


def tensor(sizes: tuple[int, ...], element: str = "f32") -> str:
    return f"tensor<{'x'.join([*map(str, sizes), element])}>"


def raised(text: str, *inputs: Any, target: Any = TARGET) -> Any:
    """The attention of ``text`` after the pass; the module gives what the text gives."""
    module = run(text, FuseElementwise(), RaiseAttention(), target=target, description=None)
    same(text, module, *inputs)
    found = [op for op in module.walk() if isinstance(op, Attention)]
    if not found:
        return None
    (op,) = found
    assert "linalg_ext.softmax" not in names(module)
    return op


def scale_of(op: Any) -> float:
    return float(op.inputs[3].defining_op.attributes["value"].value)


@pytest.mark.parametrize("where", ["scores", "divided", "query", "both", "nowhere"])
def test_scale(where: str) -> None:
    p = Program()
    q, k, v = p.argument(2, 5, 4), p.argument(2, 7, 4), p.argument(2, 7, 3)
    turned = p.transpose(k, (0, 2, 1))
    if where in ("query", "both"):
        q = p.scale(q, 0.5)
    if where == "both":
        turned = p.scale(turned, 0.25)
    scores = p.product(q, turned)
    if where in ("scores", "divided"):
        scores = p.scale(scores, 0.25 if where == "scores" else 4.0, "mulf" if where == "scores" else "divf")
    op = raised(p.text(p.product(p.softmax(scores), v)), *floats((2, 5, 4), (2, 7, 4), (2, 7, 3)))
    assert scale_of(op) == {"both": 0.125, "query": 0.5, "nowhere": 1.0}.get(where, 0.25)
    assert [v.defining_op for v in op.inputs[:3]] == [None] * 3


def joined(p: Program) -> tuple[Any, Any, Any, Any]:
    """Heads of three joined products, as torch permutes and slices them."""
    x = p.argument(5, 3 * 2 * 4)
    wide = p.reshape(x, "[[0], [1, 2, 3]]", (5, 3, 2, 4))
    front = p.transpose(wide, (1, 2, 0, 3))
    parts = []
    for i in range(3):
        one = p.slice(front, [i, 0, 0, 0], (1, 2, 5, 4))
        parts.append(p.reshape(one, "[[0, 1], [2], [3]]", (2, 5, 4)))
    return x, *parts  # type: ignore[return-value]


def merged(p: Program, a: Any) -> Any:
    """Heads back behind the tokens."""
    back = p.transpose(a, (1, 0, 2))
    return p.reshape(back, "[[0], [1, 2]]", (a[1][1], a[1][0] * a[1][2]))


def test_heads_are_read_and_written_in_place() -> None:
    p = Program()
    _, q, k, v = joined(p)
    out = p.product(p.softmax(p.product(p.scale(q, 0.5), p.transpose(k, (0, 2, 1)))), v)
    text = p.text(merged(p, out))
    op = raised(text, *floats((5, 24)))
    maps = [str(m).partition("-> ")[2] for m in op.indexing_maps]
    assert maps == ["(d1, 0, d0, d3)", "(d2, 1, d0, d3)", "(d2, 2, d0, d4)", "()", "(d1, d0, d4)"]
    assert op.inputs[0] is op.inputs[1] is op.inputs[2]
    module = run(text, FuseElementwise(), RaiseAttention(), target=TARGET, description=None)
    assert "linalg.generic" not in names(module)


def test_columns_of_a_joined_product_become_axes() -> None:
    """Slices of columns, each then split into heads."""
    p = Program()
    x = p.argument(5, 24)
    parts = []
    for i in range(3):
        one = p.slice(x, [0, 8 * i], (5, 8))
        parts.append(p.transpose(p.reshape(one, "[[0], [1, 2]]", (5, 2, 4)), (1, 0, 2)))
    q, k, v = parts
    out = p.product(p.softmax(p.product(q, p.transpose(k, (0, 2, 1)))), v)
    op = raised(p.text(merged(p, out)), *floats((5, 24)))
    maps = [str(m).partition("-> ")[2] for m in op.indexing_maps]
    assert maps == ["(d1, 0, d0, d3)", "(d2, 1, d0, d3)", "(d2, 2, d0, d4)", "()", "(d1, d0, d4)"]


def test_a_batch_merged_with_heads_is_split() -> None:
    p = Program()
    q, k, v = (p.argument(2, 5, 3, 4) for _ in range(3))
    flat = [p.reshape(p.transpose(a, (0, 2, 1, 3)), "[[0, 1], [2], [3]]", (6, 5, 4)) for a in (q, k, v)]
    weights = p.softmax(p.product(flat[0], p.transpose(flat[1], (0, 2, 1))))
    out = p.product(weights, flat[2])
    back = p.transpose(p.reshape(out, "[[0, 1], [2], [3]]", (2, 3, 5, 4)), (0, 2, 1, 3))
    op = raised(p.text(back), *floats((2, 5, 3, 4), (2, 5, 3, 4), (2, 5, 3, 4)))
    assert all(v.defining_op is None for v in op.inputs[:3])
    assert len(op.loops.batch) == 2
    assert str(op.indexing_maps[-1]).partition("-> ")[2] == "(d0, d2, d1, d5)"


MASKS = {
    "added": ("    %s = arith.addf %x0, %x1 : f32", "f32"),
    "added to the scaled": (
        "    %c = arith.constant 0.5 : f32\n    %t = arith.mulf %x0, %c : f32\n    %s = arith.addf %x1, %t : f32",
        "f32",
    ),
    "added, then scaled": (
        "    %c = arith.constant 0.5 : f32\n    %t = arith.addf %x0, %x1 : f32\n    %s = arith.mulf %t, %c : f32",
        "f32",
    ),
    "subtracted": ("    %s = arith.subf %x0, %x1 : f32", "f32"),
    "selected": (
        "    %c = arith.constant 0xFF800000 : f32\n    %s = arith.select %x1, %x0, %c : f32",
        "i1",
    ),
    "filled": (
        "    %c = arith.constant 0xFF800000 : f32\n    %s = arith.select %x1, %c, %x0 : f32",
        "i1",
    ),
    "filled with a low number": (
        "    %c = arith.constant -3.4028235e+38 : f32\n    %s = arith.select %x1, %c, %x0 : f32",
        "i1",
    ),
    "added where selected": (
        "    %c = arith.constant 0xFF800000 : f32\n    %k = arith.constant 1.0 : f32\n    %t = arith.addf %x0, %k : f32\n    %s = arith.select %x1, %t, %c : f32",
        "i1",
    ),
}  # fmt: skip


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("axes", ["bc", "abc", "c", "ac"])
def test_masks(mask: str, axes: str) -> None:
    body, element = MASKS[mask]
    p = Program()
    q, k, v = p.argument(2, 5, 4), p.argument(2, 7, 4), p.argument(2, 7, 3)
    shape = tuple({"a": 2, "b": 5, "c": 7}[axis] for axis in axes)
    m = (*p.argument(*shape, element=element), element)
    scores = p.product(q, p.transpose(k, (0, 2, 1)))
    text = p.text(p.product(p.softmax(p.map(body, "%s", (scores, "abc"), (m, axes))), v))
    inputs = floats((2, 5, 4), (2, 7, 4), (2, 7, 3), shape)
    if element == "i1":
        low = "filled" in mask
        inputs[3] = (inputs[3] > 1.0) if low else (inputs[3] > -1.0)
    op = raised(text, *inputs)
    assert op.mask is not None
    rows = op.loops.rows[0]
    if "b" in axes:
        # The mask runs along the queries.
        assert op.indexing_maps[4].results[-1].position == rows


LOWEST = float(np.finfo(np.float32).min)


def constant_mask(values: Any) -> str:
    """The elements of a constant, as text."""
    if values.dtype == np.bool_:
        return str(values.tolist()).lower()
    return "[" + ", ".join("[" + ", ".join(_number(x) for x in row) + "]" for row in values.tolist()) + "]"


def _number(x: float) -> str:
    return "0xFF800000" if x == -np.inf else f"{x:.8e}"


@pytest.mark.parametrize("low", [-np.inf, LOWEST, -1e4])
@pytest.mark.parametrize(
    ("rows", "keys", "changed"), [(5, 5, None), (5, 7, None), (7, 5, None), (5, 5, (2, 1)), (5, 5, (1, 3))]
)
@pytest.mark.parametrize("turned", [False, True])
def test_constant_masks(
    rows: int, keys: int, changed: tuple[int, int] | None, low: float, turned: bool
) -> None:
    """A mask that excludes what is behind a query, and nothing else, is the op's own."""
    kept = np.tri(rows, keys, dtype=np.bool_)
    if changed is not None:
        kept[changed] = not kept[changed]
    values = np.where(kept, np.float32(0), np.float32(low))
    p = Program()
    q, k, v = p.argument(2, rows, 4), p.argument(2, keys, 4), p.argument(2, keys, 3)
    written = values.T if turned else values
    m = p._line(f"arith.constant dense<{constant_mask(written)}> : {tensor(written.shape)}"), written.shape
    scores = p.product(q, p.transpose(k, (0, 2, 1)))
    masked = p.map("    %s = arith.addf %x0, %x1 : f32", "%s", (scores, "abc"), (m, "cb" if turned else "bc"))
    op = raised(p.text(p.product(p.softmax(masked), v)), *floats((2, rows, 4), (2, keys, 4), (2, keys, 3)))
    causal = changed is None and low != -1e4
    assert (op.causal is not None, op.mask is None) == (causal, causal)


def test_a_constant_mask_that_selects() -> None:
    p = Program()
    q, k, v = p.argument(2, 5, 4), p.argument(2, 5, 4), p.argument(2, 5, 3)
    kept = np.tri(5, dtype=np.bool_)
    m = (p._line(f"arith.constant dense<{constant_mask(kept)}> : {tensor((5, 5), 'i1')}"), (5, 5), "i1")
    scores = p.product(q, p.transpose(k, (0, 2, 1)))
    masked = p.map(MASKS["selected"][0], "%s", (scores, "abc"), (m, "bc"))
    op = raised(p.text(p.product(p.softmax(masked), v)), *floats((2, 5, 4), (2, 5, 4), (2, 5, 3)))
    assert op.causal is not None and op.mask is None


@pytest.mark.parametrize("axes", ["bc", "cb", "abc", "acb", "bca", "c", "b"])
@pytest.mark.parametrize("target", [TARGET, BY_ROWS], ids=["along queries", "along keys"])
def test_masks_run_as_the_target_goes_through_them(axes: str, target: Any) -> None:
    p = Program()
    q, k, v = p.argument(2, 5, 4), p.argument(2, 7, 4), p.argument(2, 7, 3)
    shape = tuple({"a": 2, "b": 5, "c": 7}[axis] for axis in axes)
    m = p.argument(*shape)
    scores = p.product(q, p.transpose(k, (0, 2, 1)))
    masked = p.map("    %s = arith.addf %x0, %x1 : f32", "%s", (scores, "abc"), (m, axes))
    op = raised(
        p.text(p.product(p.softmax(masked), v)),
        *floats((2, 5, 4), (2, 7, 4), (2, 7, 3), shape),
        target=target,
    )
    if {"b", "c"} <= set(axes):
        last = op.loops.keys if target is BY_ROWS else op.loops.rows
        assert op.indexing_maps[4].results[-1].position == last[0]


def test_rows_without_a_key_are_zero() -> None:
    p = Program()
    q, k, v = p.argument(2, 5, 4), p.argument(2, 7, 4), p.argument(2, 7, 3)
    m = p.argument(5, 7)
    scores = p.map(
        "    %s = arith.addf %x0, %x1 : f32",
        "%s",
        (p.product(q, p.transpose(k, (0, 2, 1))), "abc"),
        (m, "bc"),
    )
    body = "    %n = arith.cmpf uno, %x0, %x0 : f32\n    %z = arith.constant 0.0 : f32\n    %s = arith.select %n, %z, %x0 : f32"
    text = p.text(p.product(p.map(body, "%s", (p.softmax(scores), "abc")), v))
    inputs = floats((2, 5, 4), (2, 7, 4), (2, 7, 3), (5, 7))
    inputs[3][2] = -np.inf
    op = raised(text, *inputs)
    assert op.nan_rows_zero is not None


def test_one_query() -> None:
    """Decoding: rows of one."""
    p = Program()
    q, k, v = p.argument(2, 1, 4), p.argument(2, 7, 4), p.argument(2, 7, 3)
    text = p.text(p.product(p.softmax(p.product(q, p.transpose(k, (0, 2, 1)))), v))
    op = raised(text, *floats((2, 1, 4), (2, 7, 4), (2, 7, 3)))
    assert op.loops.rows == ()


def test_what_is_no_attention_leaves_no_user_behind() -> None:
    """Scores of one column, whose keys have no row of their own: the attention made of them is not valid."""
    p = Program()
    x, w, v = p.argument(120, 5), p.argument(5, 1), p.argument(4, 2)
    scores = p.reshape(p.product(x, w), "[[0, 1], [2]]", (30, 4, 1))
    text = p.text(p.product(p.softmax(p.reshape(scores, "[[0], [1, 2]]", (30, 4))), v))
    module = run(text, FuseElementwise(), RaiseAttention(), target=TARGET, description=None)
    same(text, module, *floats((120, 5), (5, 1), (4, 2)))
    assert NAME not in names(module)
    standing = set(module.walk())
    assert all(user in standing for op in standing for value in op.results for user in value.users)


def test_scores_that_are_used_elsewhere_stay() -> None:
    p = Program()
    q, k, v = p.argument(2, 5, 4), p.argument(2, 7, 4), p.argument(2, 7, 3)
    weights = p.softmax(p.product(q, p.transpose(k, (0, 2, 1))))
    text = p.text(p.product(weights, v), weights)
    assert raised(text, *floats((2, 5, 4), (2, 7, 4), (2, 7, 3))) is None


def test_a_softmax_along_the_queries_stays() -> None:
    p = Program()
    q, k, v = p.argument(2, 5, 4), p.argument(2, 5, 4), p.argument(2, 5, 3)
    scores = p.product(q, p.transpose(k, (0, 2, 1)))
    weights = p.transpose(p.softmax(p.transpose(scores, (0, 2, 1))), (0, 2, 1))
    assert raised(p.text(p.product(weights, v)), *floats((2, 5, 4), (2, 5, 4), (2, 5, 3))) is None


def test_other_targets_get_products() -> None:
    p = Program()
    q, k, v = p.argument(2, 5, 4), p.argument(2, 7, 4), p.argument(2, 7, 3)
    text = p.text(p.product(p.softmax(p.product(q, p.transpose(k, (0, 2, 1)))), v))
    plain = run(text, RaiseAttention(), target=SimpleNamespace(), description=None)
    assert NAME not in names(plain)
    whole = run(text, FuseElementwise(), RaiseAttention(), target=TARGET, description=None)
    assert NAME in names(whole)
    RaiseAttention().run(whole, SimpleNamespace(options={"target": SimpleNamespace()}))  # type: ignore[arg-type]
    assert NAME not in names(whole)
    inputs = floats((2, 5, 4), (2, 7, 4), (2, 7, 3))
    expected = call(parse_module(text), *inputs)
    np.testing.assert_allclose(call(whole, *inputs)[0], expected[0], rtol=2e-6, atol=1e-6)
