"""The frontend object that the compiler asks: does it recognize a source, and what module is it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import onnx

from iree_core_ir.constants import ConstantStore
from iree_core_ir.dialects.builtin import ModuleOp
from iree_input_onnx.importer import import_model
from iree_input_onnx.reader import read


class OnnxFrontend:
    """ONNX models: a path ending in ``.onnx``, the bytes of such a file, or a ModelProto."""

    name = "onnx"
    suffixes = (".onnx",)

    def recognizes(self, source: Any) -> bool:
        """True when ``source`` looks like ONNX; nothing is read but the first bytes of bytes."""
        if isinstance(source, onnx.ModelProto):
            return True
        if isinstance(source, (bytes, bytearray, memoryview)):
            head = bytes(memoryview(source).cast("B")[:2])
            return len(head) == 2 and head[0] == 0x08 and 0 < head[1] < 0x80  # ir_version comes first
        if isinstance(source, (str, os.PathLike)):
            return os.fspath(source).endswith(self.suffixes)
        return False

    def load(
        self, source: Any, constants: ConstantStore, options: Mapping[str, Any] | None = None
    ) -> ModuleOp:
        """The module of phase ``input``; weights go to ``constants``, mapped from their files.

        Option ``input_shapes``: input name -> sizes, None (or "?") where a dim stays as it is. Raises
        OnnxError.
        """
        shapes = dict((options or {}).get("input_shapes") or {})
        return import_model(read(source), constants, shapes)
