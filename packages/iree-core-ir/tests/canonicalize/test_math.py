"""math and complex: cheaper ops with the same bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

Body = Callable[..., Any]
FLOATS = [0.0, -0.0, 1.0, -1.0, 1.5, -2.5, 3e38, -1e-40, np.inf, -np.inf, np.nan]
C = """%p0 = arith.constant 0.0 : f32
 %n0 = arith.constant -0.0 : f32
 %one = arith.constant 1.0 : f32
 %two = arith.constant 2.0 : f32
 %mone = arith.constant -1.0 : f32
 %i0 = arith.constant 0 : i32
 %i1 = arith.constant 1 : i32
"""


@pytest.mark.parametrize(
    ("body", "ops"),
    [
        ("%r = math.powf %a, %one : f32", []),
        ("%r = math.powf %a, %p0 : f32", []),
        ("%r = math.powf %one, %a : f32", []),
        ("%r = math.powf %a, %two : f32", ["arith.mulf"]),
        ("%r = math.powf %a, %mone : f32", ["arith.divf"]),
        ("%r = math.powf %p0, %a : f32", ["math.powf"]),
        ("%r = math.fpowi %a, %i0 : f32, i32", []),
        ("%r = math.fpowi %a, %i1 : f32, i32", []),
        ("%r = math.fma %a, %b, %n0 : f32", ["arith.mulf"]),
        ("%r = math.fma %a, %b, %p0 : f32", ["math.fma"]),
        ("%r = math.fma %one, %a, %b : f32", ["arith.addf"]),
        (
            "%x = arith.negf %a : f32\n %y = arith.negf %b : f32\n %r = math.fma %x, %y, %a : f32",
            ["math.fma"],
        ),
        ("%x = math.absf %a : f32\n %r = math.absf %x : f32", ["math.absf"]),
        ("%x = arith.negf %a : f32\n %r = math.absf %x : f32", ["math.absf"]),
        ("%x = math.floor %a : f32\n %r = math.round %x : f32", ["math.floor"]),
        ("%r = math.copysign %a, %a : f32", []),
        ("%r = math.sqrt %two : f32", []),
    ],
)
def test_rewrites(canonicalized_body: Body, body: str, ops: list[str]) -> None:
    result = canonicalized_body(["f32", "f32"], "f32", C + body)
    assert result.ops == ops
    for a in FLOATS:
        for b in FLOATS[:6]:
            (before,), (after,) = result.run(np.float32(a), np.float32(b))
            assert np.array_equal(before, after, equal_nan=True)
            assert np.isnan(before) or np.signbit(before) == np.signbit(after)


@pytest.mark.parametrize(
    ("body", "ops"),
    [
        ("%z = complex.create %a, %b : complex<f32>\n %r = complex.re %z : complex<f32>", []),
        ("%z = complex.create %b, %a : complex<f32>\n %r = complex.im %z : complex<f32>", []),
        (
            "%z = complex.constant [2.0 : f32, 3.0 : f32] : complex<f32>\n %r = complex.im %z : complex<f32>",
            [],
        ),
        (
            """%z = complex.create %a, %b : complex<f32>
            %c = complex.conj %z : complex<f32>
            %d = complex.conj %c : complex<f32>
            %r = complex.re %d : complex<f32>""",
            [],
        ),
    ],
)
def test_complex(canonicalized_body: Body, body: str, ops: list[str]) -> None:
    result = canonicalized_body(["f32", "f32"], "f32", body)
    assert result.ops == ops
    before, after = result.run(np.float32(2.5), np.float32(-1))
    assert before == after
