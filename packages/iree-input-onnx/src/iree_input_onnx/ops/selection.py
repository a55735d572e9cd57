"""Results as long as the data says: NonZero, Compress, NonMaxSuppression.

What is kept is counted, the count read back, and the positions of what is kept moved to the front.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from iree_core_ir.dialects import linalg_ext
from iree_core_ir.ir.affine import AffineMap
from iree_core_ir.ir.builder import Builder
from iree_core_ir.ir.operation import Value
from iree_input_onnx.carried import Carried
from iree_input_onnx.dims import Dim, minimum, product
from iree_input_onnx.elements import F32, I1, I64
from iree_input_onnx.emit import PARALLEL, REDUCTION, Emitter, body_index, extract
from iree_input_onnx.errors import Unsupported
from iree_input_onnx.indexing import normalize_axis
from iree_input_onnx.loops import Loop
from iree_input_onnx.node import Node
from iree_input_onnx.ops.cast import convert
from iree_input_onnx.ops.indexing import take
from iree_input_onnx.scalars import Scalar
from iree_input_onnx.table import onnx_op
from iree_input_onnx.values import Tensor


def positions_of(e: Emitter, flags: Tensor) -> Tensor:
    """Where the booleans ``flags`` [n] hold, in order: [count], the count read back from the device."""
    n = flags.shape[0]
    ones = convert(e, flags, I64)
    total = e.reduce(ones, [0], I64, 0, lambda acc, v: acc + v)
    scalar = e.scalar(e.scalars(total)[0], I64)
    count = e.space.symbol("count", scalar.to_index())
    before = e.named(linalg_ext.Scan.make(e.value(ones), e.empty([n], I64), 0, "add", True), [n], I64)
    behind = e.index(n)

    def place(flag: Scalar, at: Scalar) -> Scalar:
        """What is left out goes behind the last place."""
        return flag.select(at, Scalar.from_index(flag.builder, behind))

    places = e.unsqueeze(e.elementwise([flags, before], place, I64), [1])
    destination = (e.empty([n], I64), [n], I64)

    def here(builder: Builder, out: Scalar) -> Scalar:
        return Scalar.from_index(builder, body_index(builder, 0))

    numbers = e.generic([], [AffineMap.identity(1)], [PARALLEL], [destination], here)[0]
    room = e.filled([n + 1], I64, 0)

    def newest(builder: Builder, new: Value, old: Value) -> Value:
        return new

    moved = linalg_ext.Scatter.make(e.value(numbers), e.value(places), room, [0], newest)
    return e.slice(e.named(moved, [n + 1], I64), [0], [count])


def _coordinate(e: Emitter, flat: Tensor, behind: Dim, size: Dim) -> Tensor:
    """One coordinate of flat positions: ``flat // behind % size``."""
    below, extent = e.index(behind), e.index(size)

    def body(at: Scalar) -> Scalar:
        b = at.builder
        return (at / Scalar.from_index(b, below)) % Scalar.from_index(b, extent)

    return e.elementwise([flat], body, I64)


@onnx_op("NonZero")
def non_zero(e: Emitter, node: Node) -> Tensor:
    x = node.input(0)
    if x.n_elements is not None and x.is_constant:
        array = e.array(x)
        assert array is not None
        return e.constant(np.array(np.nonzero(np.atleast_1d(array))), I64)
    shape = x.shape or (1,)
    flat = e.reshape(x, [product(shape)])
    flags = flat if x.element == I1 else e.elementwise([flat], lambda v: v.differs(0), I1)
    found = positions_of(e, flags)
    rows = [
        e.unsqueeze(_coordinate(e, found, product(shape[axis + 1 :]), size), [0])
        for axis, size in enumerate(shape)
    ]
    return e.concat(rows, 0)


@onnx_op("Compress", since=9)
def compress(e: Emitter, node: Node) -> Tensor:
    x, condition = node.input(0), node.input(1)
    given = node.get("axis")
    if condition.rank != 1:
        raise node.error(f"a condition of rank {condition.rank}")
    if given is None:
        x, axis = e.reshape(x, [product(x.shape)]), 0
    else:
        axis = normalize_axis(given, x.rank)
    known = e.array(condition) if condition.n_elements is not None else None
    if known is not None:
        return take(e, x, e.constant(np.flatnonzero(known), I64), axis)
    return take(e, x, positions_of(e, condition), axis)


# -- boxes ----------------------------------------------------------------------------------------------


def _edges(e: Emitter, node: Node, boxes: Tensor) -> list[Tensor]:
    """Low and high edges, [batch, boxes] each: two of one direction, two of the other."""
    n, count = boxes.shape[:2]
    parts = [e.squeeze(e.slice(boxes, [0, 0, i], [n, count, 1]), [2]) for i in range(4)]
    if node.int("center_point_box", 0):
        x, y, w, h = parts
        pairs = [(y, h), (x, w)]
        return [
            e.elementwise([middle, size], lambda m, s, sign=sign: m + s * sign, boxes.element)
            for middle, size in pairs
            for sign in (-0.5, 0.5)
        ]
    edges = []
    for a, b in ((parts[0], parts[2]), (parts[1], parts[3])):
        edges.append(e.elementwise([a, b], lambda p, q: p.minimum(q), boxes.element))
        edges.append(e.elementwise([a, b], lambda p, q: p.maximum(q), boxes.element))
    return edges


