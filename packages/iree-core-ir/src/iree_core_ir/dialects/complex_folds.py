"""Identities of ``complex`` ops: parts of what was put together, and what undoes itself."""

from __future__ import annotations

from typing import Any

from iree_core_ir.dialects.folds import Constants, Folded, rule
from iree_core_ir.ir.attributes import ArrayAttr


def _part(op: Any, constants: Constants, position: int) -> Folded:
    known = constants[0]
    if isinstance(known, ArrayAttr):
        return [known.items[position]]
    inner = op.complex.defining_op
    if inner is not None and inner.name == "complex.create":
        return [inner.operands[position]]
    return None


@rule("complex.re")
def _re(op: Any, constants: Constants) -> Folded:
    return _part(op, constants, 0)


@rule("complex.im")
def _im(op: Any, constants: Constants) -> Folded:
    return _part(op, constants, 1)


@rule("complex.create")
def _create(op: Any, constants: Constants) -> Folded:
    """From both parts of one number: that number. From constants: a constant."""
    real, imaginary = op.real.defining_op, op.imaginary.defining_op
    if real is not None and imaginary is not None:
        if (real.name, imaginary.name) == ("complex.re", "complex.im") and real.complex is imaginary.complex:
            return [real.complex]
    if constants[0] is not None and constants[1] is not None and str(op.result.type).startswith("complex<"):
        return [ArrayAttr([constants[0], constants[1]])]
    return None


@rule("complex.neg", "complex.conj")
def _involution(op: Any, constants: Constants) -> Folded:
    inner = op.complex.defining_op
    return [inner.complex] if inner is not None and inner.name == op.name else None


@rule("complex.bitcast")
def _bitcast(op: Any, constants: Constants) -> Folded:
    if op.operand.type is op.result.type:
        return [op.operand]
    inner = op.operand.defining_op
    if inner is not None and inner.name == op.name and inner.operand.type is op.result.type:
        return [inner.operand]
    return None
