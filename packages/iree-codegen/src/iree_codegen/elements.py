"""One element (or one vector of elements) of any tensor value of a dispatch.

Values with memory are loaded. Every other value is computed from its producers at the same place:
elementwise ops evaluate their body, data movement changes the indices, a reduction without memory runs
its loops. So fused chains need no intermediate tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from iree_base.records import field, record
from iree_codegen import dims as dim_ops
from iree_codegen import indexing
from iree_codegen.dims import Dim
from iree_codegen.dispatch import Dispatch
from iree_codegen.element_moves import HANDLERS
from iree_codegen.errors import UNSUPPORTED_OP, CodegenError
from iree_codegen.indexing import Affine, Bindings, Var
from iree_codegen.kernel_builder import Index, KernelBuilder, lanes_of
from iree_codegen.scalars import NotVectorizable, ScalarEvaluator
from iree_core_ir.dialects.linalg_structured import StructuredOp
from iree_core_ir.ir.operation import Op, Value
from iree_core_ir.ir.types import TensorType, element_of, index

UNROLLED_REDUCTION = 25
"""Reductions of up to so many steps (pooling windows) are written out."""


@record(frozen=True)
class Memory:
    """Where a tensor value lies: flat memory, and the step in elements per dim (0: the dim is not stored)."""

    memory: Value
    strides: tuple[Dim, ...]
    offset: Dim = 0
    base: Index = 0

    def address(self, forms: Sequence[Affine]) -> Affine:
        result = indexing.constant(self.offset)
        for form, stride in zip(forms, self.strides, strict=True):
            if stride != 0:
                result = result + form.scaled(stride)
        return result


@record
class Point:
    """Where a kernel stands: loop bindings, the lanes that count (None: all), values computed here."""

    at: Bindings
    mask: Value | None = None
    known: dict[Any, Value] = field(default_factory=dict)

    @property
    def lanes(self) -> int:
        return self.at.lanes

    def inner(self) -> Point:
        """A branch: sees what is known, keeps what it finds to itself."""
        return Point(self.at, self.mask, dict(self.known))

    def masked(self, mask: Value) -> Point:
        k = self.at.kernel
        both = mask if self.mask is None else k.binary("arith.andi", mask, self.mask)
        return Point(self.at, both)


class Elements:
    """Elements of the values of ``dispatch`` in one kernel; ``memory`` says which values are stored."""

    def __init__(self, dispatch: Dispatch, kernel: KernelBuilder, memory: dict[Value, Memory]) -> None:
        self.dispatch = dispatch
        self.kernel = kernel
        self.memory = memory
        self.registers: dict[Value, Value] = {}
        """Stored values of which one element remains at the current outer index."""
        self.overrides: dict[Value, Callable[[tuple[Affine, ...], Point], Value]] = {}
        """Values that a strategy provides itself, such as the tile a micro-kernel left."""
        self.scalar_arguments: dict[Value, Value] = {}
        self.top = ScalarEvaluator(kernel, self._top_special)
        self._top_known: dict[Value, Value] = {}
        self._checked: dict[Op, None] = {}

    # -- scalars -----------------------------------------------------------------------------------

    def scalar(self, value: Value, point: Point | None = None) -> Value:
        """A scalar of the dispatch function: an argument, or computed from such."""
        found = self.scalar_arguments.get(value)
        if found is not None:
            return found
        op = value.defining_op
        if op is None:
            raise CodegenError(UNSUPPORTED_OP, f"{value!r} is no scalar of dispatch '{self.dispatch.name}'")
        known: dict[Value, Value] = {}
        self.top.emit(op, self.scalar, known)
        return known[value]

    def _top_special(self, op: Op, lookup: Callable[[Value], Value]) -> Sequence[Value] | None:
        if op.name == "tensor.extract":
            point = Point(Bindings(self.kernel))
            return [self.extract(op, lookup, point)]
        if op.name == "tensor.dim":
            return [self.kernel.value(self.kernel.dim(self.dispatch.dim_of(op.results[0])))]
        return None

    # -- elements ----------------------------------------------------------------------------------

    def element(self, value: Value, forms: Sequence[Affine], point: Point) -> Value:
        """``value[forms]``: a scalar where uniform over the lanes, else a vector."""
        key = (value, tuple(forms))
        found = point.known.get(key)
        if found is None:
            found = point.known[key] = self._element(value, tuple(forms), point)
        return found

    def _element(self, value: Value, forms: tuple[Affine, ...], point: Point) -> Value:
        override = self.overrides.get(value)
        if override is not None:
            return override(forms, point)
        register = self.registers.get(value)
        if register is not None:
            return register
        memory = self.memory.get(value)
        if memory is not None:
            return self.load(memory, forms, point)
        return self._computed(value, forms, point)

    def element_through(self, value: Value, forms: Sequence[Affine], point: Point) -> Value:
        """``value[forms]`` computed, even when the value is stored itself."""
        key = (value, tuple(forms))
        found = point.known.get(key)
        if found is None:
            if isinstance(value.owner, Op):
                found = self._computed(value, tuple(forms), point)
            else:
                found = self.element(value, forms, point)
            point.known[key] = found
        return found

    def _computed(self, value: Value, forms: tuple[Affine, ...], point: Point) -> Value:
        op: Any = value.defining_op
        if op is None:
            raise CodegenError(
                UNSUPPORTED_OP, f"argument {value.index} of '{self.dispatch.name}' has no memory"
            )
        handler = HANDLERS.get(op.name)
        if handler is not None:
            return handler(self, op, forms, point)
        if isinstance(op, StructuredOp):
            return self._structured(op, value.index, forms, point)
        raise CodegenError(UNSUPPORTED_OP, f"{op.name} inside a dispatch", source=op.location.user_text())

    def load(self, memory: Memory, forms: Sequence[Affine], point: Point) -> Value:
        """Load one element a lane; contiguous lanes as one vector, others gathered."""
        k, at = self.kernel, point.at
        address = memory.address(forms)
        step = at.step(address)
        if step == 0:
            return k.load(memory.memory, k.add(memory.base, at.scalar(address)))
        if step == 1:
            return k.vload(memory.memory, k.add(memory.base, at.scalar(address)), point.lanes, point.mask)
        if step == -1 and point.mask is None:
            lanes = point.lanes
            start = k.add(k.add(memory.base, at.scalar(address)), 1 - lanes)
            loaded = k.vload(memory.memory, start, lanes)
            return k.shuffle(loaded, loaded, range(lanes - 1, -1, -1))
        if step == 2:
            return self._load_every_second(memory, k.add(memory.base, at.scalar(address)), point)
        if step is None and point.mask is None:
            repeated = self._load_repeated(memory, address, point)
            if repeated is not None:
                return repeated
        if step is not None:
            base = k.add(memory.base, at.scalar(address))
            factor = k.dim(step)
            if isinstance(factor, int):
                offsets = k.lane_numbers(point.lanes, index, factor)
            else:
                offsets = k.binary("arith.muli", k.lane_numbers(point.lanes, index), factor)
            return k.gather(memory.memory, base, offsets, point.mask)
        return k.gather(memory.memory, memory.base, at.vector(address), point.mask)

    def _load_every_second(self, memory: Memory, start: Index, point: Point) -> Value:
        """Elements start, start + 2, ...: two loads that touch nothing else beyond the last one."""
        k, lanes = self.kernel, point.lanes
        half = lanes // 2
        # The second vector begins one element early, so that its last lane is the last element wanted.
        picks = [*range(0, lanes, 2), *range(lanes + 1, 2 * lanes, 2)]
        masks: list[Value | None] = [None, None]
        if point.mask is not None:
            mask = point.mask
            even = k.lane_mask([i % 2 == 0 for i in range(lanes)])
            odd = k.lane_mask([i % 2 == 1 for i in range(lanes)])
            low = k.shuffle(mask, mask, [i // 2 for i in range(lanes)])
            high = k.shuffle(mask, mask, [half + i // 2 for i in range(lanes)])
            masks = [k.binary("arith.andi", low, even), k.binary("arith.andi", high, odd)]
        first = k.vload(memory.memory, start, lanes, masks[0])
        second = k.vload(memory.memory, k.add(start, lanes - 1), lanes, masks[1])
        return k.shuffle(first, second, picks)

    def _load_repeated(self, memory: Memory, address: Affine, point: Point) -> Value | None:
        """``a[(i + lane) floordiv d]`` (enlarged images): fewer elements loaded, each repeated ``d`` times.

        None unless the lanes begin at a multiple of ``d``.
        """
        k, at, lanes = self.kernel, point.at, point.lanes
        varying = [(v, c) for v, c in address.terms if at._var_varies(v)]
        if len(varying) != 1 or varying[0][1] != 1 or varying[0][0].definition is None:
            return None
        kind, form, divisor = varying[0][0].definition
        if kind != "floordiv" or not isinstance(divisor, int) or lanes % divisor or at.step(form) != 1:
            return None
        if not all(v is at.lane_var or dim_ops.is_multiple(c, divisor) for v, c in form.terms):
            return None
        if not dim_ops.is_multiple(form.constant, divisor) or not at.lanes_aligned:
            return None
        count = lanes // divisor
        loaded = k.vload(memory.memory, k.add(memory.base, at.scalar(address)), count)
        if count == 1:
            return loaded
        return k.shuffle(loaded, loaded, [i // divisor for i in range(lanes)])

    def store(self, value: Value, memory: Memory, forms: Sequence[Affine], point: Point) -> None:
        """Store one element a lane. Raises NotVectorizable unless lanes are contiguous."""
        k, at = self.kernel, point.at
        address = memory.address(forms)
        start = k.add(memory.base, at.scalar(address))
        if point.lanes == 1:
            k.store(value, memory.memory, start)
            return
        step = at.step(address)
        vector = k.splat(value, point.lanes)
        if step == 1:
            k.vstore(vector, memory.memory, start, point.mask)
            return
        if step is None or step == 0:
            raise NotVectorizable("store")
        if point.mask is not None:
            raise NotVectorizable("masked strided store")
        factor = k.dim(step)
        for lane in range(point.lanes):
            k.store(k.extract(vector, lane), memory.memory, k.add(start, k.mul(factor, lane)))

    # -- structured ops ------------------------------------------------------------------------------

    def loop_forms(self, op: Any, output: int, forms: Sequence[Affine]) -> list[Affine | None]:
        """Per loop of ``op`` its index at element ``forms`` of an output; None for reduction loops."""
        loops: list[Affine | None] = [None] * len(op.iterator_types)
        map = op.indexing_maps[op.n_inputs + output]
        for position, form in zip(map.dim_positions(), forms, strict=True):
            if position is None:
                raise CodegenError(
                    UNSUPPORTED_OP, f"{op.name} with output map {map}", source=op.location.user_text()
                )
            loops[position] = form
        return loops

    def _structured(self, op: Any, output: int, forms: tuple[Affine, ...], point: Point) -> Value:
        loops = self.loop_forms(op, output, forms)
        missing = [i for i, form in enumerate(loops) if form is None]
        if not missing:
            values = self.body(op, [f for f in loops if f is not None], point)
            for i, value in enumerate(values):
                map = op.indexing_maps[op.n_inputs + i]
                if map is op.indexing_maps[op.n_inputs + output]:
                    point.known[(op.results[i], forms)] = value
            return values[output]
        return self.reduce(op, loops, point)[output]

    def body(
        self, op: Any, loops: Sequence[Affine], point: Point, accumulators: Sequence[Value] | None = None
    ) -> list[Value]:
        """The values that the body yields at loop indices ``loops``.

        ``accumulators`` stand for the outputs' current values; without them the initial ones are read.
        """
        k = self.kernel
        block = op.body
        maps = op.indexing_maps
        known: dict[Value, Value] = {}
        for argument, position in zip(block.args, op.body_arguments(), strict=True):
            if not argument.uses:
                continue
            operand = op.operands[position]
            if accumulators is not None and position >= op.n_inputs:
                known[argument] = accumulators[position - op.n_inputs]
            elif not isinstance(operand.type, TensorType):
                known[argument] = self.scalar(operand, point)
            else:
                own = [indexing.apply(e, list(loops)) for e in maps[position].results]
                known[argument] = self.element(operand, own, point)

        def special(inner: Op, lookup: Callable[[Value], Value]) -> Sequence[Value] | None:
            if inner.name == "linalg.index":
                dim = inner.attributes["dim"].value  # type: ignore[attr-defined]
                return [point.at.index_value(loops[dim])]
            if inner.name == "tensor.extract":
                return [self.extract(inner, lookup, point)]
            if inner.name == "tensor.dim":
                return [k.value(k.dim(self.dispatch.dim_of(inner.results[0])))]
            return None

        evaluator = ScalarEvaluator(k, special)
        evaluator.outside = self.scalar  # type: ignore[method-assign]
        return evaluator.run(block, known)

    def reduce(self, op: Any, loops: Sequence[Affine | None], point: Point) -> list[Value]:
        """All outputs at one point: loops over the reduction dims with the accumulators carried."""
        k = self.kernel
        extents = self.dispatch.loop_dims(op)
        dims = [i for i, form in enumerate(loops) if form is None]
        inits = [
            self.initial(op, i, [f if f is not None else indexing.ZERO for f in loops], point)
            for i in range(len(op.outputs))
        ]
        accumulated = [k.splat(v, point.lanes) for v in inits]

        def nest(
            depth: int, filled: list[Affine | None], at: Bindings, carried: Sequence[Value]
        ) -> list[Value]:
            if depth == len(dims):
                inner = Point(at, point.mask)
                done = [f for f in filled if f is not None]
                values = self.body(op, done, inner, carried)
                return [k.splat(v, lanes_of(c)) for v, c in zip(values, carried, strict=True)]
            extent = extents[dims[depth]]
            var = Var(f"r{dims[depth]}", extent)

            def step(i: Index, *values: Value) -> list[Value]:
                now = list(filled)
                now[dims[depth]] = indexing.of(var)
                return nest(depth + 1, now, at.child({var: i}), values)

            if unrolled and isinstance(extent, int):
                values = list(carried)
                for i in range(extent):
                    values = step(i, *values)
                return values
            return k.loop(0, k.dim(extent), 1, list(carried), step)

        total = dim_ops.total([extents[i] for i in dims])
        unrolled = point.lanes > 1 and isinstance(total, int) and total <= UNROLLED_REDUCTION
        return nest(0, list(loops), point.at, accumulated)

    def initial(self, op: Any, output: int, loops: Sequence[Affine], point: Point) -> Value:
        operand = op.outputs[output]
        map = op.indexing_maps[op.n_inputs + output]
        own = [indexing.apply(e, list(loops)) for e in map.results]
        if not op.uses_output(output):
            return self.kernel.constant(0, element_of(operand.type))
        return self.element(operand, own, point)

    # -- what bodies compute places with ---------------------------------------------------------------

    def extract(self, op: Op, lookup: Callable[[Value], Value], point: Point) -> Value:
        """``tensor.extract`` at computed indices."""
        forms = []
        for value in op.operands[1:]:
            found = lookup(value)
            known = self.kernel.constant_of(found)
            forms.append(indexing.constant(int(known)) if known is not None else indexing.opaque(found))
        return self.element(op.operands[0], forms, point)

    def checked_index(self, raw: Value, extent: Dim) -> tuple[Value, Value]:
        """A computed integer as an index, and whether it is in ``[0, extent)``."""
        k = self.kernel
        place = raw if element_of(raw.type) is index else k.cast("arith.index_cast", raw, index)
        return place, k.cmpi("ult", place, k.value(k.dim(extent)))


__all__ = ["Elements", "Memory", "Point"]
