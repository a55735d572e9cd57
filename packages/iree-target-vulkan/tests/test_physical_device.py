"""Physical devices and their feature structures: facts, names of features, what is switched on."""

from __future__ import annotations

from typing import Any

import pytest


def test_matrix_shapes_have_names(device: Any) -> None:
    from iree_target_vulkan.physical_device import MatrixShape

    assert (
        MatrixShape(16, 8, 16, "f16", "f16", "f32", "f32").feature == "cooperativeMatrix:16x8x16:f16:f16:f32"
    )
    assert MatrixShape(8, 8, 8, "i8", "i8", "i32", "u32").feature == "cooperativeMatrix:8x8x8:i8:i8:i32:u32"


def test_only_enabled_features_have_names(device: Any) -> None:
    from iree_target_vulkan.feature_structs import NOT_ENABLED

    physical = device.logical.physical
    names = physical.feature_names
    assert not names & NOT_ENABLED
    assert "geometryShader" not in names
    assert {n for n in ("shaderInt64", "shaderFloat64", "shaderInt16") if physical.features[n]} <= names
    assert {f"subgroup:{operation}" for operation in physical.subgroup_operations} <= names


def test_features_are_switched_on_where_present(device: Any) -> None:
    from iree_target_vulkan.feature_structs import Chain

    physical = device.logical.physical
    chain = Chain(physical.api_version, physical.extensions)
    chain.enable(physical.features)
    for name, present in physical.features.items():
        assert chain._get(name) == (present and name in physical.feature_names)


def test_structures_newer_than_the_binding(device: Any) -> None:
    from iree_target_vulkan.binding import ffi
    from iree_target_vulkan.feature_structs import BFLOAT16, Chain

    chain = Chain((1, 3), [BFLOAT16])
    chain.enable({"shaderBFloat16CooperativeMatrix": True, "shaderBFloat16Type": True})
    assert [chain._get(f"shaderBFloat16{n}") for n in ("Type", "DotProduct", "CooperativeMatrix")] == [
        True, False, True,
    ]  # fmt: skip
    first = ffi.cast("uint32_t*", chain.head.pNext)
    assert first[0] == 1000141000
    assert [first[i] for i in (4, 5, 6)] == [1, 0, 1]


def test_versions_bring_structures_without_their_extensions(device: Any) -> None:
    from iree_target_vulkan.feature_structs import STRUCTS, SUBGROUP_SIZE_CONTROL

    (control,) = [s for s in STRUCTS if s.extension == SUBGROUP_SIZE_CONTROL]
    assert control.available((1, 2), [SUBGROUP_SIZE_CONTROL])
    assert not control.available((1, 2), [])
    assert not control.available((1, 3), [SUBGROUP_SIZE_CONTROL])


@pytest.mark.parametrize(
    ("facts", "text"),
    [
        ({"api_version": (1, 1)}, "Vulkan 1.1, 1.2 is needed"),
        ({"features": {}}, "timeline semaphores"),
        ({"queue_families": ((1, 64), (8, 0))}, "no queue for compute"),
    ],
)
def test_what_makes_a_device_unusable(device: Any, facts: dict[str, Any], text: str) -> None:
    from iree_target_vulkan.physical_device import PhysicalDevice

    class Other(PhysicalDevice):
        def __init__(self, model: PhysicalDevice) -> None:
            self.__dict__.update(model.__dict__)
            self.__dict__.update(facts)

    assert device.logical.physical.problem == ""
    other = Other(device.logical.physical)
    assert text in other.problem
    assert text in other.info("vulkan://9").facts["problem"]


def test_the_queue_family_computes_and_tells_the_time(device: Any) -> None:
    from iree_target_vulkan.physical_device import PhysicalDevice

    class Other(PhysicalDevice):
        def __init__(self, *families: tuple[int, int]) -> None:
            self.queue_families = families

    assert Other((1, 64), (2, 0), (3, 64), (2, 64)).compute_family == 2
    assert Other((2, 0)).compute_family == 0
    assert Other((2, 0)).timestamp_bits == 0
