"""``schedule-stream``: dispatches on tensors become recorded regions over resources with offsets.

Before: ``flow.dispatch`` on tensors (values), reshapes, contiguous slices and concatenations as aliases,
constants in place. After: ``stream.cmd.execute`` regions; each temporary has an offset in its region's arena,
constants lie in segments, outputs are allocations of their own. A value the host reads (``flow.tensor.load``)
ends the region; a slice is its source's memory at an offset, copied to a buffer of its own where the target
cannot bind it there. What a concatenation joins is written in its place at once where it can be, else copied
there. A result tied to an operand reuses its storage at that operand's last use; before that, or when the
operand is an input, a constant or part of a concatenation, the operand is copied first. A result also takes
the memory of an operand that its target names (``replaced_arguments``), at that operand's last use.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from iree_base.records import record
from iree_core_ir.dialects import arith
from iree_core_ir.dialects.func import FuncOp
from iree_core_ir.ir.builder import Builder
from iree_core_ir.ir.known_values import known_integer
from iree_core_ir.ir.operation import Block, Op, SymbolTable, Value
from iree_core_ir.ir.traits import RETURN_LIKE, TERMINATOR
from iree_core_ir.ir.types import TensorType
from iree_core_ir.pass_manager import Pass, PassContext
from iree_core_ir.target import TargetDescription
from iree_flow.arena import Plan
from iree_flow.blocks import Edge, edges, replace_branch, split_edges
from iree_flow.carried_memory import Liveness, owned_arguments
from iree_flow.chosen_description import description_of
from iree_flow.constant_segments import ConstantSegments
from iree_flow.dialects import flow, stream
from iree_flow.dims import Dim, DimResolver
from iree_flow.nominal_dims import nominal
from iree_flow.passes.outline_dispatch_regions import READ, READWRITE, WRITE
from iree_flow.report import ArenaHolder, ArenaRow, CompileReport
from iree_flow.stream_region import Command, Region
from iree_flow.stream_storage import (
    ALIASES,
    CONSTANT,
    INPUT,
    OUTPUT,
    OWNED,
    TEMPORARY,
    WORK,
    Storage,
    Storages,
    Work,
    divisor_of,
    is_part,
    producer_of,
    root_of,
)
from iree_flow.symbolic_dims import argument_dim_names

Replaced = Callable[[flow.Dispatch], Sequence[int]]
"""The operands of a dispatch whose memory its result may take."""
LARGEST_SHOWN = 8
"""Of what fills an arena at its fullest, so many are named in the report."""


@record
class ScheduleStream(Pass):
    name: ClassVar[str] = "schedule-stream"

    def run(self, module: Op, context: PassContext) -> None:
        description = context.options.get("description") or TargetDescription("none")
        report = context.options.get("report") or CompileReport()
        segments = ConstantSegments(module, context.constants, description.binding_alignment)
        functions = [op for op in module.regions[0].block if isinstance(op, FuncOp) and op.regions[0].blocks]
        for function in functions:
            entry = function.regions[0].block
            resolver = DimResolver(entry, argument_dim_names(function))
            storages = Storages(entry, resolver, segments, context.constants)
            _schedule(function, storages, description, report, _replaced(module, context.options))
        segments.finish()
        report.constant_bytes += segments.size


def _replaced(module: Op, options: Mapping[str, Any]) -> Replaced:
    """What the target says of each executable."""
    ask = getattr(options.get("target"), "replaced_arguments", None)
    symbols = SymbolTable(module)
    known: dict[str, Sequence[int]] = {}

    def of(op: flow.Dispatch) -> Sequence[int]:
        name = op.entry_point.root
        if ask is None or len(op.results) != 1:
            return ()
        if name not in known:
            executable = symbols.lookup(name)
            assert isinstance(executable, flow.Executable)
            description = description_of(executable, options["target"], options["description"])
            known[name] = ask(executable.function, description)
        return known[name]

    return of


def _schedule(
    function: FuncOp,
    storages: Storages,
    description: TargetDescription,
    report: CompileReport,
    replaced: Replaced,
) -> None:
    """All blocks of a function; what passes tensors over branches passes resources afterwards."""
    region = function.regions[0]
    for block in list(region.blocks):
        split_edges(block, [edge for edge in _choices(block) if any(map(_is_tensor, edge.arguments))])
    entry = region.block
    carried = [arg for block in region.blocks if block is not entry for arg in block.args if _is_tensor(arg)]
    liveness = Liveness(region)
    owned = owned_arguments(region, carried, liveness)
    for arg in carried:
        storages.carried(arg, OWNED if arg in owned else INPUT)
    counter = itertools.count()
    schedulers = [
        _Scheduler(
            function, block, storages, description, report, replaced, counter, liveness.live_out[block]
        )
        for block in region.blocks
    ]
    for scheduler in schedulers:
        scheduler.run()
    for block in region.blocks:
        if any(map(_is_tensor, block.terminator.operands)) and block.terminator.successors:
            _pass_resources(block, storages)
    for scheduler in reversed(schedulers):
        _erase(scheduler.ops)
    for arg in reversed(carried):
        owner = arg.parent_block
        assert owner is not None
        owner.erase_arg(owner.args.index(arg))


def _choices(block: Block) -> list[Edge]:
    """The edges of a branch that has several."""
    found = edges(block)
    return found if len(found) > 1 else []


def _is_tensor(value: Value) -> bool:
    return isinstance(value.type, TensorType)


class _Scheduler:
    """One block: its dispatches in regions, its reads and its results."""

    def __init__(
        self,
        function: FuncOp,
        block: Block,
        storages: Storages,
        description: TargetDescription,
        report: CompileReport,
        replaced: Replaced,
        counter: Iterator[int],
        live_out: set[Value],
    ) -> None:
        self.function = function
        self.block = block
        self.ops = block.ops
        self.counter = counter
        self.replaced = replaced
        self.live_out = live_out
        """Memory that later blocks use."""
        last = self.ops[-1]
        self.returned = (
            {root_of(v) for v in last.operands if _is_tensor(v)} if RETURN_LIKE in last.traits else set()
        )
        self.storages = storages
        self.resolver = storages.resolver
        self.description = description
        self.report = report
        self.factors: dict[Value, None] = {}
        self.in_place = 0
        """Results of the region that took over an operand's memory."""
        self.position = {op: i for i, op in enumerate(block)}
        self.last_read: dict[Value, int] = {}
        for op, i in self.position.items():
            if not isinstance(op, ALIASES):
                for value in op.operands:
                    self.last_read[root_of(value)] = i

    def run(self) -> None:
        ops = self.ops
        if not any(isinstance(op, (*WORK, flow.TensorLoad, *ALIASES)) for op in ops) and not any(
            map(_is_tensor, ops[-1].operands)
        ):
            return
        region_of, escaping = _partition(ops)
        pending: list[Work] = []
        current = 0
        for op in ops:
            if isinstance(op, WORK):
                if region_of[op] != current and pending:
                    self._emit(pending, escaping)
                    pending = []
                current = region_of[op]
                pending.append(op)
            elif isinstance(op, flow.TensorLoad):
                producer = producer_of(op.source)
                if producer is not None and producer in pending:
                    self._emit(pending, escaping)
                    pending = []
                self._load(op)
            elif TERMINATOR in op.traits:
                self._leave(op, pending, escaping)

    # -- regions ------------------------------------------------------------------------------------

    def _emit(self, pending: list[Work], escaping: set[Work]) -> None:
        """One region for ``pending``, placed behind the last of it."""
        if not pending:
            return
        builder = Builder(self.block, pending[-1].next, pending[-1].location)
        commands = self._commands(pending, escaping, builder)
        self._note(self._region(builder).build(commands))

    def _region(self, builder: Builder) -> Region:
        return Region(self.storages, builder, self.description.binding_alignment, self.factors)

    def _commands(self, pending: list[Work], escaping: set[Work], builder: Builder) -> list[Command]:
        commands: list[Command] = []
        moved: dict[Storage, Storage] = {}
        pieces = self._place_pieces(pending, escaping, builder)
        for op in pending:
            if isinstance(op, flow.TensorConcat):
                commands += [
                    Command.copy(source, piece)
                    for value, piece in pieces[op]
                    if (source := self.storages.of(value)) is not piece
                ]
                continue
            tensors = [v for v in op.arguments if isinstance(v.type, TensorType)]
            tied = {op.arguments[op.tied(i)] for i in range(len(op.results)) if op.tied(i) != flow.UNTIED}
            bindings = [
                (self.storages.of(v) if v in tied else self._bindable(v, moved, commands, builder), READ)
                for v in tensors
            ]
            for i, value in enumerate(op.results):
                tie = op.tied(i)
                if tie == flow.UNTIED:
                    target = self.storages.placed(value) or self._taken(op, value, escaping)
                    target = target or self._fresh(value, op in escaping, builder)
                    bindings.append((target, WRITE))
                else:
                    position = tensors.index(op.arguments[tie])
                    source = target = bindings[position][0]
                    if self._reusable(op, tensors[position], source, escaping):
                        self.in_place += 1
                    else:
                        target = self._fresh(value, op in escaping, builder)
                        commands.append(Command.copy(source, target))
                    bindings[position] = (target, READWRITE)
                self.storages.put(value, target)
            commands.append(Command(op, bindings))
        return commands

    def _place_pieces(
        self, pending: list[Work], escaping: set[Work], builder: Builder
    ) -> dict[flow.TensorConcat, list[tuple[Value, Storage]]]:
        """Memory of the concatenations, last first, and within it what is computed for them alone.

        Gives the inputs with their places; what computes an input gets its place as storage where it can
        write there: it lies in the same region, leaves it no other way and begins where it may be bound.
        """
        found: dict[flow.TensorConcat, list[tuple[Value, Storage]]] = {}
        for op in reversed(pending):
            if not isinstance(op, flow.TensorConcat):
                continue
            whole = self.storages.placed(op.result)
            if whole is None:
                whole = self._fresh(op.result, op in escaping, builder)
                whole.pinned = True
                self.storages.put(op.result, whole)
            found[op] = []
            shift: Dim = 0
            for value in op.inputs:
                piece = self.storages.piece(whole, value, shift, builder)
                shift = self.storages.add(shift, _number(piece.nbytes), builder)
                root = root_of(value)
                maker = root.defining_op
                free = self.storages.placed(root) is None and not is_part(value) and self._is_aligned(piece)
                if free and isinstance(maker, WORK) and maker in pending and maker not in escaping:
                    if isinstance(maker, flow.TensorConcat) or _is_untied(maker, root):
                        self.storages.put(root, piece)
                found[op].append((value, piece))
        return found

    def _bindable(
        self, value: Value, moved: dict[Storage, Storage], commands: list[Command], builder: Builder
    ) -> Storage:
        """The storage of ``value``, or that of a copy of it where it begins at an odd place."""
        storage = self.storages.of(value)
        if self._is_aligned(storage):
            return storage
        if storage not in moved:
            target = moved[storage] = self.storages.fresh(storage.type, storage.dims, builder, escapes=False)
            commands.append(Command.copy(storage, target))
        return moved[storage]

    def _is_aligned(self, storage: Storage) -> bool:
        return divisor_of(storage.shift) % self.description.slice_alignment == 0

    def _reusable(self, op: flow.Dispatch, operand: Value, source: Storage, escaping: set[Work]) -> bool:
        """True when ``op`` may write into ``operand``'s storage: a temporary at its last use, or what came
        over a branch for this block alone, unless the caller gets it.
        """
        root = root_of(operand)
        readers = sum(root_of(v) is root for v in op.operands if isinstance(v.type, TensorType))
        if source.kind == OWNED:
            free = source.base is None and root not in self.live_out and not self.returned & {*op.results}
        else:
            free = source.kind == TEMPORARY and op not in escaping
        return (
            free
            and not source.whole.pinned
            and readers == 1
            and self.last_read.get(root) == self.position[op]
            and self._is_aligned(source)
        )

    def _taken(self, op: flow.Dispatch, result: Value, escaping: set[Work]) -> Storage | None:
        """The storage of an operand that ends with ``op``, for its result."""
        for number in self.replaced(op):
            operand = op.arguments[number]
            source = self.storages.of(operand)
            same = operand.type == result.type and self.resolver.dims(operand) == self.resolver.dims(result)
            if same and source.base is None and self._reusable(op, operand, source, escaping):
                self.in_place += 1
                return source
        return None

    def _fresh(self, value: Value, escapes: bool, builder: Builder) -> Storage:
        return self.storages.fresh(value.type, self.resolver.dims(value), builder, escapes=escapes)

    def _note(self, plan: Plan) -> None:
        if not plan.buffers:
            return
        name = str(getattr(self.function.attributes["sym_name"], "value", ""))
        number = next(self.counter)
        factors = {factor: nominal(factor) for b in plan.buffers for factor in b.factors}  # type: ignore[arg-type]
        hold = [
            ArenaHolder(str(b.key), b.nominal, b.start, b.end) for b in plan.at_the_bound()[:LARGEST_SHOWN]
        ]
        self.report.arenas.append(
            ArenaRow(
                name,
                number,
                ", ".join(sorted({f"{getattr(f, 'hint', None) or '?'} = {n}" for f, n in factors.items()})),
                plan.peak,
                plan.lower_bound,
                plan.total,
                self.description.target,
                len(plan.buffers),
                self.in_place,
                hold,
            )
        )
        self.in_place = 0

    # -- what leaves ------------------------------------------------------------------------------------

    def _leave(self, op: Op, pending: list[Work], escaping: set[Work]) -> None:
        """What is returned or passed on gets an allocation of its own.

        A caller gets memory that was made for it: anything else is copied. A block can take any memory that
        begins where the tensor does, so only constants and slices are copied for it.
        """
        builder = Builder.before_op(op)
        returns = RETURN_LIKE in op.traits
        taken: set[Value] = set()
        copies: list[tuple[int, Value]] = []
        for i, value in enumerate(op.operands):
            if not _is_tensor(value):
                continue
            root = root_of(value)
            own = isinstance(root.defining_op, WORK) and not is_part(value)
            if returns:
                own = own and root.parent_block is self.block and root not in taken
            if own:
                taken.add(root)
            elif returns or is_part(value) or self.storages.of(value).kind == CONSTANT:
                copies.append((i, value))
        self._emit(pending, escaping | {d for d in pending if any(r in taken for r in d.results)})
        copied: dict[int, Storage] = {}
        if copies:
            commands = []
            for i, value in copies:
                copied[i] = self._fresh(value, True, builder)
                commands.append(Command.copy(self.storages.of(value), copied[i]))
            self._region(builder).build(commands)
        if returns:
            self._export(op, copied, builder)
            return
        for i, value in enumerate(op.operands):
            if _is_tensor(value):
                storage = copied.get(i) or self.storages.of(value)
                assert storage.resource is not None and storage.kind in (OUTPUT, INPUT, OWNED)
                self.storages.passed[self.block, i] = storage.resource

    def _export(self, op: Op, copied: dict[int, Storage], builder: Builder) -> None:
        values = list(op.operands)
        for i, value in enumerate(values):
            if not _is_tensor(value):
                continue
            storage = copied.get(i) or self.storages.of(value)
            assert storage.resource is not None and storage.kind == OUTPUT
            exported = builder.create(
                stream.TensorExport,
                storage.resource,
                storage.nbytes,
                value.type,
                self.resolver.dynamic(value),
            )
            values[i] = exported.result
        op.set_operands(values)

    def _load(self, op: flow.TensorLoad) -> None:
        """The host reads an element."""
        storage = self.storages.of(op.source)
        builder = Builder.before_op(op)
        source = op.location.user_text()
        if source not in self.report.read_backs:
            self.report.read_backs.append(source)
        inner = self.storages.linear(op.source, op.indices, builder)
        place = self.storages.add(storage.shift, inner, builder)
        offset = self.resolver.value(self.storages.add(storage.whole.offset, place, builder))
        resource, total = storage.whole.resource, storage.whole.total
        load = builder.create(stream.ResourceLoad, resource, total, offset, op.result.type)
        op.result.replace_all_uses_with(load.result)


