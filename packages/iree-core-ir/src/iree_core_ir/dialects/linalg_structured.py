"""The structured-op interface: what every ``linalg`` op, named or generic, tells about its loops.

A structured op runs a scalar ``body`` over an iteration space. Per operand an affine map gives the element
that an iteration reads or writes; per dim of the space an iterator type says whether iterations may run in
any order (``parallel``) or accumulate (``reduction``). Passes, strategies and the interpreter work on this
interface alone; a named op is a generic one whose maps and body follow from its name.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from iree_core_ir.dialects.effects import TensorOrMemRefOp
from iree_core_ir.errors import VerifyError
from iree_core_ir.ir.affine import AffineBinary, AffineConstant, AffineDim, AffineExpr, AffineMap
from iree_core_ir.ir.attributes import AffineMapAttr, ArrayAttr, Type
from iree_core_ir.ir.operation import Block, Value
from iree_core_ir.ir.traits import DESTINATION_STYLE, SINGLE_BLOCK
from iree_core_ir.ir.types import DYNAMIC, MemRefType, ShapedType, TensorType, element_of

PARALLEL, REDUCTION = "parallel", "reduction"

LoopRange = int | tuple[int, int]
"""A static size, or (operand index, axis) of the operand dim that gives the size at run time."""


class StructuredOp(TensorOrMemRefOp, traits=(DESTINATION_STYLE, SINGLE_BLOCK)):
    """Base of the structured ops; subclasses give maps, iterators and body."""

    __slots__ = ("_body",)  # where named ops keep the body they build on demand
    _body: Any

    inputs: Any
    """The operands read, in order (scalars, tensors, memrefs)."""
    outputs: Any
    """The destinations; with tensors, one result each."""

    # -- what subclasses provide -----------------------------------------------------------

    @property
    def indexing_maps(self) -> tuple[AffineMap, ...]:
        """One map an operand, from the loops to the operand's dims."""
        raise NotImplementedError(type(self).__name__)

    @property
    def iterator_types(self) -> tuple[str, ...]:
        """``parallel`` or ``reduction`` per loop."""
        raise NotImplementedError(type(self).__name__)

    @property
    def body(self) -> Block:
        """Scalar computation: one argument an operand, ended by ``linalg.yield`` of one value an output."""
        raise NotImplementedError(type(self).__name__)

    # -- what follows from it --------------------------------------------------------------

    @property
    def n_loops(self) -> int:
        return len(self.iterator_types)

    @property
    def n_inputs(self) -> int:
        return len(self.inputs)

    @property
    def on_tensors(self) -> bool:
        """True when the destinations are tensors, so that the op has results."""
        return bool(self.results)

    @property
    def parallel_dims(self) -> tuple[int, ...]:
        return tuple(i for i, kind in enumerate(self.iterator_types) if kind == PARALLEL)

    @property
    def reduction_dims(self) -> tuple[int, ...]:
        return tuple(i for i, kind in enumerate(self.iterator_types) if kind == REDUCTION)

    @property
    def has_index(self) -> bool:
        """True when the body asks for loop indices."""
        return any(op.name == "linalg.index" for op in self.body)

    def body_arguments(self) -> list[int]:
        """Which operand each body argument is; by default all, in order."""
        return list(range(len(self.operands)))

    def loop_ranges(self) -> tuple[LoopRange, ...]:
        """Per loop its static size, or (operand index, axis) of an operand dim of that size."""
        return _loop_ranges(self.indexing_maps, tuple([v.type for v in self.operands]), self.n_loops)

    def static_loop_ranges(self) -> tuple[int, ...]:
        """Per loop its size, DYNAMIC where only known at run time."""
        return _static_ranges(self.indexing_maps, tuple([v.type for v in self.operands]), self.n_loops)

    def uses_output(self, index: int) -> bool:
        """True when the body reads the initial value of output ``index``."""
        operand = self.n_inputs + index
        for argument, position in zip(self.body.args, self.body_arguments(), strict=False):
            if position == operand:
                return bool(argument.uses)
        return False

    def verify_op(self) -> None:
        verify_structured(self)


# Attributes are interned: what follows from one is worked out once.
@functools.lru_cache(maxsize=1 << 12)
def maps_of(maps: ArrayAttr) -> tuple[AffineMap, ...]:
    """The maps that an attribute ``indexing_maps`` holds."""
    return tuple(m.value for m in maps if isinstance(m, AffineMapAttr))


def loop_ranges(maps: Sequence[AffineMap], types: Sequence[Type], n_loops: int) -> tuple[LoopRange, ...]:
    """See StructuredOp.loop_ranges. Raises ValueError when a loop's size follows from no operand."""
    found: dict[int, LoopRange] = {}
    for operand, (map, type) in enumerate(zip(maps, types, strict=True)):
        if not isinstance(type, ShapedType):
            continue
        for axis, expr in enumerate(map.results):
            if isinstance(expr, AffineDim):
                size = type.shape[axis]
                if size != DYNAMIC and not isinstance(found.get(expr.position), int):
                    found[expr.position] = size
                elif expr.position not in found:
                    found[expr.position] = (operand, axis)
    missing = [d for d in range(n_loops) if d not in found]
    if missing:
        raise ValueError(f"no operand dim gives the size of loop d{missing[0]}")
    return tuple(found[d] for d in range(n_loops))


# Maps and types are interned: passes ask the same of the same op again and again.
@functools.lru_cache(maxsize=1 << 14)
def _loop_ranges(maps: tuple[AffineMap, ...], types: tuple[Type, ...], n_loops: int) -> tuple[LoopRange, ...]:
    return loop_ranges(maps, types, n_loops)


