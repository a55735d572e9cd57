"""Elementwise dispatches: every element type, broadcasting, casts, tails, odd and empty extents."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from iree_base.element_types import element_type

INTEGERS = ("i8", "i16", "i32", "i64")
FLOATS = ("f16", "bf16", "f32", "f64")


def unary(body: str, source: str, target: str, shape: str = "37") -> str:
    """A dispatch applying ``body`` (from %x to %r) to every element."""
    rank = shape.count("x") + 1 if shape else 0
    dims = ", ".join(f"d{i}" for i in range(rank))
    map_text = f"affine_map<({dims}) -> ({dims})>"
    kinds = ", ".join(['"parallel"'] * rank)
    prefix = f"{shape}x" if shape else ""
    a, b = f"tensor<{prefix}{source}>", f"tensor<{prefix}{target}>"
    return f"""
func.func @unary(%a: {a}, %out: {b}) -> {b} {{
  %0 = linalg.generic {{indexing_maps = [{map_text}, {map_text}], iterator_types = [{kinds}]}}
      ins(%a : {a}) outs(%out : {b}) {{
  ^bb0(%x: {source}, %o: {target}):
    {body}
    linalg.yield %r : {target}
  }} -> {b}
  return %0 : {b}
}}"""


def binary(op: str, type: str, result: str | None = None) -> str:
    """Two tensors of 37 elements through ``op``."""
    result = result or type
    return f"""
