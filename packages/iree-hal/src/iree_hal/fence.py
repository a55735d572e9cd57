"""Fences: sets of timepoints that are waited for, signalled or failed together."""

from __future__ import annotations

import queue
import time
from collections.abc import Iterable

from iree_hal.errors import SEMAPHORE, TIMEOUT, HalError
from iree_hal.semaphore import Semaphore, raisable

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
        reached = [semaphore.query() >= value for semaphore, value in self.points]
        return all(reached)

    def wait(self, timeout: float | None = None) -> None:
        """Block until reached or any of its semaphores fails.

        Raises the failure, or HalError TIMEOUT after ``timeout`` seconds.
        """
        if len(self.points) == 1:
            self.points[0][0].wait(self.points[0][1], timeout)
            return
        arrivals: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
        for semaphore, value in self.points:
            semaphore.on_reached(value, arrivals.put)
        end = None if timeout is None else time.monotonic() + timeout
        for _ in self.points:
            try:
                error = arrivals.get(timeout=None if end is None else max(0.0, end - time.monotonic()))
            except queue.Empty:
                raise HalError(TIMEOUT, f"a fence of {len(self.points)} points after {timeout} s") from None
            if error is not None:
                raise raisable(error) from error

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
