"""Physical devices: what a device can do, as plain facts."""

from __future__ import annotations

import functools
import uuid as uuids
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from iree_hal.device_info import OWN_MEMORY_DEVICE, SHARED_MEMORY_DEVICE, SOFTWARE_DEVICE, DeviceInfo
from iree_target_vulkan.binding import NULL, enumerated, lib, struct, text, vk
from iree_target_vulkan.executable_format import FEATURE_PREFIX, FORMAT
from iree_target_vulkan.feature_structs import COOPERATIVE_MATRIX, Chain, useful

if TYPE_CHECKING:
    from iree_target_vulkan.instance import Instance

REQUIRED_API = (1, 2)
"""The first version with timeline semaphores."""

TYPES: dict[int, tuple[str, int]] = {
    0: ("other", SHARED_MEMORY_DEVICE - 1),
    1: ("integrated GPU", SHARED_MEMORY_DEVICE),
    2: ("discrete GPU", OWN_MEMORY_DEVICE),
    3: ("virtual GPU", OWN_MEMORY_DEVICE - 1),
    4: ("processor", SOFTWARE_DEVICE),
}
"""VkPhysicalDeviceType -> words, rank among devices."""

FLOAT_CONTROLS = tuple(
    f"shader{promise}Float{bits}"
    for promise in ("SignedZeroInfNanPreserve", "DenormPreserve", "DenormFlushToZero", "RoundingModeRTE")
    for bits in (16, 32, 64)
)

COMPONENTS: dict[int, str] = {
    0: "f16",
    1: "f32",
    2: "f64",
    3: "i8",
    4: "i16",
    5: "i32",
    6: "i64",
    7: "u8",
    8: "u16",
    9: "u32",
    10: "u64",
    1000141000: "bf16",
}
"""VkComponentTypeKHR -> element type."""

SUBGROUP_OPERATIONS = (
    "basic",
    "vote",
    "arithmetic",
    "ballot",
    "shuffle",
    "shuffle_relative",
    "clustered",
    "quad",
)
"""Names of the bits of VkSubgroupFeatureFlags."""

_SCOPE_SUBGROUP = 3


@dataclass(frozen=True)
class MatrixShape:
    """One way to multiply: an m x k matrix of ``a`` by k x n of ``b`` plus ``c`` gives ``result``."""

    m: int
    n: int
    k: int
    a: str
    b: str
    c: str
    result: str

    @property
    def feature(self) -> str:
        """The name under which executables require it."""
        types = (self.a, self.b, self.c) if self.c == self.result else (self.a, self.b, self.c, self.result)
        return f"cooperativeMatrix:{self.m}x{self.n}x{self.k}:" + ":".join(types)


@dataclass(frozen=True)
class MemoryType:
    """``flags`` are VkMemoryPropertyFlags; ``heap_bytes`` is the size of its heap."""

    index: int
    flags: int
    heap: int
    heap_bytes: int

    def has(self, flags: int) -> bool:
        return self.flags & flags == flags


