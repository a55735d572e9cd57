"""``fold-dim-ranges``: comparisons, minima and maxima of sizes that the entry checks decide.

Exporters clamp sizes against "infinity" (a slice to the end is ``min(size, 10^9)``); with the ranges of the
inputs' dims these fold, and with them the checks and copies that the doubt made necessary.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from iree_base.records import record
from iree_core_ir.dialects import arith
from iree_core_ir.dialects.func import FuncOp
from iree_core_ir.ir.builder import Builder
from iree_core_ir.ir.operation import Op, Value
from iree_core_ir.ir.types import i1
from iree_core_ir.pass_manager import Pass, PassContext
from iree_flow.dim_ranges import Range, RangeAnalysis


@record
class FoldDimRanges(Pass):
    name: ClassVar[str] = "fold-dim-ranges"

    def run(self, module: Op, context: PassContext) -> bool:
        changed = False
        for function in module.regions[0].block:
            if isinstance(function, FuncOp) and function.regions[0].blocks:
                analysis = RangeAnalysis(function)
                for op in list(function.walk()):
                    if op.name in _EXTREMES:
                        changed |= _fold_extreme(op, analysis)
                    elif isinstance(op, arith.CmpI):
                        changed |= _fold_comparison(op, analysis)
        return changed


_EXTREMES: dict[str, tuple[bool, bool]] = {
    "arith.minsi": (True, True),
    "arith.maxsi": (False, True),
    "arith.minui": (True, False),
    "arith.maxui": (False, False),
}
"""Op -> (is a minimum, is signed)."""


def _ranges(op: Op, analysis: RangeAnalysis, signed: bool) -> tuple[Range, Range] | None:
    a, b = (analysis.of(v) for v in op.operands)
    if a is None or b is None or (not signed and min(a.low, b.low) < 0):
        return None
    return a, b


def _fold_extreme(op: Op, analysis: RangeAnalysis) -> bool:
    minimum, signed = _EXTREMES[op.name]
    found = _ranges(op, analysis, signed)
    if found is None:
        return False
    a, b = found
    kept: Value | None = None
    if a.high <= b.low:
        kept = op.operands[0 if minimum else 1]
    elif b.high <= a.low:
        kept = op.operands[1 if minimum else 0]
    if kept is None:
        return False
    if kept.hint is None:
        kept.hint = op.results[0].hint
    op.replace_by([kept])
    return True


def _less(a: Range, b: Range) -> bool | None:
    return True if a.high < b.low else False if a.low >= b.high else None


def _less_or_equal(a: Range, b: Range) -> bool | None:
    return True if a.high <= b.low else False if a.low > b.high else None


def _equal(a: Range, b: Range) -> bool | None:
    if a.high < b.low or b.high < a.low:
        return False
    return True if a.single is not None and a == b else None


def _not(answer: bool | None) -> bool | None:
    return None if answer is None else not answer


_DECIDE: dict[str, Callable[[Range, Range], bool | None]] = {
    "eq": _equal,
    "ne": lambda a, b: _not(_equal(a, b)),
    "lt": _less,
    "le": _less_or_equal,
    "gt": lambda a, b: _less(b, a),
    "ge": lambda a, b: _less_or_equal(b, a),
}


def _fold_comparison(op: Any, analysis: RangeAnalysis) -> bool:
    predicate = op.predicate_name
    signed = predicate in ("eq", "ne") or predicate.startswith("s")
    found = _ranges(op, analysis, signed)
    if found is None:
        return False
    answer = _DECIDE[predicate if predicate in _DECIDE else predicate[1:]](*found)
    if answer is None:
        return False
    op.replace_by([Builder.before_op(op).insert(arith.Constant.of(answer, i1)).result])
    return True
