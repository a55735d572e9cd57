"""How latency and compile time grow: with depth (1 to 64 layers), width (64 to 4096) and batch (1 to 256).

    python benchmarks/growth.py --html growth.html

Depth: residual layers of 256 features at batch 16 (``alike``: every layer the same shapes, so kernels are
compiled once; ``distinct``: every layer its own width, so each has a kernel of its own), and 3x3 convolutions
of 64 channels. Width: three layers at batch 16. Batch: three layers of 512 features. Latency is CPU time at
one thread, calls taking turns with onnxruntime's, minima; compile time is CPU time without the cache of
kernels.
"""

from __future__ import annotations

import os

for _name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
    os.environ.pop(_name, None)

import argparse  # noqa: E402
import functools  # noqa: E402
import itertools  # noqa: E402
import json  # noqa: E402
import math  # noqa: E402
import resource  # noqa: E402
import statistics  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable, Sequence  # noqa: E402
from dataclasses import asdict, dataclass  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402
import onnx  # noqa: E402
import onnxruntime  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

import iree_flow  # noqa: E402
import iree_vm  # noqa: E402
import plots  # noqa: E402
import terminal  # noqa: E402
from peers_table import number  # noqa: E402
from topologies import replace  # noqa: E402

DEPTHS = (1, 2, 4, 8, 16, 32, 64)
WIDTHS = (64, 128, 256, 512, 1024, 2048, 4096)
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


@dataclass
class Point:
    """One network: where it stands, microseconds a call, CPU seconds of compiling, distinct kernels."""

    series: str
    across: str
    at: int
    ours_us: float
    onnxruntime_us: float
    compile_s: float
    kernels: int
    error: float


# -- networks ---------------------------------------------------------------------------------------


def network(nodes: Sequence[Any], weights: Sequence[Any], shape: Sequence[int], last: str) -> bytes:
    graph = helper.make_graph(
        list(nodes),
        "growth",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(shape))],
        [helper.make_tensor_value_info(last, TensorProto.FLOAT, None)],
        list(weights),
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    inferred: bytes = onnx.shape_inference.infer_shapes(model).SerializeToString()
    return inferred


def dense(batch: int, widths: Sequence[int], residual: bool = False) -> bytes:
    """Products with bias and ReLU from each width to the next; ``residual`` adds the input back."""
    random = np.random.default_rng(0)
    nodes, weights, value = [], [], "x"
    for layer, (source, width) in enumerate(itertools.pairwise(widths)):
        w = random.standard_normal((source, width)).astype(np.float32) / math.sqrt(source)
        weights += [numpy_helper.from_array(w, f"w{layer}")]
        weights += [numpy_helper.from_array(np.full(width, 0.1, np.float32), f"b{layer}")]
        nodes.append(helper.make_node("Gemm", [value, f"w{layer}", f"b{layer}"], [f"g{layer}"]))
        nodes.append(helper.make_node("Relu", [f"g{layer}"], [f"r{layer}"]))
        if residual:
            # The mean of both, so that 64 layers stay in range.
            nodes.append(helper.make_node("Mean", [value, f"r{layer}"], [f"s{layer}"]))
        value = f"s{layer}" if residual else f"r{layer}"
    return network(nodes, weights, (batch, widths[0]), value)


def convolutions(depth: int, channels: int = 64, size: int = 28) -> bytes:
    """3x3 convolutions with ReLU that keep the image's size."""
    random = np.random.default_rng(0)
    nodes, weights, value = [], [], "x"
    for layer in range(depth):
        w = random.standard_normal((channels, channels, 3, 3)) * math.sqrt(2 / (9 * channels))
        weights.append(numpy_helper.from_array(w.astype(np.float32), f"w{layer}"))
        nodes.append(helper.make_node("Conv", [value, f"w{layer}"], [f"c{layer}"], pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [f"c{layer}"], [f"r{layer}"]))
        value = f"r{layer}"
    return network(nodes, weights, (1, channels, size, size), value)


def cases() -> list[tuple[str, str, int, Callable[[], bytes]]]:
    """``(series, across, at, network)``."""
    part = functools.partial
    found: list[tuple[str, str, int, Callable[[], bytes]]] = []
    for n in DEPTHS:
        found.append(("alike", "depth", n, part(dense, 16, [256] * (n + 1), True)))
        found.append(("distinct", "depth", n, part(dense, 16, [256 + 4 * i for i in range(n + 1)])))
        found.append(("convolutions", "depth", n, part(convolutions, n)))
    found += [("dense", "width", n, part(dense, 16, [n] * 4)) for n in WIDTHS]
    found += [("dense", "batch", n, part(dense, n, [512] * 4)) for n in BATCHES]
    return found


