"""check: expectations pass or fail with the first difference."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from iree_core_ir.errors import CoreIrError

CASES = [
    ("check.expect_eq(%a, %b) : tensor<3xf32>", [1, 2, 3], [1, 2, 3], True),
    ("check.expect_eq(%a, %b) : tensor<3xf32>", [1, 2, 3], [1, 5, 3], False),
    ("check.expect_eq(%a, %b) : tensor<3xf32>", [1, 2, np.nan], [1, 2, np.nan], True),
    ("check.expect_eq(%a, %b) : tensor<3xf32>", [1, 2, 0.0], [1, 2, -0.0], False),
    (
        "check.expect_eq_const(%a, dense<[1.0, 2.0, 3.0]> : tensor<3xf32>) : tensor<3xf32>",
        [1, 2, 3],
        None,
        True,
    ),
    ("check.expect_eq_const(%a, dense<1.0> : tensor<3xf32>) : tensor<3xf32>", [1, 2, 3], None, False),
    ("check.expect_almost_eq(%a, %b) : tensor<3xf32>", [1, 2, 3], [1.00005, 2, 3], True),
    ("check.expect_almost_eq(%a, %b) : tensor<3xf32>", [1, 2, 3], [1.001, 2, 3], False),
    ("check.expect_almost_eq(%a, %b, atol 0.01) : tensor<3xf32>", [1, 2, 3], [1.001, 2, 3], True),
    ("check.expect_almost_eq(%a, %b, atol 0.0, rtol 0.01) : tensor<3xf32>", [100, 0, 0], [100.5, 0, 0], True),
    ("check.expect_almost_eq(%a, %b) : tensor<3xf32>", [np.inf, 0, 0], [np.inf, 0, 0], True),
    ("check.expect_almost_eq(%a, %b) : tensor<3xf32>", [1, 0, 0], [np.inf, 0, 0], False),
    ("check.expect_almost_eq(%a, %b) : tensor<3xf32>", [np.nan, 0, 0], [np.nan, -0.0, 0], True),
    ("check.expect_almost_eq(%a, %b) : tensor<3xf32>", [np.nan, 0, 0], [1, 0, 0], False),
    ("check.expect_almost_eq_const(%a, dense<1.0> : tensor<3xf32>) : tensor<3xf32>", [1, 1, 1], None, True),
]


@pytest.mark.parametrize(("op", "a", "b", "passes"), CASES)
def test_tensors(run_text: Callable[..., Any], op: str, a: Any, b: Any, passes: bool) -> None:
    text = f"func.func @f(%a: tensor<3xf32>, %b: tensor<3xf32>) {{ {op}\n return }}"
    arguments = [np.array(x if x is not None else [0] * 3, np.float32) for x in (a, b)]
    if passes:
        run_text(text, *arguments)
    else:
        with pytest.raises(CoreIrError, match=r"of 3 elements differ, first at \[\d\]") as caught:
            run_text(text, *arguments)
        assert caught.value.number == 12


def test_dynamic_shapes_must_agree(run_text: Callable[..., Any]) -> None:
    t = "tensor<?xf32>"
    text = f"func.func @f(%a: {t}, %b: {t}) {{ check.expect_eq(%a, %b) : {t}\n return }}"
    with pytest.raises(CoreIrError, match=r"shapes \(2,\) and \(1,\) differ"):
        run_text(text, np.zeros(2, np.float32), np.zeros(1, np.float32))


@pytest.mark.parametrize(("op", "value", "passes"), [
    ("check.expect_true(%c) : i1", True, True), ("check.expect_true(%c) : i1", False, False),
    ("check.expect_false(%c) : i1", False, True), ("check.expect_false(%c) : i1", True, False),
])  # fmt: skip
def test_scalars(run_text: Callable[..., Any], op: str, value: bool, passes: bool) -> None:
    text = f"func.func @f(%c: i1) {{ {op}\n return }}"
    if passes:
        run_text(text, np.bool_(value))
    else:
        with pytest.raises(CoreIrError):
            run_text(text, np.bool_(value))


def test_all_true(run_text: Callable[..., Any]) -> None:
    text = "func.func @f(%a: tensor<2xi32>) { check.expect_all_true(%a) : tensor<2xi32>\n return }"
    run_text(text, np.array([1, 2], np.int32))
    with pytest.raises(CoreIrError, match=r"element \[1\] is 0"):
        run_text(text, np.array([1, 0], np.int32))
