"""``iree cache show | clear``: the compiled kernels that later compilations can reuse."""

from __future__ import annotations

import shutil
from pathlib import Path

import click

from iree_cli import console, options
from iree_cli.commands.compile import import_flow


@click.group(name="cache")
def command() -> None:
    """Show or empty the cache of compiled kernels."""


def folder() -> Path:
    """Where the compiler keeps objects. Raises CliError 5 where it is not installed."""
    import_flow()
    from iree_codegen.cache import default_directory

    return Path(default_directory())


def contents(place: Path) -> tuple[int, int]:
    """The number of files below ``place`` and their bytes."""
    sizes = [path.stat().st_size for path in place.rglob("*") if path.is_file()] if place.is_dir() else []
    return len(sizes), sum(sizes)


@command.command("show")
@options.json_option
def show(as_json: bool) -> None:
    """Say where the cache is and how large."""
    place = folder()
    count, size = contents(place)
    if as_json:
        console.print_json({"folder": place, "entries": count, "bytes": size})
        return
    click.echo(f"{place}: {count} entries, {console.size_text(size)}")


@command.command("clear")
@options.json_option
def clear(as_json: bool) -> None:
    """Remove every entry."""
    place = folder()
    count, size = contents(place)
    shutil.rmtree(place, ignore_errors=True)
    if as_json:
        console.print_json({"folder": place, "removed": count, "bytes": size})
        return
    click.echo(f"{place}: removed {count} entries, {console.size_text(size)}")
