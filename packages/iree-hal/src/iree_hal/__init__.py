"""Runtime: drivers, devices, buffers, command buffers, executor, executable loaders.

``create_device(path)`` is the way in; ``drivers()`` lists the names, ``devices()`` what they could open.
Importing this module imports neither the compiler nor LLVM; names are imported when they are used, so
that asking what is installed needs not even numpy.
"""

from typing import TYPE_CHECKING

from iree_base.lazy import attach

if TYPE_CHECKING:
    from iree_hal.allocator import Allocator
    from iree_hal.buffer import Buffer
    from iree_hal.buffer_view import BufferView
    from iree_hal.command_buffer import CommandBuffer
    from iree_hal.device import Device
    from iree_hal.device_info import DeviceInfo, Diagnosis
    from iree_hal.driver import Driver, create_device, devices, drivers, find_driver, plugins
    from iree_hal.errors import HalError, KernelError
    from iree_hal.executable import Executable, ExecutableSpec, ExportSpec
    from iree_hal.executable_loader import ExecutableLoader
    from iree_hal.fence import Fence
    from iree_hal.recording import BindingRef, Recording, RecordingBuilder
    from iree_hal.semaphore import Semaphore

__all__ = [
    "Allocator",
    "BindingRef",
    "Buffer",
    "BufferView",
    "CommandBuffer",
    "Device",
    "DeviceInfo",
    "Diagnosis",
    "Driver",
    "Executable",
    "ExecutableLoader",
    "ExecutableSpec",
    "ExportSpec",
    "Fence",
    "HalError",
    "KernelError",
    "Recording",
    "RecordingBuilder",
    "Semaphore",
    "create_device",
    "devices",
    "drivers",
    "find_driver",
    "plugins",
]

__getattr__, __dir__ = attach(
    __name__,
    {
        "Allocator": "iree_hal.allocator",
        "BindingRef": "iree_hal.recording",
        "Buffer": "iree_hal.buffer",
        "BufferView": "iree_hal.buffer_view",
        "CommandBuffer": "iree_hal.command_buffer",
        "Device": "iree_hal.device",
        "DeviceInfo": "iree_hal.device_info",
        "Diagnosis": "iree_hal.device_info",
        "Driver": "iree_hal.driver",
        "Executable": "iree_hal.executable",
        "ExecutableLoader": "iree_hal.executable_loader",
        "ExecutableSpec": "iree_hal.executable",
        "ExportSpec": "iree_hal.executable",
        "Fence": "iree_hal.fence",
        "HalError": "iree_hal.errors",
        "KernelError": "iree_hal.errors",
        "Recording": "iree_hal.recording",
        "RecordingBuilder": "iree_hal.recording",
        "Semaphore": "iree_hal.semaphore",
        "create_device": "iree_hal.driver",
        "devices": "iree_hal.driver",
        "drivers": "iree_hal.driver",
        "find_driver": "iree_hal.driver",
        "plugins": "iree_hal.driver",
    },
)
