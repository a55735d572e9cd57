"""Conversions on a device against the interpreter: saturation, truncation, extension, bits."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from vulkan_kernels import Run, check_elementwise, elementwise

INTEGERS = {"i8": np.int8, "i16": np.int16, "i32": np.int32, "i64": np.int64}
FLOATS = {
    "f16": np.float16, "bf16": ml_dtypes.bfloat16, "f32": np.float32, "f64": np.float64,
    "f8E4M3FN": ml_dtypes.float8_e4m3fn, "f8E5M2": ml_dtypes.float8_e5m2,
}  # fmt: skip


def integers(dtype: Any) -> np.ndarray[Any, Any]:
    info = np.iinfo(dtype)
    edges = np.array([info.min, info.min + 1, -1, 0, 1, info.max - 1, info.max], dtype)
    rng = np.random.default_rng(1)
    return np.concatenate([edges, rng.integers(info.min, info.max, 57, dtype, endpoint=True)])


def numbers(dtype: Any) -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(2)
    edges = [0.0, -0.0, 0.4, -0.4, 0.9, -0.9, 1.0, -1.0, np.inf, -np.inf, np.nan]
    for bits in (7, 8, 15, 16, 31, 32, 63, 64):
        edges += [s * (2.0**bits + d) for s in (1, -1) for d in (-1, 0, 1, 0.5, -0.5)]
    more = rng.normal(size=96) * 10.0 ** rng.integers(0, 10, 96)
    with np.errstate(over="ignore"):
        values = np.concatenate([edges, more]).astype(dtype)
    return values[: len(values) // 32 * 32]


@pytest.mark.parametrize("source", INTEGERS)
@pytest.mark.parametrize("lanes", [1, 4])
def test_between_integers(run: Run, source: str, lanes: int) -> None:
    a = integers(INTEGERS[source])
    for target, dtype in INTEGERS.items():
        widths = int(source[1:]), int(target[1:])
        if widths[0] == widths[1]:
            continue
        names = ("extsi", "extui") if widths[0] < widths[1] else ("trunci",)
        lines = [f"arith.{name} %a : {{a}} to {{r}}" for name in names]
        check_elementwise(run, lines, [a], [source], (target, dtype), lanes=lanes)
    check_elementwise(run, ["arith.trunci %a : {a} to {r}"], [a], [source], ("i1", np.bool_), lanes=lanes)


@pytest.mark.parametrize("target", INTEGERS)
def test_from_booleans(run: Run, target: str) -> None:
    a = np.random.default_rng(3).random(64) < 0.5
    lines = [f"arith.{name} %a : {{a}} to {{r}}" for name in ("extsi", "extui")]
    check_elementwise(run, lines, [a], ["i1"], (target, INTEGERS[target]))
    lines = [f"arith.{name} %a : {{a}} to {{r}}" for name in ("sitofp", "uitofp")]
    check_elementwise(run, lines, [a], ["i1"], ("f32", np.float32))


@pytest.mark.parametrize("source", FLOATS)
@pytest.mark.parametrize("lanes", [1, 4])
def test_to_integers_saturates(run: Run, source: str, lanes: int) -> None:
    a = numbers(FLOATS[source])
    for target, dtype in INTEGERS.items():
        lines = [f"arith.{name} %a : {{a}} to {{r}}" for name in ("fptosi", "fptoui")]
        check_elementwise(run, lines, [a], [source], (target, dtype), lanes=lanes)


@pytest.mark.parametrize("source", INTEGERS)
def test_to_floats(run: Run, source: str) -> None:
    a = integers(INTEGERS[source])
    for target, dtype in FLOATS.items():
        lines = [f"arith.{name} %a : {{a}} to {{r}}" for name in ("sitofp", "uitofp")]
        check_elementwise(run, lines, [a], [source], (target, dtype))


@pytest.mark.parametrize("source", FLOATS)
@pytest.mark.parametrize("lanes", [1, 4])
def test_between_floats(run: Run, source: str, lanes: int) -> None:
    """To nearest even, exactly; the payload of NaN is not kept."""
    a = numbers(FLOATS[source])
    width = np.dtype(FLOATS[source]).itemsize
    for target, dtype in FLOATS.items():
        if np.dtype(dtype).itemsize == width:
            continue
        name = "extf" if np.dtype(dtype).itemsize > width else "truncf"

        def same(got: Any, expected: Any) -> None:
            x, y = got.astype(np.float64), expected.astype(np.float64)
            np.testing.assert_array_equal(x, y)

        lines = [f"arith.{name} %a : {{a}} to {{r}}"]
        check_elementwise(run, lines, [a], [source], (target, dtype), lanes=lanes, same=same)


@pytest.mark.parametrize(
    ("source", "target"),
    [("i8", "f8E5M2"), ("i16", "f16"), ("i16", "bf16"), ("i32", "f32"), ("i64", "f64")],
)
@pytest.mark.parametrize("lanes", [1, 4])
def test_bits(run: Run, source: str, target: str, lanes: int) -> None:
    a = integers(INTEGERS[source])
    line = ["arith.bitcast %a : {a} to {r}"]
    if target != "f16":  # signalling NaN may become quiet on the way through f16 registers
        check_elementwise(run, line, [a], [source], (target, FLOATS[target]), lanes=lanes)
    back = np.random.default_rng(4).normal(size=64).astype(FLOATS[target])
    check_elementwise(run, line, [back], [target], (source, INTEGERS[source]), lanes=lanes)


def test_index(run: Run) -> None:
    a = integers(np.int32)
    line = "arith.index_cast %a : i32 to index\n  %q{0} = arith.index_cast{1} %r{0} : index to i64"
    kernel = elementwise([line.format(0, ""), line.format(1, "ui")], ["i32"], "i64", len(a))
    kernel.body = kernel.body.replace("memref.store %r", "memref.store %q")
    got = run(kernel, [a, np.zeros(2 * len(a), np.int64)])[-1]
    np.testing.assert_array_equal(got[: len(a)], a)
    np.testing.assert_array_equal(got[len(a) :], a.view(np.uint32))


@pytest.mark.parametrize("extension", ["extsi", "extui"])
def test_extended_words_need_no_wide_integers(device: Any, extension: str) -> None:
    """i32 through i64 to floats and back: the device computes with 32 bits alone."""
    from iree_target_vulkan.description import describe
    from iree_target_vulkan.testing import run_export

    a = integers(np.int32)
    line = f"arith.{extension} %a : i32 to i64\n  %f{{0}} = arith.{{1}} %r{{0}} : i64 to {{2}}"
    for results, dtype in ((("sitofp", "f32"), np.float32), (("trunci", "i32"), np.int32)):
        kernel = elementwise([line.format(0, *results)], ["i32"], results[1], len(a))
        kernel.body = kernel.body.replace("memref.store %r0", "memref.store %f0")
        compiled = kernel.compile(describe({"vulkan-profile": "vulkan-1.1"}))
        assert compiled.features == ()
        expected, got = [a, np.zeros(len(a), dtype)], [a, np.zeros(len(a), dtype)]
        kernel.interpret(expected)
        run_export(device, compiled.data, compiled.exports[0], got, [], kernel.counts)
        np.testing.assert_array_equal(got[1], expected[1])


def test_extended_words_are_wide_where_it_shows(run: Run) -> None:
    """Used as i64 in several blocks: comparisons, sums, memory."""
    a = integers(np.int32)
    line = """arith.extsi %a : i32 to i64
  %big = arith.constant 5000000000 : i64
  %c = arith.cmpi slt, %r0, %big : i64
  %s = scf.if %c -> (i64) {{
    %d = arith.addi %r0, %big : i64
    scf.yield %d : i64
  }} else {{
    scf.yield %r0 : i64
  }}
  %t0 = arith.addi %s, %r0 : i64"""
    kernel = elementwise([line], ["i32"], "i64", len(a))
    kernel.body = kernel.body.replace("memref.store %r0", "memref.store %t0")
    got = run(kernel, [a, np.zeros(len(a), np.int64)])[-1]
    np.testing.assert_array_equal(got, 2 * a.astype(np.int64) + 5_000_000_000)
