"""``linalg_ext`` ops on tensors as sequences of linalg and tensor ops (what ``decompose`` builds)."""

from __future__ import annotations

import math as pymath
from collections.abc import Callable, Sequence
from typing import Any

from iree_core_ir.dialects import arith, linalg, tensor
from iree_core_ir.dialects import linalg_scalars as scalars
from iree_core_ir.dialects.linalg_structured import PARALLEL, REDUCTION
from iree_core_ir.dialects.mixed import Mixed
from iree_core_ir.ir.affine import AffineConstant, AffineDim, AffineExpr, AffineMap
from iree_core_ir.ir.attributes import Type
from iree_core_ir.ir.builder import Builder
from iree_core_ir.ir.operation import Value
from iree_core_ir.ir.types import DYNAMIC, f32, f64, i1


def filled(builder: Builder, value: float, sizes: Sequence[Mixed], type: Type) -> Value:
    """A tensor of ``sizes`` full of ``value``."""
    scalar = scalars.constant(builder, value, type)
    return linalg.fill(builder, scalar, builder.create(tensor.Empty, sizes, type).result)


def _reduce_last_kept(
    builder: Builder,
    input: Value,
    dim: int,
    initial: float,
    element: Type,
    body: Callable[..., Value],
) -> Value:
    """``input`` reduced along ``dim`` by ``body(builder, element, accumulator)``, from ``initial``."""
    rank = input.type.rank
    kept = [i for i in range(rank) if i != dim]
    all_sizes = tensor.sizes(builder, input)
    start = filled(builder, initial, [all_sizes[i] for i in kept], element)
    return linalg.generic(
        builder,
        [input],
        [start],
        [AffineMap.identity(rank), AffineMap.select(rank, kept)],
        [REDUCTION if i == dim else PARALLEL for i in range(rank)],
        body,
    ).result


def softmax(builder: Builder, input: Value, output: Value, dim: int) -> Value:
    """Maximum, exponential of the difference, sum, quotient."""
    rank, element = input.type.rank, input.type.element_type
    identity = AffineMap.identity(rank)
    kept = AffineMap.select(rank, [i for i in range(rank) if i != dim])
    parallel = [PARALLEL] * rank
    top = _reduce_last_kept(
        builder, input, dim, -pymath.inf, element, lambda b, x, m: scalars.max_signed(b, x, m)
    )
    powers = linalg.generic(
        builder,
        [input, top],
        [output],
        [identity, kept, identity],
        parallel,
        lambda b, x, m, _: scalars.exp(b, scalars.sub(b, x, m)),
    ).result
    total = _reduce_last_kept(builder, powers, dim, 0.0, element, lambda b, x, s: scalars.add(b, x, s))
    return linalg.generic(
        builder,
        [powers, total],
        [output],
        [identity, kept, identity],
        parallel,
        lambda b, x, s, _: scalars.div(b, x, s),
    ).result


def attention(builder: Builder, op: Any) -> Value:
    """Scores, their softmax along the keys, the weighted sum of the values: of ``linalg_ext.attention``."""
    loops = op.loops
    query, key, value, scale = op.inputs[:4]
    output, mask = op.outputs[0], op.mask
    maps = op.indexing_maps
    ranges = [
        size if isinstance(size, int) else tensor.dim(builder, op.operands[size[0]], size[1])
        for size in op.loop_ranges()
    ]
    element = f64 if query.type.element_type is f64 else f32
    score_loops = [*loops.batch, *loops.rows, *loops.keys]
    rank = len(score_loops)
    zero = scalars.constant(builder, 0.0, element)
    empty = builder.create(tensor.Empty, [ranges[i] for i in score_loops], element).result

    def multiply(b: Builder, x: Value, y: Value, acc: Value) -> Value:
        product = scalars.mul(b, scalars.cast(b, x, acc.type), scalars.cast(b, y, acc.type))
        return scalars.add(b, acc, product)

    def restricted(own: Sequence[int], given: AffineMap) -> AffineMap:
        """A map from loops ``own`` alone."""
        dims: list[AffineExpr] = [AffineConstant(0)] * given.n_dims
        for place, loop in enumerate(own):
            dims[loop] = AffineDim(place)
        return AffineMap(len(own), 0, [e.replace(dims) for e in given.results])

    own = [*score_loops, *loops.depth]
    scores = linalg.generic(
        builder,
        [query, key],
        [linalg.fill(builder, zero, empty)],
        [restricted(own, maps[0]), restricted(own, maps[1]), AffineMap.select(rank + 1, range(rank))],
        [PARALLEL] * rank + [REDUCTION],
        multiply,
    ).result

    def adjust(b: Builder, score: Value, factor: Value, *rest: Value) -> Value:
        score = scalars.mul(b, score, scalars.cast(b, factor, element))
        lowest = scalars.constant(b, -pymath.inf, element)
        if mask is not None:
            if mask.type.element_type is i1:
                score = scalars.select(b, rest[0], score, lowest)
            else:
                score = scalars.add(b, score, scalars.cast(b, rest[0], element))
        if op.causal is not None:
            places = [score_loops.index(d) for d in (*loops.rows, *loops.keys)]
            row, column = (b.create(linalg.Index, place).result for place in places)
            inside = b.create(arith.CmpI, "sle", column, row).result
            score = scalars.select(b, inside, score, lowest)
        return score

    identity = AffineMap.identity(rank)
    masks = [] if mask is None else [mask]
    scores = linalg.generic(
        builder,
        [scores, scale, *masks],
        [empty],
        [identity, AffineMap(rank), *[restricted(score_loops, maps[4]) for _ in masks], identity],
        [PARALLEL] * rank,
        adjust,
    ).result
    weights = softmax(builder, scores, empty, rank - 1)
    if op.empty_rows_zero is not None:
        top = _reduce_last_kept(
            builder, scores, rank - 1, -pymath.inf, element, lambda b, x, m: scalars.max_signed(b, x, m)
        )

        def kept(b: Builder, x: Value, m: Value, _: Value) -> Value:
            lowest = scalars.constant(b, -pymath.inf, element)
            is_empty = b.create(arith.CmpF, "oeq", m, lowest).result
            return scalars.select(b, is_empty, zero_like(b, x), x)

        weights = linalg.generic(
            builder,
            [weights, top],
            [empty],
            [identity, AffineMap.select(rank, range(rank - 1)), identity],
            [PARALLEL] * rank,
            kept,
        ).result
    if op.nan_rows_zero is not None:
        weights = linalg.elementwise(
            builder,
            [weights],
            lambda b, x: scalars.select(b, b.create(arith.CmpF, "uno", x, x).result, zero_like(b, x), x),
            output=empty,
        )
    own = [*score_loops, *loops.width]
    order = {loop: place for place, loop in enumerate(own)}
    out_map = AffineMap.select(rank + 1, [order[p] for p in maps[-1].dim_positions() if p is not None])
    sums = linalg.generic(
        builder,
        [weights, value],
        [filled(builder, 0.0, tensor.sizes(builder, output), element)],
        [AffineMap.select(rank + 1, range(rank)), restricted(own, maps[2]), out_map],
        [REDUCTION if i in loops.keys else PARALLEL for i in own],
        multiply,
    ).result
    if output.type.element_type is element:
        return sums
    return linalg.elementwise(
        builder, [sums], lambda b, x: scalars.cast(b, x, output.type.element_type), output=output
    )


