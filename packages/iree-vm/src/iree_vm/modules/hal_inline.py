"""How calls of some ``hal`` functions are expanded into the caller's source (see ``translate.Inline``).

These are the functions on the path of every call: checks of inputs, dims, allocation of results, and the
synchronous execution. An expansion tests the common case in place and leaves every other to the function in
``hal``; it is used where all buffer views are numpy arrays.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from iree_hal import result_memory
from iree_vm.bytecode.translate import Arguments, Inline
from iree_vm.element_codes import from_code

Bind = Callable[[Any], str]
Value = Callable[[str], Any]


def _tuple(parts: list[str]) -> str:
    return f"({', '.join(parts)}{',' if len(parts) == 1 else ''})"


def _constant(value: Value, expression: str) -> Any:
    """The constant, or ``...`` when the expression is not one."""
    try:
        return value(expression)
    except KeyError:
        return ...


def _assert(arguments: Arguments, results: list[str], bind: Bind, value: Value) -> list[str] | None:
    from iree_vm.modules.hal import check_view

    view, message, element_type, shape = arguments
    code = _constant(value, element_type)
    if code is ...:
        return None
    dtype = bind(from_code(code).dtype)
    fixed = [d for d in shape if _constant(value, d) != -1]
    if len(fixed) == len(shape):
        test = f"{view}.shape != {_tuple(shape)}"
    else:
        parts = [f"len({view}.shape) != {len(shape)}"]
        parts += [f"{view}.shape[{i}] != {d}" for i, d in enumerate(shape) if d in fixed]
        test = " or ".join(parts)
    return [
        f"if {view}.dtype is not {dtype} or {test}:",
        f"    {bind(check_view)}({view}, {message}, {element_type}, {_tuple(shape)})",
    ]


def _range(arguments: Arguments, results: list[str], bind: Bind, value: Value) -> list[str] | None:
    from iree_vm.modules.hal import check_range

    message, size, low, high, divisor = arguments
    limits = [_constant(value, e) for e in (low, high, divisor)]
    if ... in limits:
        return None
    parts = [f"{size} < {low}"] if limits[0] > 0 else []
    parts += [f"{size} > {high}"] if limits[1] >= 0 else []
    parts += [f"{size} % {divisor}"] if limits[2] > 1 else []
    if not parts:
        return ["pass"]
    return [f"if {' or '.join(parts)}: {bind(check_range)}({message}, {size}, {low}, {high}, {divisor})"]


def _dim(arguments: Arguments, results: list[str], bind: Bind, value: Value) -> list[str] | None:
    axis = _constant(value, arguments[1])
    if axis is ... or axis < 0:
        return None
    return [f"{results[0]} = {arguments[0]}.shape[{axis}]"]


def _buffer(arguments: Arguments, results: list[str], bind: Bind, value: Value) -> list[str] | None:
    return [f"{results[0]} = {arguments[0]}"]


def _result(arguments: Arguments, results: list[str], bind: Bind, value: Value) -> list[str] | None:
    _, storage, _, element_type, shape = arguments
    code = _constant(value, element_type)
    if code is ... or storage != "None":
        return None
    dtype = from_code(code).dtype
    dims = [_constant(value, dim) for dim in shape]
    small = ... not in dims and math.prod(dims) * dtype.itemsize < result_memory.SMALLEST
    empty = np.empty if small else result_memory.empty
    return [f"{results[0]} = {bind(empty)}({_tuple(shape)}, {bind(dtype)})"]


def _execute(arguments: Arguments, results: list[str], bind: Bind, value: Value) -> list[str] | None:
    device, wait, signal, command_buffer, params, bindings = arguments
    if wait != "None" or signal != "None":
        return None
    return [f"{device}.execute({command_buffer}, {_tuple(bindings)}, {_tuple(params)})"]


def _chain(arguments: Arguments, results: list[str], bind: Bind, value: Value) -> list[str] | None:
    return [f"{results[0]} = None"] if arguments[0] == "None" else None


def _await(arguments: Arguments, results: list[str], bind: Bind, value: Value) -> list[str] | None:
    return ["pass"] if arguments[0] == "None" else None


INLINE: dict[str, Inline] = {
    "buffer_view.assert": _assert,
    "dim.assert": _range,
    "buffer_view.dim": _dim,
    "buffer_view.buffer": _buffer,
    "result.alloca": _result,
    "device.queue.execute": _execute,
    "fence.chain": _chain,
    "fence.await": _await,
    "fence.signal": _await,
}
"""Function name -> its expansion."""
