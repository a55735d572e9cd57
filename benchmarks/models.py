"""Every model of ``zoo.py`` against onnxruntime: errors, compile seconds, latency at one thread, sizes.

    python benchmarks/models.py                     all models
    python benchmarks/models.py magika --threads 2  one of them, at two threads

Errors are the largest over three seeds of ``max|a - b| / max|b - mean(b)|`` for the tensors before the
closing softmax (``logits``) and five tensors inside (``inner``). Latency is CPU time, the median of calls
that take turns with onnxruntime's. The exit status is 1 when an error is above 1e-4, when two inputs give
outputs that are not a hundred times further apart than that, or when a model is slower than ``--slowest``
times onnxruntime.
"""

from __future__ import annotations

import os

# OpenBLAS settings left over in the environment would slow one side down.
for _name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
    os.environ.pop(_name, None)

import argparse  # noqa: E402
import json  # noqa: E402
import statistics  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable, Mapping  # noqa: E402
from dataclasses import asdict, dataclass, field  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402
import onnxruntime  # noqa: E402

import iree_flow  # noqa: E402
import iree_vm  # noqa: E402
import probe  # noqa: E402
import zoo  # noqa: E402

Array = np.ndarray[Any, Any]
Arrays = Mapping[str, Array]
Runner = Callable[[Arrays], list[Array]]


@dataclass
class Row:
    """What was found about one model; errors are relative, times in microseconds, sizes in bytes."""

    model: str
    logits_error: float = float("nan")
    inner_error: float = float("nan")
    distinct: float = float("nan")
    worst: str = ""
    compile_seconds: float = float("nan")
    phases: dict[str, float] = field(default_factory=dict)
    iree_us: float = float("nan")
    onnxruntime_us: float = float("nan")
    artifact_bytes: int = 0
    onnx_bytes: int = 0
    failure: str = ""

    @property
    def ratio(self) -> float:
        return self.iree_us / self.onnxruntime_us

    def problems(self, slowest: float) -> list[str]:
        """Why this row fails, if it does; what was not measured (nan) is no problem."""
        found = [self.failure] if self.failure else []
        found += [
            f"{name} {getattr(self, name):.1e} ({self.worst})"
            for name in ("logits_error", "inner_error")
            if getattr(self, name) > probe.TOLERANCE
        ]
        if self.distinct < probe.DISTINCT:
            found.append(f"two inputs give outputs only {self.distinct:.1e} apart")
        if self.ratio > slowest:
            found.append(f"{self.ratio:.1f}x the time of onnxruntime")
        return found


# -- the two sides ----------------------------------------------------------------------------------


def run_onnxruntime(model: bytes, threads: int) -> Runner:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda feed: session.run(None, dict(feed))


def run_iree(artifact: Any, threads: int) -> Runner:
    main = iree_vm.load(artifact, threads=threads).main

    def run(feed: Arrays) -> list[Array]:
        result = main(*feed.values())
        return list(result) if isinstance(result, tuple) else [result]

    return run


def compile_model(source: Any, model: zoo.Model, target: str | None, **options: Any) -> Any:
    if target is not None:
        options["target"] = target
    if model.input_shapes:
        options["input_shapes"] = model.input_shapes
    return iree_flow.compile(source, **options)


# -- measurements -----------------------------------------------------------------------------------


