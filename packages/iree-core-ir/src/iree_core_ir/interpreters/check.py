"""Numpy meanings of ``check``: a failed expectation is CoreIrError 12 that shows the first difference."""

from __future__ import annotations

from typing import Any

import numpy as np

from iree_core_ir.dialects import check
from iree_core_ir.errors import CoreIrError
from iree_core_ir.interpreter import Frame, implements
from iree_core_ir.ir.operation import Op


def _fail(op: Op, message: str) -> None:
    raise CoreIrError(12, f"{op.name}: {message}", source=op.location.user_text())


def _expect(op: Op, good: Any, lhs: Any, rhs: Any) -> None:
    """Fail with the first position where ``good`` is false."""
    if lhs.shape != rhs.shape:
        _fail(op, f"shapes {lhs.shape} and {rhs.shape} differ")
    bad = np.argwhere(~np.asarray(good))
    if len(bad):
        at = tuple(int(i) for i in bad[0])
        _fail(op, f"{len(bad)} of {lhs.size} elements differ, first at {list(at)}: {lhs[at]} and {rhs[at]}")


@implements(check.ExpectTrue)
def expect_true(frame: Frame, op: Op, value: Any) -> None:
    if not value:
        _fail(op, f"the value is {value}")


@implements(check.ExpectFalse)
def expect_false(frame: Frame, op: Op, value: Any) -> None:
    if value:
        _fail(op, f"the value is {value}")


@implements(check.ExpectAllTrue)
def expect_all_true(frame: Frame, op: Op, value: Any) -> None:
    if not np.all(value):
        _fail(op, f"element {[int(i) for i in np.argwhere(value == 0)[0]]} is 0")


def _equal(op: Op, lhs: Any, rhs: Any) -> None:
    good: Any = False
    if lhs.shape == rhs.shape:
        size = lhs.dtype.itemsize
        bits = [np.ascontiguousarray(x).reshape(-1).view(np.uint8).reshape(-1, size) for x in (lhs, rhs)]
        good = (bits[0] == bits[1]).all(axis=1).reshape(lhs.shape)
    _expect(op, good, lhs, rhs)


@implements(check.ExpectEq)
def expect_eq(frame: Frame, op: Op, lhs: Any, rhs: Any) -> None:
    _equal(op, lhs, rhs)


@implements(check.ExpectEqConst)
def expect_eq_const(frame: Frame, op: check.ExpectEqConst, lhs: Any) -> None:
    _equal(op, lhs, frame.constant(op.value))


def _almost(op: Any, lhs: Any, rhs: Any) -> None:
    good: Any = False
    if lhs.shape == rhs.shape:
        a, b = lhs.astype(np.float64), rhs.astype(np.float64)
        tolerance = op.atol.value + op.rtol.value * np.abs(b)
        # Infinities agree with themselves, NaN with NaN.
        good = (a == b) | (np.isnan(a) & np.isnan(b)) | (np.isfinite(b) & (np.abs(a - b) <= tolerance))
    _expect(op, good, lhs, rhs)


@implements(check.ExpectAlmostEq)
def expect_almost_eq(frame: Frame, op: Op, lhs: Any, rhs: Any) -> None:
    _almost(op, lhs, rhs)


@implements(check.ExpectAlmostEqConst)
def expect_almost_eq_const(frame: Frame, op: check.ExpectAlmostEqConst, lhs: Any) -> None:
    _almost(op, lhs, frame.constant(op.value))
