"""Canonical forms of ``vector``: moves composed, masks that are constant, accesses known to be in bounds."""

from __future__ import annotations

from typing import Any

import numpy as np

from iree_core_ir.dialects import arith, vector
from iree_core_ir.dialects.mixed import DYNAMIC_INDEX, staticize
from iree_core_ir.dialects.vector_attributes import CombiningKindAttr
from iree_core_ir.dialects.vector_memory import bool_array
from iree_core_ir.ir.affine import AffineDim
from iree_core_ir.ir.attributes import (
    MAX_INLINE_ELEMENTS,
    Attribute,
    DenseElementsAttr,
    FloatAttr,
    IntegerAttr,
)
from iree_core_ir.ir.known_values import known_attribute, known_integer
from iree_core_ir.ir.operation import Op, Value
from iree_core_ir.ir.types import DYNAMIC, VectorType
from iree_core_ir.rewriter import Rewriter, pattern


def _constant(rewriter: Rewriter, attribute: Attribute) -> Value:
    return rewriter.insert(arith.Constant.make(attribute)).result


def _dense(value: Value) -> DenseElementsAttr | None:
    found = known_attribute(value)
    return found if isinstance(found, DenseElementsAttr) else None


# -- constants -----------------------------------------------------------------------------------


@pattern(vector.Broadcast, vector.Splat, vector.ShapeCast)
def constant_splat(op: Op, rewriter: Rewriter) -> bool:
    """A constant everywhere is a splat constant."""
    type: Any = op.results[0].type
    known = known_attribute(op.operands[0])
    if isinstance(known, (IntegerAttr, FloatAttr)):
        rewriter.replace(op, _constant(rewriter, DenseElementsAttr.from_splat(known.value, type)))
        return True
    if isinstance(known, DenseElementsAttr) and (known.splat or isinstance(op, vector.ShapeCast)):
        rewriter.replace(op, _constant(rewriter, DenseElementsAttr(type, known.data, known.splat)))
        return True
    return False


@pattern(
    vector.Extract,
    vector.Transpose,
    vector.ExtractStridedSlice,
    vector.Shuffle,
    vector.Bitcast,
    vector.Step,
    vector.Interleave,
)
def evaluated(op: Op, rewriter: Rewriter) -> bool:
    """Moves of small or splat constants, done here."""
    type = op.results[0].type
    if not isinstance(type, VectorType) or (type.n_elements > MAX_INLINE_ELEMENTS):
        return False
    constants = [_dense(v) for v in op.operands]
    if None in constants:
        return False
    from iree_core_ir.interpreter import Frame, Interpreter, find_meaning

    meaning = find_meaning(op.__class__)
    assert meaning is not None
    values = [c.to_array() for c in constants if c is not None]
    result = meaning(Frame(Interpreter(op)), op, *values)
    rewriter.replace(op, _constant(rewriter, DenseElementsAttr.from_array(np.asarray(result), type)))
    return True


# -- moves composed ---------------------------------------------------------------------------------


@pattern(vector.Broadcast, vector.ShapeCast, vector.Bitcast, vector.Splat)
def same_type(op: Op, rewriter: Rewriter) -> bool:
    """Nothing changes."""
    if op.operands[0].type is not op.results[0].type:
        return False
    rewriter.replace(op, op.operands[0])
    return True


@pattern(vector.Splat)
def splat_to_broadcast(op: vector.Splat, rewriter: Rewriter) -> bool:
    """One form."""
    rewriter.replace_with(op, vector.Broadcast, op.input, op.aggregate.type)
    return True


@pattern(vector.Broadcast)
def broadcast_of_broadcast(op: vector.Broadcast, rewriter: Rewriter) -> bool:
    inner = op.source.defining_op
    if not isinstance(inner, vector.Broadcast):
        return False
    rewriter.replace_with(op, vector.Broadcast, inner.source, op.vector.type)
    return True


@pattern(vector.ShapeCast)
def shape_cast_of_shape_cast(op: vector.ShapeCast, rewriter: Rewriter) -> bool:
    inner = op.source.defining_op
    if isinstance(inner, vector.ShapeCast):
        rewriter.replace_with(op, vector.ShapeCast, inner.source, op.result.type)
        return True
    if isinstance(inner, vector.Broadcast) and not isinstance(inner.source.type, VectorType):
        rewriter.replace_with(op, vector.Broadcast, inner.source, op.result.type)
        return True
    return False


