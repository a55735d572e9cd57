"""Elements of what only moves data, or is constant: from the element's place to that of the source.

A handler per op, asked by ``Elements`` for values without memory: slices, pads and reshapes change indices
and move nothing; where a place may have no source, a guard decides.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from iree_codegen import dims as dim_ops
from iree_codegen import indexing
from iree_codegen.dims import Dim
from iree_codegen.errors import UNSUPPORTED_OP, CodegenError
from iree_codegen.indexing import Affine
from iree_codegen.kernel_builder import lanes_of
from iree_codegen.scalars import ScalarEvaluator
from iree_core_ir.ir.attributes import DenseElementsAttr
from iree_core_ir.ir.operation import Op, Value
from iree_core_ir.ir.types import TensorType, element_of, index

if TYPE_CHECKING:
    from iree_codegen.elements import Elements, Point

ERROR_INDEX = 1
"""Error kind of the dispatch ABI: an index is out of range."""
Bound = tuple[Affine, Dim, bool, bool]
"""(form, size, check the lower end, check the upper end)."""


def _empty(elements: Elements, op: Any, forms: tuple[Affine, ...], point: Point) -> Value:
    return elements.kernel.constant(0, element_of(op.results[0].type))


def _constant(elements: Elements, op: Any, forms: tuple[Affine, ...], point: Point) -> Value:
    attribute = op.attributes["value"]
    if not isinstance(attribute, DenseElementsAttr):
        raise CodegenError(UNSUPPORTED_OP, "a large constant inside a dispatch")
    element = element_of(attribute.type)
    values = attribute.to_array()
    if attribute.splat or values.size == 1:
        return elements.kernel.constant(values.reshape(-1)[0].item() if values.size else 0, element)
    flat = indexing.linearize(forms, attribute.type.shape)
    return _table(elements, values.reshape(-1), element, flat, point)


def _table(elements: Elements, values: Any, element: Any, flat: Affine, point: Point) -> Value:
    """A small table lookup: selects, by binary decision on the index."""
    k = elements.kernel
    if flat.is_constant and isinstance(flat.constant, int):
        return k.constant(values[flat.constant].item(), element)
    position = point.at.index_value(flat)

    def pick(low: int, high: int) -> Value:
        if high - low == 1:
            return k.constant(values[low].item(), element)
        middle = (low + high) // 2
        below = k.cmpi("slt", position, k.constant(middle, index))
        return k.select(below, pick(low, middle), pick(middle, high))

    return pick(0, len(values))


def _from_elements(elements: Elements, op: Any, forms: tuple[Affine, ...], point: Point) -> Value:
    flat = indexing.linearize(forms, op.results[0].type.shape)
    values = [elements.scalar(v) for v in op.operands]
    if len(values) == 1:
        return values[0]
    if flat.is_constant and isinstance(flat.constant, int):
        return values[flat.constant]
    k = elements.kernel
    position = point.at.index_value(flat)
    result = values[-1]
    for number in range(len(values) - 2, -1, -1):
        here = k.cmpi("eq", position, k.constant(number, index))
        result = k.select(here, values[number], result)
    return result


def _splat(elements: Elements, op: Any, forms: tuple[Affine, ...], point: Point) -> Value:
    return elements.scalar(op.operands[0])


def _generate(elements: Elements, op: Any, forms: tuple[Affine, ...], point: Point) -> Value:
    return _index_body(elements, op.regions[0].block, forms, point)


def _index_body(elements: Elements, block: Any, forms: Sequence[Affine], point: Point) -> Value:
    known = {
        argument: point.at.index_value(form)
        for argument, form in zip(block.args, forms, strict=True)
        if argument.uses
    }

    def special(inner: Op, lookup: Callable[[Value], Value]) -> Sequence[Value] | None:
        if inner.name == "tensor.extract":
            return [elements.extract(inner, lookup, point)]
        return None

    evaluator = ScalarEvaluator(elements.kernel, special)
    evaluator.outside = elements.scalar  # type: ignore[method-assign]
    return evaluator.run(block, known)[0]


def _cast(elements: Elements, op: Any, forms: tuple[Affine, ...], point: Point) -> Value:
    return elements.element(op.operands[0], forms, point)


def _bitcast(elements: Elements, op: Any, forms: tuple[Affine, ...], point: Point) -> Value:
    value = elements.element(op.operands[0], forms, point)
    element = element_of(op.results[0].type)
    if element is element_of(value.type):
        return value
    return elements.kernel.cast("arith.bitcast", value, element)


def _collapse(elements: Elements, op: Any, forms: tuple[Affine, ...], point: Point) -> Value:
    source = elements.dispatch.dims(op.operands[0])
    own: list[Affine] = []
    for form, group in zip(forms, op.groups, strict=True):
        own += indexing.delinearize(form, tuple(source[i] for i in group))
    if not op.groups:
        own = [indexing.ZERO] * len(source)
    return elements.element(op.operands[0], own, point)


def _expand(elements: Elements, op: Any, forms: tuple[Affine, ...], point: Point) -> Value:
    dims = elements.dispatch.dims(op.results[0])
    own = [indexing.linearize([forms[i] for i in group], [dims[i] for i in group]) for group in op.groups]
    return elements.element(op.operands[0], own, point)


def _reshape(elements: Elements, op: Any, forms: tuple[Affine, ...], point: Point) -> Value:
    flat = indexing.linearize(forms, elements.dispatch.dims(op.results[0]))
    own = indexing.delinearize(flat, elements.dispatch.dims(op.operands[0]))
    return elements.element(op.operands[0], own, point)


def _extract_slice(elements: Elements, op: Any, forms: tuple[Affine, ...], point: Point) -> Value:
    dropped = op.dropped_dims(op.results[0].type.shape) or frozenset()
    given = iter(forms)
    own = []
    for axis, (offset, stride) in enumerate(zip(op.mixed_offsets, op.mixed_strides, strict=True)):
        form = indexing.ZERO if axis in dropped else next(given)
        own.append(form.scaled(_number(elements, stride)) + _form(elements, offset))
    return elements.element(op.operands[0], own, point)


def _number(elements: Elements, value: Any) -> Dim:
    return value if isinstance(value, int) else _dim(elements, value)


def _form(elements: Elements, value: Any) -> Affine:
    return indexing.constant(_number(elements, value))


def _dim(elements: Elements, value: Value) -> Dim:
    dim = elements.dispatch.dim_of(value)
    _register(elements, dim)
    return dim


def _register(elements: Elements, dim: Dim) -> None:
    """Make the scalars inside an expression known to the kernel."""
    if isinstance(dim, int):
        return
    if dim.kind == "value":
        elements.kernel.dim_values.setdefault(dim.a, lambda: elements.scalar(dim.a))
    elif dim.kind != "arg":
        _register(elements, dim.a)
        _register(elements, dim.b)


def _conditions(elements: Elements, bounds: Sequence[Bound], point: Point) -> tuple[list[Value], list[Value]]:
    """(uniform, per lane) conditions that forms lie in ``[0, size)``; what is provable is left out."""
    k, at = elements.kernel, point.at
    uniform: list[Value] = []
    lanes: list[Value] = []
    for form, size, low, high in bounds:
        if form.is_below(size):
            continue
        value = at.index_value(form)
        into = lanes if lanes_of(value) > 1 else uniform
        if low:
            into.append(k.cmpi("sge", value, k.constant(0, index)))
        if high:
            into.append(k.cmpi("slt", value, k.value(k.dim(size))))
    return uniform, lanes


def _guarded(
    elements: Elements,
    bounds: Sequence[Bound],
    inside: Callable[[Point], Value],
    outside: Callable[[Point], Value],
    point: Point,
) -> Value:
    """``inside`` where all bounds hold, else ``outside``; nothing out of bounds is read."""
    k = elements.kernel
    uniform, lanes = _conditions(elements, bounds, point)
    if not uniform and not lanes:
        return inside(point)

    def by_lane(now: Point) -> Value:
        if not lanes:
            return inside(now)
        mask = lanes[0]
        for other in lanes[1:]:
            mask = k.binary("arith.andi", mask, other)
        return k.select(mask, inside(now.masked(mask)), outside(now))

    if not uniform:
        return by_lane(point)
    condition = uniform[0]
    for other in uniform[1:]:
        condition = k.binary("arith.andi", condition, other)
    width = point.lanes
    return k.if_(
        condition,
        lambda: [k.splat(by_lane(point.inner()), width)],
        lambda: [k.splat(outside(point.inner()), width)],
    )[0]


def _pad(elements: Elements, op: Any, forms: tuple[Affine, ...], point: Point) -> Value:
    source = op.operands[0]
    sizes = elements.dispatch.dims(source)
    own: list[Affine] = []
    bounds: list[Bound] = []
    for form, size, low, high in zip(forms, sizes, op.mixed_low, op.mixed_high, strict=True):
        low, high = _number(elements, low), _number(elements, high)
        form = form + dim_ops.mul(low, -1)
        own.append(form)
        if low != 0 or high != 0:
            bounds.append((form, size, low != 0, high != 0))
    return _guarded(
        elements,
        bounds,
        lambda p: elements.element(source, own, p),
        lambda p: _index_body(elements, op.regions[0].block, forms, p),
        point,
    )


def _insert_slice(elements: Elements, op: Any, forms: tuple[Affine, ...], point: Point) -> Value:
    source, dest = op.operands[0], op.operands[1]
    dropped = op.dropped_dims(source.type.shape) or frozenset()
    own: list[Affine] = []
    bounds: list[Bound] = []
    full = elements.dispatch.dims(dest)
    for axis, form in enumerate(forms):
        offset, size = _number(elements, op.mixed_offsets[axis]), _number(elements, op.mixed_sizes[axis])
        stride = _number(elements, op.mixed_strides[axis])
        moved = form + dim_ops.mul(offset, -1)
        if stride != 1:
            # On the lattice: the remainder must be 0.
            remainder = indexing.mod(moved + dim_ops.mul(size, stride), stride)
            bounds.append((remainder, 1, False, True))
            quotient = indexing.floordiv(moved + dim_ops.mul(size, stride), stride)
            moved_index = quotient + dim_ops.mul(size, -1)
        else:
            moved_index = moved
        if not (offset == 0 and stride == 1 and size == full[axis]):
            bounds.append((moved_index, size, True, True))
        if axis not in dropped:
            own.append(moved_index)
    return _guarded(
        elements,
        bounds,
        lambda p: elements.element(source, own, p),
        lambda p: elements.element(dest, forms, p),
        point,
    )


def _insert(elements: Elements, op: Any, forms: tuple[Affine, ...], point: Point) -> Value:
    k = elements.kernel
    result = elements.element(op.operands[1], forms, point)
    condition: Value | None = None
    for form, value in zip(forms, op.operands[2:], strict=True):
        here = k.cmpi("eq", point.at.index_value(form), elements.scalar(value))
        condition = here if condition is None else k.binary("arith.andi", condition, here)
    scalar = elements.scalar(op.operands[0])
    return scalar if condition is None else k.select(condition, scalar, result)


def _concat(elements: Elements, op: Any, forms: tuple[Affine, ...], point: Point) -> Value:
    axis = op.attributes["dim"].value

    def piece(number: int, start: Dim, point: Point) -> Value:
        value = op.operands[number]
        moved = forms[axis] + dim_ops.mul(start, -1)
        own = (*forms[:axis], moved, *forms[axis + 1 :])
        if number == len(op.operands) - 1:
            return elements.element(value, own, point)
        size = elements.dispatch.dims(value)[axis]
        return _guarded(
            elements,
            [(moved, size, False, True)],
            lambda p: elements.element(value, own, p),
            lambda p: piece(number + 1, dim_ops.add(start, size), p.inner()),
            point,
        )

    return piece(0, 0, point)


def _fill(elements: Elements, op: Any, forms: tuple[Affine, ...], point: Point) -> Value:
    operand = op.operands[0]
    if isinstance(operand.type, TensorType):
        return elements.element(operand, (), point)
    return elements.scalar(operand, point)


def _gather(elements: Elements, op: Any, forms: tuple[Affine, ...], point: Point) -> Value:
    """``linalg_ext.gather``: every index is checked before it is used."""
    source, indices = op.operands[0], op.operands[1]
    axis = op.attributes["axis"].value
    rank = indices.type.rank
    k = elements.kernel
    where = forms[axis : axis + rank]
    extent = elements.dispatch.dims(source)[axis]
    raw, valid = elements.checked_index(elements.element(indices, where, point), extent)
    everywhere = valid
    if lanes_of(valid) > 1:
        if point.mask is not None:
            outside = k.binary("arith.xori", point.mask, k.mask_below(lanes_of(valid), lanes_of(valid)))
            everywhere = k.binary("arith.ori", valid, outside)
        everywhere = k.all_lanes(everywhere)
    k.check(everywhere, ERROR_INDEX, f"index out of range in {op.location.user_text()}")
    own = (*forms[:axis], indexing.opaque(raw, extent), *forms[axis + rank :])
    return elements.element(source, own, point)


HANDLERS: dict[str, Callable[..., Value]] = {
    "arith.constant": _constant,
    "linalg.fill": _fill,
    "linalg_ext.gather": _gather,
    "tensor.bitcast": _bitcast,
    "tensor.cast": _cast,
    "tensor.collapse_shape": _collapse,
    "tensor.concat": _concat,
    "tensor.empty": _empty,
    "tensor.expand_shape": _expand,
    "tensor.extract_slice": _extract_slice,
    "tensor.from_elements": _from_elements,
    "tensor.generate": _generate,
    "tensor.insert": _insert,
    "tensor.insert_slice": _insert_slice,
    "tensor.pad": _pad,
    "tensor.reshape": _reshape,
    "tensor.splat": _splat,
}
"""Op name -> its handler: the element of its result at ``forms``."""

__all__ = ["ERROR_INDEX", "HANDLERS"]
