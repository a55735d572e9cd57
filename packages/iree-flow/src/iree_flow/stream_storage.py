"""Memory behind the tensors of one block: inputs, constants, outputs, temporaries, and slices of these."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from iree_base.element_types import element_type
from iree_base.records import record
from iree_core_ir.constants import ConstantStore
from iree_core_ir.dialects import arith, tensor
from iree_core_ir.ir.attributes import DenseElementsAttr, DenseResourceAttr, SymbolRefAttr
from iree_core_ir.ir.builder import Builder
from iree_core_ir.ir.known_values import known_integer
from iree_core_ir.ir.location import UNKNOWN
from iree_core_ir.ir.operation import Block, Op, Value
from iree_core_ir.ir.types import TensorType
from iree_flow.arena import ArenaBuffer
from iree_flow.constant_segments import ConstantSegments
from iree_flow.dialects import flow, stream
from iree_flow.dims import Dim, DimResolver
from iree_flow.errors import FlowError

INPUT, CONSTANT, OUTPUT, TEMPORARY = "input", "constant", "output", "temporary"
OWNED = "owned"
"""Memory that came over a branch and that nobody else has."""
ALIASES = (flow.TensorReshape, flow.TensorSlice, flow.TensorTieShape)
"""Ops whose result is (part of) their operand's memory."""


@record(eq=False)
class Storage:
    """Bytes that one or more tensor values share."""

    kind: str
    """``input``, ``constant``, ``output``, ``temporary`` or ``owned``."""
    dims: list[Dim]
    type: TensorType
    resource: Value | None = None
    """The SSA resource; of a temporary, once its region is built."""
    offset: int = 0
    """Constants: bytes into the segment."""
    size: Value | None = None
    total: Value | None = None
    """Size of the whole resource."""
    start: int = -1
    end: int = -1
    """First and last wave that touch a temporary."""
    buffer: ArenaBuffer | None = None
    pinned: bool = False
    """Memory that a concatenation shares with its inputs: no result may take it over."""
    base: Storage | None = None
    """A slice: the storage it lies in ..."""
    shift: Dim = 0
    """... and at which byte of it."""

    @property
    def whole(self) -> Storage:
        return self.base or self

    @property
    def nbytes(self) -> Value:
        assert self.size is not None
        return self.size


def root_of(value: Value) -> Value:
    """``value`` behind its reshapes and slices: what shares its memory."""
    op = value.defining_op
    while isinstance(op, ALIASES):
        value = op.source
        op = value.defining_op
    return value


Work = flow.Dispatch | flow.TensorConcat
"""What runs in a region."""
WORK = (flow.Dispatch, flow.TensorConcat)


def producer_of(value: Value) -> Work | None:
    """What wrote the memory of ``value`` in a region."""
    op = root_of(value).defining_op
    return op if isinstance(op, WORK) else None


def is_part(value: Value) -> bool:
    """True when ``value`` is a slice of what some op made."""
    op = value.defining_op
    while isinstance(op, ALIASES):
        if isinstance(op, flow.TensorSlice):
            return True
        op = op.source.defining_op
    return False


def divisor_of(value: Dim) -> int:
    """A number that surely divides ``value``; 0 for the value 0."""
    if isinstance(value, int):
        return value
    constant = known_integer(value)
    if constant is not None:
        return constant
    op = value.defining_op
    if isinstance(op, arith.MulI):
        return math.prod(divisor_of(v) for v in op.operands)
    if isinstance(op, (arith.AddI, arith.SubI)):
        return math.gcd(*(divisor_of(v) for v in op.operands))
    return 1