@pattern(vector.Bitcast)
def bitcast_of_bitcast(op: vector.Bitcast, rewriter: Rewriter) -> bool:
    inner = op.source.defining_op
    if not isinstance(inner, vector.Bitcast):
        return False
    rewriter.replace_with(op, vector.Bitcast, inner.source, op.result.type)
    return True


@pattern(vector.Transpose)
def transpose_of_transpose(op: vector.Transpose, rewriter: Rewriter) -> bool:
    """One permutation, or none."""
    order = op.permutation.values
    if list(order) == sorted(order):
        rewriter.replace(op, op.vector)
        return True
    inner = op.vector.defining_op
    if isinstance(inner, vector.Transpose):
        both = [inner.permutation.values[i] for i in order]
        rewriter.replace_with(op, vector.Transpose, inner.vector, both)
        return True
    if isinstance(inner, vector.Broadcast) and not isinstance(inner.source.type, VectorType):
        rewriter.replace_with(op, vector.Broadcast, inner.source, op.result.type)
        return True
    return False


@pattern(vector.Extract)
def simpler_extract(op: vector.Extract, rewriter: Rewriter) -> bool:
    """Positions that are constant; extracts of extracts, inserts, broadcasts and elements."""
    position = staticize(op.mixed_position)
    if any(a is not b for a, b in zip(position, op.mixed_position, strict=True)):
        shape = op.vector.type.shape
        if all(not isinstance(p, int) or 0 <= p < n for p, n in zip(position, shape, strict=False)):
            rewriter.replace_with(op, vector.Extract, op.vector, position)
            return True
        return False
    if not position and op.result.type is op.vector.type:
        rewriter.replace(op, op.vector)
        return True
    inner = op.vector.defining_op
    if isinstance(inner, vector.Extract):
        rewriter.replace_with(op, vector.Extract, inner.vector, [*inner.mixed_position, *position])
        return True
    if isinstance(inner, (vector.Broadcast, vector.Splat)):
        return _extract_of_broadcast(op, inner, rewriter)
    if isinstance(inner, vector.FromElements) and len(position) == op.vector.type.rank:
        if all(isinstance(p, int) and p >= 0 for p in position):
            shape = op.vector.type.shape
            at = (
                int(np.ravel_multi_index([int(p) for p in position if isinstance(p, int)], shape))
                if shape
                else 0
            )
            rewriter.replace(op, inner.operands[at])
            return True
    if isinstance(inner, vector.Insert):
        return _extract_of_insert(op, inner, rewriter)
    return False


def _extract_of_broadcast(op: vector.Extract, inner: Any, rewriter: Rewriter) -> bool:
    source = inner.operands[0]
    type = op.result.type
    if source.type is type:
        rewriter.replace(op, source)
        return True
    if not isinstance(source.type, VectorType):
        if isinstance(type, VectorType):
            rewriter.replace_with(op, vector.Broadcast, source, type)
            return True
        return False
    if isinstance(type, VectorType) and source.type.rank <= type.rank:
        rewriter.replace_with(op, vector.Broadcast, source, type)
        return True
    return False


def _extract_of_insert(op: vector.Extract, inner: vector.Insert, rewriter: Rewriter) -> bool:
    mine, theirs = op.static_position.values, inner.static_position.values
    if any(p in (-1, DYNAMIC_INDEX) for p in (*mine, *theirs)):
        return False
    if mine == theirs:
        if inner.value_to_store.type is not op.result.type:
            return False
        rewriter.replace(op, inner.value_to_store)
        return True
    shared = min(len(mine), len(theirs))
    if mine[:shared] != theirs[:shared]:
        rewriter.replace_with(op, vector.Extract, inner.dest, mine)
        return True
    if len(mine) > len(theirs) and isinstance(inner.value_to_store.type, VectorType):
        if inner.value_to_store.type.rank == len(inner.dest.type.shape) - len(theirs):
            rewriter.replace_with(op, vector.Extract, inner.value_to_store, mine[len(theirs) :])
            return True
    return False


@pattern(vector.Insert)
def simpler_insert(op: vector.Insert, rewriter: Rewriter) -> bool:
    """Positions that are constant; an insert of everything; one that the next overwrites."""
    position = staticize(op.mixed_position)
    if any(a is not b for a, b in zip(position, op.mixed_position, strict=True)):
        shape = op.dest.type.shape
        if all(not isinstance(p, int) or 0 <= p < n for p, n in zip(position, shape, strict=False)):
            rewriter.replace_with(op, vector.Insert, op.value_to_store, op.dest, position)
            return True
        return False
    if not position and op.value_to_store.type is op.result.type:
        rewriter.replace(op, op.value_to_store)
        return True
    inner = op.dest.defining_op
    if isinstance(inner, vector.Insert) and inner.mixed_position == op.mixed_position:
        if inner.value_to_store.type is op.value_to_store.type:
            rewriter.set_operands(op, (op.value_to_store, inner.dest, *op.operands[2:]))
            return True
    return False


