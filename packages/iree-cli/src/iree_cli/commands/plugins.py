"""``iree plugins list | doctor | explain``: what is installed, what is wrong with it, who owns a name."""

from __future__ import annotations

from typing import Any

import click

from iree_base.plugins import PluginRecord
from iree_cli import console, discovery, options
from iree_cli.commands import devices
from iree_cli.errors import CliError


@click.group(name="plugins")
def command() -> None:
    """List, diagnose and explain plugins."""


def facts(record: PluginRecord) -> dict[str, Any]:
    """A record for ``--json``."""
    return {
        "name": record.name,
        "group": record.group,
        "distribution": record.distribution,
        "version": record.version,
        "status": record.status,
        "reason": record.reason or None,
        "provides": record.owns,
    }


def provides(record: PluginRecord) -> str:
    """``targets: a, b; drivers: c``."""
    return "; ".join(
        f"{kind(hook)}: {', '.join(names)}" for hook, names in sorted(record.owns.items()) if names
    )


def kind(hook: str) -> str:
    """``iree_executable_loaders`` -> ``executable loaders``."""
    return hook.removeprefix("iree_").replace("_", " ")


@command.command("list")
@options.json_option
def list_command(as_json: bool) -> None:
    """List every plugin with what it provides."""
    records = discovery.records()
    if as_json:
        console.print_json({"plugins": [facts(record) for record in records]})
        return
    rows = [
        [r.group, r.name, f"{r.distribution} {r.version}", r.status, provides(r) or r.reason] for r in records
    ]
    console.print_table(["group", "plugin", "package", "status", "provides"], rows)


@command.command("doctor")
@options.json_option
@click.option("--tracebacks", is_flag=True, help="Show where each failing plugin failed.")
@click.pass_context
def doctor(ctx: click.Context, as_json: bool, tracebacks: bool) -> int:
    """Say what is wrong with plugins and drivers and what to do; exit status 1 when something is."""
    records = discovery.records()
    sick = [record for record in records if record.status in ("failed", "incompatible")]
    lacking = [(driver, d) for driver, d in discovery.diagnoses() if not d.ok]
    if as_json:
        entries = [
            {**facts(r), "traceback": r.traceback or None, "bug_url": r.bug_url or None, "next": advice(r)}
            for r in sick
        ]
        lacks = [{"driver": name, "what": d.what, "cause": d.cause, "next": d.fix} for name, d in lacking]
        console.print_json({"checked": len(records), "problems": entries, "drivers": lacks})
        return int(bool(sick or lacking))
    for record in sick:
        package = f"{record.distribution} {record.version}"
        click.echo(f"{record.group} plugin '{record.name}' of {package}: {record.status}")
        click.echo(f"  cause: {' '.join(record.reason.split())}")
        click.echo(f"  next: {advice(record)}")
        if tracebacks and record.traceback:
            click.echo("".join(f"  | {line}\n" for line in record.traceback.splitlines()), nl=False)
    for name, diagnosis in lacking:
        click.echo(f"driver '{name}' lacks {diagnosis.what}")
        click.echo(f"  cause: {' '.join(diagnosis.cause.split())}")
        click.echo(f"  next: {diagnosis.fix}")
    disabled = [record.name for record in records if record.status == "disabled"]
    if disabled:
        click.echo(f"not loaded: {', '.join(disabled)}")
    extra = f", {len(lacking)} things that drivers lack" if lacking else ""
    click.echo(f"{len(records)} plugins, {len(sick)} with problems{extra}")
    return int(bool(sick or lacking))


def advice(record: PluginRecord) -> str:
    """What to do about a plugin that does not work."""
    if record.status == "incompatible":
        return f"pip install --upgrade {record.distribution} (and the package that loads it)"
    where = f"report it at {record.bug_url}" if record.bug_url else "report it to the authors of the package"
    return f"pip install --upgrade {record.distribution}, or {where}; others are not affected"


@command.command("explain")
@click.argument("name")
@options.json_option
def explain(name: str, as_json: bool) -> None:
    """Say which plugin NAME is, or which plugin provides the target, driver, frontend ... called NAME, and
    what devices its drivers find.
    """
    records = discovery.records()
    found = [r for r in records if r.name == name or any(name in names for names in r.owns.values())]
    if not found:
        known = sorted(
            {r.name for r in records} | {n for r in records for names in r.owns.values() for n in names}
        )
        raise CliError(13, name, cause=f"there are {', '.join(known)}", hint="iree plugins list")
    opened = {r.name: _devices(r) for r in found}
    if as_json:
        entries = [{**facts(record), "devices": opened[record.name]} for record in found]
        console.print_json({"name": name, "plugins": entries})
        return
    for record in found:
        click.echo(f"{record.group} plugin '{record.name}' ({record.value})")
        click.echo(f"  package   {record.distribution} {record.version}")
        click.echo(f"  status    {record.status}{f': {record.reason}' if record.reason else ''}")
        for hook, names in sorted(record.owns.items()):
            click.echo(f"  {kind(hook).ljust(9)} {', '.join(names)}")
        for entry in opened[record.name]:
            if entry["status"] == "ok":
                click.echo(f"  device    {entry['path']}: {entry['name']}")
            else:
                click.echo(f"  no device {entry['driver']}: {' '.join(entry['reason'].split())}")
                click.echo(f"  next      {entry['next']}")


def _devices(record: PluginRecord) -> list[dict[str, Any]]:
    """What the drivers of a plugin could open, or why there is nothing."""
    if record.status != "ok":
        return []
    return [entry for name in record.owns.get("iree_drivers", ()) for entry in devices.describe(name)]
