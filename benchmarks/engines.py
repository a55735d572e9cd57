"""What ``peers.py`` compares: every engine behind the same two verbs, each in a process of its own.

``python engines.py build ENGINE ONNX ARTEFACT SHAPES``   compile ahead of time, for engines that do
``python engines.py serve ENGINE SETTINGS``   load, answer requests until standard input ends
``python engines.py spin CPU``   answer how fast this core runs an empty loop

``serve`` reads requests from standard input and answers each with one line of JSON on standard output; what
libraries print goes to standard error. ``SETTINGS`` is JSON: ``onnx``, ``artifact``, ``feed`` (an ``.npz`` of
the inputs by name), ``threads``, ``model`` and ``cache`` (for engines that compile the torch source).

    (start)             {"ready": monotonic seconds of the first result, "cpu_s": until then,
                        "load_cpu_s": of loading, for some engines compiling}
    time CALLS SAMPLES [MS]  {"cpu_ns": [per call, one a sample], "wall_ns": [...]}; with MS also "rate":
                        [...], the lower of the rates of an empty loop for so long before and after the sample
    outputs FILE        {"outputs": count}; they lie in FILE, an .npz
    peak                {"peak_bytes": ...}, the high-water mark of resident memory

An engine that is not installed or cannot run the model answers ``{"failure": why}`` and ends.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Feed = Mapping[str, Any]
Shapes = Mapping[str, Sequence[int]]
Runner = Callable[[], Sequence[Any]]
"""Runs the model on the feed it was loaded with; what it returns can be turned into arrays."""


@dataclass(frozen=True)
class Engine:
    """One row of the table.

    ``precision``: ``f32`` (a peer whose products are true f32), ``free`` (what the engine chooses), or the
    ``--matmul-precision`` of ours. ``module`` must be importable. ``build`` writes an artefact, its options
    are ``options``; without it the model's file is loaded as it is. ``torch``: needs the torch source.
    """

    name: str
    title: str
    precision: str
    module: str
    load: Callable[[Any], Runner] = field(repr=False)
    build: Callable[[Any, Path, Path, Shapes], None] | None = field(default=None, repr=False)
    options: Mapping[str, Any] = field(default_factory=dict)
    torch: bool = False
    reuse: bool = False
    """Whether what was compiled earlier is used again: an engine that does not change."""

    @property
    def ours(self) -> bool:
        return self.module == "iree_vm"


@dataclass(frozen=True)
class Job:
    """What one process serves."""

    engine: Engine
    onnx: Path
    artifact: Path
    feed: Feed
    threads: int
    model: str
    cache: Path


# -- ours -------------------------------------------------------------------------------------------


def build_ours(engine: Engine, onnx: Path, artifact: Path, shapes: Shapes) -> None:
    import iree_flow

    # Without the cache of kernels: compile seconds are those of a model never seen.
    extra: dict[str, Any] = {"input_shapes": shapes} if shapes else {}
    iree_flow.compile(onnx, cache=False, output=artifact, **extra, **engine.options)


def load_ours(job: Job) -> Runner:
    import iree_vm

    main = iree_vm.load(job.artifact, threads=job.threads).main
    arguments = tuple(job.feed.values())

    def run() -> Sequence[Any]:
        result = main(*arguments)
        return result if isinstance(result, tuple) else (result,)

    return run


# -- onnxruntime, OpenVINO --------------------------------------------------------------------------


def load_onnxruntime(job: Job, plain: bool = False) -> Runner:
    """``plain``: without optimizations."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    levels = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_DISABLE_ALL if plain else levels.ORT_ENABLE_ALL
    options.intra_op_num_threads = job.threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(job.onnx), options, providers=["CPUExecutionProvider"])
    feed = {entry.name: job.feed[entry.name] for entry in session.get_inputs()}
    return lambda: session.run(None, feed)


def load_openvino(job: Job) -> Runner:
    import openvino

    core = openvino.Core()
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": job.threads,
        "NUM_STREAMS": 1,
        **job.engine.options,
    }
    compiled = core.compile_model(core.read_model(str(job.onnx)), "CPU", settings)
    request = compiled.create_infer_request()
    feed = [job.feed[entry.any_name] for entry in compiled.inputs]

    def run() -> Sequence[Any]:
        result = request.infer(feed, share_inputs=True, share_outputs=True)
        return [result[port] for port in compiled.outputs]

    return run


# -- upstream IREE ----------------------------------------------------------------------------------


