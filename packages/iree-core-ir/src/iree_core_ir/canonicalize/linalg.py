"""Canonical forms of ``linalg``: fills folded in, unused operands and results gone, shapes static."""

from __future__ import annotations

import functools
from typing import Any

from iree_core_ir.canonicalize.shapes import cast_back, more_static, static_type
from iree_core_ir.dialects import arith, linalg, tensor
from iree_core_ir.dialects.linalg_structured import StructuredOp, loop_ranges, output_types
from iree_core_ir.ir.affine import AffineMap
from iree_core_ir.ir.attributes import (
    AffineMapAttr,
    ArrayAttr,
    DenseElementsAttr,
    FloatAttr,
    IntegerAttr,
)
from iree_core_ir.ir.declaration import segment_sizes
from iree_core_ir.ir.known_values import known_attribute
from iree_core_ir.ir.operation import Op, Value
from iree_core_ir.ir.traits import CONSTANT_LIKE
from iree_core_ir.ir.types import DYNAMIC, FloatType, IntegerType, ShapedType, TensorType
from iree_core_ir.rewriter import Rewriter, pattern

# -- operands and results that do nothing ------------------------------------------------------------


def _rebuild(
    op: linalg.Generic, keep_inputs: list[int], keep_outputs: list[int], rewriter: Rewriter
) -> linalg.Generic:
    """``op`` without the other operands, whose body arguments are unused."""
    n = op.n_inputs
    kept = [*keep_inputs, *(n + i for i in keep_outputs)]
    region = op.region.clone({})
    block = region.block
    last = block.terminator
    last.set_operands([last.operands[i] for i in keep_outputs])
    for i in reversed(range(len(block.args))):
        if i not in kept:
            block.erase_arg(i)
    attributes = dict(op.attributes)
    inputs = [op.operands[i] for i in keep_inputs]
    outputs = [op.outputs[i] for i in keep_outputs]
    attributes["indexing_maps"] = ArrayAttr([AffineMapAttr(op.indexing_maps[i]) for i in kept])
    attributes["operandSegmentSizes"] = segment_sizes(inputs, outputs)
    new = linalg.Generic([*inputs, *outputs], output_types(outputs), attributes, [region])
    return rewriter.insert(new)


def _determines_loops(op: linalg.Generic, operands: list[int]) -> bool:
    """The sizes of all loops follow from these operands alone."""
    try:
        loop_ranges(
            [op.indexing_maps[i] for i in operands], [op.operands[i].type for i in operands], op.n_loops
        )
    except ValueError:
        return False
    return True


@pattern(linalg.Generic)
def unused_inputs(op: linalg.Generic, rewriter: Rewriter) -> bool:
    """Inputs that the body does not read and that fix no loop's size."""
    n = op.n_inputs
    unread = [i for i, argument in enumerate(op.body.args[:n]) if not argument.uses]
    if not unread:
        return False
    kept = list(range(n))
    outputs = list(range(n, len(op.operands)))
    for i in unread:
        if _determines_loops(op, [k for k in kept if k != i] + outputs):
            kept.remove(i)
    if len(kept) == n:
        return False
    rewriter.replace(op, _rebuild(op, kept, list(range(len(op.outputs))), rewriter))
    return True


@pattern(linalg.Generic)
def equal_inputs(op: linalg.Generic, rewriter: Rewriter) -> bool:
    """The same value read through the same map twice."""
    operands = op.inputs
    if len(set(operands)) == len(operands):
        return False
    seen: dict[tuple[Value, AffineMap], int] = {}
    changed = False
    for i, key in enumerate(zip(operands, op.indexing_maps, strict=False)):
        first = seen.setdefault(key, i)
        if first != i and op.body.args[i].uses:
            rewriter.replace_value(op.body.args[i], op.body.args[first])
            changed = True
    if changed:
        rewriter.modified(op)
    return changed