class Storages:
    """Value -> storage, for one function. Resources of inputs and constants are made when first needed.

    ``block`` is the entry: what is made there reaches all blocks.
    """

    def __init__(
        self, block: Block, resolver: DimResolver, segments: ConstantSegments, store: ConstantStore
    ) -> None:
        self.block = block
        self.resolver = resolver
        self.segments = segments
        self.store = store
        self._of: dict[Value, Storage] = {}
        self.passed: dict[tuple[Block, int], Value] = {}
        """Per block and operand of the branch that ends it: the resource that it passes."""
        self._segments: dict[str, tuple[Value, Value]] = {}

    def of(self, value: Value) -> Storage:
        """The storage of a tensor. Raises FlowError 8 for one that nothing here has made."""
        found = self._of.get(value)
        if found is None:
            found = self._of[value] = self._find(value)
        return found

    def put(self, value: Value, storage: Storage) -> None:
        """Say where the result of a dispatch lies."""
        self._of[value] = storage

    def placed(self, value: Value) -> Storage | None:
        """The storage of a result, where it was put."""
        return self._of.get(value)

    def fresh(self, type: TensorType, dims: list[Dim], builder: Builder, *, escapes: bool) -> Storage:
        """New memory: a temporary, or with ``escapes`` an allocation of its own."""
        dims = self.packed(type, dims, builder)
        storage = Storage(TEMPORARY, dims, type, size=self.bytes(type, dims, builder, packed=True))
        if escapes:
            storage.kind = OUTPUT
            storage.resource = builder.create(stream.ResourceAlloc, storage.nbytes).result
            storage.total = storage.size
        return storage

    def piece(self, whole: Storage, value: Value, shift: Dim, builder: Builder) -> Storage:
        """The part of ``whole`` that begins ``shift`` bytes into it and has the size of ``value``."""
        dims = self.resolver.dims(value)
        size = self.bytes(value.type, dims, builder)
        place = self.add(whole.shift, shift, builder)
        return Storage(whole.kind, dims, value.type, size=size, base=whole.whole, shift=place)

    def _find(self, value: Value) -> Storage:
        op = value.defining_op
        if isinstance(op, (flow.TensorReshape, flow.TensorTieShape)):
            return self.of(op.source)
        if isinstance(op, flow.TensorSlice):
            return self._slice(op)
        if op is None:
            return self._input(value)
        if isinstance(op, arith.Constant):
            return self._constant(value, op)
        if isinstance(op, tensor.Empty):
            return self.fresh(value.type, self.resolver.dims(value), Builder.before_op(op), escapes=True)
        raise FlowError(
            8,
            f"'{op.name}' producing {value.type}",
            source=op.location.user_text(),
            cause="the op is neither a dispatch nor a reshape, constant or argument",
        )

    def _slice(self, op: flow.TensorSlice) -> Storage:
        source = self.of(op.source)
        builder = Builder.before_op(op)
        shift = self.add(source.shift, self.linear(op.source, op.start_indices, builder), builder)
        dims = self.resolver.dims(op.result)
        size = self.bytes(op.result.type, dims, builder)
        return Storage(source.whole.kind, dims, op.result.type, size=size, base=source.whole, shift=shift)

    def carried(self, value: Value, kind: str) -> Storage:
        """The memory of a tensor that a block takes over a branch: a resource that comes instead of it."""
        block = value.parent_block
        assert block is not None
        tied = next((user for user in value.uses if isinstance(user, flow.TensorTieShape)), None)
        dims = self.resolver.dims(value if tied is None else tied.result)
        builder = Builder(block, block.first if tied is None else tied, UNKNOWN)
        size = self.bytes(value.type, dims, builder)
        resource = block.add_arg(stream.EXTERNAL, value.hint)
        storage = self._of[value] = Storage(kind, dims, value.type, resource, 0, size, size)
        return storage

    def _input(self, value: Value) -> Storage:
        dims = self.resolver.dims(value)
        size = self.bytes(value.type, dims, Builder(self.block, self._behind(dims)))
        builder = Builder(self.block, self._behind([*dims, size]))
        resource = builder.create(stream.TensorImport, value, self.resolver.dynamic(value), size).result
        resource.hint = value.hint
        return Storage(INPUT, dims, value.type, resource, 0, size, size)

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

    def _constant(self, value: Value, op: Op) -> Storage:
        attribute: Any = op.attributes["value"]
        if isinstance(attribute, DenseElementsAttr):
            key = self.store.add_array(attribute.to_array(), str(value.type.element_type))
            attribute = DenseResourceAttr(key, value.type)
        assert isinstance(attribute, DenseResourceAttr)
        place = self.segments.place(attribute)
        if place.segment not in self._segments:
            loaded = Builder.at_start(self.block).create(stream.ConstantLoad, SymbolRefAttr(place.segment))
            self._segments[place.segment] = loaded.result, self.segments.size_of(place.segment, self.block)
        resource, total = self._segments[place.segment]
        size = self.resolver.value(place.nbytes)
        return Storage(CONSTANT, list(value.type.shape), value.type, resource, place.offset, size, total)

    # -- arithmetic on sizes, in bytes ---------------------------------------------------------------

    def packed(self, type: TensorType, dims: list[Dim], builder: Builder) -> list[Dim]:
        """``dims`` with the last one in bytes where elements are smaller: each row ends with a whole byte."""
        bits = element_type(str(type.element_type)).bits
        if bits >= 8 or not dims:
            return dims
        last = self.resolver.product([dims[-1], bits], builder)
        if isinstance(last, int):
            return [*dims[:-1], -(-last // 8)]
        eight = builder.insert(arith.Constant.index(8)).result
        return [*dims[:-1], builder.create(arith.CeilDivSI, last, eight).result]

    def bytes(self, type: TensorType, dims: list[Dim], builder: Builder, packed: bool = False) -> Value:
        """The size of a tensor; ``packed``: of dims that ``packed`` made."""
        if not packed:
            dims = self.packed(type, dims, builder)
        width = element_type(str(type.element_type)).bytes
        return self.resolver.value(self.resolver.product([*dims, width], builder))

    def linear(self, source: Value, indices: Sequence[Value], builder: Builder) -> Dim:
        """Where an element of ``source`` lies."""
        width = element_type(str(source.type.element_type)).bytes
        total: Dim = 0
        dims = self.resolver.dims(source)
        for axis, position in enumerate(indices):
            stride = self.resolver.product([position, *dims[axis + 1 :], width], builder)
            total = self.add(total, stride, builder)
        return total

    def add(self, a: Dim, b: Dim, builder: Builder) -> Dim:
        """The sum, folded where it can be."""
        if isinstance(a, int) and isinstance(b, int):
            return a + b
        if a == 0:
            return b
        if b == 0:
            return a
        return builder.create(arith.AddI, self.resolver.value(a), self.resolver.value(b)).result
