"""Canonical forms of ``tensor``: sizes as numbers where known, slices and reshapes composed.

When an operand turns out constant the op is rebuilt with a more static result type and cast back, so that
static sizes spread to the users.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from iree_core_ir.canonicalize.shapes import cast_back, more_static, replace_cast, static_type
from iree_core_ir.dialects import arith, linalg, tensor
from iree_core_ir.dialects.known_dims import known_dim, trace_dim
from iree_core_ir.dialects.mixed import Mixed, staticize
from iree_core_ir.dialects.reassociation import infer_reassociation
from iree_core_ir.ir.attributes import DenseElementsAttr
from iree_core_ir.ir.known_values import known_attribute
from iree_core_ir.ir.operation import Op, Value
from iree_core_ir.ir.types import DYNAMIC, TensorType
from iree_core_ir.rewriter import Rewriter, pattern


def _changed(before: Sequence[Mixed], after: Sequence[Mixed]) -> bool:
    return any(a != b for a, b in zip(before, after, strict=True))


# -- sizes become numbers ----------------------------------------------------------------------


@pattern(tensor.Empty)
def static_empty(op: tensor.Empty, rewriter: Rewriter) -> bool:
    if not op.operands:
        return False
    sizes = staticize(op.mixed_sizes)
    if not _changed(op.mixed_sizes, sizes) or _negative(sizes):
        return False
    type = op.result.type
    new = rewriter.create(tensor.Empty, sizes, type.element_type, type.encoding).result
    rewriter.replace(op, cast_back(rewriter, new, type))
    return True


def _negative(sizes: Sequence[Mixed]) -> bool:
    """Such a size is an error at run time, not a type."""
    return any(isinstance(s, int) and s < 0 for s in sizes)


@pattern(tensor.Splat)
def static_splat(op: tensor.Splat, rewriter: Rewriter) -> bool:
    sizes = staticize(op.mixed_sizes)
    if not _changed(op.mixed_sizes, sizes) or _negative(sizes):
        return False
    new = rewriter.create(tensor.Splat, op.input, sizes).aggregate
    rewriter.replace(op, cast_back(rewriter, new, op.aggregate.type))
    return True


@pattern(tensor.Generate)
def static_generate(op: tensor.Generate, rewriter: Rewriter) -> bool:
    sizes = staticize(op.mixed_sizes)
    if not _changed(op.mixed_sizes, sizes) or _negative(sizes):
        return False
    type = op.result.type
    kept = [s for s in sizes if isinstance(s, Value)]
    new = tensor.Generate(kept, [static_type(type, sizes)], {}, [op.body.clone({})])
    rewriter.replace(op, cast_back(rewriter, rewriter.insert(new).result, type))
    return True


@pattern(tensor.ExtractSlice)
def static_extract_slice(op: tensor.ExtractSlice, rewriter: Rewriter) -> bool:
    if len(op.operands) == 1:
        return False
    given = op.mixed_offsets, op.mixed_sizes, op.mixed_strides
    offsets, sizes, strides = (staticize(m) for m in given)
    if not any(map(_changed, given, (offsets, sizes, strides))):
        return False
    if _negative(sizes) or _negative(offsets):
        return False
    type = op.result.type
    dropped = op.dropped_dims(type.shape)
    if dropped is None:
        return False
    shape = [size for i, size in enumerate(sizes) if i not in dropped]
    new_type = static_type(type, shape)
    new = rewriter.create(tensor.ExtractSlice, op.source, offsets, sizes, strides, new_type).result
    rewriter.replace(op, cast_back(rewriter, new, type))
    return True


@pattern(tensor.InsertSlice)
def static_insert_slice(op: tensor.InsertSlice, rewriter: Rewriter) -> bool:
    if len(op.operands) == 2:
        return False
    given = op.mixed_offsets, op.mixed_sizes, op.mixed_strides
    offsets, sizes, strides = (staticize(m) for m in given)
    if not any(map(_changed, given, (offsets, sizes, strides))):
        return False
    if _negative(sizes) or _negative(offsets):
        return False
    dropped = op.dropped_dims(op.source.type.shape)
    if dropped is None:
        return False
    shape = [size for i, size in enumerate(sizes) if i not in dropped]
    source = cast_back(rewriter, op.source, static_type(op.source.type, shape))
    rewriter.replace_with(op, tensor.InsertSlice, source, op.dest, offsets, sizes, strides)
    return True


@pattern(tensor.ExpandShape)
def static_expand_shape(op: tensor.ExpandShape, rewriter: Rewriter) -> bool:
    """Also a size that the source fixes once the others of its group are known."""
    if op.static_output_shape.values == op.result.type.shape:
        return False
    given = op.mixed_output_shape
    sizes = list(staticize(given))
    for group, whole in zip(op.groups, op.src.type.shape, strict=True):
        unknown = [i for i in group if isinstance(sizes[i], Value)]
        if len(unknown) == 1 and whole != DYNAMIC:
            rest = 1
            for i in group:
                size = sizes[i]
                rest *= size if isinstance(size, int) else 1
            if rest > 0 and whole % rest == 0:
                sizes[unknown[0]] = whole // rest
    for i, size in enumerate(op.result.type.shape):
        if size != DYNAMIC:
            sizes[i] = size
    if not _changed(given, sizes) or _negative(sizes):
        return False
    new_type = static_type(op.result.type, sizes)
    source = op.src
    merged = [_product([new_type.shape[i] for i in group]) for group in op.groups]
    source_type = static_type(source.type, merged)
    if source_type is not source.type:
        source = cast_back(rewriter, source, source_type)
    new = rewriter.create(tensor.ExpandShape, source, op.groups, sizes, new_type).result
    rewriter.replace(op, cast_back(rewriter, new, op.result.type))
    return True


def _product(sizes: Sequence[int]) -> int:
    total = 1
    for size in sizes:
        if size == DYNAMIC:
            return DYNAMIC
        total *= size
    return total


@pattern(tensor.CollapseShape)
def static_collapse_shape(op: tensor.CollapseShape, rewriter: Rewriter) -> bool:
    """The result type says as much as the source's."""
    type = op.result.type
    if type.is_static:
        return False
    source = op.src.type.shape
    shape = [_product([source[i] for i in group]) for group in op.groups]
    new_type = static_type(type, shape)
    if new_type is type:
        return False
    new = rewriter.create(tensor.CollapseShape, op.src, op.groups, new_type).result
    rewriter.replace(op, cast_back(rewriter, new, type))
    return True


