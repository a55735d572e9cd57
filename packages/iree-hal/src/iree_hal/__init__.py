"""Runtime: drivers, devices, buffers, command buffers, executor, executable loaders.

``create_device(path)`` is the way in; ``drivers()`` lists the names, ``devices()`` what they could open.
Importing this module imports neither the compiler nor LLVM.
"""

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
