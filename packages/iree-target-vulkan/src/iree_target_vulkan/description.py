"""What device to compile for: named profiles, or the facts of a running device.

A profile lists limits and features by their Vulkan names. ``--target-vulkan-profile=device`` asks the runtime
half for the device of this machine; the artefact then needs that device or one that has as much. It is the
default where there is a device, as the CPU's target compiles for the CPU it runs on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from iree_codegen.invocation_description import InvocationDescription
from iree_hal.device_info import DeviceInfo, match_device
from iree_target_vulkan.errors import MISSING_FEATURE, OPTION, VulkanError

TARGET = "vulkan-spirv"
OPTIONS = ("vulkan-profile", "vulkan-features", "vulkan-device")
DEVICE = "device"
FALLBACK = "desktop"
"""The profile for machines without a device."""
CPU = "processor"
"""How the driver calls a device that is the CPU."""


@dataclass(frozen=True)
class VulkanDescription(InvocationDescription):
    """A Vulkan device. ``features`` are what it has: names of Vulkan features, float control properties,
    ``subgroup:`` operations and ``cooperativeMatrix:`` shapes."""

    target: str = TARGET
    profile: str = "vulkan-1.1"
    api_version: tuple[int, int] = (1, 1)
    max_binding_bytes: int = 1 << 27


STORAGE_16 = ("storageBuffer16BitAccess",)
NARROW_STORAGE = ("storageBuffer8BitAccess", *STORAGE_16)
SUBGROUPS = tuple(
    f"subgroup:{name}" for name in ("basic", "vote", "arithmetic", "ballot", "shuffle", "shuffle_relative")
)
FLOAT_CONTROLS = (
    "shaderSignedZeroInfNanPreserveFloat16", "shaderSignedZeroInfNanPreserveFloat32",
    "shaderSignedZeroInfNanPreserveFloat64", "shaderRoundingModeRTEFloat16", "shaderRoundingModeRTEFloat32",
    "shaderRoundingModeRTEFloat64",
)  # fmt: skip
RELEVANT = frozenset(
    {
        *NARROW_STORAGE, *SUBGROUPS, *FLOAT_CONTROLS, "shaderFloat16", "shaderFloat64", "shaderInt8",
        "shaderInt16", "shaderInt64", "subgroup:clustered", "vulkanMemoryModel", "cooperativeMatrix",
        "shaderBFloat16Type", "shaderBFloat16CooperativeMatrix",
    }
)  # fmt: skip
"""Features of a device that compiling asks about; others stay out of the description."""
FULL_ARITHMETIC = ("shaderFloat16", "shaderFloat64", "shaderInt8", "shaderInt16", "shaderInt64")

NVIDIA_MATRICES = tuple(
    (m, n, k, a, b, c, c)
    for m, n, k, a, b, c in (
        (16, 16, 16, "f16", "f16", "f32"),
        (16, 8, 16, "f16", "f16", "f32"),
        (16, 16, 16, "f16", "f16", "f16"),
        (16, 16, 16, "bf16", "bf16", "f32"),
        (16, 16, 32, "i8", "i8", "i32"),
        (16, 16, 32, "u8", "u8", "u32"),
    )
)


def matrix_feature(shape: tuple[Any, ...]) -> str:
    """The feature that a matrix shape is."""
    m, n, k, a, b, c, result = shape
    types = (a, b, c) if c == result else (a, b, c, result)
    return f"cooperativeMatrix:{m}x{n}x{k}:" + ":".join(types)


_BASELINE = VulkanDescription(TARGET, subgroup_size=32, binding_alignment=256)

PROFILES: dict[str, VulkanDescription] = {
    "vulkan-1.1": _BASELINE,
    "vulkan-1.3": replace(
        _BASELINE,
        profile="vulkan-1.3",
        api_version=(1, 3),
        features=(*STORAGE_16, "vulkanMemoryModel", "subgroup:basic"),
    ),
    "desktop": replace(
        _BASELINE,
        profile="desktop",
        api_version=(1, 2),
        shared_memory_bytes=32 << 10,
        max_workgroup_invocations=1024,
        max_workgroup_size=(1024, 1024, 64),
        fma=True,
        features=(*NARROW_STORAGE, *FULL_ARITHMETIC, *SUBGROUPS, *FLOAT_CONTROLS[:3], "vulkanMemoryModel"),
    ),
    "lavapipe": replace(
        _BASELINE,
        profile="lavapipe",
        api_version=(1, 3),
        subgroup_size=8,
        shared_memory_bytes=32 << 10,
        max_workgroup_invocations=1024,
        max_workgroup_size=(1024, 1024, 1024),
        binding_alignment=16,
        prefers_barriers=False,
        features=(*NARROW_STORAGE, *FULL_ARITHMETIC, *SUBGROUPS, *FLOAT_CONTROLS, "vulkanMemoryModel"),
    ),
    "nvidia-hopper": replace(
        _BASELINE,
        profile="nvidia-hopper",
        api_version=(1, 3),
        subgroup_size=32,
        shared_memory_bytes=48 << 10,
        max_workgroup_invocations=1024,
        max_workgroup_size=(1024, 1024, 64),
        max_workgroup_count=(2147483647, 65535, 65535),
        push_constant_bytes=256,
        binding_alignment=16,
        max_binding_bytes=(1 << 32) - 1,
        fma=True,
        matrix_shapes=NVIDIA_MATRICES,
        features=(
            *NARROW_STORAGE, *FULL_ARITHMETIC, *SUBGROUPS, "subgroup:clustered", *FLOAT_CONTROLS,
            "vulkanMemoryModel", "cooperativeMatrix", "shaderBFloat16Type", "shaderBFloat16CooperativeMatrix",
        ),
    ),
}  # fmt: skip
"""``vulkan-1.1`` and ``vulkan-1.3`` hold what those versions guarantee, ``desktop`` what the GPUs of
computers of the last years have in common."""


def describe(options: Mapping[str, str]) -> VulkanDescription:
    """Resolve ``options``. Raises VulkanError OPTION for a bad one, and what opening a device raises."""
    for name in options:
        if name not in OPTIONS:
            raise VulkanError(
                OPTION, f"--target-{name}", hint="one of " + ", ".join(f"--target-{o}" for o in OPTIONS)
            )
    selector = options.get("vulkan-device", "")
    name = options.get("vulkan-profile") or (DEVICE if selector or _devices() else FALLBACK)
    if selector and name != DEVICE:
        raise VulkanError(OPTION, f"--target-vulkan-device with --target-vulkan-profile={name}")
    if name == DEVICE:
        base = from_device(selector)
    elif name in PROFILES:
        base = PROFILES[name]
    else:
        raise VulkanError(
            OPTION, f"--target-vulkan-profile={name}", hint="one of " + ", ".join([*PROFILES, DEVICE])
        )
    features = set(base.features)
    for item in options.get("vulkan-features", "").split(","):
        item = item.strip()
        if item.startswith("-"):
            features.discard(item[1:])
        elif item:
            features.add(item.removeprefix("+"))
    return _completed(replace(base, features=tuple(sorted(features))), options)


def _completed(base: VulkanDescription, options: Mapping[str, str]) -> VulkanDescription:
    """The facts that follow from others."""
    has = set(base.features)
    kinds = {
        "f16": "shaderFloat16", "f64": "shaderFloat64", "i8": "shaderInt8", "i16": "shaderInt16",
        "i64": "shaderInt64",
    }  # fmt: skip
    storage = ["f64", "i64"]
    if "storageBuffer8BitAccess" in has:
        storage += ["i1", "i8", "f8E4M3FN", "f8E5M2", "f8E4M3FNUZ", "f8E5M2FNUZ"]
    if "storageBuffer16BitAccess" in has:
        storage += ["i16", "f16", "bf16"]
    shapes = base.matrix_shapes if {"cooperativeMatrix", "vulkanMemoryModel"} <= has else ()
    groups = (("arithmetic", "subgroup:arithmetic"), ("shuffle", "subgroup:shuffle"))
    return replace(
        base,
        features=tuple(sorted(has | {matrix_feature(shape) for shape in shapes})),
        options=tuple(sorted(options.items())),
        arithmetic=tuple(name for name, feature in kinds.items() if feature in has),
        storage=tuple(n for n in storage if n not in kinds or n in ("i8", "i16", "f16") or kinds[n] in has),
        subgroup_ops=tuple(name for name, feature in groups if feature in has),
        matrix_shapes=shapes,
    )


def _devices() -> tuple[DeviceInfo, ...]:
    """The Vulkan devices of this machine; none without a Vulkan loader or driver."""
    from iree_target_vulkan.driver import DRIVER

    return DRIVER.devices()


def from_device(selector: str) -> VulkanDescription:
    """The description of a device of this machine: the one the driver would open for ``selector``.

    Raises VulkanError OPTION on a machine without one, HalError NO_DEVICE for a selector that fits none.
    """
    devices = _devices()
    if not devices:
        raise VulkanError(
            OPTION,
            "no Vulkan device on this machine",
            hint="name a profile: " + ", ".join(f"--target-vulkan-profile={name}" for name in PROFILES),
        )
    found = devices[match_device(devices, selector.removeprefix("vulkan://"), "vulkan")]
    return from_facts(found.name, found.facts)


def from_facts(name: str, facts: Mapping[str, Any]) -> VulkanDescription:
    """The description of a device by the facts its driver lists."""
    major, minor = (int(part) for part in str(facts["api_version"]).split("."))
    if (major, minor) < (1, 1):
        raise VulkanError(MISSING_FEATURE, f"'{name}' has Vulkan {major}.{minor}, 1.1 is needed")
    cpu = facts.get("type") == CPU

    def triple(key: str) -> tuple[int, int, int]:
        x, y, z = (int(n) for n in facts[key])
        return (x, y, z)

    return replace(
        _BASELINE,
        profile=DEVICE,
        api_version=(major, minor),
        features=tuple(name for name in facts["features"] if name in RELEVANT),
        subgroup_size=int(facts["subgroup_size"]),
        shared_memory_bytes=int(facts["shared_memory_bytes"]),
        max_workgroup_invocations=int(facts["max_workgroup_invocations"]),
        max_workgroup_size=triple("max_workgroup_size"),
        max_workgroup_count=triple("max_workgroup_count"),
        push_constant_bytes=int(facts["push_constant_bytes"]),
        binding_alignment=int(facts["binding_alignment"]),
        max_binding_bytes=int(facts["max_binding_bytes"]),
        prefers_barriers=not cpu,
        fma=not cpu,
        matrix_shapes=tuple(tuple(shape) for shape in facts["matrix_shapes"]),
    )


__all__ = ["OPTIONS", "PROFILES", "VulkanDescription", "describe", "from_facts", "matrix_feature"]
