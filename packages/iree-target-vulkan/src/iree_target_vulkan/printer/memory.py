"""Memory: bindings, scratch, memory of the workgroup and of the invocation, as variables of SPIR-V.

A buffer is an array of its elements; accesses of several lanes go through a second variable at the same
binding whose elements are vectors. Memory that is not a buffer has one type only, so it is an array of the
widest vectors that the kernel reads or writes there, and single elements are lanes of those.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from iree_codegen.errors import INTERNAL, CodegenError
from iree_core_ir.ir.known_values import known_integer
from iree_core_ir.ir.operation import BlockArgument, Value
from iree_core_ir.ir.types import FloatType, IndexType, element_of, f16, i8
from iree_target_vulkan.printer.context import is_carried
from iree_target_vulkan.printer.values import Values

BINDING, SCRATCH, WORKGROUP, PRIVATE = "binding", "scratch", "workgroup", "private"
STORAGE_CLASS = {
    BINDING: "StorageBuffer",
    SCRATCH: "StorageBuffer",
    WORKGROUP: "Workgroup",
    PRIVATE: "Function",
}
NATIVE = {("i", 8): "shaderInt8", ("i", 16): "shaderInt16", ("f", 16): "shaderFloat16"}
"""Features by which memory of the workgroup can hold elements below 32 bits."""


@dataclass
class Memory:
    """One memref. ``base``: offset of its first element as an id, None for 0; ``binding``: of buffers.

    ``lanes``: of the vectors that memory which is no buffer consists of. ``variables``: by lanes.
    """

    space: str
    element: Any
    binding: int = 0
    base: int | None = None
    lanes: int = 1
    length: int = 0
    variables: dict[int, int] = field(default_factory=dict)

    @property
    def is_buffer(self) -> bool:
        return self.space in (BINDING, SCRATCH)


class MemoryPrinter(Values):
    """``local_variables``: words of the variables of the function; ``scopes``: pointers known per region."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.memories: dict[Value, Memory] = {}
        self.local_variables: list[int] = []
        self.scopes: list[dict[Any, int]] = [{}]
        self.buffers: dict[tuple[int, int], int] = {}
        """(binding, type of elements) -> variable."""
        self.shared: set[int] = set()
        """Bindings through which invocations of a workgroup exchange values: written, read, and a barrier."""

    # -- element types ----------------------------------------------------------------------------------

    def stored_bits(self, element: Any) -> int:
        """Bits of an element in memory."""
        if isinstance(element, IndexType):
            return self.index_bits
        return 8 if element.width < 8 else int(element.width)

    def buffer_type(self, element: Any) -> int:
        """The type of an element in a buffer."""
        bits = self.stored_bits(element)
        if bits == 8:
            self.require("storageBuffer8BitAccess")
        elif bits == 16:
            self.require("storageBuffer16BitAccess")
        elif bits == 64 and not isinstance(element, FloatType):
            self.require("shaderInt64")
        if isinstance(element, FloatType) and (bits >= 32 or (element is f16 and self.native_half)):
            return self.type(element)
        return self.module.int_type(bits)

    def local_type(self, memory: Memory) -> int:
        """The type of an element in memory that is no buffer: as in registers, smaller where it can be."""
        element = memory.element
        register = self.type(element)
        bits = self.stored_bits(element)
        if register != self.u32 or bits >= 32 or memory.space == PRIVATE:
            return register
        if self.prefer(NATIVE["i", bits]):
            return self.module.int_type(bits)
        return register

    def variable(self, memory: Memory, lanes: int) -> int:
        """The variable for accesses of ``lanes`` elements."""
        found = memory.variables.get(lanes)
        if found is None:
            found = memory.variables[lanes] = self._new_variable(memory, lanes)
        return found

    def _new_variable(self, memory: Memory, lanes: int) -> int:
        m = self.module
        if memory.is_buffer:
            type = self._stored_type(memory, lanes)
            key = (memory.binding, type)
            if key not in self.buffers:
                stride = self.stored_bits(memory.element) // 8 * lanes
                self.buffers[key] = m.storage_buffer(memory.binding, type, stride)
                if memory.binding in self.shared and not self.vulkan_model:
                    m.decorate(self.buffers[key], "Coherent")
            return self.buffers[key]
        type = self._stored_type(memory, memory.lanes)
        array = m.array(type, -(-memory.length // memory.lanes))
        if memory.space == WORKGROUP:
            return m.variable("Workgroup", array)
        pointer = m.pointer("Function", array)
        saved, m.code = m.code, self.local_variables
        result = m.op("Variable", pointer, "Function")
        m.code = saved
        return result

    # -- addresses --------------------------------------------------------------------------------------

    def quotient(self, at: Value, by: int) -> int:
        """``at / by`` for an index known to be a multiple: through its own factors where they show."""
        if by == 1:
            return self.operand(at)
        key = ("quotient", at, by)
        for scope in self.scopes:
            if key in scope:
                return scope[key]
        result = self.scopes[-1][key] = self._quotient(at, by)
        return result

    def _quotient(self, at: Value, by: int) -> int:
        index = self.type(at.type)
        known = known_integer(at)
        if known is not None:
            return self.word(known // by, at.type)
        op = at.defining_op
        if op is not None and op.name == "arith.muli":
            factor = known_integer(op.operands[1])
            if factor is not None and factor % by == 0:
                if factor == by:
                    return self.operand(op.operands[0])
                return self.emit(
                    "IMul", index, self.operand(op.operands[0]), self.word(factor // by, at.type)
                )
        if op is not None and op.name == "arith.addi" and any(is_multiple(v, by) for v in op.operands):
            # The sum is a multiple, so the other operand is one too.
            return self.emit("IAdd", index, *(self.quotient(v, by) for v in op.operands))
        return self.emit("ShiftRightLogical", index, self.operand(at), self.u32_constant(by.bit_length() - 1))

    def pointer(self, memory: Memory, at: Value, lanes: int) -> int:
        """A pointer to ``lanes`` elements at ``memory[at]``, whose place is a multiple of ``lanes``."""
        key = (id(memory), at, lanes)
        for scope in self.scopes:
            if key in scope:
                return scope[key]
        result = self.scopes[-1][key] = self._pointer(memory, at, lanes)
        return result

    def _pointer(self, memory: Memory, at: Value, lanes: int) -> int:
        m = self.module
        storage = STORAGE_CLASS[memory.space]
        variable = self.variable(memory, lanes if memory.is_buffer else memory.lanes)
        if memory.is_buffer:
            index = self.quotient(at, lanes)
            if memory.base is not None:
                base = memory.base
                if lanes > 1:
                    base = self.emit(
                        "ShiftRightLogical",
                        self.type(at.type),
                        base,
                        self.u32_constant(lanes.bit_length() - 1),
                    )
                index = self.emit("IAdd", self.type(at.type), index, base)
            type = self._stored_type(memory, lanes)
            return self.emit("AccessChain", m.pointer(storage, type), variable, self.u32_constant(0), index)
        if lanes == memory.lanes:
            pointer = m.pointer(storage, self._stored_type(memory, lanes))
            return self.emit("AccessChain", pointer, variable, self.quotient(at, lanes))
        # One element: a lane of the vectors that the memory consists of.
        row, lane = self._row_and_lane(at, memory.lanes)
        return self.emit("AccessChain", m.pointer(storage, self.local_type(memory)), variable, row, lane)

    def _row_and_lane(self, at: Value, lanes: int) -> tuple[int, int]:
        """Which vector of ``lanes`` an element lies in, and where.

        Taken from the whole index, also where it is a sum with a constant: with the constant added behind the
        shift, the products of an H100 in f32 took 3 % longer.
        """
        if is_multiple(at, lanes):
            return self.quotient(at, lanes), self.word(0, at.type)
        return self._split_index(self.operand(at), self.type(at.type), at, lanes)

    def _split_index(self, index: int, type: int, like: Value, lanes: int) -> tuple[int, int]:
        key = ("split", index, lanes)
        for scope in self.scopes:
            if key in scope:
                return scope[key], scope["lane", index, lanes]
        row = self.emit("ShiftRightLogical", type, index, self.u32_constant(lanes.bit_length() - 1))
        lane = self.emit("BitwiseAnd", type, index, self.word(lanes - 1, like.type))
        self.scopes[-1][key], self.scopes[-1]["lane", index, lanes] = row, lane
        return row, lane

    def access(self, memory: Memory, *, write: bool) -> tuple[Any, ...]:
        """The memory operands of a load or store."""
        if not self.vulkan_model:
            return ()
        if memory.space == WORKGROUP:
            return ("NonPrivatePointer",)
        if memory.is_buffer and memory.binding in self.shared:
            which = "MakePointerAvailable" if write else "MakePointerVisible"
            return (f"{which}|NonPrivatePointer", self.u32_constant(SCOPE_WORKGROUP))
        return ()

    # -- loads and stores -------------------------------------------------------------------------------

    def memory(self, value: Value) -> Memory:
        found = self.memories.get(value)
        if found is None:
            raise CodegenError(INTERNAL, f"'{self.kernel}': memory of type {value.type} comes from nowhere")
        return found

    def load_at(self, result: Value, memory: Memory, at: Value) -> int:
        """``result``'s lanes from ``memory[at]``."""
        type: Any = result.type
        lanes = self.memory_lanes(type)
        if not self._fits(memory, lanes):
            stored = [self._load(memory, pointer, 1) for pointer in self._one_by_one(memory, at, lanes)]
            return self.construct(
                self.type(type), [self.widened(s, memory, type.element_type) for s in stored]
            )
        found = self._load(memory, self.pointer(memory, at, lanes), lanes)
        wide = self.widened(found, memory, type)
        if wide != found and not isinstance(element_of(type), FloatType):
            self.narrow_ids[result] = (found, self.stored_bits(element_of(type)))
        return wide

    def _load(self, memory: Memory, pointer: int, lanes: int) -> int:
        return self.emit("Load", self._stored_type(memory, lanes), pointer, *self.access(memory, write=False))

    def memory_lanes(self, type: Any) -> int:
        """Elements that a value takes in memory."""
        return int(type.shape[0]) if is_carried(type) else self.lanes(type)

    def _stored_type(self, memory: Memory, lanes: int) -> int:
        if lanes > 4:
            return self.module.vector(self.u32, 4)
        element = self.buffer_type(memory.element) if memory.is_buffer else self.local_type(memory)
        return self.module.vector(element, lanes)

    def _fits(self, memory: Memory, lanes: int) -> bool:
        """True when one access does it: powers of two, and what other memory consists of."""
        if memory.is_buffer:
            return lanes in (1, 2, 4, 8, 16)
        return lanes in (1, memory.lanes)

    def _one_by_one(self, memory: Memory, at: Value, lanes: int) -> list[int]:
        """Pointers to consecutive elements."""
        first = self.pointer(memory, at, 1)
        type = self.type(at.type)
        pointers = [first]
        for lane in range(1, lanes):
            index = self.emit("IAdd", type, self.operand(at), self.word(lane, at.type))
            pointers.append(self._pointer_by_id(memory, index, at))
        return pointers

    def _pointer_by_id(self, memory: Memory, index: int, like: Value) -> int:
        m, type = self.module, self.type(like.type)
        storage = STORAGE_CLASS[memory.space]
        if memory.is_buffer:
            if memory.base is not None:
                index = self.emit("IAdd", type, index, memory.base)
            pointer = m.pointer(storage, self.buffer_type(memory.element))
            return self.emit("AccessChain", pointer, self.variable(memory, 1), self.u32_constant(0), index)
        pointer = m.pointer(storage, self.local_type(memory))
        variable = self.variable(memory, memory.lanes)
        if memory.lanes == 1:
            return self.emit("AccessChain", pointer, variable, index)
        return self.emit(
            "AccessChain", pointer, variable, *self._split_index(index, type, like, memory.lanes)
        )

    def widened(self, stored: int, memory: Memory, type: Any) -> int:
        """What was loaded, as ``type`` lies in registers."""
        lanes = self.memory_lanes(type)
        register = self.type(type)
        if self._stored_type(memory, lanes) == register:
            return stored
        wide = self.emit("UConvert", self.module.vector(self.u32, lanes), stored)
        if register == self.bool_type(type):
            return self.emit("INotEqual", register, wide, self.word(0, type))
        return wide

    def store_at(self, value: Value, memory: Memory, at: Value) -> None:
        type: Any = value.type
        lanes = self.memory_lanes(type)
        access = self.access(memory, write=True)
        if self._fits(memory, lanes):
            stored = self.narrowed(self.operand(value), memory, type)
            self.module.do("Store", self.pointer(memory, at, lanes), stored, *access)
            return
        scalars = self.lanes_of(self.operand(value), type)
        for scalar, pointer in zip(scalars, self._one_by_one(memory, at, lanes), strict=True):
            self.module.do("Store", pointer, self.narrowed(scalar, memory, type.element_type), *access)

    def narrowed(self, value: int, memory: Memory, type: Any) -> int:
        """A value in registers as it lies in ``memory``."""
        target = self._stored_type(memory, self.memory_lanes(type))
        if target == self.type(type):
            return value
        if self.type(type) == self.bool_type(type):
            value = self.select(value, self.word_type(type), self.word(1, type), self.word(0, type))
        return self.emit("UConvert", target, value)


SCOPE_WORKGROUP, SCOPE_SUBGROUP = 2, 3


def is_multiple(at: Value, by: int) -> bool:
    """True when an index shows by itself that it is a multiple of ``by``."""
    known = known_integer(at)
    if known is not None:
        return known % by == 0
    op = at.defining_op
    if op is None:
        return _counts_in(at, by)
    if op.name == "arith.muli":
        factor = known_integer(op.operands[1])
        return factor is not None and factor % by == 0
    return op.name == "arith.addi" and all(is_multiple(v, by) for v in op.operands)


def _counts_in(at: Value, by: int) -> bool:
    """True for the counter of a loop whose bounds and step show it."""
    loop = at.owner.parent.parent if isinstance(at, BlockArgument) and at.owner.parent else None
    if loop is None or loop.name != "scf.for" or at is not loop.regions[0].block.args[0]:
        return False
    return is_multiple(loop.operands[0], by) and is_multiple(loop.operands[2], by)


# -- ops ----------------------------------------------------------------------------------------------


def load(p: MemoryPrinter, op: Any) -> int:
    return p.load_at(op.results[0], p.memory(op.operands[0]), op.operands[1])


def store(p: MemoryPrinter, op: Any) -> None:
    value, memory, at = op.operands
    p.store_at(value, p.memory(memory), at)


def allocate(p: MemoryPrinter, op: Any) -> None:
    type = op.results[0].type
    space = WORKGROUP if type.memory_space.value == "workgroup" else PRIVATE
    memory = op.results[0]
    widest = max((p.memory_lanes(v.type) for v in accessed(memory)), default=1)
    # Only whole vectors can be its elements; other accesses take lanes one by one, fragments none.
    if widest == 3 or type.shape[0] % widest or not _whole_fragments(memory, widest):
        widest = 1
    p.memories[memory] = Memory(space, type.element_type, lanes=widest, length=type.shape[0])


def _whole_fragments(memory: Value, lanes: int) -> bool:
    """True when matrix fragments in memory begin at vectors of ``lanes``, and so do their rows."""
    for user in memory.users:
        if user.name.startswith("gpu.subgroup_mma"):
            lead: Any = user.attributes["leadDimension"]
            if lead.value % lanes or not is_multiple(user.operands[-1], lanes):
                return False
    return True


def accessed(memory: Value) -> list[Value]:
    """The values that loads give and stores take."""
    found: list[Value] = []
    for user in memory.users:
        if user.name in ("memref.load", "vector.load"):
            found.append(user.results[0])
        elif user.name in ("memref.store", "vector.store"):
            found.append(user.operands[0])
    return found


def view(p: MemoryPrinter, op: Any) -> None:
    """Bytes of scratch as elements of another type."""
    source = p.memory(op.operands[0])
    if source.element is not i8:
        raise CodegenError(INTERNAL, f"'{p.kernel}': memref.view of {op.operands[0].type}")
    element = op.results[0].type.element_type
    size = p.stored_bits(element) // 8
    start = p.quotient(op.operands[1], size)
    if source.base is not None:
        shift = p.u32_constant(size.bit_length() - 1)
        index = p.type(op.operands[1].type)
        base = source.base
        if size > 1:
            base = p.emit("ShiftRightLogical", index, base, shift)
        start = p.emit("IAdd", index, start, base)
    p.memories[op.results[0]] = Memory(source.space, element, source.binding, start)


HANDLERS: dict[str, Callable[[Any, Any], Any]] = {
    "memref.alloca": allocate,
    "memref.load": load,
    "memref.store": store,
    "memref.view": view,
    "vector.load": load,
    "vector.store": store,
}
