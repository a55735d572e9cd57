"""``form-dispatch-regions``: groups dense ops by the fusion policy and wraps each group.

Before: a function of linalg/linalg_ext/tensor ops on tensors. After: every dense op lies in a
``flow.dispatch.region`` (with the scalar constants, splats, fills and empties it needs cloned in);
reshapes outside are ``flow.tensor.reshape``; what remains outside computes scalars on the host.
"""

from __future__ import annotations

from typing import Any, ClassVar

from iree_base.records import record
from iree_core_ir.dialects import arith, tensor
from iree_core_ir.dialects.func import FuncOp
from iree_core_ir.ir.attributes import DenseElementsAttr
from iree_core_ir.ir.builder import Builder
from iree_core_ir.ir.location import fuse
from iree_core_ir.ir.operation import Block, Op, Value
from iree_core_ir.ir.traits import TERMINATOR
from iree_core_ir.ir.types import TensorType
from iree_core_ir.pass_manager import Pass, PassContext
from iree_flow import fusion
from iree_flow.dialects import flow
from iree_flow.dims import DimResolver
from iree_flow.fusion import Group
from iree_flow.slices import alias_concat, alias_slice
from iree_flow.symbolic_dims import argument_dim_names

SEARCH_LIMIT = 256
"""Ops looked at to find out whether joining a group would make a cycle."""
RESHAPES = frozenset({"tensor.expand_shape", "tensor.collapse_shape", "tensor.reshape", "tensor.cast"})


@record
class FormDispatchRegions(Pass):
    """The default dispatch creation; tiling is left to the target's strategies."""

    name: ClassVar[str] = "form-dispatch-regions"
    fusion: bool = True
    """False: one dense op a dispatch."""

    def run(self, module: Op, context: PassContext) -> None:
        for op in module.regions[0].block:
            if isinstance(op, FuncOp) and op.regions[0].blocks:
                resolver = DimResolver(op.regions[0].block, argument_dim_names(op))
                for block in op.regions[0].blocks:
                    form(block, resolver, self.fusion)


def form(block: Block, resolver: DimResolver, fuse_ops: bool = True) -> None:
    """Form the dispatch regions of one block."""
    for op in block.ops:
        if isinstance(op, tensor.Extract):
            _read_back(op, resolver)
    for op in block.ops:
        if isinstance(op, tensor.ExtractSlice):
            alias_slice(op, resolver)
        elif isinstance(op, tensor.Concat):
            alias_concat(op, resolver)
    groups = group_ops(block, resolver, fuse_ops)
    for op in block:
        if op.name in RESHAPES and isinstance(op.results[0].type, TensorType):
            _alias_reshape(op, resolver)
    order(block, groups)
    for group in groups:
        wrap(group, resolver)


def _read_back(op: tensor.Extract, resolver: DimResolver) -> None:
    """An element the host needs is loaded when the region that makes it has run."""
    source = op.operands[0]
    builder = Builder.before_op(op)
    load = builder.create(flow.TensorLoad, source, resolver.dynamic(source), op.operands[1:])
    load.result.hint = op.results[0].hint
    op.replace_by([load.result])


def is_cloned(op: Op) -> bool:
    """Ops cloned into every dispatch that uses them: empties, scalar and splat constants, fills of them."""
    if op.name in ("tensor.empty", "ub.poison"):
        return True
    if isinstance(op, arith.Constant):
        value = op.attributes["value"]
        return not isinstance(op.result.type, TensorType) or (
            isinstance(value, DenseElementsAttr) and value.splat
        )
    return op.name == "linalg.fill" and _is_host_scalar(op.operands[0])


def _leaves(op: Op) -> bool:
    """A fill that leaves its block or is only renamed has no dispatch to be cloned into: it is one itself."""
    if op.name != "linalg.fill":
        return False
    return any(
        (TERMINATOR in user.traits and user.parent_op is op.parent_op) or user.name in RESHAPES
        for user in op.results[0].uses
    )


def _is_host_scalar(value: Value) -> bool:
    op = value.defining_op
    return op is None or not isinstance(value.type, TensorType)


