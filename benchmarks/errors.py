"""How far engines are from float64, over many inputs: ``peers.py MODEL --errors N``.

One input says little about rounding: which of two engines is nearer changes from input to input. So every
engine is asked for ``N`` inputs, and the mean and the largest of its errors are shown. An error is the
largest difference of an output from the torch source in double precision, relative to how far that output
spreads.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import engines
import terminal
import zoo

Array = np.ndarray[Any, Any]
REFERENCE = "float64"


def difference(outputs: Sequence[Array], expected: Sequence[Array]) -> float:
    """The largest ``max|a - b| / max|b - mean(b)|`` over the outputs; infinite where they do not fit."""
    if len(outputs) != len(expected):
        return float("inf")
    worst = 0.0
    for a, b in zip(outputs, expected, strict=True):
        if a.shape != b.shape:
            return float("inf")
        if not b.size:
            continue
        b = b.astype(np.float64)
        spread = float(np.abs(b - b.mean()).max()) or float(np.abs(b).max()) or 1.0
        found = float(np.abs(a.astype(np.float64) - b).max()) / spread
        worst = max(worst, found if found == found else float("inf"))
    return worst


@dataclass(frozen=True)
class Errors:
    """The errors of each engine on one model, input by input."""

    model: str
    by_engine: Mapping[str, Sequence[float]]


def errors(model: zoo.Model, onnx: Path, artifacts: Mapping[str, Path], count: int, cache: Path) -> Errors:
    """``artifacts``: by engine; the reference needs none, and each runs on one thread in this process."""
    feed = model.feed(zoo.OTHER_INPUTS)

    def runner(name: str, artifact: Path) -> engines.Runner:
        engine = engines.ENGINES[name]
        return engine.load(engines.Job(engine, onnx, artifact, feed, 1, model.name, cache))

    reference = runner(REFERENCE, onnx)
    runners = {name: runner(name, artifact) for name, artifact in artifacts.items()}
    found: dict[str, list[float]] = {name: [] for name in runners}
    for number in range(count):
        for name, array in model.feed(zoo.OTHER_INPUTS + number).items():
            np.copyto(feed[name], array)  # the engines hold these arrays
        expected = [np.asarray(output).copy() for output in reference()]
        for name, run in runners.items():
            found[name].append(difference([np.asarray(output) for output in run()], expected))
    return Errors(model.name, found)


def show(results: Sequence[Errors]) -> None:
    names = list(dict.fromkeys(name for result in results for name in result.by_engine))
    columns = ("model", "inputs", *(engines.ENGINES[name].title for name in names))
    rows = []
    for result in results:
        cells = [
            f"{statistics.fmean(values):.2g} ({max(values):.2g})"
            if (values := result.by_engine.get(name))
            else ""
            for name in names
        ]
        rows.append([result.model, str(max(map(len, result.by_engine.values()), default=0)), *cells])
    terminal.show("Errors against float64: mean over inputs (largest)", columns, rows, ("model",))


def to_json(results: Sequence[Errors]) -> str:
    return json.dumps({result.model: dict(result.by_engine) for result in results}, indent=1)
