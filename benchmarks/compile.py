"""What compiling costs: CPU seconds cold and warm, time per phase, and memory beside the weights.

    python benchmarks/compile.py                        all models of zoo.py
    python benchmarks/compile.py resnet50 --profile     where its time goes, by function

What is measured is the command ``iree compile``, a process each time, so imports are in the figures. ``cold``
has an empty cache of kernels; ``warm`` compiles the same network with one weight changed under another name,
so that kernels are all that can be known of it. CPU time is that of the process and its workers; memory is
the largest sum of what they held resident at a time, sampled every few milliseconds.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import os
import pstats
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import plots
import terminal
import zoo
from peers_table import number
from topologies import replace
from workers import Failure, environment, run

BUDGETS = {"resnet50": 5.0, "bert_base": 5.0, "mobilenetv2": 4.0}
"""CPU seconds that a cold compile may take."""
WARM = 1.5
"""CPU seconds that a warm compile may take."""
MEMORY = 1.5
"""Peak memory over the size of the weights, where those are most of it (above 200 MB)."""


@dataclass
class Row:
    """What was found about one model; seconds of CPU time, bytes."""

    model: str
    failure: str = ""
    cold_s: float = float("nan")
    warm_s: float = float("nan")
    cold_wall_s: float = float("nan")
    warm_wall_s: float = float("nan")
    peak_bytes: int = 0
    weight_bytes: int = 0
    """Of the model's file, which is little else."""
    artifact_bytes: int = 0
    kernels: int = 0
    recompiled: int = 0
    """Kernels that the changed weight is part of, so that the cache does not hold them."""
    phases: dict[str, float] = field(default_factory=dict)
    """Of the cold compile, in the process that leads it."""
    warm_phases: dict[str, float] = field(default_factory=dict)

    @property
    def memory(self) -> float:
        return self.peak_bytes / self.weight_bytes if self.weight_bytes else float("nan")

    def problems(self) -> list[str]:
        """What exceeds its budget."""
        found = [self.failure] if self.failure else []
        budget = BUDGETS.get(self.model, float("inf"))
        if self.cold_s > budget:
            found.append(f"cold {self.cold_s:.1f} s, budget {budget:.0f}")
        if self.model in BUDGETS and self.warm_s > WARM:
            found.append(f"warm {self.warm_s:.1f} s, budget {WARM}")
        if self.weight_bytes > 200e6 and self.memory > MEMORY:
            found.append(f"memory {self.memory:.2f}x the weights, budget {MEMORY}x")
        return found


# -- one compile, in a process of its own -----------------------------------------------------------


@dataclass(frozen=True)
class Compiled:
    """One compile as seen from outside, and what it told."""

    cpu_s: float
    wall_s: float
    peak_bytes: int
    report: dict[str, Any]


COMMAND = "import sys; from iree_cli.main import main; sys.exit(main())"
"""What the script ``iree`` does, whichever folder it lies in."""


def compile_apart(onnx: Path, artifact: Path, model: zoo.Model, kernels: Path) -> Compiled:
    """Compile in a new process with its cache of kernels in ``kernels``. Raises Failure."""
    shapes = [
        f"--input-shape={name}={'x'.join(map(str, sizes))}" for name, sizes in model.input_shapes.items()
    ]
    command = [sys.executable, "-c", COMMAND, "compile", str(onnx), "-o", str(artifact), "--json", *shapes]
    done = run(command, {**environment(1, kernels), "IREE_CACHE_DIR": str(kernels)})
    return Compiled(done.cpu_s, done.wall_s, done.peak_bytes, json.loads(done.output)["report"])


# -- measuring --------------------------------------------------------------------------------------


def altered(path: Path, target: Path) -> Path:
    """The model at ``path`` with one value of one weight changed, at ``target``."""
    import onnx
    from onnx import numpy_helper

    proto = onnx.load(path)
    graphs = [proto.graph]
    while graphs:
        graph = graphs.pop()
        for tensor in sorted(graph.initializer, key=lambda t: -t.ByteSize()):
            if tensor.data_type == onnx.TensorProto.FLOAT:
                values = numpy_helper.to_array(tensor).copy()
                values.flat[0] += 0.5
                tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
                graphs = []
                break
        else:
            for node in graph.node:
                graphs += [a.g for a in node.attribute if a.HasField("g")]
    replace(target, proto.SerializeToString())
    return target


