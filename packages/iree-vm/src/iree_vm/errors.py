"""Coded errors of the runtime: bytecode, contexts, calls and artefacts; one table.

1-19 bytecode and linking, 20-39 calls, 40-49 choice of variant, 50-69 artefacts.
"""

from __future__ import annotations

from iree_base.errors import EXIT_ARTIFACT, EXIT_RUNTIME, EXIT_USAGE, IreeError

_TABLE = {
    1: "malformed bytecode",
    2: "bytecode of another format version",
    3: "bytecode breaks a rule",
    4: "assembly syntax",
    5: "import is not provided",
    6: "import and its provider disagree",
    7: "no function of this name",
    8: "the program failed",
    9: "reference of the wrong kind",
    10: "index out of range",
    11: "memory limit",
    12: "calls nest too deeply",
    13: "module name is already in use",
    14: "module is unloaded",
    15: "module is in use by another",
    16: "invalid module description",
    17: "a function written in Python failed",
    18: "required module is not loaded",
    20: "wrong number of inputs",
    21: "unknown or missing input name",
    22: "wrong shape",
    23: "wrong dtype",
    24: "not an array",
    25: "out= cannot be used",
    26: "donate= cannot be used",
    27: "dimension outside its range",
    30: "a kernel failed",
    31: "the call's fence failed",
    32: "the call timed out",
    40: "no variant of the artefact fits this machine",
    41: "the device lacks a feature the artefact was compiled for",
    42: "device unknown",
    43: "the artefact has no variant of this name",
    50: "artefact file cannot be opened",
    51: "not an artefact",
    52: "artefact is truncated or its layout is damaged",
    53: "artefact of another format version",
    54: "artefact lacks a member",
    55: "artefact member is damaged",
    56: "artefact manifest is invalid",
    57: "artefact debug information is invalid",
    58: "artefact cannot be written",
}


class VmError(IreeError):
    """A failure of the runtime: numbers below 50 at run time, from 50 on about the artefact itself."""

    package = "VM"
    exit_code = EXIT_RUNTIME
    table = _TABLE
    exit_codes = {
        4: EXIT_USAGE,
        7: EXIT_USAGE,
        42: EXIT_USAGE,
        43: EXIT_USAGE,
        **dict.fromkeys(range(20, 28), EXIT_USAGE),
        **dict.fromkeys((1, 2, 3), EXIT_ARTIFACT),
        **dict.fromkeys(range(50, 59), EXIT_ARTIFACT),
    }


__all__ = ["VmError"]
