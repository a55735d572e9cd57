"""An exception -> one line on stderr and an exit status; never a traceback for a mistake of the user's.

An exception that nobody gave a code is a bug of ours: its traceback goes to a file that the line names
(``IREE_DEBUG=1`` also prints it).
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path

import click

from iree_base import debug
from iree_base.errors import IreeError
from iree_cli import console
from iree_cli.errors import EXIT_INTERRUPTED, CliError
from iree_cli.files import read_hint

SHOWN_LINES = 12


def explain(error: BaseException, arguments: Sequence[str]) -> IreeError | None:
    """The coded error that ``error`` amounts to; None for an interruption."""
    if isinstance(error, IreeError):
        return error
    if isinstance(error, (KeyboardInterrupt, click.Abort)):
        return None
    if isinstance(error, click.ClickException):
        return _usage(error)
    if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError) and error.filename:
        return CliError(2, str(error.filename), cause=error.strerror, hint=read_hint(error))
    if isinstance(error, OSError) and error.filename:
        return CliError(3, str(error.filename), cause=error.strerror)
    if isinstance(error, MemoryError):
        return CliError(14, "not enough memory", cause=str(error) or None)
    return CliError(
        100,
        f"{type(error).__name__}: {error}",
        hint=f"report it with {_save_traceback(error, arguments)}",
    )


def _usage(error: click.ClickException) -> CliError:
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "iree"
    if isinstance(error, click.FileError):
        return CliError(2, error.ui_filename, cause=error.message)
    return CliError(1, error.format_message(), hint=f"{path} --help")


def _save_traceback(error: BaseException, arguments: Sequence[str]) -> Path:
    text = "".join(traceback.format_exception(error))
    handle, name = tempfile.mkstemp(prefix="iree-", suffix="-traceback.txt")
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        print("iree", *arguments, file=stream)
        print(f"Python {sys.version} on {sys.platform}\n", file=stream)
        stream.write(text)
    return Path(name)


def report(error: BaseException, arguments: Sequence[str]) -> int:
    """Print what went wrong and return the exit status."""
    if isinstance(error, BrokenPipeError):
        return die_by_pipe()
    coded = explain(error, arguments)
    if debug_level() >= 1 and not isinstance(error, click.ClickException):
        traceback.print_exception(error)
    if coded is None:
        click.echo("interrupted", err=True)
        return EXIT_INTERRUPTED
    if "--json" in arguments:
        console.print_json({"error": coded.to_json()})
    line, details = split(coded)
    code, rest = line[: len(coded.code)], line[len(coded.code) :]
    click.echo(click.style(code, fg="red", bold=True) + rest, err=True)
    for text in (*_shown(details), *getattr(error, "__notes__", ())):
        click.echo(f"  {text}", err=True)
    return coded.status


def split(error: IreeError) -> tuple[str, list[str]]:
    """The error as one line, and what its detail says beyond a line (a caret under a text, IR, a list)."""
    if type(error).__str__ is not IreeError.__str__:
        first, *rest = str(error).splitlines() or [error.code]
        return first, rest
    lines = (error.detail or "").splitlines()
    if len(lines) < 2:
        return " ".join(str(error).split()), []
    whole = " ".join(str(error).replace(error.detail, lines[0]).split())
    return whole, [text.rstrip() for text in lines[1:]]


def _shown(details: list[str]) -> list[str]:
    """Short details as they are; long ones (IR) go to a file that the line names."""
    if len(details) <= SHOWN_LINES:
        return details
    handle, name = tempfile.mkstemp(prefix="iree-", suffix="-details.txt")
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.writelines(f"{text}\n" for text in details)
    return [*details[:SHOWN_LINES], f"... all {len(details)} lines are in {name}"]


def debug_level() -> int:
    try:
        return debug.level()
    except IreeError:
        return 0  # an invalid IREE_DEBUG is reported by the command itself


def die_by_pipe() -> int:
    """The reader of our output went away: stop without a word, with the status that SIGPIPE would give."""
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115  (the interpreter flushes it at exit)
    return 128 + int(getattr(signal, "SIGPIPE", 13))
