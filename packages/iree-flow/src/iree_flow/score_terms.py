"""What happens to attention scores before their softmax: a constant factor, something added or masked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from iree_base.records import record
from iree_core_ir.dialects import arith, linalg, tensor
from iree_core_ir.dialects import linalg_scalars as scalars
from iree_core_ir.ir.affine import AffineDim, AffineExpr, AffineMap
from iree_core_ir.ir.builder import Builder
from iree_core_ir.ir.operation import BlockArgument, Value, single_block_region
from iree_core_ir.ir.types import TensorType, element_of, i1
from iree_flow.dims import DimResolver
from iree_flow.moved_elements import constant_number

LOWEST = -1e9
"""A score replaced by less than this counts as having it added: it is lost in rounding."""

Emit = Callable[[Builder, dict[Any, Any]], Value]
"""Builds a term from the body's values in another body."""


@record(frozen=True)
class Adjusted:
    """``factor * score + term``; ``keep`` instead of a term: the score where it holds, else -inf."""

    factor: float
    term: Emit | None = None
    keep: Value | None = None


def adjustment(op: linalg.Generic, score: int) -> Adjusted | None:
    """What the body of ``op`` makes of input ``score``; None when it is something else."""
    argument = op.body.args[score]
    found = _adjusted(op, op.body.terminator.operands[0], argument)
    if found is not None and found.keep is not None and found.term is not None:
        return None
    return found


def _depends(value: Value, on: Value) -> bool:
    if value is on:
        return True
    op = value.defining_op
    return op is not None and any(_depends(v, on) for v in op.operands)


def _number(op: linalg.Generic, value: Value) -> float | None:
    """A constant of the body, or an input full of one number."""
    if isinstance(value, BlockArgument) and value.owner is op.body:
        operand = op.operands[value.index]
        return constant_number(operand)
    return constant_number(value)


def _adjusted(op: linalg.Generic, value: Value, score: Value) -> Adjusted | None:
    if value is score:
        return Adjusted(1.0)
    inner = value.defining_op
    if inner is None:
        return None
    if inner.name == "arith.select":
        return _selected(op, inner, score)
    if inner.name not in ("arith.mulf", "arith.divf", "arith.addf", "arith.subf"):
        return None
    a, b = inner.operands
    if _depends(b, score):
        if inner.name in ("arith.divf", "arith.subf"):
            return None
        a, b = b, a
    if _depends(b, score):
        return None
    before = _adjusted(op, a, score)
    if before is None:
        return None
    if inner.name in ("arith.mulf", "arith.divf"):
        number = _number(op, b)
        if number is None or number <= 0.0:
            return None
        factor = number if inner.name == "arith.mulf" else 1.0 / number
        return Adjusted(before.factor * factor, _scaled(before.term, factor), before.keep)
    if before.keep is not None:
        return None
    added = _copied(op, b)
    if inner.name == "arith.subf":
        added = _negated(added)
    return Adjusted(before.factor, _sum(before.term, added))


def _selected(op: linalg.Generic, inner: Any, score: Value) -> Adjusted | None:
    condition, a, b = inner.operands
    if _depends(condition, score):
        return None
    kept_first = _depends(a, score)
    kept, other = (a, b) if kept_first else (b, a)
    if _depends(other, score):
        return None
    before = _adjusted(op, kept, score)
    number = _number(op, other)
    if before is None or before.keep is not None or number is None or not number <= LOWEST:
        return None
    if kept_first and number == float("-inf") and before.term is None:
        return Adjusted(before.factor, None, condition)
    copied = _copied(op, condition)

    def term(builder: Builder, mapping: dict[Any, Any]) -> Value:
        zero = scalars.constant(builder, 0.0, score.type)
        low = scalars.constant(builder, number, score.type)
        pair = (zero, low) if kept_first else (low, zero)
        return scalars.select(builder, copied(builder, mapping), *pair)

    return Adjusted(before.factor, _sum(before.term, term))


def _copied(op: linalg.Generic, value: Value) -> Emit:
    def emit(builder: Builder, mapping: dict[Any, Any]) -> Value:
        found: Value | None = mapping.get(value)
        if found is not None:
            return found
        inner = value.defining_op
        if inner is None or inner.parent is not op.body:
            return value
        for operand in inner.operands:
            mapping[operand] = _copied(op, operand)(builder, mapping)
        builder.insert(inner.clone(mapping))
        result: Value = mapping[value]
        return result

    return emit


