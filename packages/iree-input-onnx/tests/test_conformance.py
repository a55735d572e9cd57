"""ONNX's node cases: what is supported gives the standard's numbers in every mode; the rest says why."""

import pytest

from iree_input_onnx.conformance import AS_WRITTEN, MODES, has_unknown_op, node_cases, run_case, run_cases

DIFFERENT_BY_DECISION = {
    # The cases divide by the fractional length size * scale; the operator's formula and onnxruntime take the
    # integer one.
    "test_resize_downsample_scales_linear_align_corners",
    "test_resize_downsample_scales_cubic_align_corners",
}

MINIMUM = {"as written": 1480, "constant inputs": 1680, "dynamic dims": 1350}
"""Cases that passed with onnx 1.23 when this was written, rounded down: coverage never shrinks unnoticed."""


def wrong(outcomes):
    return {
        f"{o.case}: {o.reason}"
        for o in outcomes
        if o.status == "wrong" and o.case not in DIFFERENT_BY_DECISION
    }


@pytest.mark.parametrize("mode", MODES)
def test_a_sample_of_the_cases(mode):
    assert not wrong(run_cases(mode, every=5, quick=True))


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_all_cases(mode):
    outcomes = list(run_cases(mode))
    assert not wrong(outcomes)
    passed = sum(o.status == "pass" for o in outcomes)
    assert passed >= MINIMUM[mode]
    print(f"{mode}: {passed} of {len(outcomes)} cases pass, {len(outcomes) - passed} are unsupported")


def test_what_is_refused_is_refused_for_a_reason():
    """A case of known ops is refused only with words about the case."""
    for case in node_cases(quick=True)[::7]:
        outcome = run_case(case, AS_WRITTEN)
        if outcome.status == "unsupported" and not has_unknown_op(case):
            assert outcome.reason.startswith("IREE-ONNX-"), case.name
            assert len(outcome.reason.split(": ")) > 2, outcome.reason
