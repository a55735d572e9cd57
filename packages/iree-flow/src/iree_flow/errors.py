"""Errors of the compiler driver and its scheduling half."""

from __future__ import annotations

from iree_base.errors import EXIT_COMPILE, EXIT_USAGE, IreeError


class FlowError(IreeError):
    """A program that cannot be compiled, or options that make no sense."""

    package = "FLOW"
    exit_code = EXIT_COMPILE
    table = {
        1: "the source cannot be read",
        2: "no frontend recognizes the source",
        3: "unknown option",
        4: "the option has no effect here",
        5: "unknown phase",
        6: "the program has no public function",
        7: "an op is not supported by the target",
        8: "an op cannot be scheduled",
        9: "two ops of one dispatch carry a lowering configuration",
        10: "the dispatch cannot be compiled",
        11: "the phase file is not usable",
        12: "invalid option value",
        13: "no target is named, and none stands out",
    }
    exit_codes = {3: EXIT_USAGE, 4: EXIT_USAGE, 5: EXIT_USAGE, 12: EXIT_USAGE, 13: EXIT_USAGE}
