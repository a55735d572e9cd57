"""The default fusion policy: which ops share a dispatch. Read top to bottom; data over branches.

Every dense op has a *kind*; a group takes the kind of its root. An op may join the group of a value it
reads when the table ``JOINS`` allows it and the access is one the group's iteration can serve:

- an elementwise op joins a contraction, convolution, pooling or gather that feeds it through an identity
  map and has no other user (its epilogue: bias, activation, residual);
- rows: reductions over trailing dims and elementwise ops over the same outer dims share a dispatch, so
  that a softmax or norm written as several ops reads its input once. Values used outside the group
  become further results;
- a pad joins the op it feeds, reshapes never move data and stand outside.
"""

from __future__ import annotations

import functools
import math
from typing import Any

from iree_base.records import field, record
from iree_core_ir.dialects.linalg_structured import StructuredOp
from iree_core_ir.ir.affine import AffineDim, AffineMap
from iree_core_ir.ir.operation import Op, Value
from iree_core_ir.ir.types import TensorType, f32

ELEMENTWISE, REDUCTION, CONTRACTION, CONVOLUTION, POOLING = (
    "elementwise",
    "reduction",
    "contraction",
    "convolution",
    "pooling",
)
SOFTMAX, GATHER, PAD, COPY, OTHER = "softmax", "gather", "pad", "copy", "other"

CHAIN_BYTES = 1 << 20
"""A wide image of so many bytes would not stay in the L2 cache between the ops that make and read it."""

EPILOGUE_ROOTS = frozenset({CONTRACTION, CONVOLUTION, POOLING, GATHER})


STRUCTURED = "structured"
"""In place of a kind: it follows from maps, iterators and body."""


def is_structured(op: Op) -> bool:
    """A linalg op with indexing maps and a body."""
    return isinstance(op, StructuredOp) and op.dialect == "linalg"


def kind_of(op: Op) -> str | None:
    """The kind of a dense op; None for ops that are no device work (scalars, dims, reshapes, constants)."""
    kind = _kind_by_name(op.name, isinstance(op, StructuredOp))
    return _structured_kind(op) if kind is STRUCTURED else kind


@functools.lru_cache(maxsize=1 << 10)
def _kind_by_name(name: str, structured: bool) -> str | None:
    """The kind of all ops of that name, or ``STRUCTURED``."""
    if name == "linalg_ext.softmax":
        return SOFTMAX
    if name == "linalg_ext.gather":
        return GATHER
    if name == "tensor.pad":
        return PAD
    if name == "linalg.copy":
        return ELEMENTWISE
    if name in _COPIES:
        return COPY
    dialect = name.partition(".")[0]
    if structured and dialect == "linalg":
        if "conv" in name:
            return CONVOLUTION
        return POOLING if "pooling" in name else STRUCTURED
    if dialect == "linalg_ext" or name in _DENSE_TENSOR_OPS:
        return OTHER
    return None


_COPIES = frozenset({"tensor.concat", "tensor.extract_slice", "tensor.insert_slice"})
_DENSE_TENSOR_OPS = frozenset(
    {
        "tensor.generate",
        "tensor.splat",
        "tensor.from_elements",
        "tensor.gather",
        "tensor.insert",
        "tensor.scatter",
    }
)


def _structured_kind(op: Any) -> str:
    access = _access(op.indexing_maps, op.iterator_types, op.n_inputs)
    if access.contracts and _multiplies(op):
        return CONTRACTION
    if access.slides and isinstance(op.inputs[1].type, TensorType):
        return CONVOLUTION if op.body.args[1].uses else POOLING
    return access.kind


def _multiplies(op: Any) -> bool:
    return any(inner.name in ("arith.mulf", "arith.muli") for inner in op.body)


@record(frozen=True)
class _Access:
    """What maps and iterators say of a structured op, whatever it computes."""

    kind: str
    """What it is if it is no contraction and no window."""
    contracts: bool = False
    """Two inputs, each missing a dimension the other has, are summed: a contraction if multiplied."""
    slides: bool = False
    """The first of two inputs is read at sums of a parallel and a reduction loop: a window."""


