"""Graph inputs and the option ``input_shapes`` -> the arguments of ``@main``.

A dim is an int, a name (equal names are equal sizes, checked at entry), or "" where nothing is known. Fixing
a named dim of one input fixes it everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from iree_base.element_types import ElementType
from iree_base.records import record
from iree_core_ir.dialects import tensor
from iree_core_ir.ir.builder import Builder
from iree_core_ir.ir.operation import BlockArgument, Value
from iree_core_ir.ir.types import DYNAMIC, TensorType
from iree_input_onnx.dims import Dim, Expr
from iree_input_onnx.elements import from_code, ir_type
from iree_input_onnx.emit import Emitter
from iree_input_onnx.errors import INPUT_SHAPE, UNKNOWN_RANK, UNSUPPORTED_TYPE, OnnxError
from iree_input_onnx.values import Tensor

InputDim = int | str


@record
class Input:
    """One argument: ``dims`` holds sizes, names, and "" for unknown."""

    name: str
    element: ElementType
    dims: list[InputDim]

    @property
    def ir_type(self) -> TensorType:
        return TensorType([d if isinstance(d, int) else DYNAMIC for d in self.dims], ir_type(self.element))

    @property
    def hint(self) -> str:
        """A name for the printed argument."""
        return "".join(c if c.isalnum() else "_" for c in self.name)

    def bind(self, emit: Emitter, argument: BlockArgument, symbols: dict[str, Expr]) -> Tensor:
        """The argument as a tensor; ``symbols`` collects the named dims."""
        shape: list[Dim] = []
        for axis, dim in enumerate(self.dims):
            if isinstance(dim, int):
                shape.append(dim)
            elif dim in symbols:
                shape.append(symbols[dim])
            else:
                symbol = emit.space.symbol(dim or f"{self.name}.{axis}", _dim_maker(emit, argument, axis))
                if dim:
                    symbols[dim] = symbol
                shape.append(symbol)
        return Tensor(self.element, shape, value=argument, name=self.name)


def _dim_maker(emit: Emitter, argument: Value, axis: int) -> Any:
    def make(builder: Builder) -> Value:
        return builder.create(tensor.Dim, argument, emit.index(axis)).result

    return make


def read_inputs(values: Sequence[Any], input_shapes: Mapping[str, Sequence[Any]]) -> list[Input]:
    """The arguments for ``ValueInfoProto``s. Raises OnnxError 7, 10, 11."""
    inputs = [_read(value, input_shapes) for value in values]
    names = [i.name for i in inputs]
    for name in input_shapes:
        if name not in names:
            raise OnnxError(INPUT_SHAPE, f"there is no input '{name}'", hint="inputs are " + ", ".join(names))
    fixed: dict[str, int] = {}
    for input in inputs:
        if input.name in input_shapes:
            _fix(input, list(input_shapes[input.name]), fixed)
    for input in inputs:
        input.dims = [fixed.get(d, d) if isinstance(d, str) else d for d in input.dims]
    return inputs


def _read(value: Any, input_shapes: Mapping[str, Sequence[Any]]) -> Input:
    kind = value.type.WhichOneof("value")
    if kind != "tensor_type":
        text = kind.removesuffix("_type") if kind else "missing type"
        raise OnnxError(UNSUPPORTED_TYPE, text, source=value.name, cause="only dense tensors are supported")
    tensor_type = value.type.tensor_type
    element = from_code(tensor_type.elem_type, value.name)
    if tensor_type.HasField("shape"):
        dims = [_dim(d) for d in tensor_type.shape.dim]
    elif value.name in input_shapes:
        dims = [""] * len(input_shapes[value.name])
    else:
        raise OnnxError(
            UNKNOWN_RANK,
            f"'{value.name}'",
            hint=f"give its shape, for example --input-shape {value.name}=1x3x48x320",
        )
    return Input(value.name, element, dims)


def _dim(proto: Any) -> InputDim:
    if proto.HasField("dim_value"):
        # Some exporters write -1 or 0 for a size that may vary.
        return int(proto.dim_value) if proto.dim_value > 0 else ""
    # A name says that equal names are equal sizes; these say only that the size is unknown.
    name = str(proto.dim_param).strip()
    return "" if name in ("?", "None") or name.lstrip("+-").isdigit() else name


def _fix(input: Input, shape: list[Any], fixed: dict[str, int]) -> None:
    """Apply a shape given by the user: ints fix a dim; None, -1 and ``?`` leave it."""
    text = "x".join(str(d) for d in shape)
    if len(shape) != len(input.dims):
        raise OnnxError(
            INPUT_SHAPE, f"'{text}' for '{input.name}'", cause=f"the input has {len(input.dims)} dimensions"
        )
    for axis, given in enumerate(shape):
        old = input.dims[axis]
        if given is None or given == -1 or given == "?":
            continue
        if not isinstance(given, int) or given < 0:
            raise OnnxError(INPUT_SHAPE, f"'{given}' for '{input.name}'", hint="write sizes as numbers")
        known = fixed.get(old) if isinstance(old, str) and old else old
        if isinstance(known, int) and known != given:
            cause = f"dimension {axis} is {known}" + (f" ('{old}')" if isinstance(old, str) else "")
            raise OnnxError(INPUT_SHAPE, f"'{text}' for '{input.name}'", cause=cause)
        if isinstance(old, str) and old:
            fixed[old] = given
        input.dims[axis] = given
