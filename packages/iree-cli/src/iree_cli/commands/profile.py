"""``iree profile model.vmfb``: how long each dispatch takes, and how long it would have to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from iree_cli import console, files, inputs, options, programs
from iree_cli.errors import CliError
from iree_cli.profiles import table
from iree_cli.profiles.measure import STATISTICS, measure
from iree_cli.profiles.report import Report, make_report
from iree_hal import Device
from iree_hal.peaks import Peaks, measure_peaks

REPLACEMENT = click.FloatRange(min=0, min_open=True)


@click.command()
@options.artifact_argument
@options.function_option
@options.input_option
@options.seed_option
@click.option("--rounds", type=click.IntRange(min=1), default=20, show_default=True, help="Measured calls.")
@options.warmup_option
@click.option("--statistic", type=click.Choice(list(STATISTICS)), default="median", show_default=True,
              help="What of the rounds is shown.")  # fmt: skip
@click.option("--clock", type=click.Choice(["wall", "cpu"]), default="wall", show_default=True,
              help="cpu: what one thread spends, whatever else runs; needs --threads 1.")  # fmt: skip
@click.option("--each", is_flag=True, help="Every command in order, instead of by dispatch.")
@click.option("--top", type=click.IntRange(min=1), metavar="N", help="The slowest N alone.")
@click.option("--peak-flops", type=REPLACEMENT, metavar="GFLOP/s", help="What the device can do at most.")
@click.option("--peak-bandwidth", type=REPLACEMENT, metavar="GB/s", help="The same of its memory.")
@click.option("--calibrate", is_flag=True, help="Measure the peaks of this machine again; the better stay.")
@click.option("--trace", type=options.OUTPUT_FILE, metavar="FILE", help="For chrome://tracing and Perfetto.")
@click.option("--html", type=options.OUTPUT_FILE, metavar="FILE", help="A page with everything.")
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
    rounds: int,
    warmup: int,
    statistic: str,
    clock: str,
    each: bool,
    top: int | None,
    peak_flops: float | None,
    peak_bandwidth: float | None,
    calibrate: bool,
    trace: Path | None,
    html: Path | None,
    device: str | None,
    threads: int | None,
    verify: bool,
    as_json: bool,
    print_config: bool,
) -> None:
    """Time the dispatches of ARTIFACT; inputs that are not given are seeded random values.

    The floor of a dispatch is the time that its arithmetic or its bytes take at least, whichever is
    longer, by the peaks of this machine; "reached" is the floor's share of the time.

    \b
    iree profile model.vmfb --threads 1
    iree profile model.vmfb --input ids=1x128xi64=7 --html profile.html
    """
    for name, given in (("--each", each), ("--top", top is not None)):
        if as_json and given:
            raise CliError(4, name, cause="--json has everything")
    if calibrate and peak_flops is not None and peak_bandwidth is not None:
        raise CliError(4, "--calibrate", cause="both peaks are given")
    files.check_readable(artifact)
    for path in (trace, html):
        if path is not None:
            files.check_writable(path)
    program = programs.open_program(artifact, function_name)
    if print_config:
        options.print_config(ctx, {"function_name": program.signature.name}, as_json=as_json)
        return
    values = inputs.complete(texts, program.signature, seed, seed_given=options.given(ctx, "seed"))

    call, module = program.load_module(device=device, threads=threads, verify=verify)
    measured = measure(module.device, lambda: call(values), rounds, warmup, clock == "cpu")
    n_threads = int(getattr(module.device, "threads", 1))
    peaks = _peaks(module.device, n_threads, calibrate, peak_flops, peak_bandwidth)
    manifest = module.artifact.manifest
    variant = module.variant
    constants = range(len(manifest.constants)) if variant is None else variant.constants
    facts: dict[str, Any] = {
        "artifact": artifact,
        "function": program.signature.name,
        "device": module.device.driver_name,
        "threads": n_threads,
        "variant": None if variant is None else variant.name,
        "rounds": rounds,
        "statistic": statistic,
        "clock": clock,
    }
    report = make_report(
        f"{artifact.name} on {module.device.driver_name}",
        facts,
        measured,
        dict(module.artifact.debug_info(variant).dispatches),
        peaks,
        sum(manifest.constants[number].bytes for number in constants),
        statistic,
    )
    _write(report, trace, html)
    if as_json:
        console.print_json(report.to_json())
        return
    table.show(report, each=each, top=top)


def _peaks(
    device: Device, threads: int, again: bool, flops: float | None, bandwidth: float | None
) -> Peaks | None:
    """What the user says of the device, else what is measured; None where that cannot be had."""
    if flops is not None and bandwidth is not None:
        return Peaks(1e9 * flops, ((0, 1e9 * bandwidth),))
    found = measure_peaks(device, threads=threads, again=again)
    if found is None:
        return None
    return Peaks(
        found.flops if flops is None else 1e9 * flops,
        found.bandwidths if bandwidth is None else ((0, 1e9 * bandwidth),),
    )


def _write(report: Report, trace: Path | None, html: Path | None) -> None:
    """All files or none."""
    with files.Batch() as batch:
        if trace is not None:
            from iree_cli.profiles.trace import trace_json

            batch.temporary(trace).write_text(trace_json(report), encoding="utf-8")
        if html is not None:
            from iree_cli.profiles.page import page

            batch.temporary(html).write_text(page(report), encoding="utf-8")
