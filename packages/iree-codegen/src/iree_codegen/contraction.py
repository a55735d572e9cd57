"""Finds the contraction at the heart of a dispatch and the roles of its loops.

``out[b, m, n] = epilogue(sum over k of A[b, m, k] * B[b, k, n])``: ``n`` is the loop along which the result
is contiguous, ``B`` the operand that has it, ``A`` the other one.
"""

from __future__ import annotations

from typing import Any

from iree_base.records import record
from iree_codegen import indexing
from iree_codegen.accesses import AccessWalker
from iree_codegen.dims import Dim
from iree_codegen.dispatch import Dispatch
from iree_codegen.indexing import Affine, Var
from iree_core_ir.dialects.linalg_structured import StructuredOp
from iree_core_ir.ir.known_values import known_number
from iree_core_ir.ir.operation import Op, Value
from iree_core_ir.ir.types import f32, f64

MOVEMENT = frozenset(
    {
        "tensor.empty", "tensor.cast", "tensor.collapse_shape", "tensor.expand_shape", "tensor.extract_slice",
        "tensor.pad", "arith.constant", "linalg.fill", "tensor.splat",
    }
)  # fmt: skip


@record
class Root:
    """The only reduction of a dispatch, and how the results read it.

    ``vars`` has a variable per loop of ``op``; those of parallel loops are the results' own dims.
    """

    op: Any
    value: Value
    vars: tuple[Var, ...]
    extents: tuple[Dim, ...]
    result_dims: tuple[Dim, ...]
    result_vars: tuple[Var, ...]
    zero: bool
    """The accumulators start from 0."""
    epilogue: tuple[Op, ...]

    @property
    def result_forms(self) -> tuple[Affine, ...]:
        return tuple(
            indexing.ZERO if d == 1 else indexing.of(v)
            for v, d in zip(self.result_vars, self.result_dims, strict=True)
        )

    @property
    def contiguous(self) -> Var | None:
        """The variable along which the results are contiguous; None when they are one element."""
        dims = zip(reversed(self.result_vars), reversed(self.result_dims), strict=True)
        return next((var for var, dim in dims if dim != 1), None)


def product_operands(op: Any) -> tuple[int, int] | None:
    """Operand numbers of the factors when the body is ``out + a * b`` in f32 or f64; None otherwise."""
    if len(op.outputs) != 1 or op.n_inputs != 2:
        return None
    block = op.body
    positions = op.body_arguments()
    arguments = {block.args[i]: p for i, p in enumerate(positions)}
    total = block.terminator.operands[0].defining_op
    if total is None or total.name != "arith.addf" or len(list(block)) != 3:
        return None
    for i in (0, 1):
        accumulator, term = total.operands[i], total.operands[1 - i].defining_op
        if arguments.get(accumulator) != op.n_inputs or term is None or term.name != "arith.mulf":
            continue
        factors = [arguments.get(v) for v in term.operands]
        if sorted(f for f in factors if f is not None) == [0, 1]:
            if accumulator.type in (f32, f64):
                return 0, 1
    return None


def find_root(dispatch: Dispatch, accept: Any) -> Root | None:
    """The one structured op with reduction loops, when every result reads it at its own index."""
    reductions = [op for op in dispatch.ops if isinstance(op, StructuredOp) and op.reduction_dims]
    if len(reductions) != 1 or not dispatch.results or not accept(reductions[0]):
        return None
    op: Any = reductions[0]
    if len(op.results) != 1:
        return None
    value = op.results[0]
    first = dispatch.results[0][0]
    dims = dispatch.dims(first)
    if any(dispatch.dims(r) != dims for r, _ in dispatch.results):
        return None
    result_vars = tuple(Var(f"d{i}", d) for i, d in enumerate(dims))
    forms = tuple(indexing.ZERO if d == 1 else indexing.of(v) for v, d in zip(result_vars, dims, strict=True))
    walker = AccessWalker(dispatch, {value})
    place: tuple[Affine, ...] | None = None
    epilogue: dict[Op, None] = {}
    for result, _ in dispatch.results:
        if result is value:
            found = [forms]
        else:
            walk = walker.walk(result, forms)
            found = [a.forms for a in walk.accesses if a.value is value]
            for inner in walk.ops:
                epilogue[inner] = None
                if isinstance(inner, StructuredOp) and inner.reduction_dims:
                    return None
        if len(found) != 1 or (place is not None and found[0] != place):
            return None
        place = found[0]
    assert place is not None
    extents = dispatch.loop_dims(op)
    by_loop: list[Var | None] = [None] * len(extents)
    map = op.indexing_maps[op.n_inputs]
    for position, form in zip(map.dim_positions(), place, strict=True):
        if position is None:
            return None
        if form == indexing.ZERO and extents[position] == 1:
            by_loop[position] = Var("unit", 1)
            continue
        if form.constant != 0 or len(form.terms) != 1 or form.terms[0][1] != 1:
            return None
        var = form.terms[0][0]
        if var not in result_vars or var in by_loop:
            return None
        by_loop[position] = var
    vars = tuple(v if v is not None else Var(f"k{i}", extents[i]) for i, v in enumerate(by_loop))
    return Root(op, value, vars, extents, dims, result_vars, _is_zero(op.outputs[0]), tuple(epilogue))


def _is_zero(value: Value) -> bool:
    op = value.defining_op
    return op is not None and op.name == "linalg.fill" and known_number(op.operands[0]) == 0


def operand_forms(root: Root, operand: int) -> tuple[Affine, ...]:
    """The indices at which the contraction reads an operand."""
    map = root.op.indexing_maps[operand]
    forms = [
        indexing.ZERO if e == 1 else indexing.of(v) for v, e in zip(root.vars, root.extents, strict=True)
    ]
    return tuple(indexing.apply(e, forms) for e in map.results)


def direct_access(
    dispatch: Dispatch, value: Value, forms: tuple[Affine, ...]
) -> tuple[Value, tuple[Affine, ...]] | None:
    """(argument, indices) when ``value[forms]`` is an element of an argument, moved but not computed."""
    walk = AccessWalker(dispatch, ()).walk(value, forms)
    if walk.guarded or len(walk.accesses) != 1:
        return None
    if any(op.name not in MOVEMENT or op.name == "tensor.pad" for op in walk.ops):
        return None
    access = walk.accesses[0]
    return access.value, access.forms
