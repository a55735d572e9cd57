"""Canonical forms of ``linalg_ext``: layouts that cancel, static shapes."""

from __future__ import annotations

from typing import Any

from iree_core_ir.canonicalize.shapes import cast_back, more_static
from iree_core_ir.dialects import linalg, linalg_ext, tensor
from iree_core_ir.dialects.linalg_ext_base import LinalgExtOp
from iree_core_ir.dialects.linalg_structured import output_types
from iree_core_ir.ir.known_values import known_attribute
from iree_core_ir.rewriter import Rewriter, pattern


def _same_layout(a: Any, b: Any, rank: int) -> bool:
    return bool(
        a.inner_dims_pos is b.inner_dims_pos
        and a.inner_tiles is b.inner_tiles
        and a.permutation(rank) == b.permutation(rank)
    )


@pattern(linalg_ext.UnPack)
def unpack_of_pack(op: linalg_ext.UnPack, rewriter: Rewriter) -> bool:
    """What was packed, when it comes out as it went in."""
    if not op.results:
        return False
    inner = op.inputs[0].defining_op
    if not isinstance(inner, linalg_ext.Pack) or not inner.results:
        return False
    source, type = inner.inputs[0], op.results[0].type
    if source.type is not type or not type.is_static or not _same_layout(op, inner, type.rank):
        return False
    rewriter.replace(op, source)
    return True


@pattern(linalg_ext.Pack)
def pack_of_unpack(op: linalg_ext.Pack, rewriter: Rewriter) -> bool:
    """What was unpacked, when no padding was cut off in between."""
    if not op.results:
        return False
    inner = op.inputs[0].defining_op
    if not isinstance(inner, linalg_ext.UnPack) or not inner.results:
        return False
    plain, source = op.inputs[0].type, inner.inputs[0]
    if source.type is not op.results[0].type or not plain.is_static:
        return False
    if not _same_layout(op, inner, plain.rank):
        return False
    tiles = zip(op.inner_dims_pos.values, op.inner_tiles.values, strict=True)
    if any(plain.shape[d] % tile for d, tile in tiles):
        return False
    rewriter.replace(op, source)
    return True


@pattern(linalg_ext.Pack)
def pack_of_fill(op: linalg_ext.Pack, rewriter: Rewriter) -> bool:
    """A filled tensor packed, padded with nothing else, is filled."""
    if not op.results:
        return False
    inner = op.inputs[0].defining_op
    if not isinstance(inner, linalg.Fill) or not inner.results:
        return False
    value, padding = inner.inputs[0], op.padding
    if value.type is not op.results[0].type.element_type:
        return False
    if padding is not None and padding is not value:
        constant = known_attribute(padding)
        if constant is None or constant is not known_attribute(value):
            return False
    rewriter.replace_with(op, linalg.Fill, [value], [op.outputs[0]])
    return True


@pattern(linalg_ext.Pack)
def unneeded_padding(op: linalg_ext.Pack, rewriter: Rewriter) -> bool:
    """Tiles that divide the sizes are never padded."""
    plain = op.inputs[0].type
    if op.padding is None:
        return False
    dims = op.inner_dims_pos.values
    if any(
        plain.shape[d] < 0 or plain.shape[d] % t for d, t in zip(dims, op.inner_tiles.values, strict=True)
    ):
        return False
    permutation = None if op.outer_dims_perm is None else op.outer_dims_perm.values
    new = rewriter.create(
        linalg_ext.Pack, op.inputs[0], op.outputs[0], dims, op.inner_tiles.values, permutation
    )
    rewriter.replace(op, list(new.results))
    return True


@pattern(LinalgExtOp)
def through_casts(op: LinalgExtOp, rewriter: Rewriter) -> bool:
    """Operands as static as they were before a cast hid it; results cast back."""
    operands = list(op.operands)
    changed = False
    for i, value in enumerate(operands):
        producer = value.defining_op
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


PATTERNS = [unpack_of_pack, pack_of_unpack, pack_of_fill, unneeded_padding, through_casts]