# Maps are interned and a model has few different ones: each way to read and write is judged once.
@functools.lru_cache(maxsize=1 << 12)
def _access(maps: tuple[AffineMap, ...], iterators: tuple[str, ...], n_inputs: int) -> _Access:
    outputs = maps[n_inputs:]
    if all(t == "parallel" for t in iterators):
        return _Access(ELEMENTWISE if all(m.is_permutation for m in outputs) else OTHER)
    parallel = [t == "parallel" for t in iterators]
    leading = parallel.index(False)
    trailing = not any(parallel[leading:])
    rows = trailing and all(m is AffineMap.select(len(iterators), range(leading)) for m in outputs)
    return _Access(
        REDUCTION if rows else OTHER,
        _contracts(maps, iterators, n_inputs),
        _reads_windows(maps, iterators, n_inputs),
    )


def is_pointwise(op: Any) -> bool:
    """A 1x1 convolution of f32 images in channel blocks (``iree_flow.blocked_ops.Dense``), sizes known."""
    if _blocked_loops(op) != (5, 4) or op.inputs[0].type.element_type is not f32:
        return False
    weights = op.inputs[1].type.shape
    return len(weights) == 6 and weights[2:4] == (1, 1) and op.inputs[0].type.shape[1:] == (
        weights[1], *op.results[0].type.shape[2:4], weights[4],
    )  # fmt: skip


def is_lanewise(op: Any) -> bool:
    """A window over images in channel blocks that keeps each channel to itself, sizes known."""
    return _blocked_loops(op) == (5, 2)


def is_total(op: Any) -> bool:
    """Sums over whole images in channel blocks, sizes known."""
    if not is_lanewise(op) or kind_of(op) != POOLING or op.results[0].type.shape[2:4] != (1, 1):
        return False
    sums = [inner.name for inner in op.body][:-1] == ["arith.addf"]
    return sums and op.operands[0].type.shape[2:4] == op.inputs[1].type.shape


def sums_up(group: Group, op: Any) -> bool:
    """``op`` sums the image that one depthwise convolution of channel blocks makes: done as it is made."""
    windows = [member for member in group.ops if kind_of(member) in (CONVOLUTION, POOLING)]
    return is_total(op) and len(windows) == 1 and is_lanewise(windows[0]) and not is_total(windows[0])


def _blocked_loops(op: Any) -> tuple[int, int] | None:
    """Parallel and reduction loops of a window over images in channel blocks of known size."""
    if op.name != "linalg.generic" or not _slides(op):
        return None
    if any(size < 0 for value in (op.inputs[0], op.results[0]) for size in value.type.shape[1:]):
        return None
    parallel = list(op.iterator_types).count("parallel")
    return parallel, len(op.iterator_types) - parallel


def continues_chain(group: Group, op: Any) -> bool:
    """``op`` reads what a group of 1x1 convolution (and window) makes, and is best computed with it.

    A window over a wide image that would go to memory and back; and the 1x1 convolution behind that.
    """
    windows = [member for member in group.ops if kind_of(member) == CONVOLUTION]
    if len(windows) == 1 and is_pointwise(windows[0]) and is_lanewise(op):
        shape: tuple[int, ...] = windows[0].results[0].type.shape
        return 4 * math.prod(shape[1:]) >= CHAIN_BYTES
    if not windows or not is_lanewise(windows[-1]) or not is_pointwise(op):
        return False
    if len(windows) == 1:
        # One that widens the image had better go with the window behind it.
        out, own = op.inputs[1].type.shape[:2]
        return bool(out < own) and 4 * math.prod(windows[0].results[0].type.shape[1:]) >= CHAIN_BYTES
    return len(windows) == 2 and is_pointwise(windows[0])


