"""Multi-step ops of ``linalg_ext`` that have a form in structured ops take it before strategies look."""

from __future__ import annotations

from typing import Any

from iree_core_ir.ir.builder import Builder


def decomposed(func: Any) -> Any:
    """A copy of the dispatch function in which every op that can be decomposed is."""
    copy = func.clone()
    changed = True
    while changed:
        changed = False
        for op in list(copy.regions[0].block):
            decompose = getattr(op, "decompose", None)
            if decompose is None:
                continue
            values = decompose(Builder.before_op(op))
            if values is not None:
                op.replace_by(values)
                changed = True
    return copy


def in_structured_ops(func: Any) -> Any:
    """The dispatch function as strategies see it, to look at only: itself where no op can be decomposed."""
    return decomposed(func) if any(hasattr(op, "decompose") for op in func.regions[0].block) else func
