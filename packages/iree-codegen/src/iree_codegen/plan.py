"""How a dispatch is split into steps over common outer loops.

A *step* computes one stored value (a result, or an intermediate that is cheaper to keep than to compute
again). Steps of one *group* share their outer loops: for every outer index the steps run in order, each
over its own inner loops, with intermediates in a slab of scratch memory or, when a single element
remains, in a register. So a layer norm is one pass over rows that stay in cache, and the outer loops are
what workgroups share. Groups do not depend on each other.
"""

from __future__ import annotations

from typing import Any

from iree_base.element_types import element_type
from iree_base.records import field, record
from iree_codegen import dims as dim_ops
from iree_codegen import indexing
from iree_codegen.accesses import AccessWalker, Walk
from iree_codegen.dims import Dim
from iree_codegen.dispatch import Binding, Dispatch
from iree_codegen.errors import UNSUPPORTED_OP, CodegenError
from iree_codegen.indexing import Affine, Var
from iree_codegen.sequential import SEQUENTIAL, is_sequential, serial_axes
from iree_core_ir.dialects.linalg_structured import StructuredOp
from iree_core_ir.ir.operation import Op, Value
from iree_core_ir.ir.types import TensorType

SLAB_LIMIT = 256 << 10
"""Intermediates of one outer index stay below this many bytes, so that they stay in the L2 cache."""
WHOLE_LIMIT = 64 << 20
"""The same when there are no outer loops and recomputing would multiply the work."""

EXPENSIVE = frozenset(
    f"math.{name}"
    for name in (
        "exp", "exp2", "expm1", "log", "log1p", "log2", "log10", "sin", "cos", "tan", "asin", "acos", "atan",
        "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "erf", "erfc", "atan2", "powf", "cbrt", "sincos",
    )
)  # fmt: skip


@record
class Step:
    """Computes ``values`` (results of one op, of equal extents) for one outer index.

    ``vars`` has one variable per dim of the values, outer ones shared by the group.
    """

    values: list[Value]
    dims: tuple[Dim, ...]
    vars: tuple[Var, ...]
    destinations: list[Binding | None]
    walk: Walk
    forms: tuple[Affine, ...] = ()
    """The index of every dim, in terms of the loops."""
    loops: tuple[Var, ...] = ()
    """The variables to loop over, slowest first: ``vars`` (but those of extent 1) or merged ones."""
    slab_offsets: list[int] = field(default_factory=list)
    """Where the values without a destination lie in scratch (one entry per value)."""
    slab_dims: tuple[int, ...] = ()
    """Positions of the dims that an intermediate's slab has (the inner ones)."""

    def __post_init__(self) -> None:
        self.use(self.vars)

    def use(self, vars: tuple[Var, ...]) -> None:
        """Take ``vars`` as the dims' variables, unmerged."""
        self.vars = vars
        pairs = list(zip(vars, self.dims, strict=True))
        self.forms = tuple(indexing.of(v) if d != 1 else indexing.ZERO for v, d in pairs)
        self.loops = tuple(v for v, d in pairs if d != 1)

    @property
    def reduces(self) -> bool:
        """True when the op itself accumulates (its own reduction loops run inside)."""
        op: Any = self.values[0].defining_op
        return isinstance(op, StructuredOp) and bool(op.reduction_dims)


@record
class Group:
    """Steps in order, and the outer variables they share (slowest first)."""

    outer: list[Var]
    steps: list[Step]


@record
class Plan:
    groups: list[Group]
    scratch: int = 0
    stored: set[Value] = field(default_factory=set)


def element_bytes(value: Value) -> int:
    return element_type(str(value.type.element_type)).bytes