def _number(e: Emitter, t: Tensor | None, number: float) -> Tensor:
    """A threshold as a scalar tensor."""
    return e.splat(number, (), F32) if t is None else e.reshape(t, ())


def _best(e: Emitter, scores: Tensor) -> tuple[Tensor, Tensor]:
    """The largest of the last axis, and where it is first."""
    rank = scores.rank
    shape = scores.shape[:-1]

    def body(builder: Builder, v: Scalar, best: Scalar, at: Scalar) -> list[Scalar]:
        better = v > best
        index = Scalar.from_index(builder, body_index(builder, rank - 1))
        return [better.select(v, best), better.select(index, at)]

    kept = AffineMap.select(rank, range(rank - 1))
    outputs = [
        (e.filled(shape, scores.element, -np.inf), shape, scores.element),
        (e.filled(shape, I64, 0), shape, I64),
    ]
    iterators = [PARALLEL] * (rank - 1) + [REDUCTION]
    best, at = e.generic([scores], [AffineMap.identity(rank), kept, kept], iterators, outputs, body)
    return best, at


def _without_neighbours(
    e: Emitter, scores: Tensor, edges: Sequence[Tensor], chosen: Tensor, limit: Tensor
) -> Tensor:
    """Scores [batch, class, box]; minus infinity for the chosen boxes and what overlaps them by more than
    ``limit`` of their common area.
    """
    values = [e.value(t) for t in edges]

    def body(builder: Builder, score: Scalar, at: Scalar, most: Scalar, out: Scalar) -> Scalar:
        batch, _, box = (body_index(builder, i) for i in range(3))
        picked = at.to_index()
        other = [extract(builder, t, v, [batch, picked]) for t, v in zip(edges, values, strict=True)]
        own = [extract(builder, t, v, [batch, box]) for t, v in zip(edges, values, strict=True)]
        shared = own_area = other_area = None
        for low in (0, 2):
            overlap = own[low + 1].minimum(other[low + 1]) - own[low].maximum(other[low])
            overlap = overlap.maximum(0)
            mine, theirs = own[low + 1] - own[low], other[low + 1] - other[low]
            shared = overlap if shared is None else shared * overlap
            own_area = mine if own_area is None else own_area * mine
            other_area = theirs if other_area is None else other_area * theirs
        assert shared is not None and own_area is not None and other_area is not None
        union = own_area + other_area - shared
        overlaps = (shared > most * union) & (own_area > 0) & (other_area > 0)
        itself = Scalar.from_index(builder, box).equals(at)
        return (overlaps | itself).select(score.like(-np.inf), score)

    whole = AffineMap.identity(3)
    maps = [whole, AffineMap.select(3, [0, 1]), AffineMap.select(3, []), whole]
    destination = (e.empty(scores.shape, scores.element), scores.shape, scores.element)
    return e.generic([scores, chosen, limit], maps, [PARALLEL] * 3, [destination], body)[0]


@onnx_op("NonMaxSuppression", since=10)
def non_max_suppression(e: Emitter, node: Node) -> Tensor:
    """In rounds: every class of every image takes its best box and drops that box's neighbours."""
    boxes, scores = node.input(0), node.input(1)
    if boxes.rank != 3 or scores.rank != 3:
        raise node.error(f"ranks {boxes.rank} and {scores.rank}")
    if boxes.element != F32 or scores.element != F32:
        raise Unsupported("boxes or scores that are not f32")
    most = node.optional(2)
    wanted: Dim = 0 if most is None else e.dims(most)[0]
    n, classes, count = scores.shape
    edges = _edges(e, node, boxes)
    limit = _number(e, node.optional(3), 0.0)
    least = _number(e, node.optional(4), -np.inf)

    def step(_: Tensor, variables: list[Tensor]) -> tuple[None, list[Tensor], list[Tensor]]:
        best, at = _best(e, variables[0])
        keep = e.elementwise([best, at, least], lambda b, a, t: (b > t).select(a, a.like(-1)), I64)
        return None, [_without_neighbours(e, variables[0], edges, at, limit)], [keep]

    rounds = Loop(e, node, minimum(wanted, count), True, [Carried(scores)], step)
    kept = rounds.lower()[1][0]
    trips = kept.shape[0]
    ordered = e.reshape(e.transpose(kept, [1, 2, 0]), [product((n, classes, trips))])
    found = positions_of(e, e.elementwise([ordered], lambda v: v >= 0, I1))
    columns = [
        _coordinate(e, found, product((classes, trips)), n),
        _coordinate(e, found, trips, classes),
        take(e, ordered, found, 0),
    ]
    return e.concat([e.unsqueeze(t, [1]) for t in columns], 1)
