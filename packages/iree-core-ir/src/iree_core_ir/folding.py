"""Constant folding: an op whose results are known becomes constants or existing values."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from iree_core_ir.errors import CoreIrError
from iree_core_ir.ir.attributes import Attribute, DenseResourceAttr, Type
from iree_core_ir.ir.dialect import find_dialect
from iree_core_ir.ir.known_values import known_attribute
from iree_core_ir.ir.operation import Op, Value
from iree_core_ir.ir.traits import CONSTANT_LIKE, PURE
from iree_core_ir.ir.types import FloatType, IndexType, IntegerType

_SCALARS = (IntegerType, IndexType, FloatType)


def fold_op(op: Op) -> list[Value | Attribute] | None:
    """Existing values or constant attributes equal to the results of ``op``; None when unknown.

    Asks the op's ``fold`` first; a pure op with constant operands and scalar results is then run by
    the interpreter. The list is empty when ``fold`` changed the op in place.
    """
    cls = op.__class__
    custom = cls.fold is not Op.fold
    runs = bool(op.operands and op.results) and not op.regions
    if not (custom or runs) or CONSTANT_LIKE in cls.traits:
        return None
    constants = [known_attribute(v) for v in op.operands]
    if custom:
        found = op.fold(constants)
        if found is not None:
            return list(found)
    if runs and None not in constants and PURE in op.traits:
        return _interpret(op, constants)
    return None


def _interpret(op: Op, constants: Sequence[Attribute | None]) -> list[Value | Attribute] | None:
    from iree_core_ir.interpreter import Frame, Interpreter, attribute_value, find_meaning, value_attribute

    for value in op.results:
        if not isinstance(value.type, _SCALARS):
            return None
    if any(isinstance(c, DenseResourceAttr) for c in constants):
        return None
    meaning = find_meaning(op.__class__)
    if meaning is None:
        return None
    try:
        operands = [attribute_value(c) for c in constants if c is not None]
        with np.errstate(all="ignore"):
            outcome = meaning(Frame(Interpreter(op)), op, *operands)
    except CoreIrError:
        return None  # fails at run time, or needs its surroundings: leave it
    outcomes = outcome if isinstance(outcome, tuple) else (outcome,)
    folded: list[Value | Attribute] = []
    for result, value in zip(outcomes, op.results, strict=True):
        attribute = value_attribute(result, value.type)
        if attribute is None:
            return None
        folded.append(attribute)
    return folded


def materialize(attribute: Attribute, type: Type, dialect: str) -> Op:
    """A new, not yet inserted op whose result is the constant; ``dialect`` is that of the folded op."""
    owner = find_dialect(dialect)
    if owner is None or owner.materialize_constant is None:
        owner = find_dialect("arith")
        assert owner is not None
    assert owner.materialize_constant is not None
    return owner.materialize_constant(attribute, type)


__all__ = ["fold_op", "materialize"]
