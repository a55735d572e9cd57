"""``iree verify``: an artefact against its digests; the dispatches of a source against the interpreter.

Given an artefact, every member is compared with its digest and the bytecode with its rules. Given a source
(or both, with ``--source``), it is compiled and each dispatch runs on the target and in the interpreter, on
random arguments like those it has in a run; the first that differs is saved as a test.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import click

import iree_vm
from iree_cli import console, files, inputs, options, progress, signatures, target_options
from iree_cli.commands.compile import ShapeType, import_flow, unique
from iree_cli.errors import CliError

ARTIFACT_SUFFIX = ".vmfb"
_ZIP = b"PK\3\4"
OF_SOURCES = (
    "targets",
    "input_shapes",
    "function_name",
    "texts",
    "seed",
    "save_to",
    "kernels",
)
"""Parameters that only say how a source is compiled and run."""


@dataclass(frozen=True)
class Plan:
    """How a source is compiled, what it is run on, and where a difference goes.

    ``targets``: each is checked on its own; None is the default one.
    """

    targets: Sequence[str | None]
    arguments: Mapping[str, Any]
    function_name: str | None
    texts: Sequence[str]
    seed: int
    save_to: Path | None
    kernels: bool


@click.command(cls=target_options.CommandWithTargets)
@click.argument("paths", metavar="FILES...", nargs=-1, required=True, type=options.INPUT_FILE)
@click.option("--source", type=options.INPUT_FILE, help="What the one artefact given was compiled from.")
@click.option(
    "--target",
    "targets",
    multiple=True,
    shell_complete=target_options.complete_targets,
    help="Default: the host's CPU.",
)
@click.option("--input-shape", "input_shapes", multiple=True, type=ShapeType(), help="As for iree compile.")
@options.function_option
@options.input_option
@click.option("--seed", type=int, default=0, show_default=True, help="For all random values.")
@click.option("--kernels", is_flag=True, help="Also interpret the kernel IR of dispatches that agree.")
@click.option(
    "--save-to", metavar="FOLDER", type=options.OUTPUT_FILE, help="For a difference. Default: NAME-differs."
)
@options.json_option
@click.pass_context
def command(
    ctx: click.Context,
    /,
    paths: tuple[Path, ...],
    source: Path | None,
    targets: tuple[str, ...],
    input_shapes: tuple[tuple[str, tuple[int, ...]], ...],
    function_name: str | None,
    texts: tuple[str, ...],
    seed: int,
    kernels: bool,
    save_to: Path | None,
    as_json: bool,
    **of_targets: Any,
) -> None:
    """Check FILES: artefacts whole, and sources (ONNX, MLIR) dispatch by dispatch.

    \b
    iree verify model.vmfb                        every member, constants included
    iree verify model.onnx                        every dispatch, target against interpreter
    iree verify model.vmfb --source model.onnx    both, and that the artefact holds this code

    Native code is not sandboxed: this finds damage and wrong code, not malice.
    """
    arguments: dict[str, Any] = target_options.given(of_targets)
    if input_shapes:
        arguments["input_shapes"] = unique(input_shapes)
    plan = Plan(targets or (None,), arguments, function_name, texts, seed, save_to, kernels)
    for path in (*paths, *filter(None, [source])):
        files.check_readable(path)
    artifacts = [is_artifact(path) for path in paths]
    if source is not None and (len(paths) != 1 or not artifacts[0]):
        hint = "iree verify MODEL.vmfb --source FILE"
        raise CliError(4, "--source", cause="it belongs to one artefact", hint=hint)
    if source is None and all(artifacts):
        for name in (*OF_SOURCES, *of_targets):
            if options.given(ctx, name):
                option = next(p.opts[0] for p in ctx.command.get_params(ctx) if p.name == name)
                hint = "give a source, or --source FILE"
                raise CliError(4, option, cause="only artefacts are checked", hint=hint)

    facts: list[dict[str, Any]] = []
    for path, is_one in zip(paths, artifacts, strict=True):
        if is_one:
            facts.append(verify_artifact(path))
            if not as_json:
                click.echo(f"{path}: ok")
        if not is_one or source is not None:
            of = path if source is None else source
            for target in plan.targets:
                found = verify_source(of, plan, target, against=path if is_one else None)
                facts.append(found)
                if not as_json:
                    count, on = len(found["dispatches"]), found["target"]
                    click.echo(f"{of}: {count} dispatches agree with the interpreter on {on}")
    if as_json:
        console.print_json({"verified": facts})


def is_artifact(path: Path) -> bool:
    """By its name, or by how it begins."""
    if path.suffix == ARTIFACT_SUFFIX:
        return True
    with files.reading(path), path.open("rb") as stream:
        return stream.read(len(_ZIP)) == _ZIP


def verify_artifact(path: Path) -> dict[str, Any]:
    """Raises the runtime's errors."""
    iree_vm.verify(path)
    return {"artifact": path, "bytes": path.stat().st_size, "status": "ok"}


