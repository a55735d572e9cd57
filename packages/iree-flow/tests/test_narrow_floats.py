"""f16 and bf16 in the registers of the virtual machine: every number, and every way to round."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from iree_flow.narrow_floats import from_bits, rounded, to_bits

DTYPES = {"f16": np.dtype(np.float16), "bf16": np.dtype(ml_dtypes.bfloat16)}


class Machine:
    """The ops of a builder, done at once on arrays of registers."""

    def const_i32(self, value: int) -> Any:
        return np.int32(value)

    def const_f32(self, value: float) -> Any:
        return np.float32(value)

    def op(self, name: str, *a: Any) -> Any:
        with np.errstate(all="ignore"):
            return _OPS[name](*a)


_OPS: dict[str, Any] = {
    "bitcast.f32.i32": lambda a: np.asarray(a, np.float32).view(np.int32),
    "bitcast.i32.f32": lambda a: np.asarray(a, np.int32).view(np.float32),
    "shr.i32.u": lambda a, n: (np.asarray(a, np.int32).view(np.uint32) >> np.uint32(n)).view(np.int32),
    "shl.i32": lambda a, n: (np.asarray(a, np.int32).view(np.uint32) << np.uint32(n)).view(np.int32),
    "and.i32": np.bitwise_and,
    "or.i32": np.bitwise_or,
    "add.i32": np.add,
    "sub.i32": np.subtract,
    "add.f32": np.add,
    "sub.f32": np.subtract,
    "mul.f32": np.multiply,
    "abs.f32": np.abs,
    "copysign.f32": np.copysign,
    "cmp.nan.f32": np.isnan,
    "cmp.lt.f32.o": np.less,
    "cmp.gte.f32.o": np.greater_equal,
    "cmp.eq.i32": np.equal,
    "select.f32": np.where,
    "select.i32": np.where,
    "cast.f32.si32": lambda a: np.nan_to_num(a, posinf=0, neginf=0).clip(-1e9, 1e9).astype(np.int32),
    "cast.si32.f32": lambda a: np.asarray(a).astype(np.float32),
}


@pytest.mark.parametrize("name", sorted(DTYPES))
def test_every_number_there_and_back(name: str) -> None:
    codes = np.arange(1 << 16, dtype=np.uint16)
    wanted = codes.view(DTYPES[name]).astype(np.float32)
    found = from_bits(Machine(), codes.astype(np.int32), name)
    np.testing.assert_array_equal(found, wanted)
    same = ~np.isnan(wanted)
    np.testing.assert_array_equal(to_bits(Machine(), wanted, name)[same], codes[same])
    np.testing.assert_array_equal(np.isnan(found), np.isnan(wanted))
    np.testing.assert_array_equal(rounded(Machine(), wanted, name)[same], wanted[same])


@pytest.mark.parametrize("name", sorted(DTYPES))
def test_rounding(name: str) -> None:
    """Between neighbours, exactly in the middle, and just beside it."""
    numbers = np.arange(1 << 16, dtype=np.uint16).view(DTYPES[name]).astype(np.float32)
    numbers = np.sort(numbers[np.isfinite(numbers)])
    with np.errstate(over="ignore"):
        middle = ((numbers[:-1].astype(np.float64) + numbers[1:]) / 2).astype(np.float32)
        around = [middle, np.nextafter(middle, np.float32(np.inf)), np.nextafter(middle, np.float32(-np.inf))]
        edges = np.array([65519.9, 65520, 7e4, np.inf, -np.inf, np.nan, 1e-8, -1e-8, 0.0, -0.0], np.float32)
        for x in (*around, edges):
            wanted = x.astype(DTYPES[name]).astype(np.float32)
            found = rounded(Machine(), x, name)
            np.testing.assert_array_equal(found, wanted)
            np.testing.assert_array_equal(np.signbit(found), np.signbit(wanted))
