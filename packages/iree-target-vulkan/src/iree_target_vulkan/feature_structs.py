"""The structures in which a device says which features it has, and in which they are switched on.

Core features come from the structures of the Vulkan versions, others from those of extensions. Structures
newer than the binding are given by number and field names: all are a header and then VkBool32 fields.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from iree_target_vulkan.binding import ffi, lib, struct

BFLOAT16 = "VK_KHR_shader_bfloat16"
COOPERATIVE_MATRIX = "VK_KHR_cooperative_matrix"
SUBGROUP_SIZE_CONTROL = "VK_EXT_subgroup_size_control"


@dataclass(frozen=True)
class FeatureStruct:
    """``extension`` brings it (None: core of version ``since``); ``in_core`` is the version that has it
    without the extension; ``number`` and ``fields`` describe one that the binding does not know.
    """

    name: str
    extension: str | None = None
    since: tuple[int, int] = (1, 0)
    in_core: tuple[int, int] | None = None
    number: int = 0
    fields: tuple[str, ...] = ()

    def available(self, version: tuple[int, int], extensions: Iterable[str]) -> bool:
        if self.extension is None:
            return version >= self.since
        if self.in_core is not None and version >= self.in_core:
            return False
        return self.extension in extensions


STRUCTS: tuple[FeatureStruct, ...] = (
    FeatureStruct("VkPhysicalDeviceVulkan11Features", since=(1, 2)),
    FeatureStruct("VkPhysicalDeviceVulkan12Features", since=(1, 2)),
    FeatureStruct("VkPhysicalDeviceVulkan13Features", since=(1, 3)),
    FeatureStruct("VkPhysicalDeviceSubgroupSizeControlFeatures", SUBGROUP_SIZE_CONTROL, in_core=(1, 3)),
    FeatureStruct("VkPhysicalDeviceCooperativeMatrixFeaturesKHR", COOPERATIVE_MATRIX),
    FeatureStruct(
        "VkPhysicalDeviceWorkgroupMemoryExplicitLayoutFeaturesKHR",
        "VK_KHR_workgroup_memory_explicit_layout",
    ),
    FeatureStruct("VkPhysicalDeviceShaderAtomicFloatFeaturesEXT", "VK_EXT_shader_atomic_float"),
    FeatureStruct(
        "VkPhysicalDeviceShaderBfloat16FeaturesKHR",
        BFLOAT16,
        number=1000141000,
        fields=(
            "shaderBFloat16Type",
            "shaderBFloat16DotProduct",
            "shaderBFloat16CooperativeMatrix",
        ),
    ),
)

NOT_ENABLED = frozenset(
    {
        "robustBufferAccess",  # costs speed; kernels stay inside of their bindings by construction
        "protectedMemory",
        "bufferDeviceAddressCaptureReplay",
        "bufferDeviceAddressMultiDevice",
        "sparseBinding",
    }
)
"""Features that are of no use here and that some drivers make expensive."""

_USED_CORE = frozenset({"shaderFloat64", "shaderInt64", "shaderInt16"})
"""Of the features of Vulkan 1.0 most are about graphics."""


class Chain:
    """A chain of feature structures for a device; ``head`` goes into pNext or the query."""

    def __init__(self, version: tuple[int, int], extensions: Iterable[str]) -> None:
        self.head = struct("VkPhysicalDeviceFeatures2")
        self._parts: list[tuple[Any, tuple[str, ...]]] = []
        self._fields: dict[str, tuple[Any, int | None]] = {}
        for name, _ in ffi.typeof(self.head.features).fields:
            self._fields[name] = (self.head.features, None)
        known = tuple(extensions)
        for entry in STRUCTS:
            if entry.available(version, known):
                self._append(entry)

    def _append(self, entry: FeatureStruct) -> None:
        if entry.number:
            size = 16 + 4 * len(entry.fields)
            part = ffi.new("uint64_t[]", -(-size // 8))
            ffi.cast("uint32_t*", part)[0] = entry.number
            part[1] = int(ffi.cast("uintptr_t", self.head.pNext))
            for i, name in enumerate(entry.fields):
                self._fields.setdefault(name, (ffi.cast("uint32_t*", part), 4 + i))
        else:
            part = struct(entry.name)
            part.pNext = self.head.pNext
            for name, _ in ffi.typeof(part).item.fields:
                if name not in ("sType", "pNext"):
                    self._fields.setdefault(name, (part, None))
        self.head.pNext = ffi.cast("void*", part)
        self._parts.append((part, entry.fields))

    def query(self, physical_device: Any) -> dict[str, bool]:
        """Feature name -> whether the device has it."""
        lib.vkGetPhysicalDeviceFeatures2(physical_device, self.head)
        return {name: self._get(name) for name in self._fields}

    def _get(self, name: str) -> bool:
        part, index = self._fields[name]
        return bool(getattr(part, name) if index is None else part[index])

    def enable(self, features: Mapping[str, bool]) -> None:
        """Switch on those of ``features`` that are present and useful for computing."""
        for name, (part, index) in self._fields.items():
            on = useful(name) and features.get(name, False)
            if index is None:
                setattr(part, name, on)
            else:
                part[index] = on


@functools.cache
def _core_names() -> frozenset[str]:
    return frozenset(name for name, _ in ffi.typeof("VkPhysicalDeviceFeatures").fields)


def useful(name: str) -> bool:
    """True for a feature that is switched on where a device has it."""
    return name not in NOT_ENABLED and (name in _USED_CORE or name not in _core_names())