@pattern(linalg.Generic)
def unused_outputs(op: linalg.Generic, rewriter: Rewriter) -> bool:
    """Results nobody uses, whose running value no other output needs."""
    if len(op.results) == 1 or len(op.outputs) != len(op.results):
        return False
    kept = list(range(len(op.results)))
    inputs = list(range(op.n_inputs))
    for i, result in enumerate(op.results):
        if result.uses or len(kept) == 1 or _feeds_others(op, i):
            continue
        rest = [k for k in kept if k != i]
        if _determines_loops(op, inputs + [op.n_inputs + k for k in rest]):
            kept = rest
    if len(kept) == len(op.results):
        return False
    new_op = op
    dropped = [i for i in range(len(op.results)) if i not in kept]
    region_args = op.body.args
    for i in dropped:
        # What computes the dropped value reads its running value: make it read anything of the type.
        argument = region_args[op.n_inputs + i]
        if argument.uses:
            _cut(new_op, i, rewriter)
    new = _rebuild(op, inputs, kept, rewriter)
    for i, result in zip(kept, new.results, strict=True):
        rewriter.replace_value(op.results[i], result)
    rewriter.erase(op)
    return True


def _slice_of(op: linalg.Generic, value: Value, into: set[Op]) -> None:
    """The body ops that ``value`` depends on."""
    producer = value.defining_op
    if producer is None or producer.parent is not op.body or producer in into:
        return
    into.add(producer)
    for operand in producer.operands:
        _slice_of(op, operand, into)


def _feeds_others(op: linalg.Generic, output: int) -> bool:
    """The running value of an output is needed by another output."""
    argument = op.body.args[op.n_inputs + output]
    terminator = op.body.terminator
    for i, value in enumerate(terminator.operands):
        if i == output:
            continue
        needed: set[Op] = set()
        _slice_of(op, value, needed)
        if value is argument or any(argument in inner.operands for inner in needed):
            return True
    return False


def _cut(op: linalg.Generic, output: int, rewriter: Rewriter) -> None:
    """Erase the body ops that serve only this output."""
    terminator = op.body.terminator
    own: set[Op] = set()
    _slice_of(op, terminator.operands[output], own)
    others: set[Op] = set()
    for i, value in enumerate(terminator.operands):
        if i != output:
            _slice_of(op, value, others)
    argument = op.body.args[op.n_inputs + output]
    operands = list(terminator.operands)
    operands[output] = argument
    terminator.set_operands(operands)
    for inner in reversed(op.body.ops):
        if inner in own and inner not in others and not any(r.uses for r in inner.results):
            rewriter.erase(inner)


@pattern(linalg.Generic, linalg.Copy, linalg.Map)
def identity(op: Any, rewriter: Rewriter) -> bool:
    """Outputs that are inputs, element by element, are those inputs."""
    body = op.body
    if body.first is not body.last or not op.results or len(op.outputs) != len(op.results):
        return False
    maps = op.indexing_maps
    values = []
    for i, yielded in enumerate(body.terminator.operands):
        argument = yielded.owner
        if argument is not body:
            return False
        position = op.body_arguments()[yielded.index]
        source = op.operands[position]
        target_map = maps[op.n_inputs + i]
        if maps[position] is not target_map or not target_map.is_permutation:
            return False
        if not isinstance(source.type, TensorType) or source.type.rank != op.results[i].type.rank:
            return False
        if not tensor.compatible_shapes(source.type.shape, op.results[i].type.shape):
            return False
        values.append(source)
    rewriter.replace(op, [cast_back(rewriter, v, r.type) for v, r in zip(values, op.results, strict=True)])
    return True


@pattern(StructuredOp)
def no_iterations(op: StructuredOp, rewriter: Rewriter) -> bool:
    """A loop of size 0: the outputs stay what they are."""
    for value in op.operands:
        if isinstance(value.type, ShapedType) and 0 in value.type.shape:
            break
    else:
        return False
    if not op.results or len(op.results) != len(op.outputs) or 0 not in op.static_loop_ranges():
        return False
    if isinstance(op, linalg.Fill):
        return False
    rewriter.replace(op, list(op.outputs))
    return True


@pattern(linalg.Index)
def index_of_unit_loop(op: linalg.Index, rewriter: Rewriter) -> bool:
    """0 in a loop of one iteration."""
    parent = op.ancestor(StructuredOp)
    if parent is None or parent.static_loop_ranges()[op.dim.value] != 1:
        return False
    rewriter.replace(op, rewriter.insert(arith.Constant.index(0)).result)
    return True


# -- constants and fills read by generics ----------------------------------------------------------------


