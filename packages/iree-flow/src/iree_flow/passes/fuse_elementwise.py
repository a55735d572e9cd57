"""``fuse-elementwise``: chains of elementwise ops become one ``linalg.generic``.

A producer whose only reader is an elementwise op or a reduction is computed inside it; pure data movement
(transposes, broadcasts) is folded into every reader's indexing map. A producer is not moved into a larger
iteration space when its body is expensive (division, roots, transcendentals): it would run more often.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from iree_base.records import record
from iree_core_ir.dialects import linalg
from iree_core_ir.dialects.func import FuncOp
from iree_core_ir.dialects.linalg_structured import StructuredOp
from iree_core_ir.ir.affine import AffineDim, AffineMap
from iree_core_ir.ir.builder import Builder
from iree_core_ir.ir.location import fuse
from iree_core_ir.ir.operation import Block, Op, Value
from iree_core_ir.ir.types import element_of
from iree_core_ir.pass_manager import Pass, PassContext
from iree_flow import fusion
from iree_flow.generics import take_body

EXPENSIVE = frozenset(
    {"arith.divf", "arith.divsi", "arith.divui", "arith.remsi", "arith.remui", "arith.remf"}
)
_CHEAP_MATH = frozenset({"math.absf", "math.absi", "math.fma", "math.floor", "math.ceil", "math.copysign"})


@record
class FuseElementwise(Pass):
    name: ClassVar[str] = "fuse-elementwise"

    def run(self, module: Op, context: PassContext) -> bool:
        changed = False
        for function in module.regions[0].block:
            if isinstance(function, FuncOp) and function.regions[0].blocks:
                for block in function.regions[0].blocks:
                    changed |= fuse_block(block)
        return changed


def generalize_elementwise(block: Block) -> bool:
    """Named elementwise ops and data movement as ``linalg.generic``; tells whether there were any."""
    changed = False
    for op in block.ops:
        if not isinstance(op, StructuredOp) or isinstance(op, (linalg.Generic, linalg.Fill)):
            continue
        if fusion.kind_of(op) == fusion.ELEMENTWISE:
            made = linalg.generalize(op, Builder.before_op(op))
            op.replace_by(list(made.results))
            changed = True
    return changed


def fuse_block(block: Block) -> bool:
    """Fuse until nothing changes; consumers in program order, so chains collapse in one sweep. Tells whether
    anything changed.
    """
    changed = generalize_elementwise(block)
    for op in block.ops:
        if isinstance(op, linalg.Generic) and fusion.kind_of(op) in (fusion.ELEMENTWISE, fusion.REDUCTION):
            current = op
            while True:
                fused = _fuse_one(current)
                if fused is None:
                    break
                current = fused
                changed = True
    return changed


def is_data_movement(op: StructuredOp) -> bool:
    """The body only passes one input on."""
    body = op.body
    return body.first is body.last


def is_expensive(op: StructuredOp) -> bool:
    return any(
        inner.name in EXPENSIVE or (inner.dialect == "math" and inner.name not in _CHEAP_MATH)
        for inner in op.body
    )


def _fusable_producer(consumer: linalg.Generic, value: Value, position: int) -> linalg.Generic | None:
    """The op that makes ``value``, input ``position`` of ``consumer``, if it can be computed there."""
    producer = value.owner
    if not isinstance(producer, linalg.Generic) or producer.parent is not consumer.parent:
        return None
    moves = is_data_movement(producer)
    if (
        not (moves or fusion.only_used_by(value, consumer))
        or len(producer.results) != 1
        or value in consumer.outputs
        or fusion.kind_of(producer) != fusion.ELEMENTWISE
        or producer.has_index
        or producer.uses_output(0)
        or not _keeps_extents(producer, consumer, position)
    ):
        return None
    if moves:
        return producer if _keeps_rows(producer, consumer) else None
    expensive = is_expensive(producer)
    grows = not consumer.indexing_maps[position].is_permutation
    if grows and (expensive or _grows_by_much(producer, consumer)):
        return None
    if expensive and sum(v is value for v in consumer.inputs) > 1:
        return None
    return None if _leaves_sums(producer, consumer) else producer


def _leaves_sums(producer: linalg.Generic, consumer: linalg.Generic) -> bool:
    """The two read sums of different reductions, of which one dispatch takes only one: those of ``producer``
    would go to memory instead of the narrower elements that it makes of them.
    """

    def sums(op: linalg.Generic) -> set[Value]:
        makers = ((v, v.defining_op) for v in op.inputs)
        return {v for v, m in makers if isinstance(m, StructuredOp) and m.reduction_dims}

    def width(value: Value) -> int:
        element: Any = element_of(value.type)
        return getattr(element, "width", 0)

    own = sums(producer)
    return any(width(v) > width(producer.results[0]) for v in own) and bool(sums(consumer) - own)


def _keeps_extents(producer: linalg.Generic, consumer: linalg.Generic, position: int) -> bool:
    """Every loop still has an operand of its size: reducing a broadcast axis needs the broadcast value."""
    if all(t == "parallel" for t in consumer.iterator_types):
        return True
    to_producer = _producer_loops(producer, consumer.indexing_maps[position])
    value = producer.results[0]
    maps = [m for i, m in enumerate(consumer.indexing_maps) if consumer.operands[i] is not value]
    maps += [m.compose(to_producer) for m in producer.indexing_maps[: len(producer.inputs)]]
    found = {e.position for m in maps for e in m.results if isinstance(e, AffineDim)}
    return len(found) == len(consumer.iterator_types)


def _keeps_rows(producer: linalg.Generic, consumer: linalg.Generic) -> bool:
    """Data movement joins unless a reduction would then read a transposed operand."""
    if fusion.kind_of(consumer) != fusion.REDUCTION:
        return True
    maps = producer.indexing_maps
    return _monotonic(maps[0]) and _monotonic(maps[-1])


def _monotonic(map: AffineMap) -> bool:
    positions = [p for p in map.dim_positions() if p is not None]
    return positions == sorted(positions)


def _grows_by_much(producer: linalg.Generic, consumer: linalg.Generic) -> bool:
    """A broadcast value is kept when recomputing it per element means more than two loads."""
    return len(producer.inputs) > 2


def _fuse_one(consumer: linalg.Generic) -> linalg.Generic | None:
    for position, value in enumerate(consumer.inputs):
        producer = _fusable_producer(consumer, value, position)
        if producer is not None:
            return merge(producer, consumer, position)
    return None


def merge(producer: linalg.Generic, consumer: linalg.Generic, position: int) -> linalg.Generic:
    """``consumer`` with its input ``position`` computed by ``producer``'s body; replaces ``consumer``."""
    old_maps, old_inputs, outputs = consumer.indexing_maps, consumer.inputs, consumer.outputs
    to_producer = _producer_loops(producer, old_maps[position])
    operands: list[tuple[Value, AffineMap]] = []
    producer_args = [
        _operand(operands, value, map.compose(to_producer))
        for value, map in zip(producer.inputs, producer.indexing_maps, strict=False)
    ]
    consumer_args: list[int | None] = []
    for i, (value, map) in enumerate(zip(old_inputs, old_maps, strict=False)):
        same = value is old_inputs[position] and map is old_maps[position]
        consumer_args.append(None if i == position or same else _operand(operands, value, map))
    inputs = [value for value, _ in operands]
    consumer_args += range(len(inputs), len(inputs) + len(outputs))
    region = take_body(consumer)
    body = region.block
    old_args = list(body.args)
    new_args = [body.add_arg(element_of(v.type)) for v in (*inputs, *outputs)]
    computed = _prepend_body(producer, consumer, [new_args[i] for i in producer_args], body)
    for old, index in zip(old_args, consumer_args, strict=True):
        old.replace_all_uses_with(computed if index is None else new_args[index])
    body.args = new_args
    for i, arg in enumerate(new_args):
        arg.index = i
    body.terminator.location = consumer.location
    maps = [map for _, map in operands] + list(old_maps[len(old_inputs) :])
    builder = Builder.before_op(consumer)
    builder.location = fuse([producer.location, consumer.location])
    made = builder.create(linalg.Generic, inputs, outputs, maps, list(consumer.iterator_types), region)
    _copy_discardable(consumer, made)
    for result, new in zip(consumer.results, made.results, strict=True):
        new.hint = result.hint
    consumer.replace_by(list(made.results))
    if not producer.results[0].uses:
        producer.erase()
    return made