@pattern(tensor.Pad)
def static_pad(op: tensor.Pad, rewriter: Rewriter) -> bool:
    low, high = staticize(op.mixed_low), staticize(op.mixed_high)
    type = op.result.type
    shape = tensor.padded_shape(op.source.type.shape, low, high)
    if any(d < DYNAMIC for d in shape):
        return False
    new_type = static_type(type, shape)
    if not _changed(op.mixed_low, low) and not _changed(op.mixed_high, high) and new_type is type:
        return False
    new = tensor.Pad.make(op.source, low, high, op.source, new_type, op.nofold is not None)
    new.regions[0].blocks[0].ops[0].erase()
    region = op.region.clone({})
    new.regions[0].blocks.clear()
    new.regions[0].take_blocks(region)
    rewriter.replace(op, cast_back(rewriter, rewriter.insert(new).result, type))
    return True


@pattern(tensor.Concat)
def static_concat(op: tensor.Concat, rewriter: Rewriter) -> bool:
    """Sizes that the inputs fix; empty inputs dropped."""
    dim = op.dim.value
    inputs = [v for v in op.inputs if v.type.shape[dim] != 0]
    if inputs and len(inputs) < len(op.inputs):
        new = rewriter.create(tensor.Concat, dim, inputs).result
        rewriter.replace(op, cast_back(rewriter, new, op.result.type))
        return True
    new_type = op.result.type
    if not new_type.is_static:
        new_type = static_type(new_type, tensor.concat_shape(dim, [v.type.shape for v in op.inputs]))
    if new_type is op.result.type:
        if len(op.inputs) == 1:
            rewriter.replace(op, cast_back(rewriter, op.inputs[0], op.result.type))
            return True
        return False
    new = rewriter.create(tensor.Concat, dim, op.inputs, new_type).result
    rewriter.replace(op, cast_back(rewriter, new, op.result.type))
    return True


