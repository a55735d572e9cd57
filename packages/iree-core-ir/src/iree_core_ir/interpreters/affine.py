"""Numpy meanings of ``affine``: floor division and modulo, as the maps define them."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from iree_core_ir.dialects import affine
from iree_core_ir.errors import CoreIrError
from iree_core_ir.interpreter import Frame, implements
from iree_core_ir.interpreters.indices import wrap


def _results(op: Any, operands: tuple[Any, ...]) -> list[Any]:
    map = op.affine_map
    try:
        values = map.evaluate(operands[: map.n_dims], operands[map.n_dims :])
    except ZeroDivisionError:
        raise CoreIrError(12, f"{map} divides by zero", source=op.location.user_text()) from None
    return [wrap(value) if isinstance(value, int) else value for value in values]


@implements(affine.Apply)
def apply(frame: Frame, op: affine.Apply, *operands: Any) -> Any:
    return _results(op, operands)[0]


@implements(affine.Min)
def min_(frame: Frame, op: affine.Min, *operands: Any) -> Any:
    values = _results(op, operands)
    return min(values) if all(isinstance(v, int) for v in values) else functools.reduce(np.minimum, values)


@implements(affine.Max)
def max_(frame: Frame, op: affine.Max, *operands: Any) -> Any:
    values = _results(op, operands)
    return max(values) if all(isinstance(v, int) for v in values) else functools.reduce(np.maximum, values)


def _basis(frame: Frame, op: affine.DelinearizeIndex | affine.LinearizeIndex) -> list[Any]:
    return [m if isinstance(m, int) else frame.values[m] for m in op.basis]


@implements(affine.DelinearizeIndex)
def delinearize(frame: Frame, op: affine.DelinearizeIndex, linear: Any, *dynamic: Any) -> Any:
    basis = _basis(frame, op)
    if any(np.any(np.asarray(b) <= 0) for b in basis):
        raise CoreIrError(12, f"the basis of {op.name} is {basis}", source=op.location.user_text())
    # Floor division: a negative index gives a negative first coordinate, the others stay in range.
    inner = basis[1:] if op.has_outer_bound else basis
    coordinates = []
    for size in reversed(inner):
        coordinates.append(linear % size)
        linear = linear // size
    return (linear, *reversed(coordinates))


@implements(affine.LinearizeIndex)
def linearize(frame: Frame, op: affine.LinearizeIndex, *operands: Any) -> Any:
    coordinates = operands[: len(op.multi_index)]
    basis = _basis(frame, op)
    sizes = basis if len(basis) == len(coordinates) else [1, *basis]
    linear = 0
    for coordinate, size in zip(coordinates, sizes, strict=True):
        linear = linear * size + coordinate
    return wrap(linear) if isinstance(linear, int) else linear
