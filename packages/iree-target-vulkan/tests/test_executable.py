"""Executables: what is checked against the device before anything runs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from handwritten import WRITERS, conformance_executable, executable

from iree_base.errors import IreeError
from iree_hal.conformance import kernels
from iree_hal.errors import HalError
from iree_hal.executable import ExecutableSpec
from iree_target_vulkan.executable_format import FORMAT, EntryPoint, SpirvExecutable

SCALE = [export for export in kernels.EXPORTS if export.name == "scale"]


def changed(**facts: Any) -> ExecutableSpec:
    """The kernel ``scale`` with another description of its entry point."""
    spec = executable(WRITERS, SCALE)
    module = SpirvExecutable.deserialize(spec.data)
    entry = replace(module.entry["scale"], **facts)
    return replace(spec, data=replace(module, entry={"scale": entry}).serialize())


def test_the_suites_kernels_are_valid(validate: Any) -> None:
    validate(SpirvExecutable.deserialize(conformance_executable().data).words)


@pytest.mark.parametrize("where", ["module", "spec"])
def test_missing_features_are_named(device: Any, where: str) -> None:
    feature = "cooperativeMatrix:9x9x9:f16:f16:f32"
    spec = executable(WRITERS, SCALE, features=(feature,) if where == "module" else ())
    if where == "spec":
        spec = replace(spec, features=(f"vulkan:{feature}",))
    with pytest.raises(HalError, match=f"IREE-HAL-006.*{feature}.*{device.name[:8]}"):
        device.load_executable(spec)


def test_present_features_are_no_obstacle(device: Any) -> None:
    present = sorted(device.logical.physical.feature_names)
    device.load_executable(executable(WRITERS, SCALE, features=tuple(present)))


@pytest.mark.parametrize(
    ("facts", "code", "text"),
    [
        ({"bindings": 3}, "IREE-HAL-017", "3 bindings"),
        ({"push_constant_words": 3}, "IREE-HAL-017", "3 pushed"),
        ({"workgroup_size": (1 << 20, 1, 1)}, "IREE-VK-027", "workgroups of"),
        ({"workgroup_size": (1024, 1024, 64)}, "IREE-VK-027", "invocations"),
        ({"subgroup_size": 4096}, "IREE-VK-027", "subgroups of 4096"),
    ],
)
def test_descriptions_that_do_not_fit(device: Any, facts: dict[str, Any], code: str, text: str) -> None:
    with pytest.raises(IreeError, match=text) as caught:
        device.load_executable(changed(**facts))
    assert caught.value.code == code


def test_missing_entry_points_are_named(device: Any) -> None:
    spec = executable(WRITERS, SCALE)
    with pytest.raises(HalError, match=r"IREE-HAL-017.*'absent'"):
        device.load_executable(replace(spec, exports=(replace(SCALE[0], name="absent"),)))


def test_damaged_words_never_reach_the_driver(device: Any) -> None:
    spec = executable(WRITERS, SCALE)
    for at in (-1, -40, -200):
        data = bytearray(spec.data)
        data[at] ^= 0x10
        with pytest.raises(HalError, match="IREE-HAL-002") as caught:
            device.load_executable(replace(spec, data=bytes(data)))
        assert caught.value.status == 4


def test_garbage_is_refused(device: Any) -> None:
    for data in (b"", b"IVKS", b"IVKS\xff\xff\xff\xff", bytes(100)):
        with pytest.raises(HalError, match="IREE-HAL-002"):
            device.load_executable(ExecutableSpec(FORMAT, data, tuple(SCALE), name="x"))


def test_the_number_of_bindings_counts_the_hidden_ones(device: Any) -> None:
    from iree_target_vulkan.executable import binding_count

    assert binding_count(EntryPoint((1, 1, 1), 2)) == 2
    assert binding_count(EntryPoint((1, 1, 1), 2, constants_binding=2, status_binding=4)) == 5
