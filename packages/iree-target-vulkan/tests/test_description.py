"""Profiles and options of the target, and descriptions made of a device's facts."""

from __future__ import annotations

import json
from typing import Any

import pytest

from iree_base.errors import IreeError
from iree_target_vulkan.description import PROFILES, describe, from_facts
from iree_target_vulkan.errors import OPTION, VulkanError


@pytest.mark.parametrize("profile", PROFILES)
def test_profiles(profile: str) -> None:
    """A profile keeps what Vulkan guarantees, and can travel as JSON."""
    d = describe({"vulkan-profile": profile})
    assert d.profile == profile and d.form == "invocation"
    assert d.max_workgroup_invocations >= 128 and d.max_workgroup_size[0] >= 128
    assert d.shared_memory_bytes >= 16384 and d.push_constant_bytes >= 128
    assert min(d.max_workgroup_count) >= 65535
    assert json.loads(d.key())["subgroup_size"] == d.subgroup_size
    assert describe({"vulkan-profile": profile}).key() == d.key()


def test_what_profiles_compute_with() -> None:
    assert describe({"vulkan-profile": "vulkan-1.1"}).arithmetic == ()
    assert set(describe({"vulkan-profile": "desktop"}).arithmetic) == {"f16", "f64", "i8", "i16", "i64"}
    assert not describe({"vulkan-profile": "lavapipe"}).prefers_barriers
    hopper = describe({"vulkan-profile": "nvidia-hopper"})
    assert "cooperativeMatrix:16x16x16:f16:f16:f32" in hopper.features
    assert (16, 16, 16, "f16", "f16", "f32", "f32") in hopper.matrix_shapes


def test_features_are_added_and_removed() -> None:
    d = describe({"vulkan-profile": "vulkan-1.1", "vulkan-features": "shaderInt64, +storageBuffer8BitAccess"})
    assert d.arithmetic == ("i64",)
    assert "i8" in d.storage and "i64" in d.storage and "f16" not in d.storage
    less = describe(
        {"vulkan-profile": "nvidia-hopper", "vulkan-features": "-cooperativeMatrix,-shaderFloat16"}
    )
    assert less.matrix_shapes == () and "f16" not in less.arithmetic
    assert not any(f.startswith("cooperativeMatrix") for f in less.features)


@pytest.mark.parametrize(
    "options",
    [
        {"vulkan-profile": "commodore"},
        {"cpu": "x86-64"},
        {"vulkan-profile": "desktop", "vulkan-device": "0"},
    ],
)
def test_bad_options_are_coded_errors(options: dict[str, str]) -> None:
    with pytest.raises(VulkanError) as caught:
        describe(options)
    assert caught.value.number == OPTION


def test_the_default_is_the_device_of_this_machine(device: Any) -> None:
    d = describe({})
    assert d.profile == "device"
    assert d.subgroup_size == device.logical.physical.subgroup_size


def test_the_profile_of_lavapipe_is_lavapipe(device: Any) -> None:
    """What is compiled for the profile runs on the device."""
    if "llvmpipe" not in device.logical.physical.name:
        pytest.skip("another device")
    profile, real = describe({"vulkan-profile": "lavapipe"}), describe({"vulkan-profile": "device"})
    assert set(profile.features) <= set(real.features)
    for limit in (
        "shared_memory_bytes",
        "max_workgroup_invocations",
        "push_constant_bytes",
        "max_binding_bytes",
    ):
        assert getattr(profile, limit) <= getattr(real, limit)
    assert (profile.subgroup_size, profile.prefers_barriers) == (real.subgroup_size, real.prefers_barriers)


def test_devices_by_name(device: Any) -> None:
    assert describe({"vulkan-device": "0"}).profile == "device"
    with pytest.raises(IreeError):
        describe({"vulkan-device": "no such device"})


def test_without_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    from iree_target_vulkan.driver import VulkanDriver

    monkeypatch.setattr(VulkanDriver, "devices", lambda self: ())
    assert describe({}).profile == "desktop"
    with pytest.raises(VulkanError) as caught:
        describe({"vulkan-profile": "device"})
    assert caught.value.number == OPTION


FACTS: dict[str, Any] = {
    "api_version": "1.2", "type": "discrete GPU", "features": ["shaderInt64", "wideLines", "subgroup:shuffle"],
    "subgroup_size": 64, "shared_memory_bytes": 65536, "max_workgroup_invocations": 1024,
    "max_workgroup_size": [1024, 1024, 64], "max_workgroup_count": [65535, 65535, 65535],
    "push_constant_bytes": 128, "binding_alignment": 4, "max_binding_bytes": 1 << 31, "matrix_shapes": [],
}  # fmt: skip


def test_facts() -> None:
    d = from_facts("a GPU", FACTS)
    assert d.features == ("shaderInt64", "subgroup:shuffle")
    assert (d.subgroup_size, d.api_version, d.fma, d.prefers_barriers) == (64, (1, 2), True, True)
    cpu = from_facts("a CPU", FACTS | {"type": "processor"})
    assert (cpu.fma, cpu.prefers_barriers) == (False, False)


def test_old_devices() -> None:
    with pytest.raises(VulkanError, match=r"1\.1 is needed"):
        from_facts("an old GPU", FACTS | {"api_version": "1.0"})
