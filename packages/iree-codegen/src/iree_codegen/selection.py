"""Reductions that carry an element and where it was found (arg-maxima): joining results of parts of a row.

Such a body replaces its whole state by the element at hand or keeps it. So the state that a later part of the
row ended with can be handed to the body as if it were one more element: what it found, at where it found it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from iree_codegen.kernel_builder import KernelBuilder
from iree_codegen.scalars import ScalarEvaluator
from iree_core_ir.ir.operation import Op, Value
from iree_core_ir.ir.types import IndexType, element_of, index

CASTS = frozenset({"arith.index_cast", "arith.index_castui"})


class Selection:
    """What each output of reduction ``op`` is: an input's element, or the index of loop ``loop``."""

    def __init__(self, op: Any, elements: dict[Value, int], places: list[int]) -> None:
        self.op = op
        self.elements = elements
        """Body argument of an input -> the output that keeps it."""
        self.places = places
        """The outputs that keep the index."""

    @classmethod
    def of(cls, op: Any) -> Selection | None:
        """How ``op`` selects; None when it does anything else."""
        block = op.body
        arguments = dict(zip(block.args, op.body_arguments(), strict=True))
        condition: Value | None = None
        elements: dict[Value, int] = {}
        places: list[int] = []
        allowed: dict[Op, None] = {}
        for output, value in enumerate(block.terminator.operands):
            made = value.defining_op
            if made is None or made.name != "arith.select":
                return None
            if condition is not None and made.operands[0] is not condition:
                return None
            condition = made.operands[0]
            taken, kept = made.operands[1:]
            if arguments.get(kept) != op.n_inputs + output:
                return None
            if arguments.get(taken, op.n_inputs) < op.n_inputs:
                elements[taken] = output
                continue
            while taken.defining_op is not None and taken.defining_op.name in CASTS:
                allowed[taken.defining_op] = None
                taken = taken.defining_op.operands[0]
            if taken.defining_op is None or taken.defining_op.name != "linalg.index":
                return None
            allowed[taken.defining_op] = None
            places.append(output)
        used = [a for a, position in arguments.items() if a.uses and position < op.n_inputs]
        if not places or any(a not in elements for a in used) or any(o.regions for o in block):
            return None
        # The index itself decides nothing: it is only kept.
        for inner in allowed:
            for user in inner.results[0].users:
                if user not in allowed and user.name != "arith.select":
                    return None
        return cls(op, elements, places)

    def join(
        self, k: KernelBuilder, outside: Callable[[Value], Value], a: Sequence[Value], b: Sequence[Value]
    ) -> list[Value]:
        """The state after a part of the row that ended with ``a`` and a later one that ended with ``b``."""
        op, block = self.op, self.op.body
        known: dict[Value, Value] = {}
        for argument, position in zip(block.args, op.body_arguments(), strict=True):
            if position >= op.n_inputs:
                known[argument] = a[position - op.n_inputs]
            elif argument in self.elements:
                known[argument] = b[self.elements[argument]]

        def special(inner: Op, lookup: Callable[[Value], Value]) -> Sequence[Value] | None:
            if inner.name != "linalg.index":
                return None
            place = b[self.places[0]]
            return [
                place
                if isinstance(element_of(place.type), IndexType)
                else k.cast("arith.index_cast", place, index)
            ]

        evaluator = ScalarEvaluator(k, special)
        evaluator.outside = outside  # type: ignore[method-assign, assignment]
        return evaluator.run(block, known)


__all__ = ["Selection"]
