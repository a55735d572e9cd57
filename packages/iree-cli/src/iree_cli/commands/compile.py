"""``iree compile model.onnx -o model.vmfb``: a source file -> an artefact, or the IR of a phase.

All work is ``iree_flow.compile``'s; this file turns options into its arguments and its answer into files.
"""

from __future__ import annotations

import re
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import click

from iree_cli import console, files, options, progress, target_options
from iree_cli.errors import CliError

_SHAPE = re.compile(r"\d+(x\d+)*|")


class ShapeType(click.ParamType[tuple[str, tuple[int, ...]]]):
    """``NAME=1x3x48x320``; nothing after ``=`` is a scalar."""

    name = "NAME=SIZES"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, tuple[int, ...]]:
        if isinstance(value, tuple):
            return value
        name, equals, sizes = str(value).rpartition("=")
        if not equals or not name or not _SHAPE.fullmatch(sizes):
            self.fail(f"'{value}' is not like x=1x3x48x320", param, ctx)
        return name, tuple(int(size) for size in sizes.split("x") if size)


@click.command(cls=target_options.CommandWithTargets)
@click.argument("source", type=options.INPUT_FILE)
@click.option("-o", "--output", type=options.OUTPUT_FILE, help="Default: the source's name with .vmfb, here.")
@click.option(
    "--target",
    "targets",
    multiple=True,
    shell_complete=target_options.complete_targets,
    help="May be repeated: a variant of each, the best is picked at load. Default: the host's CPU.",
)
@click.option(
    "--input-shape",
    "input_shapes",
    multiple=True,
    type=ShapeType(),
    help="Fix an input's sizes; may be repeated: x=1x3x48x320.",
)
@click.option(
    "--matmul-precision",
    type=click.Choice(["highest", "high", "medium"]),
    help="Products of f32 numbers: f32 (default), f32 from three bf16 products, or bf16 products.",
)
@click.option(
    "--conv-algorithm",
    type=click.Choice(["auto", "direct"]),
    help="3x3 convolutions by Winograd's algorithm where it pays (default), or never.",
)
@click.option("--compile-to", metavar="PHASE", help="Stop after this phase and write its IR.")
@click.option("--compile-from", metavar="PHASE", help="The source is the IR of this phase.")
@click.option("--dump-phases-to", metavar="FOLDER", type=options.OUTPUT_FILE, help="Write every IR.")
@click.option("--jobs", type=click.IntRange(min=1), help="Compile processes. Default: one a core.")
@click.option(
    "--tune",
    is_flag=True,
    default=None,
    help="Measure candidates per dispatch on this machine; results are kept.",
)
@click.option("--no-cache", is_flag=True, help="Neither use nor fill the cache of compiled kernels.")
@click.option("--report", is_flag=True, help="Print where everything went and what it took.")
@click.option("--arena-report", is_flag=True, help="Print what memory temporaries take, and which fill it.")
@options.json_option
@options.print_config_option
@click.pass_context
def command(
    ctx: click.Context,
    /,
    source: Path,
    output: Path | None,
    targets: tuple[str, ...],
    input_shapes: tuple[tuple[str, tuple[int, ...]], ...],
    report: bool,
    arena_report: bool,
    as_json: bool,
    print_config: bool,
    no_cache: bool,
    **passed_on: Any,
) -> None:
    """Compile SOURCE (ONNX, or MLIR text) into an artefact that iree run and iree_vm.load accept.

    \b
    iree compile model.onnx -o model.vmfb
    iree compile model.onnx --input-shape x=1x3x224x224 --target-cpu x86-64-v3
    iree compile model.onnx --compile-to stream -o -
    """
    phase = passed_on["compile_to"]
    target = output if output is not None else _default_output(source, phase)
    arguments = {name: value for name, value in passed_on.items() if value is not None}
    if targets:
        arguments["target"] = targets[0] if len(targets) == 1 else list(targets)
    if input_shapes:
        arguments["input_shapes"] = unique(input_shapes)
    if no_cache:
        arguments["cache"] = False
    if print_config:
        options.print_config(ctx, {"output": target, **_effective(arguments)}, as_json=as_json)
        return

    files.check_readable(source)
    to_stdout = str(target) == "-"
    if to_stdout:
        _check_stdout(phase, {"--json": as_json, "--report": report, "--arena-report": arena_report})
    else:
        files.check_writable(target)
    if phase is None and not to_stdout:
        arguments["output"] = target
    flow = import_flow()
    start = time.monotonic()
    with progress.listening() as listener:
        if listener is not None:
            arguments["progress"] = listener
        compiled = flow.compile(source, **arguments)
    seconds = time.monotonic() - start
    if to_stdout:
        from iree_core_ir.text.printer import print_op

        click.echo(print_op(compiled.module).rstrip("\n"))
        return
    if phase is not None:
        compiled.save(target)

    size = target.stat().st_size
    if as_json:
        facts = {"output": target, "bytes": size, "seconds": round(seconds, 3), "report": compiled.report}
        console.print_json(facts)
        return
    if report:
        click.echo(str(compiled.report))
    if arena_report:
        click.echo("\n".join(compiled.report.arena_lines(each=True)))
    console.note(f"{target}: {console.size_text(size)} in {seconds:.1f} s")


def import_flow() -> ModuleType:
    """``iree_flow``, or CliError 5 with the command that installs it."""
    try:
        import iree_flow
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith("iree_"):
            raise
        raise CliError(
            5,
            "iree-flow",
            cause="this installation can only run artefacts",
            hint="pip install 'iree-cli[compile]' iree-target-llvm",
        ) from error
    return iree_flow


def _default_output(source: Path, phase: str | None) -> Path:
    return Path(f"{source.stem}.vmfb" if phase is None else f"{source.stem}.{phase}.mlir")


def unique(shapes: tuple[tuple[str, tuple[int, ...]], ...]) -> dict[str, tuple[int, ...]]:
    """``--input-shape`` by input. Raises CliError 9."""
    result: dict[str, tuple[int, ...]] = {}
    for name, sizes in shapes:
        if name in result:
            raise CliError(9, f"'{name}' by --input-shape")
        result[name] = sizes
    return result


def _check_stdout(phase: str | None, printing: dict[str, bool]) -> None:
    if phase is None:
        raise CliError(4, "-o -", cause="an artefact is binary", hint="name a file, or add --compile-to")
    for name, given in printing.items():
        if given:
            raise CliError(4, name, cause="the IR goes to stdout", hint="write it to a file: -o FILE")


def _effective(arguments: dict[str, Any]) -> dict[str, Any]:
    """What the compiler makes of the arguments, where it is installed and says so."""
    import_flow()
    from iree_flow.options import CompileOptions
    from iree_flow.session import Session

    rest = {name: value for name, value in arguments.items() if name != "target"}
    session = Session(CompileOptions.from_arguments(arguments.get("target"), rest))
    session.load_targets()
    resolved: dict[str, Any] = {"targets": list(session.targets)}
    for name, owner in session.targets.items():
        for option in owner.option_names:
            shown = f"target_{option.replace('-', '_')}"
            if option.endswith("features") and shown not in arguments:
                resolved[shown] = session.descriptions[name].features
    return resolved
