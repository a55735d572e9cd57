"""``iree inspect model.vmfb``: functions, variants, kernels and sizes, read from the manifest alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

import iree_vm
from iree_cli import console, files, options, signatures
from iree_cli.errors import CliError


def summary(path: Path, manifest: dict[str, Any], sizes: dict[str, int]) -> dict[str, Any]:
    """What ``--json`` prints: the manifest, with the size of every member."""
    return {"artifact": path, "bytes": path.stat().st_size, "members": sizes, "manifest": manifest}


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
        click.echo(opened.disassemble())
        return
    manifest = opened.manifest
    sizes = dict(opened.member_sizes)
    if as_json:
        console.print_json(summary(artifact, manifest, sizes))
        return

    click.echo(f"{artifact}: {console.size_text(artifact.stat().st_size)}, module {manifest['module']}")
    click.echo(f"made by {', '.join(f'{name} {version}' for name, version in manifest['producer'].items())}")
    click.echo("\nfunctions")
    for signature in signatures.from_manifest(manifest).values():
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
        rows = [
            [x["name"], e["format"], " ".join(x["bindings"]), str(x["n_constants"]), str(x["scratch_bytes"])]
            for e, x in exports
        ]
        console.print_table(
            ["kernel", "format", "bindings", "constants", "scratch bytes"],
            rows,
            right=["constants", "scratch bytes"],
        )
