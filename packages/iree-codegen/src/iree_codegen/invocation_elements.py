"""Elements of a dispatch in invocation form: vectors of up to four lanes, loaded whole only where aligned.

There are no masked accesses and no gathers: lanes that do not lie side by side are loaded one by one.
"""

from __future__ import annotations

from collections.abc import Sequence

from iree_codegen import dims as dim_ops
from iree_codegen.dims import Dim
from iree_codegen.elements import Elements, Memory, Point
from iree_codegen.indexing import Affine, Bindings, Var
from iree_codegen.kernel_builder import Index, lanes_of
from iree_codegen.scalars import NotVectorizable
from iree_core_ir.ir.operation import Value
from iree_core_ir.ir.types import IntegerType, element_of, index


def is_aligned(address: Affine, lane_var: Var, lanes: int) -> bool:
    """True when ``address`` is a multiple of ``lanes`` wherever ``lane_var`` is."""
    return dim_ops.is_multiple(address.constant, lanes) and all(
        var is lane_var or dim_ops.is_multiple(coefficient, lanes) or _is_aligned_rest(var, lane_var, lanes)
        for var, coefficient in address.terms
    )


def _is_aligned_rest(var: Var, lane_var: Var, lanes: int) -> bool:
    """A remainder of something aligned by a multiple of ``lanes``."""
    if var.definition is None or var.definition[0] != "mod":
        return False
    _, form, divisor = var.definition
    return dim_ops.is_multiple(divisor, lanes) and is_aligned(form, lane_var, lanes)


def lane_step(form: Affine, lane_var: Var, lanes: int) -> Dim | None:
    """What one lane adds to ``form``, where lane 0 is at a multiple of ``lanes``: 0 when uniform, None when
    lanes are not evenly spaced. Quotients and remainders by multiples of ``lanes`` do not break."""
    step: Dim = 0
    for var, coefficient in form.terms:
        own = _var_step(var, lane_var, lanes)
        if own is None:
            return None
        step = dim_ops.add(step, dim_ops.mul(own, coefficient))
    return step


def _var_step(var: Var, lane_var: Var, lanes: int) -> Dim | None:
    if var is lane_var:
        return 1
    if isinstance(var.value, Value) and lanes_of(var.value) > 1:
        return None
    if var.definition is None:
        return 0
    kind, form, divisor = var.definition
    inner = lane_step(form, lane_var, lanes)
    if inner == 0:
        return 0
    if inner == 1 and dim_ops.is_multiple(divisor, lanes) and is_aligned(form, lane_var, lanes):
        return 0 if kind == "floordiv" else 1
    return None


def lane(at: Bindings, number: int) -> Bindings:
    """Where lane ``number`` stands."""
    if at.lane_var is None:
        return at
    values: dict[Var, Index] = dict(at.values)
    values[at.lane_var] = at.kernel.add(values[at.lane_var], number)
    return Bindings(at.kernel, values)


class InvocationElements(Elements):
    """As ``Elements``, with aligned vectors of few lanes."""

    index_bits = 32
    """Width of the kernel's indices."""

    def checked_index(self, raw: Value, extent: Dim) -> tuple[Value, Value]:
        """As in ``Elements``; wider integers are compared before they are cut to the width of an index."""
        k, element = self.kernel, element_of(raw.type)
        if not isinstance(element, IntegerType) or element.width <= self.index_bits:
            return super().checked_index(raw, extent)
        size = k.cast("arith.index_castui", k.value(k.dim(extent)), element)
        return k.cast("arith.index_cast", raw, index), k.cmpi("ult", raw, size)

    def load(self, memory: Memory, forms: Sequence[Affine], point: Point) -> Value:
        k, at = self.kernel, point.at
        address = memory.address(forms)
        step = self._step(address, at)
        if step == 0:
            return k.load(memory.memory, k.add(memory.base, at.scalar(address)))
        if point.mask is not None or at.lane_var is None:
            raise NotVectorizable("masked load")
        if any(isinstance(v.value, Value) and lanes_of(v.value) > 1 for v, _ in address.terms):
            raise NotVectorizable("computed places")
        if self._is_whole(memory, address, at):
            return k.vload(memory.memory, at.scalar(address), point.lanes)
        result: Value | None = None
        for number in range(point.lanes):
            place = k.add(memory.base, lane(at, number).scalar(address))
            element = k.load(memory.memory, place)
            result = k.splat(element, point.lanes) if result is None else k.insert(element, result, number)
        assert result is not None
        return result

    def store(self, value: Value, memory: Memory, forms: Sequence[Affine], point: Point) -> None:
        k, at = self.kernel, point.at
        address = memory.address(forms)
        if point.lanes == 1:
            k.store(value, memory.memory, k.add(memory.base, at.scalar(address)))
            return
        if point.mask is not None or self._step(address, at) == 0:
            raise NotVectorizable("store")
        vector = k.splat(value, point.lanes)
        if self._is_whole(memory, address, at):
            k.vstore(vector, memory.memory, at.scalar(address))
            return
        for number in range(point.lanes):
            place = k.add(memory.base, lane(at, number).scalar(address))
            k.store(k.extract(vector, number), memory.memory, place)

    def _step(self, address: Affine, at: Bindings) -> Dim | None:
        if at.lane_var is None or at.lanes == 1:
            return 0
        return lane_step(address, at.lane_var, at.lanes) if at.lanes_aligned else at.step(address)

    def _is_whole(self, memory: Memory, address: Affine, at: Bindings) -> bool:
        """One aligned vector holds all lanes."""
        return (
            memory.base == 0
            and at.lanes_aligned
            and at.lane_var is not None
            and self._step(address, at) == 1
            and is_aligned(address, at.lane_var, at.lanes)
        )


__all__ = ["InvocationElements", "is_aligned", "lane", "lane_step"]