# -- dims ----------------------------------------------------------------------------------------


@pattern(tensor.Dim)
def dim_of_origin(op: tensor.Dim, rewriter: Rewriter) -> bool:
    """The dim of the value that the size comes from, or arithmetic on such dims."""
    axis = op.constant_index
    type = op.source.type
    if axis is None or not isinstance(type, TensorType) or not 0 <= axis < type.rank:
        return False
    found = trace_dim(op.source, axis)
    if not isinstance(found, tuple):
        return False
    origin, origin_axis = found
    if origin is not op.source and isinstance(origin.type, TensorType):
        rewriter.replace(op, _dim(rewriter, origin, origin_axis))
        return True
    producer = op.source.defining_op
    if isinstance(producer, tensor.CollapseShape):
        sizes = [_size(rewriter, producer.src, i) for i in producer.groups[axis]]
        rewriter.replace(op, _combined(rewriter, arith.MulI, sizes, 1))
        return True
    if isinstance(producer, tensor.Pad):
        sizes = [producer.mixed_low[axis], _size(rewriter, producer.source, axis), producer.mixed_high[axis]]
        rewriter.replace(op, _combined(rewriter, arith.AddI, sizes, 0))
        return True
    if isinstance(producer, tensor.Concat):
        sizes = [_size(rewriter, v, axis) for v in producer.inputs]
        rewriter.replace(op, _combined(rewriter, arith.AddI, sizes, 0))
        return True
    return False


def _dim(rewriter: Rewriter, value: Value, axis: int) -> Value:
    position = rewriter.insert(arith.Constant.index(axis)).result
    return rewriter.create(tensor.Dim, value, position).result


def _size(rewriter: Rewriter, value: Value, axis: int) -> Mixed:
    known = known_dim(value, axis)
    return _dim(rewriter, value, axis) if known is None else known


def _combined(rewriter: Rewriter, cls: type[Op], sizes: Sequence[Mixed], neutral: int) -> Value:
    """Sum or product of mixed sizes as a value."""
    total: Value | None = None
    constant = neutral
    for size in sizes:
        if isinstance(size, int):
            constant = constant + size if cls is arith.AddI else constant * size
        else:
            total = size if total is None else rewriter.create(cls, total, size).results[0]
    if total is None or constant != neutral:
        number = rewriter.insert(arith.Constant.index(constant)).result
        total = number if total is None else rewriter.create(cls, total, number).results[0]
    return total


# -- casts ----------------------------------------------------------------------------------------


@pattern(tensor.Cast)
def cast_of_cast(op: tensor.Cast, rewriter: Rewriter) -> bool:
    """One cast, unless the middle type claims what neither end does."""
    inner = op.source.defining_op
    if not isinstance(inner, tensor.Cast):
        return False
    a, b, c = inner.source.type, inner.dest.type, op.dest.type
    if not all(isinstance(t, TensorType) for t in (a, b, c)):
        return False
    if not tensor.compatible_shapes(a.shape, c.shape):
        return False
    if any(m not in (DYNAMIC, x, y) for x, m, y in zip(a.shape, b.shape, c.shape, strict=True)):
        return False
    rewriter.replace_with(op, tensor.Cast, inner.source, c)
    return True


@pattern(
    tensor.Dim,
    tensor.Extract,
    tensor.ExtractSlice,
    tensor.CollapseShape,
    tensor.Reshape,
    tensor.Pad,
    tensor.Concat,
    tensor.Rank,
)
def read_through_cast(op: Op, rewriter: Rewriter) -> bool:
    """Ops that only read a tensor take the more static one; results are retyped by the patterns above."""
    if isinstance(op, tensor.CollapseShape):
        source = op.src.defining_op
        if isinstance(source, tensor.Cast) and more_static(source.source.type, source.dest.type):
            new = rewriter.create(tensor.CollapseShape, source.source, op.groups).result
            rewriter.replace(op, cast_back(rewriter, new, op.result.type))
            return True
        return False
    return replace_cast(op, rewriter, tensor.Cast)