def verify_source(path: Path, plan: Plan, target: str | None, against: Path | None) -> dict[str, Any]:
    """Compile ``path`` for ``target`` and compare its dispatches; the first that differs is CliError 12.

    With ``against``, the code compiled here must be the code in that artefact.
    """
    import_flow()
    from iree_flow.saved_dispatch import save
    from iree_flow.verify_source import Source

    folder = plan.save_to or Path(f"{path.stem}-differs")
    files.check_writable(folder / "x" if folder.is_dir() else folder)
    source = Source.compile(path, **plan.arguments, **({} if target is None else {"target": target}))
    functions = signatures.from_functions(source.functions)
    signature = signatures.choose(functions, plan.function_name, what="the source")
    values = inputs.complete(plan.texts, signature, plan.seed)
    objects = None if against is None else _digests(against)
    rows = []
    kernels: Any = "always" if plan.kernels else "differing"
    with progress.listening() as listener:
        checks = source.checks([values[slot.name] for slot in signature.inputs], signature.name,
                               seed=plan.seed, kernels=kernels)  # fmt: skip
        for number, check in enumerate(checks, 1):
            if listener is not None:
                listener("kernel", number, source.count, check.name)
            if not check.ok:
                test = save(check, folder, source.session)
                raise CliError(12, check.failures[0], source=", ".join(check.sources) or None,
                               cause=_cause(check), hint=f"pytest {test}")  # fmt: skip
            if objects is not None and (check.name, blake2b(check.data).digest()) not in objects:
                raise CliError(
                    12,
                    f"{against} holds other code for {check.name}",
                    source=", ".join(check.sources) or None,
                    cause="it is of another source, version or machine, or of other options",
                    hint="give the options that it was compiled with",
                )
            rows.append(
                {"name": check.name, "strategy": check.strategy, "sources": check.sources,
                 "workgroups": check.workgroups, "worst": check.worst}
            )  # fmt: skip
    return {"source": path, "target": source.session.target.name, "status": "ok", "dispatches": rows}


def _digests(path: Path) -> set[tuple[str, bytes]]:
    """The code of an artefact, of all its variants: dispatches and their digests."""
    artifact = iree_vm.Artifact.open(path)
    return {
        (export.name, blake2b(artifact.member(entry.member)).digest())
        for entry in artifact.manifest.executables
        for export in entry.exports
    }


def _cause(check: Any) -> str:
    """On which side of the kernel IR the fault is."""
    tried = [right for left, right in check.errors if left == "linalg" and right != "native"]
    wrong = [form for form in tried if check.errors["linalg", form] > 1]
    if not tried:
        return "the numbers differ by more than the order of sums explains"
    return f"its {wrong[0]} differs already" if wrong else "its kernel IR is right, the native code is not"
