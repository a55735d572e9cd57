"""The target object: plugin, dispatches compiled for profiles, features asked for, missing ones named."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from vulkan_kernels import KernelText

from iree_core_ir.target import DispatchRequest, SupportLevel, Target
from iree_core_ir.text.parser import parse_module
from iree_target_vulkan import plugin
from iree_target_vulkan.description import PROFILES, describe
from iree_target_vulkan.errors import COMPILER_MISSING, LIMIT, MISSING_FEATURE, VulkanError
from iree_target_vulkan.executable_format import SpirvExecutable
from iree_target_vulkan.target import VulkanSpirvTarget

SQUARE = """
func.func @square(%a: tensor<100x{0}>, %out: tensor<100x{0}>) -> tensor<100x{0}> {{
  %r = linalg.mul ins(%a, %a : tensor<100x{0}>, tensor<100x{0}>) outs(%out : tensor<100x{0}>) -> tensor<100x{0}>
  return %r : tensor<100x{0}>
}}"""


def request(type: str, profile: str, features: str = "") -> DispatchRequest:
    options = {"vulkan-profile": profile, "vulkan-features": features}
    return DispatchRequest("square", SQUARE.format(type), describe(options))


def test_the_plugin_lists_without_importing_the_compiler() -> None:
    code = (
        "import sys, iree_target_vulkan.plugin as p; p.iree_targets()\n"
        "print([m for m in ('iree_codegen', 'iree_core_ir', 'vulkan', 'numpy') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
    assert isinstance(plugin.iree_targets()["vulkan-spirv"](), Target)


def test_without_the_compiler_the_command_that_installs_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(VulkanError) as caught:
        plugin.iree_targets()["vulkan-spirv"]()
    assert caught.value.number == COMPILER_MISSING
    assert "pip install 'iree-target-vulkan[compiler]'" in str(caught.value)


def test_the_runtime_half_needs_no_compiler() -> None:
    code = (
        "import sys, iree_target_vulkan.driver, iree_target_vulkan.executable, iree_target_vulkan.builtin_kernels\n"
        "print([m for m in ('iree_codegen', 'iree_core_ir', 'llvmlite') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    if found.returncode and "IREE-VK" in found.stderr:
        pytest.skip("no Vulkan loader on this machine")
    assert found.stdout.strip() == "[]", found.stderr


@pytest.mark.parametrize("profile", PROFILES)
def test_dispatches_are_valid_for_every_profile(profile: str, validate: Callable[[bytes], None]) -> None:
    compiled = VulkanSpirvTarget().compile_dispatch(request("f32", profile))
    executable = SpirvExecutable.deserialize(compiled.data)
    validate(executable.words)
    assert set(compiled.features) == {f"vulkan:{name}" for name in executable.features}
    assert set(executable.features) <= set(PROFILES[profile].features)
    assert compiled.report["strategy"]
    (export,) = compiled.exports
    assert export.bindings == ("read", "write") and set(executable.entry) == {"square"}


def test_the_same_bytes_every_time() -> None:
    first, second = (VulkanSpirvTarget().compile_dispatch(request("f32", "desktop")).data for _ in range(2))
    assert first == second


@pytest.mark.parametrize(
    ("type", "feature"),
    [
        ("f64", "shaderFloat64"),
        ("i64", "shaderInt64"),
        ("i8", "storageBuffer8BitAccess"),
        ("i16", "storageBuffer16BitAccess"),
        ("f16", "storageBuffer16BitAccess"),
        ("bf16", "storageBuffer16BitAccess"),
    ],
)
def test_missing_features_are_named(type: str, feature: str, validate: Callable[[bytes], None]) -> None:
    target = VulkanSpirvTarget()
    with pytest.raises(VulkanError) as caught:
        target.compile_dispatch(request(type, "vulkan-1.1"))
    assert caught.value.number == MISSING_FEATURE
    assert feature in str(caught.value) and "vulkan-1.1" in str(caught.value)
    compiled = target.compile_dispatch(request(type, "vulkan-1.1", feature))
    assert f"vulkan:{feature}" in compiled.features
    validate(SpirvExecutable.deserialize(compiled.data).words)


@pytest.mark.parametrize("type", ["i8", "i16", "bf16", "f16"])
def test_narrow_types_need_storage_only(type: str) -> None:
    """Computing happens in 32-bit words: a device that can only load and store them is enough."""
    features = "storageBuffer8BitAccess,storageBuffer16BitAccess"
    compiled = VulkanSpirvTarget().compile_dispatch(request(type, "vulkan-1.1", features))
    capabilities = SpirvExecutable.deserialize(compiled.data).capabilities
    assert not {"Int8", "Int16", "Float16", "Int64", "Float64"} & set(capabilities)


@pytest.mark.parametrize(
    ("type", "level"),
    [
        ("f32", "yes"),
        ("i32", "yes"),
        ("f16", "partly"),
        ("i8", "partly"),
        ("i64", "no"),
        ("f64", "no"),
        ("i4", "no"),
    ],
)
def test_support_follows_the_device(type: str, level: str) -> None:
    target = VulkanSpirvTarget()
    module = parse_module(SQUARE.format(type))
    op = next(op for op in module.walk() if op.name == "linalg.mul")
    support = target.query_support(op, describe({"vulkan-profile": "vulkan-1.1"}))
    assert support.level is SupportLevel(level)
    assert bool(support.reasons) == (level != "yes")
    if type != "i4":
        rich = target.query_support(op, describe({"vulkan-profile": "lavapipe"}))
        assert rich.level is SupportLevel.YES


@pytest.mark.parametrize("size", [(256, 1, 1), (16, 16, 1), (1, 1, 65)])
def test_workgroups_beyond_the_limit(size: tuple[int, int, int]) -> None:
    kernel = KernelText("", [("f32", "read")], workgroup=size)
    with pytest.raises(VulkanError) as caught:
        kernel.compile(describe({"vulkan-profile": "vulkan-1.1"}))
    assert caught.value.number == LIMIT


def test_one_dispatch_on_the_device(device: Any) -> None:
    from iree_target_vulkan.testing import run_export

    compiled = VulkanSpirvTarget().compile_dispatch(request("f32", "device"))
    a = np.random.default_rng(1).normal(size=100).astype(np.float32)
    out = np.zeros_like(a)
    counts = [e[1] for e in compiled.exports[0].workgroup_count]
    run_export(device, compiled.data, compiled.exports[0], [a, out], [], counts)
    np.testing.assert_array_equal(out, a * a)
