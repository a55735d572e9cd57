"""Which elements of stored values one element of a fused chain reads, found without emitting code.

The same walk as ``elements``, on symbolic indices only. Plans are made from its answers: which loops are
common to several steps, which accesses are contiguous along a loop, which loops can be merged.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from iree_base.records import field, record
from iree_codegen import dims as dim_ops
from iree_codegen import indexing
from iree_codegen.dispatch import Dispatch
from iree_codegen.indexing import Affine, Var
from iree_core_ir.dialects.linalg_structured import StructuredOp
from iree_core_ir.ir.operation import Op, Value
from iree_core_ir.ir.types import TensorType


@record
class Access:
    """``value[forms]`` is read; ``loops`` are the reduction variables that run around the access."""

    value: Value
    forms: tuple[Affine, ...]
    loops: tuple[Var, ...] = ()


@record
class Walk:
    """Everything that computing some elements touches."""

    accesses: list[Access] = field(default_factory=list)
    ops: dict[Op, None] = field(default_factory=dict)
    index_vars: dict[Var, None] = field(default_factory=dict)
    """Variables whose value the chain uses as data (``linalg.index``, bounds checks)."""
    guarded: bool = False
    """True when something is computed under a condition (pads, slices, concatenations)."""


class AccessWalker:
    """Walks from a value to the stored values; ``stored`` ones end the walk."""

    def __init__(self, dispatch: Dispatch, stored: Collection[Value]) -> None:
        self.dispatch = dispatch
        self.stored = stored
        self._reduced: tuple[Op | None, list[Affine]] = (None, [])

    def walk(
        self,
        value: Value,
        forms: Sequence[Affine],
        *,
        through: bool = False,
        reduced: Sequence[Affine] | None = None,
    ) -> Walk:
        """What ``value[forms]`` reads; ``through``: look into ``value`` even when it is stored itself.

        ``reduced``: the indices of the reduction loops of the op that makes ``value`` (default: variables).
        """
        walk = Walk()
        self._reduced = (value.defining_op, list(reduced or ()))
        self._visit(value, tuple(forms), (), walk, through, set())
        return walk

    def _visit(
        self,
        value: Value,
        forms: tuple[Affine, ...],
        loops: tuple[Var, ...],
        walk: Walk,
        through: bool,
        seen: set[Any],
    ) -> None:
        key = (value, forms)
        if key in seen:
            return
        seen.add(key)
        op: Any = value.defining_op
        if op is None or (value in self.stored and not through):
            walk.accesses.append(Access(value, forms, loops))
            return

        def visit(v: Value, f: Sequence[Affine]) -> None:
            self._visit(v, tuple(f), loops, walk, False, seen)

        walk.ops[op] = None
        if isinstance(op, StructuredOp):
            self._structured(op, value.index, forms, loops, walk, seen)
            return
        mover = _MOVERS.get(op.name)
        if mover is not None:
            mover(self, op, forms, walk, visit)

    def _structured(
        self,
        op: Any,
        output: int,
        forms: tuple[Affine, ...],
        loops: tuple[Var, ...],
        walk: Walk,
        seen: set[Any],
    ) -> None:
        extents = self.dispatch.loop_dims(op)
        at: list[Affine | None] = [None] * len(extents)
        map = op.indexing_maps[op.n_inputs + output]
        for position, form in zip(map.dim_positions(), forms, strict=True):
            if position is not None:
                at[position] = form
        inner = loops
        filled: list[Affine] = []
        root, reduced = self._reduced
        rest = iter(reduced if op is root else ())
        for number, given in enumerate(at):
            given = next(rest, None) if given is None else given
            if given is None:
                var = Var(f"r{number}", extents[number])
                inner = (*inner, var)
            filled.append(indexing.of(var) if given is None else given)
        for body_op in op.body:
            if body_op.name == "linalg.index":
                for var, _ in filled[body_op.attributes["dim"].value].terms:
                    walk.index_vars[var] = None
            elif body_op.name == "tensor.extract":
                rank = body_op.operands[0].type.rank
                unknown = tuple(indexing.of(Var("unknown")) for _ in range(rank))
                walk.guarded = True
                self._visit(body_op.operands[0], unknown, inner, walk, False, seen)
        maps = op.indexing_maps
        for argument, position in zip(op.body.args, op.body_arguments(), strict=True):
            operand = op.operands[position]
            if argument.uses and isinstance(operand.type, TensorType):
                own = tuple(indexing.apply(e, filled) for e in maps[position].results)
                # Initial values are read outside of the reduction loops.
                around = loops if position >= op.n_inputs else inner
                self._visit(operand, own, around, walk, False, seen)

    # -- data movement --------------------------------------------------------------------------

    def _same(self, op: Any, forms: Any, walk: Walk, visit: Any) -> None:
        visit(op.operands[0], forms)

    def _collapse(self, op: Any, forms: Any, walk: Walk, visit: Any) -> None:
        source = self.dispatch.dims(op.operands[0])
        own: list[Affine] = []
        for form, group in zip(forms, op.groups, strict=True):
            own += indexing.delinearize(form, tuple(source[i] for i in group))
        visit(op.operands[0], own if op.groups else [indexing.ZERO] * len(source))

    def _expand(self, op: Any, forms: Any, walk: Walk, visit: Any) -> None:
        dims = self.dispatch.dims(op.results[0])
        own = [indexing.linearize([forms[i] for i in g], [dims[i] for i in g]) for g in op.groups]
        visit(op.operands[0], own)

    def _reshape(self, op: Any, forms: Any, walk: Walk, visit: Any) -> None:
        flat = indexing.linearize(forms, self.dispatch.dims(op.results[0]))
        visit(op.operands[0], indexing.delinearize(flat, self.dispatch.dims(op.operands[0])))

    def _extract_slice(self, op: Any, forms: Any, walk: Walk, visit: Any) -> None:
        dropped = op.dropped_dims(op.results[0].type.shape) or frozenset()
        given = iter(forms)
        own = []
        for axis, (offset, stride) in enumerate(zip(op.mixed_offsets, op.mixed_strides, strict=True)):
            form = indexing.ZERO if axis in dropped else next(given)
            own.append(form.scaled(self.dispatch.dim_of(stride)) + self.dispatch.dim_of(offset))
        visit(op.operands[0], own)

    def _pad(self, op: Any, forms: Any, walk: Walk, visit: Any) -> None:
        own = []
        for form, low, high in zip(forms, op.mixed_low, op.mixed_high, strict=True):
            low_dim, high_dim = self.dispatch.dim_of(low), self.dispatch.dim_of(high)
            if low_dim != 0 or high_dim != 0:
                walk.guarded = True
                for var, _ in form.terms:
                    walk.index_vars[var] = None
            own.append(form + dim_ops.mul(low_dim, -1))
        visit(op.operands[0], own)

    def _insert_slice(self, op: Any, forms: Any, walk: Walk, visit: Any) -> None:
        walk.guarded = True
        dropped = op.dropped_dims(op.operands[0].type.shape) or frozenset()
        own = []
        for axis, form in enumerate(forms):
            offset, stride = (
                self.dispatch.dim_of(op.mixed_offsets[axis]),
                self.dispatch.dim_of(op.mixed_strides[axis]),
            )
            for var, _ in form.terms:
                walk.index_vars[var] = None
            moved = form + dim_ops.mul(offset, -1)
            if stride != 1:
                moved = indexing.floordiv(moved, stride)
            if axis not in dropped:
                own.append(moved)
        visit(op.operands[0], own)
        visit(op.operands[1], forms)

    def _insert(self, op: Any, forms: Any, walk: Walk, visit: Any) -> None:
        walk.guarded = True
        for form in forms:
            for var, _ in form.terms:
                walk.index_vars[var] = None
        visit(op.operands[1], forms)

    def _concat(self, op: Any, forms: Any, walk: Walk, visit: Any) -> None:
        walk.guarded = True
        axis = op.attributes["dim"].value
        for var, _ in forms[axis].terms:
            walk.index_vars[var] = None
        start: dim_ops.Dim = 0
        for value in op.operands:
            visit(value, (*forms[:axis], forms[axis] + dim_ops.mul(start, -1), *forms[axis + 1 :]))
            start = dim_ops.add(start, self.dispatch.dims(value)[axis])

    def _gather(self, op: Any, forms: Any, walk: Walk, visit: Any) -> None:
        axis = op.attributes["axis"].value
        rank = op.operands[1].type.rank
        extent = self.dispatch.dims(op.operands[0])[axis]
        where = tuple(forms[axis : axis + rank])
        for form in where:
            for var, _ in form.terms:
                walk.index_vars[var] = None
        visit(op.operands[1], where)
        # The index depends on the variables of ``where`` in an unknown way.
        spread = [t for form in where for t in form.terms]
        taken = _unknown(spread, extent)
        visit(op.operands[0], (*forms[:axis], taken, *forms[axis + rank :]))

    def _along(self, op: Any, forms: Any, walk: Walk, visit: Any) -> None:
        """Scans, sorts: every element along the dim may be read."""
        axis = op.dimension.value
        extent = self.dispatch.dims(op.operands[0])[axis]
        visit(op.operands[0], (*forms[:axis], indexing.of(Var("along", extent)), *forms[axis + 1 :]))

    def _everything(self, op: Any, forms: Any, walk: Walk, visit: Any) -> None:
        """Scatters: any element of the operands."""
        for operand in op.operands:
            dims = self.dispatch.dims(operand)
            visit(operand, tuple(indexing.of(Var("any", d)) for d in dims))

    def _data(self, op: Any, forms: Any, walk: Walk, visit: Any) -> None:
        for form in forms:
            for var, _ in form.terms:
                walk.index_vars[var] = None

    def _nothing(self, op: Any, forms: Any, walk: Walk, visit: Any) -> None:
        return


def _unknown(terms: Sequence[tuple[Var, Any]], extent: Any) -> Affine:
    """Some function of the variables in ``terms``."""
    inside = Affine(tuple({id(v): (v, 1) for v, _ in terms}.values()))
    return indexing.of(Var("taken", extent, None, ("floordiv", inside, 1)))


_MOVERS: dict[str, Callable[..., None]] = {
    "arith.constant": AccessWalker._nothing,
    "linalg_ext.gather": AccessWalker._gather,
    "linalg_ext.scan": AccessWalker._along,
    "linalg_ext.scatter": AccessWalker._everything,
    "linalg_ext.sort": AccessWalker._along,
    "linalg_ext.topk": AccessWalker._along,
    "tensor.bitcast": AccessWalker._same,
    "tensor.cast": AccessWalker._same,
    "tensor.collapse_shape": AccessWalker._collapse,
    "tensor.concat": AccessWalker._concat,
    "tensor.expand_shape": AccessWalker._expand,
    "tensor.extract_slice": AccessWalker._extract_slice,
    "tensor.from_elements": AccessWalker._data,
    "tensor.generate": AccessWalker._data,
    "tensor.insert": AccessWalker._insert,
    "tensor.insert_slice": AccessWalker._insert_slice,
    "tensor.pad": AccessWalker._pad,
    "tensor.reshape": AccessWalker._reshape,
}
