"""One recorded region: commands get waves, temporaries offsets in the arena, and the ``stream.cmd`` ops are
built.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from iree_base.element_types import element_type
from iree_core_ir.dialects import arith
from iree_core_ir.ir.builder import Builder
from iree_core_ir.ir.operation import Value
from iree_core_ir.ir.types import TensorType
from iree_flow.arena import ArenaBuffer, Zone, plan
from iree_flow.dialects import flow, stream
from iree_flow.dims import Dim, constant_index
from iree_flow.passes.outline_dispatch_regions import READ, WRITE
from iree_flow.stream_storage import TEMPORARY, Storage, Storages


@dataclass
class Command:
    """A dispatch with its bindings, or a copy, before placement."""

    op: flow.Dispatch | None
    bindings: list[tuple[Storage, str]] = field(default_factory=list)
    wave: int = 0

    @classmethod
    def copy(cls, source: Storage, target: Storage) -> Command:
        return cls(None, [(source, READ), (target, WRITE)])


class Region:
    """Builds one ``stream.cmd.execute``. ``factors`` orders symbolic dims, the same for all regions."""

    def __init__(
        self, storages: Storages, builder: Builder, alignment: int, factors: dict[Value, None]
    ) -> None:
        self.storages = storages
        self.resolver = storages.resolver
        self.builder = builder
        self.alignment = alignment
        self.factors = factors

    def build(self, commands: Sequence[Command]) -> list[Zone]:
        """Place and write the commands; gives the zones of the arena."""
        assign_waves(commands)
        temporaries = self._lifetimes(commands)
        zones = plan([s.buffer for s in temporaries if s.buffer is not None], self.alignment)
        resources: dict[Value, Value] = {}
        bases: dict[Any, Dim] = {}
        arena: Value | None = None
        if temporaries:
            bases, size = self._zone_offsets(zones)
            arena = self.builder.create(stream.ResourceAlloca, size).result
            resources[arena] = size
        offsets = self._offsets(commands, bases, arena, resources)
        execute = self.builder.create(stream.CmdExecute, list(resources), list(resources.values()))
        inside = dict(zip(resources, execute.body.block.args, strict=True))
        for resource, arg in inside.items():
            arg.hint = resource.hint
        waves: dict[int, list[Command]] = {}
        for command in commands:
            waves.setdefault(command.wave, []).append(command)
        for wave in waves.values():
            body = Builder.at_end(execute.body.block)
            if len(wave) > 1:
                concurrent = body.create(stream.CmdConcurrent)
                concurrent.location = self.builder.location
                body = Builder.at_end(concurrent.body.block)
            for command in wave:
                _build_command(command, offsets, inside, body)
        return zones

    def _lifetimes(self, commands: Sequence[Command]) -> list[Storage]:
        """The temporaries, each with the waves it lives in."""
        temporaries: dict[Storage, None] = {}
        for command in commands:
            for binding, _ in command.bindings:
                storage = binding.whole
                if storage.kind == TEMPORARY:
                    if storage.start < 0:
                        storage.start = command.wave
                    storage.end = command.wave
                    temporaries[storage] = None
        for i, storage in enumerate(temporaries):
            coefficient, factors = self._symbolic_size(storage)
            storage.buffer = ArenaBuffer(i, coefficient, factors, storage.start, storage.end)
        return list(temporaries)

    def _symbolic_size(self, storage: Storage) -> tuple[int, tuple[Value, ...]]:
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

    def _zone_offsets(self, zones: Sequence[Zone]) -> tuple[dict[Any, Dim], Value]:
        """Per zone (by factors) where it begins; and the arena's size."""
        bases: dict[Any, Dim] = {}
        total: Dim = 0
        for zone in zones:
            bases[zone.factors] = total
            size = self.resolver.product([*_dims(zone.factors), zone.peak], self.builder)
            total = self.storages.add(total, size, self.builder)
        return bases, self.resolver.value(total)

    def _offsets(
        self,
        commands: Sequence[Command],
        bases: Mapping[Any, Dim],
        arena: Value | None,
        resources: dict[Value, Value],
    ) -> dict[Storage, Value]:
        """Where each storage begins in its resource; ``resources`` gets the resources with their sizes."""
        offsets: dict[Storage, Value] = {}
        for command in commands:
            for binding, _ in command.bindings:
                if binding in offsets:
                    continue
                storage = binding.whole
                offset: Dim = storage.offset
                if storage.kind == TEMPORARY:
                    assert storage.buffer is not None and arena is not None
                    buffer = storage.buffer
                    inner = self.resolver.product([*_dims(buffer.factors), buffer.offset], self.builder)
                    offset = self.storages.add(bases[buffer.factors], inner, self.builder)
                    storage.resource = arena
                else:
                    assert storage.resource is not None and storage.total is not None
                    resources.setdefault(storage.resource, storage.total)
                offsets[binding] = self.resolver.value(self.storages.add(offset, binding.shift, self.builder))
        return offsets


def assign_waves(commands: Sequence[Command]) -> None:
    """Neighbouring commands that touch no common written storage share a wave."""
    wave = 0
    touched: dict[Storage, list[tuple[Storage, bool]]] = {}
    for command in commands:
        own = [(storage, access != READ) for storage, access in command.bindings]
        if any(
            (writes or written) and overlap(storage, other)
            for storage, writes in own
            for other, written in touched.get(storage.whole, ())
        ):
            wave += 1
            touched = {}
        for storage, writes in own:
            touched.setdefault(storage.whole, []).append((storage, writes))
        command.wave = wave


def overlap(a: Storage, b: Storage) -> bool:
    """False when the two surely share no byte."""
    if a.whole is not b.whole:
        return False
    if a is b:
        return True
    (low, high), (other_low, other_high) = _range(a), _range(b)
    if None in (low, high, other_low, other_high):
        return True
    return bool(low < other_high and other_low < high)


def _range(storage: Storage) -> tuple[Any, Any]:
    """First byte and the one behind the last, within the whole; None where not known."""
    low = storage.shift if isinstance(storage.shift, int) else constant_index(storage.shift)
    size = constant_index(storage.nbytes)
    return low, None if low is None or size is None else low + size


def _build_command(
    command: Command, offsets: Mapping[Storage, Value], inside: Mapping[Value, Value], body: Builder
) -> None:
    def resource(storage: Storage) -> Value:
        whole = storage.whole.resource
        assert whole is not None
        return inside[whole]

    storages = [storage for storage, _ in command.bindings]
    if command.op is None:
        source, target = storages
        body.create(
            stream.CmdCopy,
            resource(source),
            offsets[source],
            resource(target),
            offsets[target],
            target.nbytes,
        )
        return
    op = command.op
    dispatch = body.create(
        stream.CmdDispatch,
        op.entry_point,
        list(op.workload),
        [v for v in op.arguments if not isinstance(v.type, TensorType)],
        [resource(s) for s in storages],
        [offsets[s] for s in storages],
        [s.nbytes for s in storages],
        [access for _, access in command.bindings],
    )
    dispatch.location = op.location


def _dims(factors: tuple[Any, ...]) -> list[Dim]:
    """Factors of an arena zone as the index values they are here."""
    return list(factors)
