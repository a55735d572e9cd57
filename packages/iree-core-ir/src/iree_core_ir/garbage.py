"""Python's garbage collector, kept away from the IR while it is built and transformed."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def frozen_gc() -> Iterator[None]:
    """No garbage collection inside: IR is all cycles, and scanning it again and again is what costs.

    Nesting is free; a collector that is off stays off.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        gc.enable()