def _copy_discardable(source: Op, target: Op) -> None:
    for key, value in source.attributes.items():
        if key not in source.signature.inherent:
            target.attributes.setdefault(key, value)


def _producer_loops(producer: linalg.Generic, consumer_map: AffineMap) -> AffineMap:
    """Consumer loops -> producer loops: the inverse of the result's map behind the operand's map."""
    result_map = producer.indexing_maps[len(producer.inputs)]
    return result_map.inverse_permutation().compose(consumer_map)


def _operand(operands: list[tuple[Value, AffineMap]], value: Value, map: AffineMap) -> int:
    for i, (known, known_map) in enumerate(operands):
        if known is value and known_map is map:
            return i
    operands.append((value, map))
    return len(operands) - 1


def _prepend_body(
    producer: linalg.Generic, consumer: linalg.Generic, arguments: Sequence[Value], body: Block
) -> Value:
    """What ``producer`` yields for these inputs, computed at the start of ``body``: by its own ops if only
    ``consumer`` read it, else by copies.
    """
    source, first = producer.body, body.first
    assert first is not None
    ops = source.ops[:-1]
    if fusion.only_used_by(producer.results[0], consumer):
        for old, new in zip(source.args, arguments, strict=False):
            old.replace_all_uses_with(new)
        for op in ops:
            body.insert_before(op.detach(), first)
        return source.terminator.operands[0]
    mapping: dict[Any, Any] = dict(zip(source.args, arguments, strict=False))
    for op in ops:
        body.insert_before(op.clone(mapping), first)
    yielded = source.terminator.operands[0]
    found: Value = mapping.get(yielded, yielded)
    return found


__all__ = ["FuseElementwise", "fuse_block", "is_data_movement", "merge"]
