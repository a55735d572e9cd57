"""``iree run model.vmfb --input x=@x.npy --output @out.npz``: one call of a function."""

from __future__ import annotations

from pathlib import Path

import click

from iree_cli import console, files, inputs, options, outputs, programs


@click.command()
@options.artifact_argument
@options.function_option
@options.input_option
@click.option(
    "--output", "destinations", multiple=True, metavar="VALUE", help=f"May be repeated: {outputs.SYNTAX}"
)
@options.execution_options
@click.option("--print-limit", type=click.IntRange(min=0), default=64, show_default=True, metavar="N",
              help="Show arrays of up to N elements whole.")  # fmt: skip
@options.json_option
@options.print_config_option
@click.pass_context
def command(
    ctx: click.Context,
    artifact: Path,
    function_name: str | None,
    texts: tuple[str, ...],
    destinations: tuple[str, ...],
    device: str | None,
    threads: int | None,
    verify: bool,
    print_limit: int,
    as_json: bool,
    print_config: bool,
) -> None:
    """Run a function of ARTIFACT. Results that no --output takes are printed.

    \b
    iree run model.vmfb --input x=@x.npy --output @out.npz
    iree run model.vmfb --input 1x128xi64=0 --input mask=1x128xi64=1
    """
    files.check_readable(artifact)
    program = programs.open_program(artifact, function_name)
    if print_config:
        options.print_config(ctx, {"function_name": program.signature.name}, as_json=as_json)
        return
    values = inputs.resolve(texts, program.signature)
    inputs.require_all(values, program.signature)
    places = outputs.parse(destinations, program.signature)

    results = program.load(device=device, threads=threads, verify=verify)(values)
    outputs.write(places, results)

    taken = {name for place in places for name in place.names}
    if as_json:
        facts = [
            {**outputs.facts(name, array, print_limit if name not in taken else 0),
             "files": [str(place.path) for place in places if name in place.names]}
            for name, array in results.items()
        ]  # fmt: skip
        console.print_json({"function": program.signature.name, "outputs": facts})
        return
    for name, array in results.items():
        if name not in taken:
            click.echo(outputs.text(name, array, print_limit))
