"""Weights of GPU convolutions: laid out with channels innermost, and read so."""

from __future__ import annotations

import json

import pytest

from iree_codegen.gpu_layouts import CHANNELS_FIRST, constant_layout
from iree_codegen.strategies.gpu.matmul import matmul

from .strategies.gpu.contractions import GPU, check, function
from .strategies.gpu.test_convolution import convolution
from .strategies.gpu.test_matmul import product


def test_weights_are_laid_out_and_read_so() -> None:
    sizes = {"n": 1, "c": 16, "h": 5, "w": 4, "f": 6, "kernel": 3, "pad": 1}
    (wanted,) = constant_layout(function(convolution(**sizes, weights="{iree.constant}")), GPU)
    assert wanted.argument == 1
    assert wanted.type.shape == (6, 3, 3, 16)
    packed = json.dumps({"kind": wanted.kind, "parameters": dict(wanted.parameters)})
    attributes = f"{{iree.constant, iree.packed = {json.dumps(packed)}}}"
    check(
        convolution(**sizes, weights=attributes),
        matmul,
        GPU,
        packed={1: CHANNELS_FIRST["linalg.conv_2d_nchw_fchw"]},
    )


@pytest.mark.parametrize(
    "text",
    [
        convolution(n=1, c=4, h=5, w=4, f=6, kernel=1, weights="{iree.constant}"),
        convolution(n=1, c=4, h=5, w=4, f=6, kernel=3),
        product(16, 16, 16),
    ],
    ids=["one tap", "weights that are no constant", "no convolution"],
)
def test_what_stays_as_it_is(text: str) -> None:
    assert constant_layout(function(text), GPU) == ()