class _Grouping:
    def __init__(self, block: Block, resolver: DimResolver) -> None:
        self.resolver = resolver
        self.group_of: dict[Op, Group] = {}
        self.groups: list[Group] = []
        self.position = {op: i for i, op in enumerate(block)}

    def new(self, op: Op, kind: str) -> Group:
        group = Group(op, kind, [op])
        self.groups.append(group)
        self.group_of[op] = group
        return group

    def join(self, op: Op, group: Group) -> None:
        group.ops.append(op)
        self.group_of[op] = group

    def producers(self, op: Op) -> list[tuple[Value, Group]]:
        """Values read from groups, latest producer first."""
        found = []
        for value in dict.fromkeys(op.operands):
            producer = value.defining_op
            if producer is not None and producer in self.group_of:
                found.append((value, self.group_of[producer]))
        found.sort(key=lambda pair: -self.position[pair[1].last])
        return found

    def makes_cycle(self, op: Op, group: Group) -> bool:
        """True when ``op`` also depends on ``group`` through something outside it.

        A group runs as one, so reaching any op of a foreign group reaches all that it depends on. What
        lies wholly before the group's first op cannot depend on it and is not looked at; a search that
        visits more than ``SEARCH_LIMIT`` ops answers yes, so that grouping stays linear.
        """
        members = set(group.ops)
        first = min(self.position[member] for member in group.ops)
        stack = [p for v in op.operands if (p := v.defining_op) is not None and p not in members]
        seen: set[Op] = set()
        while stack:
            producer = stack.pop()
            if producer in members:
                return True
            own = self.group_of.get(producer)
            unit = own.ops if own is not None else [producer]
            if producer in seen or all(self.position.get(m, -1) < first for m in unit):
                continue
            seen.update(unit)
            if len(seen) > SEARCH_LIMIT:
                return True
            stack.extend(
                p for m in unit for v in m.operands if (p := v.defining_op) is not None and p not in seen
            )
        return False

    def row_extents(self, op: Any) -> tuple[Any, ...]:
        """The extents of all loops, as ints or index values."""
        return tuple(self.resolver.dims(value)[axis] for value, axis in fusion.extents(op))


def group_ops(block: Block, resolver: DimResolver, fuse_ops: bool = True) -> list[Group]:
    """The groups of ``block`` in order of their roots."""
    grouping = _Grouping(block, resolver)
    for op in block.ops:
        kind = fusion.kind_of(op)
        if kind is None or (is_cloned(op) and not _leaves(op)):
            continue
        if not fuse_ops:
            grouping.new(op, kind)
            continue
        if kind == fusion.ELEMENTWISE and _join_epilogue(grouping, op):
            continue
        if fusion.is_row_op(op):
            reduces = kind != fusion.ELEMENTWISE
            if _join_row(grouping, op, reduces):
                continue
            group = grouping.new(op, fusion.REDUCTION if reduces else kind)
            if reduces:
                group.outer = grouping.row_extents(op)[: _n_parallel(op)]
            continue
        if kind == fusion.CONVOLUTION and _join_chain(grouping, op):
            continue
        if kind == fusion.POOLING and _join_total(grouping, op):
            continue
        _take_pads(grouping, op, grouping.new(op, kind))
    return [g for g in grouping.groups if g.ops]


def _take_pads(grouping: _Grouping, op: Op, group: Group) -> None:
    """A pad used once goes with the convolution or pooling it feeds."""
    if group.kind not in (fusion.CONVOLUTION, fusion.POOLING):
        return
    value = op.operands[0]
    producer = value.defining_op
    if producer is None or producer.name != "tensor.pad" or not fusion.only_used_by(value, op):
        return
    own = grouping.group_of.get(producer)
    if own is not None and own.ops == [producer]:
        own.ops.clear()
        grouping.groups.remove(own)
        grouping.group_of[producer] = group
        group.ops.insert(0, producer)


