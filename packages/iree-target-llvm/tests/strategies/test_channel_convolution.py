"""Convolution of small planes along output channels, compiled and run here, against the interpreter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from iree_codegen.channel_convolution import ChannelTiles
from iree_codegen.dispatch import Dispatch
from iree_codegen.strategies.convolution import plan_static
from iree_codegen.window import DENSE, has_static_images, match
from iree_core_ir.text.parser import parse_module

from .test_convolution import EPILOGUES, Case, inputs_of, run, text_of


def check(case: Case, description: Any, batch: int = 1) -> None:
    func = next(iter(parse_module(text_of(case)).regions[0].block))
    window = match(Dispatch(func), DENSE)
    assert window is not None and has_static_images(window)
    assert isinstance(plan_static(window, description), ChannelTiles)
    got, expected = run(case, description, inputs_of(case, batch))
    assert got.shape == expected.shape
    assert np.abs(got - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("size", [(7, 7), (5, 7), (7, 8), (3, 3)])
@pytest.mark.parametrize(("channels", "kernel"), [(300, 1), (600, 1), (64, 3), (200, 3)])
def test_planes(best: Any, size: tuple[int, int], channels: int, kernel: int) -> None:
    pad = kernel // 2
    check(Case(channels, 64, size, (kernel,) * 2, pads=(pad,) * 4, epilogue="residual"), best)


@pytest.mark.parametrize("out_channels", [128, 157, 191])
def test_channels(best: Any, out_channels: int) -> None:
    check(Case(512, out_channels, (7, 7), (1, 1), epilogue="relu"), best)


@pytest.mark.parametrize("kernel", [1, 3])
def test_strides(best: Any, kernel: int) -> None:
    pad = kernel // 2
    check(Case(512, 64, (14, 14), (kernel,) * 2, (2, 2), pads=(pad,) * 4, epilogue="bias"), best)


@pytest.mark.parametrize("epilogue", EPILOGUES)
def test_epilogues(best: Any, epilogue: str) -> None:
    check(Case(300, 64, (7, 7), (1, 1), epilogue=epilogue), best)


@pytest.mark.parametrize("batch", [1, 3])
def test_batch_known_when_called(best: Any, batch: int) -> None:
    check(Case(512, 64, (7, 7), (1, 1), epilogue="bias", batch=None), best, batch)