@pattern(linalg.Generic)
def uniform_inputs(op: linalg.Generic, rewriter: Rewriter) -> bool:
    """An input that is the same everywhere (filled, splat, a rank-0 constant) is a scalar of the body."""
    changed = False
    for value, argument in zip(op.inputs, op.body.args, strict=False):
        if not argument.uses or not _may_be_uniform(value.owner.__class__):
            continue
        scalar = _uniform(value, argument.type, rewriter)
        if scalar is not None:
            rewriter.replace_value(argument, scalar)
            changed = True
    if changed:
        rewriter.modified(op)
    return changed


_SAME_ELEMENTS = (tensor.Cast, tensor.CollapseShape, tensor.ExpandShape, linalg.Broadcast)
"""What is the same everywhere stays so through these."""


@functools.cache
def _may_be_uniform(cls: type) -> bool:
    """What an op of this class gives may be the same everywhere."""
    return issubclass(cls, (*_SAME_ELEMENTS, linalg.Fill, tensor.Splat)) or (
        issubclass(cls, Op) and CONSTANT_LIKE in cls.traits
    )


def _uniform(value: Value, element: Any, rewriter: Rewriter) -> Value | None:
    """The scalar that every element of ``value`` is."""
    producer = value.defining_op
    while isinstance(producer, _SAME_ELEMENTS):
        producer = producer.operands[0].defining_op
    if isinstance(producer, linalg.Fill) and producer.inputs[0].type is element:
        filled: Value = producer.inputs[0]
        return filled
    if isinstance(producer, tensor.Splat):
        return producer.input
    if producer is None or not isinstance(value.type, TensorType):
        return None
    constant = known_attribute(producer.results[0])
    if isinstance(constant, DenseElementsAttr) and constant.splat and constant.type.n_elements:
        number = constant.to_array().flat[0]
        if isinstance(element, FloatType):
            return rewriter.insert(arith.Constant.make(FloatAttr(float(number), element))).result
        if isinstance(element, IntegerType):
            return rewriter.insert(arith.Constant.make(IntegerAttr(int(number), element))).result
    return None


# -- fills and data movement ----------------------------------------------------------------------------


@pattern(linalg.Transpose, linalg.Copy, linalg.Broadcast)
def movement_of_fill(op: Any, rewriter: Rewriter) -> bool:
    """A filled tensor moved about is a filled tensor."""
    if not op.results:
        return False
    inner = op.inputs[0].defining_op
    if not isinstance(inner, linalg.Fill) or not inner.results:
        return False
    if inner.inputs[0].type is not op.results[0].type.element_type:
        return False
    rewriter.replace_with(op, linalg.Fill, [inner.inputs[0]], [op.outputs[0]])
    return True


@pattern(tensor.ExtractSlice, tensor.CollapseShape, tensor.ExpandShape)
def shape_of_fill(op: Any, rewriter: Rewriter) -> bool:
    """The same op on what the fill overwrites, then the fill: its shape follows without building sizes."""
    inner = op.operands[0].defining_op
    if not isinstance(inner, linalg.Fill) or not inner.results:
        return False
    new = op.clone()
    new.set_operands([inner.outputs[0], *op.operands[1:]])
    rewriter.insert(new)
    rewriter.replace_with(op, linalg.Fill, [inner.inputs[0]], [new.results[0]])
    return True


@pattern(linalg.Fill)
def fill_over_written(op: linalg.Fill, rewriter: Rewriter) -> bool:
    """What a fill overwrites need not have been computed: its destination's destination will do."""
    if not op.results:
        return False
    producer = op.outputs[0].defining_op
    if not isinstance(producer, StructuredOp) or len(producer.results) != len(producer.outputs):
        return False
    target = producer.outputs[op.outputs[0].index]
    rewriter.replace_with(op, linalg.Fill, list(op.inputs), [target])
    return True


@pattern(linalg.Transpose)
def transpose_of_transpose(op: linalg.Transpose, rewriter: Rewriter) -> bool:
    """One permutation, or none."""
    if not op.results:
        return False
    order = op.permutation.values
    if list(order) == sorted(order):
        rewriter.replace(op, cast_back(rewriter, op.input, op.results[0].type))
        return True
    inner = op.input.defining_op
    if not isinstance(inner, linalg.Transpose) or not inner.results:
        return False
    both = [inner.permutation.values[i] for i in order]
    rewriter.replace_with(op, linalg.Transpose, inner.input, op.init, both)
    return True