@pattern(vector.ExtractElement)
def extractelement_to_extract(op: vector.ExtractElement, rewriter: Rewriter) -> bool:
    """One form, where the position is constant or an index."""
    if op.position is None:
        rewriter.replace_with(op, vector.Extract, op.vector, [])
        return True
    known = known_integer(op.position)
    if known is not None and 0 <= known < op.vector.type.shape[0]:
        rewriter.replace_with(op, vector.Extract, op.vector, [known])
        return True
    return False


@pattern(vector.InsertElement)
def insertelement_to_insert(op: vector.InsertElement, rewriter: Rewriter) -> bool:
    if op.position is None:
        rewriter.replace_with(op, vector.Insert, op.source, op.dest, [])
        return True
    known = known_integer(op.position)
    if known is not None and 0 <= known < op.dest.type.shape[0]:
        rewriter.replace_with(op, vector.Insert, op.source, op.dest, [known])
        return True
    return False


@pattern(vector.Shuffle)
def simpler_shuffle(op: vector.Shuffle, rewriter: Rewriter) -> bool:
    """Picks one operand as it is."""
    if op.v1.type.rank == 0:
        return False
    mask = list(op.mask.values)
    n1, n2 = op.v1.type.shape[0], op.v2.type.shape[0]
    if mask == list(range(n1)):
        rewriter.replace(op, op.v1)
        return True
    if mask == list(range(n1, n1 + n2)):
        rewriter.replace(op, op.v2)
        return True
    return False


@pattern(vector.ExtractStridedSlice, vector.InsertStridedSlice)
def whole_slice(op: Any, rewriter: Rewriter) -> bool:
    """Everything."""
    if isinstance(op, vector.ExtractStridedSlice):
        if op.result.type is op.vector.type:
            rewriter.replace(op, op.vector)
            return True
        inner = op.vector.defining_op
        if isinstance(inner, vector.Broadcast) and not isinstance(inner.source.type, VectorType):
            rewriter.replace_with(op, vector.Broadcast, inner.source, op.result.type)
            return True
        return False
    if op.value_to_store.type is op.dest.type:
        rewriter.replace(op, op.value_to_store)
        return True
    return False


@pattern(vector.FromElements)
def elements_alike(op: vector.FromElements, rewriter: Rewriter) -> bool:
    """The same scalar in every lane is a broadcast; constants are a constant."""
    type = op.dest.type
    if op.elements and all(v is op.elements[0] for v in op.elements):
        rewriter.replace_with(op, vector.Broadcast, op.elements[0], type)
        return True
    known = [known_attribute(v) for v in op.elements]
    if len(known) > MAX_INLINE_ELEMENTS or not all(isinstance(k, (IntegerAttr, FloatAttr)) for k in known):
        return False
    from iree_core_ir.interpreters.tensor import dtype_of

    values = [k.value for k in known if isinstance(k, (IntegerAttr, FloatAttr))]
    array = np.array(values).astype(dtype_of(type)).reshape(type.shape)
    rewriter.replace(op, _constant(rewriter, DenseElementsAttr.from_array(array, type)))
    return True


@pattern(vector.Reduction)
def reduction_of_one(op: vector.Reduction, rewriter: Rewriter) -> bool:
    """One lane is its own reduction."""
    type = op.vector.type
    if type.n_elements != 1 or op.acc is not None:
        return False
    rewriter.replace_with(op, vector.Extract, op.vector, [0] * type.rank)
    return True


# -- masks ------------------------------------------------------------------------------------------


@pattern(vector.CreateMask)
def constant_create_mask(op: vector.CreateMask, rewriter: Rewriter) -> bool:
    """Sizes that are constant."""
    sizes = [known_integer(v) for v in op.sizes]
    if None in sizes:
        return False
    type = op.result.type
    dims = type.shape or (1,)
    clamped = [max(0, min(s, n)) for s, n in zip(sizes, dims, strict=True) if s is not None]
    rewriter.replace_with(op, vector.ConstantMask, clamped, type)
    return True


