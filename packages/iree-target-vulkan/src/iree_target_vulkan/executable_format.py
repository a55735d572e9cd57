"""The executable format ``vulkan-spirv``: a JSON header and the words of one SPIR-V module.

``b"IVKS"``, u32 length of the header, the header (UTF-8, padded with spaces so that the words are aligned
to 4 bytes), the words; little-endian. The header holds a digest of the words. Shared by both halves, so it
imports neither.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from iree_target_vulkan.errors import EXECUTABLE, VulkanError

FORMAT = "vulkan-spirv"
FEATURE_PREFIX = "vulkan:"
"""Before the name of a Vulkan feature in the features an executable requires."""
MAGIC = b"IVKS"
VERSION = 1
SPIRV_MAGIC = 0x07230203
MAX_PUSH_CONSTANT_BYTES = 64
"""More dispatch constants than this go into a storage buffer."""


@dataclass(frozen=True)
class EntryPoint:
    """How one export is called. Bindings are those of descriptor set 0.

    ``bindings``: tensor bindings 0 to n - 1. ``push_constant_words``: dispatch constants pushed, plus one
    index word when ``status_binding`` is given. The other bindings are numbers of storage buffers, or None:
    ``constants_binding`` holds all dispatch constants as u32 words (then none is pushed),
    ``scratch_binding`` the slices of the workgroups (linear id * the export's scratch bytes),
    ``status_binding`` a u32 per dispatch, written with ``kind | assert index << 16`` when a check fails, at
    the index given by the last push constant word. ``index_bits``: 32 when every binding must be shorter
    than 2^31 bytes. ``subgroup_size``: the size the code was generated for, None when it does not matter.
    """

    workgroup_size: tuple[int, int, int]
    bindings: int
    push_constant_words: int = 0
    constants_binding: int | None = None
    scratch_binding: int | None = None
    status_binding: int | None = None
    index_bits: int = 32
    subgroup_size: int | None = None


@dataclass(frozen=True)
class SpirvExecutable:
    """One module. ``features``: the Vulkan feature names it needs, without prefix."""

    entry: Mapping[str, EntryPoint]
    words: bytes
    spirv_version: tuple[int, int] = (1, 3)
    capabilities: tuple[str, ...] = ()
    features: tuple[str, ...] = ()

    def serialize(self) -> bytes:
        header = {
            "version": VERSION,
            "entry": {name: asdict(entry) for name, entry in self.entry.items()},
            "spirv_version": list(self.spirv_version),
            "capabilities": list(self.capabilities),
            "features": list(self.features),
            "digest": _digest(self.words),
        }
        text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 4)
        return MAGIC + struct.pack("<I", len(text)) + text + self.words

    @classmethod
    def deserialize(cls, data: Any) -> SpirvExecutable:
        """Raises VulkanError EXECUTABLE for bytes that are no executable of this version."""
        view = memoryview(data).cast("B")
        if len(view) < 8 or bytes(view[:4]) != MAGIC:
            raise VulkanError(EXECUTABLE, "no vulkan-spirv executable", cause=f"it has {len(view)} bytes")
        (length,) = struct.unpack_from("<I", view, 4)
        words = bytes(view[8 + length :])
        if length % 4 or len(words) < 20 or len(words) % 4:
            raise VulkanError(EXECUTABLE, "truncated vulkan-spirv executable")
        if struct.unpack_from("<I", words)[0] != SPIRV_MAGIC:
            raise VulkanError(EXECUTABLE, "no SPIR-V module behind the header")
        try:
            header = json.loads(bytes(view[8 : 8 + length]).decode())
            if header["version"] != VERSION:
                raise VulkanError(
                    EXECUTABLE,
                    f"version {header['version']} of the format, this package reads {VERSION}",
                    hint="compile again, or install the matching iree-target-vulkan",
                )
            entry = {name: _entry_point(facts) for name, facts in header["entry"].items()}
            major, minor = header["spirv_version"]
            intact = header["digest"] == _digest(words)
            lists = [tuple(str(name) for name in header[key]) for key in ("capabilities", "features")]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise VulkanError(EXECUTABLE, f"unreadable header: {error}") from error
        if not intact:  # drivers crash on damaged words
            raise VulkanError(EXECUTABLE, "damaged vulkan-spirv executable", hint="compile the model again")
        return cls(entry, words, (int(major), int(minor)), lists[0], lists[1])


def _digest(words: bytes) -> str:
    return hashlib.blake2b(words, digest_size=16).hexdigest()


def _entry_point(facts: Mapping[str, Any]) -> EntryPoint:
    known = {field.name: facts[field.name] for field in fields(EntryPoint)}
    x, y, z = (int(n) for n in known.pop("workgroup_size"))
    for name, value in known.items():
        if not (isinstance(value, int) or (value is None and "binding" in name) or name == "subgroup_size"):
            raise ValueError(f"{name} is {value!r}")
    return EntryPoint(workgroup_size=(x, y, z), **known)


__all__ = ["FEATURE_PREFIX", "FORMAT", "MAX_PUSH_CONSTANT_BYTES", "EntryPoint", "SpirvExecutable"]
