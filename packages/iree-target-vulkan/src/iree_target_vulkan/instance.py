"""The Vulkan instance of the process, its physical devices and the messages of the validation layers.

``IREE_VULKAN_VALIDATION=1`` switches validation and synchronization validation on; the messages are
collected, and the bar is that there are none.
"""

from __future__ import annotations

import atexit
import os
import threading
from typing import Any

from iree_base import debug
from iree_target_vulkan.binding import (
    ERROR_INCOMPATIBLE_DRIVER,
    NULL,
    array,
    check,
    enumerated,
    ffi,
    lib,
    result_name,
    strings,
    struct,
    text,
    vk,
)
from iree_target_vulkan.errors import FORKED, LOADER, VulkanError
from iree_target_vulkan.physical_device import PhysicalDevice

VALIDATION_VARIABLE = "IREE_VULKAN_VALIDATION"
VALIDATION_LAYER = "VK_LAYER_KHRONOS_validation"
API_VERSION = (1, 3)
_PORTABILITY = "VK_KHR_portability_enumeration"
_PORTABILITY_FLAG = 1
_DEBUG_UTILS = "VK_EXT_debug_utils"


def validating() -> bool:
    """True when the environment asks for the validation layers."""
    return os.environ.get(VALIDATION_VARIABLE, "0") not in ("", "0")


def version(major: int, minor: int, patch: int = 0) -> int:
    """A Vulkan version number."""
    return major << 22 | minor << 12 | patch


class Instance:
    """``messages`` are those of the validation layers, oldest first. Raises VulkanError LOADER, CALL."""

    def __init__(self, validation: bool) -> None:
        self.validation = validation
        self.messages: list[str] = []
        self._messenger: Any = None
        self._held: list[Any] = []
        extensions = {
            text(e.extensionName)
            for e in enumerated(lib.vkEnumerateInstanceExtensionProperties, "VkExtensionProperties", NULL)
        }
        layers: list[str] = []
        wanted: list[str] = []
        flags = 0
        if _PORTABILITY in extensions:
            wanted.append(_PORTABILITY)
            flags |= _PORTABILITY_FLAG
        chain = NULL
        if validation:
            self._require_layer()
            layers.append(VALIDATION_LAYER)
            wanted.append(_DEBUG_UTILS)
            chain = self._validation_chain()
        application = struct(
            "VkApplicationInfo",
            pApplicationName=ffi.new("char[]", b"iree"),
            pEngineName=ffi.new("char[]", b"iree"),
            apiVersion=version(*API_VERSION),
        )
        info = struct(
            "VkInstanceCreateInfo",
            pNext=chain,
            flags=flags,
            pApplicationInfo=application,
            enabledLayerCount=len(layers),
            ppEnabledLayerNames=strings(layers),
            enabledExtensionCount=len(wanted),
            ppEnabledExtensionNames=strings(wanted),
        )
        out = ffi.new("VkInstance*")
        result = lib.vkCreateInstance(info, NULL, out)
        if result == ERROR_INCOMPATIBLE_DRIVER:
            raise VulkanError(
                LOADER,
                "no Vulkan driver is installed",
                cause=result_name(result),
                hint="install the driver of the device (for a processor, on Debian and Ubuntu: "
                "apt-get install mesa-vulkan-drivers)",
            )
        check(result, "vkCreateInstance")
        self.handle = out[0]
        if validation:
            self._start_messenger()
        self.physical_devices = tuple(
            PhysicalDevice(self, handle, index)
            for index, handle in enumerate(
                enumerated(lib.vkEnumeratePhysicalDevices, "VkPhysicalDevice", self.handle)
            )
        )
        debug.log(debug.PLUGINS, f"vulkan: {len(self.physical_devices)} device(s), validation {validation}")

    def _require_layer(self) -> None:
        found = enumerated(lib.vkEnumerateInstanceLayerProperties, "VkLayerProperties")
        if VALIDATION_LAYER not in {text(layer.layerName) for layer in found}:
            raise VulkanError(
                LOADER,
                f"{VALIDATION_VARIABLE} is set, the layer {VALIDATION_LAYER} is not installed",
                hint="Debian, Ubuntu: apt-get install vulkan-validationlayers",
            )

    def _validation_chain(self) -> Any:
        def receive(severity: int, kinds: int, data: Any, user: Any) -> int:
            self.messages.append(text(data.pMessage))
            debug.log(debug.PLUGINS, f"vulkan: {self.messages[-1]}")
            return 0

        self._receive = ffi.callback(
            "VkBool32(VkDebugUtilsMessageSeverityFlagBitsEXT, VkDebugUtilsMessageTypeFlagsEXT, "
            "const VkDebugUtilsMessengerCallbackDataEXT*, void*)",
            receive,
        )
        self._messenger_info = struct(
            "VkDebugUtilsMessengerCreateInfoEXT",
            messageSeverity=vk.VK_DEBUG_UTILS_MESSAGE_SEVERITY_WARNING_BIT_EXT
            | vk.VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT,
            messageType=vk.VK_DEBUG_UTILS_MESSAGE_TYPE_VALIDATION_BIT_EXT
            | vk.VK_DEBUG_UTILS_MESSAGE_TYPE_PERFORMANCE_BIT_EXT,
            pfnUserCallback=self._receive,
        )
        enabled = array(
            "VkValidationFeatureEnableEXT",
            [vk.VK_VALIDATION_FEATURE_ENABLE_SYNCHRONIZATION_VALIDATION_EXT],
        )
        return struct(
            "VkValidationFeaturesEXT",
            enabledValidationFeatureCount=1,
            pEnabledValidationFeatures=enabled,
            pNext=self._messenger_info,
        )

    def _start_messenger(self) -> None:
        function = self.procedure("vkCreateDebugUtilsMessengerEXT")
        out = ffi.new("VkDebugUtilsMessengerEXT*")
        self._messenger_info.pNext = NULL
        check(function(self.handle, self._messenger_info, NULL, out), "vkCreateDebugUtilsMessengerEXT")
        self._messenger = out[0]

    def procedure(self, name: str) -> Any:
        """The function ``name`` of an extension, None when the instance lacks it."""
        found = lib.vkGetInstanceProcAddr(self.handle, name.encode())
        return ffi.cast("PFN_" + name, found) if found != NULL else None

    def close(self) -> None:
        """Destroy the instance; its devices must be gone."""
        if self._messenger is not None:
            self.procedure("vkDestroyDebugUtilsMessengerEXT")(self.handle, self._messenger, NULL)
            self._messenger = None
        lib.vkDestroyInstance(self.handle, NULL)


