"""Fences: sets of timepoints that are waited for, signalled or failed together."""

from __future__ import annotations

import time
from collections.abc import Iterable

from iree_hal.errors import SEMAPHORE, HalError
from iree_hal.semaphore import Semaphore

Timepoint = tuple[Semaphore, int]


class Fence:
    """Immutable set of timepoints, the largest per semaphore. The empty fence is reached."""

    __slots__ = ("points",)

    def __init__(self, points: Iterable[Timepoint] = ()) -> None:
        largest: dict[Semaphore, int] = {}
        for semaphore, value in points:
            largest[semaphore] = max(value, largest.get(semaphore, 0))
        self.points: tuple[Timepoint, ...] = tuple(largest.items())

    @classmethod
    def create(cls) -> Fence:
        """A fence of one new semaphore's first point."""
        return cls([(Semaphore(), 1)])

    @classmethod
    def join(cls, fences: Iterable[Fence]) -> Fence:
        """Reached when all ``fences`` are."""
        return cls(point for fence in fences for point in fence.points)

    def query(self) -> bool:
        """True when reached. Raises the failure of a semaphore that failed."""
        return all(semaphore.query() >= value for semaphore, value in self.points)

    def wait(self, timeout: float | None = None) -> None:
        """Block until reached. Raises the failure, or HalError TIMEOUT after ``timeout`` seconds in all."""
        end = None if timeout is None else time.monotonic() + timeout
        for semaphore, value in self.points:
            semaphore.wait(value, None if end is None else max(0.0, end - time.monotonic()))

    def signal(self) -> None:
        """Reach every point; points reached already are left. Raises the failure of a failed semaphore."""
        for semaphore, value in self.points:
            try:
                semaphore.signal(value)
            except HalError as error:
                if error.number != SEMAPHORE:
                    raise

    def fail(self, error: BaseException) -> None:
        """Fail every semaphore; all who wait get ``error``."""
        for semaphore, _ in self.points:
            semaphore.fail(error)


Fences = Fence | Timepoint | Iterable[Fence | Timepoint]


def as_fence(fences: Fences | None) -> Fence:
    """One fence of what queue operations accept: a fence, a timepoint, an iterable of both, or None."""
    if fences is None:
        return Fence()
    if isinstance(fences, Fence):
        return fences
    if isinstance(fences, tuple) and len(fences) == 2 and isinstance(fences[0], Semaphore):
        return Fence([(fences[0], int(fences[1]))])
    points: list[Timepoint] = []
    for item in fences:
        points += as_fence(item).points
    return Fence(points)