def _scaled(term: Emit | None, factor: float) -> Emit | None:
    if term is None:
        return None

    def emit(builder: Builder, mapping: dict[Any, Any]) -> Value:
        value = term(builder, mapping)
        return builder.create(arith.MulF, value, scalars.constant(builder, factor, value.type)).result

    return emit


def _negated(term: Emit) -> Emit:
    def emit(builder: Builder, mapping: dict[Any, Any]) -> Value:
        value = term(builder, mapping)
        return builder.create(arith.NegF, value).result

    return emit


def _sum(a: Emit | None, b: Emit) -> Emit:
    if a is None:
        return b

    def emit(builder: Builder, mapping: dict[Any, Any]) -> Value:
        return builder.create(arith.AddF, a(builder, mapping), b(builder, mapping)).result

    return emit


def mask_of(
    builder: Builder, op: linalg.Generic, score: int, found: Adjusted, resolver: DimResolver
) -> tuple[Value, list[AffineExpr]] | None:
    """(mask, how it is read by the loops of ``op``): an input of ``op`` where it is one, else computed over
    those loops that it depends on. None when it depends on none."""
    used, loops = _uses(op, score)
    if found.keep is not None:
        emit, type = _copied(op, found.keep), i1
    else:
        assert found.term is not None
        emit, type = found.term, op.body.args[score].type
    direct = _direct(op, score, found)
    if direct is not None:
        return op.inputs[direct], list(op.indexing_maps[direct].results)
    if not loops:
        return None
    numbers = {loop: place for place, loop in enumerate(loops)}
    dims: list[AffineExpr] = [AffineDim(numbers.get(i, 0)) for i in range(op.n_loops)]
    maps = [AffineMap(len(loops), 0, [e.replace(dims) for e in op.indexing_maps[i].results]) for i in used]
    ranges = op.loop_ranges()
    sizes = []
    for loop in loops:
        size = ranges[loop]
        sizes.append(size if isinstance(size, int) else resolver.dims(op.operands[size[0]])[size[1]])
    target = builder.create(tensor.Empty, sizes, type).result
    inputs = [op.inputs[i] for i in used]
    region = single_block_region([element_of(v.type) for v in (*inputs, target)])
    mapping: dict[Any, Any] = {op.body.args[i]: a for i, a in zip(used, region.block.args, strict=False)}
    inside = Builder.at_end(region.block, op.location)
    for inner in op.body:
        if inner.name == "linalg.index" and inner.attributes["dim"].value in numbers:  # type: ignore[attr-defined]
            at = inside.create(linalg.Index, numbers[inner.attributes["dim"].value])  # type: ignore[attr-defined]
            mapping[inner.results[0]] = at.result
    inside.create(linalg.Yield, [emit(inside, mapping)])
    identity = AffineMap.identity(len(loops))
    made = builder.create(
        linalg.Generic, inputs, [target], [*maps, identity], ["parallel"] * len(loops), region
    )
    return made.results[0], [AffineDim(loop) for loop in loops]


def _direct(op: linalg.Generic, score: int, found: Adjusted) -> int | None:
    """The input that is the mask as it stands."""
    value = found.keep
    if value is None:
        argument, last = op.body.args[score], op.body.terminator.operands[0].defining_op
        if found.factor != 1.0 or last is None or last.name != "arith.addf" or len(list(op.body)) != 2:
            return None
        if argument not in last.operands:
            return None
        value = next((v for v in last.operands if v is not argument), argument)
    if not isinstance(value, BlockArgument) or value.owner is not op.body or value.index >= len(op.inputs):
        return None
    return value.index if isinstance(op.inputs[value.index].type, TensorType) else None


def _uses(op: linalg.Generic, score: int) -> tuple[list[int], list[int]]:
    """Inputs that anything but the score comes from, and the loops they and the indices depend on."""
    used = [i for i in range(len(op.inputs)) if i != score and op.body.args[i].uses]
    loops = {d for i in used for d in op.indexing_maps[i].dims_used()}
    loops |= {inner.attributes["dim"].value for inner in op.body if inner.name == "linalg.index"}  # type: ignore[attr-defined]
    return used, sorted(loops)


__all__ = ["Adjusted", "adjustment", "mask_of"]
