"""Attention -> ``linalg_ext.attention``, which reads heads where they lie.

What the op cannot say (a soft cap, scores as an output, causality behind a cache, other types than f32) is
left to the standard's function body.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from onnx import TensorProto

from iree_core_ir.dialects.linalg_ext_attention import Attention
from iree_core_ir.ir.affine import AffineConstant, AffineDim, AffineExpr, AffineMap
from iree_input_onnx.dims import Dim
from iree_input_onnx.elements import F32, I1
from iree_input_onnx.emit import Emitter
from iree_input_onnx.errors import Unsupported
from iree_input_onnx.node import Node
from iree_input_onnx.table import onnx_op
from iree_input_onnx.values import Tensor

B, H, M, N, K, P = (AffineDim(i) for i in range(6))
"""Batch, heads, queries, keys, depth, width."""


KNOWN = frozenset(
    {
        "is_causal", "kv_num_heads", "q_num_heads", "qk_matmul_output_mode", "scale", "softcap",
        "softmax_precision",
    }
)  # fmt: skip
"""Attributes that the lowering looks at."""


@onnx_op("Attention", since=23, body=True)
def attention(e: Emitter, node: Node) -> list[Tensor | None]:
    _check(node)
    query, key, value = (node.input(i) for i in range(3))
    flat = query.rank == 3
    if flat:
        heads, shared = node.int("q_num_heads"), node.int("kv_num_heads")
        query = _split(e, node, query, heads)
        key, value = _split(e, node, key, shared), _split(e, node, value, shared)
    past_key, past_value = node.optional(4), node.optional(5)
    if past_key is not None and past_value is not None:
        if flat or node.int("is_causal"):
            raise Unsupported("a cache of flat or causal attention")
        key, value = e.concat([past_key, key], 2), e.concat([past_value, value], 2)
    axes = (1, 2) if not flat else (2, 1)
    heads, shared = query.shape[axes[0]], key.shape[axes[0]]
    depth, width = query.shape[3], value.shape[3]
    if not all(isinstance(d, int) for d in (heads, shared, depth, width)):
        raise Unsupported("heads whose number or size is only known at run time")
    assert isinstance(heads, int) and isinstance(shared, int) and isinstance(depth, int)
    if shared < 1 or heads % shared:
        raise node.error(f"{heads} heads share {shared}")
    group = H // (heads // shared) if heads != shared else H
    batch, queries, keys = query.shape[0], query.shape[axes[1]], key.shape[axes[1]]

    def at(head: AffineExpr, *rest: AffineExpr) -> AffineMap:
        """Elements of a token of a head."""
        token, element = rest
        return AffineMap(6, 0, [B, token, head, element] if flat else [B, head, token, element])

    maps = [at(H, M, K), at(group, N, K), at(group, N, P), AffineMap(6)]
    mask = node.optional(3)
    if mask is not None:
        maps.append(_mask_map(mask, (batch, heads, queries, keys)))
    maps.append(at(H, M, P))
    scale = node.get("scale")
    number = e.number(1.0 / math.sqrt(depth) if scale is None else float(scale), F32)
    shape = [batch, queries, heads, width] if flat else [batch, heads, queries, width]
    op = Attention.make(
        e.value(query), e.value(key), e.value(value), number.value, e.empty(shape, F32),
        None if mask is None else e.value(mask), causal=bool(node.int("is_causal")), empty_rows_zero=True,
        maps=maps,
    )  # fmt: skip
    result = e.named(op, shape, F32)
    if flat:
        result = e.reshape(result, [batch, queries, heads * width])
    present = [key, value] if past_key is not None else [None, None]
    return [result, *present][: node.n_outputs]


def _check(node: Node) -> None:
    """Raises Unsupported for what only the standard's body covers."""
    if not KNOWN.issuperset(node.attributes):
        raise Unsupported("windows of keys")
    if any(t.element is not F32 for t in (node.input(i) for i in range(3))):
        raise Unsupported("element types other than f32")
    if node.get("softcap") or node.wants(3) or node.optional(6) is not None:
        raise Unsupported("a soft cap, scores as an output, or padded keys")
    if node.get("softmax_precision") not in (None, TensorProto.FLOAT):
        raise Unsupported("another precision of the softmax")
    cached = node.optional(4) is not None and node.optional(5) is not None
    if not cached and (node.wants(1) or node.wants(2)):
        raise Unsupported("a cache that begins")
    if len({node.input(i).rank for i in range(3)}) != 1 or node.input(0).rank not in (3, 4):
        raise Unsupported("operands of different ranks")


def _split(e: Emitter, node: Node, t: Tensor, heads: int) -> Tensor:
    """``[b, s, heads * size]`` with the heads apart."""
    columns = t.shape[2]
    if not isinstance(columns, int):
        raise Unsupported("heads whose size is only known at run time")
    if heads < 1 or columns % heads:
        raise node.error(f"{columns} columns for {heads} heads")
    return e.reshape(t, [*t.shape[:2], heads, columns // heads])


def _mask_map(mask: Tensor, shape: Sequence[Dim]) -> AffineMap:
    """How the mask is read: broadcast along dims of size 1 and those it does not have."""
    if mask.element not in (F32, I1) or mask.rank > len(shape):
        raise Unsupported("such a mask")
    results: list[AffineExpr] = []
    loops = [B, H, M, N][len(shape) - mask.rank :]
    for size, full, loop in zip(mask.shape, shape[len(shape) - mask.rank :], loops, strict=True):
        if size == full:
            results.append(loop)
        elif size == 1:
            results.append(AffineConstant(0))
        else:
            raise Unsupported("a mask whose sizes may differ from the scores'")
    return AffineMap(6, 0, results)