def _is_untied(op: flow.Dispatch, value: Value) -> bool:
    return op.tied(list(op.results).index(value)) == flow.UNTIED  # type: ignore[arg-type]


def _number(value: Value) -> Dim:
    constant = known_integer(value)
    return value if constant is None else constant


def _pass_resources(block: Block, storages: Storages) -> None:
    """The branch of ``block`` with resources, behind all else that it passes, instead of tensors."""
    op = block.terminator
    passed = [storages.passed.get((block, i)) for i in range(len(op.operands))]
    scalars = [v for v, resource in zip(op.operands, passed, strict=True) if resource is None]
    replace_branch(op, [[*scalars, *(resource for resource in passed if resource is not None)]])


def _partition(ops: Sequence[Op]) -> tuple[dict[Work, int], set[Work]]:
    """Which region each op's work runs in, and the ops with results used after their region."""
    region_of: dict[Work, int] = {}
    current = 0
    for op in ops:
        if isinstance(op, WORK):
            region_of[op] = current
        elif isinstance(op, flow.TensorLoad):
            producer = producer_of(op.source)
            if producer is not None and region_of.get(producer) == current:
                current += 1
    escaping: set[Work] = set()
    for op in ops:
        region = region_of.get(op, -1) if isinstance(op, WORK) else -1
        if isinstance(op, ALIASES):
            continue
        for value in op.operands:
            if isinstance(value.type, TensorType):
                producer = producer_of(value)
                if producer is not None and region_of.get(producer, region) != region:
                    escaping.add(producer)
    escaping.update(op for op in region_of if any(_reaches_other_blocks(v, op) for v in op.results))
    return region_of, escaping


def _reaches_other_blocks(value: Value, producer: Op) -> bool:
    """Whether ``value``, or a part or other shape of it, is used in another block than its producer's."""
    return any(
        user.parent is not producer.parent
        or (isinstance(user, ALIASES) and _reaches_other_blocks(user.result, producer))
        for user in value.users
    )


def _erase(ops: Sequence[Any]) -> None:
    """Remove what the regions replace."""
    for op in reversed(ops):
        if isinstance(op, (*WORK, flow.TensorLoad, *ALIASES)) or (
            isinstance(op, arith.Constant) and isinstance(op.result.type, TensorType) and not op.result.uses
        ):
            op.erase()