def zero_like(builder: Builder, value: Value) -> Value:
    return scalars.constant(builder, 0.0, value.type)


def pack(
    builder: Builder,
    source: Value,
    padding: Value | None,
    output: Value,
    permutation: Sequence[int],
    dims: Sequence[int],
    tiles: Sequence[int],
) -> list[Value] | None:
    """Pad to whole tiles, split the tiled dims, transpose. Static shapes only."""
    shape = source.type.shape
    if DYNAMIC in shape:
        return None
    tile_of = dict(zip(dims, tiles, strict=True))
    extra = [-size % tile_of.get(i, 1) for i, size in enumerate(shape)]
    if any(extra):
        assert padding is not None
        source = builder.create(tensor.Pad, source, [0] * len(shape), extra, padding).result
    expanded: list[int] = []
    groups: list[list[int]] = []
    for i, (size, more) in enumerate(zip(shape, extra, strict=True)):
        parts = [size + more]
        if i in tile_of:
            parts = [(size + more) // tile_of[i], tile_of[i]]
        groups.append(list(range(len(expanded), len(expanded) + len(parts))))
        expanded.extend(parts)
    split = builder.create(tensor.ExpandShape, source, groups, expanded).result
    order = [groups[i][0] for i in permutation] + [groups[d][1] for d in dims]
    return [builder.create(linalg.Transpose, split, output, order).result]


def unpack(
    builder: Builder,
    source: Value,
    output: Value,
    permutation: Sequence[int],
    dims: Sequence[int],
    tiles: Sequence[int],
) -> list[Value] | None:
    """Transpose, merge tiles with their dims, cut the padding off. Static shapes only."""
    shape, packed = output.type.shape, source.type.shape
    if DYNAMIC in shape or DYNAMIC in packed:
        return None
    rank = len(shape)
    position = {d: rank + i for i, d in enumerate(dims)}
    order: list[int] = []
    groups: list[list[int]] = []
    for i in range(rank):
        parts = [list(permutation).index(i)] + ([position[i]] if i in position else [])
        groups.append(list(range(len(order), len(order) + len(parts))))
        order.extend(parts)
    element = source.type.element_type
    empty = builder.create(tensor.Empty, [packed[i] for i in order], element).result
    plain = builder.create(linalg.Transpose, source, empty, order).result
    merged = builder.create(tensor.CollapseShape, plain, groups).result
    if merged.type.shape != shape:
        merged = builder.create(tensor.ExtractSlice, merged, [0] * rank, list(shape)).result
    return [builder.create(linalg.Copy, [merged], [output]).result]


def im2col(
    builder: Builder,
    input: Value,
    kernel: Sequence[int],
    positions: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
) -> list[Value]:
    """A generic that reads windows, with row and column dims still apart, then merged."""
    n, c = input.type.shape[:2]
    d = len(kernel)
    rank = 2 + 2 * d
    dims = [AffineDim(i) for i in range(rank)]
    reads: list[AffineExpr] = [dims[0], dims[1]]
    reads += [dims[2 + d + i] * strides[i] + dims[2 + i] * dilations[i] for i in range(d)]
    element = input.type.element_type
    empty = builder.create(tensor.Empty, [n, c, *kernel, *positions], element).result
    windows = linalg.generic(
        builder,
        [input],
        [empty],
        [AffineMap(rank, 0, reads), AffineMap.identity(rank)],
        [PARALLEL] * rank,
        lambda b, x, _: x,
    ).result
    groups = [[0], list(range(1, 2 + d)), list(range(2 + d, rank))]
    return [builder.create(tensor.CollapseShape, windows, groups).result]
