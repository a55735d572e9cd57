"""MatMul, Gemm, Einsum, MatMulInteger -> linalg contractions.

Two-dimensional products become ``linalg.matmul``; a right-hand matrix shared by all batches too, with the
batch dims merged into the rows; equal batch dims ``linalg.batch_matmul``; batch dims that broadcast and
Einsum a ``linalg.generic`` of the same body.
"""

from __future__ import annotations

from collections.abc import Sequence

from iree_base.element_types import ElementType
from iree_core_ir.dialects import linalg
from iree_core_ir.dialects.linalg_attributes import TypeFnAttr
from iree_core_ir.ir.affine import AffineConstant, AffineDim, AffineExpr, AffineMap
from iree_core_ir.ir.attributes import Attribute
from iree_input_onnx.dims import Dim, product
from iree_input_onnx.elements import I32, accumulator
from iree_input_onnx.emit import PARALLEL, REDUCTION, Emitter
from iree_input_onnx.errors import Unsupported
from iree_input_onnx.node import Node
from iree_input_onnx.ops.cast import convert
from iree_input_onnx.ops.elementwise import same_element
from iree_input_onnx.scalars import Scalar
from iree_input_onnx.table import onnx_op
from iree_input_onnx.values import Tensor


def contract(
    e: Emitter,
    op: type[linalg.Contraction],
    inputs: Sequence[Tensor],
    shape: Sequence[Dim],
    element: ElementType,
) -> Tensor:
    """A named contraction into zeros, accumulated in at least f32, as ``element``."""
    wide = accumulator(element)
    attributes: dict[str, Attribute] = {}
    if element.kind == "u":
        attributes["cast"] = TypeFnAttr("cast_unsigned")
    made = op.make([e.value(t) for t in inputs], [e.filled(shape, wide, 0)], attributes)
    return convert(e, e.named(made, shape, wide), element)


def matmul(e: Emitter, a: Tensor, b: Tensor) -> Tensor:
    """numpy's ``a @ b``. Raises ValueError when the shapes do not fit."""
    element = a.element
    if a.rank == 0 or b.rank == 0:
        raise ValueError("MatMul of a scalar")
    if a.rank == 1:
        return e.squeeze(*_drop(matmul(e, e.unsqueeze(a, [0]), b), -2 if b.rank > 1 else -1))
    if b.rank == 1:
        return e.squeeze(*_drop(matmul(e, a, e.unsqueeze(b, [1])), -1))
    m, k, n = a.shape[-2], a.shape[-1], b.shape[-1]
    if isinstance(k, int) and isinstance(b.shape[-2], int) and k != b.shape[-2]:
        raise ValueError(f"inner dimensions {k} and {b.shape[-2]} differ")
    batch_a, batch_b = a.shape[:-2], b.shape[:-2]
    if all(d == 1 for d in batch_b) and len(batch_b) <= len(batch_a):
        rows = product((*batch_a, m))
        flat = e.reshape(a, [rows, k]), e.reshape(b, b.shape[-2:])
        return e.reshape(contract(e, linalg.MatMul, flat, [rows, n], element), [*batch_a, m, n])
    if batch_a == batch_b:
        batch = product(batch_a)
        pair = e.reshape(a, [batch, m, k]), e.reshape(b, [batch, *b.shape[-2:]])
        return e.reshape(contract(e, linalg.BatchMatMul, pair, [batch, m, n], element), [*batch_a, m, n])
    return _broadcast_matmul(e, a, b)


def _drop(t: Tensor, axis: int) -> tuple[Tensor, list[int]]:
    return t, [axis % t.rank]


def _broadcast_matmul(e: Emitter, a: Tensor, b: Tensor) -> Tensor:
    """Batch dims that broadcast: one generic over batch, m, n, k."""
    batch = e.broadcast_shape([a.shape[:-2], b.shape[:-2]])
    a = e.broadcast_to(a, [*batch, *a.shape[-2:]]) if _unknown(e, a, batch) else a
    b = e.broadcast_to(b, [*batch, *b.shape[-2:]]) if _unknown(e, b, batch) else b
    rank = len(batch)
    m, n, k = rank, rank + 1, rank + 2

    def operand(t: Tensor, row: int, column: int) -> AffineMap:
        first = rank - (t.rank - 2)
        results: list[AffineExpr] = [
            AffineDim(first + i) if dim == batch[first + i] else AffineConstant(0)
            for i, dim in enumerate(t.shape[:-2])
        ]
        return AffineMap(rank + 3, 0, [*results, AffineDim(row), AffineDim(column)])

    shape = [*batch, a.shape[-2], b.shape[-1]]
    maps = [operand(a, m, k), operand(b, k, n), AffineMap.select(rank + 3, [*range(rank), m, n])]
    return contraction(e, [a, b], maps, [PARALLEL] * (rank + 2) + [REDUCTION], shape, a.element)


def _unknown(e: Emitter, t: Tensor, batch: Sequence[Dim]) -> bool:
    return e.broadcast_map(t.shape[:-2], batch) is None


