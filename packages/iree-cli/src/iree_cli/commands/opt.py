"""``iree opt in.mlir --passes canonicalize,cse``: IR text -> IR text, through named passes.

Constants of ``dense_resource<...>`` are read from ``in.constants`` beside the file, where there is one.
"""

from __future__ import annotations

import inspect
from pathlib import Path

import click

from iree_cli import console, files, options
from iree_cli.errors import CliError


@click.command()
@click.argument("source", type=options.INPUT_FILE, required=False)
@click.option(
    "--passes", metavar="LIST", help="As in canonicalize,cse{option=1}. Default: none, only verify."
)
@click.option("-o", "--output", type=options.OUTPUT_FILE, help="Default: stdout.")
@click.option("--generic", is_flag=True, help="Print every op in generic form.")
@click.option("--locations", is_flag=True, help="Print locations.")
@click.option("--allow-unregistered", is_flag=True, help="Accept ops of unknown dialects.")
@click.option("--list-passes", is_flag=True, help="List the passes that are installed.")
@options.json_option
@click.pass_context
def command(
    ctx: click.Context,
    source: Path | None,
    passes: str | None,
    output: Path | None,
    generic: bool,
    locations: bool,
    allow_unregistered: bool,
    list_passes: bool,
    as_json: bool,
) -> None:
    """Parse SOURCE (MLIR text), verify it, run passes over it and print it."""
    require_core_ir()
    if list_passes:
        for name in ("source", "passes", "output", "generic", "locations", "allow_unregistered"):
            if options.given(ctx, name):
                raise CliError(4, name.replace("_", "-"), cause="--list-passes only lists")
        _list_passes(as_json)
        return
    if as_json:
        raise CliError(4, "--json", cause="IR is text", hint="--list-passes has a JSON form")
    if source is None:
        raise CliError(1, "Missing argument 'SOURCE'.", hint="iree opt --help")
    files.check_readable(source)
    if output is not None:
        files.check_writable(output)
    text = transform(source, passes, generic=generic, locations=locations, unregistered=allow_unregistered)
    if output is None:
        click.echo(text, nl=False)
    else:
        files.write_text(output, text)


def require_core_ir() -> None:
    """Raise CliError 5 where the compiler is not installed."""
    try:
        import iree_core_ir  # noqa: F401
    except ModuleNotFoundError as error:
        raise CliError(5, "iree-core-ir", hint="pip install 'iree-cli[compile]'") from error


def transform(source: Path, passes: str | None, *, generic: bool, locations: bool, unregistered: bool) -> str:
    """The IR of ``source`` after ``passes``, as text that ends in a newline."""
    from iree_core_ir.constants import ConstantStore
    from iree_core_ir.pass_manager import PassContext, PassManager
    from iree_core_ir.text.parser import parse_module
    from iree_core_ir.text.printer import print_op
    from iree_core_ir.verifier import verify

    with files.reading(source):
        try:
            text = source.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise CliError(2, str(source), cause=f"not UTF-8 text: {error}") from error
    module = parse_module(text, name=str(source), allow_unregistered=unregistered)
    verify(module)
    if passes:
        beside = source.with_suffix(".constants")
        constants = ConstantStore.load(beside) if beside.exists() else ConstantStore()
        PassManager.parse(passes).run(module, PassContext(constants=constants))
        verify(module)
    return print_op(module, generic=generic, locations=locations).rstrip("\n") + "\n"


def _summary(kind: type) -> str:
    """The first line of a pass's documentation; a dataclass without one has its file's."""
    text = inspect.getdoc(kind) or ""
    if not text or text.startswith(f"{kind.__name__}("):
        text = inspect.getdoc(inspect.getmodule(kind)) or ""
    return text.partition("\n")[0]


def _list_passes(as_json: bool) -> None:
    from iree_core_ir import plugins

    rows = []
    for name, getter in sorted(plugins.pass_getters().items()):
        rows.append((name, _summary(getter())))
    if as_json:
        console.print_json({"passes": [{"name": name, "summary": summary} for name, summary in rows]})
        return
    console.print_table(["pass", "what it does"], [list(row) for row in rows])
