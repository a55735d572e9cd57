"""Functions of a module that callers see: which they are, and their signatures in the artefact's terms."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from iree_core_ir.dialects.builtin import ModuleOp
from iree_core_ir.dialects.func import FuncOp
from iree_core_ir.ir.types import FunctionType, TensorType
from iree_flow.symbolic_dims import argument_dim_names, argument_names, result_dim_names, result_names
from iree_vm.artifact import FunctionSpec, TensorSpec

ELEMENT_TYPE = "iree.element_type"
"""Argument and result attribute of frontends: ``ui8`` for a tensor of unsigned integers."""


def public_functions(module: ModuleOp) -> list[FuncOp]:
    """Functions with a body that are not private, in order."""
    return [
        op
        for op in module.regions[0].block
        if isinstance(op, FuncOp) and op.regions[0].blocks and _is_public(op)
    ]


def _is_public(op: FuncOp) -> bool:
    visibility: Any = op.attributes.get("sym_visibility")
    return visibility is None or visibility.value != "private"


def function_spec(function: FuncOp) -> FunctionSpec:
    """The signature as the user wrote it; anonymous dynamic dims get a name of their own."""
    signature: Any = function.attributes.get("hal.signature", function.function_type)
    type: FunctionType = signature.value
    counter = iter(range(1 << 30))
    dims = list(argument_dim_names(function).values())
    inputs = [
        _tensor(name, t, d, counter, function.arg_attr(i, ELEMENT_TYPE))
        for i, (name, t, d) in enumerate(zip(argument_names(function), type.inputs, dims, strict=True))
    ]
    results = zip(result_names(function), type.results, result_dim_names(function), strict=True)
    outputs = [
        _tensor(name, t, d, counter, function.result_attr(i, ELEMENT_TYPE))
        for i, (name, t, d) in enumerate(results)
    ]
    name: Any = function.attributes["sym_name"]
    return FunctionSpec(name.value, tuple(inputs), tuple(outputs), name.value)


def _tensor(name: str, type: Any, dims: Any, counter: Iterator[int], element: Any) -> TensorSpec:
    """``element``: the attribute that names the element type where the IR's is signless, or None."""
    if not isinstance(type, TensorType):
        return TensorSpec(name, str(type), ())
    shape: list[int | str] = []
    for axis, size in enumerate(type.shape):
        given = dims[axis] if axis < len(dims) else ""
        shape.append(size if size >= 0 else given or f"dim_{next(counter)}")
    return TensorSpec(name, str(type.element_type) if element is None else element.value, tuple(shape))


__all__ = ["ELEMENT_TYPE", "function_spec", "public_functions"]