def measure(model: zoo.Model, options: argparse.Namespace) -> Row:
    """Both compiles, ``options.times`` each; medians."""
    row = Row(model.name)
    path = zoo.prepare(model.name, options.cache)
    row.weight_bytes = path.stat().st_size
    with tempfile.TemporaryDirectory(dir=options.scratch) as folder:
        place = Path(folder)
        other = altered(path, place / "renamed.onnx")
        # Each writes a file of its own: freeing the one that is replaced is no part of compiling.
        artifact, second = place / "model.vmfb", place / "renamed.vmfb"
        cold, warm = [], []
        for turn in range(options.times):
            kernels = place / f"kernels{turn}"
            artifact.unlink(missing_ok=True)
            cold.append(compile_apart(path, artifact, model, kernels))
            second.unlink(missing_ok=True)
            warm.append(compile_apart(other, second, model, kernels))
        row.artifact_bytes = artifact.stat().st_size
    row.cold_s = statistics.median(one.cpu_s for one in cold)
    row.warm_s = statistics.median(one.cpu_s for one in warm)
    row.cold_wall_s = statistics.median(one.wall_s for one in cold)
    row.warm_wall_s = statistics.median(one.wall_s for one in warm)
    row.peak_bytes = max(one.peak_bytes for one in cold)
    row.kernels = len(cold[0].report["dispatches"])
    row.recompiled = max(sum(not d["cached"] for d in one.report["dispatches"]) for one in warm)
    row.phases, row.warm_phases = dict(cold[0].report["phases"]), dict(warm[0].report["phases"])
    return row


# -- showing ----------------------------------------------------------------------------------------

COLUMNS = (
    "model",
    "cold s",
    "warm s",
    "cold wall",
    "warm wall",
    "kernels",
    "recompiled",
    "peak MB",
    "weights MB",
    "peak / weights",
    "note",
)


def cells(row: Row) -> list[str]:
    seconds = (row.cold_s, row.warm_s, row.cold_wall_s, row.warm_wall_s)
    return [
        row.model,
        *(number(value) for value in seconds),
        str(row.kernels),
        str(row.recompiled),
        number(row.peak_bytes / 1e6),
        number(row.weight_bytes / 1e6),
        number(row.memory),
        "; ".join(row.problems()),
    ]


def show(rows: Sequence[Row]) -> None:
    terminal.show("Compiling, CPU seconds", COLUMNS, [cells(row) for row in rows], ("model", "note"))
    names = list(dict.fromkeys(name for row in rows for name in row.phases))
    phases = []
    for row in rows:
        times = [(row.phases.get(n, 0.0), row.warm_phases.get(n, 0.0)) for n in names]
        phases.append([row.model, *(f"{cold:.2f} / {warm:.2f}" for cold, warm in times)])
    terminal.show("Phases, cold / warm", ["model", *names], phases, ("model",))


def page(rows: Sequence[Row]) -> str:
    """The same with plots, as HTML."""
    groups = {row.model: {"cold": row.cold_s, "warm": row.warm_s} for row in rows if not row.failure}
    phases = {row.model: row.phases for row in rows}
    memory = {row.model: {"peak": row.peak_bytes / 1e6, "weights": row.weight_bytes / 1e6} for row in rows}
    parts = [
        plots.table(COLUMNS, [cells(row) for row in rows]),
        "<h2>CPU time</h2>",
        plots.grouped_bars(groups, "s"),
        "<h2>Phases of the cold compile</h2>",
        plots.grouped_bars(phases, "s"),
        "<h2>Memory</h2>",
        plots.grouped_bars(memory, "MB"),
    ]
    return plots.page("Compiling", parts)


def profile(model: zoo.Model, cache: Path) -> None:
    """Where the time of a cold compile goes, by function, imports included, workers left out."""
    path = zoo.prepare(model.name, cache)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["IREE_CACHE_DIR"] = folder
        profiler = cProfile.Profile()
        profiler.enable()
        import iree_flow

        iree_flow.compile(path, output=Path(folder) / "model.vmfb", input_shapes=model.input_shapes)
        profiler.disable()
    statistic = pstats.Stats(profiler)
    statistic.sort_stats("cumulative").print_stats(45)
    statistic.sort_stats("tottime").print_stats(30)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="*", metavar="MODEL", help="default: " + " ".join(zoo.MODELS))
    parser.add_argument("--cache", type=Path, default=Path("build/models"), help="where models are kept")
    parser.add_argument("--times", type=int, default=1)
    parser.add_argument("--scratch", type=Path, help="for artefacts; default: the system's")
    parser.add_argument("--profile", action="store_true", help="only show where the time goes")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--html", type=Path)
    options = parser.parse_args()
    if unknown := [name for name in options.models if name not in zoo.MODELS]:
        parser.error(f"no such model: {', '.join(unknown)}; there are {', '.join(zoo.MODELS)}")
    rows = []
    for name in options.models or zoo.MODELS:
        if options.profile:
            profile(zoo.MODELS[name], options.cache)
            continue
        try:
            rows.append(measure(zoo.MODELS[name], options))
        except (Failure, RuntimeError) as error:
            rows.append(Row(name, failure=str(error)))
        print("  ".join(cells(rows[-1])), file=sys.stderr, flush=True)
    if options.profile:
        return 0
    show(rows)
    if options.json is not None:
        replace(options.json, json.dumps([asdict(row) for row in rows], indent=1).encode())
    if options.html is not None:
        options.html.write_text(page(rows), encoding="utf-8")
    problems = [f"{row.model}: {text}" for row in rows for text in row.problems()]
    print("\n".join(problems) if problems else "all within their budgets")
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
