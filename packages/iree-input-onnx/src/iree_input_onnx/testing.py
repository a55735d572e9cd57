"""Run an ONNX model through the frontend and the numpy meaning of its IR: the oracle used by the tests."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx.helper
import onnx.numpy_helper

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


def one_node(
    op_type: str,
    inputs: Mapping[str, Any],
    attributes: Mapping[str, Any] | None = None,
    *,
    opset: int = 18,
    outputs: int = 1,
    constants: Collection[str] = (),
    domain: str = "",
    dims: Mapping[str, Sequence[int | str | None]] | None = None,
) -> Any:
    """A model of one node on ``inputs`` (name -> array; None leaves an optional input out).

    Inputs named in ``constants`` become initializers; ``dims`` overrides declared shapes.
    """
    helper = onnx.helper
    names = [name if array is not None else "" for name, array in inputs.items()]
    made = [f"y{i}" for i in range(outputs)]
    node = helper.make_node(op_type, names, made, name="node", domain=domain, **dict(attributes or {}))
    declared, initializers = [], []
    for name, array in inputs.items():
        if array is None:
            continue
        array = np.asarray(array)
        if name in constants:
            initializers.append(onnx.numpy_helper.from_array(array, name))
        else:
            code = helper.np_dtype_to_tensor_dtype(array.dtype)
            declared.append(helper.make_tensor_value_info(name, code, (dims or {}).get(name, array.shape)))
    results = [helper.make_value_info(name, onnx.TypeProto()) for name in made]
    graph = helper.make_graph([node], "one_node", declared, results, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid(domain, opset)])
    model.ir_version = min(onnx.IR_VERSION, 10)
    return model


def run_model(
    source: Any, arrays: Sequence[Any], input_shapes: Mapping[str, Sequence[Any]] | None = None
) -> list[Array]:
    """The outputs of a model (path, bytes or ModelProto) for ``arrays``."""
    return ImportedModel(source, input_shapes)(*arrays)
