"""``iree verify model.vmfb``: every member against its digest, the bytecode against its rules."""

from __future__ import annotations

from pathlib import Path

import click

import iree_vm
from iree_cli import console, files, options


@click.command()
@click.argument("artifacts", nargs=-1, required=True, type=options.INPUT_FILE)
@options.json_option
def command(artifacts: tuple[Path, ...], as_json: bool) -> None:
    """Check ARTIFACTS whole: manifest, bytecode, executables and constants.

    Loading checks all but the constants, which may be large. Native code is not sandboxed: this finds
    corruption, not malice.
    """
    facts = []
    for path in artifacts:
        files.check_readable(path)
        iree_vm.verify(path)
        facts.append({"artifact": path, "bytes": path.stat().st_size, "status": "ok"})
        if not as_json:
            click.echo(f"{path}: ok")
    if as_json:
        console.print_json({"verified": facts})
