"""The binding to Vulkan: the only module that imports the ``vulkan`` package, of which it uses ``ffi``,
``lib`` and the constants. Replacing that package means replacing this file (see docs/adr).

Importing this module loads the Vulkan loader library, so nothing imports it before a device is asked for.
Raises VulkanError LOADER on import when the library or the package is missing.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from iree_hal.errors import OUT_OF_MEMORY, HalError
from iree_target_vulkan.errors import CALL, DEVICE_LOST, LOADER, VulkanError

try:
    import vulkan as _vulkan
    from vulkan._vulkan import ffi as _ffi
    from vulkan._vulkan import lib as _lib
except OSError as error:
    raise VulkanError(
        LOADER,
        "no Vulkan loader library",
        cause=str(error).split(".")[0],
        hint="install it (Debian, Ubuntu: apt-get install libvulkan1) and the driver of the device",
    ) from error
except ImportError as error:
    raise VulkanError(
        LOADER, "no Python package 'vulkan'", cause=str(error), hint="pip install vulkan"
    ) from error

ffi: Any = _ffi
lib: Any = _lib
vk: Any = _vulkan
"""The constants, ``vk.VK_...``."""
NULL: Any = ffi.NULL
WHOLE_SIZE = 0xFFFFFFFFFFFFFFFF

_STRUCTURE_TYPES: dict[str, int] = {
    name.removeprefix("VK_STRUCTURE_TYPE_").replace("_", ""): value
    for name, value in vars(_vulkan).items()
    if name.startswith("VK_STRUCTURE_TYPE_")
}
RESULT_NAMES: dict[int, str] = {
    value: name
    for name, value in vars(_vulkan).items()
    if isinstance(value, int) and name.startswith("VK_ERROR_") and not name.startswith("VK_ERROR__")
} | {1: "VK_NOT_READY", 2: "VK_TIMEOUT", 5: "VK_INCOMPLETE"}
# Several names share a value with their later promotion to core; the shorter one is core's.
RESULT_NAMES[-1000069000] = "VK_ERROR_OUT_OF_POOL_MEMORY"

TIMEOUT = 2
ERROR_OUT_OF_HOST_MEMORY = -1
ERROR_OUT_OF_DEVICE_MEMORY = -2
ERROR_DEVICE_LOST = -4
ERROR_INCOMPATIBLE_DRIVER = -9

_held: weakref.WeakKeyDictionary[Any, tuple[Any, ...]] = weakref.WeakKeyDictionary()


def struct(name: str, **fields: Any) -> Any:
    """A pointer to a new structure ``name`` with ``sType`` and ``fields`` set; it keeps alive what they
    point to.
    """
    pointer = ffi.new(name + "*")
    known = _STRUCTURE_TYPES.get(name.removeprefix("Vk").upper())
    if known is not None:
        pointer.sType = known
    for key, value in fields.items():
        setattr(pointer, key, value)
    _held[pointer] = tuple(fields.values())
    return pointer


def array(type: str, values: Any) -> Any:
    """A C array of ``values`` (or of as many zeros, given a number) that keeps them alive."""
    result = ffi.new(type + "[]", values)
    if not isinstance(values, int):
        _held[result] = tuple(values)
    return result


def strings(values: Any) -> Any:
    """A C array of C strings."""
    return array("char*", [ffi.new("char[]", value.encode()) for value in values])


def text(characters: Any) -> str:
    """A C string as str."""
    return str(ffi.string(characters).decode("utf-8", "replace"))


def result_name(result: int) -> str:
    """``VK_ERROR_DEVICE_LOST`` for -4."""
    return RESULT_NAMES.get(result, f"VkResult {result}")


def check(result: int, call: str) -> int:
    """``result`` unless it is an error. Raises HalError OUT_OF_MEMORY, VulkanError DEVICE_LOST, CALL."""
    if result >= 0:
        return result
    cause = result_name(result)
    if result in (ERROR_OUT_OF_HOST_MEMORY, ERROR_OUT_OF_DEVICE_MEMORY):
        raise HalError(OUT_OF_MEMORY, call, cause=cause)
    if result == ERROR_DEVICE_LOST:
        raise VulkanError(
            DEVICE_LOST,
            call,
            cause=cause,
            hint="a kernel ran too long or faulted, or the device was reset; start a new process",
        )
    raise VulkanError(CALL, call, cause=cause)


def create(call: str, type: str, *arguments: Any) -> Any:
    """The object that ``lib.<call>(*arguments, pointer to it)`` creates. Raises what :func:`check` does."""
    out = ffi.new(type + "*")
    check(getattr(lib, call)(*arguments, out), call)
    return out[0]


def enumerated(function: Callable[..., Any], type: str, *arguments: Any, s_type: str = "") -> list[Any]:
    """All items of a two-call enumeration; ``s_type`` names structures that want their sType set."""
    count = ffi.new("uint32_t*")
    result = function(*arguments, count, NULL)
    check(result or 0, "enumeration")
    items = ffi.new(type + "[]", count[0])
    if s_type:
        for item in items:
            item.sType = _STRUCTURE_TYPES[s_type.removeprefix("Vk").upper()]
    check(function(*arguments, count, items) or 0, "enumeration")
    # Items are views into the array, which they do not keep alive by themselves.
    result_items = [items[i] for i in range(count[0])]
    for item in result_items:
        if isinstance(item, ffi.CData) and ffi.typeof(item).kind == "struct":
            _held[item] = (items,)
    return result_items


def address(handle: Any) -> int:
    """A handle as a number, to name it in tables."""
    return int(ffi.cast("uintptr_t", handle))
