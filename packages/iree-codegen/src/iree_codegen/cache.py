"""The on-disk compile cache: content-addressed, bounded, safe between processes.

A key covers everything the object depends on: the dispatch IR (without locations), the target
description, options, the versions of the distributions involved and, where they are installed editable,
their sources. An entry is written to a temporary file and renamed; a damaged one is a miss.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import tempfile
from collections.abc import Iterable
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

from iree_base import debug
from iree_base.cache_directory import cache_directory
from iree_core_ir.target import DispatchRequest, ExecutableObject, ExportObject

MAX_BYTES = 512 << 20
"""When entries exceed this, the least recently used are removed down to three quarters of it."""
FORMAT = b"iree-codegen-cache-1\n"


def default_directory() -> Path:
    """``$IREE_CACHE_DIR``, else the user's cache directory."""
    return cache_directory("iree-codegen")


class CompileCache:
    """Entries under ``directory``. A directory that cannot be used switches the cache off silently."""

    def __init__(self, directory: Path | None = None, max_bytes: int = MAX_BYTES) -> None:
        self.directory = default_directory() if directory is None else directory
        self.max_bytes = max_bytes

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
        return hashlib.blake2b(text.encode(), digest_size=20).hexdigest()

    def _path(self, key: str) -> Path:
        return self.directory / key[:2] / key

    def get(self, key: str) -> ExecutableObject | None:
        """The object stored under ``key``; None when there is none (or it is damaged)."""
        path = self._path(key)
        try:
            data = path.read_bytes()
        except OSError:
            return None
        found = _decode(data)
        if found is None:
            with contextlib.suppress(OSError):
                path.unlink()
            return None
        with contextlib.suppress(OSError):
            os.utime(path)
        return found

    def put(self, key: str, compiled: ExecutableObject) -> None:
        """Store; failures (a full or read-only disk) only cost the next compilation."""
        path = self._path(key)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=path.parent, prefix=".new-")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(_encode(compiled))
                os.replace(name, path)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(name)
                raise
        except OSError as error:
            debug.log(debug.PASSES, f"compile cache: {error}")

    def trim(self) -> None:
        """Remove the least recently used entries when the cache is larger than it may be."""
        entries = []
        for path in self.directory.glob("??/*"):
            with contextlib.suppress(OSError):
                status = path.stat()
                entries.append((status.st_mtime, status.st_size, path))
        total = sum(size for _, size, _ in entries)
        if total <= self.max_bytes:
            return
        for _, size, path in sorted(entries):
            with contextlib.suppress(OSError):
                path.unlink()
            total -= size
            if total <= self.max_bytes * 3 // 4:
                return


def _encode(compiled: ExecutableObject) -> bytes:
    head = {
        "exports": [asdict(e) for e in compiled.exports],
        "features": list(compiled.features),
        "report": dict(compiled.report),
    }
    header = json.dumps(head, sort_keys=True).encode()
    body = len(header).to_bytes(8, "little") + header + compiled.data
    return FORMAT + hashlib.blake2b(body, digest_size=32).digest() + body


def _decode(data: bytes) -> ExecutableObject | None:
    start = len(FORMAT) + 32
    body = data[start:]
    if (
        data[: len(FORMAT)] != FORMAT
        or hashlib.blake2b(body, digest_size=32).digest() != data[len(FORMAT) : start]
    ):
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
def code_version(distribution: str) -> str:
    """``name==version``, followed by a digest of the sources when the install is editable."""
    try:
        found = metadata.distribution(distribution)
    except metadata.PackageNotFoundError:
        return f"{distribution}==?"
    text = f"{distribution}=={found.version}"
    url = found.read_text("direct_url.json")
    if url is not None and json.loads(url).get("dir_info", {}).get("editable"):
        text += f"+{_source_digest(distribution.replace('-', '_'))}"
    return text


def _source_digest(module: str) -> str:
    import importlib.util

    spec = importlib.util.find_spec(module)
    digest = hashlib.blake2b(digest_size=16)
    for location in (spec.submodule_search_locations or ()) if spec is not None else ():
        root = Path(location)
        for path in sorted(root.rglob("*.py")):
            digest.update(str(path.relative_to(root)).encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()
