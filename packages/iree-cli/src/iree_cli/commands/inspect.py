"""``iree inspect model.vmfb``: functions, variants, kernels and sizes, read from the manifest alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

import iree_vm
from iree_cli import console, files, options, signatures
from iree_cli.errors import CliError


@click.command()
@options.artifact_argument
@click.option("--kernels", is_flag=True, help="List every kernel with its bindings.")
@click.option("--disassemble", is_flag=True, help="Print the bytecode as text.")
@options.json_option
def command(artifact: Path, kernels: bool, disassemble: bool, as_json: bool) -> None:
    """Show what ARTIFACT holds."""
    if disassemble and (kernels or as_json):
        raise CliError(
            4, "--kernels" if kernels else "--json", cause="--disassemble prints the bytecode alone"
        )
    if kernels and as_json:
        raise CliError(4, "--kernels", cause="--json has them all")
    files.check_readable(artifact)
    opened = iree_vm.Artifact.open(artifact)
    if disassemble:
        from iree_vm.bytecode import disassembler, encoding

        click.echo(disassembler.disassemble(encoding.decode(opened.bytecode)))
        return
    manifest: dict[str, Any] = opened.manifest.to_json()
    sizes = {name: member.size for name, member in opened.members.items()}
    if as_json:
        facts = {"artifact": artifact, "bytes": opened.nbytes, "members": sizes, "manifest": manifest}
        console.print_json({**facts, "debug": opened.debug.to_json()})
        return

    click.echo(f"{artifact}: {console.size_text(artifact.stat().st_size)}, module {manifest['module']}")
    click.echo(f"made by {', '.join(f'{name} {version}' for name, version in manifest['producer'].items())}")
    click.echo("\nfunctions")
    for signature in signatures.from_manifest(opened.manifest).values():
        click.echo(f"  {signature}")
    for name, dim in manifest.get("dims", {}).items():
        click.echo(
            f"  {name}: {dim.get('min')}..{dim.get('max') or ''}, a multiple of {dim.get('divisor', 1)}"
        )
    click.echo("\nvariants")
    for variant in manifest["variants"]:
        features = ", ".join(variant["features"]) or "none"
        click.echo(
            f"  {variant['name']}: {variant['target']} on {variant['driver']}, needs features: {features}"
        )
    exports = [(e, x) for e in manifest["executables"] for x in e["exports"]]
    constants = sum(constant["bytes"] for constant in manifest["constants"])
    code = sum(sizes.get(executable["member"], 0) for executable in manifest["executables"])
    click.echo(
        f"\nkernels    {len(exports)} in {len(manifest['executables'])} files, {console.size_text(code)}"
    )
    click.echo(f"constants  {len(manifest['constants'])}, {console.size_text(constants)}")
    if kernels:
        click.echo("")
        known = opened.debug.dispatches
        rows = []
        for entry, export in exports:
            info = known.get(export["name"])
            access = " ".join(export["bindings"])
            sizes_text = [str(export["n_constants"]), str(export["scratch_bytes"])]
            why = [info.strategy, ", ".join(info.sources)] if info is not None else ["", ""]
            rows.append([export["name"], entry["format"], access, *sizes_text, *why])
        console.print_table(
            ["kernel", "format", "bindings", "constants", "scratch bytes", "strategy", "source nodes"],
            rows,
            right=["constants", "scratch bytes"],
        )
