"""Options that several commands share, and ``--print-config``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from iree_cli import console

F = TypeVar("F", bound=Callable[..., Any])

INPUT_FILE = click.Path(dir_okay=False, path_type=Path)
OUTPUT_FILE = click.Path(path_type=Path)

_SOURCES = {
    ParameterSource.COMMANDLINE: "command line",
    ParameterSource.ENVIRONMENT: "environment",
    ParameterSource.DEFAULT: "default",
    ParameterSource.DEFAULT_MAP: "default",
    ParameterSource.PROMPT: "prompt",
}


def json_option(function: F) -> F:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(function)


def print_config_option(function: F) -> F:
    return click.option(
        "--print-config", is_flag=True, help="Print every option's effective value and do nothing else."
    )(function)


def artifact_argument(function: F) -> F:
    return click.argument("artifact", type=INPUT_FILE)(function)


def function_option(function: F) -> F:
    return click.option("--function", "function_name", help="Default: main, or the only one.")(function)


def execution_options(function: F) -> F:
    """``--device``, ``--threads`` and ``--verify``: how an artefact is loaded."""
    function = click.option("--verify", is_flag=True, help="Check constants against their digests first.")(
        function
    )
    function = click.option(
        "--threads", type=click.IntRange(min=1), help="At most so many threads. Default: all cores."
    )(function)
    return click.option(
        "--device",
        metavar="PATH",
        shell_complete=complete_devices,
        help="A driver, or DRIVER://WHICH: an index, a part of the name, a UUID (iree devices lists them). "
        "Default: the best that the artefact was compiled for.",
    )(function)


def input_option(function: F) -> F:
    from iree_cli.inputs import SYNTAX

    return click.option(
        "--input", "texts", multiple=True, metavar="VALUE", help=f"May be repeated: {SYNTAX}"
    )(function)


def seed_option(function: F) -> F:
    """What :func:`iree_cli.inputs.complete` takes."""
    return click.option(
        "--seed", type=int, default=0, show_default=True, help="For inputs that are not given."
    )(function)


def warmup_option(function: F) -> F:
    return click.option(
        "--warmup", type=click.IntRange(min=0), default=3, show_default=True, help="Calls before that."
    )(function)


def complete_devices(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Drivers; once ``://`` is begun, the paths of devices."""
    try:
        import iree_hal

        paths = [info.path for info in iree_hal.devices()] if ":" in incomplete else iree_hal.drivers()
        return [path for path in paths if path.startswith(incomplete)]
    except Exception:  # completion never fails, it completes nothing
        return []


def given(ctx: click.Context, name: str) -> bool:
    """True when the user set this parameter, by an option or by the environment."""
    return ctx.get_parameter_source(name) in (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT)


def print_config(ctx: click.Context, resolved: Mapping[str, Any], *, as_json: bool) -> None:
    """Print every parameter of the command with its value and where that came from.

    ``resolved`` replaces values that the command works out itself, such as the file it will write.
    """
    rows = []
    for parameter in ctx.command.get_params(ctx):
        name = parameter.name
        if name is None or parameter.is_eager or name in ("print_config", "as_json"):
            continue
        shown = max(parameter.opts, key=len).lstrip("-") if parameter.opts else name
        source = ctx.get_parameter_source(name)
        value = resolved.get(name, ctx.params.get(name))
        if name in resolved and not given(ctx, name):
            origin = "worked out"
        else:
            origin = _SOURCES.get(source, "default") if source is not None else "default"
        rows.append((shown, value, origin))
    if as_json:
        console.print_json({name: {"value": value, "from": origin} for name, value, origin in rows})
        return
    console.print_table(
        ["option", "value", "from"], [[name, _value_text(value), origin] for name, value, origin in rows]
    )


def _value_text(value: Any) -> str:
    if value is None or value == ():
        return "-"
    if isinstance(value, (list, tuple)):
        return " ".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)
