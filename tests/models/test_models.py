"""Every real model against onnxruntime: before the softmax and at five places inside, on three seeds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import probe
import zoo

pytest.importorskip("onnxruntime")

QUICK = ("magika", "ocr_cls")


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in zoo.MODELS]
)
def test_numbers_agree_with_onnxruntime(name: str, model_file: Callable[[str], Path]) -> None:
    import models

    row = models.Row(name)
    models.measure_errors(row, zoo.MODELS[name], model_file(name), target=None, seeds=3)
    assert row.logits_error <= probe.TOLERANCE, row.worst
    assert row.inner_error <= probe.TOLERANCE, row.worst
    assert row.distinct >= probe.DISTINCT


def test_a_dynamic_batch_gives_each_row_the_same_answer(model_file: Callable[[str], Path]) -> None:
    import numpy as np

    import iree_flow
    import iree_vm

    main = iree_vm.load(iree_flow.compile(model_file("magika"))).main
    rows = [zoo.MODELS["magika"].feed(seed)["bytes"] for seed in range(5)]
    together = main(np.concatenate(rows))
    assert together.shape == (5, 214)
    for row, expected in zip(rows, together, strict=True):
        assert probe.error(main(row)[0], expected) <= probe.TOLERANCE