_instance: Instance | None = None
_lock = threading.Lock()
_forked = False


def instance() -> Instance:
    """The instance of this process, made by the first call. Raises VulkanError FORKED, LOADER, CALL."""
    global _instance
    with _lock:
        check_fork()
        if _instance is None:
            _instance = Instance(validating())
            atexit.register(_close)
        return _instance


def messages() -> list[str]:
    """What the validation layers said so far; nothing is created for the question."""
    return list(_instance.messages) if _instance is not None else []


def clear_messages() -> None:
    """Forget what they said."""
    if _instance is not None:
        _instance.messages.clear()


def check_fork() -> None:
    """Raises VulkanError FORKED in a child forked from a process that had used Vulkan."""
    if _forked:
        raise forked()


def forked() -> VulkanError:
    """The error for every use of Vulkan in a forked child."""
    return VulkanError(
        FORKED,
        f"process {os.getpid()}",
        cause="drivers do not survive fork: their threads and files belong to the parent",
        hint="start processes with multiprocessing's 'spawn', or open the device after the fork",
    )


def _after_fork() -> None:
    global _forked, _instance, _lock
    _lock = threading.Lock()
    if _instance is not None:
        _forked = True
        # Neither destroyed nor collected: its finalizers would enter the parent's driver.
        _abandoned.append(_instance)
        _instance = None


_abandoned: list[Any] = []
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _close() -> None:
    global _instance
    with _lock:
        if _instance is not None and not _forked:
            _instance.close()
            _instance = None


__all__ = ["Instance", "check_fork", "clear_messages", "forked", "instance", "messages", "validating"]
