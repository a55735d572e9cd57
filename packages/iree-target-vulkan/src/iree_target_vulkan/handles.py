"""Ownership of Vulkan objects: each is registered with how it is destroyed, and counted.

What is still registered when a device goes is destroyed then, newest first, so nothing outlives it; what is
registered although nobody uses it any more is a leak, and tests count.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable

Destroy = Callable[[], object]


class Handles:
    """Thread-safe. A token stands for one object; dropping it destroys the object, once."""

    def __init__(self) -> None:
        # Finalizers run at any allocation, also inside a locked region of the same thread.
        self._lock = threading.RLock()
        self._live: dict[int, tuple[str, Destroy]] = {}
        self._next = 0
        self._abandoned = False
        self.created: Counter[str] = Counter()
        self.destroyed: Counter[str] = Counter()

    def add(self, kind: str, destroy: Destroy) -> int:
        """Register an object of type ``kind``; the token to :meth:`drop` it with."""
        with self._lock:
            self._next += 1
            self._live[self._next] = (kind, destroy)
            self.created[kind] += 1
            return self._next

    def drop(self, token: int) -> None:
        """Destroy an object; nothing when it is gone already."""
        if self._abandoned:
            return
        with self._lock:
            kind, destroy = self._live.pop(token, ("", None))
            if destroy is not None:
                self.destroyed[kind] += 1
                destroy()

    def live(self) -> dict[str, int]:
        """Type -> objects that exist."""
        with self._lock:
            counts = Counter(kind for kind, _ in self._live.values())
        return dict(sorted(counts.items()))

    def close(self) -> None:
        """Destroy everything, newest first."""
        with self._lock:
            tokens = sorted(self._live, reverse=True)
        for token in tokens:
            self.drop(token)

    def abandon(self) -> None:
        """Never destroy anything: the objects belong to another process."""
        self._abandoned = True
