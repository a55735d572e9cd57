"""Frames: the mutable state of one invocation of a command buffer, in one block of memory.

A frame holds the parameter block, the binding table, the Dispatch structs, worker scratch and the arena.
It is used by one thread at a time and reused from its command buffer's free list.
"""

from __future__ import annotations

import ctypes
import struct
from typing import Any

import numpy as np

from iree_hal.buffer import Buffer
from iree_hal.errors import HalError
from iree_hal.executor import structs
from iree_hal.executor.native import native
from iree_hal.executor.plan import Plan
from iree_hal.storage import ARRAY_DATA_OFFSET, ARRAY_FLAGS_OFFSET, aligned_bytes

BUDGET_MS = 50
"""How long a native run goes on before Python gets a chance to see Ctrl-C."""
SMALL_US = 3
"""Waves of less work than this stay on the caller: waking a worker costs about as much."""


class Frame:
    """``pointer`` goes to the native run().

    ``pack(view, inputs_at, address, length, ..., input, ...)`` writes all rows but the arena's, and all
    inputs.
    """

    def __init__(self, plan: Plan, pool_address: int, threads: int, *, timed: bool = False) -> None:
        self.plan = plan
        recording = plan.recording
        n = threads
        sizes = {
            "frame": structs.FRAME.size,
            # The rows and the inputs lie side by side, so one pack fills both.
            "table": structs.ROW.size * recording.n_bindings,
            "params": 8 * recording.n_params,
            "ends": 4 * plan.max_wave,
            "ranges": 8 * n,
            "dispatches": plan.dispatches.nbytes,
            "times": 8 * (len(plan.waves) + 1) if timed else 0,
            "scratch": n * plan.scratch_bytes,
        }
        at: dict[str, int] = {}
        position = 0
        for name, size in sizes.items():
            position = position if name == "params" else -(-position // 64) * 64
            at[name] = position
            position += size
        self.memory = aligned_bytes(position, zeroed_bytes=at["scratch"])
        self.nbytes = position
        self.view = self.memory.data
        address = int(self.memory.ctypes.data)
        self.pointer = ctypes.c_void_p(address)
        self.state = structs.FRAME.ctype.from_address(address)
        self.inputs_at = at["table"] + structs.ROW.size
        self.arena_at = at["table"]
        state = self.state
        state.plan = plan.address
        state.pool = pool_address or None
        state.params, state.table = address + at["params"], address + at["table"]
        state.ends, state.dispatches = address + at["ends"], address + at["dispatches"]
        state.ranges = address + at["ranges"]
        state.scratch = address + at["scratch"]
        state.scratch_stride = state.scratch_bytes = plan.scratch_bytes
        per_ms = native().ticks_per_ms
        state.budget = per_ms * BUDGET_MS
        state.threshold = max(1, per_ms * SMALL_US // 1000)
        state.error = structs.NO_ERROR
        state.threads = n
        state.data_offset, state.flags_offset = ARRAY_DATA_OFFSET, ARRAY_FLAGS_OFFSET
        self.times: np.ndarray[Any, np.dtype[np.uint64]] | None = None
        """Of a timed frame: ticks at the start of the last run, and after each wave."""
        if timed:
            self.times = self.memory[at["times"] : at["times"] + 8 * (len(plan.waves) + 1)].view(np.uint64)
            state.times, state.flags = address + at["times"], structs.FLAG_TIME
        params = self.memory[at["params"] : at["params"] + 8 * recording.n_params].view(np.int64)
        params[:] = plan.params
        self.params = params
        start = at["dispatches"]
        dispatches = self.memory[start : start + plan.dispatches.nbytes]
        dispatches[:] = plan.dispatches
        if len(plan.pointers):
            dispatches.view(np.int64)[plan.pointers[:, 0] // 8] = plan.pointers[:, 1] + (address + start)
        self.pack = struct.Struct(f"<{2 * (recording.n_bindings - 1)}Q{recording.n_inputs}q").pack_into
        self.arena: Buffer | None = None
        self.keep = 1
        """How many frames like this one the free list may hold."""

    def set_arena(self, arena: Buffer) -> None:
        """Give the frame ``arena`` (64-byte aligned); it replaces the one before."""
        self.arena = arena
        struct.pack_into("<QQ", self.view, self.arena_at, arena.address, arena.nbytes)

    def restart_clock(self) -> None:
        """What happened since the last wave is not the next one's time."""
        if self.times is not None:
            self.times[self.state.wave] = native().ticks()

    def abandon(self) -> None:
        """Wait until no worker holds a tile of this frame, which is then safe to drop."""
        while self.state.state == structs.STRAGGLING:
            try:
                self.state.stop = 1
                native().run(self.pointer)
            except KeyboardInterrupt:
                continue

    def error(self) -> HalError:
        """The error of the run that returned ERROR, as an exception to raise."""
        from iree_hal.executor.faults import fault

        return fault(self.plan, self.state.error, self.state.detail)