@functools.lru_cache(maxsize=1 << 14)
def _static_ranges(maps: tuple[AffineMap, ...], types: tuple[Type, ...], n_loops: int) -> tuple[int, ...]:
    return tuple(r if isinstance(r, int) else DYNAMIC for r in loop_ranges(maps, types, n_loops))


def operand_shape(type: Type) -> tuple[int, ...]:
    """The dims that an operand's map addresses; none for a scalar."""
    return type.shape if isinstance(type, ShapedType) else ()


def bounds(expr: AffineExpr, sizes: Sequence[int]) -> tuple[int, int] | None:
    """Least and greatest value of ``expr`` over a non-empty box; None when a size it needs is dynamic."""
    if isinstance(expr, AffineConstant):
        return expr.value, expr.value
    if isinstance(expr, AffineDim):
        size = sizes[expr.position]
        return None if size == DYNAMIC else (0, size - 1)
    if isinstance(expr, AffineBinary):
        a, b = bounds(expr.lhs, sizes), bounds(expr.rhs, sizes)
        if a is None or b is None:
            return None
        if expr.kind == "+":
            return a[0] + b[0], a[1] + b[1]
        if expr.kind == "*":
            products = [x * y for x in a for y in b]
            return min(products), max(products)
        if b[0] == b[1] and b[0] > 0:
            if expr.kind == "floordiv":
                return a[0] // b[0], a[1] // b[0]
            if expr.kind == "ceildiv":
                return -(-a[0] // b[0]), -(-a[1] // b[0])
            return (a[0], a[1]) if a[0] >= 0 and a[1] < b[0] else (0, b[0] - 1)
    return None


def verify_structured(op: StructuredOp) -> None:
    """Operands, maps, iterators, shapes, body and results agree. Raises VerifyError."""
    error = _loops_error(op.indexing_maps, op.iterator_types, tuple([v.type for v in op.operands]))
    if error is not None:
        raise VerifyError(op, error)
    outputs = op.outputs
    for value in outputs:
        if not isinstance(value.type, (TensorType, MemRefType)):
            raise VerifyError(op, f"an output must be a tensor or memref, got {value.type}")
    _verify_results(op, outputs)
    _verify_body(op, outputs)


@functools.lru_cache(maxsize=1 << 14)
def _loops_error(
    maps: tuple[AffineMap, ...], iterators: tuple[str, ...], types: tuple[Type, ...]
) -> str | None:
    """Why these maps, iterators and operand types make no loops; None when they do."""
    if len(maps) != len(types):
        return f"{len(maps)} indexing maps for {len(types)} operands"
    for kind in iterators:
        if kind not in (PARALLEL, REDUCTION, "window"):
            return f"unknown iterator type '{kind}'"
    for i, (map, type) in enumerate(zip(maps, types, strict=True)):
        if map.n_symbols:
            return f"the map of operand {i} has symbols: {map}"
        if map.n_dims != len(iterators):
            return f"the map of operand {i} has {map.n_dims} dims for {len(iterators)} loops"
        rank = len(operand_shape(type))
        if len(map.results) != rank:
            return f"operand {i} of type {type} needs a map of {rank} results: {map}"
    try:
        sizes = _static_ranges(maps, types, len(iterators))
    except ValueError as error:
        return f"invalid indexing maps: {error}"
    return _shapes_error(maps, types, sizes)


def _shapes_error(maps: tuple[AffineMap, ...], types: tuple[Type, ...], sizes: tuple[int, ...]) -> str | None:
    """Which operand dim does not fit loops of these sizes."""
    empty = 0 in sizes
    for i, (map, type) in enumerate(zip(maps, types, strict=True)):
        for axis, (expr, size) in enumerate(zip(map.results, operand_shape(type), strict=True)):
            if size == DYNAMIC:
                continue
            if isinstance(expr, AffineDim):
                expected = sizes[expr.position]
                if expected not in (DYNAMIC, size):
                    return (
                        f"dim {axis} of operand {i} is {size}, but loop d{expr.position} has size {expected}"
                    )
                continue
            reach = None if empty else bounds(expr, sizes)
            if reach is not None and not (reach[0] >= 0 and reach[1] < size):
                return (
                    f"dim {axis} of operand {i} has size {size}, "
                    f"but '{expr}' runs from {reach[0]} to {reach[1]}"
                )
    return None


def _verify_results(op: StructuredOp, outputs: Sequence[Value]) -> None:
    expected = [v.type for v in outputs if isinstance(v.type, TensorType)]
    if [r.type for r in op.results] != expected:
        got = ", ".join(str(r.type) for r in op.results)
        raise VerifyError(op, f"expected results ({', '.join(map(str, expected))}), got ({got})")


def _verify_body(op: StructuredOp, outputs: Sequence[Value]) -> None:
    block = op.body
    positions = op.body_arguments()
    if len(block.args) != len(positions):
        raise VerifyError(op, f"the body has {len(block.args)} arguments, expected {len(positions)}")
    operands = op.operands
    for argument, position in zip(block.args, positions, strict=True):
        wanted = element_of(operands[position].type)
        if argument.type is not wanted:
            raise VerifyError(op, f"body argument {argument.index} is {argument.type}, operand has {wanted}")
    last = block.last
    if last is None or last.name != "linalg.yield":
        raise VerifyError(op, "the body must end with linalg.yield")
    yielded: list[Any] = [v.type for v in last.operands]
    expected = [element_of(v.type) for v in outputs]
    if yielded != expected:
        raise VerifyError(
            op, f"the body yields ({', '.join(map(str, yielded))}) for ({', '.join(map(str, expected))})"
        )


def output_types(outputs: Sequence[Value]) -> list[Type]:
    """Result types of an op with these destinations: one per tensor."""
    return [v.type for v in outputs if isinstance(v.type, TensorType)]
