"""Entry point of group ``iree.compiler``: the frontend ``onnx``. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

api = (1, 0)


def _frontend() -> Any:
    from iree_input_onnx.frontend import OnnxFrontend

    return OnnxFrontend()


def iree_frontends() -> Mapping[str, Callable[[], Any]]:
    """The frontend by name and by the suffix of the files it reads."""
    return {"onnx": _frontend, ".onnx": _frontend}