def _join_chain(grouping: _Grouping, op: Any) -> bool:
    """Join the group that makes the image ``op`` reads, with the pad between them if there is one."""
    value, pad = op.operands[0], None
    if isinstance(value.defining_op, tensor.Pad):
        pad = value.defining_op
        if not fusion.only_used_by(value, op):
            return False
        value = pad.operands[0]
    producer = value.defining_op
    group = grouping.group_of.get(producer) if producer is not None else None
    if group is None or group.last is not producer or not fusion.only_used_by(value, pad or op):
        return False
    own = grouping.group_of.get(pad) if pad is not None else None
    if not fusion.continues_chain(group, op) or (own is not None and own.ops != [pad]):
        return False
    # The pad lies between the group and the op: it joins first.
    if pad is not None:
        grouping.join(pad, group)
    if grouping.makes_cycle(op, group):
        if pad is not None:
            group.ops.pop()
            grouping.group_of.pop(pad)
            if own is not None:
                grouping.group_of[pad] = own
        return False
    if own is not None:
        own.ops.clear()
        grouping.groups.remove(own)
    grouping.join(op, group)
    return True


def _join_total(grouping: _Grouping, op: Any) -> bool:
    """Sums of an image join the group that makes it; the image remains a result, for its other readers."""
    producer = op.operands[0].defining_op
    group = grouping.group_of.get(producer) if producer is not None else None
    if group is None or group.last is not producer or not fusion.sums_up(group, op):
        return False
    if grouping.makes_cycle(op, group):
        return False
    grouping.join(op, group)
    return True


def _join_epilogue(grouping: _Grouping, op: Any) -> bool:
    for value, group in grouping.producers(op):
        if group.kind not in fusion.EPILOGUE_ROOTS or value.defining_op is not group.last:
            continue
        if not fusion.only_used_by(value, op) or not fusion.reads_identity(op, value):
            continue
        if not all(fusion.same_type_shape(r, value) for r in op.results):
            continue
        if not grouping.makes_cycle(op, group):
            grouping.join(op, group)
            return True
    return False


def _n_parallel(op: Op) -> int:
    return fusion.iterators_of(op).count("parallel")


def _join_row(grouping: _Grouping, op: Any, reduces: bool) -> bool:
    """Join a row group through a value read row by row."""
    loops = grouping.row_extents(op)
    n_parallel = _n_parallel(op)
    if fusion.is_structured(op) and not all(
        m is _identity(op) or len(m.results) == n_parallel for m in op.indexing_maps[len(op.inputs) :]
    ):
        return False
    for _, group in grouping.producers(op):
        if group.kind not in (fusion.ELEMENTWISE, fusion.REDUCTION):
            continue
        outer = group.outer
        if outer is None:
            # The group has no reduction yet: only a reduction over its full domain may join it.
            if not reduces or grouping.row_extents(group.root) != loops:
                continue
            outer = loops[:n_parallel]
        if loops[: len(outer)] != outer or (reduces and n_parallel != len(outer)):
            continue
        if len(loops) > len(outer) and not _inner_agrees(grouping, group, loops, len(outer)):
            continue
        if not _row_access(grouping, op, group, len(outer)) or grouping.makes_cycle(op, group):
            continue
        group.outer = outer
        if reduces:
            group.kind = fusion.REDUCTION
        grouping.join(op, group)
        return True
    return False


def _identity(op: Any) -> Any:
    from iree_core_ir.ir.affine import AffineMap

    return AffineMap.identity(len(op.iterator_types))


def _inner_agrees(grouping: _Grouping, group: Group, loops: tuple[Any, ...], n_outer: int) -> bool:
    """All members that iterate beyond the outer dims have the same inner extents."""
    for member in group.ops:
        own = grouping.row_extents(member)
        if len(own) > n_outer and own != loops:
            return False
    return True


def _row_access(grouping: _Grouping, op: Any, group: Group, n_outer: int) -> bool:
    """Every value of the group that ``op`` reads is read row by row."""
    members = set(group.ops)
    return all(
        fusion.reads_rows(op, value, n_outer) for value in set(op.operands) if value.defining_op in members
    )


