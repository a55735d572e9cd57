"""Coded errors of Vulkan: ``IREE-VK-nnn``; 1 to 19 while compiling, from 20 on while running."""

from __future__ import annotations

from iree_base.errors import EXIT_ARTIFACT, EXIT_RUNTIME, EXIT_USAGE, IreeError

OPTION = 1
COMPILER_MISSING = 2
MISSING_FEATURE = 3
INVALID_MODULE = 4
LIMIT = 5

EXECUTABLE = 20
LOADER = 21
CALL = 22
DEVICE_LOST = 23
FORKED = 24
UNUSABLE_DEVICE = 25
INDEX_RANGE = 26
DEVICE_LIMIT = 27


class VulkanError(IreeError):
    """``number`` is one of this module's constants."""

    package = "VK"
    exit_codes = {
        OPTION: EXIT_USAGE,
        COMPILER_MISSING: EXIT_USAGE,
        EXECUTABLE: EXIT_ARTIFACT,
    }
    table = {
        OPTION: "invalid option of target vulkan-spirv",
        COMPILER_MISSING: "the compiler half of iree-target-vulkan is not installed",
        MISSING_FEATURE: "the dispatch needs a feature that the target device does not have",
        INVALID_MODULE: "internal error: the generated SPIR-V is not valid",
        LIMIT: "the dispatch exceeds a limit of the target device",
        EXECUTABLE: "the executable is not readable",
        LOADER: "Vulkan cannot be loaded",
        CALL: "a Vulkan call failed",
        DEVICE_LOST: "the device was lost",
        FORKED: "a Vulkan device cannot be used after fork()",
        UNUSABLE_DEVICE: "the device lacks what the driver needs",
        INDEX_RANGE: "a binding is too long for a kernel with 32-bit indices",
        DEVICE_LIMIT: "a dispatch exceeds a limit of this device",
    }

    @property
    def status(self) -> int:
        default = EXIT_RUNTIME if self.number >= EXECUTABLE else self.exit_code
        return self.exit_codes.get(self.number, default)


__all__ = ["VulkanError"]
