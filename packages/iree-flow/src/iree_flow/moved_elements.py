"""Where an element of a value comes from: back through transposes, slices, reshapes and constant factors.

The indices of an element are symbolic (``iree_codegen.indexing``). A reshape that merges what a variable
cannot tell apart stops the way back, or asks for the variable to be split into several.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from iree_base.records import record
from iree_codegen import indexing
from iree_codegen.indexing import Affine, Var
from iree_core_ir.dialects import linalg, tensor
from iree_core_ir.ir.affine import AffineConstant, AffineDim, AffineExpr
from iree_core_ir.ir.builder import Builder
from iree_core_ir.ir.known_values import known_number
from iree_core_ir.ir.operation import Op, Value
from iree_core_ir.ir.types import DYNAMIC, TensorType
from iree_flow import fusion
from iree_flow.dims import Dim, DimResolver


class SplitVariable(Exception):
    """``var`` runs over several dims at once: it must become one variable a dim, ``axes`` of ``value``."""

    def __init__(self, var: Var, value: Value, axes: Sequence[int]) -> None:
        super().__init__(f"{var.name} over axes {list(axes)} of {value.type}")
        self.var = var
        self.value = value
        self.axes = tuple(axes)


@record(frozen=True)
class Element:
    """``factor * value[forms]``."""

    value: Value
    forms: tuple[Affine, ...]
    factor: float = 1.0


def origin(
    value: Value, forms: Sequence[Affine], *, factors: bool = False, splittable: Collection[Var] = ()
) -> Element:
    """The element that ``value[forms]`` is, moved; with ``factors`` also scaled by constants.

    Raises SplitVariable when one of the variables ``splittable`` stands for several dims.
    """
    found = Element(value, tuple(forms))
    while True:
        op: Any = found.value.defining_op
        before = None if op is None else _before(op, found, factors, splittable)
        if before is None:
            return found
        found = before


def only_way(value: Value, stop: Value) -> bool:
    """Each value on the way from ``value`` back to ``stop``, where it comes from, has one user."""
    while value.has_one_use:
        if value is stop:
            return True
        op: Any = value.defining_op
        value = op.operands[0]
    return False


def _before(op: Any, at: Element, factors: bool, splittable: Collection[Var]) -> Element | None:
    if isinstance(op, linalg.Generic):
        return _generic(op, at, factors)
    if isinstance(op, tensor.ExtractSlice):
        return _slice(op, at)
    if isinstance(op, tensor.ExpandShape):
        sizes = op.result.type.shape
        if any(sizes[i] == DYNAMIC for group in op.groups for i in group[1:]):
            return None
        forms = [indexing.linearize([at.forms[i] for i in g], [sizes[i] for i in g]) for g in op.groups]
        return Element(op.operands[0], tuple(forms), at.factor)
    if isinstance(op, tensor.CollapseShape):
        return _collapse(op, at, splittable)
    return None


def _generic(op: linalg.Generic, at: Element, factors: bool) -> Element | None:
    """Data movement, or a product with a constant."""
    if len(op.inputs) != 1 or fusion.kind_of(op) != fusion.ELEMENTWISE or op.uses_output(0):
        return None
    argument, (yielded, *_) = op.body.args[0], op.body.terminator.operands
    factor = 1.0
    if yielded is not argument:
        scaled = scaled_by(yielded, argument) if factors else None
        if scaled is None:
            return None
        factor = scaled
    if not isinstance(op.inputs[0].type, TensorType) or yielded.type is not argument.type:
        return None
    loops = [indexing.ZERO] * op.n_loops
    for position, form in zip(op.indexing_maps[1].dim_positions(), at.forms, strict=True):
        assert position is not None
        loops[position] = form
    forms = tuple(indexing.apply(e, loops) for e in op.indexing_maps[0].results)
    return Element(op.inputs[0], forms, at.factor * factor)


def scaled_by(value: Value, argument: Value) -> float | None:
    """``c`` when ``value`` is ``argument`` times or over a constant."""
    op = value.defining_op
    if op is None or op.name not in ("arith.mulf", "arith.divf"):
        return None
    a, b = op.operands
    if op.name == "arith.mulf" and b is argument:
        a, b = b, a
    number = constant_number(b)
    if a is not argument or number is None or number == 0.0:
        return None
    return number if op.name == "arith.mulf" else 1.0 / number


def constant_number(value: Value) -> float | None:
    """The number that a scalar, a splat or a filled tensor is known to hold."""
    op = value.defining_op
    if op is not None and op.name in ("linalg.fill", "tensor.splat"):
        return constant_number(op.operands[0])
    number = known_number(value)
    return None if number is None else float(number)


def _slice(op: tensor.ExtractSlice, at: Element) -> Element | None:
    if any(s != 1 for s in op.mixed_strides) or not all(isinstance(o, int) for o in op.mixed_offsets):
        return None
    dropped = op.dropped_dims(op.result.type.shape) or frozenset()
    given = iter(at.forms)
    forms = []
    for axis, offset in enumerate(op.mixed_offsets):
        form = indexing.ZERO if axis in dropped else next(given)
        forms.append(form + offset)  # type: ignore[operator]
    return Element(op.operands[0], tuple(forms), at.factor)


def _collapse(op: tensor.CollapseShape, at: Element, splittable: Collection[Var]) -> Element | None:
    sizes = op.operands[0].type.shape
    forms: list[Affine] = []
    for form, group in zip(at.forms, op.groups, strict=True):
        own = [sizes[i] for i in group]
        if any(size == DYNAMIC for size in own[1:]):
            real = [i for i, size in enumerate(own) if size != 1]
            if len(real) > 1:
                return None
            forms += [form if i in real else indexing.ZERO for i in range(len(own))]
            continue
        parts = indexing.delinearize(form, tuple(own))
        for part in parts:
            if any(v.definition is not None for v, _ in part.terms):
                var = form.terms[0][0]
                plain = len(form.terms) == 1 and form.terms[0][1] == 1 and form.constant == 0
                if plain and var in splittable:
                    raise SplitVariable(var, op.operands[0], [i for i in group if sizes[i] != 1])
                return None
        forms += parts
    return Element(op.operands[0], tuple(forms), at.factor)


# -- reading an element by an affine map -----------------------------------------------------------------


def as_expression(form: Affine, places: dict[Var, int]) -> AffineExpr:
    """``form`` over loops: ``places`` says which loop a variable is."""
    assert isinstance(form.constant, int)
    result: AffineExpr = AffineConstant(0)
    for var, coefficient in form.terms:
        assert isinstance(coefficient, int)
        result = result + AffineDim(places[var]) * coefficient
    return result + form.constant


def read_by_axes(builder: Builder, element: Element, resolver: DimResolver) -> tuple[Value, list[Affine]]:
    """The element's value, reshaped so that as many variables as possible index an axis of their own."""
    value, forms = element.value, element.forms
    groups: list[list[int]] = []
    sizes: list[Dim] = []
    indices: list[Affine] = []
    for form, size in zip(forms, resolver.dims(value), strict=True):
        axes = _split_axis(form, size) if isinstance(size, int) else None
        if axes is None:
            axes = [(size, form)]  # type: ignore[list-item]
        groups.append(list(range(len(sizes), len(sizes) + len(axes))))
        sizes += [axis for axis, _ in axes]
        indices += [index for _, index in axes]
    if len(sizes) != len(forms):
        value = builder.create(tensor.ExpandShape, value, groups, sizes).result
    return value, indices


