"""Reductions along a contiguous loop: vector accumulators, combined across lanes at the end.

The order of the sums is fixed by the extents alone, so results do not depend on threads or tiles.
"""

from __future__ import annotations

from typing import Any

from iree_codegen import indexing
from iree_codegen.collapse import merge
from iree_codegen.dims import Dim
from iree_codegen.elements import Elements, Point
from iree_codegen.indexing import Affine, Bindings, Var
from iree_codegen.kernel_builder import Index, vector_of
from iree_codegen.plan import Step
from iree_core_ir.dialects.linalg_structured import StructuredOp
from iree_core_ir.ir.operation import Value
from iree_core_ir.ir.types import FloatType, element_of

UNROLL = 4
"""Independent accumulators: enough to cover the latency of an addition."""

COMBINERS: dict[str, str] = {
    "arith.addf": "add",
    "arith.addi": "add",
    "arith.mulf": "mul",
    "arith.muli": "mul",
    "arith.andi": "and",
    "arith.ori": "or",
    "arith.xori": "xor",
    "arith.minsi": "minsi",
    "arith.maxsi": "maxsi",
    "arith.minui": "minui",
    "arith.maxui": "maxui",
    "arith.minimumf": "minimumf",
    "arith.maximumf": "maximumf",
    "arith.minnumf": "minnumf",
    "arith.maxnumf": "maxnumf",
}


def combiner(op: Any, output: int) -> str | None:
    """The op that joins an element to output ``output`` of a reduction; None when it is no plain one."""
    block = op.body
    argument = None
    for candidate, position in zip(block.args, op.body_arguments(), strict=True):
        if position == op.n_inputs + output:
            argument = candidate
    joined = block.terminator.operands[output].defining_op
    if argument is None or joined is None or joined.name not in COMBINERS or not argument.has_one_use:
        return None
    if joined not in argument.uses or joined.operands[0] is joined.operands[1]:
        return None
    return str(joined.name)


def identity(name: str, type: Any) -> Any:
    """The value that changes nothing when joined by ``name``."""
    if name in ("arith.addf",):
        return -0.0
    if name in ("arith.addi", "arith.ori", "arith.xori", "arith.maxui"):
        return 0
    if name in ("arith.mulf", "arith.muli"):
        return 1
    if isinstance(type, FloatType):
        return float("-inf") if "max" in name else float("inf")
    width = type.width if hasattr(type, "width") else 64
    return {
        "arith.andi": -1,
        "arith.minui": -1,
        "arith.minsi": (1 << (width - 1)) - 1,
        "arith.maxsi": -(1 << (width - 1)),
    }[name]


