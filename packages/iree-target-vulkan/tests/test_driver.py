"""The driver: devices by index, name and UUID; what is missing is said, not raised."""

from __future__ import annotations

import json
from typing import Any

import pytest

import iree_hal
from iree_base.errors import IreeError
from iree_hal.errors import HalError
from iree_target_vulkan.driver import DRIVER
from iree_target_vulkan.errors import LOADER, VulkanError


def test_facts_are_plain_values(device: Any) -> None:
    for info in iree_hal.devices("vulkan"):
        facts = json.loads(json.dumps(dict(info.facts)))
        assert facts["formats"] == ["vulkan-spirv"]
        assert facts["subgroup_size"] in range(1, 129)
        assert facts["max_workgroup_invocations"] >= 128
        assert facts["push_constant_bytes"] >= 128
        assert "timelineSemaphore" in facts["features"]
        assert "robustBufferAccess" not in facts["features"]


@pytest.mark.parametrize("by", ["index", "name", "part", "uuid", "plain"])
def test_selectors(device: Any, by: str) -> None:
    infos = iree_hal.devices("vulkan")
    info = infos[0]
    if by in ("name", "part") and sum(info.name[:6] in other.name for other in infos) > 1:
        pytest.skip("several devices of this name")
    selector = {
        "index": "0",
        "name": info.name,
        "part": info.name[1:6].upper(),
        "uuid": info.facts["uuid"],
        "plain": info.facts["uuid"].replace("-", ""),
    }[by]
    made: Any = iree_hal.create_device(f"vulkan://{selector}")
    assert made.name == info.name
    assert made.logical is device.logical or len(infos) > 1


def test_unknown_devices_list_the_candidates(device: Any) -> None:
    with pytest.raises(HalError, match=r"IREE-HAL-026.*by index: 0: "):
        iree_hal.create_device("vulkan://no such device")


def test_diagnosis_of_a_working_machine(device: Any) -> None:
    found = DRIVER.diagnose()
    assert all(each.ok for each in found)
    assert any(device.name in each.what for each in found)


def test_diagnosis_without_a_loader(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> Any:
        raise VulkanError(LOADER, "no Vulkan loader library", cause="not found", hint="apt-get install it")

    pytest.importorskip("vulkan", reason="no Vulkan loader", exc_type=ImportError)
    from iree_target_vulkan import instance

    monkeypatch.setattr(instance, "instance", missing)
    (found,) = DRIVER.diagnose()
    assert (found.ok, found.fix) == (False, "apt-get install it")
    assert DRIVER.devices() == ()
    with pytest.raises(IreeError, match="IREE-VK-021"):
        DRIVER.create_device()


def test_features_are_asked_for_with_or_without_prefix(device: Any) -> None:
    asked = ["vulkan:timelineSemaphore", "timelineSemaphore", "vulkan:noSuchFeature", "avx2"]
    assert device.missing_features(asked) == ["vulkan:noSuchFeature", "avx2"]


def test_unusable_devices_say_why(device: Any) -> None:
    from iree_target_vulkan.logical_device import LogicalDevice

    physical = device.logical.physical
    old = type("Old", (), {"__getattr__": lambda self, name: getattr(physical, name)})()
    old.problem = "it has Vulkan 1.0, 1.2 is needed"
    with pytest.raises(IreeError, match=r"IREE-VK-025.*1\.2 is needed"):
        LogicalDevice(old)