@pattern(tensor.InsertSlice)
def insert_through_cast(op: tensor.InsertSlice, rewriter: Rewriter) -> bool:
    """The destination's more static type carries over to the result."""
    dest = op.dest.defining_op
    if isinstance(dest, tensor.Cast) and more_static(dest.source.type, dest.dest.type):
        new = rewriter.create(
            tensor.InsertSlice,
            op.source,
            dest.source,
            op.mixed_offsets,
            op.mixed_sizes,
            op.mixed_strides,
        ).result
        rewriter.replace(op, cast_back(rewriter, new, op.result.type))
        return True
    return False


@pattern(tensor.ExpandShape)
def expand_through_cast(op: tensor.ExpandShape, rewriter: Rewriter) -> bool:
    source = op.src.defining_op
    if not isinstance(source, tensor.Cast) or not more_static(source.source.type, source.dest.type):
        return False
    merged = source.source.type.shape
    for group, size in zip(op.groups, merged, strict=True):
        product = _product([op.result.type.shape[i] for i in group])
        # All sizes of a group dynamic but the whole static, or the reverse, would not verify.
        if size != DYNAMIC and product not in (DYNAMIC, size):
            return False
    new = rewriter.create(
        tensor.ExpandShape, source.source, op.groups, op.mixed_output_shape, op.result.type
    ).result
    rewriter.replace(op, new)
    return True


# -- slices -----------------------------------------------------------------------------------------


@pattern(tensor.ExtractSlice)
def slice_of_slice(op: tensor.ExtractSlice, rewriter: Rewriter) -> bool:
    """Two static slices are one."""
    inner = op.source.defining_op
    if not isinstance(inner, tensor.ExtractSlice):
        return False
    outer = (*op.mixed_offsets, *op.mixed_strides)
    source = (*inner.mixed_offsets, *inner.mixed_strides)
    if any(isinstance(m, Value) for m in (*outer, *source)):
        return False
    dropped = inner.dropped_dims(inner.result.type.shape)
    if dropped is None:
        return False
    offsets: list[Mixed] = []
    sizes: list[Mixed] = []
    strides: list[Mixed] = []
    kept = iter(zip(op.mixed_offsets, op.mixed_sizes, op.mixed_strides, strict=True))
    for i, (start, step) in enumerate(zip(inner.mixed_offsets, inner.mixed_strides, strict=True)):
        assert isinstance(start, int) and isinstance(step, int)
        if i in dropped:
            offsets.append(start)
            sizes.append(1)
            strides.append(1)
            continue
        offset, size, stride = next(kept)
        assert isinstance(offset, int) and isinstance(stride, int)
        offsets.append(start + offset * step)
        sizes.append(size)
        strides.append(step * stride)
    rewriter.replace_with(op, tensor.ExtractSlice, inner.source, offsets, sizes, strides, op.result.type)
    return True


@pattern(tensor.ExtractSlice)
def slice_of_empty(op: tensor.ExtractSlice, rewriter: Rewriter) -> bool:
    if not isinstance(op.source.defining_op, tensor.Empty):
        return False
    dropped = op.dropped_dims(op.result.type.shape)
    if dropped is None:
        return False
    sizes = [s for i, s in enumerate(op.mixed_sizes) if i not in dropped]
    new = rewriter.create(tensor.Empty, sizes, op.result.type.element_type).result
    rewriter.replace(op, cast_back(rewriter, new, op.result.type))
    return True


# -- reshapes -----------------------------------------------------------------------------------------