class RowReduction:
    """Emits the reduction of ``step`` at one outer index with lanes along its innermost reduced loop."""

    def __init__(self, elements: Elements, step: Step, lanes: int, masks: bool) -> None:
        self.elements = elements
        self.step = step
        self.lanes = lanes
        self.masks = masks
        self.op: Any = step.values[0].defining_op

    def emit(self, at: Bindings) -> list[Value] | None:
        """The final scalars; None when the op does not fit."""
        op = self.op
        if not isinstance(op, StructuredOp) or len(op.results) != len(self.step.values):
            return None
        names = [combiner(op, i) for i in range(len(op.outputs))]
        if any(name is None for name in names):
            return None
        if any(inner.regions for inner in op.body):
            return None
        loops = self.elements.loop_forms(op, 0, self.step.forms)
        extents = self.elements.dispatch.loop_dims(op)
        reduced = [i for i, form in enumerate(loops) if form is None]
        k = self.elements.kernel
        variables, forms = self._variables(reduced, [extents[i] for i in reduced])
        filled = [forms[reduced.index(i)] if f is None else f for i, f in enumerate(loops)]
        types = [element_of(v.type) for v in op.outputs]
        starts = [
            k.constant(identity(str(n), t), vector_of(self.lanes, t))
            for n, t in zip(names, types, strict=True)
        ]

        def combine(a: list[Value], b: list[Value]) -> list[Value]:
            return [k.pure(str(n), (x, y), x.type) for n, x, y in zip(names, a, b, strict=True)]

        def nest(depth: int, at: Bindings, carried: list[Value]) -> list[Value]:
            var = variables[depth]
            if depth < len(variables) - 1:
                return k.loop(
                    0,
                    k.dim(var.extent),  # type: ignore[arg-type]
                    1,
                    carried,
                    lambda i, *c: nest(depth + 1, at.child({var: i}), list(c)),
                )
            return self._row(var, at, filled, carried, combine)

        def row_or_nest() -> list[Value]:
            return nest(0, at, starts * 1)

        vectors = row_or_nest()
        results = []
        scalar_point = Point(at)
        for i, (vector, name) in enumerate(zip(vectors, names, strict=True)):
            total = k.reduction(COMBINERS[str(name)], vector)
            initial = self.elements.initial(
                op,
                i,
                [f if f in filled and loops[n] is not None else indexing.ZERO for n, f in enumerate(filled)],
                scalar_point,
            )
            known = k.constant_of(initial)
            if known is not None and known == identity(str(name), types[i]):
                results.append(total)
            else:
                results.append(k.pure(str(name), (initial, total), total.type))
        return results

    def _variables(self, reduced: list[int], extents: list[Dim]) -> tuple[list[Var], list[Affine]]:
        """Loop variables of the reduction, merged where memory allows, and the reduced loops' forms."""
        own = [Var(f"r{i}", e) for i, e in zip(reduced, extents, strict=True)]
        walk = self.step.walk
        placeholders: tuple[Var, ...] = ()
        for access in walk.accesses:
            if len(access.loops) >= len(reduced):
                placeholders = access.loops[: len(reduced)]
        usable = len(placeholders) == len(reduced) and not any(v in walk.index_vars for v in placeholders)
        if len(reduced) < 2 or not usable or self.op.has_index:
            return own, [indexing.of(v) for v in own]
        addresses = []
        for access in walk.accesses:
            memory = self.elements.memory.get(access.value)
            if memory is not None:
                addresses.append(memory.address(access.forms))
        loops, replaced = merge(placeholders, addresses)
        return loops, [replaced.get(v, indexing.of(v)) for v in placeholders]

    def _row(
        self, var: Var, at: Bindings, filled: list[Affine], carried: list[Value], combine: Any
    ) -> list[Value]:
        """One pass over ``var``: UNROLL vectors at a time, then single vectors, then the rest."""
        k, width = self.elements.kernel, self.lanes
        extent = k.dim(var.extent)  # type: ignore[arg-type]

        def accumulate(i: Index, state: list[Value], mask: Value | None = None) -> list[Value]:
            point = Point(at.child({var: i}, var, width), mask)
            values = self.elements.body(self.op, filled, point, state)
            values = [k.splat(v, width) for v in values]
            if mask is None:
                return values
            return [k.select(mask, v, s) for v, s in zip(values, state, strict=True)]

        n = len(carried)
        block = UNROLL * width
        if isinstance(extent, int) and extent < block:
            unrolled, start = carried, 0
        else:
            full: Index = k.mul(k.floordiv(extent, block), block)
            identities = [self._identity(v, i) for i, v in enumerate(carried)]
            inits = carried + identities * (UNROLL - 1)

            def step(i: Index, *state: Value) -> list[Value]:
                result: list[Value] = []
                for u in range(UNROLL):
                    result += accumulate(k.add(i, u * width), list(state[u * n : (u + 1) * n]))
                return result

            parts = k.loop(0, full, block, inits, step)
            groups = [parts[u * n : (u + 1) * n] for u in range(UNROLL)]
            unrolled = combine(combine(groups[0], groups[1]), combine(groups[2], groups[3]))
            start = full  # type: ignore[assignment]
        stop: Index = k.mul(k.floordiv(extent, width), width)
        state = k.loop(start, stop, width, unrolled, lambda i, *s: accumulate(i, list(s)))
        rest = k.sub(extent, stop)
        if rest == 0:
            return state
        if self.masks:
            mask = k.mask_below(rest, width)
            if isinstance(rest, int):
                return accumulate(stop, state, mask)
            return k.if_(
                k.compare("sgt", rest, 0),
                lambda: accumulate(stop, state, mask),
                lambda: state,
            )
        return self._scalar_rest(var, at, filled, stop, extent, state, combine)

    def _identity(self, value: Value, output: int) -> Value:
        name = combiner(self.op, output)
        return self.elements.kernel.constant(identity(str(name), element_of(value.type)), value.type)

    def _scalar_rest(
        self,
        var: Var,
        at: Bindings,
        filled: list[Affine],
        stop: Index,
        extent: Index,
        state: list[Value],
        combine: Any,
    ) -> list[Value]:
        """The last elements one by one, joined to lane 0."""
        k = self.elements.kernel
        firsts = [k.extract(v, 0) for v in state]

        def one(i: Index, *carried: Value) -> list[Value]:
            point = Point(at.child({var: i}))
            return self.elements.body(self.op, filled, point, list(carried))

        ends = k.loop(stop, extent, 1, firsts, one)
        return [k.insert(e, v, 0) for e, v in zip(ends, state, strict=True)]