def _slides(op: Any) -> bool:
    """The first of two inputs is read at sums of a parallel and a reduction loop: a window."""
    access = _access(op.indexing_maps, op.iterator_types, op.n_inputs)
    return access.slides and isinstance(op.inputs[1].type, TensorType)


def _reads_windows(maps: tuple[AffineMap, ...], iterators: tuple[str, ...], n_inputs: int) -> bool:
    if n_inputs != 2 or len(maps) != 3 or not all(m.is_projected_permutation for m in maps[1:]):
        return False
    return any(len({iterators[d] for d in e.dims_used()}) == 2 for e in maps[0].results)


def _contracts(maps: tuple[AffineMap, ...], iterators: tuple[str, ...], n_inputs: int) -> bool:
    if n_inputs != 2 or len(maps) != 3 or not all(m.is_projected_permutation for m in maps):
        return False
    used = [m.dims_used() for m in maps]
    reduced = {i for i, t in enumerate(iterators) if t != "parallel"}
    return reduced <= used[0] and reduced <= used[1] and len(used[0] | used[1]) == len(iterators)


def iterators_of(op: Any) -> list[str]:
    """The loops of a structured op; a softmax along its last axis has those of a row reduction."""
    if op.name == "linalg_ext.softmax":
        return ["parallel"] * (op.results[0].type.rank - 1) + ["reduction"]
    return list(op.iterator_types)


def is_row_op(op: Any) -> bool:
    """An op that a row group may hold: elementwise, a trailing reduction, or a softmax of rows."""
    if op.name == "linalg_ext.softmax":
        return bool(op.dimension.value == op.results[0].type.rank - 1)
    return is_structured(op) and kind_of(op) in (ELEMENTWISE, REDUCTION)


def extents(op: Any) -> list[tuple[Value, int]]:
    """Per loop of a structured op (or softmax): an operand and axis that has its extent."""
    if op.name == "linalg_ext.softmax":
        return [(op.outputs[0], axis) for axis in range(op.results[0].type.rank)]
    result: list[tuple[Value, int] | None] = [None] * len(op.iterator_types)
    for operand, map in zip([*op.inputs, *op.outputs], op.indexing_maps, strict=True):
        for axis, expr in enumerate(map.results):
            if isinstance(expr, AffineDim) and result[expr.position] is None:
                result[expr.position] = (operand, axis)
    return result  # type: ignore[return-value]


@record
class Group:
    """Ops of one future dispatch, in program order."""

    root: Op
    kind: str
    ops: list[Op] = field(default_factory=list)
    outer: tuple[Any, ...] | None = None
    """Row groups: the extents of the outer dims."""

    @property
    def last(self) -> Op:
        return self.ops[-1]


def reads_identity(consumer: Any, value: Value) -> bool:
    """True when a structured ``consumer`` reads ``value`` at exactly its own iteration point."""
    maps = consumer.indexing_maps
    n = len(consumer.iterator_types)
    found = False
    for operand, map in zip(consumer.inputs, maps, strict=False):
        if operand is value:
            if map is not AffineMap.identity(n):
                return False
            found = True
    return found and value not in consumer.outputs


def reads_rows(consumer: Any, value: Value, n_outer: int) -> bool:
    """True when ``consumer`` reads ``value`` by its own loops in order, trailing loops possibly dropped."""
    if consumer.name == "linalg_ext.softmax":
        return value not in consumer.outputs
    n = len(consumer.iterator_types)
    for operand, map in zip(consumer.inputs, consumer.indexing_maps, strict=False):
        if operand is value:
            rank = len(map.results)
            if rank not in (n_outer, n) or map is not AffineMap.select(n, range(rank)):
                return False
    return value not in consumer.outputs


def only_used_by(value: Value, op: Op) -> bool:
    return all(user is op for user in value.uses)


def same_type_shape(a: Value, b: Value) -> bool:
    return isinstance(a.type, TensorType) and isinstance(b.type, TensorType) and a.type.shape == b.type.shape
