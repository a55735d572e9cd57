"""A SPIR-V module under construction: ids, the order of its sections, types and constants made once.

    m = Module((1, 3))
    u32 = m.int_type(32)
    total = m.op("IAdd", u32, a, m.constant(u32, 4))
    m.do("Store", pointer, total)
    data = m.serialize()

All integer types are unsigned: the instructions say where signs matter. Capabilities bring the extensions
that their version of SPIR-V needs.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

from iree_target_vulkan.spirv.assembler import Operand, encode, instruction
from iree_target_vulkan.spirv.grammar import Version, grammar

MAGIC = 0x07230203
SECTIONS = (
    "capabilities", "extensions", "imports", "memory_model", "entry_points", "modes", "names", "decorations",
    "globals",
)  # fmt: skip
"""The sections before the functions, in the order that SPIR-V prescribes."""

FLOAT_CODES = {16: "<e", 32: "<f", 64: "<d"}


class Module:
    """``code`` is the list that instructions of functions go to; swap it to write somewhere else."""

    def __init__(self, version: Version = (1, 3)) -> None:
        self.version = version
        self.bound = 1
        self.sections: dict[str, list[int]] = {name: [] for name in SECTIONS}
        self.code: list[int] = []
        self.capabilities: dict[str, None] = {}
        self.extensions: dict[str, None] = {}
        self.interface: list[int] = []
        """The global variables an entry point must list."""
        self._known: dict[Any, int] = {}
        self._glsl = 0

    # -- writing ------------------------------------------------------------------------------------

    def id(self) -> int:
        number = self.bound
        self.bound += 1
        return number

    def emit(self, section: str, name: str, *operands: Operand) -> None:
        self.sections[section].extend(encode(name, operands))

    def op(self, name: str, type: int, *operands: Operand) -> int:
        """An instruction with a result, into ``code``."""
        result = self.bound
        self.bound = result + 1
        self.code += encode(name, (type, result, *operands))
        return result

    def do(self, name: str, *operands: Operand) -> None:
        """An instruction without a result, into ``code``."""
        self.code += encode(name, operands)

    def label(self, number: int | None = None) -> int:
        number = self.id() if number is None else number
        self.do("Label", number)
        return number

    def phi(self, type: int, result: int, sources: Sequence[int]) -> None:
        """``sources``: value, block, value, block ..."""
        self.code += ((3 + len(sources)) << 16 | instruction("Phi").opcode, type, result, *sources)

    def glsl(self, name: str, type: int, *operands: int) -> int:
        """An instruction of the set GLSL.std.450."""
        if not self._glsl:
            self._glsl = self.id()
            self.emit("imports", "ExtInstImport", self._glsl, "GLSL.std.450")
        return self.op("ExtInst", type, self._glsl, grammar().glsl[name], *operands)

    def capability(self, name: str) -> None:
        """Declare a capability, and the extension that this version of SPIR-V needs for it."""
        if name in self.capabilities:
            return
        self.capabilities[name] = None
        self.emit("capabilities", "Capability", name)
        facts = grammar().capabilities[name]
        if facts.extensions and (facts.since is None or facts.since > self.version):
            self.extension(facts.extensions[0])

    def extension(self, name: str) -> None:
        if name not in self.extensions:
            self.extensions[name] = None
            self.emit("extensions", "Extension", name)

    def decorate(self, target: int, *decoration: Operand) -> None:
        self.emit("decorations", "Decorate", target, *decoration)

    # -- types ----------------------------------------------------------------------------------------

    def type(self, name: str, *operands: Operand) -> int:
        """The type instruction ``name``, made once per operands."""
        key = (name, operands)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self.id()
            self.emit("globals", name, found, *operands)
        return found

    def has_type(self, name: str, *operands: Operand) -> bool:
        """True when the type is in use."""
        return (name, operands) in self._known

    def void_type(self) -> int:
        return self.type("TypeVoid")

    def bool_type(self) -> int:
        return self.type("TypeBool")

    def int_type(self, bits: int) -> int:
        return self.type("TypeInt", bits, 0)

    def float_type(self, bits: int) -> int:
        return self.type("TypeFloat", bits)

    def vector(self, element: int, lanes: int) -> int:
        return element if lanes == 1 else self.type("TypeVector", element, lanes)

    def pointer(self, storage: str, type: int) -> int:
        return self.type("TypePointer", storage, type)

    def array(self, element: int, length: int) -> int:
        return self.type("TypeArray", element, self.constant(self.int_type(32), length))

    def _struct_of_runtime_array(self, element: int, stride: int) -> int:
        key = ("buffer", element, stride)
        found = self._known.get(key)
        if found is None:
            array = self.id()
            self.emit("globals", "TypeRuntimeArray", array, element)
            self.decorate(array, "ArrayStride", stride)
            found = self._known[key] = self.id()
            self.emit("globals", "TypeStruct", found, array)
            self.decorate(found, "Block")
            self.emit("decorations", "MemberDecorate", found, 0, "Offset", 0)
        return found

    # -- constants ------------------------------------------------------------------------------------

    def words(self, type: int, words: tuple[int, ...]) -> int:
        """The constant of a numeric type with these words."""
        key = ("constant", type, words)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self.id()
            first = (3 + len(words)) << 16 | instruction("Constant").opcode
            self.sections["globals"] += (first, type, found, *words)
        return found

    def constant(self, type: int, value: int, bits: int = 32) -> int:
        """An integer of up to 64 bits, taken modulo 2^bits."""
        value &= (1 << bits) - 1
        return self.words(type, (value,) if bits <= 32 else (value & 0xFFFFFFFF, value >> 32))

    def float_constant(self, type: int, value: float, bits: int = 32) -> int:
        raw = int.from_bytes(struct.pack(FLOAT_CODES[bits], value), "little")
        return self.words(type, (raw,) if bits <= 32 else (raw & 0xFFFFFFFF, raw >> 32))

    def bool_constant(self, value: bool) -> int:
        return self._other_constant("ConstantTrue" if value else "ConstantFalse", self.bool_type())

    def composite(self, type: int, *elements: int) -> int:
        return self._other_constant("ConstantComposite", type, *elements)

    def null(self, type: int) -> int:
        return self._other_constant("ConstantNull", type)

    def _other_constant(self, name: str, type: int, *operands: int) -> int:
        key = (name, type, operands)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self.id()
            self.emit("globals", name, type, found, *operands)
        return found

    # -- variables ------------------------------------------------------------------------------------

    def variable(self, storage: str, type: int) -> int:
        """A global variable."""
        result = self.id()
        self.emit("globals", "Variable", self.pointer(storage, type), result, storage)
        if storage == "Input" or self.version >= (1, 4):
            self.interface.append(result)
        return result

    def builtin(self, name: str, type: int) -> int:
        """The input variable of a built-in, made once."""
        key = ("builtin", name)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self.variable("Input", type)
            self.decorate(found, "BuiltIn", name)
        return found

    def storage_buffer(self, binding: int, element: int, stride: int) -> int:
        """A storage buffer of set 0 that is one array of ``element``: index it with member 0 first."""
        result = self.variable("StorageBuffer", self._struct_of_runtime_array(element, stride))
        self.decorate(result, "DescriptorSet", 0)
        self.decorate(result, "Binding", binding)
        return result

    def push_constants(self, n_words: int) -> int:
        """``n_words`` u32 members."""
        struct = self.id()
        self.emit("globals", "TypeStruct", struct, *[self.int_type(32)] * n_words)
        self.decorate(struct, "Block")
        for member in range(n_words):
            self.emit("decorations", "MemberDecorate", struct, member, "Offset", 4 * member)
        return self.variable("PushConstant", struct)

    # -- the whole ------------------------------------------------------------------------------------

    def compute_entry(
        self, name: str, function: int, workgroup_size: Sequence[int], *, vulkan_model: bool
    ) -> None:
        """The entry point ``name``; call it when all variables exist."""
        self.capability("Shader")
        if vulkan_model:
            self.capability("VulkanMemoryModel")
        self.emit("memory_model", "MemoryModel", "Logical", "Vulkan" if vulkan_model else "GLSL450")
        self.emit("entry_points", "EntryPoint", "GLCompute", function, name, *self.interface)
        self.emit("modes", "ExecutionMode", function, "LocalSize", *workgroup_size)

    def serialize(self) -> bytes:
        major, minor = self.version
        words = [MAGIC, major << 16 | minor << 8, 0, self.bound, 0]
        for section in self.sections.values():
            words += section
        words += self.code
        return struct.pack(f"<{len(words)}I", *words)


__all__ = ["Module"]
