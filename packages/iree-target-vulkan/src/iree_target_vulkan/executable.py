"""Executables of format ``vulkan-spirv``: checked against the device, one pipeline per export."""

from __future__ import annotations

import math
from concurrent.futures import Future
from typing import TYPE_CHECKING

from iree_hal.errors import BAD_OBJECT, EXECUTABLE_MISMATCH, MISSING_FEATURE, HalError
from iree_hal.executable import Executable, ExecutableSpec, ExportSpec
from iree_hal.executable_loader import ExecutableLoader
from iree_target_vulkan.errors import DEVICE_LIMIT, VulkanError
from iree_target_vulkan.executable_format import FORMAT, EntryPoint, SpirvExecutable
from iree_target_vulkan.pipeline import Pipeline, PipelineKey, Shader

if TYPE_CHECKING:
    from iree_target_vulkan.logical_device import LogicalDevice


class VulkanExecutable(Executable):
    """``entries`` in the order of ``exports``."""

    def __init__(self, device: LogicalDevice, spec: ExecutableSpec, module: SpirvExecutable) -> None:
        super().__init__(spec)
        self.device = device
        self.entries = tuple(_entry(spec, export, module) for export in spec.exports)
        for export, entry in zip(spec.exports, self.entries, strict=True):
            _check_limits(device, export.name, entry)
        shader = Shader(device, module.words)
        keys = [_key(device, x.name, e) for x, e in zip(spec.exports, self.entries, strict=True)]
        self._pipelines: tuple[Future[Pipeline], ...] = tuple(
            device.pipelines.create(shader, key) for key in keys
        )

    def pipeline(self, export: int) -> Pipeline:
        """The pipeline of an export; waits until it is made. Raises VulkanError CALL."""
        return self._pipelines[export].result()


def _entry(spec: ExecutableSpec, export: ExportSpec, module: SpirvExecutable) -> EntryPoint:
    entry = module.entry.get(export.name)
    if entry is None:
        raise HalError(
            EXECUTABLE_MISMATCH,
            f"the module has no entry point '{export.name}'",
            source=spec.name or None,
            hint="compile the model again",
        )
    pushed = entry.push_constant_words - (entry.status_binding is not None)
    wanted = 0 if entry.constants_binding is not None else export.n_constants
    if entry.bindings != len(export.bindings) or pushed != wanted:
        raise HalError(
            EXECUTABLE_MISMATCH,
            f"entry point '{export.name}' has {entry.bindings} bindings and {pushed} pushed constants",
            source=spec.name or None,
            cause=f"the export has {len(export.bindings)} and {export.n_constants}",
        )
    return entry


def binding_count(entry: EntryPoint) -> int:
    """How many bindings the descriptor set of an entry point has."""
    others = (entry.constants_binding, entry.scratch_binding, entry.status_binding)
    return max([entry.bindings, *(number + 1 for number in others if number is not None)])


def _key(device: LogicalDevice, name: str, entry: EntryPoint) -> PipelineKey:
    sizes = device.physical.subgroup_sizes
    size = entry.subgroup_size
    wanted = size if size is not None and sizes[0] != sizes[1] else None
    full = size is not None and entry.workgroup_size[0] % size == 0
    return PipelineKey(name, binding_count(entry), 4 * entry.push_constant_words, wanted, full)


def _check_limits(device: LogicalDevice, name: str, entry: EntryPoint) -> None:
    physical = device.physical
    limits = physical.limits
    problems: list[str] = []
    if any(n > m for n, m in zip(entry.workgroup_size, physical.max_workgroup_size, strict=True)):
        problems.append(f"workgroups of {entry.workgroup_size}, at most {physical.max_workgroup_size}")
    invocations = math.prod(entry.workgroup_size)
    if invocations > limits.maxComputeWorkGroupInvocations:
        problems.append(f"{invocations} invocations, at most {limits.maxComputeWorkGroupInvocations}")
    if 4 * entry.push_constant_words > limits.maxPushConstantsSize:
        problems.append(f"{entry.push_constant_words} push constants")
    if binding_count(entry) > limits.maxPerStageDescriptorStorageBuffers:
        problems.append(f"{binding_count(entry)} bindings")
    low, high = physical.subgroup_sizes
    size = entry.subgroup_size
    if size is not None and size != physical.subgroup_size:
        if not low <= size <= high or not physical.features.get("subgroupSizeControl"):
            problems.append(f"subgroups of {size}, it has {low} to {high}")
    if problems:
        raise VulkanError(
            DEVICE_LIMIT,
            f"'{name}' needs " + "; ".join(problems),
            cause=f"this is {physical.name}",
            hint="compile for this device",
        )


class VulkanLoader(ExecutableLoader):
    """Loads ``vulkan-spirv`` for one device."""

    formats = (FORMAT,)

    def __init__(self, device: LogicalDevice) -> None:
        self._device = device

    def load(self, spec: ExecutableSpec) -> VulkanExecutable:
        """Raises HalError MISSING_FEATURE, BAD_OBJECT, EXECUTABLE_MISMATCH, VulkanError DEVICE_LIMIT."""
        try:
            module = SpirvExecutable.deserialize(spec.data)
        except VulkanError as error:
            raise HalError(
                BAD_OBJECT, error.detail, source=spec.name or None, cause=error.cause, hint=error.hint
            ) from error
        physical = self._device.physical
        missing = physical.lacking((*spec.features, *module.features))
        if missing:
            raise HalError(
                MISSING_FEATURE,
                ", ".join(dict.fromkeys(missing)),
                source=spec.name or None,
                cause=f"this is {physical.name} ({physical.driver}) without it",
                hint="compile for this device: --target-vulkan-profile=device",
            )
        return VulkanExecutable(self._device, spec, module)
