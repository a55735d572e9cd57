"""What all parts of the printer share: the module, the target, and how IR types live in registers and memory.

In registers: ``i1`` is a bool; integers below 32 bits, bf16 and 8-bit floats are the low bits of a 32-bit
word, the rest zero, so that computing with them takes no feature of the device; f16 is native where the
device computes with it, else a word too; ``index`` is 32 or 64 bits as the kernel says. In memory every
element has its own size, i1 one byte.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from iree_base.element_types import element_type
from iree_codegen.errors import UNSUPPORTED_TYPE, CodegenError
from iree_core_ir.ir.attributes import DenseElementsAttr, FloatAttr, IntegerAttr, Type
from iree_core_ir.ir.types import FloatType, IndexType, IntegerType, VectorType, element_of, f16
from iree_target_vulkan.description import VulkanDescription
from iree_target_vulkan.errors import MISSING_FEATURE, VulkanError
from iree_target_vulkan.spirv.module import Module

CAPABILITIES: dict[str, str] = {
    "shaderFloat16": "Float16",
    "shaderFloat64": "Float64",
    "shaderInt8": "Int8",
    "shaderInt16": "Int16",
    "shaderInt64": "Int64",
    "storageBuffer8BitAccess": "StorageBuffer8BitAccess",
    "storageBuffer16BitAccess": "StorageBuffer16BitAccess",
    "vulkanMemoryModel": "VulkanMemoryModel",
    "cooperativeMatrix": "CooperativeMatrixKHR",
    "shaderBFloat16Type": "BFloat16TypeKHR",
    "shaderBFloat16CooperativeMatrix": "BFloat16CooperativeMatrixKHR",
    "subgroup:basic": "GroupNonUniform",
    "subgroup:vote": "GroupNonUniformVote",
    "subgroup:arithmetic": "GroupNonUniformArithmetic",
    "subgroup:ballot": "GroupNonUniformBallot",
    "subgroup:shuffle": "GroupNonUniformShuffle",
    "subgroup:clustered": "GroupNonUniformClustered",
    "shaderSignedZeroInfNanPreserveFloat32": "SignedZeroInfNanPreserve",
    "shaderSignedZeroInfNanPreserveFloat64": "SignedZeroInfNanPreserve",
    "shaderSignedZeroInfNanPreserveFloat16": "SignedZeroInfNanPreserve",
    "shaderRoundingModeRTEFloat32": "RoundingModeRTE",
    "shaderRoundingModeRTEFloat64": "RoundingModeRTE",
    "shaderRoundingModeRTEFloat16": "RoundingModeRTE",
}
"""Feature of a device -> the capability that a module declares to use it."""


class Context:
    """The module being printed for a kernel; ``features`` are those it came to need."""

    def __init__(self, module: Module, description: VulkanDescription, kernel: str, index_bits: int) -> None:
        self.module = module
        self.description = description
        self.kernel = kernel
        self.index_bits = index_bits
        self.features: dict[str, None] = {}
        self.vulkan_model = False
        """Whether memory accesses between invocations are marked one by one (matrix fragments ask for it)."""
        self.native_half = description.half_conversions
        self.u32 = module.int_type(32)
        self.bool = module.bool_type()
        self._registers: dict[Type, int] = {}
        self._lanes: dict[Type, int] = {}
        self._widths: dict[Type, int] = {}
        self._words: dict[Type, int] = {}
        if index_bits == 64:
            self.require("shaderInt64")

    def require(self, *features: str, source: str | None = None) -> None:
        """Record that the kernel needs features. Raises VulkanError MISSING_FEATURE for an absent one."""
        for feature in features:
            if feature in self.features:
                continue
            if feature not in self.description.features:
                raise VulkanError(
                    MISSING_FEATURE,
                    f"'{self.kernel}' needs {feature}",
                    source=source,
                    cause=f"profile '{self.description.profile}' does not have it",
                    hint="choose another --target-vulkan-profile, or add it with --target-vulkan-features",
                )
            self.features[feature] = None
            capability = CAPABILITIES.get(feature)
            if capability is not None:
                self.module.capability(capability)

    def prefer(self, feature: str) -> bool:
        """Record the feature if the device has it."""
        if feature not in self.description.features:
            return False
        self.require(feature)
        return True

    # -- registers ------------------------------------------------------------------------------------

    def width(self, type: Any) -> int:
        """Bits of an integer or index element."""
        found = self._widths.get(type)
        if found is None:
            element: Any = element_of(type)
            found = self._widths[type] = self.index_bits if isinstance(element, IndexType) else element.width
        return found

    def lanes(self, type: Any) -> int:
        """Lanes of a value in registers; a carried vector is four words."""
        found = self._lanes.get(type)
        if found is None:
            found = self._lanes[type] = _lanes(type)
        return found

    def is_narrow(self, type: Any) -> bool:
        """True for an integer that shares its word with zeros."""
        return self.width(type) not in (32, 64)

    def type(self, type: Any) -> int:
        """The type of a value in a register. Raises CodegenError for one that kernels cannot hold."""
        found = self._registers.get(type)
        if found is None:
            found = self._registers[type] = self.new_type(type)
        return found

    def new_type(self, type: Any) -> int:
        """The type of a register that no value had before."""
        scalar = self.u32 if is_carried(type) else self._scalar(element_of(type))
        return self.module.vector(scalar, self.lanes(type))

    def _scalar(self, element: Any) -> int:
        if isinstance(element, FloatType):
            if element.name == "f32":
                return self.module.float_type(32)
            if element.name == "f64":
                self.require("shaderFloat64")
                return self.module.float_type(64)
            if element is f16 and self.native_half:
                self.require("shaderFloat16")
                return self.module.float_type(16)
            if element.width <= 16:
                return self.u32
        if isinstance(element, IntegerType) and element.width == 1:
            return self.bool
        if isinstance(element, (IntegerType, IndexType)):
            return self._word(self.width(element))
        raise CodegenError(UNSUPPORTED_TYPE, f"{element} in '{self.kernel}'")

    def _word(self, width: int) -> int:
        if width <= 32:
            return self.u32
        if width != 64:
            raise CodegenError(UNSUPPORTED_TYPE, f"integers of {width} bits in '{self.kernel}'")
        self.require("shaderInt64")
        return self.module.int_type(64)

    def word_type(self, type: Any) -> int:
        """The integer type that computes with integers of ``type``; i1 in words."""
        found = self._words.get(type)
        if found is None:
            word = self._word(self.width(type))
            found = self._words[type] = self.module.vector(word, self.lanes(type))
        return found

    def word_bits(self, type: Any) -> int:
        return 32 if self.width(type) <= 32 else 64

    def bool_type(self, type: Any) -> int:
        """bool in the lanes of ``type``."""
        return self.module.vector(self.bool, self.lanes(type))

    def bits_type(self, type: Any) -> int:
        """Integers as wide as the registers of floats of ``type``."""
        bits = self.float_bits(type)
        self.require(*(("shaderInt64",) if bits == 64 else ("shaderInt16",) if bits == 16 else ()))
        return self.module.vector(self.module.int_type(bits), self.lanes(type))

    def float_bits(self, type: Any) -> int:
        """Bits of a float that is native in registers."""
        return int(element_of(type).width)  # type: ignore[attr-defined]

    # -- constants ------------------------------------------------------------------------------------

    def splat(self, scalar: int, type: Any) -> int:
        """A constant in all lanes of ``type``; ``scalar`` is a constant's id."""
        lanes = self.lanes(type)
        if lanes == 1:
            return scalar
        return self.module.composite(self.type(type), *[scalar] * lanes)

    def word(self, value: int, type: Any) -> int:
        """An integer constant in all lanes of ``word_type(type)``."""
        bits, lanes = self.word_bits(type), self.lanes(type)
        scalar = self.module.constant(self._word(self.width(type)), value, bits)
        return scalar if lanes == 1 else self.module.composite(self.word_type(type), *[scalar] * lanes)

    def u32_constant(self, value: int) -> int:
        return self.module.constant(self.u32, value)

    def number(self, value: float, type: Any) -> int:
        """A float constant in all lanes of a native float type."""
        scalar = self.module.float_constant(self._scalar(element_of(type)), value, self.float_bits(type))
        return self.splat(scalar, type)

    def constant(self, attribute: Any) -> int:
        """The value of an ``arith.constant``."""
        if isinstance(attribute, (IntegerAttr, FloatAttr)):
            return self._scalar_constant(attribute.value, attribute.type)
        assert isinstance(attribute, DenseElementsAttr), attribute
        type: Any = attribute.type
        values = attribute.to_array().reshape(-1)
        lanes = self.lanes(type)
        if is_carried(type):
            words = np.resize(values, type.shape[0]).view(np.uint32)
            return self.module.composite(self.type(type), *[self.u32_constant(int(w)) for w in words])
        if attribute.splat:
            return self.splat(self._scalar_constant(values[0].item(), type.element_type), type)
        scalars = [self._scalar_constant(v.item(), type.element_type) for v in values]
        return scalars[0] if lanes == 1 else self.module.composite(self.type(type), *scalars)

    def _scalar_constant(self, value: Any, element: Any) -> int:
        type = self._scalar(element)
        if isinstance(element, FloatType):
            if element.width >= 32:
                return self.module.float_constant(type, value, element.width)
            bits = narrow_bits(float(value), element.name)
            return self.module.constant(type, bits) if type == self.u32 else self.module.words(type, (bits,))
        if type == self.bool:
            return self.module.bool_constant(bool(value))
        width = self.width(element)
        return self.module.constant(type, int(value) & ((1 << width) - 1), self.word_bits(element))


CARRIED_WORDS = 4


def _lanes(type: Any) -> int:
    if not isinstance(type, VectorType):
        return 1
    if is_carried(type):
        return CARRIED_WORDS
    lanes = int(type.shape[0])
    if type.rank != 1 or lanes > 4:
        raise CodegenError(UNSUPPORTED_TYPE, f"{type}: vectors have at most 4 lanes")
    return lanes


def is_carried(type: Any) -> bool:
    """True for 16 bytes of narrow elements, which are moved and never computed with: four words."""
    if not isinstance(type, VectorType) or type.shape[0] not in (8, 16):
        return False
    return int(type.shape[0]) * int(getattr(type.element_type, "width", 64)) == 128


def narrow_bits(value: float, name: str) -> int:
    """The bits of a number of a float type below 32 bits."""
    if name == "f16":
        return int(struct.unpack("<H", np.float16(value).tobytes())[0])
    row = element_type(name)
    return int(np.array(value).astype(row.dtype).view(np.uint16 if row.bytes == 2 else np.uint8))


__all__ = ["CAPABILITIES", "Context", "is_carried", "narrow_bits"]