@pattern(linalg.Broadcast)
def broadcast_of_broadcast(op: linalg.Broadcast, rewriter: Rewriter) -> bool:
    """One broadcast, or none."""
    if not op.results:
        return False
    added = set(op.dimensions.values)
    if not added:
        rewriter.replace(op, cast_back(rewriter, op.input, op.results[0].type))
        return True
    inner = op.input.defining_op
    if not isinstance(inner, linalg.Broadcast) or not inner.results:
        return False
    kept = [i for i in range(op.init.type.rank) if i not in added]
    both = sorted(added | {kept[i] for i in inner.dimensions.values})
    rewriter.replace_with(op, linalg.Broadcast, inner.input, op.init, both)
    return True


@pattern(linalg.Copy)
def copy_over_copy(op: linalg.Copy, rewriter: Rewriter) -> bool:
    """A memref copied to itself."""
    if op.results or op.inputs[0] is not op.outputs[0]:
        return False
    rewriter.erase(op)
    return True


# -- static shapes ---------------------------------------------------------------------------------------


def _reads_cast(op: Op) -> bool:
    return tensor.Cast in [value.owner.__class__ for value in op.operands]


@pattern(StructuredOp)
def inputs_through_casts(op: StructuredOp, rewriter: Rewriter) -> bool:
    """Inputs as static as they were before a cast hid it."""
    if not _reads_cast(op):
        return False
    operands = list(op.operands)
    changed = False
    for i in range(op.n_inputs):
        producer = operands[i].defining_op
        if isinstance(producer, tensor.Cast) and more_static(producer.source.type, producer.dest.type):
            operands[i] = producer.source
            changed = True
    if changed:
        rewriter.set_operands(op, operands)
    return changed


@pattern(StructuredOp)
def static_operands(op: StructuredOp, rewriter: Rewriter) -> bool:
    """Dims that another operand fixes: operands are cast to them, results cast back."""
    for value in op.operands:
        if isinstance(value.type, TensorType) and not value.type.is_static:
            break
    else:
        return False
    if len(op.results) != len(op.outputs) or not op.results:
        return False
    sizes = op.static_loop_ranges()
    operands: list[Value] = []
    changed = False
    for map, operand in zip(op.indexing_maps, op.operands, strict=True):
        type = operand.type
        if isinstance(type, TensorType) and not type.is_static:
            known = [sizes[p] if p is not None else DYNAMIC for p in map.dim_positions()]
            new_type = static_type(type, known)
            if new_type is not type:
                producer = operand.defining_op
                source = producer.source if isinstance(producer, tensor.Cast) else operand
                if source.type is not new_type:
                    source = rewriter.create(tensor.Cast, operand, new_type).dest
                operand = source
                changed = True
        operands.append(operand)
    if not changed:
        return False
    new = op.clone()
    new.set_operands(operands)
    new.set_result_types(output_types(new.outputs))
    rewriter.insert(new)
    rewriter.replace(
        op, [cast_back(rewriter, v, r.type) for v, r in zip(new.results, op.results, strict=True)]
    )
    return True


@pattern(StructuredOp)
def outputs_through_casts(op: StructuredOp, rewriter: Rewriter) -> bool:
    """A destination that only a cast made dynamic."""
    if not _reads_cast(op) or len(op.results) != len(op.outputs) or not op.results:
        return False
    operands = list(op.operands)
    changed = False
    for i in range(op.n_inputs, len(operands)):
        producer = operands[i].defining_op
        if isinstance(producer, tensor.Cast) and more_static(producer.source.type, producer.dest.type):
            operands[i] = producer.source
            changed = True
    if not changed:
        return False
    new = op.clone()
    new.set_operands(operands)
    new.set_result_types(output_types(new.outputs))
    rewriter.insert(new)
    rewriter.replace(
        op, [cast_back(rewriter, v, r.type) for v, r in zip(new.results, op.results, strict=True)]
    )
    return True


PATTERNS = [
    no_iterations,
    identity,
    inputs_through_casts,
    outputs_through_casts,
    static_operands,
    unused_outputs,
    uniform_inputs,
    equal_inputs,
    unused_inputs,
    index_of_unit_loop,
    movement_of_fill,
    shape_of_fill,
    fill_over_written,
    transpose_of_transpose,
    broadcast_of_broadcast,
    copy_over_copy,
]
