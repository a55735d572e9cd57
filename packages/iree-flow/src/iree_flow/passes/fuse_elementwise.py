"""``fuse-elementwise``: chains of elementwise ops become one ``linalg.generic``.

A producer whose only reader is an elementwise op or a reduction is computed inside it; pure data movement
(transposes, broadcasts) is folded into every reader's indexing map. A producer is not moved into a larger
iteration space when its body is expensive (division, roots, transcendentals): it would run more often.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from iree_core_ir.dialects import linalg
from iree_core_ir.dialects.func import FuncOp
from iree_core_ir.dialects.linalg_structured import StructuredOp
from iree_core_ir.ir.affine import AffineDim, AffineMap
from iree_core_ir.ir.builder import Builder
from iree_core_ir.ir.location import fuse
from iree_core_ir.ir.operation import Block, Op, Value, single_block_region
from iree_core_ir.ir.types import element_of
from iree_core_ir.pass_manager import Pass, PassContext
from iree_flow import fusion

EXPENSIVE = frozenset(
    {"arith.divf", "arith.divsi", "arith.divui", "arith.remsi", "arith.remui", "arith.remf"}
)
_CHEAP_MATH = frozenset({"math.absf", "math.absi", "math.fma", "math.floor", "math.ceil", "math.copysign"})


@dataclass
class FuseElementwise(Pass):
    name: ClassVar[str] = "fuse-elementwise"

    def run(self, module: Op, context: PassContext) -> None:
        for function in module.regions[0].block:
            if isinstance(function, FuncOp) and function.regions[0].blocks:
                for block in function.regions[0].blocks:
                    fuse_block(block)


def generalize_elementwise(block: Block) -> None:
    """Named elementwise ops and data movement as ``linalg.generic``."""
    for op in block.ops:
        if fusion.kind_of(op) == fusion.ELEMENTWISE and not isinstance(op, linalg.Generic):
            if isinstance(op, StructuredOp) and op.name != "linalg.fill":
                made = linalg.generalize(op, Builder.before_op(op))
                op.replace_by(list(made.results))


def fuse_block(block: Block) -> None:
    """Fuse until nothing changes; consumers in program order, so chains collapse in one sweep."""
    generalize_elementwise(block)
    for op in block.ops:
        if isinstance(op, linalg.Generic) and fusion.kind_of(op) in (fusion.ELEMENTWISE, fusion.REDUCTION):
            current = op
            while True:
                fused = _fuse_one(current)
                if fused is None:
                    break
                current = fused


def is_data_movement(op: StructuredOp) -> bool:
    """The body only passes one input on."""
    return len(list(op.body)) == 1


def is_expensive(op: StructuredOp) -> bool:
    return any(
        inner.name in EXPENSIVE or (inner.dialect == "math" and inner.name not in _CHEAP_MATH)
        for inner in op.body
    )


def _fusable_producer(consumer: linalg.Generic, position: int) -> linalg.Generic | None:
    value: Value = consumer.inputs[position]
    producer = value.defining_op
    if (
        not isinstance(producer, linalg.Generic)
        or producer.parent is not consumer.parent
        or len(producer.results) != 1
        or value in consumer.outputs
        or fusion.kind_of(producer) != fusion.ELEMENTWISE
        or producer.has_index
        or producer.uses_output(0)
    ):
        return None
    consumer_map = consumer.indexing_maps[position]
    if not _keeps_extents(producer, consumer, position):
        return None
    if is_data_movement(producer):
        return producer if _keeps_rows(producer, consumer) else None
    if not fusion.only_used_by(value, consumer):
        return None
    grows = not consumer_map.is_permutation
    if grows and (is_expensive(producer) or _grows_by_much(producer, consumer)):
        return None
    if sum(v is value for v in consumer.inputs) > 1 and is_expensive(producer):
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
    for position in range(len(consumer.inputs)):
        producer = _fusable_producer(consumer, position)
        if producer is not None:
            return merge(producer, consumer, position)
    return None


def merge(producer: linalg.Generic, consumer: linalg.Generic, position: int) -> linalg.Generic:
    """``consumer`` with its input ``position`` computed by ``producer``'s body; replaces ``consumer``."""
    to_producer = _producer_loops(producer, consumer.indexing_maps[position])
    operands: list[tuple[Value, AffineMap]] = []
    producer_args = [
        _operand(operands, value, map.compose(to_producer))
        for value, map in zip(producer.inputs, producer.indexing_maps, strict=False)
    ]
    consumer_args: list[int | None] = []
    for i, (value, map) in enumerate(zip(consumer.inputs, consumer.indexing_maps, strict=False)):
        same = value is consumer.inputs[position] and map is consumer.indexing_maps[position]
        consumer_args.append(None if i == position or same else _operand(operands, value, map))
    inputs = [value for value, _ in operands]
    outputs = list(consumer.outputs)
    region = single_block_region([element_of(v.type) for v in (*inputs, *outputs)])
    body = region.block
    mapping: dict[Any, Any] = {}
    for index, arg in zip(producer_args, producer.body.args, strict=False):
        mapping[arg] = body.args[index]
    value = _clone_body(producer.body, mapping, body)[0]
    inner: dict[Any, Any] = {}
    for own, arg in zip(consumer_args, consumer.body.args, strict=False):
        inner[arg] = value if own is None else body.args[own]
    for i in range(len(outputs)):
        inner[consumer.body.args[len(consumer.inputs) + i]] = body.args[len(inputs) + i]
    results = _clone_body(consumer.body, inner, body)
    body.append(linalg.Yield.make(results)).location = consumer.location
    maps = [map for _, map in operands] + list(consumer.indexing_maps[len(consumer.inputs) :])
    builder = Builder.before_op(consumer)
    builder.location = fuse([producer.location, consumer.location])
    made = builder.create(linalg.Generic, inputs, outputs, maps, list(consumer.iterator_types), region)
    _copy_discardable(consumer, made)
    for old, new in zip(consumer.results, made.results, strict=True):
        new.hint = old.hint
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


def _clone_body(source: Block, mapping: dict[Any, Any], target: Block) -> Sequence[Value]:
    for op in source:
        if op is source.last:
            return [mapping.get(v, v) for v in op.operands]
        target.append(op.clone(mapping))
    raise AssertionError("a body ends with a yield")


__all__ = ["FuseElementwise", "fuse_block", "is_data_movement", "merge"]
