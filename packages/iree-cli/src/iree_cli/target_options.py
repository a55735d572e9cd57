"""``--target-NAME VALUE``: options that belong to targets, whichever are installed.

A command of this class takes any such option and hands it on as the parameter ``target_name``; the compiler
routes it to the targets that have it and refuses what none has. Help and completion list what the installed
targets have.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import click

from iree_base.errors import IreeError
from iree_cli import discovery

_OPTION = re.compile(r"--target-([a-z][a-z0-9-]*)(=.*)?", re.DOTALL)
_TYPED = "iree_cli.target_options"


class CommandWithTargets(click.Command):
    """A command with ``--target``, and an option for each of the targets' own."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        found = (_OPTION.fullmatch(arg) for arg in args[: args.index("--") if "--" in args else None])
        ctx.meta[_TYPED] = tuple(match[1] for match in found if match)
        return super().parse_args(ctx, args)

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        params = super().get_params(ctx)
        at = 1 + next((i for i, p in enumerate(params) if p.name == "targets"), len(params) - 1)
        return [*params[:at], *_options(ctx.meta.get(_TYPED, ())), *params[at:]]


def complete_targets(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Names of installed targets."""
    try:
        return [n for n in discovery.names("iree.compiler", "iree_targets") if n.startswith(incomplete)]
    except Exception:  # completion never fails, it completes nothing
        return []


def given(parameters: Mapping[str, Any]) -> dict[str, str]:
    """The target options among a command's parameters, without those not given."""
    return {n: v for n, v in parameters.items() if n.startswith("target_") and v is not None}


def _options(typed: Iterable[str]) -> list[click.Option]:
    """Those of installed targets, and those typed that no installed target has."""
    helps = dict(_installed())
    for name in typed:
        helps.setdefault(name, "")
    return [
        click.Option([f"--target-{name}"], metavar="VALUE", help=text, hidden=not text)
        for name, text in helps.items()
    ]


def _installed() -> dict[str, str]:
    """Option name -> help, by target; a target that fails to load has none (``iree plugins doctor``)."""
    helps: dict[str, str] = {}
    found = discovery.manager("iree.compiler")
    for target in discovery.names("iree.compiler", "iree_targets") if found is not None else ():
        try:
            options: Any = found.get("iree_targets", target, "target").option_names  # type: ignore[union-attr]
        except (IreeError, AttributeError):
            continue
        for name in options:
            said = f" {options[name]}" if isinstance(options, Mapping) else ""
            helps[name] = f"{helps[name]}; of {target}" if name in helps else f"Of {target}.{said}"
    return helps