def _split_axis(form: Affine, size: int) -> list[tuple[int, Affine]] | None:
    """(size, index) of the axes that an axis of ``size`` read at ``form`` splits into."""
    if not form.terms or not isinstance(form.constant, int):
        return None
    terms = sorted(form.terms, key=lambda t: -t[1])  # type: ignore[operator]
    axes: list[tuple[int, Affine]] = []
    left, constant = size, form.constant
    for var, coefficient in terms:
        extent = var.extent
        if not isinstance(extent, int) or not isinstance(coefficient, int) or coefficient < 1:
            return None
        if left % coefficient:
            return None
        own, offset = left // coefficient, constant // coefficient
        left, constant = coefficient, constant % coefficient
        if own % extent == 0 and offset % extent == 0:
            if own != extent:
                axes.append((own // extent, indexing.constant(offset // extent)))
            axes.append((extent, indexing.of(var)))
        elif offset:
            axes.append((own, indexing.of(var) + offset))
        else:
            return None
    if left != 1:
        axes.append((left, indexing.constant(constant)))
    return axes


def is_zero_filled(value: Value) -> bool:
    """A tensor filled with 0, as products start from."""
    op: Op | None = value.defining_op
    return op is not None and op.name == "linalg.fill" and constant_number(op.operands[0]) == 0.0
