"""Every model of ``zoo.py`` beside what people use: onnxruntime, OpenVINO, upstream IREE, torch inductor.

    python benchmarks/peers.py                                    all models, 1 thread
    python benchmarks/peers.py resnet50 --threads 1 2 --json r.json --html r.html

Each engine lives in a process of its own; they take turns, in rounds, and whoever has no turn is stopped.
Figures are medians over the samples of all rounds: CPU time (all threads of the process) and wall time of a
call. Beside them: cold start (process start to first result, from the artefact or, without one, from the ONNX
file), peak resident memory of the process that runs, CPU seconds and peak memory of compiling, size of the
artefact, and the error against onnxruntime. A file with dynamic dimensions is fixed to the measured shapes
first, for all engines alike.

At more than one thread, a probe spins on all cores before and after each round; wall times of the rounds in
which every core reached 95 % of its best are reported apart (``quiet``). ``--quiet N`` goes on until there
are N of those, for at most ``--patience`` seconds a model. At one thread it has all engines share the core
that is the fastest before a round, and samples are judged one by one, by short probes between them; CPU times
are those of quiet samples alone, if there is one: on cores that are hyperthreads, what a stranger does on the
other half slows matrix tiles down fourfold.

Two options measure no time: ``--agreement N`` compares the top classes of ours and onnxruntime for N inputs
(``agreement.py`` says how ties are told from differences), and fails where one differs; ``--errors N`` shows
how far all engines are from float64 over N inputs.

The ratio of a model is the best f32 peer's time over ours; above 1, ours is faster. An engine that is not
installed, fails or is wrong has a row that says so.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import importlib.metadata
import importlib.util
import json
import os
import platform
import signal
import statistics
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import agreement
import engines
import errors
import peers_page
import peers_table
import topologies
import workers
import zoo
from engines import ENGINES, Engine
from peers_rounds import take_turns
from peers_summary import Cell, summarize

Array = np.ndarray[Any, Any]

REFERENCE = "onnxruntime"


@dataclass
class Prepared:
    """One model ready to be served: files and what compiling took."""

    model: zoo.Model
    onnx: Path
    feed: Path
    folder: Path
    cells: dict[str, Cell] = field(default_factory=dict)

    def settings(self, engine: Engine, threads: int, cache: Path) -> dict[str, Any]:
        return {
            "onnx": str(self.onnx),
            "artifact": str(self.artifact(engine)),
            "feed": str(self.feed),
            "threads": threads,
            "model": self.model.name,
            "cache": str(cache),
        }

    def artifact(self, engine: Engine) -> Path:
        return self.folder / f"{self.model.name}.{engine.name}.vmfb"


# -- preparing --------------------------------------------------------------------------------------


def fixed(model: zoo.Model, path: Path, target: Path) -> Path:
    """``path``, or ``target`` with the same model at the measured shapes, if it leaves some open and can."""
    import onnx

    proto = onnx.load(path)
    shapes = {entry.name: entry.shape for entry in model.inputs}
    changed = False
    for value in proto.graph.input:
        for dim, size in zip(value.type.tensor_type.shape.dim, shapes.get(value.name, ()), strict=False):
            if dim.dim_value != size:
                dim.dim_value = size
                changed = True
    # Branches state shapes of their own, which need not fit those of one run.
    if not changed or any(a.HasField("g") for node in proto.graph.node for a in node.attribute):
        return path
    del proto.graph.value_info[:]
    stated = [(value, onnx.TensorShapeProto(), value.type.tensor_type.shape) for value in proto.graph.output]
    for value, shape, known in stated:
        # The rank stays, sizes are inferred anew; a zero in a file means that nobody knew.
        shape.dim.extend([onnx.TensorShapeProto.Dimension() for _ in known.dim])
        value.type.tensor_type.shape.CopyFrom(shape)
    with contextlib.suppress(Exception):  # a model it cannot infer is used as it is
        proto = onnx.shape_inference.infer_shapes(proto, data_prop=True)
    topologies.replace(target, proto.SerializeToString())
    return target


def missing(engine: Engine, model: zoo.Model) -> str:
    """Why ``engine`` cannot even try ``model``, or nothing."""
    if engine.torch and model.torch is None:
        return "no torch source"
    try:
        found = importlib.util.find_spec(engine.module)
    except ModuleNotFoundError:
        found = None
    return "" if found is not None else f"{engine.module} is not installed"


def prepare(name: str, chosen: Sequence[str], cache: Path, parallel: int = 1) -> Prepared:
    """Files of the model, and artefacts of the engines that compile ahead of time."""
    model = zoo.ALL[name]
    folder = cache / "peers"
    folder.mkdir(parents=True, exist_ok=True)
    path = zoo.prepare(name, cache)
    feed = folder / f"{name}.feed.npz"
    np.savez(feed, **model.feed(0))
    prepared = Prepared(model, fixed(model, path, folder / f"{name}.onnx"), feed, folder)
    for key in chosen:
        prepared.cells[key] = Cell(failure=missing(ENGINES[key], model))

    def build(engine: Engine) -> None:
        cell = prepared.cells[engine.name]
        cell.artifact_bytes = prepared.onnx.stat().st_size
        if engine.build is None or cell.failure:
            return
        try:
            made = compile_once(engine, prepared, cache)
        except workers.Failure as failure:
            cell.failure = str(failure)
            return
        cell.compile_cpu_s, cell.compile_peak_bytes = made.cpu_s, made.peak_bytes
        cell.artifact_bytes = made.artifact_bytes

    with ThreadPoolExecutor(parallel) as pool:
        list(pool.map(build, [ENGINES[key] for key in chosen]))
    return prepared


def compile_once(engine: Engine, prepared: Prepared, cache: Path) -> workers.Build:
    """Compile, or say what it took last time where the engine cannot have changed since."""
    artifact = prepared.artifact(engine)
    note = artifact.with_suffix(".json")
    state = _state(engine, prepared)
    if engine.reuse and note.exists():
        known = json.loads(note.read_text())
        if known["state"] == state:
            if known["failure"]:
                raise workers.Failure(known["failure"])
            return workers.Build(**known["build"])
    kept: dict[str, Any] = {"state": state, "failure": "", "build": None}
    try:
        shapes = prepared.model.input_shapes
        made = workers.build(engine.name, prepared.onnx, artifact, cache, shapes)
        kept["build"] = asdict(made)
        return made
    except workers.Failure as failure:
        kept["failure"] = str(failure)
        raise
    finally:
        if engine.reuse:
            note.write_text(json.dumps(kept))


def compiled_at_load(engine: Engine, prepared: Prepared, seconds: float) -> float:
    """CPU seconds of loading, the first time where the engine keeps what it compiled between processes."""
    if not engine.reuse:
        return seconds
    note, state = prepared.artifact(engine).with_suffix(".json"), _state(engine, prepared)
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        known = json.loads(note.read_text())
        if known["state"] == state:
            return float(known["seconds"])
    note.write_text(json.dumps({"state": state, "seconds": seconds}))
    return seconds


def _state(engine: Engine, prepared: Prepared) -> dict[str, Any]:
    """What makes an engine compile a model anew."""
    file = prepared.onnx.stat()
    return {
        "onnx": [file.st_size, file.st_mtime_ns],
        "options": dict(engine.options),
        "version": version(engine),
    }


DISTRIBUTIONS = {"iree_vm": "iree-vm", "iree.compiler": "iree-base-compiler"}


def version(engine: Engine) -> str:
    name = DISTRIBUTIONS.get(engine.module, engine.module)
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version(name)
    return ""


# -- measuring --------------------------------------------------------------------------------------


def outputs_of(worker: workers.Worker, path: Path) -> list[Array]:
    worker.ask(f"outputs {path}")
    with np.load(path) as archive:
        return [archive[key] for key in archive.files]


def start(
    prepared: Prepared, threads: int, options: argparse.Namespace, running: dict[str, workers.Worker]
) -> None:
    """A process for each engine, into ``running``; those that fail get a reason instead."""

    def begin(name: str) -> None:
        cell = prepared.cells[name]
        settings = prepared.settings(ENGINES[name], threads, options.cache)
        first: list[workers.Worker] = []
        try:
            for _ in range(options.cold):
                # The last one stays; the others only start.
                if first:
                    first[-1].close()
                first.append(workers.Worker.serving(name, settings))
        except workers.Failure as failure:
            cell.failure = str(failure)
            return
        first[-1].pause()
        running[name] = first[-1]
        if options.parallel == 1:  # else they were in each other's way
            cell.cold_s = statistics.median(worker.cold_s for worker in first)
            cell.cold_cpu_s = statistics.median(worker.first["cpu_s"] for worker in first)
        if ENGINES[name].build is None:
            cell.compile_cpu_s = compiled_at_load(ENGINES[name], prepared, first[0].first["load_cpu_s"])

    names = [name for name, cell in prepared.cells.items() if not cell.failure]
    with ThreadPoolExecutor(options.parallel) as pool:
        list(pool.map(begin, names))
    for name in [name for name in names if name in running]:
        running[name] = running.pop(name)  # in the order asked for


def check(prepared: Prepared, running: Mapping[str, workers.Worker]) -> None:
    """Errors of all engines against onnxruntime, and against float64 where that is among them."""
    results: dict[str, list[Array]] = {}
    for name, worker in running.items():
        worker.resume()
        try:
            results[name] = outputs_of(worker, prepared.folder / f"{name}.outputs.npz")
        except workers.Failure as failure:
            prepared.cells[name].failure = str(failure)
        worker.pause()
    for name, outputs in results.items():
        cell = prepared.cells[name]
        if REFERENCE in results:
            cell.error = errors.difference(outputs, results[REFERENCE])
        if "float64" in results:
            cell.error_float64 = errors.difference(outputs, results["float64"])


def measure(prepared: Prepared, threads: int, options: argparse.Namespace) -> dict[str, Any]:
    """One model at one number of threads: an entry of the report."""
    running: dict[str, workers.Worker] = {}
    shared = threads == 1
    watched = not shared or options.quiet > 0
    quiet = workers.Quiet(sorted(os.sched_getaffinity(0)), options.cache, shared) if watched else None
    try:
        start(prepared, threads, options, running)
        check(prepared, running)
        with contextlib.suppress(KeyError):
            running.pop("float64").close()
        count, calm = take_turns(prepared.cells, running, quiet, options)
    finally:
        for worker in running.values():
            worker.close()
        if quiet is not None:
            quiet.close()
    return {
        "model": prepared.model.name,
        "title": prepared.model.title,
        "family": prepared.model.family,
        "threads": threads,
        "rounds": count,
        "quiet_rounds": calm,
        "engines": {name: asdict(cell) for name, cell in prepared.cells.items()},
    }


# -- the report -------------------------------------------------------------------------------------


def machine() -> dict[str, Any]:
    name = platform.processor()
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as info:
        name = next((line.split(":", 1)[1].strip() for line in info if line.startswith("model name")), name)
    return {
        "cpu": name,
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "system": platform.platform(),
        "load": os.getloadavg()[0],
    }


def report(entries: Sequence[Mapping[str, Any]], options: argparse.Namespace) -> dict[str, Any]:
    """Everything as JSON has it."""
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "settings": {"rounds": options.rounds, "turn_s": options.turn, "colds": options.cold},
        "versions": {name: version(ENGINES[name]) for name in options.engines},
        "entries": list(entries),
        "summary": summarize(entries),
    }


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="*", metavar="MODEL", help="default: " + " ".join(zoo.ALL))
    parser.add_argument("--cache", type=Path, default=Path("build/models"), help="where files are kept")
    parser.add_argument("--engines", nargs="+", choices=list(ENGINES), default=list(engines.DEFAULT))
    parser.add_argument("--threads", nargs="+", type=int, default=[1])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument(
        "--once", nargs="*", default=[], choices=list(ENGINES), help="only at the first --threads"
    )
    parser.add_argument("--turn", type=float, default=0.1, help="seconds an engine has in a round")
    parser.add_argument(
        "--cold", type=int, default=3, help="processes started for the cold start, at least 1"
    )
    parser.add_argument(
        "--parallel",
        type=int,
        default=1,
        help="engines that compile and start at once; above 1, no cold starts",
    )
    parser.add_argument("--quiet", type=int, default=0, help="quiet rounds wanted")
    parser.add_argument("--patience", type=float, default=120, help="seconds to wait for them, a model")
    parser.add_argument("--agreement", type=int, default=0, help="compare top classes for so many inputs")
    parser.add_argument("--errors", type=int, default=0, help="errors against float64 of so many inputs")
    parser.add_argument("--json", type=Path, help="write everything here")
    parser.add_argument("--html", type=Path, help="write a page with tables and plots here")
    parser.add_argument("--from-json", type=Path, help="measure nothing, show this report")
    options = parser.parse_args(arguments)
    if options.cold < 1:
        parser.error("--cold: a process must be started")
    if unknown := [name for name in options.models if name not in zoo.ALL]:
        parser.error(f"no such model: {', '.join(unknown)}; there are {', '.join(zoo.ALL)}")
    options.models = options.models or list(zoo.ALL)
    options.cache = options.cache.resolve()
    return options


def compare(options: argparse.Namespace) -> int:
    """Top classes of many inputs; 1 where some differ."""
    results = []
    for name in options.models:
        prepared = prepare(name, ["ours"], options.cache)
        if failure := prepared.cells["ours"].failure:
            raise SystemExit(f"{name}: {failure}")
        own = prepared.artifact(ENGINES["ours"])
        results.append(
            agreement.agreement(prepared.model, prepared.onnx, own, options.agreement, options.cache)
        )
    agreement.show(results)
    return int(any(result.different for result in results))


def rounding(options: argparse.Namespace) -> int:
    """Errors of the engines against float64 over many inputs."""
    results = []
    names = [name for name in options.engines if name != errors.REFERENCE]
    for name in options.models:
        if zoo.ALL[name].torch is None:
            raise SystemExit(f"{name}: there is no torch source to run in double precision")
        prepared = prepare(name, names, options.cache, options.parallel)
        artifacts = {n: prepared.artifact(ENGINES[n]) for n, c in prepared.cells.items() if not c.failure}
        results.append(errors.errors(prepared.model, prepared.onnx, artifacts, options.errors, options.cache))
    errors.show(results)
    if options.json is not None:
        topologies.replace(options.json, errors.to_json(results).encode())
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    # Ended from outside, the engines are ended too: a stopped process would not notice by itself.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if options.agreement:
        return compare(options)
    if options.errors:
        return rounding(options)
    entries: list[dict[str, Any]] = []
    if options.from_json is not None:
        result = json.loads(options.from_json.read_text())
        result["summary"] = summarize(result["entries"])
    else:
        for name in options.models:
            prepared = prepare(name, options.engines, options.cache, options.parallel)
            for threads in options.threads:
                for key, cell in prepared.cells.items():
                    cell.clear_times()
                    if key in options.once and threads != options.threads[0] and not cell.failure:
                        cell.failure = "left out"
                entries.append(measure(prepared, threads, options))
                peers_table.show_entry(entries[-1])
            result = report(entries, options)
            if options.json is not None:  # what is there already, should a later model end this run
                topologies.replace(options.json, json.dumps(result, indent=1).encode())
    peers_table.show_summary(result)
    if options.html is not None:
        options.html.write_text(peers_page.page(result), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
