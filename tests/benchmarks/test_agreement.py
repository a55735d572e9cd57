"""What ``peers.py --agreement`` calls the same, a tie, and different."""

from __future__ import annotations

import numpy as np
import pytest

import agreement


def answers(*logits: list[float]) -> list[np.ndarray]:
    return [np.array([values], np.float32) for values in logits]


@pytest.mark.parametrize(
    ("ours", "reference", "other", "counted"),
    [
        ([1, 5, 2], [1, 4, 2], [1, 4, 2], "same"),
        ([3, 2.9, 0], [2.9, 3, 0], [2.9, 3, 0.1], "ties"),
        ([3, 2.9, 0], [2.7, 3, 0], [2.7, 3, 0.1], "different"),
        ([3, 2.9, 0], [2.9, 3, 0], [2.9, 3, 0], "different"),
        ([np.nan, 3, 0], [0, 3, 0], [0, 3, 5], "different"),
    ],
)
def test_one_input(ours: list[float], reference: list[float], other: list[float], counted: str) -> None:
    found = agreement.Agreement("model")
    found.judge(*answers(ours, reference, other))
    counts = {"same": found.same, "ties": found.ties, "different": found.different}
    assert counts == {name: int(name == counted) for name in counts}


def test_an_input_of_several_answers_counts_once() -> None:
    found = agreement.Agreement("model")
    reference = np.array([[0.0, 2.0], [3.0, 1.0]])
    found.judge(reference[:, ::-1], reference, reference)
    found.judge(np.array([[0.0, 2.5], [3.0, 1.0]]), reference, reference[::-1])
    assert (found.same, found.ties, found.different) == (1, 0, 1)
    assert (found.answers, found.answers_same, found.reference_differs) == (4, 2, 2)
    assert found.largest == pytest.approx(2 / 3)
