"""``schedule-stream``: dispatches on tensors become recorded regions over resources with offsets.

Before: ``flow.dispatch`` on tensors (values), reshapes and contiguous slices as aliases, constants in place.
After: ``stream.cmd.execute`` regions; every temporary has an offset in its region's arena, constants lie in
one segment, outputs are allocations of their own. A value the host reads (``flow.tensor.load``) ends the
region; a slice is its source's memory at an offset. A result tied to an operand reuses its storage at that
operand's last use; before that, or when the operand is an input or a constant, the operand is copied first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from iree_base.element_types import element_type
from iree_core_ir.dialects import arith
from iree_core_ir.dialects.func import FuncOp
from iree_core_ir.ir.attributes import (
    Attribute,
    DenseElementsAttr,
    DenseResourceAttr,
    IntegerAttr,
    SymbolRefAttr,
)
from iree_core_ir.ir.builder import Builder
from iree_core_ir.ir.operation import Block, Op, SymbolTable, Value
from iree_core_ir.ir.traits import RETURN_LIKE
from iree_core_ir.ir.types import TensorType, index
from iree_core_ir.pass_manager import Pass, PassContext
from iree_flow.arena import ArenaBuffer, Zone, aligned, plan
from iree_flow.dialects import flow, stream
from iree_flow.dims import Dim, DimResolver, constant_index
from iree_flow.errors import FlowError
from iree_flow.passes.outline_dispatch_regions import READ, READWRITE, WRITE
from iree_flow.report import ArenaRow
from iree_flow.symbolic_dims import argument_dim_names

SEGMENT = "constants"
ALIASES = (flow.TensorReshape, flow.TensorSlice)
"""Ops whose result is (part of) their operand's memory."""


@dataclass
class ScheduleStream(Pass):
    name: ClassVar[str] = "schedule-stream"

    def run(self, module: Op, context: PassContext) -> None:
        constants = _Constants(context)
        functions = [op for op in module.regions[0].block if isinstance(op, FuncOp) and op.regions[0].blocks]
        for function in functions:
            for block in function.regions[0].blocks:
                _Scheduler(function, block, constants, context).run()
        constants.finish(module)


class _Constants:
    """The one segment: every distinct constant once, 64-byte aligned, in order of first use."""

    def __init__(self, context: PassContext) -> None:
        self.context = context
        self.offsets: dict[Attribute, int] = {}
        self.size = 0
        self.sizes: list[arith.Constant] = []

    def offset(self, value: Attribute, nbytes: int) -> int:
        found = self.offsets.get(value)
        if found is None:
            found = self.offsets[value] = self.size
            self.size = aligned(found + nbytes)
        return found

    def finish(self, module: Op) -> None:
        if not self.offsets:
            return
        segment = stream.ConstantSegment.make(
            SEGMENT, list(self.offsets), list(self.offsets.values()), self.size
        )
        for op in self.sizes:
            op.attributes["value"] = IntegerAttr(self.size, index)
        SymbolTable(module).insert(segment, before=module.regions[0].block.first)
        report = self.context.options.get("report")
        if report is not None:
            report.constant_bytes = self.size


@dataclass(eq=False)
class _Storage:
    """Bytes that one or more tensor values share."""

    kind: str
    """``input``, ``constant``, ``output`` or ``temporary``."""
    dims: list[Dim]
    type: TensorType
    resource: Value | None = None
    """The SSA resource (all kinds but temporary)."""
    offset: int = 0
    """Constants: bytes into the segment."""
    size: Value | None = None
    total: Value | None = None
    """Size of the whole resource (constants: of the segment)."""
    start: int = -1
    end: int = -1
    region: int = -1
    buffer: ArenaBuffer | None = None
    base: _Storage | None = None
    """A slice: the storage it lies in ..."""
    shift: Dim = 0
    """... and at which byte of it."""

    @property
    def whole(self) -> _Storage:
        return self.base or self


@dataclass
class _Command:
    """One command of a region before placement."""

    op: flow.Dispatch | None
    bindings: list[tuple[_Storage, str]] = field(default_factory=list)
    copy: tuple[_Storage, _Storage] | None = None
    wave: int = 0


