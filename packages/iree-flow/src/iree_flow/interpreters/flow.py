"""Meanings of ``flow``: a dispatch calls its executable's function with fresh destinations."""

from __future__ import annotations

from typing import Any

import numpy as np

from iree_base.element_types import element_type
from iree_core_ir.dialects.func import FuncOp
from iree_core_ir.dispatch_function import unpacked
from iree_core_ir.interpreter import Frame, implements
from iree_core_ir.ir.attributes import SymbolRefAttr
from iree_core_ir.ir.types import TensorType
from iree_flow.dialects import flow

Array = np.ndarray[Any, Any]


def executable_function(frame: Frame, op: Any, entry: SymbolRefAttr) -> FuncOp:
    """The function behind an entry point."""
    executable = frame.lookup(op, entry.root)
    assert isinstance(executable, flow.Executable)
    for function in executable.module.regions[0].block:
        if isinstance(function, FuncOp) and function.attributes["sym_name"].value == entry.leaf:  # type: ignore[attr-defined]
            return function
    raise KeyError(entry.leaf)


def empty(type: TensorType, dims: list[int]) -> Array:
    """An array of a tensor type whose dynamic dims are ``dims``; NaN or garbage pattern inside."""
    rest = iter(dims)
    shape = [size if size >= 0 else next(rest) for size in type.shape]
    dtype = element_type(str(type.element_type)).dtype
    array: Array = np.full(shape, np.nan, dtype) if dtype.kind == "f" else np.zeros(shape, dtype)
    return array


@implements(flow.Dispatch)
def dispatch(frame: Frame, op: flow.Dispatch, *operands: Any) -> Any:
    values = dict(zip(op.operands, operands, strict=True))
    arguments = [values[v] for v in op.arguments]
    dims = [values[v] for v in op.result_dims]
    for i, result in enumerate(op.results):
        type = result.type
        n = type.n_dynamic
        own, dims = dims[:n], dims[n:]
        if op.tied(i) == flow.UNTIED:
            arguments.append(empty(type, own))
    function = executable_function(frame, op, op.entry_point)
    return tuple(frame.interpreter.invoke(function, unpacked(function, arguments)))


@implements(flow.DispatchRegion)
def dispatch_region(frame: Frame, op: flow.DispatchRegion, *operands: Any) -> Any:
    return tuple(frame.run_region(op.body))


@implements(flow.WorkgroupId)
def workgroup_id(frame: Frame, op: flow.WorkgroupId) -> int:
    """The interpreter runs a region as one workgroup ..."""
    return 0


@implements(flow.WorkgroupCount)
def workgroup_count(frame: Frame, op: flow.WorkgroupCount) -> int:
    """... of one ..."""
    return 1


@implements(flow.WorkgroupSize)
def workgroup_size(frame: Frame, op: flow.WorkgroupSize) -> int:
    """... with an odd tile size, so that edges are met."""
    return 3


@implements(flow.TensorReshape)
def reshape(frame: Frame, op: flow.TensorReshape, source: Array, *dims: int) -> Array:
    rest = iter(dims[len(op.source_dims) :])
    return source.reshape([size if size >= 0 else next(rest) for size in op.result.type.shape])


@implements(flow.TensorTieShape)
def tie_shape(frame: Frame, op: flow.TensorTieShape, source: Array, *dims: int) -> Array:
    """The sizes must be those of the tensor."""
    dynamic = [size for size, given in zip(source.shape, op.source.type.shape, strict=True) if given < 0]
    assert dynamic == [int(d) for d in dims], f"{dynamic} tied to {dims} at {op.location.user_text()}"
    return source


@implements(flow.TensorSlice)
def slice_(frame: Frame, op: flow.TensorSlice, source: Array, *rest: int) -> Array:
    rank = source.ndim
    n = len(op.source_dims)
    starts, lengths = rest[n : n + rank], rest[n + rank : n + 2 * rank]
    return source[tuple(slice(a, a + b) for a, b in zip(starts, lengths, strict=True))]


@implements(flow.TensorConcat)
def concat(frame: Frame, op: flow.TensorConcat, *operands: Any) -> Array:
    joined: Array = np.concatenate(operands[: len(op.inputs)], axis=op.dim.value)
    return joined


@implements(flow.TensorLoad)
def load(frame: Frame, op: flow.TensorLoad, source: Array, *rest: int) -> Any:
    return source[tuple(rest[len(op.source_dims) :])]
