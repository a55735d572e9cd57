"""Whether ours and onnxruntime give the same top class for many inputs: ``peers.py MODEL --agreement N``.

In a quantized network a sum that lies halfway between two integers goes up in one engine and down in another,
since each rounds at places of its own, and what follows amplifies that. How far is measured on onnxruntime
alone: with and without its optimizations it computes the same file, on integers or as the f32 ops that the
file states. The top classes of ours and of onnxruntime are

- *same*: the same class;
- *tie*: different classes, whose logits in onnxruntime are no further apart than two logits of this input can
  approach each other by moving as far as its own do when its optimizations are left out;
- *different*: anything else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import engines
import terminal
import zoo

Array = np.ndarray[Any, Any]


@dataclass
class Agreement:
    """Counts of inputs and of answers: an output may hold several (of tokens), and an input is judged by its
    worst."""

    model: str
    same: int = 0
    ties: int = 0
    different: int = 0
    answers: int = 0
    answers_same: int = 0
    reference_differs: int = 0
    """Answers whose top class in onnxruntime is another without its optimizations."""
    largest: float = 0.0
    """Of ours from onnxruntime, in units of the largest logit."""

    def judge(self, ours: Array, reference: Array, other: Array) -> None:
        """Answers ``[..., classes]`` to one input: ours, onnxruntime's, its own without optimizations."""
        flat = [a.reshape(-1, a.shape[-1]).astype(np.float64) for a in (ours, reference, other)]
        rows = np.arange(len(flat[0]))
        mine, theirs, again = (a.argmax(axis=1) for a in flat)
        apart = flat[1][rows, theirs] - flat[1][rows, mine]
        moved = float(np.abs(flat[1] - flat[2]).max())
        unequal = mine != theirs
        if not np.isfinite(flat[0]).all() or (unequal & (apart > 2 * moved)).any():
            self.different += 1
        elif unequal.any():
            self.ties += 1
        else:
            self.same += 1
        self.answers += len(rows)
        self.answers_same += int(np.count_nonzero(~unequal))
        self.reference_differs += int(np.count_nonzero(again != theirs))
        scale = float(np.abs(flat[1]).max()) or 1.0
        self.largest = max(self.largest, float(np.abs(flat[0] - flat[1]).max()) / scale)


def agreement(model: zoo.Model, onnx: Path, artifact: Path, count: int, cache: Path) -> Agreement:
    """Ask both for ``count`` inputs; of several outputs the first counts."""
    feed = model.feed(zoo.OTHER_INPUTS)
    job = engines.Job(engines.ENGINES["ours"], onnx, artifact, feed, 1, model.name, cache)
    peers = (engines.load_onnxruntime(job, plain) for plain in (False, True))
    runners = [engines.load_ours(job), *peers]
    found = Agreement(model.name)
    for number in range(count):
        for name, array in model.feed(zoo.OTHER_INPUTS + number).items():
            # The engines hold these arrays.
            np.copyto(feed[name], array)
        found.judge(*(np.array(run()[0]) for run in runners))
    return found


def show(results: Sequence[Agreement]) -> None:
    columns = (
        "model", "inputs", "same", "ties", "different", "answers", "same ", "onnxruntime with itself",
        "largest error",
    )  # fmt: skip
    rows = [
        [
            r.model,
            str(r.same + r.ties + r.different),
            str(r.same),
            str(r.ties),
            str(r.different),
            str(r.answers),
            str(r.answers_same),
            str(r.answers - r.reference_differs),
            f"{r.largest:.2g}",
        ]
        for r in results
    ]
    title = "Top classes of ours and onnxruntime (ties: see agreement.py)"
    terminal.show(title, columns, rows, ("model",))