class _Scheduler:
    def __init__(self, function: FuncOp, block: Block, constants: _Constants, context: PassContext) -> None:
        self.function = function
        self.block = block
        self.constants = constants
        self.context = context
        self.resolver = DimResolver(block, argument_dim_names(function))
        self.storage: dict[Value, _Storage] = {}
        self.commands: list[_Command] = []
        self.n_regions = 0
        self.segment: Value | None = None
        self.segment_size: Value | None = None
        self.factors: dict[Value, None] = {}
        self.position = {op: i for i, op in enumerate(block)}
        self.last_read: dict[Value, int] = {}
        for op, i in self.position.items():
            if not isinstance(op, ALIASES):
                for value in op.operands:
                    self.last_read[_root(value)] = i

    def run(self) -> None:
        ops = self.block.ops
        if not any(isinstance(op, (flow.Dispatch, flow.TensorLoad, *ALIASES)) for op in ops) and not any(
            isinstance(v.type, TensorType) for v in self.block.terminator.operands
        ):
            return
        region_of, escaping = self._partition(ops)
        pending: list[flow.Dispatch] = []
        current = 0
        for op in ops:
            if isinstance(op, flow.Dispatch):
                if region_of[op] != current and pending:
                    self._emit(pending, escaping)
                    pending = []
                current = region_of[op]
                pending.append(op)
            elif isinstance(op, flow.TensorLoad):
                producer = _root_dispatch(op.source)
                if producer is not None and producer in pending:
                    self._emit(pending, escaping)
                    pending = []
                self._load(op)
            elif RETURN_LIKE in op.traits:
                self._return(op, pending, escaping)
        self._erase(ops)

    # -- which dispatch runs in which region ----------------------------------------------------

    def _partition(self, ops: Sequence[Op]) -> tuple[dict[flow.Dispatch, int], set[flow.Dispatch]]:
        """Region numbers, and the dispatches with results used after their region."""
        region_of: dict[flow.Dispatch, int] = {}
        current = 0
        for op in ops:
            if isinstance(op, flow.Dispatch):
                region_of[op] = current
            elif isinstance(op, flow.TensorLoad):
                producer = _root_dispatch(op.source)
                if producer is not None and region_of.get(producer) == current:
                    current += 1
        escaping: set[flow.Dispatch] = set()
        for op in ops:
            region = region_of.get(op, -1) if isinstance(op, flow.Dispatch) else -1
            if isinstance(op, ALIASES):
                continue
            for value in op.operands:
                if isinstance(value.type, TensorType):
                    producer = _root_dispatch(value)
                    if producer is not None and region_of[producer] != region:
                        escaping.add(producer)
        return region_of, escaping

    # -- storage -----------------------------------------------------------------------------------

    def _storage(self, value: Value) -> _Storage:
        found = self.storage.get(value)
        if found is not None:
            return found
        op = value.defining_op
        if isinstance(op, flow.TensorReshape):
            found = self._storage(op.source)
        elif isinstance(op, flow.TensorSlice):
            found = self._slice(op)
        elif op is None:
            found = self._input(value)
        elif isinstance(op, arith.Constant):
            found = self._constant(value, op)
        else:
            raise FlowError(
                8,
                f"'{op.name}' producing {value.type}",
                source=op.location.user_text(),
                cause="the op is neither a dispatch nor a reshape, constant or argument",
            )
        self.storage[value] = found
        return found

    def _slice(self, op: flow.TensorSlice) -> _Storage:
        source = self._storage(op.source)
        builder = Builder.before_op(op)
        shift = self._add(source.shift, self._linear(op.source, op.start_indices, builder), builder)
        dims = self.resolver.dims(op.result)
        size = self._bytes(op.result.type, dims, builder)
        return _Storage(source.whole.kind, dims, op.result.type, size=size, base=source.whole, shift=shift)

    def _input(self, value: Value) -> _Storage:
        dims = self.resolver.dims(value)
        size = self._bytes(value.type, dims, Builder(self.block, self._behind(dims)))
        builder = Builder(self.block, self._behind([*dims, size]))
        resource = builder.create(stream.TensorImport, value, self.resolver.dynamic(value), size).result
        resource.hint = value.hint
        return _Storage("input", dims, value.type, resource, 0, size, size)

    def _behind(self, dims: Sequence[Dim]) -> Op | None:
        """The op before which something that uses ``dims`` may stand."""
        anchor = self.block.first
        producers = {d.defining_op for d in dims if isinstance(d, Value)}
        op = self.block.first
        while op is not None:
            if op in producers:
                anchor = op.next
            op = op.next
        return anchor

    def _constant(self, value: Value, op: Op) -> _Storage:
        attribute: Any = op.attributes["value"]
        if isinstance(attribute, DenseElementsAttr):
            key = self.context.constants.add_array(attribute.to_array(), str(value.type.element_type))
            attribute = DenseResourceAttr(key, value.type)
        assert isinstance(attribute, DenseResourceAttr)
        nbytes = value.type.n_elements * element_type(str(value.type.element_type)).bytes
        offset = self.constants.offset(attribute, nbytes)
        builder = Builder.at_start(self.block)
        if self.segment is None:
            self.segment = builder.create(stream.ConstantLoad, SymbolRefAttr(SEGMENT)).result
        storage = _Storage("constant", list(value.type.shape), value.type, self.segment, offset)
        storage.size = self._index(nbytes)
        return storage

    def _index(self, value: int) -> Value:
        return self.resolver.value(value)

    def _bytes(self, type: TensorType, dims: Sequence[Dim], builder: Builder) -> Value:
        width = element_type(str(type.element_type)).bytes
        return self.resolver.value(self.resolver.product([*dims, width], builder))

    # -- regions ------------------------------------------------------------------------------------

    def _emit(self, pending: list[flow.Dispatch], escaping: set[flow.Dispatch], outputs: Any = None) -> None:
        """One region for ``pending``, placed at its last dispatch."""
        if not pending:
            return
        region = self.n_regions
        self.n_regions += 1
        anchor = pending[-1].next
        builder = Builder(self.block, anchor, pending[-1].location)
        commands = self._commands(pending, escaping, outputs or {}, builder, region)
        self._waves(commands)
        temporaries = self._lifetimes(commands)
        zones = plan([s.buffer for s in temporaries if s.buffer is not None])
        self._report(zones, region)
        bases, arena_size = self._zone_offsets(zones, builder)
        self._build(commands, temporaries, bases, arena_size, builder)

    def _commands(
        self,
        pending: list[flow.Dispatch],
        escaping: set[flow.Dispatch],
        outputs: dict[Value, _Storage],
        builder: Builder,
        region: int,
    ) -> list[_Command]:
        commands: list[_Command] = []
        for op in pending:
            tensors = [v for v in op.arguments if isinstance(v.type, TensorType)]
            bindings = [(self._storage(v), READ) for v in tensors]
            for i, value in enumerate(op.results):
                tie = op.tied(i)
                if tie != flow.UNTIED:
                    position = tensors.index(op.arguments[tie])
                    source = bindings[position][0]
                    if value in outputs or not self._reusable(op, tensors[position], source, escaping):
                        target = outputs.get(value) or self._fresh(value, op in escaping, builder, region)
                        commands.append(_Command(None, [(source, READ), (target, WRITE)], (source, target)))
                    else:
                        target = source
                    bindings[position] = (target, READWRITE)
                else:
                    target = outputs.get(value) or self._fresh(value, op in escaping, builder, region)
                    bindings.append((target, WRITE))
                self.storage[value] = target
            commands.append(_Command(op, bindings))
        return commands

    def _reusable(
        self, op: flow.Dispatch, operand: Value, source: _Storage, escaping: set[flow.Dispatch]
    ) -> bool:
        """True when ``op`` may write into ``operand``'s storage: a temporary at its last use."""
        root = _root(operand)
        readers = sum(_root(v) is root for v in op.operands if isinstance(v.type, TensorType))
        return (
            source.kind == "temporary"
            and op not in escaping
            and readers == 1
            and self.last_read.get(root) == self.position[op]
        )

    def _fresh(self, value: Value, escapes: bool, builder: Builder, region: int) -> _Storage:
        dims = self.resolver.dims(value)
        storage = _Storage("temporary", dims, value.type, region=region)
        storage.size = self._bytes(value.type, dims, builder)
        if escapes:
            storage.kind = "output"
            storage.resource = builder.create(stream.ResourceAlloc, storage.size).result
            storage.total = storage.size
        return storage

    def _waves(self, commands: list[_Command]) -> None:
        """Neighbouring commands that touch no common written storage share a wave."""
        wave = 0
        read: set[_Storage] = set()
        written: set[_Storage] = set()
        for command in commands:
            reads = {s.whole for s, access in command.bindings if access == READ}
            writes = {s.whole for s, access in command.bindings if access != READ}
            if reads & written or writes & written or writes & read:
                wave += 1
                read, written = set(), set()
            read |= reads
            written |= writes
            command.wave = wave

    def _lifetimes(self, commands: list[_Command]) -> list[_Storage]:
        temporaries: dict[_Storage, None] = {}
        for command in commands:
            for binding, _ in command.bindings:
                storage = binding.whole
                if storage.kind == "temporary":
                    if storage.start < 0:
                        storage.start = command.wave
                    storage.end = command.wave
                    temporaries[storage] = None
        for i, storage in enumerate(temporaries):
            coefficient, factors = self._symbolic_size(storage)
            storage.buffer = ArenaBuffer(i, coefficient, factors, storage.start, storage.end)
        return list(temporaries)

    def _symbolic_size(self, storage: _Storage) -> tuple[int, tuple[Value, ...]]:
        """``coefficient * product(factors)`` bytes, products of index values taken apart."""
        coefficient = element_type(str(storage.type.element_type)).bytes
        factors: list[Value] = []
        stack: list[Dim] = list(storage.dims)
        while stack:
            dim = stack.pop()
            if isinstance(dim, int):
                coefficient *= dim
                continue
            constant = constant_index(dim)
            producer = dim.defining_op
            if constant is not None:
                coefficient *= constant
            elif isinstance(producer, arith.MulI):
                stack.extend(producer.operands)
            else:
                factors.append(dim)
        for factor in factors:
            self.factors.setdefault(factor)
        order = {factor: i for i, factor in enumerate(self.factors)}
        return coefficient, tuple(sorted(factors, key=order.__getitem__))

    def _zone_offsets(self, zones: Sequence[Zone], builder: Builder) -> tuple[dict[Any, Value | int], Value]:
        """Per zone (by factors) where it begins; and the arena's size."""
        bases: dict[Any, Value | int] = {}
        total: Dim = 0
        for zone in zones:
            bases[zone.factors] = total
            size = self.resolver.product([*_dims(zone.factors), zone.peak], builder)
            total = self._add(total, size, builder)
        return bases, self.resolver.value(total)

    def _add(self, a: Dim, b: Dim, builder: Builder) -> Dim:
        if isinstance(a, int) and isinstance(b, int):
            return a + b
        if a == 0:
            return b
        if b == 0:
            return a
        return builder.create(arith.AddI, self.resolver.value(a), self.resolver.value(b)).result

    def _build(
        self,
        commands: list[_Command],
        temporaries: list[_Storage],
        bases: dict[Any, Value | int],
        arena_size: Value,
        builder: Builder,
    ) -> None:
        resources: dict[Value, Value] = {}
        arena: Value | None = None
        if temporaries:
            arena = builder.create(stream.ResourceAlloca, arena_size).result
            resources[arena] = arena_size
        offsets: dict[_Storage, Value] = {}
        for command in commands:
            for binding, _ in command.bindings:
                if binding in offsets:
                    continue
                storage = binding.whole
                if storage.kind == "temporary":
                    assert storage.buffer is not None and arena is not None
                    buffer = storage.buffer
                    inner = self.resolver.product([*_dims(buffer.factors), buffer.offset], builder)
                    offset: Dim = self._add(bases[buffer.factors], inner, builder)
                    storage.resource = arena
                else:
                    offset = storage.offset
                    assert storage.resource is not None
                    if storage.resource not in resources:
                        resources[storage.resource] = storage.total or self._segment_size()
                offsets[binding] = self.resolver.value(self._add(offset, binding.shift, builder))
        execute = builder.create(stream.CmdExecute, list(resources), list(resources.values()))
        inside = dict(zip(resources, execute.body.block.args, strict=True))
        for resource, arg in inside.items():
            arg.hint = resource.hint
        waves: dict[int, list[_Command]] = {}
        for command in commands:
            waves.setdefault(command.wave, []).append(command)
        for wave in waves.values():
            body = Builder.at_end(execute.body.block)
            if len(wave) > 1:
                concurrent = body.create(stream.CmdConcurrent)
                concurrent.location = builder.location
                body = Builder.at_end(concurrent.body.block)
            for command in wave:
                self._build_command(command, offsets, inside, body)

    def _build_command(
        self, command: _Command, offsets: dict[_Storage, Value], inside: Mapping[Value, Value], body: Builder
    ) -> None:
        def resource(storage: _Storage) -> Value:
            whole = storage.whole.resource
            assert whole is not None
            return inside[whole]

        if command.op is None:
            assert command.copy is not None
            source, target = command.copy
            body.create(
                stream.CmdCopy,
                resource(source),
                offsets[source],
                resource(target),
                offsets[target],
                target.size,
            )
            return
        op = command.op
        scalars = [v for v in op.arguments if not isinstance(v.type, TensorType)]
        dispatch = body.create(
            stream.CmdDispatch,
            op.entry_point,
            list(op.workload),
            scalars,
            [resource(s) for s, _ in command.bindings],
            [offsets[s] for s, _ in command.bindings],
            [_size(s) for s, _ in command.bindings],
            [access for _, access in command.bindings],
        )
        dispatch.location = op.location

    def _segment_size(self) -> Value:
        """The segment's size: a constant of its own, set once all functions are known."""
        if self.segment_size is None:
            op = Builder.at_start(self.block).insert(arith.Constant.index(0))
            self.constants.sizes.append(op)
            self.segment_size = op.result
        return self.segment_size

    def _report(self, zones: Sequence[Zone], region: int) -> None:
        report = self.context.options.get("report")
        if report is None:
            return
        name = str(getattr(self.function.attributes["sym_name"], "value", ""))
        for zone in zones:
            factors = " * ".join(getattr(f, "hint", None) or "?" for f in zone.factors)
            report.arenas.append(ArenaRow(name, region, factors, zone.peak, zone.lower_bound, zone.total))

    # -- what leaves ------------------------------------------------------------------------------------

    def _return(self, op: Op, pending: list[flow.Dispatch], escaping: set[flow.Dispatch]) -> None:
        """Outputs get allocations of their own; an input or constant returned is copied."""
        builder = Builder.before_op(op)
        outputs: dict[Value, _Storage] = {}
        taken: set[Value] = set()
        copies: list[tuple[int, Value]] = []
        for i, value in enumerate(op.operands):
            if not isinstance(value.type, TensorType):
                continue
            root = _root(value)
            if isinstance(root.defining_op, flow.Dispatch) and root not in taken and not _is_part(value):
                taken.add(root)
            else:
                copies.append((i, value))
        if pending:
            self._emit(
                pending, escaping | {d for d in pending if any(r in taken for r in d.results)}, outputs
            )
        values = list(op.operands)
        copied: dict[int, _Storage] = {}
        if copies:
            commands = []
            for i, value in copies:
                source = self._storage(value)
                target = self._fresh(value, True, builder, -1)
                copied[i] = target
                commands.append(_Command(None, [(source, READ), (target, WRITE)], (source, target)))
            self._build(commands, [], {}, self.resolver.value(0), builder)
        for i, value in enumerate(values):
            if not isinstance(value.type, TensorType):
                continue
            storage = copied.get(i) or self._storage(value)
            assert storage.resource is not None and storage.size is not None
            exported = builder.create(
                stream.TensorExport, storage.resource, storage.size, value.type, self.resolver.dynamic(value)
            )
            values[i] = exported.result
        op.set_operands(values)

    def _load(self, op: flow.TensorLoad) -> None:
        storage = self._storage(op.source)
        builder = Builder.before_op(op)
        report = self.context.options.get("report")
        if report is not None:
            report.read_backs.append(op.location.user_text())
        inner = self._linear(op.source, op.indices, builder)
        offset = self.resolver.value(
            self._add(storage.whole.offset, self._add(storage.shift, inner, builder), builder)
        )
        resource = storage.whole.resource
        total = storage.whole.total or self._segment_size()
        load = builder.create(stream.ResourceLoad, resource, total, offset, op.result.type)
        op.result.replace_all_uses_with(load.result)

    def _linear(self, source: Value, indices: Sequence[Value], builder: Builder) -> Dim:
        """The byte at which an element of ``source`` lies."""
        width = element_type(str(source.type.element_type)).bytes
        total: Dim = 0
        dims = self.resolver.dims(source)
        for axis, position in enumerate(indices):
            stride = self.resolver.product([position, *dims[axis + 1 :], width], builder)
            total = self._add(total, stride, builder)
        return total

    def _erase(self, ops: Sequence[Op]) -> None:
        for op in reversed(ops):
            if isinstance(op, (flow.Dispatch, flow.TensorLoad, *ALIASES)) or (
                isinstance(op, arith.Constant)
                and isinstance(op.result.type, TensorType)
                and not op.result.uses
            ):
                op.erase()


def _dims(factors: tuple[Any, ...]) -> list[Dim]:
    """Factors of an arena zone as the index values they are here."""
    return list(factors)


def _size(storage: _Storage) -> Value:
    assert storage.size is not None
    return storage.size


def _is_part(value: Value) -> bool:
    """True when ``value`` is a slice of what some op made."""
    op = value.defining_op
    while isinstance(op, ALIASES):
        if isinstance(op, flow.TensorSlice):
            return True
        op = op.source.defining_op
    return False


def _root(value: Value) -> Value:
    """``value`` behind its reshapes and slices: what shares its memory."""
    op = value.defining_op
    while isinstance(op, ALIASES):
        value = op.source
        op = value.defining_op
    return value


def _root_dispatch(value: Value) -> flow.Dispatch | None:
    op = _root(value).defining_op
    return op if isinstance(op, flow.Dispatch) else None
