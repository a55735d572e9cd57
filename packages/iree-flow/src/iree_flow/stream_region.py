"""One recorded region: commands get waves, temporaries offsets in the arena, and the ``stream.cmd`` ops are
built.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from iree_base.element_types import element_type
from iree_base.records import field, record
from iree_core_ir.dialects import arith
from iree_core_ir.ir.builder import Builder
from iree_core_ir.ir.known_values import known_integer
from iree_core_ir.ir.operation import Value
from iree_core_ir.ir.types import TensorType
from iree_flow.arena import ArenaBuffer, Offset, Plan, Term, plan
from iree_flow.dialects import flow, stream
from iree_flow.dims import Dim
from iree_flow.nominal_dims import nominal
from iree_flow.passes.outline_dispatch_regions import READ, WRITE
from iree_flow.stream_storage import TEMPORARY, Storage, Storages


@record
class Command:
    """A dispatch with its bindings, or a copy, before placement."""

    op: flow.Dispatch | None
    bindings: list[tuple[Storage, str]] = field(default_factory=list)
    wave: int = 0

    @property
    def name(self) -> str:
        """The dispatch's export, or ``copy``."""
        return "copy" if self.op is None else str(self.op.entry_point).rsplit("@", 1)[-1]

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
        self._sums: dict[frozenset[tuple[Term, int]], Dim] = {frozenset(): 0}

    def build(self, commands: Sequence[Command]) -> Plan:
        """Place and write the commands; gives the plan of the arena."""
        assign_waves(commands)
        temporaries = self._lifetimes(commands)
        planned = plan([s.buffer for s in temporaries if s.buffer is not None], self.alignment)
        resources: dict[Value, Value] = {}
        arena: Value | None = None
        if temporaries:
            size = self.resolver.value(self._largest(planned.size))
            arena = self.builder.create(stream.ResourceAlloca, size).result
            resources[arena] = size
        offsets = self._offsets(commands, arena, resources)
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
        return planned

    def _lifetimes(self, commands: Sequence[Command]) -> list[Storage]:
        """The temporaries, each with the waves it lives in."""
        temporaries: dict[Storage, str] = {}
        for command in commands:
            for binding, _ in command.bindings:
                storage = binding.whole
                if storage.kind == TEMPORARY:
                    if storage.start < 0:
                        storage.start = command.wave
                    storage.end = command.wave
                    temporaries.setdefault(storage, command.name)
        for storage, name in temporaries.items():
            coefficient, factors = self._symbolic_size(storage)
            size = coefficient * math.prod(nominal(factor) for factor in factors)
            storage.buffer = ArenaBuffer(name, coefficient, factors, storage.start, storage.end, size)
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
            constant = known_integer(dim)
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

    def _largest(self, offset: Offset) -> Dim:
        """``offset`` as an index value."""
        result: Dim | None = None
        for sums in offset.sums:
            value = self._sum(sums)
            if result is None:
                result = value
            elif isinstance(result, int) and isinstance(value, int):
                result = max(result, value)
            else:
                operands = [self.resolver.value(v) for v in (result, value)]
                result = self.builder.create(arith.MaxSI, *operands).result
        return 0 if result is None else result

    def _sum(self, terms: Mapping[Term, int]) -> Dim:
        """The sum of ``terms``, made from a sum that is there already where only its last term is new."""
        key = frozenset(terms.items())
        found = self._sums.get(key)
        if found is not None:
            return found
        result: Dim = 0
        rest = dict(terms)
        for term in terms:
            known = self._sums.get(frozenset((t, n) for t, n in terms.items() if t != term))
            if known is not None:
                result, rest = known, {term: terms[term]}
                break
        for term, count in rest.items():
            result = self.storages.add(result, self._term(term, count), self.builder)
        self._sums[key] = result
        return result

    def _term(self, term: Term, count: int) -> Dim:
        coefficient, factors = term
        dims: list[Any] = list(factors)
        if not coefficient % self.alignment:
            return self.resolver.product([*dims, coefficient * count], self.builder)
        size = self.resolver.product([*dims, coefficient], self.builder)
        step = self.resolver.value(self.alignment)
        blocks = self.builder.create(arith.CeilDivSI, self.resolver.value(size), step).result
        return self.resolver.product([blocks, self.alignment * count], self.builder)

    def _offsets(
        self,
        commands: Sequence[Command],
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
                    offset = self._largest(storage.buffer.offset)
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
    low = storage.shift if isinstance(storage.shift, int) else known_integer(storage.shift)
    size = known_integer(storage.nbytes)
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
