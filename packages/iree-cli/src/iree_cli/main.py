"""The ``iree`` script: subcommands by name, loaded when used; every failure one line and an exit status.

Subcommands are the table below and whatever the entry-point group ``iree.cli`` adds (a click command each).
Importing this module imports little but click, so that completion and ``--version`` answer at once.
"""

from __future__ import annotations

import gc
import importlib
import os
import sys
from collections.abc import Sequence

import click
import click.shell_completion

from iree_base.entry_points import EntryPoint, entry_points

GROUP = "iree.cli"
COMPLETE = "_IREE_COMPLETE"

COMMANDS = {
    "compile": "Compile a model into an artefact.",
    "run": "Run a function of an artefact.",
    "benchmark": "Measure a function of an artefact.",
    "profile": "Time its dispatches, and say how fast they could be.",
    "inspect": "Show what an artefact holds.",
    "verify": "Check an artefact for damage, or the dispatches of a model.",
    "opt": "Run passes over IR.",
    "plugins": "List, diagnose and explain plugins.",
    "devices": "List drivers and devices.",
    "cache": "Show, prune or empty what is kept on disk.",
    "completion": "Print the script that completes this command in a shell.",
}
"""Name -> one line of help; the command itself is ``commands/<name>.py``'s ``command``."""


class Commands(click.Group):
    """Built-in commands first, then those of plugins; each imported when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*COMMANDS, *sorted(extensions().keys() - COMMANDS.keys())]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name in COMMANDS:
            command = importlib.import_module(f"iree_cli.commands.{name}").command
            assert isinstance(command, click.Command)
            return command
        entry = extensions().get(name)
        return None if entry is None else load_extension(entry)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Help without importing any command."""
        added = sorted(extensions().keys() - COMMANDS.keys())
        with formatter.section("Commands"):
            formatter.write_dl([*COMMANDS.items()])
        if added:
            with formatter.section("Commands of plugins"):
                formatter.write_dl([(name, f"from {_owner(extensions()[name])}") for name in added])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            import difflib

            near = difflib.get_close_matches(args[0], self.list_commands(ctx), n=1)
            if not near or "Did you mean" in error.message:
                raise
            raise click.UsageError(f"{error.message} Did you mean '{near[0]}'?", ctx) from error


def extensions() -> dict[str, EntryPoint]:
    """Commands that other packages add, by name. Raises PluginError 2 when two own one name."""
    from iree_base.errors import PluginError

    found: dict[str, EntryPoint] = {}
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: (entry.name, entry.value)):
        if entry.name in found and found[entry.name].value != entry.value:
            raise PluginError(
                2,
                f"command '{entry.name}' from {_owner(found[entry.name])} and {_owner(entry)}",
                hint="uninstall one of them",
            )
        found[entry.name] = entry
    return found


def _owner(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist is not None else entry.value


def load_extension(entry: EntryPoint) -> click.Command:
    """The command of a plugin. Raises PluginError 1 when it cannot be loaded or is none."""
    from iree_base.errors import PluginError

    try:
        command = entry.load()
    except Exception as error:
        raise PluginError(
            1,
            f"command '{entry.name}' of {_owner(entry)}",
            cause=f"{type(error).__name__}: {error}",
            hint="iree plugins doctor",
        ) from error
    if not isinstance(command, click.Command):
        raise PluginError(1, f"command '{entry.name}' of {_owner(entry)}", cause="it is not a click command")
    return command


def _print_version(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from iree_cli import versions

        click.echo(versions.text())
        ctx.exit()


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "IREE"},
    invoke_without_command=False,
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the versions of all packages and plugins.",
)
def cli() -> None:
    """Compile machine-learning models and run them.

    Options can also come from the environment: IREE_<COMMAND>_<OPTION>, for example IREE_RUN_THREADS=2.
    IREE_DEBUG=1..7 says more, IREE_PLUGINS=a,b restricts which plugins are loaded.
    """


def run(arguments: Sequence[str]) -> int:
    """Carry out one command line; returns the exit status.

    Does what ``cli.main`` would, save that every exception comes out as it is.
    """
    try:
        instruction = os.environ.get(COMPLETE)
        if instruction:
            return click.shell_completion.shell_complete(cli, {}, "iree", COMPLETE, instruction)
        with cli.make_context("iree", list(arguments)) as context:
            result = cli.invoke(context)
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.ctx.get_help() if error.ctx else "", err=True)
        return error.exit_code
    except click.exceptions.Exit as error:
        return error.exit_code
    except (Exception, KeyboardInterrupt) as error:
        from iree_cli import failures

        return failures.report(error, arguments)


def main() -> None:
    """Entry point of the ``iree`` script."""
    status = run(sys.argv[1:])
    # All memory goes with the process: a search for cycles, of which a compiler leaves many, gains nothing.
    gc.freeze()
    raise SystemExit(status)
