"""3x3 convolutions of blocked images by Winograd's algorithm, compiled and run here, against the
interpreter on the same dispatch function."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from iree_codegen.strategies import blocked_convolution
from iree_target_llvm.description import describe

from .test_blocked_convolution import EPILOGUES, Case, run, unpacked

PLAIN = Case(32, 48, (16, 16), pads=(1, 1, 1, 1))


@pytest.fixture(autouse=True)
def whenever_possible(monkeypatch: pytest.MonkeyPatch) -> None:
    """Winograd's form wherever it can be, not only where it pays."""
    monkeypatch.setattr(blocked_convolution, "WINOGRAD_GAIN", 100.0)


def check(case: Case, description: Any, batch: int = 1) -> None:
    got, expected, why = run(case, description, batch)
    assert "Winograd" in why
    assert np.abs(got - expected).max() <= 2e-5 * np.abs(expected).max()


@pytest.mark.parametrize("size", [(14, 14), (16, 17), (15, 31), (33, 14), (56, 20), (64, 64)])
@pytest.mark.parametrize("pads", [(1, 1, 1, 1), (0, 0, 0, 0), (1, 0, 0, 1), (0, 1, 1, 1)])
def test_sizes_and_pads(best: Any, size: Any, pads: Any) -> None:
    size = (size[0] + 2 - pads[0] - pads[2], size[1] + 2 - pads[1] - pads[3])
    check(replace(PLAIN, size=size, pads=pads, epilogue="residual"), best)


@pytest.mark.parametrize("channels", [(32, 32), (40, 33), (64, 80), (47, 112)])
def test_channels(description: Any, channels: tuple[int, int]) -> None:
    check(replace(PLAIN, channels=channels[0], out_channels=channels[1], epilogue="relu"), description)


@pytest.mark.parametrize("epilogue", ["", *EPILOGUES])
def test_epilogues(best: Any, epilogue: str) -> None:
    check(replace(PLAIN, epilogue=epilogue), best)


@pytest.mark.parametrize("batch", [None, 2])
def test_batches(best: Any, batch: int | None) -> None:
    check(replace(PLAIN, batch=batch), best, 2)


def test_long_reductions_share_their_panels(best: Any) -> None:
    check(Case(256, 256, (14, 14), pads=(1, 1, 1, 1), epilogue="residual"), best)


def test_the_direct_form_where_it_is_asked_for() -> None:
    _, _, why = run(PLAIN, describe({"conv-algorithm": "direct"}))
    assert "Winograd" not in why


@pytest.mark.parametrize(
    "case",
    [
        replace(PLAIN, strides=(2, 2)),
        replace(PLAIN, kernel=(3, 1), pads=(1, 0, 1, 0)),
        replace(PLAIN, dilations=(2, 2)),
        replace(PLAIN, size=(7, 7)),
        replace(PLAIN, pads=(2, 2, 2, 2)),
        replace(PLAIN, channels=16),
        replace(PLAIN, constant=False),
    ],
)
def test_the_direct_form_where_it_must_be(best: Any, case: Case) -> None:
    got, expected, why = run(case, best)
    assert "Winograd" not in why
    assert np.abs(got - expected).max() <= 1e-5 * np.abs(expected).max()


def test_a_value_that_is_not_finite_spoils_its_tile_alone(best: Any) -> None:
    case = replace(PLAIN, epilogue="")
    got, expected, _ = run(case, best, bad=np.nan)
    assert np.isnan(got[np.isnan(expected)]).all()
    reached = np.isnan(expected).any(axis=(0, 1, 4)).reshape(8, 2, 8, 2).any(axis=(1, 3))
    whole = np.kron(reached, np.ones((2, 2))) > 0
    assert not np.isnan(got[:, :, ~whole]).any()
    np.testing.assert_allclose(got[:, :, ~whole], expected[:, :, ~whole], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("channels", [(40, 72), (32, 48)])
def test_weights_can_be_unpacked(description: Any, channels: tuple[int, int]) -> None:
    case = replace(PLAIN, channels=channels[0], out_channels=channels[1])
    found, weights = unpacked(case, description)
    np.testing.assert_allclose(found, weights, atol=1e-5)