def contraction(
    e: Emitter,
    inputs: Sequence[Tensor],
    maps: Sequence[AffineMap],
    iterators: Sequence[str],
    shape: Sequence[Dim],
    element: ElementType,
) -> Tensor:
    """A generic that sums products of its inputs."""
    wide = accumulator(element)

    def body(builder: object, *scalars: Scalar) -> Scalar:
        *factors, total = (s.to(wide) for s in scalars)
        term = factors[0]
        for factor in factors[1:]:
            term = term * factor
        return total + term

    destination = (e.filled(shape, wide, 0), shape, wide)
    return convert(e, e.generic(inputs, maps, iterators, [destination], body)[0], element)


@onnx_op("MatMul")
def matmul_op(e: Emitter, node: Node) -> Tensor:
    a, b = node.input(0), node.input(1)
    same_element(node, [a, b])
    return matmul(e, a, b)


@onnx_op("MatMulInteger")
def matmul_integer(e: Emitter, node: Node) -> Tensor:
    a, b = (convert(e, node.input(i), I32) for i in (0, 1))
    for i, zero in ((0, node.optional(2)), (1, node.optional(3))):
        if zero is None:
            continue
        shifted = convert(e, zero, I32)
        if i == 0:
            if shifted.rank == 1 and shifted.n_elements != 1:
                shifted = e.unsqueeze(shifted, [1])
            a = e.elementwise([a, shifted], lambda x, z: x - z, I32)
        else:
            b = e.elementwise([b, shifted], lambda x, z: x - z, I32)
    return matmul(e, a, b)


@onnx_op("Gemm", since=6)
def gemm(e: Emitter, node: Node) -> Tensor:
    a, b, c = node.input(0), node.input(1), node.optional(2)
    element = same_element(node, [t for t in (a, b, c) if t is not None])
    alpha, beta = node.float("alpha"), node.float("beta")
    if a.rank != 2 or b.rank != 2:
        raise node.error(f"ranks {a.rank} and {b.rank}, expected 2")
    if node.int("transA", 0):
        a = e.transpose(a, [1, 0])
    if node.int("transB", 0):
        b = e.transpose(b, [1, 0])
    result = matmul(e, a, b)
    if c is None or beta == 0:
        # What counts nothing is not read, as in BLAS: it may be NaN.
        if alpha == 1:
            return result
        return e.elementwise([result], lambda x: _scaled(x, alpha), element)

    def body(x: Scalar, y: Scalar) -> Scalar:
        return _scaled(x, alpha) + _scaled(y, beta)

    return e.elementwise([result, c], body, element)


def _scaled(x: Scalar, factor: float) -> Scalar:
    if factor == 1:
        return x
    if not x.is_float:
        if factor != int(factor):
            raise Unsupported("a fractional factor for integers")
        return x * int(factor)
    return x * factor


@onnx_op("Einsum", notes="at most one ellipsis an operand")
def einsum(e: Emitter, node: Node) -> Tensor:
    inputs = node.variadic
    element = same_element(node, inputs)
    text = node.string("equation").replace(" ", "")
    left, arrow, right = text.partition("->")
    terms = left.split(",")
    if len(terms) != len(inputs):
        raise node.error(f"{len(terms)} terms for {len(inputs)} inputs")
    depth = 0
    labels: list[list[str]] = []
    for term, t in zip(terms, inputs, strict=True):
        before, dots, after = term.partition("...")
        hidden = t.rank - len(before) - len(after) if dots else 0
        if hidden < 0 or (not dots and t.rank != len(term)):
            raise node.error(f"term '{term}' for an input of rank {t.rank}")
        depth = max(depth, hidden)
        labels.append([*before, *(f"...{i - hidden}" for i in range(hidden)), *after])
    ellipsis = [f"...{i - depth}" for i in range(depth)]
    if arrow:
        before, dots, after = right.partition("...")
        output = [*before, *(ellipsis if dots else []), *after]
    else:
        flat = [name for names in labels for name in names if not name.startswith("...")]
        output = [*ellipsis, *sorted(name for name in set(flat) if flat.count(name) == 1)]
    names = [*output]
    names += [n for n in dict.fromkeys(name for row in labels for name in row) if n not in names]
    sizes: dict[str, Dim] = {}
    for name in names:
        dims = [
            t.shape[i] for row, t in zip(labels, inputs, strict=True) for i, n in enumerate(row) if n == name
        ]
        if not dims:
            raise node.error(f"output label '{name}' is in no input")
        sizes[name] = e.broadcast_shape([[d] for d in dims])[0]
    maps = []
    for row, t in zip(labels, inputs, strict=True):
        results: list[AffineExpr] = []
        for name, dim in zip(row, t.shape, strict=True):
            if dim != sizes[name] and dim != 1:
                raise Unsupported("dimensions that broadcast only at run time")
            results.append(AffineDim(names.index(name)) if dim == sizes[name] else AffineConstant(0))
        maps.append(AffineMap(len(names), 0, results))
    maps.append(AffineMap.select(len(names), range(len(output))))
    iterators = [PARALLEL] * len(output) + [REDUCTION] * (len(names) - len(output))
    return contraction(e, inputs, maps, iterators, [sizes[n] for n in output], element)
