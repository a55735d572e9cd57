"""What a structured op's body computes, as far as running it on whole arrays needs to know."""

from __future__ import annotations

from collections.abc import Sequence

from iree_base.records import record
from iree_core_ir.ir.operation import Block, Op, Value
from iree_core_ir.ir.traits import ELEMENTWISE

WHOLE_ARRAY = frozenset(
    ("linalg.index", "tensor.extract", "tensor.dim", "affine.apply", "arith.constant", "index.constant")
)
"""Ops besides the elementwise ones whose meaning takes arrays in place of scalars."""
DIALECTS = frozenset(("arith", "math", "index", "complex"))

COMBINERS = {
    "arith.addf": "add",
    "arith.addi": "add",
    "arith.mulf": "mul",
    "arith.muli": "mul",
    "arith.maximumf": "maximum",
    "arith.minimumf": "minimum",
    "arith.maxnumf": "maxnum",
    "arith.minnumf": "minnum",
    "arith.maxsi": "maxs",
    "arith.minsi": "mins",
    "arith.maxui": "maxu",
    "arith.minui": "minu",
    "arith.andi": "and",
    "arith.ori": "or",
    "arith.xori": "xor",
}
"""Associative, commutative ops that a reduction may apply in any order."""


@record(frozen=True)
class Combination:
    """Output = ``kind(output, value)`` with ``value`` independent of all outputs."""

    kind: str
    op: Op
    value: Value
    factors: tuple[Value, Value] | None
    """``value`` is the product of these, if it is one and used nowhere else."""


def runs_on_arrays(block: Block) -> bool:
    """True when every op of the body can be evaluated once for the whole space."""
    for op in block:
        if op is block.last:
            continue
        if op.regions or op.successors:
            return False
        if ELEMENTWISE not in op.traits and op.dialect not in DIALECTS and op.name not in WHOLE_ARRAY:
            return False
    return True


def combinations(block: Block, outputs: Sequence[Value | None]) -> list[Combination] | None:
    """Per output how it is combined; None unless all are plain combinations.

    ``outputs`` are the body arguments of the outputs.
    """
    arguments = {o for o in outputs if o is not None}
    depends: set[Value] = set(arguments)
    for op in block:
        if op is not block.last and any(v in depends for v in op.operands):
            depends.update(op.results)
    found = []
    for yielded, output in zip(block.terminator.operands, outputs, strict=True):
        last = yielded.defining_op
        if output is None or last is None or last.parent is not block or last.name not in COMBINERS:
            return None
        if not (output.has_one_use and yielded.has_one_use) or output not in last.operands:
            return None
        a, b = last.operands
        value = b if a is output else a
        if value in depends:
            return None
        found.append(Combination(COMBINERS[last.name], last, value, _factors(value, block)))
    return found


def _factors(value: Value, block: Block) -> tuple[Value, Value] | None:
    op = value.defining_op
    if op is None or op.parent is not block or op.name not in ("arith.mulf", "arith.muli"):
        return None
    return (op.operands[0], op.operands[1]) if value.has_one_use else None
