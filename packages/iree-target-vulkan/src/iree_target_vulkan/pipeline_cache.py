"""The driver's pipeline cache, kept on disk per device and driver.

A file is a magic line, the digest of the data and the data; it is written to a temporary file and renamed.
What is damaged, foreign or unreadable is a cold start, never an error.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iree_base.cache_directory import cache_directory
from iree_base.disk_cache import DiskCache
from iree_target_vulkan.binding import NULL, array, check, create, ffi, lib, struct

if TYPE_CHECKING:
    from iree_target_vulkan.logical_device import LogicalDevice

MAGIC = b"iree-vulkan-pipelines-1\n"
DIGEST_BYTES = 32
MAX_BYTES = 256 << 20
NAMES = r"[0-9a-f]+-[0-9a-f]+-[0-9a-f]+\.bin"
"""What the files are called: vendor, device, the driver's version of its cache."""


def directory() -> Path:
    """``vulkan`` in ``$IREE_CACHE_DIR``, else ``iree-vulkan`` in the user's cache directory."""
    return cache_directory("iree-vulkan", "vulkan")


def disk_cache(place: Path | None = None) -> DiskCache:
    """The files in ``place``, or where they lie by default."""
    return DiskCache(directory() if place is None else place, NAMES, "GPU pipelines", MAX_BYTES)


def read(path: Path) -> bytes:
    """The data in the file, empty when there is none that can be trusted."""
    files = disk_cache(path.parent)
    content = files.read(path.name)
    if content is None:
        return b""
    start = len(MAGIC) + DIGEST_BYTES
    data = content[start:]
    if content[: len(MAGIC)] == MAGIC and content[len(MAGIC) : start] == _digest(data):
        return data
    files.remove(path.name)
    return b""


def write(path: Path, data: bytes) -> None:
    """Replace the file; a failure only costs the next start."""
    files = disk_cache(path.parent)
    content = MAGIC + _digest(data) + data
    if files.write(path.name, content):
        files.settle(len(content))


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=DIGEST_BYTES).digest()


class PipelineCache:
    """``handle`` is the VkPipelineCache of a device."""

    def __init__(self, device: LogicalDevice) -> None:
        self._device = device
        physical = device.physical
        name = f"{physical.vendor_id:x}-{physical.device_id:x}-{physical.pipeline_cache_uuid}"
        self.path = directory() / f"{name}.bin"
        data = read(self.path)
        self.loaded_bytes = len(data)
        self._saved = _digest(data)
        self.handle, _ = device.own("VkPipelineCache", "vkCreatePipelineCache", _info(data))

    def data(self) -> bytes:
        """What the driver wants to find again."""
        size = ffi.new("size_t*")
        handle = self._device.handle
        check(lib.vkGetPipelineCacheData(handle, self.handle, size, NULL), "vkGetPipelineCacheData")
        out = ffi.new("char[]", size[0])
        check(lib.vkGetPipelineCacheData(handle, self.handle, size, out), "vkGetPipelineCacheData")
        return bytes(ffi.buffer(out, size[0]))

    def save(self) -> None:
        """Write the file when there is something new, together with what other processes added."""
        data = self.data()
        if _digest(data) == self._saved:
            return
        others = read(self.path)
        if others and _digest(others) != self._saved:
            self._merge(others)
            data = self.data()
        write(self.path, data)
        self._saved = _digest(data)

    def _merge(self, data: bytes) -> None:
        handle = self._device.handle
        other = create("vkCreatePipelineCache", "VkPipelineCache", handle, _info(data), NULL)
        try:
            lib.vkMergePipelineCaches(handle, self.handle, 1, array("VkPipelineCache", [other]))
        finally:
            lib.vkDestroyPipelineCache(handle, other, NULL)


def _info(data: bytes) -> Any:
    return struct(
        "VkPipelineCacheCreateInfo",
        initialDataSize=len(data),
        pInitialData=ffi.new("char[]", data) if data else NULL,
    )