#id = affine_map<(d0) -> (d0)>
func.func @binary(%a: tensor<37x{type}>, %b: tensor<37x{type}>, %out: tensor<37x{result}>) -> tensor<37x{result}> {{
  %0 = linalg.generic {{indexing_maps = [#id, #id, #id], iterator_types = ["parallel"]}}
      ins(%a, %b : tensor<37x{type}>, tensor<37x{type}>) outs(%out : tensor<37x{result}>) {{
  ^bb0(%x: {type}, %y: {type}, %o: {result}):
    %r = {op} %x, %y : {type}
    linalg.yield %r : {result}
  }} -> tensor<37x{result}>
  return %0 : tensor<37x{result}>
}}"""


def values(type: str, rng: np.random.Generator, n: int = 37) -> Any:
    """Random values with the awkward ones among them."""
    dtype = element_type(type).dtype
    if type == "i1":
        return rng.integers(0, 2, n).astype(bool)
    if type in INTEGERS:
        info = np.iinfo(dtype)
        edge = [0, 1, -1, info.min, info.max, 2, -2, 7]
        return np.array([*edge, *rng.integers(info.min, info.max, n - len(edge))], dtype)
    edge_floats = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 0.5, 1e4, -3e4]
    return np.array([*edge_floats, *(rng.standard_normal(n - len(edge_floats)) * 10)]).astype(dtype)


@pytest.mark.parametrize("type", INTEGERS)
def test_integer_arithmetic_is_total(check: Any, type: str) -> None:
    rng = np.random.default_rng(1)
    a, b = values(type, rng), np.roll(values(type, rng), 3)
    for op in (
        "addi", "subi", "muli", "divsi", "divui", "remsi", "remui", "floordivsi", "ceildivsi", "ceildivui",
        "andi", "ori", "xori", "shli", "shrsi", "shrui", "maxsi", "maxui", "minsi", "minui",
    ):  # fmt: skip
        check(binary(f"arith.{op}", type), {0: a, 1: b})
    shifts = rng.integers(0, 2 * a.itemsize * 8, 37).astype(a.dtype)
    for op in ("shli", "shrsi", "shrui"):
        check(binary(f"arith.{op}", type), {0: a, 1: shifts})


@pytest.mark.parametrize("type", FLOATS)
def test_float_arithmetic(check: Any, type: str) -> None:
    rng = np.random.default_rng(2)
    a, b = values(type, rng), np.roll(values(type, rng), 5)
    for op in ("addf", "subf", "mulf", "divf", "maximumf", "minimumf", "maxnumf", "minnumf", "remf"):
        check(binary(f"arith.{op}", type), {0: a, 1: b}, tolerance=0)


@pytest.mark.parametrize("type", INTEGERS)
def test_integer_comparisons(check: Any, type: str) -> None:
    rng = np.random.default_rng(3)
    a = values(type, rng)
    b = np.where(rng.integers(0, 2, 37), a, np.roll(a, 1))
    for predicate in ("eq", "ne", "slt", "sle", "sgt", "sge", "ult", "ule", "ugt", "uge"):
        check(binary(f"arith.cmpi {predicate},", type, "i1"), {0: a, 1: b})


@pytest.mark.parametrize("type", FLOATS)
def test_float_comparisons(check: Any, type: str) -> None:
    rng = np.random.default_rng(4)
    a = values(type, rng)
    b = np.where(rng.integers(0, 2, 37), a, np.roll(a, 1)).astype(a.dtype)
    for predicate in (
        "oeq",
        "ogt",
        "oge",
        "olt",
        "ole",
        "one",
        "ord",
        "ueq",
        "ugt",
        "uge",
        "ult",
        "ule",
        "une",
    ):
        check(binary(f"arith.cmpf {predicate},", type, "i1"), {0: a, 1: b})


def casts() -> list[tuple[str, str, str]]:
    """Every cast of arith between the element types kernels hold."""
    found = []
    width = {"i1": 1, "i8": 8, "i16": 16, "i32": 32, "i64": 64, "f16": 16, "bf16": 16, "f32": 32, "f64": 64}
    integers = ("i1", *INTEGERS)
    for a in integers:
        for b in integers:
            if width[a] < width[b]:
                found += [("arith.extsi", a, b), ("arith.extui", a, b)]
            elif width[a] > width[b]:
                found.append(("arith.trunci", a, b))
        for b in FLOATS:
            found += [("arith.sitofp", a, b), ("arith.uitofp", a, b)]
    for a in FLOATS:
        found += [(op, a, b) for b in INTEGERS for op in ("arith.fptosi", "arith.fptoui")]
        for b in FLOATS:
            if width[a] < width[b]:
                found.append(("arith.extf", a, b))
            elif width[a] > width[b]:
                found.append(("arith.truncf", a, b))
    return found


@pytest.mark.parametrize(("op", "source", "target"), casts(), ids=lambda v: str(v))
def test_casts(check: Any, op: str, source: str, target: str) -> None:
    rng = np.random.default_rng(5)
    a = values(source, rng)
    if source in ("f32", "f64"):
        a[20:] = (rng.standard_normal(17) * np.exp2(rng.uniform(-30, 40, 17))).astype(a.dtype)
    check(unary(f"%r = {op} %x : {source} to {target}", source, target), {0: a}, tolerance=0)


@pytest.mark.parametrize("n", [1, 2, 15, 16, 17, 31, 33, 100])
def test_tails(check: Any, n: int) -> None:
    a = np.random.default_rng(n).standard_normal(n).astype(np.float32)
    check(unary("%r = arith.addf %x, %x : f32", "f32", "f32", str(n)), {0: a})


def test_rank_zero(check: Any) -> None:
    check(unary("%r = math.sqrt %x : f32", "f32", "f32", ""), {0: np.float32(2.0)})


def test_empty_tensor(check: Any) -> None:
    check(unary("%r = arith.negf %x : f32", "f32", "f32", "0x5"), {0: np.zeros((0, 5), np.float32)})


def test_booleans_are_bytes(check: Any) -> None:
    a = np.random.default_rng(0).integers(0, 2, 37).astype(bool)
    check(unary("%t = arith.constant true\n %r = arith.xori %x, %t : i1", "i1", "i1"), {0: a})


def test_classification(check: Any) -> None:
    a = values("f32", np.random.default_rng(0))
    a[-1] = np.float32(1e-42)
    for op in ("isnan", "isinf", "isfinite", "isnormal"):
        check(unary(f"%r = math.{op} %x : f32", "f32", "i1"), {0: a})


def test_rounding(check: Any) -> None:
    a = np.array(
        [-2.5, -1.5, -0.5, -0.2, 0.0, 0.3, 0.5, 1.5, 2.5, 1e9, -1e9, 4.5e15, np.nan, np.inf], np.float64
    )
    for type in ("f32", "f64"):
        padded = np.resize(a, 37).astype(element_type(type).dtype)
        for op in ("floor", "ceil", "round", "roundeven", "trunc"):
            check(unary(f"%r = math.{op} %x : {type}", type, type), {0: padded}, tolerance=0)


def test_bit_counting_and_powers(check: Any) -> None:
    rng = np.random.default_rng(0)
    for type in INTEGERS:
        a = values(type, rng)
        for op in ("ctlz", "cttz", "ctpop", "absi"):
            check(unary(f"%r = math.{op} %x : {type}", type, type), {0: a})
        exponents = np.resize(np.arange(-3, 9), 37).astype(a.dtype)
        check(binary("math.ipowi", type), {0: a, 1: exponents})


def test_broadcasts(check: Any) -> None:
    rng = np.random.default_rng(0)
    text = """
#full = affine_map<(d0, d1, d2) -> (d0, d1, d2)>
#row = affine_map<(d0, d1, d2) -> (d2)>
#channel = affine_map<(d0, d1, d2) -> (d1)>
#one = affine_map<(d0, d1, d2) -> ()>
func.func @broadcast(%a: tensor<3x5x21xf32>, %b: tensor<21xf32>, %c: tensor<5xf32>, %d: tensor<f32>, %s: f32,
    %out: tensor<3x5x21xf32>) -> tensor<3x5x21xf32> {
  %0 = linalg.generic {indexing_maps = [#full, #row, #channel, #one, #full],
      iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%a, %b, %c, %d : tensor<3x5x21xf32>, tensor<21xf32>, tensor<5xf32>, tensor<f32>)
      outs(%out : tensor<3x5x21xf32>) {
  ^bb0(%x: f32, %y: f32, %z: f32, %w: f32, %o: f32):
    %1 = arith.addf %x, %y : f32
    %2 = arith.mulf %1, %z : f32
    %3 = arith.subf %2, %w : f32
    %4 = arith.mulf %3, %s : f32
    linalg.yield %4 : f32
  } -> tensor<3x5x21xf32>
  return %0 : tensor<3x5x21xf32>
}"""
    inputs = {
        0: rng.standard_normal((3, 5, 21)).astype(np.float32),
        1: rng.standard_normal(21).astype(np.float32),
        2: rng.standard_normal(5).astype(np.float32),
        3: np.float32(0.25),
        4: 1.5,
    }
    check(text, inputs)


@pytest.mark.parametrize("rows", [0, 1, 7, 300])
def test_dynamic_extents(check: Any, rows: int) -> None:
    text = """
#full = affine_map<(d0, d1) -> (d0, d1)>
func.func @dynamic(%a: tensor<?x19xf32> {iree.dims = array<i64: 1, -1>}, %n: index,
    %out: tensor<?x19xf32> {iree.dims = array<i64: 1, -1>}) -> tensor<?x19xf32> {
  %0 = linalg.generic {indexing_maps = [#full, #full], iterator_types = ["parallel", "parallel"]}
      ins(%a : tensor<?x19xf32>) outs(%out : tensor<?x19xf32>) {
  ^bb0(%x: f32, %o: f32):
    %i = linalg.index 0 : index
    %j = linalg.index 1 : index
    %k = arith.addi %i, %j : index
    %c = arith.index_cast %k : index to i32
    %f = arith.sitofp %c : i32 to f32
    %r = arith.addf %x, %f : f32
    linalg.yield %r : f32
  } -> tensor<?x19xf32>
  return %0 : tensor<?x19xf32>
}"""
    a = np.random.default_rng(0).standard_normal((rows, 19)).astype(np.float32)
    check(text, {0: a, 1: rows})


def test_several_results(check: Any) -> None:
    text = """
#id = affine_map<(d0) -> (d0)>
func.func @two(%a: tensor<45xf32>, %p: tensor<45xf32>, %q: tensor<45xi32>) -> (tensor<45xf32>, tensor<45xi32>) {
  %0:2 = linalg.generic {indexing_maps = [#id, #id, #id], iterator_types = ["parallel"]}
      ins(%a : tensor<45xf32>) outs(%p, %q : tensor<45xf32>, tensor<45xi32>) {
  ^bb0(%x: f32, %o: f32, %u: i32):
    %1 = arith.mulf %x, %x : f32
    %2 = arith.fptosi %1 : f32 to i32
    linalg.yield %1, %2 : f32, i32
  } -> (tensor<45xf32>, tensor<45xi32>)
  return %0#0, %0#1 : tensor<45xf32>, tensor<45xi32>
}"""
    check(text, {0: np.random.default_rng(0).standard_normal(45).astype(np.float32) * 3})


def test_in_place_update(check: Any) -> None:
    text = """
#id = affine_map<(d0) -> (d0)>
func.func @update(%a: tensor<45xf32> {iree.access = "readwrite"}, %b: tensor<45xf32> {iree.access = "read"}) -> tensor<45xf32> {
  %0 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel"]}
      ins(%b : tensor<45xf32>) outs(%a : tensor<45xf32>) {
  ^bb0(%x: f32, %o: f32):
    %1 = arith.addf %x, %o : f32
    linalg.yield %1 : f32
  } -> tensor<45xf32>
  return %0 : tensor<45xf32>
}"""
    rng = np.random.default_rng(0)
    check(text, {i: rng.standard_normal(45).astype(np.float32) for i in (0, 1)})


def test_control_flow_in_a_body(check: Any) -> None:
    body = """
    %zero = arith.constant 0.0 : f32
    %n = arith.constant 5 : index
    %i0 = arith.constant 0 : index
    %i1 = arith.constant 1 : index
    %c = arith.cmpf ogt, %x, %zero : f32
    %s = scf.if %c -> (f32) {
      %t = scf.for %i = %i0 to %n step %i1 iter_args(%acc = %x) -> (f32) {
        %m = arith.mulf %acc, %x : f32
        scf.yield %m : f32
      }
      scf.yield %t : f32
    } else {
      scf.yield %zero : f32
    }
    %r = arith.addf %s, %x : f32"""
    a = np.random.default_rng(0).standard_normal(37).astype(np.float32)
    check(unary(body, "f32", "f32"), {0: a}, required=False)
