"""Coded errors of the ONNX frontend: ``IREE-ONNX-nnn``."""

from __future__ import annotations

from iree_base.errors import EXIT_USAGE, IreeError

CANNOT_READ = 1
NOT_ONNX = 2
DAMAGED = 3
UNSUPPORTED = 4
INVALID_NODE = 5
INVALID_GRAPH = 6
UNSUPPORTED_TYPE = 7
INVALID_TENSOR = 8
EXTERNAL_DATA = 9
INPUT_SHAPE = 10
UNKNOWN_RANK = 11
VERSION = 12


class OnnxError(IreeError):
    """A model that cannot be imported; ``number`` is one of this module's constants.

    Names come from the file and may hold anything: what would break the line is shown as ``?``.
    """

    package = "ONNX"
    exit_codes = {INPUT_SHAPE: EXIT_USAGE}
    table = {
        CANNOT_READ: "the model cannot be read",
        NOT_ONNX: "this is no ONNX model",
        DAMAGED: "the ONNX file is truncated or damaged",
        UNSUPPORTED: "the model uses operators that are not supported",
        INVALID_NODE: "a node is invalid",
        INVALID_GRAPH: "the graph is invalid",
        UNSUPPORTED_TYPE: "unsupported type",
        INVALID_TENSOR: "a constant tensor is invalid",
        EXTERNAL_DATA: "external data cannot be used",
        INPUT_SHAPE: "the input shape does not fit the model",
        UNKNOWN_RANK: "the rank of an input is unknown",
        VERSION: "unsupported version of the format or of an operator set",
    }

    def __init__(
        self,
        number: int,
        detail: str = "",
        *,
        source: str | None = None,
        cause: str | None = None,
        hint: str | None = None,
    ) -> None:
        source, cause = (None if text is None else _one_line(text) for text in (source, cause))
        super().__init__(number, _one_line(detail), source=source, cause=cause, hint=hint)


def _one_line(text: str) -> str:
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)


class Unsupported(Exception):
    """A lowering meets a case it does not cover; becomes one line of the error that lists them all."""


__all__ = ["OnnxError", "Unsupported"]
