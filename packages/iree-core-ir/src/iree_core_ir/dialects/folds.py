"""Folding of elementwise ops: rules by op name, and evaluation of small or splat constants.

A rule ``(op, constants) -> results or None`` states an identity; it holds for scalars, vectors and
tensors alike because constants are read through ``number``: the one value of a scalar or splat.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from iree_core_ir.dialects.arith_attributes import constant_attribute
from iree_core_ir.ir.attributes import (
    MAX_INLINE_ELEMENTS,
    Attribute,
    DenseElementsAttr,
    FloatAttr,
    IntegerAttr,
    Type,
)
from iree_core_ir.ir.operation import Op, Value
from iree_core_ir.ir.types import IntegerType, ShapedType, element_of, index

Constants = Sequence[Attribute | None]
Folded = Sequence[Value | Attribute] | None
Rule = Callable[[Any, Constants], Folded]

RULES: dict[str, Rule] = {}


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Register the rule of the named ops."""

    def register(function: Rule) -> Rule:
        for name in names:
            RULES[name] = function
        return function

    return register


class FoldableOp(Op):
    """Base of elementwise ops: folds by its rule, else by evaluating constant operands."""

    def fold(self, constants: Constants) -> Folded:
        known = RULES.get(self.name)
        if known is not None:
            found = known(self, constants)
            if found is not None:
                return found
        if None in constants or not self.operands:
            return None
        return _evaluate(self, constants)


def _evaluate(op: Op, constants: Constants) -> Folded:
    """Shaped results of dense constants: as one element when all are splats, else when small."""
    types: list[Any] = [value.type for value in op.results]
    if not all(isinstance(type, ShapedType) and type.is_static for type in types):
        return None
    dense = [c for c in constants if isinstance(c, DenseElementsAttr)]
    others = [c for c in constants if not isinstance(c, (DenseElementsAttr, IntegerAttr, FloatAttr))]
    splat = all(c.splat for c in dense)
    if others or not (splat or types[0].n_elements <= MAX_INLINE_ELEMENTS):
        return None
    from iree_core_ir.interpreter import Frame, Interpreter, attribute_value, find_meaning

    meaning = find_meaning(type(op))
    if meaning is None:
        return None
    values = [attribute_value(c) for c in constants if c is not None]
    if splat:
        values = [v.flat[0] if isinstance(v, np.ndarray) and v.size else v for v in values]
        if any(isinstance(v, np.ndarray) for v in values):
            return None  # no elements, nothing to compute
        values = [
            int(v) if element_of(o.type) is index else v for v, o in zip(values, op.operands, strict=True)
        ]
    with np.errstate(all="ignore"):
        outcome = meaning(Frame(Interpreter(op)), op, *values)
    outcomes = outcome if isinstance(outcome, tuple) else (outcome,)
    if splat:
        return [DenseElementsAttr.from_splat(v, type) for v, type in zip(outcomes, types, strict=True)]
    return [DenseElementsAttr.from_array(v, type) for v, type in zip(outcomes, types, strict=True)]


# -- reading constants -------------------------------------------------------------------------


def number(attribute: Attribute | None) -> int | float | None:
    """The value of a scalar constant or of every element of a splat."""
    if isinstance(attribute, (IntegerAttr, FloatAttr)):
        return attribute.value
    if isinstance(attribute, DenseElementsAttr) and attribute.splat:
        element = attribute.to_array().flat
        if len(element) == 0:
            return None
        value = element[0]
        kind = value.dtype.kind
        if kind == "c":
            return None
        return int(value) if kind in "iub" or str(attribute.type.element_type)[0] in "iu" else float(value)
    return None


def is_zero(attribute: Attribute | None) -> bool:
    """An integer 0 (floats have two zeros: see ``is_float``)."""
    value = number(attribute)
    return isinstance(value, int) and value == 0


def is_one(attribute: Attribute | None, type: Type) -> bool:
    """An integer 1 (true for i1, whose only other value is -1 when read as signed)."""
    value = number(attribute)
    return isinstance(value, int) and value == 1


def is_all_ones(attribute: Attribute | None, type: Type) -> bool:
    """An integer with every bit set."""
    value = number(attribute)
    element = element_of(type)
    width = element.width if isinstance(element, IntegerType) else 64
    mask = (1 << width) - 1
    return isinstance(value, int) and value & mask == mask


def is_float(attribute: Attribute | None, wanted: float) -> bool:
    """Exactly ``wanted``, the sign of zero included."""
    value = number(attribute)
    return isinstance(value, float) and value == wanted and np.signbit(value) == np.signbit(wanted)


def constant(value: Any, type: Type) -> list[Value | Attribute] | None:
    """One result: ``value`` as ``type``; None where a dynamic shape has no attribute."""
    if isinstance(type, ShapedType) and not type.is_static:
        return None
    return [constant_attribute(value, type)]
