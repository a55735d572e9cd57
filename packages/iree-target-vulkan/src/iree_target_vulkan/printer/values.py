"""Values of the kernel as ids: the layer between ops and instructions.

``operand`` is a value as it lies in a register, ``unsigned`` and ``signed`` are an integer as a word with
zeros or its sign above it, ``wrapped`` is the way back. See ``context`` for how types lie in registers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from iree_codegen.errors import INTERNAL, CodegenError
from iree_core_ir.ir.operation import Value
from iree_target_vulkan.printer.context import Context
from iree_target_vulkan.spirv.assembler import Operand, enumerant

NO_CONTRACTION = (3 << 16) | 71, enumerant("Decoration", "NoContraction")[0]
"""First and last word of ``OpDecorate id NoContraction``."""


class Values(Context):
    """A context that knows the ids of the kernel's values."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.ids: dict[Value, int] = {}
        self.widened_from: dict[Value, tuple[Value, bool]] = {}
        """64-bit integers that are extended words: the word and whether its sign was. They are made where
        they are used as such; as floats or words again they never exist, and ask nothing of the device."""
        self.narrow_ids: dict[Value, tuple[int, int]] = {}
        """Loaded integers below 32 bits: id and bits before they were widened."""

    # -- instructions -----------------------------------------------------------------------------------

    def emit(self, name: str, type: int, *operands: Operand) -> int:
        return self.module.op(name, type, *operands)

    def arithmetic(self, name: str, type: int, *operands: Operand) -> int:
        """A float instruction that must not be joined with others into a fused one."""
        return self.kept_apart(self.module.op(name, type, *operands))

    def kept_apart(self, result: int) -> int:
        """Mark a float instruction: what it computes is rounded once, and on its own."""
        first, last = NO_CONTRACTION
        self.module.sections["decorations"] += (first, result, last)
        return result

    def glsl(self, name: str, type: int, *operands: int) -> int:
        return self.module.glsl(name, type, *operands)

    def select(self, condition: int, type: int, a: int, b: int) -> int:
        """``condition`` has the lanes of ``type``."""
        return self.emit("Select", type, condition, a, b)

    # -- operands ---------------------------------------------------------------------------------------

    def operand(self, value: Value) -> int:
        found = self.ids.get(value)
        if found is None and value in self.widened_from:
            source, signed = self.widened_from[value]
            name, word = ("SConvert", self.signed(source)) if signed else ("UConvert", self.unsigned(source))
            return self.emit(name, self.word_type(value.type), word)
        if found is None:
            raise CodegenError(INTERNAL, f"'{self.kernel}' uses a value before it is made: {value.type}")
        return found

    def unsigned(self, value: Value) -> int:
        """An integer as a word, zeros above it."""
        word = self.operand(value)
        if self.width(value.type) != 1:
            return word
        type = value.type
        return self.select(word, self.word_type(type), self.word(1, type), self.word(0, type))

    def signed(self, value: Value) -> int:
        """An integer as a word, its sign above it."""
        type = value.type
        if not self.is_narrow(type):
            return self.operand(value)
        width = self.width(type)
        if width == 1:
            return self.select(
                self.operand(value), self.word_type(type), self.word(-1, type), self.word(0, type)
            )
        narrow = self.narrow_ids.get(value)
        if narrow is not None and narrow[1] == width:
            return self.emit("SConvert", self.word_type(type), narrow[0])
        return self.extended(self.operand(value), width, self.word_type(type))

    def extended(self, word: int, width: int, type: int) -> int:
        """The low ``width`` bits of 32-bit words with their sign above them."""
        return self.emit("BitFieldSExtract", type, word, self.u32_constant(0), self.u32_constant(width))

    def wrapped(self, word: int, type: Any) -> int:
        """The low bits of a word as an integer of ``type`` in a register."""
        if not self.is_narrow(type):
            return word
        width = self.width(type)
        low = self.emit("BitwiseAnd", self.word_type(type), word, self.word((1 << width) - 1, type))
        if width == 1:
            return self.emit("INotEqual", self.bool_type(type), low, self.word(0, type))
        return low

    def as_bool(self, condition: int, type: Any) -> int:
        """A scalar bool in the lanes of ``type``."""
        lanes = self.lanes(type)
        if lanes == 1:
            return condition
        return self.emit("CompositeConstruct", self.bool_type(type), *[condition] * lanes)

    def lanes_of(self, id: int, type: Any) -> Sequence[int]:
        """The lanes of a vector as scalars."""
        lanes = self.lanes(type)
        if lanes == 1:
            return [id]
        element = self.type(type.element_type)
        return [self.emit("CompositeExtract", element, id, lane) for lane in range(lanes)]

    def construct(self, type: int, lanes: Sequence[int]) -> int:
        return lanes[0] if len(lanes) == 1 else self.emit("CompositeConstruct", type, *lanes)
