"""Ops that only rename or reorder elements: reshapes, transposes, Expand, depth <-> space."""

from __future__ import annotations

from iree_core_ir.dialects import arith, cf
from iree_core_ir.ir.operation import Value
from iree_input_onnx.dims import Dim, divide_exact, floordiv, is_non_negative, product
from iree_input_onnx.emit import Emitter
from iree_input_onnx.errors import Unsupported
from iree_input_onnx.indexing import normalize_axes, normalize_axis
from iree_input_onnx.node import Node
from iree_input_onnx.table import onnx_op
from iree_input_onnx.values import Tensor


def reshape_target(source: tuple[Dim, ...], wanted: list[Dim], keep_zero: bool) -> list[Dim]:
    """``wanted`` with 0 (copy the dim, unless ``keep_zero``) and -1 (what remains) filled in.

    Raises ValueError when that is impossible.
    """
    target: list[Dim] = []
    for axis, dim in enumerate(wanted):
        if dim == 0 and not keep_zero:
            if axis >= len(source):
                raise ValueError(f"dimension {axis} is to be copied from an input of rank {len(source)}")
            dim = source[axis]
        target.append(dim)
    open_axes = [axis for axis, dim in enumerate(target) if dim == -1]
    if len(open_axes) > 1:
        raise ValueError("more than one dimension is -1")
    if open_axes:
        rest = product(dim for axis, dim in enumerate(target) if axis != open_axes[0])
        total = product(source)
        if rest == 0:
            raise ValueError("the dimension -1 cannot be inferred beside a dimension 0")
        exact = divide_exact(total, rest)
        if exact is None and isinstance(total, int) and isinstance(rest, int):
            raise ValueError(f"cannot reshape {list(source)} to {wanted}")
        target[open_axes[0]] = floordiv(total, rest) if exact is None else exact
    return target


@onnx_op("Reshape", since=5, notes="the length of the shape must be static")
def reshape(e: Emitter, node: Node) -> Tensor:
    x = node.input(0)
    wanted = e.dims(node.input(1))
    keep_zero = bool(node.int("allowzero", 0))
    if all(isinstance(d, int) or is_non_negative(d) for d in wanted):
        return e.reshape(x, reshape_target(x.shape, wanted, keep_zero))
    return e.reshape(x, _runtime_target(e, x.shape, wanted, keep_zero))


def _runtime_target(e: Emitter, source: tuple[Dim, ...], wanted: list[Dim], keep_zero: bool) -> list[Dim]:
    """``reshape_target`` for dims that are read from a tensor: what they mark is only seen at run time."""
    make = e.builder.create
    zero = e.index(0)
    dims: list[Value] = []
    for axis, dim in enumerate(wanted):
        value = e.index(dim)
        if not keep_zero and axis < len(source):
            is_zero = make(arith.CmpI, "eq", value, zero).result
            value = make(arith.Select, is_zero, e.index(source[axis]), value).result
        dims.append(value)
    others = e.index(-1) if len(dims) else zero
    for value in dims:
        others = make(arith.MulI, others, value).result  # -1 * -1 * the other dims
    rest = make(arith.DivSI, e.index(product(source)), others).result
    target: list[Dim] = []
    for dim, value in zip(wanted, dims, strict=True):
        if isinstance(dim, int) and dim > 0:
            target.append(dim)
            continue
        is_open = make(arith.CmpI, "slt", value, zero).result
        size = make(arith.Select, is_open, rest, value).result
        there = make(arith.CmpI, "sge", size, zero).result
        make(cf.Assert, there, "a shape holds several unknown sizes")
        target.append(e.space.symbol("reshape", size))
    return target


@onnx_op("Flatten")
def flatten(e: Emitter, node: Node) -> Tensor:
    x = node.input(0)
    axis = node.int("axis")
    if not -x.rank <= axis <= x.rank:
        raise node.error(f"axis {axis} is out of range for rank {x.rank}")
    axis = axis + x.rank if axis < 0 else axis
    return e.reshape(x, [product(x.shape[:axis]), product(x.shape[axis:])])


def axes_of(e: Emitter, node: Node, input_since: int) -> list[int] | None:
    """Axes from the attribute, or from input 1 where the definition is at least ``input_since``."""
    if node.since < input_since:
        return node.ints("axes")  # type: ignore[no-any-return]
    t = node.optional(1)
    if t is None:
        return None
    axes = e.array(t)
    if axes is None:
        raise Unsupported("axes only known at run time")
    return [int(a) for a in axes.reshape(-1)]


@onnx_op("Squeeze")
def squeeze(e: Emitter, node: Node) -> Tensor:
    x = node.input(0)
    axes = axes_of(e, node, 13)
    if axes is None:
        if any(not isinstance(d, int) for d in x.shape):
            raise Unsupported("all unit dimensions of a dynamic shape")
        return e.squeeze(x, [i for i, d in enumerate(x.shape) if d == 1])
    axes = normalize_axes(axes, x.rank)
    for axis in axes:
        if isinstance(x.shape[axis], int) and x.shape[axis] != 1:
            raise node.error(f"dimension {axis} has size {x.shape[axis]}, not 1")
    return e.squeeze(x, axes)


@onnx_op("Unsqueeze")
def unsqueeze(e: Emitter, node: Node) -> Tensor:
    x = node.input(0)
    axes = axes_of(e, node, 13)
    if axes is None:
        raise node.error("axes are missing")
    return e.unsqueeze(x, normalize_axes(axes, x.rank + len(axes)))


@onnx_op("Transpose")
def transpose(e: Emitter, node: Node) -> Tensor:
    x = node.input(0)
    permutation = node.ints("perm", list(range(x.rank))[::-1])
    if sorted(permutation) != list(range(x.rank)):
        raise node.error(f"{permutation} is no permutation of {x.rank} dimensions")
    return e.transpose(x, permutation)


@onnx_op("Expand", notes="the length of the shape must be static")
def expand(e: Emitter, node: Node) -> Tensor:
    x = node.input(0)
    return e.broadcast_to(x, e.broadcast_shape([x.shape, e.dims(node.input(1))]))


@onnx_op("DepthToSpace")
def depth_to_space(e: Emitter, node: Node) -> Tensor:
    x = node.input(0)
    n, c, h, w = x.shape
    block = node.int("blocksize")
    rest = c // (block * block)
    if isinstance(c, int) and rest * block * block != c:
        raise node.error(f"{c} channels for blocks of {block}x{block}")
    if node.string("mode", "DCR") == "DCR":
        split = e.transpose(e.reshape(x, [n, block, block, rest, h, w]), [0, 3, 4, 1, 5, 2])
    else:
        split = e.transpose(e.reshape(x, [n, rest, block, block, h, w]), [0, 1, 4, 2, 5, 3])
    return e.reshape(split, [n, rest, h * block, w * block])


@onnx_op("SpaceToDepth")
def space_to_depth(e: Emitter, node: Node) -> Tensor:
    x = node.input(0)
    n, c, h, w = x.shape
    block = node.int("blocksize")
    split = e.reshape(x, [n, c, h // block, block, w // block, block])
    if node.get("mode", "DCR") == "CRD":
        moved = e.transpose(split, [0, 1, 3, 5, 2, 4])
    else:
        moved = e.transpose(split, [0, 3, 5, 1, 2, 4])
    return e.reshape(moved, [n, c * (block * block), h // block, w // block])


__all__ = ["axes_of", "normalize_axis", "reshape_target"]
