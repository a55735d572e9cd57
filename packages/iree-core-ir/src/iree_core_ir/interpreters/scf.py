"""Numpy meanings of ``scf``. Parallel loops run their instances one after another, in row-major order."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from iree_core_ir.dialects import scf
from iree_core_ir.dialects.mixed import Mixed
from iree_core_ir.errors import CoreIrError
from iree_core_ir.interpreter import Frame, implements, implements_terminator, scalar
from iree_core_ir.ir.operation import Op
from iree_core_ir.ir.types import IndexType


def _range(op: Op, lower: int, upper: int, step: int) -> range:
    if step <= 0:
        raise CoreIrError(12, f"the step of {op.name} is {step}", source=op.location.user_text())
    return range(lower, upper, step)


@implements(scf.For)
def for_(frame: Frame, op: scf.For, lower: Any, upper: Any, step: Any, *carried: Any) -> Any:
    block = op.block
    type = op.lower.type
    bounds = [int(lower), int(upper), int(step)]
    if op.unsigned_compare is not None:
        width = 64 if isinstance(type, IndexType) else type.width
        bounds = [b & ((1 << width) - 1) for b in bounds]
    counters: Iterable[Any] = _range(op, *bounds)
    if not isinstance(type, IndexType):
        counters = (scalar(i, type) for i in counters)
    values: tuple[Any, ...] = carried
    for i in counters:
        values = frame.run_block(block, (i, *values))
    return values


@implements(scf.If)
def if_(frame: Frame, op: scf.If, condition: Any) -> Any:
    region = op.then_region if condition else op.else_region
    return frame.run_region(region) if region.blocks else ()


@implements(scf.While)
def while_(frame: Frame, op: scf.While, *carried: Any) -> Any:
    values: tuple[Any, ...] = carried
    before, after = op.before_block, op.after_block
    while True:
        condition, *forwarded = frame.run_block(before, values)
        if not condition:
            return tuple(forwarded)
        values = frame.run_block(after, forwarded)


@implements(scf.ExecuteRegion)
def execute_region(frame: Frame, op: scf.ExecuteRegion) -> Any:
    return frame.run_region(op.body)


@implements(scf.IndexSwitch)
def index_switch(frame: Frame, op: scf.IndexSwitch, value: Any) -> Any:
    for case, region in zip(op.cases, op.case_regions, strict=True):
        if case == value:
            return frame.run_region(region)
    return frame.run_region(op.default_region)


def _box(op: Op, lower: Sequence[int], upper: Sequence[int], step: Sequence[int]) -> Iterable[Any]:
    return itertools.product(*[_range(op, *b) for b in zip(lower, upper, step, strict=True)])


@implements(scf.Parallel)
def parallel(frame: Frame, op: scf.Parallel, *operands: Any) -> Any:
    rank = len(op.lower)
    lower, upper, step = (operands[i * rank : (i + 1) * rank] for i in range(3))
    values = list(operands[3 * rank :])
    for counters in _box(op, lower, upper, step):
        contributions = frame.run_block(op.block, counters)
        reduce: Any = frame.terminator
        for i, (region, value) in enumerate(zip(reduce.combiners, contributions, strict=True)):
            (values[i],) = frame.run_region(region, (values[i], value))
    return tuple(values)


def _mixed(frame: Frame, mixed: Iterable[Mixed]) -> list[int]:
    return [m if isinstance(m, int) else int(frame.values[m]) for m in mixed]


@implements(scf.ForAll)
def forall(frame: Frame, op: scf.ForAll, *operands: Any) -> Any:
    bounds = [_mixed(frame, mixed) for mixed in (op.lower, op.upper, op.step)]
    initial = [frame.values[value] for value in op.outputs]
    # Instances see the initial outputs and insert into copies: none sees another's writes.
    results = [np.array(value) if isinstance(value, np.ndarray) else value for value in initial]
    positions = {argument: i for i, argument in enumerate(op.output_args)}
    for counters in _box(op, *bounds):
        for destination, index, value in frame.run_block(op.block, (*counters, *initial)):
            target = results[positions[destination]]
            target[index] = np.reshape(value, target[index].shape)
    return tuple(results)


@implements_terminator(scf.InParallel)
def in_parallel(frame: Frame, op: scf.InParallel) -> tuple[Any, ...]:
    """(destination argument, index, value) per ``tensor.parallel_insert_slice``."""
    insertions = []
    for insert in op.block:
        if insert.name != "tensor.parallel_insert_slice":
            raise CoreIrError(5, f"'{insert.name}' in {op.name}", source=insert.location.user_text())
        slice_op: Any = insert
        offsets, sizes, strides = (
            _mixed(frame, mixed)
            for mixed in (slice_op.mixed_offsets, slice_op.mixed_sizes, slice_op.mixed_strides)
        )
        index = tuple(
            slice(offset, offset + size * stride, stride)
            for offset, size, stride in zip(offsets, sizes, strides, strict=True)
        )
        insertions.append((slice_op.dest, index, frame.values[slice_op.source]))
    return tuple(insertions)
