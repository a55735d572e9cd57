"""Errors of the reference target."""

from __future__ import annotations

from iree_base.errors import EXIT_ARTIFACT, EXIT_RUNTIME, EXIT_USAGE, IreeError

UNKNOWN_OPTION, BAD_EXECUTABLE, CHECK_FAILED = 1, 2, 3


class ReferenceError(IreeError):
    package = "REF"
    exit_code = EXIT_RUNTIME
    table = {
        UNKNOWN_OPTION: "the target reference has no such option",
        BAD_EXECUTABLE: "the executable is not readable IR",
        CHECK_FAILED: "a dispatch failed",
    }
    exit_codes = {UNKNOWN_OPTION: EXIT_USAGE, BAD_EXECUTABLE: EXIT_ARTIFACT}