@pattern(tensor.CollapseShape)
def collapse_of_collapse(op: tensor.CollapseShape, rewriter: Rewriter) -> bool:
    inner = op.src.defining_op
    if not isinstance(inner, tensor.CollapseShape):
        return False
    groups = [[i for middle in group for i in inner.groups[middle]] for group in op.groups]
    rewriter.replace_with(op, tensor.CollapseShape, inner.src, groups, op.result.type)
    return True


@pattern(tensor.ExpandShape)
def expand_of_expand(op: tensor.ExpandShape, rewriter: Rewriter) -> bool:
    inner = op.src.defining_op
    if not isinstance(inner, tensor.ExpandShape):
        return False
    groups = [[i for middle in group for i in op.groups[middle]] for group in inner.groups]
    rewriter.replace_with(op, tensor.ExpandShape, inner.src, groups, op.mixed_output_shape, op.result.type)
    return True


@pattern(tensor.CollapseShape, tensor.ExpandShape)
def static_reshape_of_reshape(op: Any, rewriter: Rewriter) -> bool:
    """A static collapse of an expansion (or the reverse) that one of the two can do alone."""
    inner = op.src.defining_op
    if not isinstance(inner, (tensor.CollapseShape, tensor.ExpandShape)) or type(inner) is type(op):
        return False
    before, after = inner.src.type, op.result.type
    if not before.is_static or not after.is_static or before is after:
        return False
    if 0 in before.shape:
        return False
    if before.rank > after.rank:
        groups = infer_reassociation(before.shape, after.shape)
        if groups is None:
            return False
        rewriter.replace_with(op, tensor.CollapseShape, inner.src, groups, after)
        return True
    groups = infer_reassociation(after.shape, before.shape)
    if groups is None or before.rank == after.rank:
        return False
    rewriter.replace_with(op, tensor.ExpandShape, inner.src, groups, list(after.shape), after)
    return True


@pattern(tensor.CollapseShape, tensor.ExpandShape)
def reshape_of_empty(op: Any, rewriter: Rewriter) -> bool:
    if not isinstance(op.src.defining_op, tensor.Empty):
        return False
    type = op.result.type
    sizes: list[Mixed]
    if isinstance(op, tensor.ExpandShape):
        sizes = list(op.mixed_output_shape)
    else:
        source = op.src
        sizes = []
        for group in op.groups:
            parts = [_size(rewriter, source, i) for i in group]
            static = [p for p in parts if isinstance(p, int)]
            sizes.append(
                _product(static) if len(static) == len(parts) else _combined(rewriter, arith.MulI, parts, 1)
            )
    new = rewriter.create(tensor.Empty, sizes, type.element_type).result
    rewriter.replace(op, cast_back(rewriter, new, type))
    return True


@pattern(tensor.Reshape)
def reshape_of_reshape(op: tensor.Reshape, rewriter: Rewriter) -> bool:
    """Only the last shape counts."""
    inner = op.source.defining_op
    if not isinstance(inner, tensor.Reshape):
        return False
    rewriter.replace_with(op, tensor.Reshape, inner.source, op.shape, op.result.type)
    return True


@pattern(tensor.Reshape)
def reshape_to_constant_shape(op: tensor.Reshape, rewriter: Rewriter) -> bool:
    """A shape known element by element fixes the result's type."""
    type = op.result.type
    sizes = _shape_elements(op.shape)
    if sizes is None or _negative(sizes):
        return False
    known = TensorType([s if isinstance(s, int) else DYNAMIC for s in sizes], type.element_type)
    if not isinstance(type, TensorType):
        return False
    new_type = static_type(type, known.shape)
    if new_type is type:
        return False
    new = rewriter.create(tensor.Reshape, op.source, op.shape, new_type).result
    rewriter.replace(op, cast_back(rewriter, new, type))
    return True


def _shape_elements(shape: Value) -> list[Mixed] | None:
    """The elements of a shape tensor, constants as numbers."""
    constant = known_attribute(shape)
    if isinstance(constant, DenseElementsAttr):
        return [int(d) for d in constant.to_array()]
    producer = shape.defining_op
    if isinstance(producer, tensor.FromElements):
        return list(staticize(producer.elements))
    return None


