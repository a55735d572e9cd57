"""Integer ops on a device against the interpreter, in every width, with the values where ops have edges."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from vulkan_kernels import Run, check_elementwise, elementwise

WIDTHS = {"i8": np.int8, "i16": np.int16, "i32": np.int32, "i64": np.int64}
BINARY = (
    "addi", "subi", "muli", "andi", "ori", "xori", "maxsi", "maxui", "minsi", "minui", "divsi", "divui", "remsi",
    "remui", "floordivsi", "ceildivsi", "ceildivui", "shli", "shrsi", "shrui",
)  # fmt: skip
PREDICATES = ("eq", "ne", "slt", "sle", "sgt", "sge", "ult", "ule", "ugt", "uge")


def operands(dtype: Any, seed: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """All pairs of edge values, then random ones, small ones among them."""
    info = np.iinfo(dtype)
    width = info.bits
    edges = [info.min, info.min + 1, -2, -1, 0, 1, 2, width - 1, width, info.max - 1, info.max]
    edges = [e if e <= info.max else info.max for e in edges]
    a, b = (x.reshape(-1) for x in np.meshgrid(edges, edges))
    rng = np.random.default_rng(seed)
    more = -len(a) % 32 + 96
    left = rng.integers(info.min, info.max, more, dtype, endpoint=True)
    right = np.where(rng.random(more) < 0.5, rng.integers(0, width + 2, more), rng.integers(-9, 9, more))
    return np.concatenate([a.astype(dtype), left]), np.concatenate([b.astype(dtype), right.astype(dtype)])


@pytest.mark.parametrize("lanes", [1, 4])
@pytest.mark.parametrize("type", WIDTHS)
def test_binary(run: Run, type: str, lanes: int) -> None:
    a, b = operands(WIDTHS[type], 1)
    lines = [f"arith.{name} %a, %b : {{a}}" for name in BINARY]
    check_elementwise(run, lines, [a, b], [type, type], (type, WIDTHS[type]), lanes=lanes)


@pytest.mark.parametrize("lanes", [1, 4])
@pytest.mark.parametrize("type", WIDTHS)
def test_compare(run: Run, type: str, lanes: int) -> None:
    a, b = operands(WIDTHS[type], 2)
    lines = [f"arith.cmpi {predicate}, %a, %b : {{a}}" for predicate in PREDICATES]
    check_elementwise(run, lines, [a, b], [type, type], ("i1", np.bool_), lanes=lanes)


@pytest.mark.parametrize("lanes", [1, 4])
@pytest.mark.parametrize("type", WIDTHS)
def test_bits(run: Run, type: str, lanes: int) -> None:
    a, _ = operands(WIDTHS[type], 3)
    lines = [f"math.{name} %a : {{a}}" for name in ("ctlz", "cttz", "ctpop", "absi")]
    check_elementwise(run, lines, [a], [type], (type, WIDTHS[type]), lanes=lanes)


@pytest.mark.parametrize("lanes", [1, 4])
def test_booleans(run: Run, lanes: int) -> None:
    rng = np.random.default_rng(4)
    a, b = rng.random((2, 64)) < 0.5
    lines = [
        f"arith.{name} %a, %b : {{a}}" for name in BINARY if "div" not in name and not name.startswith("sh")
    ]
    lines += [f"arith.cmpi {predicate}, %a, %b : {{a}}" for predicate in PREDICATES]
    check_elementwise(run, lines, [a, b], ["i1", "i1"], ("i1", np.bool_), lanes=lanes)


@pytest.mark.parametrize("lanes", [1, 4])
@pytest.mark.parametrize("type", WIDTHS)
@pytest.mark.parametrize("half", [0, 1])
def test_extended(run: Run, type: str, lanes: int, half: int) -> None:
    """Both halves of products."""
    a, b = operands(WIDTHS[type], 5)
    n, dtype = len(a), WIDTHS[type]
    lines = [f"arith.{name} %a, %b : {{a}}" for name in ("mulsi_extended", "mului_extended")]
    kernel = elementwise(lines, [type, type], type, n, lanes=lanes)
    for number in range(len(lines)):
        kernel.body = kernel.body.replace(f"%r{number} = ", f"%r{number}:2 = ")
        for store in ("memref", "vector"):
            kernel.body = kernel.body.replace(
                f"{store}.store %r{number},", f"{store}.store %r{number}#{half},"
            )
    expected = [a, b, np.zeros(2 * n, dtype)]
    kernel.interpret(expected)
    np.testing.assert_array_equal(run(kernel, [a, b, np.zeros(2 * n, dtype)])[-1], expected[-1])


@pytest.mark.parametrize("type", WIDTHS)
def test_constant_divisors(run: Run, type: str) -> None:
    a, _ = operands(WIDTHS[type], 6)
    lines: list[str] = []
    for divisor in (-128, -7, -1, 0, 1, 3, 16, 127):
        for name in ("divsi", "divui", "remsi", "remui", "floordivsi", "ceildivsi"):
            k = len(lines)
            lines.append(f"arith.constant {divisor} : {{a}}\n  %q{k} = arith.{name} %a, %r{k} : {{a}}")
    n = len(a)
    kernel = elementwise(lines, [type], type, n)
    kernel.body = kernel.body.replace("memref.store %r", "memref.store %q")
    expected = [a, np.zeros(n * len(lines), WIDTHS[type])]
    kernel.interpret(expected)
    np.testing.assert_array_equal(run(kernel, [a, np.zeros_like(expected[1])])[-1], expected[-1])


def test_index_is_as_wide_as_the_kernel_says(run: Run) -> None:
    """Sums that pass 2^32 keep their bits when the kernel has 64 of them."""
    line = (
        "arith.constant 4294967296 : index\n"
        "  %x = arith.index_cast %a : i32 to index\n"
        "  %y = arith.muli %x, %r0 : index\n"
        "  %z = arith.index_cast %y : index to i64"
    )
    kernel = elementwise([line], ["i32"], "i64", 32, index_bits=64)
    kernel.body = kernel.body.replace("memref.store %r0", "memref.store %z")
    a = np.arange(-16, 16, dtype=np.int32)
    got = run(kernel, [a, np.zeros(32, np.int64)])[-1]
    np.testing.assert_array_equal(got, a.astype(np.int64) << 32)
