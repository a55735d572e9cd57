"""Operands of a structured op as numpy views over its iteration space.

A map result that is linear in the loops (``d0 * 2 + d3``) is a stride, so that windows, transposes,
reversals and broadcasts cost no memory. Axes of a view are loops; a loop the operand does not depend on
has size 1 and broadcasts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from iree_core_ir.errors import CoreIrError
from iree_core_ir.interpreters.memory import strided
from iree_core_ir.ir.affine import AffineBinary, AffineConstant, AffineDim, AffineExpr, AffineMap

Array = np.ndarray[Any, Any]


def linear(expr: AffineExpr, n: int) -> tuple[list[int], int] | None:
    """Coefficient per dim and constant of a linear expression; None for another."""
    if isinstance(expr, AffineConstant):
        return [0] * n, expr.value
    if isinstance(expr, AffineDim):
        coefficients = [0] * n
        coefficients[expr.position] = 1
        return coefficients, 0
    if isinstance(expr, AffineBinary) and expr.kind in "+*":
        a, b = linear(expr.lhs, n), linear(expr.rhs, n)
        if a is None or b is None:
            return None
        if expr.kind == "+":
            return [x + y for x, y in zip(a[0], b[0], strict=True)], a[1] + b[1]
        if not any(b[0]):
            return [x * b[1] for x in a[0]], a[1] * b[1]
        if not any(a[0]):
            return [x * a[1] for x in b[0]], a[1] * b[1]
    return None


def loop_sizes(maps: Sequence[AffineMap], operands: Sequence[Any], n: int) -> list[int]:
    """The size of each loop, from the operand dims it indexes alone. Raises CoreIrError 12 on conflict."""
    sizes: list[int | None] = [None] * n
    for i, (map, operand) in enumerate(zip(maps, operands, strict=True)):
        for axis, expr in enumerate(map.results):
            if isinstance(expr, AffineDim):
                size = operand.shape[axis]
                known = sizes[expr.position]
                if known is None:
                    sizes[expr.position] = size
                elif known != size:
                    raise CoreIrError(
                        12,
                        f"dim {axis} of operand {i} has size {size}, but loop d{expr.position} has {known}",
                    )
    if None in sizes:
        raise CoreIrError(12, f"no operand gives the size of loop d{sizes.index(None)}")
    return [size for size in sizes if size is not None]


def check_bounds(map: AffineMap, shape: Sequence[int], sizes: Sequence[int], operand: int) -> None:
    """Every access of a non-empty space lies inside ``shape``. Raises CoreIrError 12."""
    for axis, expr in enumerate(map.results):
        if isinstance(expr, AffineDim):
            continue
        form = linear(expr, len(sizes))
        if form is None:
            values = expr.evaluate(grids(sizes))
            low, high = int(np.min(values)), int(np.max(values))
        else:
            low = high = form[1]
            for coefficient, size in zip(form[0], sizes, strict=True):
                reach = coefficient * (size - 1)
                low, high = low + min(reach, 0), high + max(reach, 0)
        if low < 0 or high >= shape[axis]:
            raise CoreIrError(
                12,
                f"'{expr}' of operand {operand} runs from {low} to {high}, dim {axis} has size {shape[axis]}",
            )


def grids(sizes: Sequence[int]) -> list[Array]:
    """Per loop its indices, shaped to broadcast over the space."""
    n = len(sizes)
    return [
        np.arange(size, dtype=np.int64).reshape([1] * i + [size] + [1] * (n - 1 - i))
        for i, size in enumerate(sizes)
    ]


def read_view(array: Array, map: AffineMap, sizes: Sequence[int]) -> Array:
    """The elements an operand contributes to each iteration; size 1 along loops it does not depend on.

    Bounds must have been checked. A copy only where the map is not linear.
    """
    n = len(sizes)
    positions = map.dim_positions()
    if None not in positions and len(set(positions)) == len(positions):
        order = sorted(range(len(positions)), key=lambda i: positions[i] or 0)
        shape = [1] * n
        for p in positions:
            assert p is not None
            shape[p] = sizes[p]
        return array.transpose(order).reshape(shape) if n != len(order) else array.transpose(order)
    forms = [linear(expr, n) for expr in map.results]
    if None in forms:
        index = tuple(expr.evaluate(grids(sizes)) for expr in map.results)
        value = np.asarray(array[index])
        return value.reshape([1] * (n - value.ndim) + list(value.shape))
    return _strided(array, [f for f in forms if f is not None], sizes, False)


def write_view(array: Array, map: AffineMap, sizes: Sequence[int]) -> Array | None:
    """As ``read_view``, writable and sharing memory; None when the map is not linear."""
    forms = [linear(expr, len(sizes)) for expr in map.results]
    if None in forms:
        return None
    return _strided(array, [f for f in forms if f is not None], sizes, True)


def _strided(
    array: Array, forms: Sequence[tuple[list[int], int]], sizes: Sequence[int], writeable: bool
) -> Array:
    n = len(sizes)
    used = [any(form[0][d] for form in forms) for d in range(n)]
    shape = [size if use else 1 for size, use in zip(sizes, used, strict=True)]
    if 0 in shape or array.size == 0:
        return np.zeros(shape, array.dtype)
    strides = [
        sum(form[0][d] * stride for form, stride in zip(forms, array.strides, strict=True)) for d in range(n)
    ]
    # The ellipsis keeps the view of a rank-0 array a view.
    first: tuple[Any, ...] = (*(slice(form[1], form[1] + 1) for form in forms), ...)
    return strided(array[first], shape, strides, writeable)
