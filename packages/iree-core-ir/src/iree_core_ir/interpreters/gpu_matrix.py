"""Numpy meanings of ``gpu``'s matrix fragments: a fragment is one array that all lanes of a subgroup hold.

Loads, stores and products are collective: every lane of the subgroup takes part with equal indices, and
the operation happens once. A subgroup with missing lanes or differing indices is an error.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from iree_base.element_types import element_type
from iree_core_ir.dialects import gpu_matrix as matrix
from iree_core_ir.errors import CoreIrError
from iree_core_ir.interpreter import Frame, implements
from iree_core_ir.interpreters import floats, integers
from iree_core_ir.interpreters.floats import float_format
from iree_core_ir.interpreters.integers import integer_format
from iree_core_ir.ir.operation import Op
from iree_core_ir.ir.types import FloatType

Array = np.ndarray[Any, Any]
Collective = Callable[..., dict[int, Any]]


def _dtype(type: matrix.MMAMatrixType) -> np.dtype[Any]:
    return element_type(str(type.memory_type)).dtype


def _error(op: Op, message: str) -> CoreIrError:
    return CoreIrError(
        12, f"{op.name}: {message}", source=op.location.user_text(),
        cause="all invocations of a subgroup do matrix operations together, with equal operands",
    )  # fmt: skip


def _together(op: Op, payloads: dict[int, Any], size: int, same: Callable[[Any, Any], bool]) -> Any:
    """The operands, when all lanes came with the same."""
    if len(payloads) != size:
        raise _error(op, f"{len(payloads)} of {size} lanes take part")
    first = payloads[min(payloads)]
    if not all(same(first, other) for other in payloads.values()):
        raise _error(op, "lanes differ in their operands")
    return first


def _same_memory(a: Array, b: Array) -> bool:
    return a is b or a.__array_interface__["data"] == b.__array_interface__["data"]


def _window(op: Any, type: matrix.MMAMatrixType, memory: Array, indices: tuple[int, ...]) -> Array:
    """Flat positions of the fragment's elements. Raises CoreIrError 12 when one is outside."""
    flat = int(np.ravel_multi_index(indices, memory.shape, mode="wrap")) if len(indices) > 1 else indices[0]
    rows, columns = np.arange(type.shape[0])[:, None], np.arange(type.shape[1])[None, :]
    pitch = op.lead_dimension.value
    place: Array = flat + (columns * pitch + rows if op.transpose is not None else rows * pitch + columns)
    if flat < 0 or int(place.max()) >= memory.size:
        raise _error(op, f"element {int(place.max())} is outside of memory of {memory.size}")
    return place


def _load(op: matrix.SubgroupMmaLoadMatrix, payloads: dict[int, Any], size: int) -> dict[int, Any]:
    memory, indices = _together(op, payloads, size, lambda a, b: _same_memory(a[0], b[0]) and a[1] == b[1])
    value = memory.reshape(-1)[_window(op, op.res.type, memory, indices)]
    return dict.fromkeys(payloads, value)


def _store(op: matrix.SubgroupMmaStoreMatrix, payloads: dict[int, Any], size: int) -> dict[int, Any]:
    value, memory, indices = _together(
        op, payloads, size, lambda a, b: a[0] is b[0] and _same_memory(a[1], b[1]) and a[2] == b[2]
    )
    memory.reshape(-1)[_window(op, op.src.type, memory, indices)] = value
    return dict.fromkeys(payloads)


def _compute(op: matrix.SubgroupMmaCompute, payloads: dict[int, Any], size: int) -> dict[int, Any]:
    """Floats: products and sums in f32 (f64 for f64), rounded once; integers exactly, wrapped."""
    a, b, c = _together(op, payloads, size, lambda x, y: all(i is j for i, j in zip(x, y, strict=True)))
    if op.a_transpose is not None:
        a = a.T
    if op.b_transpose is not None:
        b = b.T
    element = op.res.type.element_type
    if isinstance(element, FloatType):
        f = float_format(element)
        value = f.narrow(a.astype(f.wide) @ b.astype(f.wide) + f.widen(c))
    else:
        wide = [
            v.astype(np.uint8) if t.type.element_type is matrix.ui8 else v
            for v, t in ((a, op.op_a), (b, op.op_b))
        ]
        total = wide[0].astype(np.int64) @ wide[1].astype(np.int64) + c.astype(np.int64)
        value = total.astype(np.int32)
    return dict.fromkeys(payloads, value)


def _elementwise(op: matrix.SubgroupMmaElementwise, payloads: dict[int, Any], size: int) -> dict[int, Any]:
    args = _together(op, payloads, size, lambda x, y: all(i is j for i, j in zip(x, y, strict=True)))
    name = op.operation.value
    return dict.fromkeys(payloads, _combine(name, op.args[0].type, op.res.type, *args))


_FLOATS = {
    "addf": "add", "mulf": "mul", "subf": "sub", "maxf": "maximum", "minf": "minimum", "divf": "div",
}  # fmt: skip
_INTEGERS = {"addi": "add", "muli": "mul", "subi": "sub", "divs": "divs", "divu": "divu"}


def _combine(name: str, source: Any, target: Any, *args: Array) -> Array:
    result: Array
    if name in _FLOATS or name in ("negatef", *matrix.CONVERSIONS):
        f, g = float_format(source.element_type), float_format(target.element_type)
        wide = [f.widen(a) for a in args]
        if name in _FLOATS:
            result = floats.BINARY[_FLOATS[name]](*wide)
        else:
            result = -wide[0] if name == "negatef" else wide[0]
        return np.asarray(g.narrow(result))
    form = integer_format(source.memory_type)
    if name == "negates":
        result = -form.as_unsigned(args[0])
    else:
        result = integers.BINARY[_INTEGERS[name]](form, args[0], args[1])
    return np.asarray(form.wrap(result))


COLLECTIVES: dict[type[Op], Collective] = {
    matrix.SubgroupMmaLoadMatrix: _load,
    matrix.SubgroupMmaStoreMatrix: _store,
    matrix.SubgroupMmaCompute: _compute,
    matrix.SubgroupMmaElementwise: _elementwise,
}
"""What each op gives every lane, from the operands all lanes came with."""


def register(wait: Callable[[Op, Any], Any]) -> None:
    """Register the meanings; ``wait(op, payload)`` waits for the other lanes and returns a lane's answer."""

    def load(frame: Frame, op: Any, memory: Array, *indices: int) -> Array:
        return wait(op, (memory, indices))  # type: ignore[no-any-return]

    def store(frame: Frame, op: Any, value: Array, memory: Array, *indices: int) -> None:
        wait(op, (value, memory, indices))

    def together(frame: Frame, op: Any, *args: Array) -> Array:
        return wait(op, args)  # type: ignore[no-any-return]

    constants: dict[tuple[Any, bytes], Array] = {}

    def constant(frame: Frame, op: matrix.SubgroupMmaConstantMatrix, value: Any) -> Array:
        # Lanes hold one array: identity tells that they agree.
        type = op.res.type
        scalar = np.asarray(value, _dtype(type))
        key = (type, scalar.tobytes())
        if key not in constants:
            constants[key] = np.full(type.shape, scalar)
        return constants[key]

    implements(matrix.SubgroupMmaLoadMatrix)(load)
    implements(matrix.SubgroupMmaStoreMatrix)(store)
    implements(matrix.SubgroupMmaCompute)(together)
    implements(matrix.SubgroupMmaElementwise)(together)
    implements(matrix.SubgroupMmaConstantMatrix)(constant)
