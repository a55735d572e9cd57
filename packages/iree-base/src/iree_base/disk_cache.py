"""Files that can be made again, kept in a folder: bounded, the least recently used go first.

Any number of processes may read, write, prune and clear at once. A file appears whole (written beside its
place and renamed) and is never changed; a file that disappears is a miss. What cannot be read or written
costs time, never an error. Only files that match the cache's pattern are ever removed, whatever folder it is
pointed at.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from iree_base import debug
from iree_base.records import record

TEMPORARY = ".new-"
ABANDONED_SECONDS = 3600.0
"""A temporary file that is older was left by a process that died."""
LEDGER = ".bytes"
"""How large the cache is, roughly: what writers add up between two looks at all files."""
KEPT = 0.75
"""Pruning goes down to this part of the limit, so that it is rare."""


@record(frozen=True)
class CacheEntry:
    """A file; ``used`` is when it was last written or read, in seconds since the epoch."""

    path: Path
    bytes: int
    used: float


@record(frozen=True)
class DiskCache:
    """``pattern`` is matched against the path below ``directory``, with ``/`` between folders. ``what`` says
    in a few words what is kept. ``max_bytes`` bounds the cache.
    """

    directory: Path
    pattern: str
    what: str
    max_bytes: int

    def read(self, name: str) -> bytes | None:
        """The file ``name``, which counts as used now; None when there is none."""
        path = self.directory / name
        try:
            data = path.read_bytes()
        except OSError:
            return None
        with contextlib.suppress(OSError):
            os.utime(path)
        return data

    def write(self, name: str, data: bytes) -> bool:
        """Put the file ``name`` there or replace it; False when that failed. The cache may be larger than its
        limit until :meth:`settle`.
        """
        path = self.directory / name
        try:
            self._write(path, data)
        except OSError as error:
            debug.log(debug.PASSES, f"cache of {self.what}: {error}")
            return False
        return True

    @staticmethod
    def _write(path: Path, data: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=TEMPORARY)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise

    def remove(self, name: str) -> None:
        """Remove the file ``name`` if it is there."""
        with contextlib.suppress(OSError):
            (self.directory / name).unlink()

    # ------------------------------------------------------------------ the whole

    def entries(self) -> list[CacheEntry]:
        """All files, in no order."""
        matches = re.compile(self.pattern).fullmatch
        found = []
        for path in self._files():
            if matches(path.relative_to(self.directory).as_posix()):
                with contextlib.suppress(OSError):
                    status = path.stat()
                    found.append(CacheEntry(path, status.st_size, status.st_mtime))
        return found

    def _files(self) -> Iterator[Path]:
        """The files of the folder and of those directly in it."""
        with contextlib.suppress(OSError):
            for path in sorted(self.directory.iterdir()):
                if path.is_dir() and not path.is_symlink():
                    with contextlib.suppress(OSError):
                        yield from sorted(path.iterdir())
                else:
                    yield path

    def settle(self, written: int) -> None:
        """Note that ``written`` bytes were added since the last time; prune when the limit may be passed.

        Looking at all files is only done then: between two looks, writers add up what they wrote. Two that do
        so at once may lose a sum, which the next look makes good.
        """
        ledger = self.directory / LEDGER
        try:
            known = int(json.loads(ledger.read_bytes())["bytes"])
        except (OSError, ValueError, KeyError, TypeError):
            known = self.max_bytes
        total = known + written
        if total > self.max_bytes:
            self.prune()
            return
        self._note(total)

    def _note(self, total: int) -> None:
        with contextlib.suppress(OSError):
            self._write(self.directory / LEDGER, json.dumps({"bytes": total}).encode())

    def prune(self, max_bytes: int | None = None, unused_seconds: float | None = None) -> list[CacheEntry]:
        """Remove what was not used for ``unused_seconds``, and then, if more than ``max_bytes`` (default: the
        limit) are left, the least recently used files down to three quarters of that. Gives what was removed.
        """
        limit = self.max_bytes if max_bytes is None else max_bytes
        now = time.time()
        entries = sorted(self.entries(), key=lambda entry: entry.used)
        old = 0
        if unused_seconds is not None:
            old = sum(now - entry.used >= unused_seconds for entry in entries)
        total = sum(entry.bytes for entry in entries[old:])
        goal = limit * KEPT if total > limit else total
        while total > goal:
            total -= entries[old].bytes
            old += 1
        removed = [entry for entry in entries[:old] if self._unlink(entry.path)]
        self._remove_abandoned(now - ABANDONED_SECONDS)
        self._note(total)
        return removed

    def clear(self) -> list[CacheEntry]:
        """Remove every file; folders stay, since a writer may just need one. Gives what was removed."""
        removed = [entry for entry in self.entries() if self._unlink(entry.path)]
        self._remove_abandoned(time.time() - ABANDONED_SECONDS)
        self._unlink(self.directory / LEDGER)
        return removed

    def _remove_abandoned(self, before: float) -> None:
        for path in self._files():
            if path.name.startswith(TEMPORARY):
                with contextlib.suppress(OSError):
                    if path.stat().st_mtime < before:
                        path.unlink()

    @staticmethod
    def _unlink(path: Path) -> bool:
        try:
            path.unlink()
        except OSError:
            return False
        return True