class Planner:
    """Makes the plan of a dispatch."""

    keeps_pads = True
    """A pad under a window is worth storing (a check per element costs more than the copy)."""

    def __init__(self, dispatch: Dispatch) -> None:
        self.dispatch = dispatch
        self.destinations = dict(reversed(dispatch.results))

    def plan(self) -> Plan:
        stored = self._candidates()
        while True:
            plan, rejected = self._try(stored)
            if not rejected:
                return plan
            for value in rejected:
                if value in self.destinations or is_sequential(value):
                    raise CodegenError(
                        UNSUPPORTED_OP,
                        "an intermediate too large to keep that cannot be computed in place",
                        source=value.owner.location.user_text() if isinstance(value.owner, Op) else None,
                    )
            stored = [v for v in stored if v not in rejected]

    # -- which values are stored ------------------------------------------------------------------

    def _candidates(self) -> list[Value]:
        """Results, and intermediates worth keeping, in program order."""
        users: dict[Value, int] = {}
        for op in self.dispatch.ops:
            for operand in set(op.operands):
                users[operand] = users.get(operand, 0) + 1
        found: dict[Value, None] = {}
        for op in self.dispatch.ops:
            for value in op.results:
                if not isinstance(value.type, TensorType):
                    continue
                if value in self.destinations or self._worth_keeping(op, value, users.get(value, 0)):
                    found[value] = None
        found.update(dict.fromkeys(self.destinations))
        return list(found)

    def _worth_keeping(self, op: Any, value: Value, n_users: int) -> bool:
        if n_users == 0:
            return False
        if op.name in SEQUENTIAL:
            return True
        if op.name == "tensor.pad":
            # A window reads every padded element several times; without the pad it reads plain memory.
            return self.keeps_pads and any(
                isinstance(u, StructuredOp) and u.reduction_dims for u in value.users
            )
        if not isinstance(op, StructuredOp):
            return False
        if op.reduction_dims:
            return not self._read_once(op, value)
        if n_users < 2 or op.name == "linalg.fill":
            return False
        return any(inner.name in EXPENSIVE for inner in op.body)

    def _read_once(self, op: Any, value: Value) -> bool:
        """True when the only reader reads each element once (an epilogue): computed in place, not stored."""
        if not value.has_one_use:
            return False
        user: Any = value.users[0]
        if not isinstance(user, StructuredOp) or user.reduction_dims:
            return False
        if value in user.outputs:
            return False
        position = user.operands.index(value)
        map = user.indexing_maps[position]
        if not map.is_permutation:
            return False
        # An epilogue that is itself read many times must not drag the reduction along.
        result = user.results[0]
        if result in self.destinations:
            return True
        return result.has_one_use and self._read_once(user, result)

    def _slab_limit(self, step: Step, count: int, shared: bool) -> int:
        """Bytes that intermediates up to this ``step`` (of ``count`` elements) may take.

        ``shared``: there are outer loops.
        """
        return SLAB_LIMIT if shared else WHOLE_LIMIT

    # -- common loops ---------------------------------------------------------------------------------

    def _try(self, stored: list[Value]) -> tuple[Plan, set[Value]]:
        """The plan with ``stored``; second, intermediates that cannot be stored after all."""
        steps = self._steps(stored)
        groups = []
        rejected: set[Value] = set()
        scratch = 0
        for members in _components(steps):
            outer = self._common(members)
            offset = scratch
            for step in members:
                outer_set = set(outer)
                step.slab_dims = tuple(i for i, v in enumerate(step.vars) if v not in outer_set)
                if None not in step.destinations:
                    continue
                extents = [step.dims[i] for i in step.slab_dims]
                count = dim_ops.total(extents)
                if not isinstance(count, int):
                    rejected.update(step.values)
                    continue
                if not step.slab_dims and not is_sequential(step.values[0]):
                    continue
                for value in step.values:
                    step.slab_offsets.append(offset)
                    offset += -(-count * element_bytes(value) // 64) * 64
                if offset - scratch > self._slab_limit(step, count, bool(outer)):
                    rejected.update(step.values)
            scratch = offset
            groups.append(Group(outer, members))
        return Plan(groups, scratch, set(stored)), rejected

    def _steps(self, stored: list[Value]) -> list[Step]:
        walker = AccessWalker(self.dispatch, set(stored))
        steps: list[Step] = []
        by_op: dict[Op, Step] = {}
        for value in stored:
            dims = self.dispatch.dims(value)
            op: Any = value.defining_op
            own = self.destinations.get(value)
            sibling = by_op.get(op) if isinstance(op, StructuredOp) or is_sequential(value) else None
            if (
                sibling is not None
                and sibling.dims == dims
                and (is_sequential(value) or (sibling.destinations[0] is None) == (own is None))
            ):
                if is_sequential(value) or _same_map(op, value, sibling.values[0]):
                    sibling.values.append(value)
                    sibling.destinations.append(own)
                    continue
            variables = tuple(Var(f"d{i}", d) for i, d in enumerate(dims))
            step = Step([value], dims, variables, [own], Walk())
            step.walk = walker.walk(value, step.forms, through=True)
            steps.append(step)
            if op is not None:
                by_op[op] = step
        return steps

    def _common(self, steps: list[Step]) -> list[Var]:
        """Outer variables: dims of the last step that every step has in the same role; renames the vars of
        the other steps to them."""
        last = steps[-1]
        if len(steps) == 1:
            return []
        producers = {value: step for step in steps for value in step.values}
        roles: dict[int, list[int | None]] = {id(last): list(range(len(last.dims)))}
        dropped: set[int] = set()
        for step in reversed(steps):
            own = roles.get(id(step))
            if own is None:
                own = self._match_sibling(step, last)
                roles[id(step)] = own
            for axis in serial_axes(step.values[0]):
                if own[axis] is not None:
                    dropped.add(own[axis])  # type: ignore[arg-type]
            place = dict(zip(step.vars, own, strict=True))
            for access in step.walk.accesses:
                producer = producers.get(access.value)
                if producer is None or producer is step:
                    continue
                found = [_role(form, place) for form in access.forms]
                known = roles.get(id(producer))
                if known is None:
                    roles[id(producer)] = list(found)
                elif known != found:
                    for a, b in zip(known, found, strict=True):
                        if a != b:
                            dropped.update(r for r in (a, b) if r is not None)
        candidates = []
        for role in range(len(last.dims)):
            if role in dropped or last.dims[role] == 1:
                continue
            if all(roles[id(s)].count(role) == 1 for s in steps):
                candidates.append(role)
        for step in steps:
            if step is last:
                continue
            renamed = list(step.vars)
            for position, found_role in enumerate(roles[id(step)]):
                if found_role is not None and found_role in candidates:
                    renamed[position] = last.vars[found_role]
            if tuple(renamed) != step.vars:
                step.use(tuple(renamed))
                step.walk = AccessWalker(self.dispatch, set(producers)).walk(
                    step.values[0], step.forms, through=True
                )
        return [last.vars[role] for role in candidates]

    def _match_sibling(self, step: Step, last: Step) -> list[int | None]:
        """Roles of a step that nobody in the group reads: equal leading extents."""
        roles: list[int | None] = [None] * len(step.dims)
        for i, (a, b) in enumerate(zip(step.dims, last.dims, strict=False)):
            if a != b:
                break
            roles[i] = i
        return roles


def _same_map(op: Any, a: Value, b: Value) -> bool:
    return op.indexing_maps[op.n_inputs + a.index] is op.indexing_maps[op.n_inputs + b.index]


def _role(form: Affine, place: dict[Var, int | None]) -> int | None:
    """Which outer role an index plays: a plain outer variable, or none."""
    if form.constant != 0 or len(form.terms) != 1 or form.terms[0][1] != 1:
        return None
    return place.get(form.terms[0][0])


def _components(steps: list[Step]) -> list[list[Step]]:
    """Steps connected by reads, in program order."""
    producers = {value: i for i, step in enumerate(steps) for value in step.values}
    parent = list(range(len(steps)))

    def find(i: int) -> int:
        while parent[i] != i:
            i = parent[i]
        return i

    for i, step in enumerate(steps):
        for access in step.walk.accesses:
            j = producers.get(access.value)
            if j is not None and j != i:
                parent[find(i)] = find(j)
    groups: dict[int, list[Step]] = {}
    for i, step in enumerate(steps):
        groups.setdefault(find(i), []).append(step)
    return list(groups.values())
