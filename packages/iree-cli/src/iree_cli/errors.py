"""What can go wrong at the command line itself; everything else is coded by the package it comes from."""

from __future__ import annotations

from typing import ClassVar

from iree_base.errors import EXIT_ARTIFACT, EXIT_COMPILE, EXIT_RUNTIME, EXIT_USAGE, IreeError

EXIT_BUG = 70
"""``EX_SOFTWARE``: an exception that nobody gave a code."""
EXIT_INTERRUPTED = 130


class CliError(IreeError):
    """A command line that cannot be carried out."""

    package = "CLI"
    exit_code = EXIT_USAGE
    table: ClassVar[dict[int, str]] = {
        1: "the command line is not valid",
        2: "the file cannot be read",
        3: "the file cannot be written",
        4: "an option has no effect here",
        5: "a package that this command needs is not installed",
        6: "the input is not valid",
        7: "inputs are missing",
        8: "there is no such input",
        9: "an input is given twice",
        10: "the output is not valid",
        11: "there is no such function",
        12: "verification found differences",
        13: "there is no such plugin",
        14: "the model cannot be run without its inputs' sizes",
        15: "there is no such cache",
        100: "this is a bug in iree, not in your input",
    }
    exit_codes: ClassVar[dict[int, int]] = {12: EXIT_ARTIFACT, 14: EXIT_RUNTIME, 100: EXIT_BUG}


__all__ = [
    "EXIT_ARTIFACT",
    "EXIT_BUG",
    "EXIT_COMPILE",
    "EXIT_INTERRUPTED",
    "EXIT_RUNTIME",
    "EXIT_USAGE",
    "CliError",
]