@pattern(vector.ConstantMask)
def full_or_empty_mask(op: vector.ConstantMask, rewriter: Rewriter) -> bool:
    type = op.result.type
    dims = type.shape or (1,)
    if tuple(op.sizes) == tuple(dims):
        value = True
    elif 0 in op.sizes:
        value = False
    else:
        return False
    rewriter.replace(op, _constant(rewriter, DenseElementsAttr.from_splat(value, type)))
    return True


def _uniform_mask(mask: Value) -> bool | None:
    """True or False for a mask that is it in every lane."""
    known = _dense(mask)
    if known is None or not known.splat:
        return None
    return bool(known.to_array().flat[0])


@pattern(vector.MaskedLoad, vector.ExpandLoad)
def uniformly_masked_load(op: Any, rewriter: Rewriter) -> bool:
    value = _uniform_mask(op.mask)
    if value is None:
        return False
    if not value:
        rewriter.replace(op, op.pass_thru)
    else:
        rewriter.replace_with(op, vector.Load, op.base, op.indices, op.result.type)
    return True


@pattern(vector.MaskedStore, vector.CompressStore)
def uniformly_masked_store(op: Any, rewriter: Rewriter) -> bool:
    value = _uniform_mask(op.mask)
    if value is None:
        return False
    if value:
        rewriter.create(vector.Store, op.value_to_store, op.base, op.indices)
    rewriter.erase(op)
    return True


@pattern(vector.Gather)
def gather_of_nothing(op: vector.Gather, rewriter: Rewriter) -> bool:
    if _uniform_mask(op.mask) is not False:
        return False
    rewriter.replace(op, op.pass_thru)
    return True


@pattern(vector.Scatter)
def scatter_of_nothing(op: vector.Scatter, rewriter: Rewriter) -> bool:
    if _uniform_mask(op.mask) is not False:
        return False
    rewriter.erase(op)
    return True


# -- transfers ----------------------------------------------------------------------------------------


@pattern(vector.TransferRead, vector.TransferWrite)
def transfer_in_bounds(op: Any, rewriter: Rewriter) -> bool:
    """Dims where start and sizes are known and the vector fits; broadcast dims, too."""
    base = op.base.type
    bounds = list(op.bounds)
    for axis, (expr, size) in enumerate(zip(op.permutation.results, op.vector_type.shape, strict=True)):
        if bounds[axis]:
            continue
        if not isinstance(expr, AffineDim):
            bounds[axis] = True
            continue
        start = known_integer(op.indices[expr.position])
        whole = base.shape[expr.position]
        if start is not None and whole != DYNAMIC and start >= 0 and start + size <= whole:
            bounds[axis] = True
    if tuple(bounds) == op.bounds:
        return False
    rewriter.set_attribute(op, "in_bounds", bool_array(bounds))
    return True


@pattern(vector.TransferRead, vector.TransferWrite)
def transfer_unmasked(op: Any, rewriter: Rewriter) -> bool:
    """A mask that is true everywhere."""
    if op.mask is None or _uniform_mask(op.mask) is not True:
        return False
    if isinstance(op, vector.TransferRead):
        rewriter.replace_with(
            op,
            vector.TransferRead,
            op.base,
            op.indices,
            op.padding,
            op.vector_type,
            op.permutation,
            op.bounds,
        )
    else:
        new = rewriter.create(
            vector.TransferWrite, op.value_to_store, op.base, op.indices, op.permutation, op.bounds
        )
        rewriter.replace(op, list(new.results))
    return True


@pattern(vector.Contract)
def contract_without_reduction_kind(op: vector.Contract, rewriter: Rewriter) -> bool:
    """The kind is stated."""
    if "kind" in op.attributes:
        return False
    rewriter.set_attribute(op, "kind", CombiningKindAttr("add"))
    return True


PATTERNS = [
    constant_splat,
    evaluated,
    same_type,
    splat_to_broadcast,
    broadcast_of_broadcast,
    shape_cast_of_shape_cast,
    bitcast_of_bitcast,
    transpose_of_transpose,
    simpler_extract,
    simpler_insert,
    extractelement_to_extract,
    insertelement_to_insert,
    simpler_shuffle,
    whole_slice,
    elements_alike,
    reduction_of_one,
    constant_create_mask,
    full_or_empty_mask,
    uniformly_masked_load,
    uniformly_masked_store,
    gather_of_nothing,
    scatter_of_nothing,
    transfer_in_bounds,
    transfer_unmasked,
    contract_without_reduction_kind,
]
