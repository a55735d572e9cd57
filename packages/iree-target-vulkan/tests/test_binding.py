"""The binding: structures, results as coded errors, and that nothing else imports the package it wraps."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import iree_target_vulkan
from iree_base.errors import IreeError

try:
    from iree_target_vulkan import binding
except IreeError as error:
    pytest.skip(f"no Vulkan loader: {error}", allow_module_level=True)


def test_only_the_binding_imports_vulkan() -> None:
    importers = []
    for path in Path(iree_target_vulkan.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            if any(name.split(".")[0] == "vulkan" for name in names):
                importers.append(path.name)
    assert set(importers) == {"binding.py"}


def test_structures_know_their_type_and_keep_what_they_point_to() -> None:
    inner = binding.struct("VkApplicationInfo", apiVersion=7)
    outer = binding.struct("VkInstanceCreateInfo", pApplicationInfo=inner)
    del inner
    assert outer.sType == binding.vk.VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO
    assert outer.pApplicationInfo.apiVersion == 7


def test_array_of_strings() -> None:
    pointer = binding.strings(["one", "zwei"])
    assert [binding.text(pointer[i]) for i in range(2)] == ["one", "zwei"]


@pytest.mark.parametrize(
    ("result", "code", "name"),
    [
        (-1, "IREE-HAL-011", "VK_ERROR_OUT_OF_HOST_MEMORY"),
        (-2, "IREE-HAL-011", "VK_ERROR_OUT_OF_DEVICE_MEMORY"),
        (-4, "IREE-VK-023", "VK_ERROR_DEVICE_LOST"),
        (-3, "IREE-VK-022", "VK_ERROR_INITIALIZATION_FAILED"),
        (-1000069000, "IREE-VK-022", "VK_ERROR_OUT_OF_POOL_MEMORY"),
        (-77, "IREE-VK-022", "VkResult -77"),
    ],
)
def test_results_are_errors_with_their_name(result: int, code: str, name: str) -> None:
    with pytest.raises(IreeError, match=name) as caught:
        binding.check(result, "vkSomething")
    assert caught.value.code == code
    assert "vkSomething" in str(caught.value)


@pytest.mark.parametrize("result", [0, 2, 5])
def test_success_passes(result: int) -> None:
    assert binding.check(result, "vkSomething") == result