@pattern(tensor.Reshape)
def static_reshape(op: tensor.Reshape, rewriter: Rewriter) -> bool:
    """Between static types: collapse and expand, which say how dims relate."""
    before, after = op.source.type, op.result.type
    if not (isinstance(before, TensorType) and isinstance(after, TensorType)):
        return False
    if not (before.is_static and after.is_static) or 0 in before.shape:
        return False
    rewriter.replace(op, reshape_static(rewriter, op.source, after))
    return True


def reshape_static(rewriter: Rewriter, source: Value, type: TensorType) -> Value:
    """``source`` reshaped between static shapes by at most a collapse and an expansion."""
    shape = source.type.shape
    if shape == type.shape:
        return source
    groups = infer_reassociation(shape, type.shape) if len(shape) > type.rank else None
    if groups is not None:
        return rewriter.create(tensor.CollapseShape, source, groups, type).result
    groups = infer_reassociation(type.shape, shape) if len(shape) < type.rank else None
    if groups is None:
        if len(shape) != 1:
            source = (
                rewriter.create(
                    tensor.CollapseShape, source, [list(range(len(shape)))] if shape else []
                ).result
                if shape
                else rewriter.create(tensor.ExpandShape, source, [], [1]).result
            )
        groups = (tuple(range(type.rank)),) if type.rank else ()
        if type.rank == 0:
            return rewriter.create(tensor.CollapseShape, source, [], type).result
        if type.rank == 1:
            return source
    return rewriter.create(tensor.ExpandShape, source, groups, list(type.shape), type).result


@pattern(tensor.ExtractSlice, tensor.InsertSlice)
def rank_zero_slice(op: Any, rewriter: Rewriter) -> bool:
    """A slice of a rank-0 tensor is all of it."""
    if isinstance(op, tensor.ExtractSlice) and op.source.type.rank == 0:
        rewriter.replace(op, op.source)
        return True
    if isinstance(op, tensor.InsertSlice) and op.dest.type.rank == 0:
        rewriter.replace(op, op.source)
        return True
    return False


# -- padding ------------------------------------------------------------------------------------------


@pattern(tensor.Pad)
def pad_of_fill(op: tensor.Pad, rewriter: Rewriter) -> bool:
    """A filled tensor padded with the same value is a larger filled tensor."""
    inner = op.source.defining_op
    if not isinstance(inner, linalg.Fill) or op.nofold is not None:
        return False
    padding = op.constant_padding
    if padding is None:
        return False
    value = inner.inputs[0]
    same = padding is value or (
        known_attribute(padding) is not None and known_attribute(padding) is known_attribute(value)
    )
    if not same:
        return False
    sizes = [
        _mixed_sum(rewriter, [low, _size(rewriter, op.source, axis), high])
        for axis, (low, high) in enumerate(zip(op.mixed_low, op.mixed_high, strict=True))
    ]
    empty = rewriter.create(tensor.Empty, sizes, op.result.type.element_type).result
    new = rewriter.create(linalg.Fill, [value], [empty]).results[0]
    rewriter.replace(op, cast_back(rewriter, new, op.result.type))
    return True


def _mixed_sum(rewriter: Rewriter, sizes: Sequence[Mixed]) -> Mixed:
    if all(isinstance(s, int) for s in sizes):
        return sum(s for s in sizes if isinstance(s, int))
    return _combined(rewriter, arith.AddI, sizes, 0)


PATTERNS = [
    static_empty,
    static_splat,
    static_generate,
    static_extract_slice,
    static_insert_slice,
    static_expand_shape,
    static_collapse_shape,
    static_pad,
    static_concat,
    dim_of_origin,
    cast_of_cast,
    read_through_cast,
    insert_through_cast,
    expand_through_cast,
    slice_of_slice,
    slice_of_empty,
    collapse_of_collapse,
    expand_of_expand,
    static_reshape_of_reshape,
    reshape_of_empty,
    reshape_of_reshape,
    reshape_to_constant_shape,
    static_reshape,
    rank_zero_slice,
    pad_of_fill,
]