# -- measuring --------------------------------------------------------------------------------------


def cpu_seconds() -> float:
    """Of this process and of those it waited for."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def turns(runs: Sequence[Callable[[], Any]], seconds: float) -> list[float]:
    """Microseconds of CPU a call, the least of samples that take turns."""
    best = [math.inf] * len(runs)
    calls = []
    for run in runs:
        run()
        start = time.perf_counter()
        run()
        calls.append(max(1, round(1e-3 / max(time.perf_counter() - start, 1e-7))))
    deadline, rounds = time.monotonic() + seconds, 0
    while rounds < 3 or time.monotonic() < deadline:
        rounds += 1
        for index, (run, count) in enumerate(zip(runs, calls, strict=True)):
            start_ns = time.process_time_ns()
            for _ in range(count):
                run()
            best[index] = min(best[index], (time.process_time_ns() - start_ns) / count / 1e3)
    return best


def measure(series: str, across: str, at: int, model: bytes, options: argparse.Namespace) -> Point:
    taken = []
    for _ in range(options.times):
        start = cpu_seconds()
        artifact = iree_flow.compile(model, cache=False, name="growth")
        taken.append(cpu_seconds() - start)
    main = iree_vm.load(artifact, threads=1).main
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, settings, providers=["CPUExecutionProvider"])
    entry = session.get_inputs()[0]
    x = np.random.default_rng(1).standard_normal(entry.shape).astype(np.float32)
    expected, got = session.run(None, {"x": x})[0], main(x)
    error = float(np.abs(got - expected).max() / (np.abs(expected - expected.mean()).max() or 1.0))
    ours, theirs = turns((lambda: main(x), lambda: session.run(None, {"x": x})), options.seconds)
    kernels = len(artifact.report.dispatches)
    return Point(series, across, at, ours, theirs, statistics.median(taken), kernels, error)


# -- showing ----------------------------------------------------------------------------------------


def page(points: Sequence[Point]) -> str:
    """Plots and the table, as HTML."""
    parts = ['<p class="note">Dashed: growth in proportion. All axes are logarithmic.</p>']
    for across in dict.fromkeys(point.across for point in points):
        some = [point for point in points if point.across == across]
        latency: dict[str, list[tuple[float, float]]] = {}
        compiling: dict[str, list[tuple[float, float]]] = {}
        for point in some:
            latency.setdefault(f"{point.series}, ours", []).append((point.at, point.ours_us / 1e3))
            latency.setdefault(f"{point.series}, onnxruntime", []).append(
                (point.at, point.onnxruntime_us / 1e3)
            )
            compiling.setdefault(point.series, []).append((point.at, point.compile_s))
        parts += [f"<h2>{across}</h2>", plots.lines(latency, across, "ms a call")]
        parts.append(plots.lines(compiling, across, "compile, CPU seconds"))
    kernels = {
        series: sorted(
            (float(p.kernels), p.compile_s) for p in points if p.series == series and p.across == "depth"
        )
        for series in dict.fromkeys(point.series for point in points if point.across == "depth")
    }
    parts += ["<h2>Compile time against distinct kernels</h2>"]
    parts.append(plots.lines(kernels, "distinct kernels", "compile, CPU seconds"))
    parts += ["<h2>All figures</h2>", plots.table(COLUMNS, [cells(point) for point in points])]
    return plots.page("Growth", parts)


COLUMNS = ("series", "across", "at", "ours us", "onnxruntime us", "compile s", "kernels", "error")


def cells(point: Point) -> list[str]:
    times = (number(point.ours_us), number(point.onnxruntime_us), number(point.compile_s))
    return [point.series, point.across, str(point.at), *times, str(point.kernels), number(point.error, 2)]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("across", nargs="*", help="depth, width, batch; default: all")
    parser.add_argument("--seconds", type=float, default=0.5, help="to measure a network for")
    parser.add_argument("--times", type=int, default=1, help="compiles of a network")
    parser.add_argument("--largest", type=int, default=4096, help="leave out what is larger")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--html", type=Path)
    options = parser.parse_args()
    iree_flow.compile(dense(1, [8, 8]), cache=False)  # what is imported late is imported now
    points = []
    for series, across, at, make in cases():
        if (options.across and across not in options.across) or at > options.largest:
            continue
        points.append(measure(series, across, at, make(), options))
        print("  ".join(cells(points[-1])), file=sys.stderr, flush=True)
    terminal.show("Growth", COLUMNS, [cells(point) for point in points], ("series", "across"))
    if options.json is not None:
        replace(options.json, json.dumps([asdict(point) for point in points], indent=1).encode())
    if options.html is not None:
        options.html.write_text(page(points), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