def order(block: Block, groups: list[Group]) -> None:
    """Reorder the block so that each group's ops are adjacent; stable, dependences kept."""
    unit_of: dict[Op, int] = {}
    units: list[list[Op]] = []
    group_of = {op: group for group in groups for op in group.ops}
    index_of: dict[int, int] = {}
    for op in block:
        group = group_of.get(op)
        if group is None:
            unit_of[op] = len(units)
            units.append([op])
        elif id(group) not in index_of:
            index_of[id(group)] = unit_of[op] = len(units)
            units.append([op])
        else:
            unit_of[op] = index_of[id(group)]
            units[unit_of[op]].append(op)
    emitted = [False] * len(units)
    ordered: list[Op] = []

    def dependences(unit: int) -> list[int]:
        found = []
        for op in units[unit]:
            for inner in op.walk():
                for value in inner.operands:
                    producer = value.defining_op
                    while producer is not None and producer not in unit_of:
                        producer = producer.parent_op
                    if producer is not None and unit_of[producer] != unit:
                        found.append(unit_of[producer])
        return found

    for start in range(len(units)):
        stack = [(start, iter(dependences(start)))] if not emitted[start] else []
        while stack:
            unit, rest = stack[-1]
            following = next((d for d in rest if not emitted[d]), None)
            if following is None:
                stack.pop()
                if not emitted[unit]:
                    emitted[unit] = True
                    ordered.extend(units[unit])
            else:
                stack.append((following, iter(dependences(following))))
    for op in ordered:
        op.detach()
    for op in ordered:
        block.append(op)


def wrap(group: Group, resolver: DimResolver) -> None:
    """Move the group's adjacent ops into a region; values used outside become its results."""
    members = set(group.ops)
    results = [
        value
        for op in group.ops
        for value in op.results
        if any(user not in members and not _inside(user, members) for user in value.uses)
    ]
    if not results:
        for op in reversed(group.ops):
            op.erase()
        return
    dims = [dim for value in results for dim in resolver.dynamic(value)]
    builder = Builder.before_op(group.ops[0])
    builder.location = fuse(op.location for op in group.ops)
    region = builder.create(flow.DispatchRegion, [v.type for v in results], dims)
    body = region.body.block
    clones: dict[Value, Value] = {}
    for op in group.ops:
        body.append(op.detach())
    inside = Builder.at_start(body)
    for op in list(body):
        for inner in op.walk():
            _clone_operands(inner, members, clones, inside)
    for old, new in zip(results, region.results, strict=True):
        new.hint = old.hint
        for user in old.users:
            if user not in members and not _inside(user, members):
                old.replace_uses_in(user, new)
    Builder.at_end(body, region.location).create(flow.Return, results)


def _inside(op: Op, members: set[Op]) -> bool:
    parent = op.parent_op
    while parent is not None:
        if parent in members:
            return True
        parent = parent.parent_op
    return False


def _clone_operands(op: Op, members: set[Op], clones: dict[Value, Value], inside: Builder) -> None:
    """Clone the empties and constants that ``op`` uses to the start of the region."""
    new: dict[Value, Value] = {}
    for value in op.operands:
        producer = value.defining_op
        if producer is None or producer.parent is op.parent or producer in members:
            continue
        if is_cloned(producer) and not _inside(producer, members):
            new[value] = _clone(value, clones, inside)
    if new:
        op.set_operands([new.get(value, value) for value in op.operands])


def _clone(value: Value, clones: dict[Value, Value], inside: Builder) -> Value:
    found = clones.get(value)
    if found is None:
        producer = value.defining_op
        assert producer is not None
        mapping: dict[Any, Any] = {}
        for operand in producer.operands:
            source = operand.defining_op
            if source is not None and is_cloned(source):
                mapping[operand] = _clone(operand, clones, inside)
        found = inside.insert(producer.clone(mapping)).results[0]
        clones[value] = found
    return found


def _alias_reshape(op: Op, resolver: DimResolver) -> None:
    """A reshape outside dispatches only renames dims."""
    source, result = op.operands[0], op.results[0]
    if not isinstance(source.type, TensorType):
        return
    reshape = flow.TensorReshape.make(source, resolver.dynamic(source), result.type, resolver.dynamic(result))
    reshape.location = op.location
    Builder.after_op(op).insert(reshape)
    reshape.result.hint = result.hint
    result.replace_all_uses_with(reshape.result)
    op.erase()