def build_upstream(engine: Engine, onnx: Path, artifact: Path, shapes: Shapes) -> None:
    import subprocess
    import tempfile

    import onnx as onnx_package
    from iree.compiler.tools import binaries
    from iree.compiler.tools.import_onnx import __main__ as importer

    opsets = {entry.domain: entry.version for entry in onnx_package.load(onnx).opset_import}
    # Its importer knows only recent forms of some operators.
    upgrade = ["--opset-version", "17"] if opsets.get("", 17) < 17 else []
    with tempfile.TemporaryDirectory() as folder:
        text = Path(folder) / "model.mlir"
        importer.main(importer.parse_arguments([str(onnx), "-o", str(text), *upgrade]))
        command = [
            binaries.find_tool("iree-compile"),
            str(text),
            "--iree-hal-target-device=local",
            "--iree-hal-local-target-device-backends=llvm-cpu",
            "--iree-llvmcpu-target-cpu=host",
            "--iree-opt-level=O3",
            # Its tiles for some attention shapes need more than the default of 32 KiB.
            "--iree-llvmcpu-stack-allocation-limit=262144",
            f"--iree-opt-data-tiling={'true' if engine.options['tiled'] else 'false'}",
            "-o",
            str(artifact),
        ]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            errors = [line for line in done.stderr.splitlines() if "error:" in line]
            raise RuntimeError((errors or done.stderr.splitlines() or ["iree-compile failed"])[0])


def load_upstream(job: Job) -> Runner:
    import iree.runtime

    if job.threads > 1:
        iree.runtime.flags.parse_flags(f"--task_topology_max_group_count={job.threads}")
    config = iree.runtime.Config("local-sync" if job.threads == 1 else "local-task")
    context = iree.runtime.SystemContext(config=config)
    module = iree.runtime.VmModule.mmap(config.vm_instance, str(job.artifact))
    context.add_vm_module(module)
    name = next(n for n in module.function_names if not n.startswith("__") and not n.endswith("$async"))
    main = context.modules[module.name][name]
    arguments = tuple(job.feed.values())

    def run() -> Sequence[Any]:
        result = main(*arguments)
        return [part.to_host() for part in (result if isinstance(result, (tuple, list)) else (result,))]

    return run


# -- torch ------------------------------------------------------------------------------------------


def load_inductor(job: Job) -> Runner:
    import torch
    import torch._inductor.config

    import zoo

    make = zoo.MODELS[job.model].torch
    assert make is not None
    torch.set_num_threads(job.threads)
    torch._inductor.config.freezing = True
    traced = make(job.cache)
    arguments = tuple(torch.from_numpy(job.feed[name]) for name in traced.inputs)
    compiled = torch.compile(traced.module)
    with torch.inference_mode():
        compiled(*arguments)

    def run() -> Sequence[Any]:
        with torch.inference_mode():
            result = compiled(*arguments)
        return result if isinstance(result, (tuple, list)) else (result,)

    return run


def load_float64(job: Job) -> Runner:
    """The torch source in double precision: what errors are measured against."""
    import torch

    import zoo

    make = zoo.MODELS[job.model].torch
    assert make is not None
    traced = make(job.cache)
    module = traced.module.double()
    tensors = [torch.from_numpy(job.feed[name]) for name in traced.inputs]

    def run() -> Sequence[Any]:
        with torch.inference_mode():
            result = module(*(t.double() if t.is_floating_point() else t for t in tensors))
        return result if isinstance(result, (tuple, list)) else (result,)

    return run


def ours(name: str, title: str, precision: str, **options: Any) -> Engine:
    return Engine(name, title, precision, "iree_vm", load_ours, build_ours, options)


def upstream(name: str, title: str, tiled: bool) -> Engine:
    return Engine(
        name,
        title,
        "f32",
        "iree.compiler",
        load_upstream,
        build_upstream,
        options={"tiled": tiled},
        reuse=True,
    )