def measure_errors(row: Row, model: zoo.Model, path: Path, target: str | None, seeds: int) -> None:
    """Compare the probed model on ``seeds`` inputs."""
    probed = probe.probe(path, model.logits)
    source = path.with_name(f"{path.stem}.probed.onnx")
    source.write_bytes(probed.model.SerializeToString())
    try:
        ours = run_iree(compile_model(source, model, target), threads=1)
        theirs = run_onnxruntime(source.read_bytes(), threads=1)
    finally:
        source.unlink()
    worst: dict[str, float] = dict.fromkeys(probed.outputs, 0.0)
    apart = float("inf")
    previous: dict[str, Array] = {}
    for seed in range(seeds):
        feed = model.feed(seed)
        got = dict(zip(probed.outputs, ours(feed), strict=True))
        expected = dict(zip(probed.outputs, theirs(feed), strict=True))
        for name in probed.outputs:
            worst[name] = max(worst[name], probe.error(got[name], expected[name]))
        if previous:
            apart = min(apart, max(probe.error(got[name], previous[name]) for name in probed.logits))
        previous = got
    row.logits_error = max(worst[name] for name in probed.logits)
    row.inner_error = max((worst[name] for name in probed.inner), default=0.0)
    row.worst = max(worst, key=lambda name: worst[name])
    row.distinct = apart


def measure_latency(row: Row, ours: Runner, theirs: Runner, feed: Arrays, seconds: float) -> None:
    """Let the two take turns for ``seconds``; CPU time, so that a busy machine does not matter."""
    times: tuple[list[int], list[int]] = ([], [])
    for _ in range(2):
        ours(feed), theirs(feed)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline or len(times[0]) < 5:
        for run, record in zip((ours, theirs), times, strict=True):
            start = time.process_time_ns()
            run(feed)
            record.append(time.process_time_ns() - start)
    row.iree_us, row.onnxruntime_us = (statistics.median(record) / 1000 for record in times)


def measure(model: zoo.Model, options: argparse.Namespace) -> Row:
    row = Row(model.name)
    path = zoo.prepare(model.name, options.cache)
    row.onnx_bytes = path.stat().st_size
    start = time.monotonic()
    artifact = compile_model(path, model, options.target, cache=False)
    row.compile_seconds = time.monotonic() - start
    row.phases = dict(getattr(artifact.report, "phases", ()))
    row.artifact_bytes = artifact.nbytes
    if options.seeds:
        measure_errors(row, model, path, options.target, options.seeds)
    if options.seconds:
        ours = run_iree(artifact, options.threads)
        theirs = run_onnxruntime(path.read_bytes(), options.threads)
        measure_latency(row, ours, theirs, model.feed(0), options.seconds)
    return row


# -- printing ---------------------------------------------------------------------------------------

HEADER = (
    "| model | logits error | inner error | compile s "
    "| iree us | onnxruntime us | ratio | artefact / ONNX |\n"
    "|---|---:|---:|---:|---:|---:|---:|---:|"
)


def line(row: Row) -> str:
    size = f"{row.artifact_bytes / row.onnx_bytes:.2f}" if row.onnx_bytes else "-"
    times = f"{row.compile_seconds:.1f} | {row.iree_us:,.0f} | {row.onnxruntime_us:,.0f} | {row.ratio:.2f}"
    return f"| {row.model} | {row.logits_error:.1e} | {row.inner_error:.1e} | {times} | {size} |"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="MODEL", help="default: " + " ".join(zoo.MODELS))
    parser.add_argument("--cache", type=Path, default=Path("build/models"), help="where the files are kept")
    parser.add_argument("--target", help="default: the compiler's")
    parser.add_argument("--seeds", type=int, default=3, help="inputs to compare on; 0: do not compare")
    parser.add_argument("--seconds", type=float, default=3.0, help="to measure a model for; 0: do not")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--slowest", type=float, default=4.0, help="the largest ratio that is accepted")
    parser.add_argument("--json", type=Path, help="also write everything here")
    options = parser.parse_args()

    rows: list[Row] = []
    print(HEADER, flush=True)
    for name in options.names or zoo.MODELS:
        try:
            row = measure(zoo.MODELS[name], options)
        except Exception as error:
            row = Row(name, failure=f"{type(error).__name__}: {error}")
        rows.append(row)
        print(line(row), flush=True)
    if options.json is not None:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=2))
    problems = [f"{row.model}: {text}" for row in rows for text in row.problems(options.slowest)]
    print("\n".join(["", *problems]) if problems else "\nall within bounds", flush=True)
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