class PhysicalDevice:
    """Facts of one device, read once. ``index`` is its place in the instance's enumeration."""

    def __init__(self, instance: Instance, handle: Any, index: int) -> None:
        self.instance = instance
        self.handle = handle
        self.index = index
        driver = struct("VkPhysicalDeviceDriverProperties")
        control = struct("VkPhysicalDeviceSubgroupSizeControlProperties", pNext=driver)
        subgroup = struct("VkPhysicalDeviceSubgroupProperties", pNext=control)
        floats = struct("VkPhysicalDeviceFloatControlsProperties", pNext=subgroup)
        maintenance3 = struct("VkPhysicalDeviceMaintenance3Properties", pNext=floats)
        maintenance4 = struct("VkPhysicalDeviceMaintenance4Properties", pNext=maintenance3)
        identity = struct("VkPhysicalDeviceIDProperties", pNext=maintenance4)
        head = struct("VkPhysicalDeviceProperties2", pNext=identity)
        lib.vkGetPhysicalDeviceProperties2(handle, head)
        properties = head.properties
        self.limits = properties.limits
        self._head = head
        self.name = text(properties.deviceName)
        self.type, self.rank = TYPES.get(properties.deviceType, TYPES[0])
        self.vendor_id, self.device_id = int(properties.vendorID), int(properties.deviceID)
        self.api_version = (properties.apiVersion >> 22 & 0x7F, properties.apiVersion >> 12 & 0x3FF)
        self.driver_version = int(properties.driverVersion)
        self.driver = f"{text(driver.driverName)} {text(driver.driverInfo)}".strip()
        self.uuid = str(uuids.UUID(bytes=bytes(identity.deviceUUID)))
        self.pipeline_cache_uuid = bytes(properties.pipelineCacheUUID).hex()
        self.subgroup_size = int(subgroup.subgroupSize)
        self.subgroup_sizes = (int(control.minSubgroupSize), int(control.maxSubgroupSize))
        self.float_controls = frozenset(name for name in FLOAT_CONTROLS if getattr(floats, name))
        """What float arithmetic promises, by the names of the properties."""
        self.subgroup_operations = tuple(
            name for bit, name in enumerate(SUBGROUP_OPERATIONS) if subgroup.supportedOperations >> bit & 1
        )
        self.extensions = frozenset(
            text(e.extensionName)
            for e in enumerated(
                lib.vkEnumerateDeviceExtensionProperties, "VkExtensionProperties", handle, NULL
            )
        )
        self.max_allocation_bytes = int(maintenance3.maxMemoryAllocationSize) or 1 << 31
        self.max_buffer_bytes = int(maintenance4.maxBufferSize) or self.max_allocation_bytes
        self.features = Chain(self.api_version, self.extensions).query(handle)
        self.matrix_shapes = self._matrix_shapes()
        self.memory_types = self._memory_types()
        self.queue_families = enumerated_families(handle)

    # ------------------------------------------------------------------ limits

    @functools.cached_property
    def max_workgroup_count(self) -> tuple[int, int, int]:
        x, y, z = (int(n) for n in self.limits.maxComputeWorkGroupCount)
        return (x, y, z)

    @functools.cached_property
    def max_workgroup_size(self) -> tuple[int, int, int]:
        x, y, z = (int(n) for n in self.limits.maxComputeWorkGroupSize)
        return (x, y, z)

    @functools.cached_property
    def binding_alignment(self) -> int:
        """A binding's offset in its buffer must be a multiple of this."""
        return int(self.limits.minStorageBufferOffsetAlignment)

    @functools.cached_property
    def max_binding_bytes(self) -> int:
        """The longest range one binding can cover."""
        return int(self.limits.maxStorageBufferRange)

    def _memory_types(self) -> tuple[MemoryType, ...]:
        out = struct("VkPhysicalDeviceMemoryProperties")
        lib.vkGetPhysicalDeviceMemoryProperties(self.handle, out)
        types = [out.memoryTypes[i] for i in range(out.memoryTypeCount)]
        return tuple(
            MemoryType(i, int(t.propertyFlags), int(t.heapIndex), int(out.memoryHeaps[t.heapIndex].size))
            for i, t in enumerate(types)
        )

    def _matrix_shapes(self) -> tuple[MatrixShape, ...]:
        if COOPERATIVE_MATRIX not in self.extensions or not self.features.get("cooperativeMatrix"):
            return ()
        function = self.instance.procedure("vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR")
        if function is None:
            return ()
        type = "VkCooperativeMatrixPropertiesKHR"
        found: dict[MatrixShape, None] = {}
        for p in enumerated(function, type, self.handle, s_type=type):
            names = [COMPONENTS.get(int(n)) for n in (p.AType, p.BType, p.CType, p.ResultType)]
            if p.scope != _SCOPE_SUBGROUP or p.saturatingAccumulation or None in names:
                continue
            a, b, c, result = (name or "" for name in names)
            found[MatrixShape(int(p.MSize), int(p.NSize), int(p.KSize), a, b, c, result)] = None
        return tuple(found)

    @functools.cached_property
    def feature_names(self) -> frozenset[str]:
        """Everything an executable may require by name, without prefix."""
        names = {name for name, present in self.features.items() if present and useful(name)}
        names |= {shape.feature for shape in self.matrix_shapes}
        names |= self.float_controls
        names |= {f"subgroup:{operation}" for operation in self.subgroup_operations}
        return frozenset(names)

    def lacking(self, features: Any) -> list[str]:
        """Those of ``features`` (with or without prefix) that the device does not have."""
        return [f for f in features if f.removeprefix(FEATURE_PREFIX) not in self.feature_names]

    @property
    def problem(self) -> str:
        """Why the driver cannot use the device; empty when it can."""
        if self.api_version < REQUIRED_API:
            return f"it has Vulkan {_dotted(self.api_version)}, {_dotted(REQUIRED_API)} is needed"
        if not self.features.get("timelineSemaphore"):
            return "it has no timeline semaphores"
        if self.compute_family is None:
            return "it has no queue for compute"
        return ""

    @property
    def compute_family(self) -> int | None:
        """The first queue family that computes, one with timestamps if there is."""
        families = [(i, f) for i, f in enumerate(self.queue_families) if f[0] & vk.VK_QUEUE_COMPUTE_BIT]
        return max(families, key=lambda x: (x[1][1] > 0, -x[0]))[0] if families else None

    @property
    def timestamp_bits(self) -> int:
        """Valid bits of the queue's timestamps, 0 when it has none."""
        family = self.compute_family
        return 0 if family is None else self.queue_families[family][1]

    def info(self, path: str) -> DeviceInfo:
        """The facts as JSON values, for the user and for compiling for this very device."""
        largest = max((t.heap_bytes for t in self.memory_types if t.has(1)), default=0)
        facts: dict[str, Any] = {
            "uuid": self.uuid,
            "type": self.type,
            "api_version": _dotted(self.api_version),
            "driver": self.driver,
            "memory_bytes": largest,
            "formats": [FORMAT],
            "subgroup_size": self.subgroup_size,
            "subgroup_sizes": list(self.subgroup_sizes),
            "subgroup_operations": list(self.subgroup_operations),
            "shared_memory_bytes": int(self.limits.maxComputeSharedMemorySize),
            "push_constant_bytes": int(self.limits.maxPushConstantsSize),
            "max_workgroup_invocations": int(self.limits.maxComputeWorkGroupInvocations),
            "max_workgroup_size": list(self.max_workgroup_size),
            "max_workgroup_count": list(self.max_workgroup_count),
            "max_binding_bytes": self.max_binding_bytes,
            "binding_alignment": self.binding_alignment,
            "matrix_shapes": [[s.m, s.n, s.k, s.a, s.b, s.c, s.result] for s in self.matrix_shapes],
            "features": sorted(self.feature_names),
        }
        if self.problem:
            facts["problem"] = self.problem
        return DeviceInfo(path, self.name, facts, self.rank)


def enumerated_families(handle: Any) -> tuple[tuple[int, int], ...]:
    """(VkQueueFlags, valid bits of timestamps) per queue family."""
    families = enumerated(lib.vkGetPhysicalDeviceQueueFamilyProperties, "VkQueueFamilyProperties", handle)
    return tuple((int(f.queueFlags), int(f.timestampValidBits)) for f in families)


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"
