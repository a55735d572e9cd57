"""The on-disk compile cache: content-addressed, bounded, safe between processes.

A key covers everything the object depends on: the dispatch IR (without locations), the target
description, options, the versions of the distributions involved and, where they are installed editable,
their sources. An entry is written to a temporary file and renamed; a damaged one is a miss.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from iree_base.blake2 import blake2b
from iree_base.cache_directory import cache_directory
from iree_base.disk_cache import DiskCache
from iree_base.entry_points import distribution, version
from iree_core_ir.target import DispatchRequest, ExecutableObject, ExportObject

MAX_BYTES = 512 << 20
"""When entries exceed this, the least recently used are removed down to three quarters of it."""
FORMAT = b"iree-codegen-cache-1\n"
NAMES = "([0-9a-f]{2})/\\1[0-9a-f]{38}"
"""What the files are called: the key, in a folder of its first two digits."""


def default_directory() -> Path:
    """``$IREE_CACHE_DIR``, else the user's cache directory."""
    return cache_directory("iree-codegen")


def disk_cache(directory: Path | None = None, max_bytes: int = MAX_BYTES) -> DiskCache:
    """The files of the cache in ``directory``, or where it lies by default."""
    place = default_directory() if directory is None else directory
    return DiskCache(place, NAMES, "compiled kernels", max_bytes)


class CompileCache:
    """Entries under ``directory``. A directory that cannot be used switches the cache off silently."""

    def __init__(self, directory: Path | None = None, max_bytes: int = MAX_BYTES) -> None:
        self.files = disk_cache(directory, max_bytes)
        self._written = 0

    def key(self, request: DispatchRequest, distributions: Iterable[str]) -> str:
        """The name of the entry for ``request`` compiled by code of ``distributions``."""
        parts = {
            "text": request.text,
            "name": request.name,
            "description": request.description.key(),
            "options": dict(request.options),
            "code": [code_version(name) for name in sorted(set(distributions))],
        }
        text = json.dumps(parts, sort_keys=True)
        return blake2b(text.encode(), digest_size=20).hexdigest()

    @staticmethod
    def _name(key: str) -> str:
        return f"{key[:2]}/{key}"

    def get(self, key: str) -> ExecutableObject | None:
        """The object stored under ``key``; None when there is none (or it is damaged)."""
        data = self.files.read(self._name(key))
        if data is None:
            return None
        found = _decode(data)
        if found is None:
            self.files.remove(self._name(key))
        return found

    def put(self, key: str, compiled: ExecutableObject) -> None:
        """Store; failures (a full or read-only disk) only cost the next compilation."""
        data = _encode(compiled)
        if self.files.write(self._name(key), data):
            self._written += len(data)

    def trim(self) -> None:
        """Remove the least recently used entries when the cache is larger than it may be."""
        written, self._written = self._written, 0
        self.files.settle(written)


def _encode(compiled: ExecutableObject) -> bytes:
    head = {
        "exports": [asdict(e) for e in compiled.exports],
        "features": list(compiled.features),
        "report": dict(compiled.report),
    }
    header = json.dumps(head, sort_keys=True).encode()
    body = len(header).to_bytes(8, "little") + header + compiled.data
    return FORMAT + blake2b(body, digest_size=32).digest() + body


def _decode(data: bytes) -> ExecutableObject | None:
    start = len(FORMAT) + 32
    body = data[start:]
    if data[: len(FORMAT)] != FORMAT or blake2b(body, digest_size=32).digest() != data[len(FORMAT) : start]:
        return None
    size = int.from_bytes(body[:8], "little")
    head: dict[str, Any] = json.loads(body[8 : 8 + size])
    exports = []
    for export in head["exports"]:
        for name in ("bindings", "workgroup_count", "alignments"):
            export[name] = tuple(export[name])
        exports.append(ExportObject(**export))
    return ExecutableObject(body[8 + size :], tuple(exports), tuple(head["features"]), head["report"])


@functools.cache
def code_version(name: str) -> str:
    """``name==version``, followed by a digest of the sources when the install is editable."""
    text = f"{name}=={version(name) or '?'}"
    found = distribution(name)
    try:
        url = json.loads(Path(found[1], "direct_url.json").read_bytes()) if found is not None else {}
    except OSError:
        return text
    if url.get("dir_info", {}).get("editable"):
        text += f"+{_source_digest(name.replace('-', '_'))}"
    return text


def _source_digest(module: str) -> str:
    import importlib.util

    spec = importlib.util.find_spec(module)
    digest = blake2b(digest_size=16)
    for location in (spec.submodule_search_locations or ()) if spec is not None else ():
        for folder, _, names in sorted(os.walk(location)):
            for name in sorted(name for name in names if name.endswith(".py")):
                path = os.path.join(folder, name)
                digest.update(path[len(location) :].encode())
                with open(path, "rb") as file:
                    digest.update(file.read())
    return digest.hexdigest()
