"""``iree inspect model.vmfb``: functions, variants, kernels and sizes, read from the manifest alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

import iree_vm
from iree_cli import console, files, options, signatures
from iree_cli.errors import CliError
from iree_vm.artifact import Variant
from iree_vm.choose_variant import VariantChoice, choose_variant


@click.command()
@options.artifact_argument
@click.option("--kernels", is_flag=True, help="List every kernel with its bindings.")
@click.option("--disassemble", is_flag=True, help="Print the bytecode as text.")
@click.option("--variant", metavar="NAME", help="Of this variant alone. Default: all; the first's bytecode.")
@click.option("--choice", is_flag=True, help="Say which variant would run on this machine, and why.")
@options.json_option
def command(
    artifact: Path, kernels: bool, disassemble: bool, variant: str | None, choice: bool, as_json: bool
) -> None:
    """Show what ARTIFACT holds."""
    shown = {"--kernels": kernels, "--choice": choice, "--json": as_json}
    for option, given in shown.items():
        if disassemble and given:
            raise CliError(4, option, cause="--disassemble prints the bytecode alone")
    if kernels and as_json:
        raise CliError(4, "--kernels", cause="--json has them all")
    if variant is not None and not (kernels or disassemble):
        raise CliError(4, "--variant", cause="it selects what --kernels or --disassemble shows")
    files.check_readable(artifact)
    opened = iree_vm.Artifact.open(artifact)
    if disassemble:
        from iree_vm.bytecode import disassembler, encoding

        program = opened.program(opened.variant(variant))
        click.echo(disassembler.disassemble(encoding.decode(program)))
        return
    chosen = choose_variant(opened.manifest) if choice else None
    if as_json:
        console.print_json(_facts(artifact, opened, chosen))
        return
    _print_summary(artifact, opened)
    if chosen is not None:
        click.echo(f"\non this machine: {chosen}")
    if kernels:
        variants = opened.manifest.variants if variant is None else (opened.variant(variant),)
        for each in variants:
            if each is not None:
                click.echo(f"\nkernels of {each.name}")
                _print_kernels(opened, each)


def _facts(artifact: Path, opened: iree_vm.Artifact, chosen: VariantChoice | None) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "artifact": artifact,
        "bytes": opened.nbytes,
        "members": {name: member.size for name, member in opened.members.items()},
        "manifest": opened.manifest.to_json(),
        "debug": {name: opened.debug_info(opened.variant(name)).to_json() for name in _names(opened)},
    }
    if chosen is not None:
        rows = [{"variant": r.name, "taken": r.taken, "why": r.why} for r in chosen.rows]
        facts["choice"] = {"device": chosen.device.id, "variants": rows}
    return facts


def _names(opened: iree_vm.Artifact) -> list[str]:
    return [variant.name for variant in opened.manifest.variants]


def _print_summary(artifact: Path, opened: iree_vm.Artifact) -> None:
    manifest = opened.manifest
    click.echo(f"{artifact}: {console.size_text(artifact.stat().st_size)}, module {manifest.module}")
    click.echo(f"made by {', '.join(f'{name} {version}' for name, version in manifest.producer.items())}")
    click.echo("\nfunctions")
    for signature in signatures.from_manifest(manifest).values():
        click.echo(f"  {signature}")
    for name, dim in manifest.dims.items():
        top = "" if dim.max is None else dim.max
        click.echo(f"  {name}: {dim.min}..{top}, a multiple of {dim.divisor}")
    click.echo("\nvariants")
    for variant in manifest.variants:
        features = ", ".join(variant.features) or "none"
        click.echo(f"  {variant.name}: {variant.target} on {variant.driver}, needs features: {features}")
        if len(manifest.variants) > 1:
            click.echo(f"    {_sizes(opened, variant)}")
    exports = [export for entry in manifest.executables for export in entry.exports]
    constants = sum(constant.bytes for constant in manifest.constants)
    code = sum(opened.members[entry.member].size for entry in manifest.executables)
    click.echo(f"\nkernels    {len(exports)} in {len(manifest.executables)} files, {console.size_text(code)}")
    click.echo(f"constants  {len(manifest.constants)}, {console.size_text(constants)}")


def _sizes(opened: iree_vm.Artifact, variant: Variant) -> str:
    """The variant's kernels, and its constants: its own and those it has in common with others."""
    manifest = opened.manifest
    entries = [manifest.executables[i] for i in variant.executables]
    code = sum(opened.members[entry.member].size for entry in entries)
    others = {i for other in manifest.variants if other is not variant for i in other.constants}
    own = sum(manifest.constants[i].bytes for i in variant.constants if i not in others)
    shared = sum(manifest.constants[i].bytes for i in variant.constants if i in others)
    text = f"{sum(len(entry.exports) for entry in entries)} kernels, {console.size_text(code)}; constants: "
    return text + f"{console.size_text(own)} of its own, {console.size_text(shared)} shared"


def _print_kernels(opened: iree_vm.Artifact, variant: Variant) -> None:
    known = opened.debug_info(variant).dispatches
    rows = []
    for entry in (opened.manifest.executables[i] for i in variant.executables):
        for export in entry.exports:
            info = known.get(export.name)
            sizes = [str(export.n_constants), str(export.scratch_bytes)]
            why = [info.strategy, ", ".join(info.sources)] if info is not None else ["", ""]
            rows.append([export.name, entry.format, " ".join(export.bindings), *sizes, *why])
    console.print_table(
        ["kernel", "format", "bindings", "constants", "scratch bytes", "strategy", "source nodes"],
        rows,
        right=["constants", "scratch bytes"],
    )
