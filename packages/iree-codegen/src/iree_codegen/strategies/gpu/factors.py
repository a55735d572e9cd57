"""How the elements of a contraction's factor are read: from memory, from a padded image, or computed.

Every read is inside its memory: what a bound excludes is read at element 0 and replaced, so that no
invocation branches.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from iree_base.records import record
from iree_codegen import dims as dim_ops
from iree_codegen import indexing
from iree_codegen.accesses import AccessWalker
from iree_codegen.contraction import MOVEMENT
from iree_codegen.dims import Dim
from iree_codegen.dispatch import Binding, Dispatch
from iree_codegen.elements import Point
from iree_codegen.gpu_frame import GpuFrame
from iree_codegen.indexing import Affine, Bindings, Var
from iree_codegen.kernel_builder import KernelBuilder, vector_of
from iree_core_ir.ir.attributes import Type
from iree_core_ir.ir.known_values import known_number
from iree_core_ir.ir.operation import Value
from iree_core_ir.ir.types import element_of

Bound = tuple[Affine, Dim]
"""A form that must lie in ``[0, size)``."""


class Factor(Protocol):
    """One factor of a product."""

    @property
    def element(self) -> Type:
        """Its type in memory."""
        ...

    def lanes_along(self, var: Var, lanes: int) -> bool:
        """Whether ``lanes`` elements from any multiple of ``lanes`` along ``var`` are one aligned vector."""
        ...

    def contiguous(self, var: Var) -> bool:
        """Whether neighbours along ``var`` are mostly neighbours in memory."""
        ...

    def read(self, frame: GpuFrame, at: Bindings, lanes: int, extra: Sequence[Bound]) -> Value:
        """The element at ``at``, or a vector of ``lanes`` from there; 0 where an ``extra`` bound fails."""
        ...


@record
class Direct:
    """Elements of an argument at an address; outside of ``bounds`` the number ``outside``."""

    binding: Binding
    address: Affine
    bounds: tuple[Bound, ...] = ()
    outside: float = 0.0
    guarded: Affine | None = None
    """The part of the address that the bounds are about: without it, the rest is inside. None: all of it."""

    @property
    def element(self) -> Type:
        return element_of(self.binding.value.type)

    def lanes_along(self, var: Var, lanes: int) -> bool:
        if group_step(self.address, var, lanes) != 1 or not _is_aligned(self.address, var, lanes):
            return False
        return self.uniform_along(var, lanes)

    def uniform_along(self, var: Var, lanes: int) -> bool:
        """Whether the bounds hold for all or none of a group of ``lanes`` along ``var``."""
        return all(group_step(form, var, lanes) == 0 for form, _ in self.bounds)

    def contiguous(self, var: Var) -> bool:
        return any(c == 1 and _depends(indexing.of(v), var) for v, c in self.address.terms)

    def read(self, frame: GpuFrame, at: Bindings, lanes: int, extra: Sequence[Bound]) -> Value:
        k = frame.kernel
        inside = conditions(k, at, self.bounds)
        wanted = conditions(k, at, extra)
        loaded = self.load(frame, at, lanes, inside, wanted)
        condition = _both(k, inside, wanted)
        if condition is None:
            return loaded
        type = vector_of(lanes, self.element)
        zero = k.constant(_number(0, self.element), type)
        if inside is None or self.outside == 0.0:
            return k.select(condition, loaded, zero)
        found = k.select(inside, loaded, k.constant(_number(self.outside, self.element), type))
        return found if wanted is None else k.select(wanted, found, zero)

    def load(
        self, frame: GpuFrame, at: Bindings, lanes: int, inside: Value | None, wanted: Value | None = None
    ) -> Value:
        """What lies at the address, or where ``inside`` or ``wanted`` are false somewhere in the memory."""
        k = frame.kernel
        memory = frame.binding_args[self.binding.index]
        if wanted is None and inside is not None and self.guarded is not None:
            rest = self.address + self.guarded.scaled(-1)
            own = k.select(inside, k.value(at.scalar(self.guarded)), k.value(0))
            return k.vload(memory, k.add(at.scalar(rest), own), lanes)
        address = at.scalar(self.address)
        condition = _both(k, inside, wanted)
        if condition is not None:
            address = k.select(condition, k.value(address), k.value(0))
        return k.vload(memory, address, lanes)


@record
class Computed:
    """Elements that are computed from other tensors where they are read."""

    dispatch: Dispatch
    value: Value
    forms: tuple[Affine, ...]

    @property
    def element(self) -> Type:
        return element_of(self.value.type)

    def lanes_along(self, var: Var, lanes: int) -> bool:
        return False

    def contiguous(self, var: Var) -> bool:
        walk = AccessWalker(self.dispatch, ()).walk(self.value, self.forms)
        for access in walk.accesses:
            binding = self.dispatch.binding_of(access.value)
            if binding is None or len(access.forms) != len(self.forms):
                continue
            address = indexing.linearize(access.forms, binding.dims)
            if any(c == 1 and _depends(indexing.of(v), var) for v, c in address.terms):
                return True
        return False

    def read(self, frame: GpuFrame, at: Bindings, lanes: int, extra: Sequence[Bound]) -> Value:
        k = frame.kernel

        def element() -> Value:
            return frame.elements.element(self.value, self.forms, Point(at))

        condition = conditions(k, at, extra)
        if condition is None:
            return element()
        zero = k.constant(_number(0, self.element), self.element)
        return k.if_(condition, lambda: [element()], lambda: [zero])[0]


def direct_factor(dispatch: Dispatch, value: Value, forms: Sequence[Affine]) -> Direct | None:
    """``value[forms]`` as an element of an argument that is moved or padded; None when it is computed."""
    bounds: list[Bound] = []
    outside = 0.0
    own = tuple(forms)
    source: tuple[tuple[Affine, ...], tuple[bool, ...]] | None = None
    pad: Any = value.defining_op
    if pad is not None and pad.name == "tensor.pad":
        number = known_number(pad.regions[0].block.terminator.operands[0])
        if number is None:
            return None
        outside = number
        moved: list[Affine] = []
        sizes = dispatch.dims(pad.operands[0])
        for form, size, low, high in zip(own, sizes, pad.mixed_low, pad.mixed_high, strict=True):
            before, after = dispatch.dim_of(low), dispatch.dim_of(high)
            form = form + dim_ops.mul(before, -1)
            moved.append(form)
            if before != 0 or after != 0:
                bounds.append((form, size))
        own = tuple(moved)
        value = pad.operands[0]
        bounded = tuple(form in [b for b, _ in bounds] for form in own)
        source = own, bounded
    walk = AccessWalker(dispatch, ()).walk(value, own)
    if walk.guarded or len(walk.accesses) != 1:
        return None
    if any(op.name not in MOVEMENT or op.name == "tensor.pad" for op in walk.ops):
        return None
    binding = dispatch.binding_of(walk.accesses[0].value)
    if binding is None or binding.packed is not None:
        return None
    found = walk.accesses[0].forms
    address = indexing.linearize(found, binding.dims)
    guarded: Affine | None = None
    if source is not None and found == source[0]:
        kept = [form if b else indexing.ZERO for form, b in zip(*source, strict=True)]
        guarded = indexing.linearize(kept, binding.dims)
        if any(v in dict(guarded.terms) for v, _ in (address + guarded.scaled(-1)).terms):
            guarded = None
    return Direct(binding, address, tuple(bounds), outside, guarded)


def _number(number: float, element: Type) -> Any:
    return number if str(element).startswith(("f", "bf")) else int(number)


# -- conditions -------------------------------------------------------------------------------------


def conditions(k: KernelBuilder, at: Bindings, bounds: Sequence[Bound]) -> Value | None:
    """All bounds hold; None when that is known. A negative index is a large unsigned one."""
    result: Value | None = None
    for form, size in bounds:
        if form.is_below(size):
            continue
        result = _both(k, result, k.compare("ult", at.scalar(form), k.dim(size)))
    return result


def _both(k: KernelBuilder, a: Value | None, b: Value | None) -> Value | None:
    if a is None or b is None:
        return b if a is None else a
    return k.binary("arith.andi", a, b)


# -- how forms run along a variable ----------------------------------------------------------------------


def _depends(form: Affine, var: Var) -> bool:
    inner = (v.definition[1] for v, _ in form.terms if v.definition is not None)
    return any(v is var for v, _ in form.terms) or any(_depends(f, var) for f in inner)


def group_step(form: Affine, var: Var, lanes: int) -> Dim | None:
    """What one step along ``var`` adds inside an aligned group of ``lanes``; None when that differs."""
    step: Dim = 0
    for own, coefficient in form.terms:
        if own is var:
            step = dim_ops.add(step, coefficient)
            continue
        if own.definition is None or not _depends(own.definition[1], var):
            continue
        kind, inner, divisor = own.definition
        # Whole groups lie between multiples of the divisor: the quotient stays, the remainder runs.
        if group_step(inner, var, lanes) != 1 or not _is_aligned(inner, var, lanes):
            if group_step(inner, var, lanes) == 0:
                continue
            return None
        if not dim_ops.is_multiple(divisor, lanes):
            return None
        if kind == "mod":
            step = dim_ops.add(step, coefficient)
    return step


def _is_aligned(form: Affine, var: Var, lanes: int) -> bool:
    """At multiples of ``lanes`` along ``var`` the form is a multiple of ``lanes``."""
    if not dim_ops.is_multiple(form.constant, lanes):
        return False
    for own, coefficient in form.terms:
        if own is var or dim_ops.is_multiple(coefficient, lanes):
            continue
        if own.definition is None or own.definition[0] != "mod":
            return False
        _, inner, divisor = own.definition
        if not dim_ops.is_multiple(divisor, lanes) or not _is_aligned(inner, var, lanes):
            return False
    return True


__all__ = ["Bound", "Computed", "Direct", "Factor", "conditions", "direct_factor", "group_step"]
