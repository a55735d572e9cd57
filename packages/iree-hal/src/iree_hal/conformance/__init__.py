"""The conformance suite: what is true of every driver, as tests that a driver joins with a small file.

A test module of a driver is::

    from iree_hal.conformance.backend import Backend
    from iree_hal.conformance.suite import *

    BACKEND = Backend("my-driver", executable=my_kernels, never={"test_x": "why it cannot be"})

``never`` marks are skipped: the device is not meant to do it. ``not_yet`` marks are expected failures; one
that passes fails the run, so the mark goes when the work is done. Both carry a reason. The suite
needs pytest, the kernels do not.
"""

from __future__ import annotations

NOUNS = (
    "allocator",
    "bindings",
    "buffer",
    "buffer_view",
    "command_buffer",
    "constants",
    "copies",
    "device",
    "devices",
    "driver",
    "executable",
    "fence",
    "fills",
    "kernel_errors",
    "lifetime",
    "profiles",
    "queue",
    "recording",
    "semaphore",
    "submissions",
    "waves",
    "workgroups",
)
"""The suite's files, a noun each."""
