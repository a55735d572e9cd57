"""Run an ONNX model through the frontend and the numpy meaning of its IR: the oracle used by the tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from iree_base.element_types import element_type
from iree_core_ir.constants import ConstantStore
from iree_core_ir.dialects import func
from iree_core_ir.dialects.builtin import ModuleOp
from iree_core_ir.interpreter import Interpreter
from iree_core_ir.verifier import verify
from iree_input_onnx.frontend import OnnxFrontend

Array = np.ndarray[Any, Any]


class ImportedModel:
    """A model's module and constants; call it with arrays in the order of its inputs."""

    def __init__(self, source: Any, input_shapes: Mapping[str, Sequence[Any]] | None = None) -> None:
        self.constants = ConstantStore()
        self.module: ModuleOp = OnnxFrontend().load(
            source, self.constants, {"input_shapes": input_shapes or {}}
        )
        verify(self.module)
        function = self.module.body.block.first
        assert isinstance(function, func.FuncOp)
        self.function = function

    @property
    def input_names(self) -> list[str]:
        return [
            self._text(self.function.arg_attr(i, "iree.name")) for i in range(len(self.function.arguments))
        ]

    @staticmethod
    def _text(attribute: Any) -> str:
        return str(attribute.value)

    def __call__(self, *arrays: Any) -> list[Array]:
        """The outputs. Unsigned tensors, which the IR stores as signless ones, keep their ONNX dtype."""
        given = []
        for array, argument in zip(arrays, self.function.arguments, strict=True):
            plain = element_type(str(argument.type.element_type)).dtype
            array = np.asarray(array)
            given.append(array if array.dtype == plain else np.asarray(array, order="C").view(plain))
        made = Interpreter(self.module, self.constants).call("main", *given)
        results = []
        for i, value in enumerate(made if isinstance(made, (tuple, list)) else [made]):
            unsigned: Any = self.function.result_attr(i, "iree.element_type")
            value = np.asarray(value)
            results.append(value if unsigned is None else value.view(element_type(unsigned.value).dtype))
        return results


def run_model(
    source: Any, arrays: Sequence[Any], input_shapes: Mapping[str, Sequence[Any]] | None = None
) -> list[Array]:
    """The outputs of a model (path, bytes or ModelProto) for ``arrays``."""
    return ImportedModel(source, input_shapes)(*arrays)
