"""Winograd's algorithm, compiled and run here, against the interpreter's direct convolution."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from iree_codegen.dispatch import Dispatch
from iree_codegen.strategies.convolution import plan_static
from iree_codegen.window import DENSE, has_static_images, match
from iree_codegen.winograd import Strips
from iree_codegen.winograd_panels import WINOGRAD_PANELS
from iree_core_ir.constant_transforms import inverse_function, transform_function
from iree_core_ir.text.parser import parse_module
from iree_target_llvm.description import describe
from iree_target_llvm.errors import LlvmError

from .test_convolution import EPILOGUES, Case, inputs_of, run, text_of


def takes(case: Case, description: Any) -> bool:
    func = next(iter(parse_module(text_of(case)).regions[0].block))
    window = match(Dispatch(func), DENSE)
    assert window is not None and has_static_images(window)
    return isinstance(plan_static(window, description), Strips)


def check(case: Case, description: Any, batch: int = 1) -> None:
    assert takes(case, description)
    got, expected = run(case, description, inputs_of(case, batch))
    assert got.shape == expected.shape
    assert np.abs(got - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("size", [(14, 14), (15, 17), (28, 28), (56, 56), (14, 33), (20, 100), (16, 128)])
@pytest.mark.parametrize("pads", [(1, 1, 1, 1), (0, 0, 0, 0), (0, 1, 1, 0)])
def test_planes(best: Any, size: tuple[int, int], pads: tuple[int, int, int, int]) -> None:
    grown = tuple(n + 2 - low - high for n, low, high in zip(size, pads[:2], pads[2:], strict=True))
    check(Case(64, 64, (grown[0], grown[1]), pads=pads, epilogue="relu"), best)


@pytest.mark.parametrize(("channels", "out_channels"), [(64, 65), (65, 71), (128, 96), (256, 64)])
def test_channels(best: Any, channels: int, out_channels: int) -> None:
    check(Case(channels, out_channels, (14, 14), pads=(1, 1, 1, 1), epilogue="residual"), best)


@pytest.mark.parametrize("epilogue", EPILOGUES)
def test_epilogues(best: Any, epilogue: str) -> None:
    check(Case(64, 64, (19, 30), pads=(1, 1, 1, 1), epilogue=epilogue), best)


@pytest.mark.parametrize("batch", [1, 3])
def test_batch_known_when_called(best: Any, batch: int) -> None:
    check(Case(64, 64, (18, 18), pads=(1, 1, 1, 1), epilogue="bias", batch=None), best, batch)


def test_the_direct_form_where_it_is_asked_for_or_cheaper(best: Any) -> None:
    case = Case(64, 64, (28, 28), pads=(1, 1, 1, 1))
    assert takes(case, best)
    assert not takes(case, describe({"conv-algorithm": "direct"}))
    with pytest.raises(LlvmError):
        describe({"conv-algorithm": "fft"})
    for other in (
        Case(64, 64, (7, 7), pads=(1, 1, 1, 1)),
        Case(4, 64, (28, 28), pads=(1, 1, 1, 1)),
        Case(64, 64, (28, 28), (5, 5), pads=(2, 2, 2, 2)),
        Case(64, 64, (28, 28), strides=(2, 2), pads=(1, 1, 1, 1)),
        Case(64, 64, (28, 28), dilations=(2, 2), pads=(1, 1, 1, 1)),
        Case(64, 64, (28, 28), pads=(1, 1, 1, 1), constant=False),
    ):
        assert not takes(other, best)


def test_panels_hold_the_weights() -> None:
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((7, 5, 3, 3)).astype(np.float32)
    shape = (2, 16, 5, 4)
    packed = np.asarray(transform_function(WINOGRAD_PANELS)([weights], {"rows": 4}, shape, weights.dtype))
    assert packed.shape == shape
    np.testing.assert_array_equal(packed[1, :, :, 3], 0)
    np.testing.assert_array_equal(packed[0, 0, :, 2], weights[2, :, 0, 0])
    inverse = inverse_function(WINOGRAD_PANELS)
    assert inverse is not None
    np.testing.assert_allclose(inverse(packed, {"rows": 4}, weights.shape), weights, atol=1e-6)