ENGINES: dict[str, Engine] = {
    engine.name: engine
    for engine in (
        ours("ours", "ours", "highest"),
        ours("ours-high", "ours, high", "high", matmul_precision="high"),
        ours("ours-medium", "ours, medium", "medium", matmul_precision="medium"),
        Engine("onnxruntime", "onnxruntime", "f32", "onnxruntime", load_onnxruntime),
        Engine(
            "openvino-f32",
            "OpenVINO f32",
            "f32",
            "openvino",
            load_openvino,
            options={"INFERENCE_PRECISION_HINT": "f32"},
        ),
        Engine("openvino", "OpenVINO default", "free", "openvino", load_openvino),
        upstream("upstream", "IREE O3", False),
        upstream("upstream-tiled", "IREE O3, data tiling", True),
        Engine("inductor", "torch inductor", "f32", "torch", load_inductor, torch=True, reuse=True),
        Engine("float64", "torch, float64", "reference", "torch", load_float64, torch=True),
    )
}
BEST_OF = ("onnxruntime", "openvino-f32", "inductor")
"""The f32 peers that ours is held against."""
DEFAULT = tuple(name for name in ENGINES if name not in ("ours-high", "ours-medium", "float64"))


# -- the process ------------------------------------------------------------------------------------


def peak_bytes() -> int:
    """The high-water mark of this process's resident memory."""
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


def timed(run: Runner, calls: int, samples: int, probe_ms: float = 0) -> dict[str, list[float]]:
    """CPU (all threads) and wall nanoseconds a call, one each a sample; rates of probes between them."""
    cpu, wall = [], []
    repeat = range(calls)
    rates = [spin(probe_ms)] if probe_ms else []
    for _ in range(samples):
        wall_start, cpu_start = time.perf_counter_ns(), time.process_time_ns()
        for _ in repeat:
            run()
        cpu.append((time.process_time_ns() - cpu_start) / calls)
        wall.append((time.perf_counter_ns() - wall_start) / calls)
        if probe_ms:
            rates.append(spin(probe_ms))
    found = {"cpu_ns": cpu, "wall_ns": wall}
    if probe_ms:
        found["rate"] = [min(pair) for pair in itertools.pairwise(rates)]
    return found


def answer(run: Runner, request: Sequence[str]) -> dict[str, Any]:
    if request[0] == "time":
        return timed(run, int(request[1]), int(request[2]), *map(float, request[3:]))
    if request[0] == "outputs":
        import numpy as np

        outputs = [np.asarray(output) for output in run()]
        np.savez(request[1], *outputs)
        return {"outputs": len(outputs)}
    if request[0] == "peak":
        return {"peak_bytes": peak_bytes()}
    return {"failure": f"unknown request {request[0]!r}"}


def serve(name: str, settings: Mapping[str, Any], requests: Iterator[str]) -> Iterator[dict[str, Any]]:
    """The answers to ``requests``, the first one unasked."""
    import numpy as np

    with np.load(settings["feed"]) as archive:
        feed = {key: archive[key] for key in archive.files}
    job = Job(
        ENGINES[name],
        Path(settings["onnx"]),
        Path(settings["artifact"]),
        feed,
        int(settings["threads"]),
        settings["model"],
        Path(settings["cache"]),
    )
    start = time.process_time()
    run = job.engine.load(job)
    loaded = time.process_time() - start
    run()
    yield {"ready": time.monotonic(), "cpu_s": time.process_time(), "load_cpu_s": loaded}
    for line in requests:
        yield answer(run, line.split())


def spin(milliseconds: float) -> float:
    """Turns of an empty loop a millisecond of wall time: low when another process has the core."""
    turns, start = 0, time.perf_counter_ns()
    end = start + int(milliseconds * 1e6)
    while time.perf_counter_ns() < end:
        turns += 1
    return turns / (time.perf_counter_ns() - start) * 1e6


def probe(core: int, requests: Iterator[str]) -> Iterator[dict[str, Any]]:
    """``spin MS`` -> ``{"rate": ...}`` of one core."""
    os.sched_setaffinity(0, {core})
    yield {"ready": time.monotonic()}
    for line in requests:
        yield {"rate": spin(float(line.split()[1]))}


def main() -> int:
    verb, name, *rest = sys.argv[1:]
    if verb == "build":
        engine = ENGINES[name]
        assert engine.build is not None
        try:
            engine.build(engine, Path(rest[0]), Path(rest[1]), json.loads(rest[2]))
        except Exception as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
            return 1
        return 0
    # Libraries print: the line to the caller is kept apart from standard output.
    line = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    requests = iter(sys.stdin.readline, "")
    answers = probe(int(name), requests) if verb == "spin" else serve(name, json.loads(rest[0]), requests)
    try:
        for result in answers:
            line.write(json.dumps(result) + "\n")
    except Exception as error:
        line.write(json.dumps({"failure": f"{type(error).__name__}: {error}"}) + "\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
