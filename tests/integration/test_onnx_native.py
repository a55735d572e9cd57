"""ONNX's node cases compiled for this machine: what compiles gives the standard's numbers, and what does
not is refused for a reason on this page."""

from __future__ import annotations

import random
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import onnx
import pytest

import iree_flow
import iree_vm
from iree_input_onnx.conformance import (
    AS_WRITTEN,
    CONSTANT_INPUTS,
    DYNAMIC_DIMS,
    MODES,
    Outcome,
    node_cases,
    run_case,
)

REFUSALS = ("IREE-FLOW-007", "IREE-FLOW-008")
"""By the target; by the scheduler."""
REASONS = {
    "element type i4": "kernels address whole bytes; 4-bit integers are packed two a byte",
    "element type ui4": "the same",
    "element type complex": "kernels hold no complex numbers",
}
"""What a refusal says -> why."""
DIFFERENT_BY_DECISION = {
    # The cases divide by the fractional length size * scale; the operator's formula and onnxruntime take the
    # integer one.
    "test_resize_downsample_scales_linear_align_corners",
    "test_resize_downsample_scales_cubic_align_corners",
}
MINIMUM = {AS_WRITTEN: 1460, CONSTANT_INPUTS: 1660}
"""Cases that passed with onnx 1.23, rounded down: coverage never shrinks unnoticed."""
SAMPLE = 16


def native(model: Any) -> Any:
    """The model compiled, as a function of arrays that gives a list."""
    module = iree_vm.load(iree_flow.compile(model, target="llvm-cpu", name="case", jobs=1))

    def call(*arrays: Any) -> Sequence[Any]:
        found = module.main(*[np.asarray(a) for a in arrays])
        return found if isinstance(found, tuple) else (found,)

    return call


def outcomes(cases: Iterable[Any], mode: str) -> list[Outcome]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy warns about the infinities that cases are made of
        return [run_case(case, mode, native, REFUSALS) for case in cases]


def wrong(found: Iterable[Outcome]) -> list[str]:
    return [
        f"{o.case}: {o.reason}" for o in found if o.status == "wrong" and o.case not in DIFFERENT_BY_DECISION
    ]


def unexplained(found: Iterable[Outcome]) -> list[str]:
    """Refusals that are not on the list."""
    return [
        f"{o.case}: {o.reason}"
        for o in found
        if o.status == "unsupported"
        and o.reason.startswith(REFUSALS)
        and not any(reason in o.reason for reason in REASONS)
    ]


@pytest.mark.parametrize("mode", MODES)
def test_a_sample_of_the_cases(mode: str) -> None:
    cases = random.Random(mode).sample(node_cases(quick=True), SAMPLE)
    found = outcomes(cases, mode)
    assert not wrong(found)
    assert not unexplained(found)
    assert sum(o.status == "pass" for o in found) > SAMPLE // 2


@pytest.mark.slow
@pytest.mark.parametrize("mode", MINIMUM)
def test_all_cases(mode: str) -> None:
    found = outcomes(node_cases(), mode)
    counts = Counter(outcome.status for outcome in found)
    print(f"{mode}: {dict(counts)} with onnx {onnx.__version__}")
    assert not wrong(found)
    assert not unexplained(found)
    assert counts["pass"] >= MINIMUM[mode]


@pytest.mark.slow
def test_every_fifth_case_with_dynamic_dims() -> None:
    found = outcomes(node_cases()[::5], DYNAMIC_DIMS)
    assert not wrong(found)
    assert not unexplained(found)
