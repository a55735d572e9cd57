"""``iree cache info | prune | clear``: what is kept on disk and can be made again, such as kernels."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import click

from iree_base.disk_cache import CacheEntry, DiskCache
from iree_base.errors import PluginError
from iree_cli import console, discovery, options
from iree_cli.errors import CliError

HOOK = "iree_caches"
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "KI": 1 << 10, "MI": 1 << 20, "GI": 1 << 30}
_PERIODS = {"": 86400.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@click.group(name="cache")
def command() -> None:
    """Show or empty the caches: compiled kernels and what else is kept between runs."""


def caches(names: Sequence[str] = ()) -> dict[str, DiskCache]:
    """The caches of this installation by name; only ``names`` where there are any. Raises CliError 15."""
    found: dict[str, DiskCache] = {}
    for group in discovery.HOSTS:
        plugins = discovery.manager(group)
        if plugins is None:
            continue
        for name in plugins.provided(HOOK):
            try:
                found[name] = plugins.get(HOOK, name, "cache")
            except PluginError:
                continue  # what is not usable here keeps nothing here
    unknown = [name for name in names if name not in found]
    if unknown:
        raise CliError(15, unknown[0], cause="the caches are " + (", ".join(sorted(found)) or "none"))
    return {name: found[name] for name in sorted(found) if not names or name in names}


def names_argument(function: Any) -> Any:
    """Which caches; all when none is named."""
    return click.argument("names", nargs=-1, metavar="[NAME]...")(function)


def parse_size(ctx: click.Context, parameter: click.Parameter, text: str | None) -> int | None:
    """``500MB``, ``2GiB`` or a number of bytes."""
    if text is None:
        return None
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([KMG]?I?)B?\s*", text.upper())
    if match is None or match[2] not in _UNITS:
        raise click.BadParameter(f"'{text}' is no size, give bytes or something like 500MB", ctx, parameter)
    return int(float(match[1]) * _UNITS[match[2]])


def parse_period(ctx: click.Context, parameter: click.Parameter, text: str | None) -> float | None:
    """``30d``, ``12h``, ``90m`` or a number of days, as seconds."""
    if text is None:
        return None
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([smhd]?)\s*", text.lower())
    if match is None:
        raise click.BadParameter(f"'{text}' is no time, give days or something like 12h", ctx, parameter)
    return float(match[1]) * _PERIODS[match[2]]


@command.command("info")
@names_argument
@options.json_option
def info(names: tuple[str, ...], as_json: bool) -> None:
    """Say where the caches are, how large, and how large they may become."""
    rows = []
    for name, cache in caches(names).items():
        entries = cache.entries()
        rows.append((name, cache, len(entries), sum(entry.bytes for entry in entries)))
    if as_json:
        facts = [
            {
                "name": name,
                "what": cache.what,
                "folder": cache.directory,
                "entries": count,
                "bytes": size,
                "limit": cache.max_bytes,
            }
            for name, cache, count, size in rows
        ]
        console.print_json(facts)
        return
    texts = [
        [
            name,
            str(count),
            console.size_text(size),
            console.size_text(cache.max_bytes),
            cache.what,
            str(cache.directory),
        ]
        for name, cache, count, size in rows
    ]
    console.print_table(
        ["cache", "entries", "size", "limit", "what", "folder"], texts, right=["entries", "size", "limit"]
    )


@command.command("prune")
@names_argument
@click.option(
    "--max-size",
    metavar="SIZE",
    callback=parse_size,
    help="Down to three quarters of so much. Default: each one's limit.",
)
@click.option(
    "--unused-for", metavar="TIME", callback=parse_period, help="What was not used for so long, such as 30d."
)
@options.json_option
def prune(names: tuple[str, ...], max_size: int | None, unused_for: float | None, as_json: bool) -> None:
    """Remove the least recently used entries of caches that are too large, and old ones."""
    found = caches(names)
    _say({name: (cache, cache.prune(max_size, unused_for)) for name, cache in found.items()}, as_json)


@command.command("clear")
@names_argument
@options.json_option
def clear(names: tuple[str, ...], as_json: bool) -> None:
    """Remove every entry. Programs that use a cache meanwhile go on; they make again what they miss."""
    _say({name: (cache, cache.clear()) for name, cache in caches(names).items()}, as_json)


def _say(removed: dict[str, tuple[DiskCache, list[CacheEntry]]], as_json: bool) -> None:
    facts: list[dict[str, Any]] = [
        {
            "name": name,
            "folder": cache.directory,
            "removed": len(entries),
            "bytes": sum(entry.bytes for entry in entries),
        }
        for name, (cache, entries) in removed.items()
    ]
    if as_json:
        console.print_json(facts)
        return
    for row in facts:
        click.echo(f"{row['name']}: removed {row['removed']} entries, {console.size_text(row['bytes'])}")
