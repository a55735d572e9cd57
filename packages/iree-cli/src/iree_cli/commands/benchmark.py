"""``iree benchmark model.vmfb``: seconds a call, on inputs given or made up."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np

from iree_cli import console, files, inputs, options, programs
from iree_cli.errors import CliError


def measure(call: Callable[[], object], calls: int | None, seconds: float, warmup: int) -> dict[str, Any]:
    """Time ``call``: so many times, or for so many seconds. Times in the result are microseconds a call.

    ``cpu`` is the processor time of all threads, so it shows what parallel work costs.
    """
    for _ in range(warmup):
        call()
    times: list[int] = []
    cpu = time.process_time_ns()
    deadline = time.perf_counter() + seconds
    while len(times) < calls if calls is not None else (not times or time.perf_counter() < deadline):
        start = time.perf_counter_ns()
        call()
        times.append(time.perf_counter_ns() - start)
    cpu = time.process_time_ns() - cpu
    wall = np.array(times, dtype=np.float64) / 1000
    return {
        "calls": len(times),
        "median": float(np.median(wall)),
        "minimum": float(wall.min()),
        "p90": float(np.percentile(wall, 90)),
        "maximum": float(wall.max()),
        "cpu": cpu / 1000 / len(times),
    }


@click.command()
@options.artifact_argument
@options.function_option
@options.input_option
@options.seed_option
@click.option("--calls", type=click.IntRange(min=1), help="Measure so many calls instead of a time.")
@click.option("--seconds", type=click.FloatRange(min=0), default=2.0, show_default=True, help="Or so long.")
@options.warmup_option
@options.execution_options
@options.json_option
@options.print_config_option
@click.pass_context
def command(
    ctx: click.Context,
    artifact: Path,
    function_name: str | None,
    texts: tuple[str, ...],
    seed: int,
    calls: int | None,
    seconds: float,
    warmup: int,
    device: str | None,
    threads: int | None,
    verify: bool,
    as_json: bool,
    print_config: bool,
) -> None:
    """Measure a function of ARTIFACT; inputs that are not given are seeded random values.

    \b
    iree benchmark model.vmfb --threads 1
    iree benchmark model.vmfb --input ids=1x128xi64=7 --calls 100 --json
    """
    if calls is not None and options.given(ctx, "seconds"):
        raise CliError(4, "--seconds", cause="--calls says how much is measured")
    files.check_readable(artifact)
    program = programs.open_program(artifact, function_name)
    if print_config:
        options.print_config(ctx, {"function_name": program.signature.name}, as_json=as_json)
        return
    values = inputs.complete(texts, program.signature, seed, seed_given=options.given(ctx, "seed"))

    start = time.perf_counter()
    call = program.load(device=device, threads=threads, verify=verify)
    load_seconds = time.perf_counter() - start
    result = measure(lambda: call(values), calls, seconds, warmup)

    if as_json:
        facts = {"function": program.signature.name, "load_seconds": load_seconds, "microseconds": result}
        console.print_json(facts)
        return
    columns = ("median", "minimum", "p90", "maximum", "cpu")
    row = [program.signature.name, str(result["calls"]), *(f"{result[name]:,.1f}" for name in columns)]
    console.print_table(["function", "calls", *(f"{name} us" for name in columns)], [row],
                        right=["calls", *(f"{name} us" for name in columns)])  # fmt: skip
