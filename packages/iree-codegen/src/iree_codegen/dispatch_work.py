"""How much a dispatch has to do at least: operations and bytes, as expressions over its scalar arguments.

Operations are those of the model: a product of ``m x k`` by ``k x n`` has ``2 m n k``, whatever the strategy
does. Bytes are every binding read once and written once; of a table that only slices or single elements are
taken from, what is taken. So the time of a dispatch divided by these, against the machine's peaks, says how
far it is from the best possible (a roofline).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Any

from iree_base.element_types import element_type
from iree_base.postfix import Number
from iree_base.records import record
from iree_codegen import dims as dim_ops
from iree_codegen.dims import Dim
from iree_codegen.dispatch import READ, READWRITE, Dispatch
from iree_codegen.errors import CodegenError
from iree_core_ir.dialects.linalg_structured import StructuredOp
from iree_core_ir.ir.operation import BlockArgument, Op, Value
from iree_core_ir.ir.types import FloatType, IntegerType, TensorType

_FREE = (
    "ext",
    "trunc",
    "cmp",
    "constant",
    "select",
    "bitcast",
    "sitofp",
    "uitofp",
    "fptosi",
    "fptoui",
    "index",
)
"""Beginnings of arith ops that move, compare or convert."""
_PLAIN_MATH = ("absf", "absi", "ceil", "copysign", "floor", "round", "roundeven", "trunc", "sqrt", "rsqrt")
"""Ops of ``math`` that processors have; the others are computed by series."""
_RESHAPES = ("tensor.expand_shape", "tensor.collapse_shape", "tensor.cast")

_OPERATORS = {
    "add": "+",
    "sub": "-",
    "mul": "*",
    "floordiv": "//",
    "ceildiv": "/^",
    "mod": "%",
    "min": "min",
    "max": "max",
}


@record(frozen=True)
class DispatchWork:
    """``flops``: additions, multiplications and the like, of floats or integers. ``transcendentals``: exp,
    tanh and the like. ``constants``, ``read``, ``written``: bytes of weights, of other inputs, of results.
    """

    flops: Dim = 0
    transcendentals: Dim = 0
    constants: Dim = 0
    read: Dim = 0
    written: Dim = 0

    def numbers(self, dispatch: Dispatch) -> dict[str, Number]:
        """Every figure over the constant words that the kernel is called with; those that depend on
        something else are left out.
        """
        words = {s.argument: (s.first, s.words) for s in dispatch.scalars}
        result: dict[str, Number] = {}
        for field in fields(self):
            dim: Dim = getattr(self, field.name)
            if isinstance(dim, int):
                result[field.name] = dim
                continue
            tokens = _postfix(dim, words)
            if tokens is not None:
                result[field.name] = tokens
        return result


def work_of(dispatch: Dispatch) -> DispatchWork:
    """What ``dispatch`` has to do."""
    flops: Dim = 0
    transcendentals: Dim = 0
    for op in dispatch.ops:
        try:
            some, others = _operations(dispatch, op)
        except CodegenError:
            continue
        flops = dim_ops.add(flops, some)
        transcendentals = dim_ops.add(transcendentals, others)
    constants: Dim = 0
    read: Dim = 0
    for binding in dispatch.bindings:
        if binding.access not in (READ, READWRITE):
            continue
        nbytes = dim_ops.mul(_elements_read(dispatch, binding.value), _width(binding.value))
        if binding.constant:
            constants = dim_ops.add(constants, nbytes)
        else:
            read = dim_ops.add(read, nbytes)
    written: Dim = 0
    for value, _ in dispatch.results:
        written = dim_ops.add(written, dim_ops.mul(_elements_written(dispatch, value), _width(value)))
    return DispatchWork(flops, transcendentals, constants, read, written)


def _width(value: Value) -> int:
    return element_type(str(value.type.element_type)).bytes


# -- operations ------------------------------------------------------------------------------------------


def _operations(dispatch: Dispatch, op: Op) -> tuple[Dim, Dim]:
    if isinstance(op, StructuredOp):
        flops, others = _scalar_operations(op.body)
        if not flops and not others:
            return 0, 0
        count = dim_ops.total(dispatch.loop_dims(op))
        return dim_ops.mul(count, flops), dim_ops.mul(count, others)
    special = _SPECIAL.get(op.name)
    return special(dispatch, op) if special is not None else (0, 0)


def _scalar_operations(body: Any) -> tuple[int, int]:
    flops = transcendentals = 0
    for op in body:
        dialect, _, name = op.name.partition(".")
        if not op.results or not isinstance(op.results[0].type, (FloatType, IntegerType)):
            continue
        if dialect == "math":
            if name == "fma":
                flops += 2
            elif name in _PLAIN_MATH:
                flops += 1
            else:
                transcendentals += 1
        elif dialect == "arith" and not name.startswith(_FREE) and op.results[0].type.width > 1:
            flops += 1
    return flops, transcendentals


def _softmax(dispatch: Dispatch, op: Any) -> tuple[Dim, Dim]:
    count = dim_ops.total(dispatch.dims(op.outputs[0]))
    return dim_ops.mul(count, 4), count


def _scan(dispatch: Dispatch, op: Any) -> tuple[Dim, Dim]:
    return dim_ops.total(dispatch.dims(op.outputs[0])), 0


def _attention(dispatch: Dispatch, op: Any) -> tuple[Dim, Dim]:
    query, value = dispatch.dims(op.inputs[0]), dispatch.dims(op.inputs[2])
    scores = dim_ops.mul(dim_ops.total(query[:-1]), value[-2])
    depth = dim_ops.add(query[-1], value[-1])
    # Scale, maximum, difference and sum of every score.
    return dim_ops.mul(scores, dim_ops.add(dim_ops.mul(depth, 2), 4)), scores


def _recurrence(dispatch: Dispatch, op: Any) -> tuple[Dim, Dim]:
    steps = dim_ops.total(dispatch.dims(op.outputs[0])[:-1])
    flops = transcendentals = 0
    for weight, region in zip(op.weights, op.regions, strict=True):
        some, others = _scalar_operations(region.block)
        flops += 2 * int(weight.type.shape[0]) * int(weight.type.shape[1]) + some * op.size
        transcendentals += others * op.size
    return dim_ops.mul(steps, flops), dim_ops.mul(steps, transcendentals)


_SPECIAL: dict[str, Callable[[Dispatch, Any], tuple[Dim, Dim]]] = {
    "linalg_ext.softmax": _softmax,
    "linalg_ext.scan": _scan,
    "linalg_ext.attention": _attention,
    "linalg_ext.recurrence": _recurrence,
}
"""Ops without a body that says it; those not here only move or compare."""


# -- bytes -----------------------------------------------------------------------------------------------


def _elements_read(dispatch: Dispatch, value: Value) -> Dim:
    whole = dim_ops.total(dispatch.dims(value))
    taken: Dim = 0
    for user in set(value.users):
        part = _part_read(dispatch, user, value)
        if part is None:
            return whole
        taken = dim_ops.add(taken, part)
    if isinstance(taken, int) and isinstance(whole, int):
        return min(taken, whole)
    return dim_ops.minimum(taken, whole)


def _part_read(dispatch: Dispatch, user: Op, value: Value) -> Dim | None:
    """How many elements of ``value`` the op ``user`` takes where it does not take all."""
    try:
        if user.name == "tensor.dim":
            return 0
        if user.name == "tensor.extract_slice":
            return dim_ops.total(dispatch.dims(user.results[0]))
        if user.name == "tensor.insert_slice" and user.operands[1] is value:
            return 0
        if user.name in _RESHAPES:
            return _elements_read(dispatch, user.results[0])
        if user.name == "tensor.extract":
            loops = next((op for op in _enclosing(user) if isinstance(op, StructuredOp)), None)
            return 1 if loops is None else dim_ops.total(dispatch.loop_dims(loops))
        if user.name == "linalg_ext.gather" and user.operands[0] is value:
            return dim_ops.total(dispatch.dims(user.results[0]))
    except CodegenError:
        pass
    return None


def _enclosing(op: Op) -> Iterator[Op]:
    parent = op.parent_op
    while parent is not None:
        yield parent
        parent = parent.parent_op


def _elements_written(dispatch: Dispatch, value: Value) -> Dim:
    """Elements of a result; of one that is an argument with parts replaced, those parts."""
    replaced: Dim = 0
    current = value
    while (op := current.defining_op) is not None and op.name == "tensor.insert_slice":
        source = op.operands[0]
        if isinstance(source.type, TensorType):
            replaced = dim_ops.add(replaced, dim_ops.total(dispatch.dims(source)))
        current = op.operands[1]
    if isinstance(current, BlockArgument) and current is not value:
        return replaced
    return dim_ops.total(dispatch.dims(value))


# -- text ------------------------------------------------------------------------------------------------


def _postfix(dim: Dim, words: dict[int, tuple[int, int]]) -> list[int | str] | None:
    if isinstance(dim, int):
        return [dim]
    if dim.kind == "arg":
        place = words.get(dim.a)
        return None if place is None else [f"{'d' if place[1] == 2 else 'w'}{place[0]}"]
    if dim.kind not in _OPERATORS:
        return None
    left, right = _postfix(dim.a, words), _postfix(dim.b, words)
    return None if left is None or right is None else [*left, *right, _OPERATORS[dim.kind]]


__all__ = ["DispatchWork", "work_of"]
